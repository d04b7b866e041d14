"""Parcel scans of one day: join the depots, total per region and hour, write parquet."""

import logging
import os

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
logging.getLogger("py4j").setLevel(logging.WARNING)
log = logging.getLogger("parcels")

OUT = os.environ.get("PARCELS_OUT", "out/hourly")
SCANS = "parcel_id STRING, depot STRING, scanned_at TIMESTAMP, weight_g INT, event STRING"

spark = SparkSession.builder.appName("parcel-scans").getOrCreate()
spark.sparkContext.setLogLevel(os.environ.get("SPARK_LEVEL", "WARN"))

scans = spark.read.schema(SCANS).csv("scans", header=True, mode="FAILFAST", enforceSchema=False)
depots = spark.read.parquet("depots")
log.info("depots: %s", depots.schema.simpleString())
log.info("%d depots, %d slots", depots.count(), depots.agg(F.sum("slots")).first()[0])

hourly = (
    scans.join(F.broadcast(depots), "depot")
    .groupBy("region", F.hour("scanned_at").alias("hour"))
    .agg(
        F.count("*").alias("scans"),
        F.sum("weight_g").alias("weight_g"),
        F.countDistinct("parcel_id").alias("parcels"),
        (F.sum("weight_g") / F.min("slots")).alias("g_per_slot"),
    )
)
hourly.write.mode("overwrite").parquet(OUT)
log.info("hourly figures written to %s", OUT)

events = scans.groupBy("event").agg(F.collect_set("parcel_id").alias("parcels"), F.max("scanned_at").alias("last"))
for row in events.collect():
    log.info("%s: %d parcels, last %s", row["event"], len(row["parcels"]), row["last"])
late = (
    scans.select("parcel_id", "event", "depot", F.expr("'d:' || depot || ':' || event").alias("tag"))
    .sort("parcel_id")
    .collect()
)
log.info("%d scans listed", len(late))
spark.stop()
