"""Book an observatory's night: exposures, the plan's targets, the seeing; then the efficiency of the night."""

import json
import logging
import os
import sys

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import requests
from pyiceberg.catalog import load_catalog
from pyiceberg.expressions import EqualTo

logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(asctime)s|%(levelname)-8s|%(name)-22s|%(message)s")
log = logging.getLogger("nightbook")
NIGHT = os.environ.get("NIGHT", "2026-10-11")


def book_exposures(catalog):
    table = catalog.load_table("night.exposure")
    frames = pacsv.read_csv(f"inbox/exposures_{NIGHT}.csv")
    log.info("exposures: %d rows: %s", frames.num_rows, ", ".join(f"{f.name} {f.type}" for f in frames.schema))
    log.info("first of them: %s", frames.slice(0, 2).to_pylist())
    wanted = table.schema().as_arrow()
    frames = frames.select(wanted.names).cast(wanted)
    if pc.min(frames["exptime_s"]).as_py() <= 0:
        raise ValueError(f"exposure of {pc.min(frames['exptime_s'])} s")
    table.overwrite(frames, overwrite_filter=EqualTo("night", NIGHT))
    log.info("exposures: snapshot %d", table.current_snapshot().snapshot_id)
    return frames


def book_plan(catalog):
    table = catalog.load_table("night.target")
    plan = pa.Table.from_pylist(json.load(open("inbox/plan.json")), schema=table.schema().as_arrow())
    done = table.upsert(plan, join_cols=["target"])
    log.info("plan: %d updated, %d inserted", done.rows_updated, done.rows_inserted)
    return table.scan(selected_fields=("target", "priority")).to_arrow()


def book_seeing(catalog):
    answer = requests.get(
        os.environ["SEEING_API"] + "/dimm", params={"night": NIGHT}, timeout=3, headers={"X-Site-Key": "lasilla-7f3e"}
    )
    log.info("seeing monitor: %s, %d bytes: %s", answer.status_code, len(answer.content), answer.text[:110])
    answer.raise_for_status()
    table = catalog.load_table("night.seeing")
    samples = pa.Table.from_pylist(answer.json()["samples"]).cast(table.schema().as_arrow())
    table.append(samples)
    return samples


def main():
    catalog = load_catalog("observatory")
    log.info("tables: %s", [".".join(name) for name in catalog.list_tables("night")])
    frames = book_exposures(catalog)
    plan = book_plan(catalog)
    lost = frames.join(plan, "target", join_type="left anti")
    if lost.num_rows:
        raise ValueError(f"{lost.num_rows} exposures of targets that are in no plan: {lost['target'].to_pylist()[:5]}")
    samples = book_seeing(catalog)
    open_s = float(os.environ.get("DOME_OPEN_S", "32400"))
    used = pc.sum(frames["exptime_s"]).as_py()
    if used < 0.4 * open_s:
        raise ValueError(f"only {used:.0f} s of exposures in {open_s:.0f} s of open dome: frames are missing")
    log.info("efficiency %.2f at %.2f arcsec", used / open_s, pc.mean(samples["fwhm"]).as_py())


if __name__ == "__main__":
    main()
