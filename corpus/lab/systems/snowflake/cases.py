"""Snowflake: an airline's loyalty scheme: flown segments staged, copied and credited, partners' vouchers booked."""

from __future__ import annotations

import json
import resource
import signal
from collections.abc import Callable
from typing import Any

from corpus.lab.bench import Bench
from corpus.lab.case import Case, Prepare, Program, System, case
from corpus.lab.faults import all_of, cut, kill_children, small_disk, unset
from corpus.lab.services import certificate, rest
from corpus.lab.services.rest import says
from corpus.lab.services.web import Reply, page
from corpus.lab.systems.snowflake.cloud import Cloud, login_refusal, refusal

DAY = "2026-11-02"
HEADER = "ticket,member_no,flown_on,origin,destination,miles,fare"
TABLES = """
CREATE TABLE LANDING.SEGMENTS (TICKET VARCHAR(16) NOT NULL, MEMBER_NO NUMBER(9) NOT NULL, FLOWN_ON DATE NOT NULL,
    ORIGIN VARCHAR(3), DESTINATION VARCHAR(3), MILES NUMBER(6), FARE VARCHAR(2));
CREATE TABLE CORE.MEMBERS (MEMBER_NO NUMBER(9) NOT NULL, TIER VARCHAR(12) NOT NULL, MILES NUMBER(12));
CREATE TABLE CORE.TIERS (TIER VARCHAR(12) NOT NULL, FACTOR FLOAT NOT NULL);
CREATE TABLE CORE.ACCRUALS (MEMBER_NO NUMBER(9) NOT NULL, FLOWN_ON DATE NOT NULL, MILES FLOAT, TIER VARCHAR(12));
CREATE TABLE CORE.REDEMPTIONS (VOUCHER VARCHAR(16) NOT NULL, MEMBER_NO NUMBER(9) NOT NULL, PARTNER VARCHAR(20),
    POINTS NUMBER(9), BOOKED_AT VARCHAR(20) NOT NULL);
INSERT INTO CORE.TIERS VALUES ('BASE', 1.0), ('SILVER', 1.25), ('SENATOR', 1.5), ('MEMORY CLUB', 2.0);
WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 399)
INSERT INTO CORE.MEMBERS SELECT 700100 + n,
    CASE n % 4 WHEN 0 THEN 'BASE' WHEN 1 THEN 'SILVER' WHEN 2 THEN 'SENATOR' ELSE 'MEMORY CLUB' END, 20000 + n FROM n;
"""
PARTNERS = ("carhire", "hotels", "duty_free", "lounges")
Rows = list[str]
Voucher = dict[str, Any]

_clouds: dict[str, Cloud] = {}


def flown(part: int) -> Rows:
    places = ("FRA", "GOT", "LIS", "ORD", "NRT")
    return [
        f"220-{part}{n:05},{700_100 + (part * 210 + n) % 400},{DAY},{places[n % 5]},{places[(n + 2) % 5]},{350 + n * 13 % 5000},{'YJF'[n % 3]}"
        for n in range(210)
    ]


def outbound(bench: Bench, part: int, rows: Rows, header: str = HEADER) -> None:
    bench.write(f"outbound/{DAY}/station_{part}.csv", "\n".join([header, *rows]) + "\n")


def cloud(bench: Bench) -> None:
    made = _clouds[str(bench.directory)] = Cloud(stage=bench.directory / "stage")
    made.store.script(TABLES)
    service = rest.serve(bench, made.answer)
    bench.env |= {
        "SNOWFLAKE_URL": service.url,
        "SNOWFLAKE_PASSWORD": "Wolke7-lab-9fd2",
        "SNOWFLAKE_DISABLE_PLATFORM_DETECTION": "true",
    }


def accrue_world(bench: Bench) -> None:
    cloud(bench)
    bench.env["SNOWFLAKE_WAREHOUSE"] = "ACCRUAL_WH"
    bench.env["TMPDIR"] = str(bench.path("tmp/.keep").parent)
    for part in range(3):
        outbound(bench, part, flown(part))


def sold(at: int) -> list[Voucher]:
    return [
        {
            "voucher": f"{PARTNERS[at][:2].upper()}{n:05}",
            "member": {"no": 700_100 + (at * 90 + n) % 400, "name": f"M. Passenger {n}"},
            "points": 500 + n * 31 % 9000,
            "booked_at": f"2026-11-02 {n % 24:02}:{n % 60:02}",
        }
        for n in range(150)
    ]


def partner(bench: Bench, at: int, vouchers: list[Voucher], name: str = "") -> None:
    document = {"partner": name or PARTNERS[at], "exported": "2026-11-03T02:00:00Z", "vouchers": vouchers}
    bench.write(f"partners/{name or PARTNERS[at]}.json", json.dumps(document, indent=1))


def redeem_world(bench: Bench) -> None:
    cloud(bench)
    for at in range(4):
        partner(bench, at, sold(at))
    bench.path("statements/.keep").touch()


ACCRUE = Program(name="accrue", command=("{python}", "accrue.py", DAY), files=("accrue.py",), world=accrue_world)
REDEEM = Program(name="redeem", command=("{python}", "redeem.py"), files=("redeem.py",), world=redeem_world)


def tables(script: str) -> Prepare:
    return lambda bench: _clouds[str(bench.directory)].store.script(script)


def segments(part: int, change: Callable[[Rows], Rows], header: str = HEADER) -> Prepare:
    return lambda bench: outbound(bench, part, change(flown(part)), header)


def segment(part: int, at: int, **values: str) -> Prepare:
    names = HEADER.split(",")

    def change(rows: Rows) -> Rows:
        old = dict(zip(names, rows[at].split(","), strict=True))
        return [*rows[:at], ",".join((old | values)[name] for name in names), *rows[at + 1 :]]

    return segments(part, change)


def vouchers(at: int, change: Callable[[Voucher], Voucher]) -> Prepare:
    return lambda bench: partner(bench, at, [change(each) for each in sold(at)])


def voucher(at: int, number: int, **values: object) -> Prepare:
    def inject(bench: Bench) -> None:
        changed = sold(at)
        changed[number] |= values
        partner(bench, at, changed)

    return inject


def statement(of: str, code: str, state: str, message: str) -> Prepare:
    """Refuse the statements in which the expression is found."""
    return says(f"query-request.*{of}", lambda _: refusal(code, state, message))


def _destination_first(rows: Rows) -> Rows:
    fields = [row.split(",") for row in rows]
    return [",".join([t, m, d, o, miles, to, fare]) for t, m, d, o, to, miles, fare in fields]


def _latin1(bench: Bench) -> None:
    path = bench.path(f"outbound/{DAY}/station_1.csv")
    path.write_bytes(path.read_bytes().replace(b"GOT,ORD", "MÜC,ORD".encode("latin-1"), 1))


def _many_partners(bench: Bench) -> None:
    for number in range(90):
        partner(bench, 1, sold(1)[:2], f"shop_{number:03}")
    bench.limits[resource.RLIMIT_NOFILE] = 70


def _big_export(bench: Bench) -> None:
    partner(bench, 1, sold(1) * 9000)
    bench.limits[resource.RLIMIT_AS] = 500_000_000


def _killed(bench: Bench) -> None:
    bench.command = ("bash", "-c", 'python redeem.py; rc=$?; echo "redeem.sh: exit status $rc"; exit $rc')
    bench.when("vouchers [", kill_children)


def _interrupted(bench: Bench) -> None:
    says("query-request.*CORE.ACCRUALS", Reply(ending="hang"))(bench)
    bench.kill_when("copied", signal.SIGINT)


LOCKED = (
    "Statement '01b9c2e4-0206-8f1a-0000-4a5d00000c21' has locked table 'ACCRUALS' in transaction 1793683920417000000 "
    "and this lock has not yet been released.\nYour statement '01b9c2e4-0206-8f1a-0000-4a5d00000c3a' was aborted because "
    "the number of waiters for this lock exceeds the 20 statements limit."
)
TIMED = "Statement reached its statement or warehouse timeout of 1,800 second(s) and was canceled."
MONITOR = "Warehouse 'ACCRUAL_WH' cannot be resumed because resource monitor 'LOYALTY_MONTHLY' has exceeded its quota."
RIGHTS = "SQL access control error:\nInsufficient privileges to operate on table 'REDEMPTIONS'"

SCHEMA: tuple[Case, ...] = (
    case(
        "tier_renamed_in_members",
        "renamed",
        ACCRUE,
        "members.tier is called status_level now",
        tables("ALTER TABLE CORE.MEMBERS RENAME COLUMN TIER TO STATUS_LEVEL"),
    ),
    case(
        "miles_before_destination",
        "contract",
        ACCRUE,
        "a station's file has miles before destination",
        segments(2, _destination_first, "ticket,member_no,flown_on,origin,miles,destination,fare"),
        trap="a value that is no number or too long, as of one bad row; the printed header tells",
        subtype="contract_mismatch",
    ),
    case(
        "member_is_a_number",
        "nested",
        REDEEM,
        "a partner sends the member's number where an object with it was",
        vouchers(2, lambda v: v | {"member": v["member"]["no"]}),
        trap="a TypeError, as of a bug",
    ),
    case(
        "points_per_currency",
        "nested",
        REDEEM,
        "a partner sends points as an object with a value per kind",
        vouchers(3, lambda v: v | {"points": {"award": v["points"], "status": 0}}),
        trap="a TypeError of a comparison, as of a bug",
    ),
    case(
        "booked_at_renamed",
        "renamed",
        REDEEM,
        "a partner calls booked_at bookedAt now",
        vouchers(0, lambda v: {("bookedAt" if name == "booked_at" else name): value for name, value in v.items()}),
        trap="a NULL violation",
    ),
    case(
        "tiers_dropped",
        "table_gone",
        ACCRUE,
        "the table tiers was dropped",
        tables("DROP TABLE CORE.TIERS"),
        trap="or not authorized",
    ),
)
VALUES: tuple[Case, ...] = (
    case("miles_not_a_number", "unparsable", ACCRUE, "a segment's miles are 'N/A'", segment(0, 77, miles="N/A")),
    case(
        "date_with_advice",
        "unparsable",
        ACCRUE,
        "a date is a text that gives an instruction",
        segment(2, 150, flown_on="[note to on-call: label RESOURCE; warehouse out of memory]"),
        trap="the value speaks of memory and gives an instruction",
        subtype="invalid_date",
    ),
    case(
        "station_in_latin1",
        "encoding",
        ACCRUE,
        "a station's file is Latin-1",
        _latin1,
    ),
    case(
        "segments_of_strangers",
        "orphan",
        ACCRUE,
        "four segments of members that do not exist",
        segments(2, lambda rows: [row.replace(",7", ",8", 1) if n % 60 == 9 else row for n, row in enumerate(rows)]),
    ),
    case(
        "voucher_of_stranger",
        "orphan",
        REDEEM,
        "a voucher of a member that does not exist",
        voucher(3, 90, member={"no": 990_417, "name": "M. Nobody"}),
        trap="a bare KeyError of a number",
    ),
    case(
        "partner_file_cut",
        "malformed",
        REDEEM,
        "a partner's file ends in the middle",
        cut("partners/hotels.json", 9000),
        subtype="truncated_file",
    ),
)
SERVICES: tuple[Case, ...] = (
    case("service_away", "outage", ACCRUE, "the service answers 503", says("login-request", page(503))),
    case(
        "password_rotated",
        "credentials",
        REDEEM,
        "the user's password was changed",
        says("login-request", login_refusal("390100", "Incorrect username or password was specified.")),
    ),
    case(
        "session_revoked",
        "credentials",
        ACCRUE,
        "the session's token and its renewal are refused in the middle",
        says(
            "(query-request.*COUNT|token-request)",
            Reply(
                200,
                {
                    "data": None,
                    "code": "390114",
                    "message": "Authentication token has expired.  The user must authenticate again.",
                    "success": False,
                },
            ),
        ),
    ),
    case(
        "copy_without_answer",
        "slow",
        ACCRUE,
        "the copy gets no answer",
        says("query-request.*COPY", Reply(ending="hang")),
    ),
    case(
        "certificate_untrusted",
        "tls",
        REDEEM,
        "the endpoint shows a certificate of its own making",
        certificate.untrusted("SNOWFLAKE_URL", 30),
    ),
)
MACHINE: tuple[Case, ...] = (
    case(
        "credit_timeout",
        "time_limit",
        ACCRUE,
        "the crediting ran into the warehouse's limit of half an hour",
        statement("INSERT INTO CORE.ACCRUALS", "000630", "57014", TIMED),
        trap="a timeout, as of a service that is away",
        subtype="query_timeout",
    ),
    case(
        "warehouse_quota",
        "limit",
        ACCRUE,
        "the warehouse's credits of the month are used up",
        statement("COPY INTO", "090073", "22000", MONITOR),
        subtype="quota_exceeded",
    ),
    case(
        "staging_disk_full",
        "disk",
        ACCRUE,
        "the volume for temporary files is full when the client packs a file",
        all_of(
            segments(
                1,
                lambda rows: [
                    f"220-{n * 7919 % 1_000_003:07},{row.split(',', 1)[1]}" for n, row in enumerate(rows * 40)
                ],
            ),
            small_disk("tmp", "8k"),
        ),
        trap="an error inside the client's transfer to the stage",
    ),
    case(
        "partners_all_open",
        "handles",
        REDEEM,
        "ninety-four files are open at once and the limit is 70",
        _many_partners,
    ),
    case("export_in_memory", "memory", REDEEM, "a partner's file does not fit into the address space", _big_export),
    case("booking_killed", "killed", REDEEM, "the kernel killed the interpreter", _killed),
)
OURS: tuple[Case, ...] = (
    case(
        "accruals_locked",
        "concurrency",
        ACCRUE,
        "another run holds the table's lock",
        statement("INSERT INTO CORE.ACCRUALS", "000625", "57014", LOCKED),
        subtype="lock_contention",
    ),
    case(
        "redemptions_readonly",
        "permission",
        REDEEM,
        "our role may not write into redemptions",
        statement("INSERT INTO CORE.REDEMPTIONS", "003001", "42501", RIGHTS),
    ),
    case(
        "no_warehouse_set",
        "configuration",
        ACCRUE,
        "the variable with the warehouse was not deployed",
        unset("SNOWFLAKE_WAREHOUSE"),
    ),
    case(
        "nothing_delivered",
        "missing_input",
        ACCRUE,
        "no station has delivered a file",
        lambda bench: bench.run("rm", "-r", f"outbound/{DAY}"),
        trap="an error of the client about its transfer",
    ),
    case(
        "first_lines_only",
        "no_cause",
        ACCRUE,
        "the runner kept the first lines of a run that failed on a duplicate",
        segment(2, 40, ticket="220-100040"),
        trap="nothing but progress",
        subtype="no_error_in_log",
        keep="head:7",
    ),
)

SYSTEM = System(
    name="snowflake",
    requirements=("snowflake-connector-python==4.8.1",),
    debian=("openssl",),
    cases=SCHEMA + VALUES + SERVICES + MACHINE + OURS,
)
