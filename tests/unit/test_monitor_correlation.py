"""Which failures are one incident."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mendline.engines.base import FinishedRun, RunDescription, RunState
from mendline.incident import Failure, FailureKind, RunRef
from mendline.monitor.correlation import correlate, fingerprint, signature
from mendline.testing.values import NOON

RUN = RunRef(engine="engine", pipeline="voyage", run_id="run")
UPSTREAM = {"dock": (), "crane": (), "sort": ("dock",), "ship": ("sort", "crane")}


def failed(stage: str | None, message: str, error_class: str = "BinderException", *, after_s: int = 0) -> Failure:
    return Failure(
        run=RUN,
        root_run_id="root",
        stage=stage,
        kind=FailureKind.STAGE_FAILED,
        failed_at=NOON + timedelta(seconds=after_s),
        error_class=error_class,
        message=message,
    )


def stages(*failures: Failure) -> list[list[str | None]]:
    run = FinishedRun(
        run=RUN, root_run_id="root", state=RunState.FAILED, started_at=NOON, ended_at=NOON, failures=failures
    )
    description = RunDescription(
        run=RUN,
        root_run_id="root",
        parent_run_id=None,
        state=RunState.FAILED,
        upstream=UPSTREAM,
        stage_states={},
        config={},
    )
    return [[failure.stage for failure in group] for group in correlate(run, description)]


ONE_CAUSE = {
    "the same column, qualified by another alias, at another place": (
        'Binder Error: Table "m" does not have a column named "net_weight"\n\nLINE 3: m.net_weight',
        'Binder Error: Referenced column "net_weight" not found in FROM clause!\nCandidate bindings: "weight"\n\nLINE 9',
    ),
    "PostgreSQL's two ways": (
        "column m.net_weight does not exist\nLINE 1: SELECT m.net_weight",
        'column "net_weight" does not exist\nLINE 7: net_weight',
    ),
    "memory, in other amounts and units, with a link to the manual": (
        "Out of Memory Error: failed to allocate data of size 32.0 MiB (500.0 KiB/22.8 MiB used)\nSee https://d.example/x",
        "Out of Memory Error: failed to allocate data of size 32.0 MiB (0 bytes/22.8 MiB used)\nSee https://d.example/x",
    ),
    "a missing table": (
        "Catalog Error: Table with name manifest does not exist!\nDid you mean crew?\nLINE 2: FROM manifest",
        "Catalog Error: Table with name manifest does not exist!\nDid you mean crate?\nLINE 5: JOIN manifest",
    ),
    "other values": (
        "Conversion Error: Could not convert string 'n/a' to INT32 when casting from source column qty",
        "Conversion Error: Could not convert string '12 kg' to INT32 when casting from source column qty",
    ),
    "other pages of a service that is down": (
        "Server error '503 Service Unavailable' for url 'http://127.0.0.1:8080/berths?page=1'\nFor more",
        "Server error '503 Service Unavailable' for url 'http://127.0.0.1:8080/tides?page=7'\nFor more",
    ),
    "a full disk": (
        "[Errno 28] No space left on device: '/data/a/1.parquet'",
        "[Errno 28] No space left on device: '/data/b/22.parquet'",
    ),
}
TWO_CAUSES = {
    "two columns": (
        'Binder Error: Referenced column "net_weight" not found in FROM clause!',
        'Binder Error: Referenced column "gross_weight" not found in FROM clause!',
    ),
    "two columns of one conversion": (
        "Could not convert string 'n/a' to INT32 when casting from source column qty",
        "Could not convert string 'n/a' to INT32 when casting from source column price",
    ),
    "two services": (
        "Server error '503 Service Unavailable' for url 'http://127.0.0.1:8080/berths'",
        "Server error '503 Service Unavailable' for url 'http://127.0.0.1:9090/berths'",
    ),
    "two pages that are gone": (
        "Client error '404 Not Found' for url 'http://127.0.0.1:8080/berths'",
        "Client error '404 Not Found' for url 'http://127.0.0.1:8080/tides'",
    ),
    "a refused connection that does not say where": (
        "[Errno 111] Connection refused",
        "[Errno 111] Connection refused",
    ),
    "nothing said at all": ("", ""),
}


@pytest.mark.parametrize("case", ONE_CAUSE)
def test_the_same_error_in_two_stages_is_one_incident(case: str) -> None:
    one, other = ONE_CAUSE[case]
    assert stages(failed("dock", one), failed("crane", other, after_s=1)) == [["dock", "crane"]]


@pytest.mark.parametrize("case", TWO_CAUSES)
def test_errors_that_name_other_things_stay_apart(case: str) -> None:
    one, other = TWO_CAUSES[case]
    assert stages(failed("dock", one), failed("crane", other, after_s=1)) == [["dock"], ["crane"]]


def test_missing_keys_of_a_mapping_stay_apart() -> None:
    assert signature(failed("dock", "'qty'", "KeyError")) != signature(failed("dock", "'price'", "KeyError"))


def test_a_stage_that_fails_because_of_its_upstream_belongs_to_it() -> None:
    groups = stages(failed("ship", "nothing to ship", after_s=2), failed("dock", "no berth"), failed("crane", "stuck"))
    assert groups == [["crane", "dock", "ship"]]
    assert stages(failed("sort", "nothing to sort", after_s=2), failed("crane", "stuck")) == [["crane"], ["sort"]]


FAILURES = st.builds(
    failed,
    st.sampled_from([*UPSTREAM, None]),
    st.sampled_from(["no such column: a", "no such column: b", "", "bad value 'x'", "bad value 'y'"]),
    after_s=st.integers(0, 5),
)


@given(st.lists(FAILURES, max_size=6, unique_by=lambda failure: failure.stage), st.randoms())
def test_every_failure_is_in_one_group_whatever_their_order(found: list[Failure], random: Random) -> None:
    groups = stages(*found)
    assert sorted(str(stage) for group in groups for stage in group) == sorted(str(f.stage) for f in found)
    random.shuffle(found)
    assert stages(*found) == groups


@given(st.text(max_size=80))
def test_the_fingerprint_does_not_depend_on_when_or_in_which_run_of_the_chain(message: str) -> None:
    one = failed("dock", message)
    again = replace(one, failed_at=NOON + timedelta(days=1), run=replace(RUN, run_id="another"), attempt=3)
    assert fingerprint((one,)) == fingerprint((again,))
    assert fingerprint((one,)) != fingerprint((replace(one, root_run_id="tomorrow"),))
    assert fingerprint((one,)) != fingerprint((replace(one, datasets=("manifest",)),))
