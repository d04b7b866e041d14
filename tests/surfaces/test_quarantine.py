"""`mendline quarantine` and `mendline undo` as they are typed, on a real state database and a real warehouse."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from mendline.app import App
from mendline.config import load_config
from mendline.durable import LOCK_FILE
from mendline.incident import OutcomeKind
from mendline.quality.quarantine import set_aside
from mendline.stores.sql import SqlStore
from mendline.surfaces.cli import main
from unit.workflow_world import PARCELS, Freight

WITH_NULLS = f"SELECT * REPLACE (CASE WHEN parcel_id < 103 THEN NULL ELSE sender END AS sender) FROM ({PARCELS})"
Out = pytest.CaptureFixture[str]


@contextmanager
def opened(directory: Path) -> Iterator[Freight]:
    with closing(SqlStore(f"sqlite:///{directory / '.mendline' / 'state.db'}")) as store:
        yield Freight(directory, store=store)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Incident 1 has set three rows aside, one with a secret in it; the engine is not there any more."""
    directory = tmp_path_factory.mktemp("freight")
    with opened(directory) as world:
        world.land(WITH_NULLS)
        incident = world.fail()
        world.handle(incident)
        assert world.outcome(incident).kind is OutcomeKind.RESOLVED
    return directory


@pytest.fixture
def here(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for source in template.rglob("*"):
        if source.is_file():
            target = tmp_path / source.relative_to(template)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_state_directory_is_served_while_a_process_works_in_it(here: Path) -> None:
    with closing(App.from_config(load_config(here / "mendline.yaml"))) as app:
        assert not app.is_served()
        with (app.directory / LOCK_FILE).open("a+", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            assert app.is_served()
        assert not app.is_served()


def states(directory: Path) -> list[tuple[object, ...]]:
    with opened(directory) as world:
        return world.sql("SELECT state, count(*) FROM raw.parcels__quarantine GROUP BY 1 ORDER BY 1")


def ran(capsys: Out, *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    out, err = capsys.readouterr()
    return code, out, err


def test_the_list_says_how_many_why_and_what_became_of_them(here: Path, capsys: Out) -> None:
    code, out, _ = ran(capsys, "quarantine", "list")
    assert code == 0
    assert [line.split()[:4] for line in out.splitlines()[1:]] == [["parcels", "1", "3", "held"]]
    assert "3 fail not_null:sender" in out
    code, out, _ = ran(capsys, "quarantine", "list", "--dataset", "parcels", "--json")
    (one,) = json.loads(out)
    assert (one["dataset"], one["incident_id"], one["row_count"], one["state"]) == ("parcels", "1", 3, "held")
    assert one["check_names"] == ["not_null:sender"]


@pytest.mark.parametrize("about", ["1", "parcels"])
def test_rows_are_shown_with_their_reason_and_without_secrets(here: Path, capsys: Out, about: str) -> None:
    with opened(here) as world, world.warehouse.writing() as session:
        session.execute("INSERT INTO raw.parcels VALUES (7, 'password=hunter2secret \x1b[2J', 1, 'Bern')")
        set_aside(
            session,
            world.warehouse,
            "raw.parcels",
            "parcel_id = 7",
            incident_id="1",
            batch_id="b",
            check_names=("c",),
            reason="r",
        )
    code, out, _ = ran(capsys, "quarantine", "show", about)
    assert code == 0
    assert out.count("parcels, incident 1, held,") == 4
    assert "not_null:sender" in out
    assert "hunter2secret" not in out
    assert "\x1b" not in out
    code, out, _ = ran(capsys, "quarantine", "show", about, "--limit", "2")
    assert out.count("parcels, incident 1") == 2
    assert "at most 2 rows are shown" in out
    code, out, _ = ran(capsys, "quarantine", "show", about, "--json")
    assert len(json.loads(out)) == 4
    assert "hunter2secret" not in out


def test_a_release_that_is_refused_says_how_to_decide_and_a_forced_one_says_what_to_run(
    here: Path, capsys: Out
) -> None:
    code, out, err = ran(capsys, "quarantine", "release", "1")
    assert (code, out) == (1, "")
    assert "--force" in err
    assert states(here) == [("held", 3)]
    code, out, _ = ran(capsys, "quarantine", "release", "1", "--force", "--by", "ann", "--note", "they are right")
    assert code == 0
    assert "3 rows went back into `raw.parcels`." in out
    assert "run them again: weigh" in out
    assert "ann" in out
    assert "they are right" in out
    code, out, _ = ran(capsys, "quarantine", "release", "1", "--json")
    assert json.loads(out)["done"][0]["moved_count"] == 0
    assert states(here) == [("released", 3)]


def test_rows_are_given_up_only_with_a_reason_and_by_somebody_who_is_sure(here: Path, capsys: Out) -> None:
    code, _, err = ran(capsys, "quarantine", "discard", "1", "--yes")
    assert code == 2
    assert "`--note TEXT`" in err
    code, out, err = ran(capsys, "quarantine", "discard", "1", "--note", "test parcels")
    assert code == 2
    assert "`--yes`" in err
    assert "held" in out
    assert states(here) == [("held", 3)]
    code, out, _ = ran(capsys, "quarantine", "discard", "1", "--note", "test parcels", "--yes", "--by", "ann")
    assert code == 0
    assert "3 rows were given up" in out
    assert states(here) == [("discarded", 3)]


def test_undo_shows_what_it_would_do_and_does_it_when_told(here: Path, capsys: Out) -> None:
    code, out, err = ran(capsys, "undo", "1")
    assert code == 2
    assert "`apply_quality_filter` on `parcels`" in out
    assert "can be undone: the 3 rows go back" in out
    assert "add `--yes`" in err
    assert states(here) == [("held", 3)]
    code, out, _ = ran(capsys, "undo", "1", "--yes", "--by", "ann")
    assert code == 0
    assert "undone at" in out
    assert "run again: weigh" in out
    assert states(here) == []
    code, out, _ = ran(capsys, "undo", "1", "--json")
    assert code == 0
    assert json.loads(out)[0]["undone_at"]
    code, out, _ = ran(capsys, "show", "1")
    assert "Undone by ann" in out
    assert "undone by ann at" in " ".join(out.split())  # wherever the terminal ends its lines


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["list", "--dataset", "crates"], "there is no dataset `crates`; there are parcels"),
        (["show", "crates"], "there is no incident `crates`; `mendline incidents` lists them"),
        (["show", "1", "--limit", "0"], "--limit"),
        (["release", "9"], "there is no incident `9`; `mendline incidents` lists them"),
        (["release", "1", "--dataset", "crates"], "there is no dataset `crates`; there are parcels"),
        (["release", "1", "--by", ""], "`--by` takes a name"),
        (["discard", "9", "--note", "n", "--yes"], "there is no incident `9`"),
    ],
)
@pytest.mark.usefixtures("here")
def test_bad_input_is_one_sentence_with_the_next_step(arguments: list[str], said: str, capsys: Out) -> None:
    code, out, err = ran(capsys, "quarantine", *arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert said in err
