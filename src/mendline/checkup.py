"""What `mendline check` says of each dataset: does everything that the configuration names exist, and fit?"""

from __future__ import annotations

from collections.abc import Iterator

from mendline.config import Dataset
from mendline.contracts import contract_of
from mendline.engines.base import Engine
from mendline.errors import ConfigError
from mendline.tools.base import Services
from mendline.warehouses.base import Session


def examine_dataset(dataset: Dataset, services: Services) -> str:
    """Say in one sentence what is there of a dataset. Reads only.

    Tables that are not there yet are said, not refused: the first run may make them. Raises: `ConfigError` for a contract
    that cannot be used and for a stage that the pipeline does not have; `Unavailable`.
    """
    parts = []
    contract = contract_of(dataset, services.config, services.warehouses[dataset.warehouse].dialect)
    if contract is not None:
        parts.append(f"a contract with {len(contract.columns)} columns")
    else:
        parts.append("no contract: its rows are never set aside")
    with services.warehouses[dataset.warehouse].reading() as session:
        parts.extend(_tables(dataset, session))
    unknown = list(_unknown_stages(dataset, services))
    if unknown:
        raise ConfigError(f"key `datasets.{dataset.name}`: {unknown[0]}")
    return f"dataset `{dataset.name}`: {'; '.join(parts)}"


def _tables(dataset: Dataset, session: Session) -> Iterator[str]:
    landing = session.schema(dataset.landing)
    yield (
        f"`{dataset.landing}` has {len(landing.columns)} columns"
        if landing
        else f"`{dataset.landing}` is not there yet"
    )
    if dataset.view is None:
        yield "no contract view: schema repairs are only proposed"
    elif session.view_sql(dataset.view) is None:
        yield f"`{dataset.view}` is not there yet"
    else:
        yield f"`{dataset.view}` may be redefined where policy allows"
    for target in dataset.targets:
        if session.schema(target) is None:
            yield f"`{target}` is not there yet"


def _unknown_stages(dataset: Dataset, services: Services) -> Iterator[str]:
    pipeline = services.config.pipelines[dataset.pipeline]
    engine: Engine = services.engines[pipeline.engine]
    latest = engine.latest_finished(pipeline.job or dataset.pipeline)
    if latest is None:
        return  # no run yet has told the stages
    stages = engine.describe(latest.run).upstream
    for key, stage in (("loaded_by", dataset.loaded_by), *(("read_by", reader) for reader in dataset.read_by)):
        if stage is not None and stage not in stages:
            yield f"`{key}` names the stage `{stage}`; the pipeline has {', '.join(stages)}"
