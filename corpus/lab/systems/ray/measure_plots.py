"""Forest inventory: each plot's trees measured by tasks, kept by one actor that owns the register."""

from __future__ import annotations

import gzip
import json
import logging
import os
import sqlite3
import sys
from pathlib import Path
from typing import Any

import numpy as np
import ray
import requests

log = logging.getLogger("plots")
FORMAT = "%(levelname).1s %(asctime)s %(name)s:%(lineno)d] %(message)s"
Tree = dict[str, Any]


@ray.remote(num_cpus=0)
class Register:
    """The inventory's register; the only one that writes to it."""

    def __init__(self, path: str) -> None:
        self.connection = sqlite3.connect(path, timeout=2)
        self.connection.execute("PRAGMA foreign_keys = ON")

    def keep(self, plot: str, trees: list[Tree]) -> int:
        with self.connection:
            self.connection.executemany(
                "INSERT INTO tree (tree_id, plot, species, dbh_mm, height_dm, volume_m3)"
                " VALUES (:tree_id, :plot, :species, :dbh_mm, :height_dm, :volume_m3)",
                [tree | {"plot": plot} for tree in trees],
            )
        return len(trees)

    def total(self) -> float:
        return self.connection.execute("SELECT coalesce(sum(volume_m3), 0) FROM tree").fetchone()[0]


def site_of(plot: str) -> dict[str, Any]:
    """Ask the site service for the slope and the extent of a plot."""
    answer = requests.get(f"{os.environ['SITES_URL']}/sites/{plot}", timeout=(2, 4))
    answer.raise_for_status()
    return answer.json()


@ray.remote(num_cpus=1, max_retries=1)
def measure(path: str, factors: dict[str, float]) -> tuple[str, list[Tree], np.ndarray]:
    """Give the plot's trees with their volume, and its canopy as a grid."""
    logging.basicConfig(level=logging.INFO, format=FORMAT)
    plot = Path(path).name.partition(".")[0]
    with gzip.open(path, "rt", encoding="utf-8") as file:
        trees = [json.loads(line) for line in file]
    log.info("%s: %d trees of fields %s", plot, len(trees), ",".join(trees[0]))
    site = site_of(plot)
    canopy = np.zeros((site["extent_m"], site["extent_m"]))
    for tree in trees:
        tree["height_dm"] = tree.get("height_dm")
        basal = np.pi * (tree["dbh_mm"] / 2000) ** 2 / np.cos(np.radians(site["slope_deg"]))
        tree["volume_m3"] = round(float(basal * factors[tree["species"]] * (tree["height_dm"] or 0) / 10), 4)
        canopy[tree["x_m"] % site["extent_m"], tree["y_m"] % site["extent_m"]] += tree["volume_m3"]
    return plot, trees, canopy


def collect(pending: list[Any], register: Any) -> int:
    """Store plot after plot, as the tasks end."""
    stored = 0
    while pending:
        done, pending = ray.wait(pending, num_returns=1, timeout=float(os.environ.get("PATIENCE_S", "60")))
        if not done:
            raise TimeoutError(f"no plot was measured for a while, {len(pending)} are waiting")
        plot, trees, canopy = ray.get(done[0])
        stored += ray.get(register.keep.remote(plot, trees), timeout=20)
        log.info("plot %s stored, canopy of %.1f m3 on %d cells", plot, canopy.sum(), canopy.size)
    return stored


def main() -> None:
    logging.basicConfig(level=logging.INFO, format=FORMAT, stream=sys.stdout)
    ray.init(
        num_cpus=2,
        object_store_memory=80_000_000,
        include_dashboard=False,
        _temp_dir=os.environ["RAY_HOME"],
    )
    factors = json.loads(Path("form_factors.json").read_text(encoding="utf-8"))["factors"]
    register = Register.remote(str(Path("register/inventory.db").resolve()))
    need = {"memory": int(os.environ["TASK_MEMORY"])} if "TASK_MEMORY" in os.environ else {}
    paths = sorted(str(path) for path in Path("plots").resolve().glob("*.jsonl.gz"))
    if not paths:
        raise SystemExit("plots: no file of the field teams in plots/")
    shared = ray.put(factors)
    stored = collect([measure.options(**need).remote(path, shared) for path in paths], register)
    log.info("%d trees of %d plots, %.1f m3 in the register", stored, len(paths), ray.get(register.total.remote()))


if __name__ == "__main__":
    main()
