"""Check the cooling of the farms' milk tanks: fetch the night's traces, keep a copy, find warm hours, update the register."""

import contextlib
import gzip
import itertools
import json
import os
import pathlib
import sys
import time

from azure.core import MatchConditions
from azure.storage.blob import BlobServiceClient, LinearRetry

LIMIT_C = float(os.environ.get("LIMIT_C", "4.5"))


def say(level, event, **fields):
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    print(f"ts={stamp} level={level} event={event}", *(f"{k}={v}" for k, v in fields.items()), flush=True)


def service():
    text = os.environ["TANKS_CONNECTION_STRING"]
    if os.environ.get("TANKS_VERBOSE"):
        say("debug", "connecting", to=text)
    retry = LinearRetry(backoff=0.3, retry_total=2, random_jitter_range=0)
    return BlobServiceClient.from_connection_string(text, retry_policy=retry, connection_timeout=2, read_timeout=2)


def fetch(container, folder):
    for blob in container.list_blobs(name_starts_with="night/"):
        path = folder / pathlib.PurePosixPath(blob.name).name
        with path.open("wb") as file:
            container.download_blob(blob.name).readinto(file)
        say("info", "fetched", blob=blob.name, bytes=path.stat().st_size)
        yield path


def warm_minutes(samples):
    warm = 0
    for before, after in itertools.pairwise(samples):
        if after["seq"] <= before["seq"]:
            raise ValueError(f"tank {after['tank']}: sample {after['seq']} after {before['seq']}")
        if after["temp_c"] > LIMIT_C:
            warm += after["minute"] - before["minute"]
    return warm


def main():
    container = service().get_container_client("tanks")
    register = container.get_blob_client("register.json")
    lease = register.acquire_lease(lease_duration=60)
    held = register.download_blob()
    known = json.loads(held.readall())
    say("info", "register", tanks=len(known), etag=held.properties.etag)
    folder = pathlib.Path("work")
    with contextlib.ExitStack() as stack:
        files = {
            path.name: stack.enter_context(gzip.open(path, "rt", encoding="utf-8")) for path in fetch(container, folder)
        }
        for name, file in files.items():
            samples = [json.loads(line) for line in file]
            tank = samples[0]["tank"]
            if tank not in known:
                raise SystemExit(
                    f"level=error event=unknown_tank tank={tank} file={name} register has {len(known)} tanks"
                )
            known[tank] = warm_minutes(samples)
            (folder / f"{tank}.jsonl").write_text("".join(json.dumps(s) + "\n" for s in samples))
            say("info", "checked", tank=tank, samples=len(samples), warm_minutes=known[tank])
    register.upload_blob(
        json.dumps(known),
        overwrite=True,
        lease=lease,
        etag=held.properties.etag,
        match_condition=MatchConditions.IfNotModified,
    )
    lease.release()
    say("info", "done", warm=sum(known.values()))


if __name__ == "__main__":
    sys.exit(main())
