"""Cinema screenings: rate every film by the catalogue service, parse the programme texts, store the occupancy."""

import json
import logging
import os
import urllib.request

from pyspark import SparkFiles
from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import IntegerType, StringType

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
logging.getLogger("py4j").setLevel(logging.WARNING)
log = logging.getLogger("screenings")

CATALOGUE = os.environ["CATALOGUE_URL"]
SOURCE = os.environ.get("SCREENINGS", "screenings.jsonl")

spark = SparkSession.builder.appName("screenings").getOrCreate()
spark.sparkContext.setLogLevel(os.environ.get("SPARK_LEVEL", "INFO"))


@F.udf(IntegerType())
def minutes(text):
    hours, _, rest = text.partition("h")
    return int(hours) * 60 + int(rest.strip(" min") or 0)


@F.udf(StringType())
def check_schema_version(tag):
    return "v" + tag.split("-")[1]


def rate(films):
    for film in films:
        with urllib.request.urlopen(f"{CATALOGUE}/films/{film['film']}", timeout=2) as answer:
            entry = json.load(answer)
        yield Row(film=film["film"], title=entry["title"], age=entry["age"])


spark.sparkContext.addFile(CATALOGUE + "/halls.csv")
halls = spark.read.csv("file://" + SparkFiles.get("halls.csv"), header=True, inferSchema=True)
log.info("%d halls", halls.count())

shows = (
    spark.read.json(SOURCE).withColumn("minutes", minutes("length")).withColumn("version", check_schema_version("tag"))
)
log.info("%d screenings, %d minutes", *shows.agg(F.count("*"), F.sum("minutes")).first())

films = spark.createDataFrame(shows.select("film").distinct().rdd.mapPartitions(rate))
occupancy = (
    shows.join(films, "film")
    .join(halls, "hall")
    .groupBy("title", "hall", "version")
    .agg((100 * F.sum("sold") / F.sum("seats")).alias("occupancy"), F.max("age").alias("age"))
)
occupancy.write.mode("overwrite").json("out/occupancy")
log.info("occupancy of %d films", films.count())
spark.stop()
