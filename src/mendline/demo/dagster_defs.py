"""The reference pipeline on Dagster: one op per stage, one job, one partition per business day.

No postponed annotations here: Dagster looks at the class that annotates `context`.
"""

import os
from datetime import date
from pathlib import Path

import yaml
from dagster import (
    DailyPartitionsDefinition,
    Definitions,
    DependencyDefinition,
    GraphDefinition,
    In,
    JobDefinition,
    Nothing,
    OpDefinition,
    OpExecutionContext,
    Out,
    RetryPolicy,
    in_process_executor,
    op,
)

from mendline.demo.pipeline import STAGES, Stage, run_stage
from mendline.demo.stages.context import open_context

WORLD = Path(os.environ["RETAIL_WORLD"])


def _op(stage: Stage, retry: RetryPolicy) -> OpDefinition:
    @op(
        name=stage.name,
        description=stage.function.__doc__,
        ins={parent: In(Nothing) for parent in stage.after},
        out=Out(Nothing),
        retry_policy=retry if stage.is_retried else None,
    )
    def run(context: OpExecutionContext) -> None:
        surroundings = open_context(WORLD, date.fromisoformat(context.partition_key), context.log)
        surroundings.keep_warehouse_open()
        row_count = run_stage(stage, surroundings)
        context.add_output_metadata({"row_count": row_count})

    return run


def _job() -> JobDefinition:
    settings = yaml.safe_load((WORLD / "world.yaml").read_text(encoding="utf-8"))
    retry = RetryPolicy(max_retries=settings["retry"]["max_retries"], delay=settings["retry"]["delay_seconds"])
    graph = GraphDefinition(
        name="retail_day",
        node_defs=[_op(stage, retry) for stage in STAGES],
        dependencies={stage.name: {parent: DependencyDefinition(parent) for parent in stage.after} for stage in STAGES},
    )
    return graph.to_job(
        description="One business day of the retailer.",
        partitions_def=DailyPartitionsDefinition(start_date=settings["first_day"]),
        executor_def=in_process_executor,
    )


defs = Definitions(jobs=[_job()])
