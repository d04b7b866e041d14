"""Faults of the DataFrame job that totals parcel scans."""

from __future__ import annotations

import resource
import subprocess

from corpus.lab.bench import Bench, free_port
from corpus.lab.case import Case, Program
from corpus.lab.faults import cut, edited

HEADER = "parcel_id,depot,scanned_at,weight_g,event"
DEPOTS = """
import pyarrow as pa, pyarrow.parquet as pq
n = range(12)
pq.write_table(pa.table({
    "depot": [f"D{i:02d}" for i in n], "region": [("north", "south", "isles")[i % 3] for i in n],
    NAME: pa.array([VALUE for i in n], TYPE),
}), "depots/part-PART.parquet")
"""


def depots(
    bench: Bench, *, name: str = "slots", value: str = "400 + i", kind: str = "pa.int64()", part: str = "0"
) -> None:
    bench.path("depots/x")
    script = DEPOTS.replace("NAME", repr(name)).replace("VALUE", value).replace("TYPE", kind).replace("PART", part)
    bench.run(str(bench.python), "-c", script)


def scans(bench: Bench, count: int, header: str = HEADER) -> list[str]:
    lines = [
        f"PX{n:08d},D{n % 12:02d},2026-01-17 {n % 24:02d}:{n % 60:02d}:00,{300 + n % 9000},{('in', 'out', 'hold')[n % 3]}"
        for n in range(count)
    ]
    for part in range(2):
        bench.write(f"scans/scans-{part}.csv", "\n".join([header, *lines[part::2]]) + "\n")
    return lines


LOGGING = """
rootLogger.level = info
logger.spark.name = org.apache.spark
logger.spark.level = info
rootLogger.appenderRef.stderr.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{yy/MM/dd HH:mm:ss} %p %c{1}: %m%n%ex
"""


def log_all(bench: Bench) -> None:
    """Let Spark log from INFO on, as it does on a cluster."""
    bench.write("conf/log4j2.properties", LOGGING)
    bench.env |= {"SPARK_CONF_DIR": str(bench.directory / "conf"), "SPARK_LEVEL": "INFO"}


def world(bench: Bench) -> None:
    depots(bench)
    scans(bench, 6000)


def options(bench: Bench, *more: str) -> None:
    """Give spark-submit further options; the last one of a kind holds."""
    bench.env["PYSPARK_SUBMIT_ARGS"] = bench.env["PYSPARK_SUBMIT_ARGS"].replace(
        "pyspark-shell", " ".join([*more, "pyspark-shell"])
    )


PARCELS = Program(name="parcels", command=("{python}", "parcels.py"), files=("parcels.py",), world=world)


def _verbose(bench: Bench) -> None:
    world(bench)
    log_all(bench)


VERBOSE = Program(name="parcels_info", command=("{python}", "parcels.py"), files=("parcels.py",), world=_verbose)


def _reordered(bench: Bench) -> None:
    scans(bench, 6000, "parcel_id,depot,weight_g,scanned_at,event")


def _text_slots(bench: Bench) -> None:
    depots(bench, value="str(400 + i)", kind="pa.string()", part="1")


def _shredded(bench: Bench) -> None:
    bench.replace(
        "scans/scans-1.csv", "PX00002001,D09,2026-01-17 09:21:00,2301,in", "PX00002001,D09,2026-01-17 09:21:00,2301g,in"
    )


def _small_scratch(bench: Bench) -> None:
    scans(bench, 260_000)
    place = bench.mount("scratch", "size=1500k")
    bench.env["SPARK_LOCAL_DIRS"] = str(place)


def _big_list(bench: Bench) -> None:
    lines = scans(bench, 250_000)
    told = [f"{line} {'diag:ok;' * 100}" for line in lines]
    for part in range(2):
        bench.write(f"scans/scans-{part}.csv", "\n".join([HEADER, *told[part::2]]) + "\n")
    options(
        bench,
        "--driver-memory 480m",
        "--driver-java-options '-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:+ExitOnOutOfMemoryError'",
        "--conf spark.driver.maxResultSize=0",
    )


def _small_result(bench: Bench) -> None:
    scans(bench, 120_000)
    options(bench, "--conf spark.driver.maxResultSize=1m")


def _foreign_out(bench: Bench) -> None:
    subprocess.run(["chown", "-R", "nobody", str(bench.directory)], check=True)
    subprocess.run(["chown", "root", str(bench.path("out/x").parent)], check=True)
    bench.command = ("setpriv", "--reuid=65534", "--clear-groups", *bench.command)


def _no_hdfs(bench: Bench) -> None:
    bench.env["PARCELS_OUT"] = f"hdfs://127.0.0.1:{free_port()}/lake/parcels/hourly"
    options(
        bench,
        "--conf spark.hadoop.ipc.client.connect.max.retries=2",
        "--conf spark.hadoop.ipc.client.connect.retry.interval=200",
    )


def _no_name(bench: Bench) -> None:
    bench.env["PARCELS_OUT"] = "hdfs://namenode.lake.invalid:8020/parcels/hourly"


def _small_files(bench: Bench) -> None:
    scans(bench, 300_000)
    bench.limits[resource.RLIMIT_FSIZE] = 2_500_000


CASES = (
    Case(
        name="parcels_columns_swapped",
        family="contract",
        cause="two columns of the scans changed places",
        program=PARCELS,
        inject=_reordered,
    ),
    Case(
        name="parcels_slots_as_text",
        family="retyped",
        cause="a new depot file has slots as text",
        program=PARCELS,
        inject=_text_slots,
        trap="surfaces as a file that cannot be read, deep in the column reader",
    ),
    Case(
        name="parcels_depots_torn",
        family="malformed",
        subtype="truncated_file",
        cause="the depot file lacks its last bytes",
        program=VERBOSE,
        inject=cut("depots/part-0.parquet", -40),
    ),
    Case(
        name="parcels_weight_with_unit",
        family="unparsable",
        cause="one scan has a weight with a unit",
        program=VERBOSE,
        inject=_shredded,
        trap="hundreds of lines of progress, a task that is tried twice, an advice to change the mode",
    ),
    Case(
        name="parcels_scratch_full",
        family="disk",
        cause="the file system for shuffles is full",
        program=VERBOSE,
        inject=_small_scratch,
    ),
    Case(
        name="parcels_heap_ends",
        family="memory",
        cause="the scanners write diagnostics into every event; the driver's heap of 480 MB does not hold the list",
        program=PARCELS,
        inject=_big_list,
        trap="the virtual machine ends, the python side reports a refused connection",
    ),
    Case(
        name="parcels_result_too_large",
        family="limit",
        cause="the driver takes one megabyte of results",
        program=PARCELS,
        inject=_small_result,
    ),
    Case(
        name="parcels_hdfs_down",
        family="refused",
        cause="nothing listens at the name node's port",
        program=PARCELS,
        inject=_no_hdfs,
    ),
    Case(
        name="parcels_namenode_unknown",
        family="dns",
        cause="the name node's name does not resolve",
        program=VERBOSE,
        inject=_no_name,
        trap="surfaces as an illegal argument",
    ),
    Case(
        name="parcels_out_not_ours",
        family="permission",
        cause="the output folder belongs to another account",
        program=PARCELS,
        inject=_foreign_out,
        trap="surfaces as a failed job and a failed mkdir",
    ),
    Case(
        name="parcels_ambiguous",
        family="code_bug",
        cause="a change joins the depots by a condition and keeps both columns depot",
        program=PARCELS,
        inject=edited(
            "parcels.py",
            'F.broadcast(depots), "depot")',
            'F.broadcast(depots), scans["depot"] == depots["depot"]).withColumn("depot", F.upper("depot"))',
        ),
        trap="looks like a changed column",
    ),
)
