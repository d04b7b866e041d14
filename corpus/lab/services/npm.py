"""Packages of npm, pinned, installed once and linked into the working directory."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

from corpus.lab.bench import Bench

STORE = Path("/opt/venvs/npm")


def provide(bench: Bench, *packages: str) -> None:
    """Make `node_modules` with the packages, each `name@version`, and what they need."""
    folder = STORE / hashlib.sha256(" ".join(packages).encode()).hexdigest()[:8]
    if not (folder / "complete").exists():
        folder.mkdir(parents=True, exist_ok=True)
        install = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), *packages]
        subprocess.run(install, check=True, cwd=folder, env=os.environ | {"HOME": str(folder)})
        (folder / "complete").touch()
    bench.path("node_modules").unlink(missing_ok=True)
    bench.path("node_modules").symlink_to(folder / "node_modules")
