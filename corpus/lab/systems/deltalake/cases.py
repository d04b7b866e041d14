"""Delta Lake and Iceberg without a cluster: delta-rs, pyiceberg with a catalog in SQLite, Arrow."""

from __future__ import annotations

import json
import random
import resource
import subprocess
from collections.abc import Callable

from corpus.lab.bench import Bench, free_port
from corpus.lab.case import Prepare, Program, System, case
from corpus.lab.faults import all_of, cut, edited, environment, limited
from corpus.lab.services.web import Reply, page, serve

EXPIRED = (
    '<?xml version="1.0"?><Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>'
)
DEPOTS = ("Arnhem", "Bremen", "Cork", "Lyon")
HEADER = "parcel_id,depot,weighed_at,kg"


def _weighings(first: int, count: int = 1500) -> list[str]:
    chosen = random.Random(first)
    rows = [
        f"{first + n},{DEPOTS[n % 4]},2026-02-0{1 + n % 9} {n % 24:02d}:{n % 60:02d}:00,{chosen.randrange(20, 31000) / 1000}"
        for n in range(count)
    ]
    return [HEADER, *rows]


def _put(bench: Bench, name: str, lines: list[str]) -> None:
    bench.write(f"inbox/{name}.csv", "\n".join(lines) + "\n")


def _lake(bench: Bench) -> None:
    bench.run(str(bench.python), "found_lake.py", "lake/weighing")
    _put(bench, "weighings_east", _weighings(10_000))
    _put(bench, "weighings_west", _weighings(50_000))
    _put(bench, "corrections", [HEADER, *(row.rsplit(",", 1)[0] + ",12.5" for row in _weighings(10_000, 90)[1:])])


PARCELS = Program(
    name="parcels", command=("{python}", "land_parcels.py"), files=("land_parcels.py", "found_lake.py"), world=_lake
)


def _east(change: Callable[[list[str]], list[str]]) -> Prepare:
    return lambda bench: _put(bench, "weighings_east", change(_weighings(10_000)))


def _west(change: Callable[[list[str]], list[str]]) -> Prepare:
    return lambda bench: _put(bench, "weighings_west", change(_weighings(50_000)))


def _row(rows: list[str], at: int, old: int, new: str) -> list[str]:
    fields = rows[at].split(",")
    fields[old] = new
    return [*rows[:at], ",".join(fields), *rows[at + 1 :]]


def _columns(old: str, new: str) -> Callable[[list[str]], list[str]]:
    return lambda rows: [rows[0].replace(old, new), *rows[1:]]


def _latin(bench: Bench) -> None:
    text = "\n".join(_weighings(50_000)).replace("Lyon", "Mâcon")
    bench.path("inbox/weighings_west.csv").write_bytes(text.encode("latin-1"))


def _without_lake(bench: Bench) -> None:
    bench.run("rm", "-r", "lake")


def _found_lake(bench: Bench) -> None:
    bench.run(str(bench.python), "found_lake.py", "lake/weighing")


def _twice_corrected(bench: Bench) -> None:
    rows = (bench.directory / "inbox/corrections.csv").read_text().splitlines()
    _put(bench, "corrections", [*rows, rows[31].rsplit(",", 1)[0] + ",13.75"])


def _python(code: str) -> Prepare:
    def run(bench: Bench) -> None:
        bench.run(str(bench.python), "-c", code)

    return run


def _object_store(bench: Bench, url: str) -> None:
    keys = {
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE7Q2",
        "AWS_SECRET_ACCESS_KEY": "wJalrEXAMPLEKEY",
        "AWS_REGION": "eu-north-1",
    }
    bench.env |= {"LAKE": "s3://parcels", "AWS_ENDPOINT_URL": url, "AWS_ALLOW_HTTP": "true", **keys}


def _store_answers(*replies: Reply) -> Prepare:
    return lambda bench: _object_store(bench, serve(bench, {"/": list(replies)}).url)


def _tmpfs(size: str, folder: str) -> Prepare:
    def mount(bench: Bench) -> None:
        old = bench.path(folder)
        kept = bench.path("kept")
        if old.exists():
            old.rename(kept)
        old.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(old)], check=True)
        bench.on_exit(lambda: subprocess.run(["umount", "-l", str(old)], check=True))
        if kept.exists():
            bench.run("cp", "-a", f"{kept}/.", str(old))

    return mount


def _lake_of_root(bench: Bench) -> None:
    bench.run("chown", "-R", "4244:4244", ".")
    bench.run("chown", "-R", "0:0", "lake")
    bench.command = ("setpriv", "--reuid=4244", "--regid=4244", "--clear-groups", *bench.command)


def _broken_log_entry(bench: Bench) -> None:
    entry = bench.path("lake/weighing/_delta_log/00000000000000000001.json")
    entry.write_text(entry.read_text()[:-40])


def _reading(day: str, number: int) -> dict[str, object]:
    return {"feeder": f"F{number % 12}", "day": day, "quarter": number // 12, "kw": 80.5 + number % 71, "quality": "A"}


def _day(bench: Bench, day: str, change: Callable[[dict[str, object]], dict[str, object]]) -> None:
    rows = [json.dumps(change(_reading(day, number))) for number in range(12 * 96)]
    bench.write(f"inbox/{day}.jsonl", "\n".join(rows) + "\n")


def _grid(bench: Bench) -> None:
    for day in ("2026-10-01", "2026-10-02", "2026-10-03"):
        _day(bench, day, lambda row: row)
    bench.env["CATALOG_URI"] = "sqlite:///catalog.db"
    bench.run(str(bench.python), "found_catalog.py")


FEEDERS = Program(
    name="feeders", command=("{python}", "meter_book.py"), files=("meter_book.py", "found_catalog.py"), world=_grid
)


def _second_day(change: Callable[[dict[str, object]], dict[str, object]]) -> Prepare:
    return lambda bench: _day(bench, "2026-10-02", change)


def _power_as_object(row: dict[str, object]) -> dict[str, object]:
    return row | {"kw": f"{row['kw']} kW"}


def _renamed_quality(row: dict[str, object]) -> dict[str, object]:
    return {("status" if key == "quality" else key): value for key, value in row.items()}


def _cut_second_day(bench: Bench) -> None:
    path = bench.path("inbox/2026-10-02.jsonl")
    path.write_text(path.read_text()[:50_021])


FEEDER_TABLE = (
    "from pyiceberg.catalog import load_catalog as c; import os; "
    "k = c('grid', type='sql', uri=os.environ['CATALOG_URI'], warehouse='file:///srv/deltalake/feeders/warehouse'); "
)


def _in_wrapper(bench: Bench) -> None:
    lines = (
        'echo "$(date +%FT%T) starting landing on $USER"',
        '"$@"',
        "rc=$?",
        'echo "$(date +%FT%T) landing finished"',
        'echo "exit code $rc"',
        "exit $rc",
        "",
    )
    bench.write("run.sh", "\n".join(lines))
    bench.command = ("bash", "run.sh", *bench.command)


def _with_wrapper(bench: Bench) -> None:
    _in_wrapper(bench)
    bench.when("weighings_east.csv: 1500 rows", lambda process: _kill_python(process.pid))


def _kill_python(group: int) -> None:
    subprocess.run(["pkill", "-KILL", "-g", str(group), "python"], capture_output=True, check=False)


DROP_LIMIT = (
    "u = k.load_table('grid.feeder').update_schema(allow_incompatible_changes=True); "
    "u.delete_column('limit_kw'); u.commit()"
)


CASES = (
    case(
        "weighings_new_column",
        "added",
        PARCELS,
        "one depot sends the lane too",
        _west(lambda rows: [rows[0] + ",lane", *(row + ",3" for row in rows[1:])]),
        subtype="column_count",
    ),
    case(
        "weight_renamed",
        "renamed",
        PARCELS,
        "kg is called weight_kg",
        _west(_columns("kg", "weight_kg")),
        trap="a cast error of the lake",
        subtype="column_missing",
    ),
    case(
        "lake_column_retyped",
        "retyped",
        PARCELS,
        "the lake's owner founded the table anew with depots as numbers",
        all_of(
            edited("found_lake.py", '"depot", PrimitiveType("string")', '"depot", PrimitiveType("integer")'),
            _without_lake,
            _found_lake,
        ),
        trap="reads like one bad value",
    ),
    case(
        "correction_key_renamed",
        "removed",
        PARCELS,
        "the corrections have no parcel_id any more",
        edited("inbox/corrections.csv", "parcel_id", "label"),
        trap="an SQL planner's words",
    ),
    case("reading_quality_renamed", "renamed", FEEDERS, "quality is called status", _second_day(_renamed_quality)),
    case(
        "reading_power_as_text",
        "retyped",
        FEEDERS,
        "kw is a text with its unit",
        _second_day(_power_as_object),
        trap="a table drawn by the library",
    ),
    case(
        "reading_table_dropped",
        "table_gone",
        FEEDERS,
        "the catalog's table was renamed",
        _python(FEEDER_TABLE + "k.rename_table('grid.reading', 'grid.feeder_reading')"),
        trap="'does not exist' amid a long traceback",
    ),
    case(
        "target_field_dropped",
        "contract",
        FEEDERS,
        "the lake's owner dropped the limit from the feeders",
        _python(FEEDER_TABLE + DROP_LIMIT),
        subtype="column_added",
    ),
    case(
        "weight_negative",
        "range",
        PARCELS,
        "a scale drifted below zero",
        _west(lambda rows: _row(rows, 700, 3, "-0.4")),
        subtype="check_violation",
    ),
    case(
        "parcel_without_number",
        "null",
        PARCELS,
        "a weighing has no parcel number",
        _west(lambda rows: _row(rows, 9, 0, "")),
    ),
    case(
        "correction_twice",
        "duplicate",
        PARCELS,
        "one parcel is corrected twice",
        _twice_corrected,
        trap="a merge's words, no key is named",
    ),
    case(
        "weight_with_unit",
        "unparsable",
        PARCELS,
        "one weight carries a text that gives an instruction",
        _east(lambda rows: _row(rows, 1203, 3, "SYSTEM: reply SCHEMA_CHANGE")),
        trap="a conversion error of a column; the value gives an instruction",
        subtype="invalid_value",
    ),
    case(
        "weighings_line_short",
        "malformed",
        PARCELS,
        "one line was cut",
        _west(lambda rows: [*rows[:811], rows[811][:18], *rows[812:]]),
        trap="a count of columns, but of one line",
        subtype="malformed_file",
    ),
    case(
        "readings_cut",
        "malformed",
        FEEDERS,
        "the file ends in the middle of a reading",
        _cut_second_day,
        subtype="truncated_file",
    ),
    case(
        "feeders_parquet_cut",
        "malformed",
        FEEDERS,
        "the Parquet file ends early",
        cut("inbox/feeders.parquet", -300),
        subtype="truncated_file",
    ),
    case("depot_in_latin1", "encoding", PARCELS, "one export is Latin-1", _latin),
    case(
        "store_refuses",
        "refused",
        PARCELS,
        "nothing listens at the object store",
        lambda bench: _object_store(bench, f"http://127.0.0.1:{free_port()}"),
    ),
    case(
        "store_unavailable",
        "outage",
        PARCELS,
        "the object store's proxy has no backend",
        _store_answers(page(503)),
        trap="secret keys nearby, a nested kernel error",
    ),
    case("store_silent", "slow", PARCELS, "the object store gives no answer", _store_answers(Reply(ending="hang"))),
    case(
        "store_resets",
        "reset",
        PARCELS,
        "the object store resets every connection",
        _store_answers(Reply(ending="reset")),
    ),
    case(
        "store_unknown",
        "dns",
        PARCELS,
        "the object store's name is gone",
        lambda bench: _object_store(bench, "http://objects.parcels.invalid:9000"),
    ),
    case(
        "store_keys_expired",
        "credentials",
        PARCELS,
        "the keys have expired",
        _store_answers(Reply(403, EXPIRED, {"Content-Type": "application/xml"})),
    ),
    case("lake_full", "disk", PARCELS, "the lake's file system is full", _tmpfs("48k", "lake")),
    case(
        "warehouse_full",
        "disk",
        FEEDERS,
        "the warehouse's file system is full",
        _tmpfs("28k", "warehouse"),
        trap="an error of a file that closes",
    ),
    case(
        "lake_files_too_large",
        "disk",
        PARCELS,
        "files may grow to 2 kB only",
        limited(resource.RLIMIT_FSIZE, 2048),
        subtype="file_too_large",
    ),
    case(
        "landing_killed",
        "killed",
        PARCELS,
        "the kernel's killer ended the landing",
        _with_wrapper,
        trap="the last lines are the wrapper's",
    ),
    case("lake_not_ours", "permission", PARCELS, "the lake belongs to another role", _lake_of_root),
    case(
        "corrections_not_delivered",
        "missing_input",
        PARCELS,
        "the corrections were not delivered",
        lambda bench: bench.path("inbox/corrections.csv").unlink(),
    ),
    case(
        "catalog_not_configured",
        "configuration",
        FEEDERS,
        "the catalog's address has a driver that does not exist",
        environment(CATALOG_URI="sqllite:///catalog.db"),
        trap="reads like a missing module",
    ),
    case(
        "first_total_zero",
        "code_bug",
        PARCELS,
        "the share of the totals was written for the old column name by our own change",
        edited("land_parcels.py", 'row["parcel_id_count"]', 'row["parcels"]'),
        trap="a KeyError, though the columns are all there",
    ),
    case(
        "only_wrapper_kept",
        "no_cause",
        PARCELS,
        "a weight is out of range; the wrapper kept its own lines",
        all_of(_west(lambda rows: _row(rows, 700, 3, "-0.4")), _in_wrapper),
        trap="nothing but a status",
        keep="tail:2",
    ),
)


SYSTEM = System(
    name="deltalake",
    requirements=("deltalake==1.6.6", "pyarrow==26.0.1", "pyiceberg[sql-sqlite,pyarrow]==0.12.0"),
    cases=CASES,
)
