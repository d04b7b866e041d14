import os

BOT_NAME = "tenders"
SPIDER_MODULES = ["tenders.spiders"]
PORTAL = os.environ["PORTAL_URL"]
ROBOTSTXT_OBEY = True
TELNETCONSOLE_ENABLED = False
USER_AGENT = "veille-marches/3.2 (+https://veille.example/robot)"

LOG_LEVEL = os.environ.get("LOG_LEVEL", "INFO")
DOWNLOAD_TIMEOUT = 2
RETRY_TIMES = 2
RETRY_PRIORITY_ADJUST = 1
CONCURRENT_REQUESTS = 8
CONCURRENT_REQUESTS_PER_DOMAIN = 8
DOWNLOAD_DELAY = 0
CLOSESPIDER_ERRORCOUNT = 5
MEMUSAGE_CHECK_INTERVAL_SECONDS = 0.5
MEMUSAGE_LIMIT_MB = int(os.environ.get("MEMUSAGE_LIMIT_MB", "1024"))

ITEM_PIPELINES = {
    "tenders.pipelines.Normalise": 100,
    "tenders.pipelines.Register": 300,
    "tenders.pipelines.ByDivision": 500,
}
FEEDS = {"feeds/notices.jsonl": {"format": "jsonlines", "overwrite": True, "encoding": "utf8"}}
LEAST_NOTICES = 50
