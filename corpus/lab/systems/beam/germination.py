"""Seed bank: germination trials (Avro) with accepted names (HTTP) to viability per accession (Parquet)."""

import datetime as dt
import json
import logging
import os
import sys
import traceback
import typing

import apache_beam as beam
import pyarrow as pa
import requests
from apache_beam.options.pipeline_options import PipelineOptions

log = logging.getLogger("germination")


class JsonLines(logging.Formatter):
    def format(self, record):
        line = {
            "ts": dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds"),
            "severity": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps(line, ensure_ascii=False)


class Trial(typing.NamedTuple):
    accession: str
    taxon: str
    sown: int
    germinated: int
    day: int


beam.coders.registry.register_coder(Trial, beam.coders.RowCoder)


def as_trial(record) -> Trial:
    return Trial(
        accession=record["accession"],
        taxon=record["taxon"].strip().capitalize(),
        sown=record["sown"],
        germinated=record["germinated"],
        day=record["day"],
    )


class AcceptedNames(beam.DoFn):
    """Ask the names service for a batch of taxa at once."""

    def setup(self):
        self.session = requests.Session()
        self.session.headers["Authorization"] = "Bearer " + os.environ["NAMES_TOKEN"]
        adapter = requests.adapters.HTTPAdapter(
            max_retries=requests.adapters.Retry(total=2, backoff_factor=0.1, status_forcelist=[502, 503, 504])
        )
        self.session.mount("http://", adapter)
        self.session.mount("https://", adapter)

    def process(self, batch):
        taxa = sorted({trial.taxon for trial in batch})
        answer = self.session.get(f"{os.environ['NAMES_URL']}/accepted", params={"name": taxa[:3]}, timeout=3)
        kind, size = answer.headers.get("Content-Type"), len(answer.content)
        log.info("names service: %s %s, %d bytes for %d taxa", answer.status_code, kind, size, len(taxa))
        answer.raise_for_status()
        names = {each["name"]: each["accepted"] for each in answer.json()}
        for trial in batch:
            yield names[trial.taxon], trial


class Viability(beam.CombineFn):
    def create_accumulator(self):
        return 0, 0, 0

    def add_input(self, total, trial):
        if not 0 <= trial.germinated <= trial.sown:
            raise ValueError(f"accession {trial.accession}: {trial.germinated} of {trial.sown} seeds germinated")
        return total[0] + trial.sown, total[1] + trial.germinated, max(total[2], trial.day)

    def merge_accumulators(self, totals):
        columns = list(zip(*totals, strict=True))
        return sum(columns[0]), sum(columns[1]), max(columns[2])

    def extract_output(self, total):
        return total


def as_record(named):
    species, (sown, germinated, day) = named
    return {"species": species, "sown": sown, "germinated": germinated, "share": germinated / sown, "last_day": day}


SCHEMA = pa.schema(
    [
        ("species", pa.string()),
        ("sown", pa.int32()),
        ("germinated", pa.int32()),
        ("share", pa.float64()),
        ("last_day", pa.int16()),
    ]
)


def main():
    with beam.Pipeline(options=PipelineOptions(sys.argv[1:])) as p:
        trials = (
            p
            | "ReadTrials" >> beam.io.ReadFromAvro(os.environ.get("TRIALS", "trials/*.avro"))
            | "AsTrial" >> beam.Map(as_trial)
        )
        (
            trials
            | "Batch" >> beam.BatchElements(min_batch_size=50, max_batch_size=200)
            | "AcceptedNames" >> beam.ParDo(AcceptedNames())
            | "Viability" >> beam.CombinePerKey(Viability())
            | "AsRecord" >> beam.Map(as_record)
            | "WriteViability"
            >> beam.io.WriteToParquet("lake/viability", SCHEMA, file_name_suffix=".parquet", num_shards=1)
        )


if __name__ == "__main__":
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, force=True, handlers=[handler])
    try:
        main()
    except Exception:
        log.exception("germination pipeline failed")
        sys.exit(1)
    log.info("germination pipeline done")
