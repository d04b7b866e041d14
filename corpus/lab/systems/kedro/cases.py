"""Kedro: a dairy cooperative's weekly payout into PostgreSQL, and a museum's visitor counters with parallel nodes."""

from __future__ import annotations

import json
import resource
from typing import Any

from corpus.lab.bench import Bench
from corpus.lab.case import Prepare, Program, System, case
from corpus.lab.faults import all_of, as_nobody, edited, kill_children, limited, small_disk
from corpus.lab.services import postgres
from corpus.lab.services.certificate import untrusted
from corpus.lab.services.web import Reply, answers, page, serve

COOPERATIVE = """
CREATE TABLE farm (farm text PRIMARY KEY, member text NOT NULL, iban text NOT NULL);
INSERT INTO farm SELECT 'H' || lpad(n::text, 3, '0'), 'Mitglied ' || n, 'DE02' || (500105170000000000 + n) FROM generate_series(1, 40) AS n;
CREATE TABLE advance (farm text REFERENCES farm, week text, euros double precision NOT NULL);
INSERT INTO advance SELECT 'H00' || n, '2026-W31', 150 FROM generate_series(1, 9) AS n;
CREATE TABLE payout (
    farm text NOT NULL REFERENCES farm, week text NOT NULL, litres double precision NOT NULL,
    euros double precision NOT NULL CHECK (euros > -500), PRIMARY KEY (farm, week)
);
"""
TOURS = "tour,farm,collected_at,litres,temp_c,tanker"
COUNTERS = ("atrium", "bronze", "coins", "garden", "maps", "rotunda")


def _tours() -> list[list[str]]:
    return [
        [
            f"T{day}{n % 4}",
            f"H{1 + n:03}",
            f"{27 + day:02}.07.2026 0{4 + n % 5}:{n % 60:02}",
            str(600 + n * 13),
            f"{3 + n % 4}.{day}",
            f"LKW-{n % 4}",
        ]
        for day in range(4)
        for n in range(40)
    ]


def _samples() -> list[dict[str, Any]]:
    return [
        {
            "farm": f"H{1 + n:03}",
            "day": f"2026-07-{27 + day}",
            "fat": 3.9 + n % 6 / 10,
            "protein": 3.2 + n % 5 / 10,
            "germs": 12_000 + n * 900,
        }
        for day in range(4)
        for n in range(40)
    ]


def _put_tours(bench: Bench, rows: list[list[str]], header: str = TOURS) -> None:
    bench.write("data/01_raw/tours.csv", "\n".join([header, *(",".join(row) for row in rows)]) + "\n")


def _put_samples(bench: Bench, rows: list[dict[str, Any]]) -> None:
    bench.write("data/01_raw/samples.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


PRICE = {"week": {"name": "2026-W31", "base_ct": 46.2, "malus_ct": 9.0}, "currency": "EUR"}


def _dairy(bench: Bench) -> None:
    server = postgres.start(bench, schema=COOPERATIVE, database="cooperative")
    bench.env["COOP_DB"] = server.url.replace("postgresql:", "postgresql+psycopg:")
    _put_tours(bench, _tours())
    _put_samples(bench, _samples())
    web = serve(bench, {"/v1/milk-price": [Reply(body=PRICE)]})
    bench.env |= {
        "PRICE_API": web.url,
        "PRICE_KEY": "mk_live_83b1f0c2",
        "KEDRO_LOGGING_CONFIG": "conf/base/logging.yml",
    }


DAIRY = Program(
    name="dairy",
    command=("kedro", "run"),
    files=("dairy/pyproject.toml", "dairy/conf", "dairy/src"),
    world=_dairy,
)


def _hours(at: int) -> list[list[str]]:
    return [
        [COUNTERS[at], f"2026-05-{4 + day:02}T{hour:02}:00", str(20 + (hour * 7 + at * 3) % 90), str(18 + hour)]
        for day in range(7)
        for hour in range(9, 19)
    ]


def _counter(bench: Bench, at: int, rows: list[list[str]], header: str = "gallery;hour;entered;left") -> None:
    text = "\n".join([header, *(";".join(row) for row in rows)]) + "\n"
    bench.write(f"data/01_raw/counters/{COUNTERS[at]}.csv", text)


def _exhibits() -> list[dict[str, Any]]:
    return [{"exhibit": f"E{n:04}", "gallery": COUNTERS[n % 6], "title": f"Exhibit {n}"} for n in range(90)]


def _museum(bench: Bench) -> None:
    for at in range(len(COUNTERS)):
        _counter(bench, at, _hours(at))
    rows = [f"{name},{180 + at * 45},{at % 3}" for at, name in enumerate(COUNTERS)]
    bench.write("data/01_raw/galleries.csv", "\n".join(["gallery,area_sqm,floor", *rows]) + "\n")
    web = serve(bench, {"/feed/exhibits": [Reply(body=_exhibits())]})
    bench.env["EXHIBITS"] = web.url


MUSEUM = Program(
    name="museum",
    command=("sh", "nightly.sh"),
    files=("museum/pyproject.toml", "museum/conf", "museum/src", "museum/nightly.sh"),
    world=_museum,
)


def _tour(number: int, **values: str) -> Prepare:
    names = TOURS.split(",")

    def inject(bench: Bench) -> None:
        rows = _tours()
        rows[number] = [values.get(name, old) for name, old in zip(names, rows[number], strict=True)]
        _put_tours(bench, rows)

    return inject


def _sample_twice(bench: Bench) -> None:
    rows = _samples()
    _put_samples(bench, [*rows, rows[101] | {"germs": 31_000}])


def _no_protein(bench: Bench) -> None:
    rows = _samples()
    rows[57]["protein"] = None
    _put_samples(bench, rows)


def _remark_with_comma(bench: Bench) -> None:
    rows = _tours()
    rows[88][5] = "LKW-0, spare, tank rinsed"
    _put_tours(bench, rows)


def _price(*replies: Reply) -> Prepare:
    return answers("/v1/milk-price", *replies)


NESTED_PRICE = {"week": {**PRICE["week"], "base_ct": {"cow": 46.2, "organic": 58.9}}, "currency": "EUR"}  # type: ignore[dict-item]


def _payout_held(bench: Bench) -> None:
    server = postgres.running(bench)
    server.execute("ALTER ROLE etl SET statement_timeout = '2s'; ALTER ROLE etl SET lock_timeout = '1500ms'")
    holder = postgres.session(bench, *server.socket("postgres", "cooperative"))
    postgres.say(holder, "BEGIN;\nLOCK TABLE payout IN ACCESS EXCLUSIVE MODE;")


def _slow_advances(bench: Bench) -> None:
    postgres.running(bench).execute(
        "ALTER TABLE advance RENAME TO advance_all; CREATE VIEW advance AS SELECT a.* FROM advance_all AS a, "
        "(SELECT count(*) AS many FROM generate_series(1, 40000000)) AS n WHERE n.many > 0; GRANT SELECT ON advance TO etl; "
        "ALTER ROLE etl SET statement_timeout = '1500ms'"
    )


def _unknown_room(bench: Bench) -> None:
    rows = _hours(2)
    rows[33][0] = "coin"
    extra = [["coin", f"2026-05-07T{hour:02}:00", "4", "4"] for hour in range(9, 18)]
    _counter(bench, 2, [*_hours(2), *extra])


def _all_pairs(bench: Bench) -> None:
    """The new release compares every gallery with every hour of four hundred weeks."""
    lines = (
        "    weeks = pd.concat([hours.assign(week=week) for week in range(400)], ignore_index=True).assign(one=1)\n"
        '    logger.info("history: %d rows", len(weeks))\n'
        '    logger.info("pairs: %d", len(weeks.merge(hours.assign(one=1), on="one")))\n'
    )
    bench.replace("src/museum/nodes.py", "    busy = hours.groupby", f"{lines}    busy = hours.groupby")
    bench.limits[resource.RLIMIT_AS] = 2_500_000_000


def _kill_run(bench: Bench) -> None:
    bench.when("counter coins", kill_children)


def _stranger(bench: Bench) -> None:
    _put_samples(bench, [*_samples(), *(row | {"farm": "H913"} for row in _samples()[30::40])])
    _tour(70, farm="H913")(bench)


def _exports(*replies: Reply) -> Prepare:
    return answers("/feed/exhibits", *replies)


def _read_only_reports(bench: Bench) -> None:
    bench.run("chown", "-R", "65534:65534", ".")
    bench.path("data/08_reporting/.keep").touch()
    bench.run("chown", "-R", "0:0", "data/08_reporting")
    as_nobody(bench)


CASES = (
    case(
        "germs_called_cells",
        "renamed",
        DAIRY,
        "the laboratory calls germs cells",
        edited("data/01_raw/samples.jsonl", '"germs"', '"cells"'),
    ),
    case(
        "garden_counts_entries",
        "renamed",
        MUSEUM,
        "one counter's new firmware calls entered entries",
        lambda bench: _counter(bench, 3, _hours(3), "gallery;hour;entries;left"),
        trap="missing values that cannot be made whole numbers: the frames were put together before",
    ),
    case(
        "price_by_kind",
        "nested",
        DAIRY,
        "the base price is an object of kinds of milk now",
        _price(Reply(body=NESTED_PRICE)),
        trap="a TypeError in our arithmetic",
        subtype="type_changed",
    ),
    case(
        "payout_wants_approver",
        "added",
        DAIRY,
        "the ledger's owner added a required column",
        postgres.script("ALTER TABLE payout ADD COLUMN approved_by text NOT NULL"),
        trap="a NOT NULL violation within a dataset's error",
        subtype="column_added",
    ),
    case(
        "members_table_renamed",
        "table_gone",
        DAIRY,
        "the ledger's owner renamed the members' table",
        postgres.script("ALTER TABLE farm RENAME TO member_farm"),
    ),
    case("milk_of_unknown_farm", "orphan", DAIRY, "a farm delivers that is no member", _stranger),
    case(
        "counter_of_no_gallery",
        "orphan",
        MUSEUM,
        "a counter reports hours of a gallery that the plan does not have",
        _unknown_room,
    ),
    case(
        "sample_twice",
        "duplicate",
        DAIRY,
        "the laboratory sends a sample twice",
        _sample_twice,
    ),
    case(
        "sample_without_protein",
        "null",
        DAIRY,
        "a sample has no protein",
        _no_protein,
        trap="another column than the one that is empty, two nodes later, in a long statement",
    ),
    case(
        "collected_at_half_past",
        "unparsable",
        DAIRY,
        "one time is written in words",
        _tour(21, collected_at="27.07.2026 halb 6"),
        subtype="invalid_date",
    ),
    case(
        "tanker_with_remark",
        "malformed",
        DAIRY,
        "one line holds unquoted commas",
        _remark_with_comma,
        trap="a count of fields, but of one line",
        subtype="malformed_file",
    ),
    case("price_service_down", "outage", DAIRY, "the price's service is down", _price(page(503))),
    case(
        "price_error_inside",
        "outage",
        DAIRY,
        "the service tells of its outage in a reply of status 200",
        _price(Reply(body={"error": {"code": 503, "message": "upstream temporarily unavailable", "retryable": True}})),
        trap="a KeyError in our node",
    ),
    case(
        "price_sign_in_page",
        "protocol",
        DAIRY,
        "a page comes with status 200",
        _price(Reply(200, page(502).body, {"Content-Type": "text/html; charset=utf-8"})),
        trap="a JSON error of the first character",
        subtype="outage_page",
    ),
    case(
        "price_certificate",
        "tls",
        DAIRY,
        "the service's certificate is none that anybody trusts",
        untrusted("PRICE_API", 30),
    ),
    case(
        "price_key_spent",
        "rate_limit",
        DAIRY,
        "the key's calls of the day are spent",
        _price(Reply(429, {"error": "quota of key mk_live_83b1f0c2 exhausted"}, {"Retry-After": "5400"})),
        trap="the key stands in the log; the library says that it could not fetch",
        subtype="quota_exceeded",
    ),
    case(
        "exhibits_reset", "reset", MUSEUM, "the feed's server resets every connection", _exports(Reply(ending="reset"))
    ),
    case(
        "ledger_sessions_taken",
        "connections",
        DAIRY,
        "the role's sessions are all taken",
        all_of(postgres.in_german, postgres.sessions_taken),
        trap="the server speaks German; an OperationalError about a failed connection",
    ),
    case(
        "advances_too_long",
        "time_limit",
        DAIRY,
        "the advances take longer than the role may",
        _slow_advances,
        subtype="query_timeout",
    ),
    case(
        "pairs_of_history", "memory", MUSEUM, "all pairs of four hundred weeks do not fit into the process", _all_pairs
    ),
    case(
        "intermediate_disk_full",
        "disk",
        MUSEUM,
        "the disk of the intermediate data is full",
        small_disk("data/02_intermediate", "4k"),
    ),
    case(
        "visits_killed",
        "killed",
        MUSEUM,
        "the kernel killed the run for memory",
        _kill_run,
        trap="no message of the process that went; a status in the wrapper's last line",
    ),
    case("few_handles", "handles", DAIRY, "the stage may hold few files open", limited(resource.RLIMIT_NOFILE, 5)),
    case(
        "ledger_locked",
        "concurrency",
        DAIRY,
        "another session holds the ledger's table",
        _payout_held,
        trap="a statement that was cancelled due to a timeout",
        subtype="lock_contention",
    ),
    case(
        "credentials_entry_renamed",
        "configuration",
        DAIRY,
        "our release names an entry of the credentials that does not exist",
        edited("conf/local/credentials.yml", "cooperative:", "cooperative_db:"),
        trap="credentials are missing, but those of the configuration",
    ),
    case(
        "samples_not_delivered",
        "missing_input",
        DAIRY,
        "the laboratory delivered nothing",
        lambda bench: bench.path("data/01_raw/samples.jsonl").unlink(),
    ),
    case(
        "inputs_misnamed",
        "code_bug",
        MUSEUM,
        "our new release gives a node one input too many",
        edited(
            "src/museum/pipeline_registry.py",
            '["hourly", "params:persons_per_guard"]',
            '["hourly", "daily", "params:persons_per_guard"]',
        ),
    ),
    case(
        "reports_not_ours", "permission", MUSEUM, "the reports' folder belongs to another account", _read_only_reports
    ),
)

SYSTEM = System(
    name="kedro",
    requirements=(
        "kedro==1.7.0",
        "kedro-datasets[pandas-csvdataset,pandas-jsondataset,pandas-parquetdataset,pandas-sqltabledataset,api-apidataset]==9.6.0",
        "pandas==3.1.1",
        "sqlalchemy==2.1.9",
        "pyarrow==26.0.1",
        "psycopg[binary]==3.3.9",
        "aiohttp==3.14.5",
    ),
    debian=("postgresql-15",),
    environment={"KEDRO_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"},
    cases=CASES,
)
