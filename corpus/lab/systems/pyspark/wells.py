"""Water wells: land the readings, value them in SQL, append to the warehouse table."""

import logging
import os
import sys

from pyspark.sql import SparkSession

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
logging.getLogger("py4j").setLevel(logging.WARNING)
log = logging.getLogger("wells")

READINGS = "well STRING, taken_on STRING, level_m STRING, pump_h DOUBLE, litres BIGINT"

spark = SparkSession.builder.appName("wells").getOrCreate()
spark.sparkContext.setLogLevel(os.environ.get("SPARK_LEVEL", "WARN"))


def sql(name):
    with open("sql/" + name + ".sql", encoding="utf-8") as file:
        statement = file.read()
    log.info("running %s", name)
    return spark.sql(statement)


def main():
    spark.read.json("readings").createOrReplaceTempView("landed")
    log.info("landed: %s", spark.table("landed").schema.simpleString())
    spark.read.csv("rates.csv", header=True, inferSchema=True).createOrReplaceTempView("rates")
    spark.read.json("permits.json").createOrReplaceTempView("connection_limit")
    log.info("rates: %d rows for %d seasons", *spark.sql("SELECT count(*), count(DISTINCT season) FROM rates").first())
    sql("target")
    sql("valued").createOrReplaceTempView("valued")
    sql("append")
    for row in sql("usage").collect():
        log.info("%s: %.1f %% of the permit, %s", row["well"], row["share"], row["names"])
    if "--gate" in sys.argv:
        sql("gate").show(truncate=False)
    log.info("%d rows in the store", spark.table("well_day").count())


try:
    main()
except Exception:
    log.exception("wells stopped")
    sys.exit(1)
finally:
    spark.stop()
