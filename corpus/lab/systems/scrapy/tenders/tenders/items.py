import scrapy


class Notice(scrapy.Item):
    ref = scrapy.Field()
    title = scrapy.Field()
    buyer = scrapy.Field()
    published = scrapy.Field()
    deadline = scrapy.Field()
    value_eur = scrapy.Field()
    lots = scrapy.Field()
