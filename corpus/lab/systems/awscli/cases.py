"""The AWS command line and s3cmd: nightly shell scripts against moto's server, or against a store that answers badly."""

from __future__ import annotations

import atexit
import functools
import gzip
import hashlib
import resource
import subprocess
import time
import urllib.request
from collections.abc import Callable, Sequence

from corpus.lab.bench import Bench, free_port
from corpus.lab.case import Case, Prepare, Program, System
from corpus.lab.faults import small_disk, unset
from corpus.lab.services.web import Reply, serve

FIELDS = "visit_no,clinic,ward,seen_on,fee_cents"
SETUP = """
import boto3, pathlib
s3 = boto3.client("s3")
place = {"LocationConstraint": "eu-central-1"}
for name in s3.list_buckets()["Buckets"]:
    for one in s3.list_objects_v2(Bucket=name["Name"]).get("Contents", ()):
        s3.delete_object(Bucket=name["Name"], Key=one["Key"])
    s3.delete_bucket(Bucket=name["Name"])
for name in ("clinic-landing", "clinic-reports", "dem-raw", "dem-public"):
    s3.create_bucket(Bucket=name, CreateBucketConfiguration=place)
for path in pathlib.Path("store").rglob("*.*"):
    bucket, _, key = str(path.relative_to("store")).partition("/")
    s3.put_object(Bucket=bucket, Key=key, Body=path.read_bytes())
if not pathlib.Path("store/clinic-landing").is_dir() and not pathlib.Path("store/dem-raw").is_dir():
    raise SystemExit("nothing to store")
dynamodb = boto3.client("dynamodb")
for name in dynamodb.list_tables()["TableNames"]:
    dynamodb.delete_table(TableName=name)
TABLE, KEY, KIND = "NAMES".split()
dynamodb.create_table(
    TableName=TABLE, BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": KEY, "KeyType": "HASH"}],
    AttributeDefinitions=[{"AttributeName": KEY, "AttributeType": KIND}],
)
"""
S3CFG = """[default]
access_key = AKIAQ3EXAMPLE7TN2XWP
secret_key = h2Zx9q0mPfakeQ8vJ7cW1d5sK3bN6rT4yL0gUeXa
host_base = 127.0.0.1:PORT
host_bucket = 127.0.0.1:PORT
use_https = False
signature_v2 = False
bucket_location = eu-central-1
socket_timeout = 2
max_retries = 2
"""
Change = Callable[[list[str]], list[str]]


@functools.cache
def cloud(bench_python: str) -> int:
    """Start moto's server, which takes seconds, once for all cases; give its port."""
    port = free_port()
    command = [bench_python.replace("/python", "/moto_server"), "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    atexit.register(server.kill)
    for _ in range(150):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2)
        except OSError:
            time.sleep(0.2)
        else:
            return port
    raise RuntimeError("the cloud does not start")


def point(bench: Bench, port: int) -> None:
    bench.env |= {
        "AWS_ACCESS_KEY_ID": "AKIAQ3EXAMPLE7TN2XWP",
        "AWS_SECRET_ACCESS_KEY": "h2Zx9q0mPfakeQ8vJ7cW1d5sK3bN6rT4yL0gUeXa",
        "AWS_EC2_METADATA_DISABLED": "true",
        "S3_ENDPOINT": f"http://127.0.0.1:{port}",
        "DAY": "2026-11-21",
        "LANDING": "clinic-landing",
        "REPORTS": "clinic-reports",
        "SOURCE": "s3://dem-raw",
        "TARGET": "s3://dem-public",
    }
    bench.write("s3cfg", S3CFG.replace("PORT", str(port)))


def stock(bench: Bench, table: str = "visit-review visit_no S") -> None:
    """Put what `store/` holds into an empty cloud."""
    port = cloud(str(bench.python))
    point(bench, port)
    keys = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_DEFAULT_REGION": "eu-central-1"}
    settings = [f"{name}={value}" for name, value in keys.items()]
    bench.run("env", *settings, str(bench.python), "-c", SETUP.replace("NAMES", table))
    bench.env["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def visit_lines(clinic: int, count: int) -> list[str]:
    rows = [
        f"{clinic * 10_000 + n},C{clinic:02d},{('surgery', 'eyes', 'heart', 'timeout')[n % 4]},2026-11-21,{2500 + n}"
        for n in range(count)
    ]
    return [FIELDS, *rows]


def visits(
    bench: Bench, change: Change = lambda lines: lines, count: int = 300, table: str = "visit-review visit_no S"
) -> None:
    sums = []
    for clinic in range(1, 6):
        lines = visit_lines(clinic, count)
        body = gzip.compress(("\n".join(change(lines) if clinic == 3 else lines) + "\n").encode(), mtime=0)
        path = bench.path(f"store/clinic-landing/2026-11-21/clinic-{clinic}.csv.gz")
        path.write_bytes(body)
        sums.append(f"{hashlib.sha256(body).hexdigest()}  {path.name}")
    bench.write("store/clinic-landing/2026-11-21/SHA256SUMS.txt", "\n".join(sums) + "\n")
    stock(bench, table)


def tiles(bench: Bench, change: Callable[[str], str] = lambda text: text, size: int = 60_000) -> None:
    names = [f"N4{n}E00{n}.hgt" for n in range(5)]
    for n, name in enumerate(names):
        body = b"".join(hashlib.sha256(f"{name}{k}".encode()).digest() for k in range(size // 32))
        bench.path(f"store/dem-raw/{name}").write_bytes(body if n else body[:4000])
    bench.write("store/dem-raw/manifest.txt", change("".join(f"{name} 90\n" for name in names)))
    stock(bench)


VISITS = Program(name="visits", command=("bash", "visits.sh"), files=("visits.sh", "tally.py"), world=visits)
TILES = Program(name="tiles", command=("sh", "tiles.sh"), files=("tiles.sh",), world=tiles)


def changed(change: Change) -> Prepare:
    return lambda bench: visits(bench, change)


def refusal(status: int, code: str, message: str) -> Reply:
    """S3's way to say no."""
    body = f"<Error><Code>{code}</Code><Message>{message}</Message><RequestId>7Q2KJ94NPX0E</RequestId></Error>"
    head = '<?xml version="1.0" encoding="UTF-8"?>\n'
    return Reply(status, head + body, {"Content-Type": "application/xml", "x-amz-request-id": "7Q2KJ94NPX0E"})


def instead(*replies: Reply) -> Prepare:
    """Let another server stand in for the store; it answers everything so."""
    given: Sequence[Reply | Callable[[str], Reply]] = list(replies)
    return lambda bench: point(bench, serve(bench, {"/": given}).port)


def store_of_tiles(put: Reply) -> Prepare:
    body = b"".join(hashlib.sha256(str(k).encode()).digest() for k in range(500))
    routes: dict[str, Sequence[Reply | Callable[[str], Reply]]] = {
        "/dem-raw/manifest.txt": [
            Reply(
                200,
                "N46E008.hgt 90\n",
                {
                    "Last-Modified": "Sat, 21 Nov 2026 04:10:00 GMT",
                    "ETag": f'"{hashlib.md5(b"N46E008.hgt 90" + bytes([10])).hexdigest()}"',
                },
            )
        ],
        "/dem-raw/N46": [
            Reply(
                200,
                body,
                {"Last-Modified": "Sat, 21 Nov 2026 04:10:00 GMT", "ETag": f'"{hashlib.md5(body).hexdigest()}"'},
            )
        ],
        "/dem-public": [put],
    }
    return lambda bench: point(bench, serve(bench, routes).port)


def cut_archive(bench: Bench) -> None:
    path = bench.path("store/clinic-landing/2026-11-21/clinic-4.csv.gz")
    body = path.read_bytes()[:1500]
    path.write_bytes(body)
    sums = bench.path("store/clinic-landing/2026-11-21/SHA256SUMS.txt")
    lines = [line for line in sums.read_text().splitlines() if "clinic-4" not in line]
    sums.write_text("\n".join([*lines, f"{hashlib.sha256(body).hexdigest()}  clinic-4.csv.gz"]) + "\n")
    stock(bench)


def other_bytes(bench: Bench) -> None:
    path = bench.path("store/clinic-landing/2026-11-21/clinic-2.csv.gz")
    body = bytearray(path.read_bytes())
    body[700:720] = bytes(20)
    path.write_bytes(bytes(body))
    stock(bench)


def nothing_delivered(bench: Bench) -> None:
    for path in bench.path("store/clinic-landing/2026-11-21/x").parent.glob("*.gz"):
        path.unlink()
    bench.write("store/clinic-landing/2026-11-21/SHA256SUMS.txt", "")
    stock(bench)


def renamed(lines: list[str]) -> list[str]:
    return [lines[0].replace("fee_cents", "fee"), *lines[1:]]


def one(number: int, old: str, new: str) -> Change:
    return lambda lines: [line.replace(old, new) if n == number else line for n, line in enumerate(lines)]


def by_column(bench: Bench) -> None:
    tiles(bench, lambda text: text.replace(" 90", ""))


def killed(bench: Bench) -> None:
    bench.limits[resource.RLIMIT_FSIZE] = 20_000
    tiles(bench)


CASES = (
    Case(
        name="fee_renamed",
        family="renamed",
        cause="one clinic's fee_cents is called fee",
        program=VISITS,
        inject=changed(renamed),
    ),
    Case(
        name="review_table_gone",
        family="table_gone",
        cause="the table of bookings was renamed",
        program=VISITS,
        inject=lambda bench: visits(bench, table="visit-review-v2 visit_no S"),
        trap="the cloud calls a missing table a resource that is not found",
    ),
    Case(
        name="review_key_retyped",
        family="retyped",
        cause="the table's key is a number now",
        program=VISITS,
        inject=lambda bench: visits(bench, table="visit-review visit_no N"),
    ),
    Case(
        name="manifest_of_one_column",
        family="column_count",
        cause="the manifest does not give the tiles' resolution any more",
        program=TILES,
        inject=by_column,
        subtype="column_missing",
        trap="surfaces as an arithmetic error of the shell",
    ),
    Case(
        name="fee_of_words",
        family="unparsable",
        cause="a fee is the text waived",
        program=VISITS,
        inject=changed(one(121, ",2620", ",waived")),
    ),
    Case(
        name="visit_twice",
        family="duplicate",
        cause="a file holds a visit twice",
        program=VISITS,
        inject=changed(lambda lines: [*lines[:12], lines[11], *lines[12:]]),
    ),
    Case(
        name="archive_cut",
        family="malformed",
        cause="a clinic's archive ends in its middle",
        program=VISITS,
        inject=cut_archive,
        subtype="truncated_file",
    ),
    Case(
        name="archive_differs",
        family="malformed",
        cause="an archive is not the one of the checksums",
        program=VISITS,
        inject=other_bytes,
        subtype="corruption",
    ),
    Case(
        name="store_refuses",
        family="refused",
        cause="nobody listens where the store was",
        program=VISITS,
        inject=lambda bench: point(bench, free_port()),
    ),
    Case(
        name="token_expired",
        family="credentials",
        cause="the session's token expired",
        program=VISITS,
        inject=instead(refusal(400, "ExpiredToken", "The provided token has expired.")),
    ),
    Case(
        name="store_slow_down",
        family="rate_limit",
        cause="the store throttles",
        program=VISITS,
        inject=instead(refusal(503, "SlowDown", "Please reduce your request rate.")),
        trap="status 503",
    ),
    Case(
        name="store_hangs",
        family="slow",
        cause="the store does not answer",
        program=TILES,
        inject=instead(Reply(ending="hang")),
    ),
    Case(
        name="landing_full",
        family="disk",
        cause="the volume of the landing is full",
        program=VISITS,
        inject=small_disk("landing", "12k"),
        subtype="disk_full",
    ),
    Case(
        name="public_store_full",
        family="disk",
        cause="the public store has no room",
        program=TILES,
        inject=store_of_tiles(
            refusal(
                507,
                "XMinioStorageFull",
                "Storage backend has reached its minimum free drive threshold. Please delete a few objects to proceed.",
            )
        ),
        subtype="disk_full",
        trap="an answer of the store with a status of 5xx",
    ),
    Case(
        name="tiles_file_limit",
        family="disk",
        cause="the account may not write files as large as a tile",
        program=TILES,
        inject=killed,
        subtype="file_too_large",
    ),
    Case(
        name="role_may_not_list",
        family="permission",
        cause="our own role may not list the bucket",
        program=VISITS,
        inject=instead(
            refusal(
                403,
                "AccessDenied",
                "User: arn:aws:sts::210987654321:assumed-role/visits-etl/nightly is not authorized to perform: s3:ListBucket on resource: "
                "&quot;arn:aws:s3:::clinic-landing&quot; because no identity-based policy allows the s3:ListBucket action",
            )
        ),
        trap="an answer of the cloud with status 403, and the word resource",
    ),
    Case(
        name="day_unset",
        family="configuration",
        cause="the deployment does not set the day",
        program=VISITS,
        inject=unset("DAY"),
    ),
    Case(
        name="visits_not_delivered",
        family="missing_input",
        cause="the clinics delivered no archive",
        program=VISITS,
        inject=nothing_delivered,
    ),
)
SYSTEM = System(name="awscli", requirements=("moto[s3,server]==5.2.5",), debian=("awscli", "s3cmd"), cases=CASES)
