"""The rain bulletin: clean the gauges' readings, sum them up by catchment, store them, write the bulletin."""

import csv
import gzip
import json
import logging
import os
import sqlite3
import urllib.request

import luigi

log = logging.getLogger("luigi-interface")


class Readings(luigi.ExternalTask):
    day = luigi.DateParameter()

    def output(self) -> luigi.LocalTarget:
        return luigi.LocalTarget(f"incoming/gauges-{self.day}.csv.gz", format=luigi.format.Nop)


class Gauges(luigi.Task):
    day = luigi.DateParameter()
    registry = luigi.Parameter()

    def output(self) -> luigi.LocalTarget:
        return luigi.LocalTarget(f"work/{self.day}/gauges.json")

    def run(self) -> None:
        with urllib.request.urlopen(f"{self.registry}/gauges?on={self.day}", timeout=1) as reply:
            log.info(
                "registry: %d %s, %s bytes",
                reply.status,
                reply.headers["Content-Type"],
                reply.headers["Content-Length"],
            )
            gauges = {each["gauge"]: each["catchment"] for each in json.load(reply)}
        with self.output().open("w") as file:
            json.dump(gauges, file)


class CleanReadings(luigi.Task):
    day = luigi.DateParameter()

    def requires(self) -> dict[str, luigi.Task]:
        return {"readings": Readings(day=self.day), "gauges": Gauges(day=self.day)}

    def output(self) -> luigi.LocalTarget:
        return luigi.LocalTarget(f"work/{self.day}/clean.csv")

    def run(self) -> None:
        with self.input()["gauges"].open() as file:
            catchments = json.load(file)
        with (
            gzip.open(self.input()["readings"].path, "rt", encoding="utf-8", newline="") as file,
            self.output().open("w") as clean,
        ):
            readings = csv.DictReader(file)
            log.info("%s: columns %s", self.input()["readings"].path, readings.fieldnames)
            writer = csv.writer(clean)
            for row in readings:
                writer.writerow([catchments[row["gauge"]], row["hour"], float(row["mm"])])
        log.info("cleaned %d readings of %d gauges", readings.line_num - 1, len(catchments))


class CatchmentTotals(luigi.Task):
    day = luigi.DateParameter()
    least = luigi.IntParameter(default=0)
    worker_timeout = luigi.IntParameter(default=20, significant=False)

    def requires(self) -> luigi.Task:
        return CleanReadings(day=self.day)

    def output(self) -> luigi.LocalTarget:
        return luigi.LocalTarget(f"work/{self.day}/totals.json")

    def run(self) -> None:
        totals: dict[str, list[float]] = {}
        with self.input().open() as file:
            for catchment, _, mm in csv.reader(file):
                totals.setdefault(catchment, []).append(float(mm))
        for catchment, seen in totals.items():
            log.info("%s: %d readings, %.1f mm", catchment, len(seen), sum(seen))
            if len(seen) < self.least:
                raise ValueError(f"{catchment}: {len(seen)} readings, at least {self.least} expected")
        with self.output().open("w") as file:
            json.dump({name: round(sum(seen), 1) for name, seen in totals.items()}, file)


class StoreTotals(luigi.Task):
    day = luigi.DateParameter()
    store = luigi.Parameter()

    def requires(self) -> luigi.Task:
        return CatchmentTotals(day=self.day)

    def output(self) -> luigi.LocalTarget:
        return luigi.LocalTarget(f"work/{self.day}/stored")

    def run(self) -> None:
        with self.input().open() as file:
            totals = json.load(file)
        with sqlite3.connect(self.store) as store:
            rows = [(name, self.day.isoformat(), mm) for name, mm in totals.items()]
            store.executemany("INSERT INTO rain (catchment, day, mm) VALUES (?, ?, ?)", rows)
        with self.output().open("w") as file:
            file.write(f"{len(rows)}\n")


class Bulletin(luigi.Task):
    day = luigi.DateParameter()
    store = luigi.Parameter()

    def requires(self) -> luigi.Task:
        return StoreTotals(day=self.day, store=self.store)

    def output(self) -> luigi.LocalTarget:
        return luigi.LocalTarget(f"bulletins/{self.day}.txt")

    def run(self) -> None:
        with sqlite3.connect(self.store) as store:
            listed = store.execute(
                "SELECT c.title, r.mm, r.mm / c.normal FROM rain AS r JOIN catchment AS c USING (catchment) WHERE r.day = ? ORDER BY 1",
                (self.day.isoformat(),),
            ).fetchall()
        with self.output().open("w") as file:
            for title, mm, share in listed:
                file.write(f"{title:12} {mm:8.1f} mm {share:5.0%}\n")
        log.info("bulletin of %d catchments, %s", len(listed), os.path.basename(self.output().path))
