"""What a failed load has left is read alike from every warehouse."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.bench import Bench
from mendline.incident import Incident
from mendline.reruns.facts import read_facts
from mendline.reruns.safety import Judgement, Safety, judge
from unit.test_workflow import SERVER_ERROR, HTTPStatusError
from unit.workflow_world import CONFIG, Freight

MORE = "INSERT INTO raw.parcels SELECT parcel_id + 1000, sender, weight, city FROM raw.parcels"
KEYED = "ALTER TABLE raw.parcels ADD PRIMARY KEY (parcel_id)"
BATCHED = CONFIG.replace("loaded_by: ship", 'loaded_by: ship\n    batch: "parcel_id >= 1000"')
EMPTY = "DELETE FROM raw.parcels"


def judged(directory: Path, bench: Bench, *statements: str, config: str = CONFIG) -> Judgement:
    """The judgement on a load that has executed the statements and then failed."""
    world = Freight(directory, config=config, bench=bench)

    def ship() -> None:
        for statement in statements:
            world.sql(statement)
        raise HTTPStatusError(SERVER_ERROR)

    world.engine.work["ship"] = ship
    record = world.store.incident(world.fail())
    assert record is not None
    incident: Incident = record.incident
    return judge(read_facts(incident, world.services))


@pytest.mark.parametrize(
    ("statements", "safety", "said"),
    [
        ((), Safety.SAFE, "is as the last good run left it (200 rows)"),
        ((MORE,), Safety.UNSAFE, "the failed run has added 200 rows to `raw.parcels`"),
        ((MORE, KEYED), Safety.SAFE, "`raw.parcels` keeps parcel_id unique"),
        ((EMPTY,), Safety.SAFE, "`raw.parcels` holds no row"),
        ((EMPTY + " WHERE parcel_id >= 150",), Safety.SAFE, "was emptied and is half loaded (50 rows, 200 after"),
        ((EMPTY + " WHERE parcel_id >= 290",), Safety.UNSURE, "whether a repeat replaces that cannot be told"),
        (("DROP TABLE raw.parcels CASCADE",), Safety.SAFE, "is not there"),
    ],
)
def test_what_a_load_has_left_is_judged(
    tmp_path: Path, bench: Bench, statements: tuple[str, ...], safety: Safety, said: str
) -> None:
    found = judged(tmp_path, bench, *statements)
    assert (found.safety, said in found.evidence[0]) == (safety, True), found


@pytest.mark.parametrize(
    ("statements", "safety", "said"),
    [
        ((), Safety.SAFE, "no row of this batch"),
        ((MORE + " LIMIT 70",), Safety.UNSAFE, "70 rows of this batch are in `raw.parcels` already"),
    ],
)
def test_of_a_table_that_accumulates_only_the_batch_counts(
    tmp_path: Path, bench: Bench, statements: tuple[str, ...], safety: Safety, said: str
) -> None:
    found = judged(tmp_path, bench, *statements, config=BATCHED)
    assert (found.safety, said in found.evidence[0]) == (safety, True), found
