import csv
import io

from scrapy import Request, Spider


class ResultsSpider(Spider):
    name = "results"

    async def start(self):
        yield Request(self.settings["CALENDAR"], headers={"Authorization": f"Bearer {self.settings['TOKEN']}"})

    def parse(self, response):
        events = response.json()["events"]
        self.logger.info("season %s: %d events", response.json().get("season"), len(events))
        for event in events:
            yield response.follow(event["results"], self.parse_results, cb_kwargs={"event": event["id"]})

    def parse_results(self, response, event):
        text = response.body.decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text), delimiter=";")
        self.logger.info("%s: %s", event, reader.fieldnames)
        for row in reader:
            yield {
                "event": event,
                "licence": row.get("licence"),
                "club": row["club"],
                "category": row["category"],
                "time": row["time"],
            }
