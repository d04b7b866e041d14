import os

BOT_NAME = "ascents"
SPIDER_MODULES = ["ascents.spiders"]
CALENDAR = os.environ["CALENDAR_URL"]
TOKEN = os.environ.get("TIMING_TOKEN", "")
TELNETCONSOLE_ENABLED = False
ROBOTSTXT_OBEY = False
DNS_TIMEOUT = 3
DOWNLOAD_TIMEOUT = 2
RETRY_TIMES = 1
LOG_FORMAT = "%(levelname)-8s %(asctime)s [%(name)s] %(message)s"
LOG_DATEFORMAT = "%d.%m. %H:%M:%S"
LOG_LEVEL = os.environ.get("LOG_LEVEL", "INFO")
DOWNLOAD_VERIFY_CERTIFICATES = True
ITEM_PIPELINES = {"ascents.pipelines.Seconds": 200, "ascents.pipelines.Clubs": 400}
FEED_EXPORT_FIELDS = ["event", "licence", "club", "category", "seconds"]
FEED_EXPORT_ENCODING = "utf-8"
