"""Spark in local mode: DataFrames, Spark SQL under ANSI rules, Python functions on the executors."""

from __future__ import annotations

from corpus.lab.case import System
from corpus.lab.systems.pyspark import parcels_cases, screenings_cases, wells_cases

SYSTEM = System(
    name="pyspark",
    cases=parcels_cases.CASES + wells_cases.CASES + screenings_cases.CASES,
    requirements=("pyspark==4.3.0", "pyarrow==26.0.1"),
    environment={
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_SUBMIT_ARGS": "--master local[2,2] --driver-memory 600m --conf spark.ui.enabled=false --conf spark.ui.showConsoleProgress=false "
        "--driver-java-options '-XX:+UseSerialGC -XX:TieredStopAtLevel=1' --conf spark.sql.shuffle.partitions=2 "
        "--conf spark.sql.session.timeZone=UTC pyspark-shell",
    },
)
