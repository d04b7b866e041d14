"""The log of a re-run with detailed logging, kept with its incident: bounded, and honest about what is missing."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from mendline.incident import OutcomeKind
from mendline.reruns.kept_log import HEAD_CHARACTERS, LINE_CHARACTERS, TAIL_CHARACTERS, extent, kept_log
from mendline.testing.values import NOON
from unit.test_workflow import broken, column_renamed, rows_bad

MOST_CHARACTERS = HEAD_CHARACTERS + TAIL_CHARACTERS + 100


@given(st.lists(st.text(max_size=20), max_size=20))
def test_a_short_log_is_kept_whole(lines: list[str]) -> None:
    log = kept_log("1", "r", lines, NOON)
    assert (list(log.lines), log.total_count, log.left_out_count) == (lines, len(lines), 0)


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_of_a_long_log_the_beginning_and_the_end_are_kept_and_every_line_is_accounted_for(
    count: int, width: int
) -> None:
    lines = [f"{number} ".ljust(width, "x") for number in range(count)]
    log = kept_log("1", "r", lines, NOON)
    assert sum(len(line) + 1 for line in log.lines) <= MOST_CHARACTERS
    assert log.total_count == count
    if not log.left_out_count:
        assert len(log.lines) == count
        return
    mark = log.lines.index(f"[... {log.left_out_count:,} lines left out ...]")
    assert mark > 0
    assert len(log.lines) - 1 + log.left_out_count == count
    assert log.lines[0].startswith("0 ")
    assert log.lines[-1].startswith(f"{count - 1} ")
    assert extent(log) == f"{count - log.left_out_count:,} of {count:,} lines"


def test_a_line_without_end_is_cut_with_the_count_of_what_is_missing() -> None:
    (line,) = kept_log("1", "r", ["y" * (LINE_CHARACTERS + 1234)], NOON).lines
    assert line.endswith("y [... 1,234 characters left out ...]")


def test_after_reprocessing_the_redacted_log_of_that_run_is_kept_with_the_incident(tmp_path: Path) -> None:
    world, incident = broken(tmp_path, rows_bad)
    plain = world.engine.logs

    def logs(run, stage):  # type: ignore[no-untyped-def]
        return (*plain(run, stage), "api_key=AKIAIOSFODNN7EXAMPLE")

    world.engine.logs = logs  # type: ignore[method-assign]
    assert world.handle(incident).outcome is not None
    (attempt,) = world.outcome(incident).attempts
    assert attempt.verification is not None
    (log,) = world.store.kept_logs(incident)
    assert log.run_id == attempt.verification.run_id
    assert "weigh begins" in log.lines
    assert not any("AKIAIOSFODNN7EXAMPLE" in line for line in log.lines)
    assert attempt.kept_log == f"all {log.total_count} lines"


def test_a_rerun_without_detailed_logging_keeps_none(tmp_path: Path) -> None:
    world, incident = broken(tmp_path, column_renamed)
    assert world.handle(incident).outcome is not None
    assert world.store.kept_logs(incident) == ()


def test_a_log_that_cannot_be_had_costs_the_repair_nothing(tmp_path: Path) -> None:
    world, incident = broken(tmp_path, rows_bad)
    rerun = world.engine.rerun

    def then_away(*args, **options):  # type: ignore[no-untyped-def]
        found = rerun(*args, **options)
        world.engine.away_from = "logs"
        return found

    world.engine.rerun = then_away  # type: ignore[method-assign]
    hands = world.hands()
    world.begin(incident, hands=hands)
    outcome = world.outcome(incident)
    assert "the log of the re-run was not kept: the engine is away" in outcome.attempts[0].reason
    assert outcome.kind is OutcomeKind.RESOLVED
