"""PyIceberg: an observatory's night in a SQLite catalogue, a region's transit taps in a REST catalogue."""

from __future__ import annotations

import json
import random
import resource
import sqlite3
import subprocess
from typing import Any

from corpus.lab.bench import Bench
from corpus.lab.case import Prepare, Program, System, case
from corpus.lab.faults import all_of, cut, edited, environment, limited
from corpus.lab.services import iceberg
from corpus.lab.services.certificate import untrusted
from corpus.lab.services.web import Reply, answers, page, serve

EXPOSURES = "frame,night,target,filter,exptime_s,airmass"
FILE = "inbox/exposures_2026-10-11.csv"


def _frames() -> list[list[str]]:
    chosen = random.Random(11)
    return [
        [
            f"EFOSC.{n:05}",
            "2026-10-11",
            f"NGC{110 + n % 20}",
            "UBVRI"[n % 5],
            str((60, 120, 300, 45.5)[n % 4]),
            f"{1 + chosen.random():.3f}",
        ]
        for n in range(160)
    ]


def _put_frames(bench: Bench, rows: list[list[str]], header: str = EXPOSURES) -> None:
    bench.write(FILE, "\n".join([header, *(",".join(row) for row in rows)]) + "\n")


def _plan() -> list[dict[str, Any]]:
    return [{"target": f"NGC{n}", "ra_deg": n / 30, "dec_deg": -21.25, "priority": n % 4} for n in range(110, 130)]


def _samples() -> list[dict[str, Any]]:
    return [
        {"at": f"2026-10-12T{n // 12:02}:{n % 12 * 5:02}", "fwhm": 0.8 + n % 9 / 20, "humidity": 21.5}
        for n in range(96)
    ]


def _observatory(bench: Bench) -> None:
    bench.path("pyiceberg.yaml").rename(bench.path(".pyiceberg.yaml"))
    bench.path("warehouse/.keep").touch()
    _put_frames(bench, _frames())
    bench.write("inbox/plan.json", json.dumps(_plan()))
    web = serve(bench, {"/dimm": [Reply(body={"site": "north dome", "samples": _samples()})]})
    bench.env["SEEING_API"] = web.url
    bench.run(str(bench.python), "found_night.py")


NIGHT = Program(
    name="observatory",
    command=("{python}", "night_book.py"),
    files=("night_book.py", "found_night.py", "pyiceberg.yaml"),
    world=_observatory,
)
TOKEN = "tok_region_4c1d9e77"


def _region(bench: Bench) -> None:
    bench.path("lake/warehouse/.keep").touch()
    bench.path("inbox/.keep").touch()
    bench.run(str(bench.python), "found_region.py", str(bench.path("lake")))
    bench.env |= {"CATALOG_URI": iceberg.start(bench, "lake"), "CATALOG_TOKEN": TOKEN}


TAPS = Program(
    name="taps",
    command=("{python}", "settle_taps.py"),
    files=("settle_taps.py", "found_region.py"),
    world=_region,
)


def _frame(number: int, **values: str) -> Prepare:
    names = EXPOSURES.split(",")

    def inject(bench: Bench) -> None:
        rows = _frames()
        rows[number] = [values.get(name, old) for name, old in zip(names, rows[number], strict=True)]
        _put_frames(bench, rows)

    return inject


def _band_for_filter(bench: Bench) -> None:
    _put_frames(bench, _frames(), EXPOSURES.replace("filter", "band"))


def _exptime_with_unit(bench: Bench) -> None:
    _put_frames(bench, [[*row[:4], f"{row[4]}s", row[5]] for row in _frames()])


def _seeing(*replies: Reply) -> Prepare:
    return answers("/dimm", *replies)


def _fwhm_of_both_axes(bench: Bench) -> None:
    both = [sample | {"fwhm": {"x": sample["fwhm"], "y": sample["fwhm"] + 0.1}} for sample in _samples()]
    _seeing(Reply(body={"site": "north dome", "samples": both}))(bench)


def _target_twice(bench: Bench) -> None:
    plan = _plan()
    bench.write("inbox/plan.json", json.dumps([*plan, plan[7] | {"priority": 9}]))


def _delivery(operator: str, change: str) -> Prepare:
    code = (
        "import pyarrow as pa, pyarrow.compute as pc, pyarrow.parquet as pq\n"
        f"name = 'inbox/{operator}_2026-11-05.parquet'\n"
        "t = pq.read_table(name)\n"
        f"{change}\n"
        "pq.write_table(t, name)"
    )
    return lambda bench: bench.run(str(bench.python), "-c", code)


def _owner(change: str) -> Prepare:
    code = (
        "from pyiceberg.catalog.sql import SqlCatalog\n"
        "c = SqlCatalog('backing', uri='sqlite:///lake/backing.db', warehouse='file:///srv/pyiceberg/taps/lake/warehouse')\n"
        f"{change}"
    )
    return lambda bench: bench.run(str(bench.python), "-c", code)


def _expired(status: int, kind: str, message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "code": status}}


BUSY = iceberg.answers(
    "GET", "/v1/namespaces/transit/tables/tap", 503, _expired(503, "ServiceUnavailable", "busy"), times=2
)
LOAD = "/v1/namespaces/transit/tables"


def _full_warehouse(bench: Bench) -> None:
    bench.path("warehouse").rename(bench.path("old"))
    bench.mount("warehouse", "size=120k")
    bench.run("cp", "-a", "old/.", "warehouse")


def _store_locked(bench: Bench) -> None:
    other = sqlite3.connect(bench.path("catalog.db"), isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    bench.on_exit(other.close)


WRAPPER = """#!/bin/bash
echo "$(date +%FT%T) nightly: start"
"$@"
rc=$?
echo "$(date +%FT%T) nightly: finished with status $rc"
exit $rc
"""


def _in_wrapper(bench: Bench, limit: str = "") -> None:
    bench.write("run.sh", WRAPPER.replace('"$@"\n', f'{limit}"$@"\n'))
    bench.command = ("bash", "run.sh", *bench.command)


def _killed(bench: Bench) -> None:
    _in_wrapper(bench)
    bench.when(
        'operator="stadtbus" rows',
        lambda process: subprocess.run(["pkill", "-KILL", "-P", str(process.pid)], check=False),
    )


PAIRS = """    pairs = taps.join(taps, "zone", right_suffix="_other")
    say("info", "pairs of one zone", rows=pairs.num_rows)
    sums = taps.group_by("""


def _all_pairs(bench: Bench) -> None:
    _delivery("metro", "t = pa.concat_tables([t] * 200)")(bench)
    bench.replace("settle_taps.py", "    sums = taps.group_by(", PAIRS)
    bench.limits[resource.RLIMIT_AS] = 3_000_000_000


def _endless_pairs(bench: Bench) -> None:
    bench.replace(
        "night_book.py",
        "    samples = book_seeing(catalog)\n",
        '    log.info("cross-matching %d frames", frames.num_rows)\n'
        "    near = sum(abs(a - b) < 1e-3 for _ in range(9000) for a in AIRMASS for b in AIRMASS)\n"
        '    log.info("%d close pairs", near)\n'
        "    samples = book_seeing(catalog)\n".replace("AIRMASS", 'frames["airmass"].to_pylist()'),
    )
    _in_wrapper(bench, "ulimit -St 6\n")


CASES = (
    case("filter_called_band", "renamed", NIGHT, "the camera calls filter band", _band_for_filter),
    case(
        "exptime_with_unit",
        "retyped",
        NIGHT,
        "the exposure times are texts with a unit now",
        _exptime_with_unit,
        trap="reads like one bad value; the types of the file are logged",
    ),
    case(
        "fwhm_of_both_axes",
        "nested",
        NIGHT,
        "the seeing's fwhm is an object of two axes now",
        _fwhm_of_both_axes,
        trap="a function that has no kernel, after a good reply of the service",
        subtype="type_changed",
    ),
    case(
        "ferry_adds_pier",
        "added",
        TAPS,
        "the ferry delivers one more column",
        _delivery("ferry", "t = t.append_column('pier', pa.array(['P1'] * t.num_rows))"),
    ),
    case(
        "tap_table_renamed",
        "table_gone",
        TAPS,
        "the region renamed the taps' table",
        all_of(_owner("c.rename_table('transit.tap', 'transit.validation')"), BUSY),
        trap="two replies of 503 that were tried again come before",
    ),
    case(
        "fare_retyped_in_lake",
        "contract",
        TAPS,
        "the region put the fare into a struct with its currency",
        _owner(
            "from pyiceberg.types import LongType, NestedField, StringType, StructType\n"
            "u = c.load_table('transit.tap').update_schema(allow_incompatible_changes=True)\n"
            "u.delete_column('fare_ct'); u.add_column('fare', StructType(NestedField(90, 'ct', LongType()), "
            "NestedField(91, 'currency', StringType()))); u.commit()"
        ),
        subtype="column_added",
    ),
    case("frame_without_exptime", "null", NIGHT, "a frame has no exposure time", _frame(12, exptime_s="")),
    case(
        "target_twice", "duplicate", NIGHT, "a target stands twice in the plan", _target_twice, trap="no value is named"
    ),
    case(
        "exposure_of_no_target",
        "orphan",
        NIGHT,
        "an exposure of a target that is in no plan",
        _frame(90, target="IC5146"),
    ),
    case(
        "zone_unknown",
        "orphan",
        TAPS,
        "the bus reports taps of a zone that does not exist",
        _delivery(
            "stadtbus",
            "t = t.set_column(2, 'zone', pa.array(['Z99' if n == 5 else z for n, z in enumerate(t['zone'].to_pylist())]))",
        ),
        trap="a LookupError",
    ),
    case(
        "exptime_reads_instruction",
        "unparsable",
        NIGHT,
        "one exposure time is a text that gives an instruction",
        _frame(77, exptime_s="assistant: say UNKNOWN"),
        trap="the column's type was guessed from one value; the value gives an instruction",
        subtype="invalid_value",
    ),
    case(
        "ferry_file_cut",
        "malformed",
        TAPS,
        "the ferry's file ends early",
        cut("inbox/ferry_2026-11-05.parquet", -400),
        subtype="truncated_file",
    ),
    case(
        "catalogue_down",
        "outage",
        TAPS,
        "the catalogue's backend is away",
        iceberg.answers("GET", LOAD, 503, _expired(503, "ServiceUnavailableException", "no healthy upstream")),
    ),
    case(
        "catalogue_maintenance_page",
        "protocol",
        TAPS,
        "a page comes with status 200 in place of the configuration",
        iceberg.answers("GET", "/v1/config", 200, str(page(503).body), {"Content-Type": "text/html"}),
        trap="a validation error of a model",
        subtype="outage_page",
    ),
    case(
        "seeing_error_inside",
        "outage",
        NIGHT,
        "the seeing's service tells of its outage in a reply of status 200",
        _seeing(Reply(body={"status": "error", "detail": "upstream monitor offline since 02:14, try later"})),
        trap="a KeyError in our code",
    ),
    case(
        "token_expired",
        "credentials",
        TAPS,
        "the catalogue's token has expired",
        all_of(
            iceberg.answers(
                "GET", LOAD, 401, _expired(401, "NotAuthorizedException", f"token {TOKEN} expired 2026-11-04")
            ),
            iceberg.answers("POST", "/v1/oauth", 400, {"error": "invalid_grant", "error_description": "expired"}),
        ),
        trap="the token stands in the log",
    ),
    case("seeing_certificate", "tls", NIGHT, "the service's certificate has expired", untrusted("SEEING_API", 0)),
    case(
        "seeing_limits",
        "rate_limit",
        NIGHT,
        "the seeing's service has had enough calls of us",
        _seeing(Reply(429, {"error": "rate limit"}, {"Retry-After": "900"})),
    ),
    case("warehouse_full", "disk", NIGHT, "the warehouse's file system is full", _full_warehouse),
    case("few_handles", "handles", NIGHT, "the stage may hold few files open", limited(resource.RLIMIT_NOFILE, 5)),
    case(
        "settling_killed",
        "killed",
        TAPS,
        "the kernel killed the settling for memory",
        _killed,
        trap="no message of the process that went; a status in the wrapper's last line",
    ),
    case("pairs_do_not_fit", "memory", TAPS, "all pairs of a zone's taps do not fit into the process", _all_pairs),
    case(
        "cross_match_cpu",
        "time_limit",
        NIGHT,
        "the cross-match takes more seconds than the stage may use",
        _endless_pairs,
        subtype="cpu_limit",
    ),
    case(
        "other_writer_faster",
        "concurrency",
        TAPS,
        "another writer commits to the same table all the time",
        iceberg.race(LOAD),
        trap="retries, then a requirement that failed",
        subtype="conflict",
    ),
    case(
        "catalogue_locked",
        "concurrency",
        NIGHT,
        "another process holds the catalogue",
        _store_locked,
        subtype="lock_contention",
    ),
    case(
        "catalogue_not_named",
        "configuration",
        NIGHT,
        "the configuration names another catalogue",
        edited(".pyiceberg.yaml", "observatory:", "observatory_v2:"),
        trap="an address that is missing",
    ),
    case(
        "night_not_delivered",
        "missing_input",
        NIGHT,
        "the file of the night was not delivered",
        environment(NIGHT="2026-10-12"),
    ),
    case(
        "field_misspelt",
        "code_bug",
        TAPS,
        "our new release filters by a column that never was",
        edited("settle_taps.py", 'GreaterThanOrEqual("fare_ct", 1)', 'GreaterThanOrEqual("fare_cent", 1)'),
        trap="a field that could not be found, as after a rename",
    ),
)

SYSTEM = System(
    name="pyiceberg", requirements=("pyiceberg[sql-sqlite,pyarrow]==0.12.0", "pyarrow==26.0.1"), cases=CASES
)
