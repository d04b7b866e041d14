"""`mendline check` finds what would only be noticed at night: a stage that does not exist, a contract that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from mendline.checkup import examine_dataset
from mendline.errors import ConfigError
from mendline.incident import FindingVerdict
from mendline.tools.inspect_schema_diff import InspectSchemaDiff
from mendline.tools.profile_failed_batch import ProfileFailedBatch
from unit.workflow_world import CONFIG, Freight


def checked(world: Freight) -> str:
    return examine_dataset(world.services.config.datasets["parcels"], world.services)


def test_what_is_there_of_a_dataset_is_said(tmp_path: Path) -> None:
    said = checked(Freight(tmp_path))
    assert "a contract with 4 columns" in said
    assert "`raw.parcels` has 4 columns" in said
    assert "`front.parcels` may be redefined" in said


def test_what_is_not_there_yet_is_said_and_not_refused(tmp_path: Path) -> None:
    world = Freight(tmp_path)
    world.sql("DROP VIEW front.parcels")
    assert "`front.parcels` is not there yet" in checked(world)


def test_a_stage_that_the_pipeline_does_not_have_is_refused_with_those_it_has(tmp_path: Path) -> None:
    world = Freight(tmp_path, config=CONFIG.replace("loaded_by: ship", "loaded_by: shipp"))
    world.engine.run()
    with pytest.raises(ConfigError, match=r"datasets\.parcels.*`shipp`; the pipeline has ship, weigh, bill"):
        checked(world)


def test_a_contract_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    world = Freight(tmp_path)
    (world.services.config.root / "parcels.yaml").write_text("kind: DataContract")
    with pytest.raises(ConfigError, match=r"parcels\.yaml"):
        checked(world)


@pytest.mark.parametrize("tool", [InspectSchemaDiff(), ProfileFailedBatch()])
def test_yesterdays_batch_clears_no_loader_of_todays(
    tmp_path: Path, tool: InspectSchemaDiff | ProfileFailedBatch
) -> None:
    """Nothing is wrong with what is landed; but what failed is the stage that should have landed more."""
    world = Freight(tmp_path)

    def broken() -> None:
        raise ValueError("the file has a column that is not known")

    world.engine.work["ship"] = broken
    number = world.fail()
    record = world.store.incident(number)
    assert record is not None
    hands = world.hands()
    log = hands.retrieve_logs(record.incident, hands.latest_run(record.incident))
    context = hands.context(record.incident, log, hands.classify(record.incident, log), attempt=1)
    assert {finding.verdict for finding in tool.run(context)} == {FindingVerdict.CANNOT_TELL}
