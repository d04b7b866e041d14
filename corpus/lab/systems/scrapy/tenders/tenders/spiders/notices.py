import scrapy

from tenders.items import Notice


class NoticesSpider(scrapy.Spider):
    name = "notices"

    async def start(self):
        yield scrapy.Request(f"{self.settings['PORTAL']}/avis?page=1", self.parse)

    def parse(self, response):
        links = response.css("table.avis td.ref a::attr(href)").getall()
        if links:
            self.logger.info("%s: %d notices", response.url, len(links))
        else:
            tables = response.css("table::attr(class)").getall()
            self.logger.warning("%s: no notices; tables of the page: %s", response.url, tables)
        yield from response.follow_all(links, self.parse_notice)
        if following := response.css("nav a.suivant::attr(href)").get():
            yield response.follow(following, self.parse)

    def parse_notice(self, response):
        labels = [each.strip() for each in response.css("dl.fiche dt::text").getall()]
        fields = dict(zip(labels, response.css("dl.fiche dd::text").getall(), strict=True))
        notice = Notice(
            ref=response.css("h1::attr(data-ref)").get(),
            title=response.css("h1::text").get(),
            buyer=fields["SIRET"].replace(" ", ""),
            published=fields["Publié le"],
            deadline=fields["Date limite"],
            value_eur=fields["Montant estimé"],
        )
        yield response.follow(f"/api/avis/{notice['ref']}/lots", self.parse_lots, cb_kwargs={"notice": notice})

    def parse_lots(self, response, notice):
        notice["lots"] = [(lot["numero"], lot["cpv"]["code"], lot["intitule"]) for lot in response.json()["lots"]]
        yield notice
