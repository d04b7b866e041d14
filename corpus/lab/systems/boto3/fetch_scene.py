"""Fetch a satellite scene's bands to the local disk and compute a vegetation index."""

import array
import logging
import os
import shutil
import sys

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config

logging.basicConfig(level=logging.DEBUG, format="%(asctime)s %(levelname)-5s %(threadName)s %(name)s: %(message)s")
for name in ("botocore.hooks", "botocore.regions", "botocore.parsers", "botocore.auth", "botocore.loaders"):
    logging.getLogger(name).setLevel(logging.WARNING)
log = logging.getLogger("scene")


def main():
    client = boto3.client(
        "s3", config=Config(retries={"max_attempts": 2}, read_timeout=2, s3={"addressing_style": "path"})
    )
    transfer = TransferConfig(multipart_threshold=64 * 1024, multipart_chunksize=64 * 1024, max_concurrency=2)
    scene = sys.argv[1]
    bands = {}
    for band in ("B04", "B08"):
        path = f"scratch/{scene}_{band}.raw"
        client.download_file("scenes", f"{scene}/{band}.raw", path, Config=transfer)
        log.info("%s: %d bytes, %d free", path, os.path.getsize(path), shutil.disk_usage("scratch").free // 2**40)
        values = array.array("H")
        with open(path, "rb") as file:
            values.frombytes(file.read())
        bands[band] = values
    red, infrared = bands["B04"], bands["B08"]
    assert len(red) == len(infrared), f"bands of {len(red)} and {len(infrared)} values"
    index = [(far - near) / (far + near) for near, far in zip(red, infrared, strict=True)]
    log.info("index of %d values, mean %.4f", len(index), sum(index) / len(index))
    client.put_object(Bucket="indices", Key=f"{scene}.txt", Body=f"{sum(index) / len(index):.6f}\n".encode())


if __name__ == "__main__":
    main()
