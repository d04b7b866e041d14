"""SOAP and GraphQL: customs declarations (zeep, SQLite), a museum's works on loan (gql, graphql-core)."""

from __future__ import annotations

import json
import os
import resource
import signal
import sqlite3
import ssl
import subprocess
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from corpus.lab.bench import Bench, free_port
from corpus.lab.case import Case, Prepare, Program, System, case
from corpus.lab.faults import all_of, as_nobody, edited, renamed
from corpus.lab.services import certificate, sqlite, web

HERE = Path(__file__).parent
NS = "urn:authority:customs:v3"
CODES = ("0901.21", "2204.10", "4011.10", "8703.23")
STORE = f"""
CREATE TABLE tariff (tariff_code TEXT PRIMARY KEY, title TEXT NOT NULL);
INSERT INTO tariff VALUES {", ".join(f"('{code}', 'heading {code[:4]}')" for code in CODES)};
CREATE TABLE declaration (
    mrn TEXT PRIMARY KEY, lodged TEXT NOT NULL, consignee TEXT NOT NULL, tariff_code TEXT NOT NULL REFERENCES tariff,
    gross_mass NUMERIC NOT NULL CHECK (gross_mass > 0), duty NUMERIC NOT NULL
);
"""
PLANNER = """CREATE TABLE loan (
    work_id INTEGER PRIMARY KEY, title TEXT NOT NULL, year INTEGER, makers TEXT, room TEXT NOT NULL, walls INTEGER, insured REAL NOT NULL
)"""
ROOMS = ("A1", "A2", "B1", "C")
Fields = dict[str, str]
Work = dict[str, Any]


def declarations(page: int) -> list[Fields]:
    return [
        {
            "mrn": f"26ES{page:02}{n:06}A{n % 10}",
            "lodged": "2026-10-19",
            "consignee": f"Consignee {n % 13}",
            "tariffCode": CODES[n % 4],
            "grossMass": f"{120 + n * 7}.5",
            "duty": f"{30 + n}.25",
        }
        for n in range(40)
    ]


def element(fields: Fields) -> str:
    inner = "".join(
        f"<{name}>{value if value.startswith('<') else escape(value)}</{name}>" for name, value in fields.items()
    )
    return f"<declaration>{inner}</declaration>"


def envelope(body: str, status: int = 200, encoding: str = "utf-8") -> web.Reply:
    text = (
        '<?xml version="1.0" encoding="utf-8"?>'
        '<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/">'
        f"<soap:Body>{body}</soap:Body></soap:Envelope>"
    )
    return web.Reply(status, text.encode(encoding), {"Content-Type": "text/xml; charset=utf-8"})


def listed(found: Sequence[Fields], *, more: bool, encoding: str = "utf-8") -> web.Reply:
    inner = "".join(map(element, found))
    body = f'<ListDeclarationsResponse xmlns="{NS}">{inner}<more>{str(more).lower()}</more></ListDeclarationsResponse>'
    return envelope(body, encoding=encoding)


def total(value: Decimal) -> web.Reply:
    return envelope(f'<DayTotalResponse xmlns="{NS}"><duty>{value}</duty></DayTotalResponse>')


def receipt() -> web.Reply:
    return envelope(f'<AcknowledgeResponse xmlns="{NS}"><receipt>R-20261019-7</receipt></AcknowledgeResponse>')


def fault(code: str, text: str, detail: str = "") -> web.Reply:
    return envelope(
        f"<soap:Fault><faultcode>soap:{code}</faultcode><faultstring>{escape(text)}</faultstring><detail>{detail}</detail></soap:Fault>",
        500,
    )


def conversation(pages: Sequence[Sequence[Fields]], owed: Decimal | None = None) -> list[web.Reply]:
    """Give the authority's replies in the order in which the day is asked for."""
    sums = sum((Decimal(each["duty"]) for page in pages for each in page), Decimal())
    replies = [listed(page, more=at + 1 < len(pages)) for at, page in enumerate(pages)]
    return [*replies, total(sums if owed is None else owed), receipt()]


def wsdl(url: str, change: Callable[[str], str] = str) -> web.Reply:
    return web.Reply(
        200, change((HERE / "customs.wsdl").read_text()).replace("@URL@", url), {"Content-Type": "text/xml"}
    )


def publish(bench: Bench, replies: Sequence[web.Reply], tls: ssl.SSLContext | None = None) -> None:
    server = web.serve(bench, {"/ws/customs": list(replies)}, tls=tls)
    server.set("/ws/customs.wsdl", wsdl(server.url))
    lines = (
        "[authority]",
        f"wsdl = {server.url}/ws/customs.wsdl",
        "service = CustomsService",
        "port = Declarations",
        "user = forwarder-0417",
        "password = Aduana!2026-Vx",
        "[ours]",
        "day = 2026-10-19",
        "store = customs.db",
        "report = report/2026-10-19.csv",
        "notices = notices",
    )
    bench.write("customs.ini", "\n".join(lines) + "\n")


def customs_world(bench: Bench) -> None:
    publish(bench, conversation([declarations(1), declarations(2)]))
    bench.path("report/.keep").touch()
    sqlite.execute(bench, "customs.db", STORE)


def works() -> list[Work]:
    return [
        {
            "id": 100 + n,
            "title": f"Study {n}",
            "year": str(1890 + n % 60),
            "room": ROOMS[n % 4],
            "insured": 12_000.0 + n * 900,
            "makers": [{"name": f"Painter {n % 11}", "born": 1850 + n % 11}],
        }
        for n in range(130)
    ]


def lend(bench: Bench, rows: list[Work]) -> None:
    bench.write("works.json", json.dumps(rows))


def museum_world(bench: Bench) -> None:
    lend(bench, works())
    bench.write("rooms.json", json.dumps({room: {"walls": 3 + at} for at, room in enumerate(ROOMS)}, indent=1))
    sqlite.execute(bench, "planner.db", PLANNER)
    bench.env["LENDERS_KEY"] = "mus_3f9a"
    open_lenders(bench)


def open_lenders(bench: Bench) -> None:
    port = free_port()
    command = [str(bench.python), "lenders.py", str(port)]
    server = subprocess.Popen(command, cwd=bench.directory, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    bench.on_exit(server.wait)
    bench.on_exit(server.kill)
    assert server.stdout is not None
    server.stdout.readline()
    bench.env["LENDERS_URL"] = f"http://127.0.0.1:{port}"


def served_again(*changes: tuple[str, str]) -> Prepare:
    """Start the lenders' service with another schema."""

    def inject(bench: Bench) -> None:
        for old, new in changes:
            bench.replace("lenders.graphql", old, new)
        open_lenders(bench)

    return inject


CUSTOMS = Program(
    name="customs", command=("{python}", "customs_sync.py"), files=("customs_sync.py",), world=customs_world
)
MUSEUM = Program(
    name="museum",
    command=("{python}", "works_on_loan.py"),
    files=("works_on_loan.py", "lenders.py", "lenders.graphql"),
    world=museum_world,
)


def says(*replies: web.Reply) -> Prepare:
    return web.answers("/ws/customs", *replies)


def second_page(change: Callable[[Fields], Fields], number: int | None = None) -> Prepare:
    """Change the second page's declarations, or one of them."""
    page = [change(each) if number in (None, at) else each for at, each in enumerate(declarations(2))]
    return says(*conversation([declarations(1), page]))


def described(*changes: tuple[str, str]) -> Prepare:
    def change(text: str) -> str:
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        return text

    def inject(bench: Bench) -> None:
        server = web.running(bench)
        server.set("/ws/customs.wsdl", wsdl(server.url, change))

    return inject


def work(number: int, **values: Any) -> Prepare:
    rows = works()
    rows[number] |= values
    return lambda bench: lend(bench, rows)


def lenders(*replies: web.Reply) -> Prepare:
    """Put a proxy in the place of the lenders' service."""

    def inject(bench: Bench) -> None:
        bench.env["LENDERS_URL"] = web.serve(bench, {"/graphql": list(replies)}).url

    return inject


def _page_of_works(after: int) -> web.Reply:
    return web.Reply(body={"data": {"works": [each for each in works() if each["id"] > after][:40]}})


def _own_certificate(bench: Bench) -> None:
    pair = certificate.self_signed(bench, "ws.aduana.example")
    publish(bench, conversation([declarations(1)]), certificate.context(pair))


def _locked(bench: Bench) -> None:
    other = sqlite3.connect(bench.path("planner.db"), isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    bench.on_exit(other.close)


def _small_reports(bench: Bench) -> None:
    bench.mount("report", "size=4k")
    bench.write("report/2026-10-18.csv", "Consignee 1;4;812.5;131.0\n" * 157)


def _small_lists(bench: Bench) -> None:
    bench.limits[resource.RLIMIT_FSIZE] = 10_000


def _memory(bench: Bench) -> None:
    says(listed(declarations(1) * 2000, more=False))(bench)
    bench.limits[resource.RLIMIT_AS] = 240_000_000


def _handles(bench: Bench) -> None:
    bench.limits[resource.RLIMIT_NOFILE] = 14


def _killed(bench: Bench) -> None:
    def kill(process: subprocess.Popen[bytes]) -> None:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGKILL)

    first, *_ = conversation([declarations(1), declarations(2)])
    says(first, web.Reply(ending="hang"))(bench)
    bench.command = ("bash", "-c", '"$@"; rc=$?; echo "customs: status $rc"; exit $rc', "customs", *bench.command)
    bench.when("page 1", kill)


def _reports_of_other_account(bench: Bench) -> None:
    bench.run("chmod", "-R", "a+rwX", ".")
    bench.run("chmod", "755", "report")
    as_nobody(bench)


def _consignee_as_party(fields: Fields) -> Fields:
    return fields | {"consignee": f"<name>{fields['consignee']}</name><eori>ES0042</eori>"}


PARTY = (
    '<xs:complexType name="Declaration">',
    '<xs:complexType name="Party"><xs:sequence><xs:element name="name" type="xs:string"/>'
    '<xs:element name="eori" type="xs:string"/></xs:sequence></xs:complexType><xs:complexType name="Declaration">',
)
CONSIGNEE = ('name="consignee" type="xs:string"', 'name="consignee" type="c:Party"')
LODGED = ('name="lodged" type="xs:date"', 'name="lodged" type="xs:string"')
OFFICE = (
    '<xs:element name="page" type="xs:int"/>',
    '<xs:element name="page" type="xs:int"/><xs:element name="office" type="xs:string"/>',
)
LIMITED = {
    "data": None,
    "errors": [{"message": "Field budget of this key is spent until midnight", "extensions": {"code": "RATE_LIMITED"}}],
}
SPANISH_TOKEN = "El testigo de seguridad ha caducado; renueve las credenciales del operador 0417"
OUT_OF_HEAP = (
    "java.lang.OutOfMemoryError: Java heap space at es.aduana.ws.DeclarationEndpoint.list(DeclarationEndpoint.java:212)"
)
CHANGED_MEANWHILE = "La declaración 26ES01000007A7 ha sido modificada por otra transacción (versión 4, esperada 3)"

CASES = (
    case(
        "gross_mass_renamed",
        "renamed",
        CUSTOMS,
        "the authority sends grossMassKg",
        second_page(renamed("grossMass", "grossMassKg")),
    ),
    case(
        "office_asked_for",
        "contract",
        CUSTOMS,
        "the authority's new description of the service asks for the office",
        described(OFFICE),
        trap="a ValidationError about a missing element, as of bad data",
    ),
    case(
        "consignee_is_a_party",
        "nested",
        CUSTOMS,
        "the consignee is a party with a name and a number, in description and replies",
        all_of(
            described(PARTY, CONSIGNEE), says(*conversation([[_consignee_as_party(each) for each in declarations(1)]]))
        ),
        trap="a value that the store cannot bind",
        subtype="type_changed",
    ),
    case(
        "lodged_is_text",
        "retyped",
        CUSTOMS,
        "the day of lodging is a text of the form 19/10/2026 now",
        all_of(described(LODGED), says(*conversation([[each | {"lodged": "19/10/2026"} for each in declarations(1)]]))),
        trap="a str without isoformat, as of a bug in the program",
    ),
    case(
        "title_renamed",
        "renamed",
        MUSEUM,
        "the lenders' schema calls title displayTitle",
        served_again(("  title: String!", "  displayTitle: String!")),
    ),
    case(
        "makers_in_connection",
        "nested",
        MUSEUM,
        "the lenders' schema puts the makers into a connection",
        served_again(
            ("makers: [Maker!]!", "makers: MakerConnection!"),
            ("type Maker {", "type MakerConnection {\n  nodes: [Maker!]!\n}\n\ntype Maker {"),
        ),
        subtype="contract_mismatch",
    ),
    case(
        "code_not_in_tariff",
        "orphan",
        CUSTOMS,
        "a declaration's code is not in the tariff",
        second_page(lambda f: f | {"tariffCode": "9999.99"}, 23),
    ),
    case(
        "mass_with_unit",
        "unparsable",
        CUSTOMS,
        "one gross mass is written with a comma and a unit",
        second_page(lambda f: f | {"grossMass": "412,5 kg"}, 17),
        trap="a decimal operation of the library that fails, without the value",
        subtype="invalid_value",
    ),
    case(
        "duties_differ",
        "volume",
        CUSTOMS,
        "the authority's sum is another than that of its declarations",
        says(*conversation([declarations(1), declarations(2)], Decimal("4711.75"))),
        subtype="reconciliation",
    ),
    case(
        "room_not_in_house",
        "orphan",
        MUSEUM,
        "a work is to hang in a room that the house does not have",
        work(88, room="D4"),
        trap="a bare KeyError of two letters",
    ),
    case("work_without_title", "null", MUSEUM, "a work has no title", work(97, title=None)),
    case(
        "consignee_in_latin1",
        "encoding",
        CUSTOMS,
        "the authority sends a page in Latin-1 and calls it UTF-8",
        says(listed([f | {"consignee": "Añil y Compañía"} for f in declarations(1)], more=False, encoding="latin-1")),
    ),
    case("authority_away", "outage", CUSTOMS, "the authority's service is away", says(web.page(503))),
    case(
        "authority_out_of_heap",
        "outage",
        CUSTOMS,
        "the authority's own server has run out of memory",
        says(listed(declarations(1), more=True), fault("Server", OUT_OF_HEAP)),
        trap="a Java heap space that is not ours",
    ),
    Case(
        name="authority_token_expired",
        family="credentials",
        cause="the operator's token has expired; the service speaks Spanish",
        program=CUSTOMS,
        inject=says(fault("Client", SPANISH_TOKEN)),
        language="es",
    ),
    case(
        "authority_page",
        "protocol",
        CUSTOMS,
        "the authority's portal answers with its page and status 200",
        says(listed(declarations(1), more=True), web.Reply(200, web.page(503).body, {"Content-Type": "text/html"})),
        trap="an XML that cannot be parsed, as of a malformed file",
        subtype="outage_page",
    ),
    case(
        "authority_certificate",
        "tls",
        CUSTOMS,
        "the authority shows a certificate that nobody trusts",
        _own_certificate,
    ),
    case(
        "lenders_budget",
        "rate_limit",
        MUSEUM,
        "the lenders' service has had enough queries",
        lenders(_page_of_works(0), web.Reply(body=LIMITED)),
        trap="status 200 and an error about a field",
    ),
    case("page_memory", "memory", CUSTOMS, "the authority's page does not fit into the address space", _memory),
    case("few_handles", "handles", CUSTOMS, "the account may open hardly any files", _handles),
    case("report_volume_full", "disk", CUSTOMS, "the reports' volume is full", _small_reports),
    case(
        "planner_file_size",
        "disk",
        MUSEUM,
        "the account may not write files of that size",
        _small_lists,
        trap="a disk I/O error of the store, as of a broken disk",
        subtype="file_too_large",
    ),
    case("sync_killed", "killed", CUSTOMS, "the machine killed the sync for memory", _killed),
    case(
        "planner_held", "concurrency", MUSEUM, "another program holds the planner", _locked, subtype="lock_contention"
    ),
    Case(
        name="acknowledged_meanwhile",
        family="concurrency",
        cause="another run changed a declaration while this one worked; the service speaks Spanish",
        program=CUSTOMS,
        inject=says(*conversation([declarations(1), declarations(2)])[:-1], fault("Client", CHANGED_MEANWHILE)),
        trap="a fault of the service in Spanish, as if the service were ill",
        language="es",
        subtype="conflict",
    ),
    case(
        "port_renamed_in_settings",
        "configuration",
        CUSTOMS,
        "the new settings name a port that the service never had",
        edited("customs.ini", "port = Declarations", "port = DeclarationsTest"),
    ),
    case(
        "query_cut_in_release",
        "code_bug",
        MUSEUM,
        "the new release's query lacks a brace",
        edited("works_on_loan.py", "        makers { name born }\n", "        makers { name born\n"),
    ),
    case(
        "reports_of_other_account",
        "permission",
        CUSTOMS,
        "the folder of the reports belongs to another account",
        _reports_of_other_account,
    ),
)
SYSTEM = System(
    name="soap",
    requirements=("zeep==4.3.3", "gql==4.4.0", "graphql-core==3.3.2", "requests==2.34.2", "lxml==6.1.3"),
    cases=CASES,
)
