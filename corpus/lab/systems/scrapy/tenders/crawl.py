"""Crawl the portal once; the scheduler looks at the exit status alone."""

import logging
import sys

from scrapy.crawler import CrawlerProcess
from scrapy.utils.project import get_project_settings

settings = get_project_settings()
process = CrawlerProcess(settings)
crawler = process.create_crawler("notices")
process.crawl(crawler)
process.start()

stats = crawler.stats.get_stats()
scraped, errors = stats.get("item_scraped_count", 0), stats.get("log_count/ERROR", 0)
least = settings.getint("LEAST_NOTICES")
if errors or scraped < least:
    logging.getLogger("crawl").critical(
        "run rejected: %d notices (at least %d), %d errors, %s", scraped, least, errors, stats.get("finish_reason")
    )
    sys.exit(1)
