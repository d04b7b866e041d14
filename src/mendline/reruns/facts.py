"""The reader of the facts on which `safety` judges: engine, warehouse and memory, asked afresh each time. Only reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from mendline.config import Dataset
from mendline.contracts import contract_of
from mendline.engines.base import TAG_INCIDENT, RunDescription
from mendline.errors import Rejected
from mendline.incident import Incident
from mendline.intervention import replaced_by
from mendline.reruns.safety import Facts, Landing
from mendline.snapshots import take_snapshot
from mendline.tools.base import Services
from mendline.tools.verify_pipeline_stage import merged_states, rerun_selection, runs_under_way
from mendline.warehouses.names import name_parts

HISTORY_COUNT = 10
# A column that the database fills itself makes every row another one, whatever the source sends again.
UNIQUE_KEYS = """
SELECT c.constraint_name, k.column_name
FROM information_schema.table_constraints AS c
JOIN information_schema.key_column_usage AS k
  ON k.constraint_name = c.constraint_name AND k.table_schema = c.table_schema AND k.table_name = c.table_name
WHERE c.constraint_type IN ('PRIMARY KEY', 'UNIQUE') AND lower(c.table_schema) = lower(?) AND lower(c.table_name) = lower(?)
ORDER BY 1, 2"""


def read_facts(incident: Incident, services: Services) -> Facts:
    """Everything known about running the incident's stages again.

    A stage that has not begun in this chain has written nothing, so only the others are looked at.

    Raises: `Unavailable` when the engine or a warehouse is away.
    """
    engine = services.engines[incident.engine]
    chain = engine.run_chain(incident.failures[0].root_run_id)
    begun = begun_stages(chain, incident)
    loaded = [dataset for dataset in services.config.pipeline_datasets(incident.pipeline) if dataset.loaded_by in begun]
    known = {dataset.loaded_by for dataset in loaded}
    return Facts(
        landings=tuple(_landing(dataset, services) for dataset in loaded),
        unknown_stages=tuple(stage for stage in begun if stage not in known),
        try_count=sum(1 for run in chain if _has_begun(run, begun)),
        engine_retry_count=max(failure.attempt for failure in incident.failures) - 1,
        later_run=replaced_by(engine, incident) or "",
        twins=(*_own_twins(incident, services), *_other_twins(incident, services, loaded)),
    )


def begun_stages(chain: Sequence[RunDescription], incident: Incident) -> tuple[str, ...]:
    """The stages that would run again and have begun before, in DAG order."""
    states = merged_states(chain)
    return tuple(stage for stage in rerun_selection(chain, incident, ()) if stage in states)


def _has_begun(run: RunDescription, stages: Iterable[str]) -> bool:
    return any(run.stage_states.get(stage, "skipped") != "skipped" for stage in stages)


def _own_twins(incident: Incident, services: Services) -> Iterator[str]:
    engine = services.engines[incident.engine]
    for run in runs_under_way(engine, incident):
        if engine.describe(run).tags.get(TAG_INCIDENT) != incident.id:
            yield run.run_id


def _other_twins(incident: Incident, services: Services, loaded: Iterable[Dataset]) -> Iterator[str]:
    """The runs under way of other pipelines that load one of the tables."""
    config = services.config
    tables = {(dataset.warehouse, dataset.landing.lower()) for dataset in loaded}
    others = {
        other.pipeline
        for other in config.datasets.values()
        if other.pipeline != incident.pipeline and (other.warehouse, other.landing.lower()) in tables
    }
    for pipeline in sorted(others):
        yield from _active(pipeline, services)


def _active(pipeline: str, services: Services) -> Iterator[str]:
    settings = services.config.pipelines[pipeline]
    job = settings.job or pipeline
    return (run.run_id for run in services.engines[settings.engine].active_runs() if run.pipeline == job)


def _landing(dataset: Dataset, services: Services) -> Landing:
    history = services.store.snapshots(dataset.name, limit=HISTORY_COUNT)
    warehouse = services.warehouses[dataset.warehouse]
    try:
        now = take_snapshot(dataset, "now", warehouse)
    except Rejected:  # the batch's predicate does not fit the table any more: there is nothing to compare it with
        history, dataset = (), dataset.model_copy(update={"batch": None})
        now = take_snapshot(dataset, "now", warehouse)
    return Landing(
        dataset=dataset.name,
        table=dataset.landing,
        stage=dataset.loaded_by or "",
        in_batches=dataset.batch is not None,
        history=history,
        now=now,
        unique_key=_unique_key(dataset, services),
    )


def _unique_key(dataset: Dataset, services: Services) -> tuple[str, ...]:
    """The columns that the database keeps unique, if all of them are of the contract's key: they come from the source."""
    warehouse = services.warehouses[dataset.warehouse]
    contract = contract_of(dataset, services.config, warehouse.dialect)
    key = {column.lower() for column in contract.key} if contract else set()
    if not key:
        return ()
    *_, schema, table = ("", *name_parts(dataset.landing))
    with warehouse.reading() as session:
        rows = session.rows(UNIQUE_KEYS, [schema, table])
    columns: dict[str, list[str]] = {}
    for name, column in rows:
        columns.setdefault(str(name), []).append(str(column))
    return next((tuple(own) for own in columns.values() if {column.lower() for column in own} <= key), ())
