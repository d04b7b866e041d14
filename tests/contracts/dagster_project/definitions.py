"""A user's Dagster project for the engine contract: jobs that pass, fail, retry, hang and die as the world tells them.

The world is a folder (`WORLD`): a file `<stage>.<behaviour>` in it makes that stage behave so.
"""

import logging
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
from loading import depot

WORLD = Path(os.environ["WORLD"])
DAYS = dg.StaticPartitionsDefinition(["mon", "tue"])


def behave(context: Any, name: str) -> None:
    context.log.info(f"{name} begins")
    print(f"{name} prints to stdout")  # noqa: T201
    print(f"{name} prints to stderr", file=sys.stderr)  # noqa: T201
    logging.getLogger("project").debug("%s in detail", name)
    with (WORLD / "calls").open("a") as calls:
        calls.write(f"{name}\n")
    if (WORLD / f"{name}.die").exists():
        os._exit(9)
    while (WORLD / f"{name}.hang").exists():
        time.sleep(0.02)
    if (WORLD / f"{name}.flaky").exists() and context.retry_number == 0:
        raise dg.RetryRequested(max_retries=1)
    if (WORLD / f"{name}.fail").exists():
        try:
            int("twelve")
        except ValueError as error:
            raise RuntimeError(f"{name} cannot go on") from error


def stage(name: str, *parents: str) -> dg.OpDefinition:
    @dg.op(
        name=name, ins={parent: dg.In() for parent in parents}, config_schema={"factor": dg.Field(int, default_value=1)}
    )
    def run(context: dg.OpExecutionContext, **inputs: int) -> int:
        behave(context, name)
        return int(context.op_config["factor"]) * (1 + sum(inputs.values()))

    return run


seed, left, right = stage("seed"), stage("left", "one"), stage("right", "one")
join, publish = stage("join", "one", "two"), stage("publish", "one")


@dg.job(executor_def=dg.in_process_executor)
def diamond() -> None:
    first = seed()
    publish(one=join(one=left(one=first), two=right(one=first)))


@dg.job
def default_executor() -> None:
    left(one=seed())


@dg.resource
def closed_gate(_: dg.InitResourceContext) -> str:
    if (WORLD / "gate.fail").exists():
        raise ConnectionError("the gate is closed")
    return "open"


@dg.op(required_resource_keys={"gate"})
def enter(context: dg.OpExecutionContext) -> None:
    behave(context, "enter")


@dg.job(executor_def=dg.in_process_executor, resource_defs={"gate": closed_gate})
def gated() -> None:
    enter()


@dg.op(out=dg.DynamicOut(str))
def split(context: dg.OpExecutionContext) -> Iterator[dg.DynamicOutput[str]]:
    behave(context, "split")
    for part in ("a", "b"):
        yield dg.DynamicOutput(part, mapping_key=part)


@dg.op
def weigh(context: dg.OpExecutionContext, part: str) -> int:
    behave(context, "weigh")
    return len(part)


@dg.op
def total(context: dg.OpExecutionContext, parts: list[int]) -> int:
    behave(context, "total")
    return sum(parts)


@dg.job(executor_def=dg.in_process_executor)
def fan() -> None:
    total(split().map(weigh).collect())


@dg.asset(partitions_def=DAYS, key_prefix="raw")
def boxes(context: dg.AssetExecutionContext) -> list[str]:
    behave(context, "boxes")
    return [context.partition_key]


@dg.asset(partitions_def=DAYS, ins={"boxes": dg.AssetIn(key_prefix="raw")})
def pallets(context: dg.AssetExecutionContext, boxes: list[str]) -> list[str]:
    behave(context, "pallets")
    return boxes * 2


@dg.asset(partitions_def=DAYS, deps=[pallets])
def manifest(context: dg.AssetExecutionContext) -> None:
    behave(context, "manifest")


assets = dg.define_asset_job(
    "assets", [boxes, pallets, manifest], partitions_def=DAYS, executor_def=dg.in_process_executor
)
defs = dg.Definitions(assets=[boxes, pallets, manifest], jobs=[diamond, default_executor, gated, fan, assets, depot])
