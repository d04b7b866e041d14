"""Installs what a system needs: its own virtual environment, and packages of the operating system."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from corpus.lab.case import System

VENVS = Path(os.environ.get("MENDLINE_LAB_VENVS", "/opt/venvs"))
PYTHON = Path(
    os.environ.get("MENDLINE_LAB_PYTHON", "/usr/bin/python3")
)  # its path stands in tracebacks: not a user's own
PIPELINES = Path(os.environ.get("MENDLINE_LAB_PIPELINES", "/srv"))  # working directories: short, they stand in the logs


def interpreter(system: System) -> Path:
    """Give the system's interpreter; made with its requirements when it is not there or they have changed."""
    if not system.requirements:
        return PYTHON
    venv = VENVS / system.name
    stamp = venv / "requirements.sha256"
    wanted = hashlib.sha256("\n".join(system.requirements).encode()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(venv, ignore_errors=True)
        subprocess.run([str(PYTHON), "-m", "venv", str(venv)], check=True)
        pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *system.requirements], check=True)
        stamp.write_text(wanted)
    return venv / "bin" / "python"


def debian(system: System) -> None:
    """Install the operating system's packages that are missing; needs root."""
    missing = [name for name in system.debian if not _is_installed(name)]
    if missing:
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        install = ["apt-get", "-o", "DPkg::Lock::Timeout=600", "install", "-y", "-qq", "--no-install-recommends"]
        subprocess.run([*install, *missing], check=True, env=environment, stdout=subprocess.DEVNULL)


def _is_installed(package: str) -> bool:
    query = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Status}", package], capture_output=True, text=True, check=False
    )
    return "install ok installed" in query.stdout
