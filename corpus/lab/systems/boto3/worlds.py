"""The stages that work with S3, SQS and DynamoDB: moto's server as the cloud, and a server that answers badly in its place."""

from __future__ import annotations

import atexit
import functools
import subprocess
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from corpus.lab.bench import Bench, free_port
from corpus.lab.case import Prepare, Program
from corpus.lab.services.web import Reply, serve

KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIAQ3EXAMPLE7TN2XWP",
    "AWS_SECRET_ACCESS_KEY": "h2Zx9q0mPfakeQ8vJ7cW1d5sK3bN6rT4yL0gUeXa",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/nonexistent",
}
FILES = """
import boto3
s3 = boto3.client("s3")
for name in ("parcels-landing", "parcels-curated"):
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
for part in range(8):
    rows = [
        {"parcel_no": f"P{part}{n:05d}", "depot": ("Hannover", "Lyon", "Malmö")[n % 3],
         "scanned_at": f"2026-03-01T{n % 24:02d}:00", "grams": str(200 + n)}
        for n in range(COUNT)
    ]
    CHANGE
    lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
    body = ("\\n".join(lines) + "\\n").encode("utf-8")
    AFTER
    if part < PARTS:
        s3.put_object(Bucket="parcels-landing", Key=f"2026-03-01/scans-{part}.csv", Body=body)
"""
EVENTS = """
import boto3, json
sqs, dynamodb = boto3.client("sqs"), boto3.client("dynamodb")
url = sqs.create_queue(QueueName="charging-sessions")["QueueUrl"]
names, kind = ("station_id", "session_no"), "S"
TABLE
if names:
    dynamodb.create_table(
        TableName="sessions", BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": n, "KeyType": t} for n, t in zip(names, ("HASH", "RANGE"))],
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": kind} for n in names],
    )
for n in range(60):
    event = {"station_id": f"CP-{n % 9}", "session_no": f"S-{n:04d}", "started_at": "2026-03-01T05:00:00+00:00",
             "ended_at": f"2026-03-01T06:{n % 60:02d}:00+00:00", "kwh": 7.5 + n / 10}
    CHANGE
    body = json.dumps(event)
    AFTER
    sqs.send_message(QueueUrl=url, MessageBody=body)
"""
SCENES = """
import array, boto3
s3 = boto3.client("s3")
for name in ("scenes", "indices"):
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
for band, base in (("B04", 300), ("B08", 2100)):
    values = array.array("H", [base + n % 977 for n in range(COUNT)])
    CHANGE
    body = values.tobytes()
    AFTER
    if body:
        s3.put_object(Bucket="scenes", Key=f"T32UQD/{band}.raw", Body=body)
"""


def cloud(bench: Bench) -> None:
    """Let the program find moto's server, which is empty."""
    url = _server(bench.python.parent / "moto_server")
    bench.env |= KEYS | {"AWS_ENDPOINT_URL": url}
    urllib.request.urlopen(urllib.request.Request(url + "/moto-api/reset", method="POST")).close()


@functools.cache
def _server(command: Path) -> str:
    """Start moto's server, which takes seconds, once for all cases."""
    port = free_port()
    server = subprocess.Popen([str(command), "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    atexit.register(server.kill)
    url = f"http://127.0.0.1:{port}"
    _until_up(url)
    return url


def _until_up(url: str) -> None:
    deadline = time.monotonic() + 40
    while True:
        try:
            urllib.request.urlopen(url + "/moto-api/", timeout=5).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def fill(bench: Bench, script: str, **parts: str) -> None:
    """Fill the cloud anew; `parts` replace the words in capitals of the script."""
    cloud(bench)
    for word in ("CHANGE", "AFTER", "TABLE"):
        script = script.replace(word, parts.get(word, "pass"))
    for word, usual in (("COUNT", "150"), ("PARTS", "8")):
        script = script.replace(word, parts.get(word, usual))
    bench.run(str(bench.python), "-c", script)


def parcels(bench: Bench, **parts: str) -> None:
    fill(bench, FILES, **parts)


def events(bench: Bench, **parts: str) -> None:
    fill(bench, EVENTS, **parts)


def scenes(bench: Bench, **parts: str) -> None:
    bench.path("scratch/any")
    fill(bench, SCENES, **({"COUNT": "200_000"} | parts))


def refusal(status: int, code: str, message: str) -> Reply:
    """S3's way to say no."""
    head = '<?xml version="1.0" encoding="UTF-8"?>\n'
    body = f"<Error><Code>{code}</Code><Message>{message}</Message><RequestId>4NPX0E7Q2KJ9</RequestId></Error>"
    return Reply(status, head + body, {"Content-Type": "application/xml", "x-amz-request-id": "4NPX0E7Q2KJ9"})


def json_refusal(status: int, code: str, message: str) -> Reply:
    """DynamoDB's and SQS's way to say no."""
    return Reply(
        status,
        {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message},
        {"Content-Type": "application/x-amz-json-1.0"},
    )


def listing(*names: str) -> Reply:
    entries = "".join(f"<Contents><Key>2026-03-01/{name}</Key><Size>9000</Size></Contents>" for name in names)
    body = (
        '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>parcels-landing</Name><KeyCount>{len(names)}</KeyCount><IsTruncated>false</IsTruncated>{entries}"
        "</ListBucketResult>"
    )
    return Reply(200, body, {"Content-Type": "application/xml"})


def instead(service: str, routes: Mapping[str, Sequence[Reply | Callable[[str], Reply]]]) -> Prepare:
    """Let another server stand in for one service of the cloud."""

    def inject(bench: Bench) -> None:
        bench.env[f"AWS_ENDPOINT_URL_{service}"] = serve(bench, routes).url

    return inject


def scan_file(part: int, count: int = 200) -> bytes:
    rows = [f"P{part}{n:05d},Lyon,2026-03-01T04:00,{300 + n}" for n in range(count)]
    return ("\n".join(["parcel_no,depot,scanned_at,grams", *rows]) + "\n").encode()


PARCELS = Program(
    name="parcels",
    command=("{python}", "move_parcels.py", "2026-03-01/"),
    files=("move_parcels.py",),
    world=parcels,
)
EVENTS_OUT = Program(name="charging", command=("{python}", "drain_events.py"), files=("drain_events.py",), world=events)
SCENE = Program(
    name="scenes",
    command=("bash", "scene.sh", "T32UQD"),
    files=("scene.sh", "fetch_scene.py"),
    world=scenes,
)
