"""The table of schema changes, row by row: what is done by itself, how it is taken back, and what is left to a person.

Each entry goes through the tools on every warehouse. What acts is planned twice, applied twice, proven, taken back to the very
state before, done again, and then meets a batch of the new shape and one of the old. What escalates leaves everything as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from contracts.bench import Bench
from contracts.schema_world import DAY_ONE, EXPLICIT, STAR, World, make_world
from mendline.errors import NotSupported
from mendline.incident import FindingVerdict
from mendline.tools.inspect_schema_diff import InspectSchemaDiff
from mendline.tools.profile_failed_batch import ProfileFailedBatch

BACK = "former SELECT|is dropped again"  # where the loader took the view with the table, there was none before
LANDED = "raw.visits"  # read without a view
FACTS = "model.facts"
ADD = {"added_columns": "add"}
RELAX = {"null_relaxing": "apply"}
TARGET = {"targets": [FACTS]}
DIRECT = {"targets": [FACTS], "view": None}
COPY = f"CREATE TABLE {FACTS} AS SELECT * FROM raw.visits LIMIT 0"
QTY = f"CREATE TABLE {FACTS} (visit_id INTEGER, qty INTEGER)"
NOTED = f"CREATE TABLE {FACTS} (visit_id INTEGER, remark VARCHAR NOT NULL)"
TEXTS = f"SELECT COLUMNS(* EXCLUDE (site))::VARCHAR FROM ({DAY_ONE})"
COUNTED = (
    "SELECT visit_id AS column0, patient_ref AS column1, fee AS column2, setting AS column3, quantity AS column4 "
    f"FROM ({DAY_ONE})"
)
FILLED = f"SELECT * REPLACE (COALESCE(remark, 'none') AS remark) FROM ({DAY_ONE})"
PG_BINDS = {"postgres": "a view is bound to columns when it is made: a star in it never gives a new one"}
PG_FLAT = {"postgres": "there are no structs: what is nested is a value, whose inside no catalogue shows"}
DUCK_TEXT = {"duckdb": "text has no length"}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table.

    `change` is what the source does to the columns: a select list over the day that was good, or a whole SELECT; `then` is
    SQL on top of it, and `first` what was there before that no loader makes. `acts` are words of the plan's statements, `undo` of
    its undo, `escalates` of the refusal; none of them: it rests, nothing has to be done. `gives` says what stages get
    afterwards. `never`: what an engine cannot have, and why.
    """

    kind: str
    change: str = "*"
    first: Mapping[str, str] = field(default_factory=dict)
    then: Mapping[str, str] | str = ""
    view: str = EXPLICIT
    day: str = DAY_ONE
    policy: Mapping[str, Any] = field(default_factory=dict)
    dataset: Mapping[str, Any] = field(default_factory=dict)
    properties: Mapping[str, Mapping[str, object] | None] = field(default_factory=dict)
    target: str = ""
    subtype: str = "type_changed"
    message: str = "it failed"
    frozen: bool = False
    contract: bool = True
    acts: str = ""
    undo: str = ""
    escalates: str = ""
    gives: Literal["the same", "other values", "more columns"] = "the same"
    never: Mapping[str, str] = field(default_factory=dict)


def added(name: str = "extra", value: str = "5", **rest: Any) -> dict[str, Any]:
    return {
        "change": f"*, {value} AS {name}",
        "dataset": DIRECT,
        "policy": ADD,
        "target": COPY,
        "subtype": "column_missing",
        **rest,
    }


def contract(name: str, **body: object) -> dict[str, dict[str, object]]:
    return {name: body}


def previously(name: str) -> list[dict[str, str]]:
    return [{"property": "previousName", "value": name}]


TABLE: dict[str, Row] = {
    # Column added, nullable
    "added, and the view does not read it": Row(kind="added", change="*, 5 AS extra"),
    "added under a star": Row(kind="added", view=STAR, change="*, 5 AS extra", acts="VIEW", undo=BACK),
    "added, and the targets are to have it": Row(
        kind="added", **added(), acts='ADD COLUMN "extra" INT', undo="no value", gives="more columns"
    ),
    "added under a star, and the targets are to have it": Row(
        kind="added",
        view=STAR,
        **{**added(), "dataset": TARGET},
        acts='ADD COLUMN "extra" INT',
        undo="no value",
        gives="more columns",
        never=PG_BINDS,
    ),
    "added in a spelling that is there": Row(kind="added", **added('"patientRef"'), escalates="spelt almost like"),
    "added with a personal name": Row(kind="added", **added("email", "'x'"), escalates="personal data"),
    "added where stages insert by position": Row(
        kind="added", **{**added(), "subtype": "column_count"}, escalates="by position"
    ),
    "added, and the contract is frozen": Row(kind="added", **added(), frozen=True, escalates="contract is frozen"),
    "twenty-one added at once": Row(
        kind="added",
        **{**added(), "change": "*, " + ", ".join(f"{n} AS extra_{chr(97 + n)}" for n in range(21))},
        escalates="21 new columns at once",
    ),
    "added between the others": Row(
        kind="added", **{**added(), "change": "* EXCLUDE (seen_at), 5 AS extra, seen_at"}, escalates="stands between"
    ),
    "added, and could not be taken back": Row(
        kind="added",
        **{**added(), "target": f"{COPY}; CREATE INDEX by_visit ON {FACTS} (visit_id)"},
        escalates="could not be taken back",
        never={"postgres": "an index elsewhere on a table does not keep a column from being dropped"},
    ),
    # Column added, NOT NULL without default
    "added and never NULL at the source": Row(
        kind="added not null",
        **added(then="ALTER TABLE raw.visits ALTER COLUMN extra SET NOT NULL"),
        acts='ADD COLUMN "extra" INT',
        undo="no value",
        gives="more columns",
    ),
    "added, and the contract wants it in every row": Row(
        kind="added not null",
        **added(properties=contract("extra", logicalType="integer", required=True)),
        escalates="is never NULL",
    ),
    # Column added that is positional
    "added by a loader that the team calls positional": Row(
        kind="added positional",
        view=STAR,
        change="*, 5 AS extra",
        dataset={"positional": True},
        escalates="by position",
    ),
    "added where columns are called by their number": Row(
        kind="added positional",
        view="SELECT * FROM raw.visits",
        day=COUNTED,
        contract=False,
        change="*, 5 AS column5",
        escalates="by position",
    ),
    "values that stand one column further": Row(
        kind="added positional",
        view="SELECT visit_id, patient_ref, fee, setting, quantity FROM raw.visits",
        day=TEXTS,
        change="SELECT visit_id, 'n' || visit_id AS patient_ref, patient_ref AS fee, fee AS setting, setting AS quantity, "
        f"quantity AS remark, remark AS seen_at FROM ({TEXTS})",
        contract=False,
        escalates="stand 1 column further",
    ),
    # Column removed
    "removed, and the view does not read it": Row(
        kind="removed", change="* EXCLUDE (remark)", view="SELECT visit_id, fee FROM raw.visits"
    ),
    "removed and optional": Row(
        kind="removed", change="* EXCLUDE (remark)", acts="VIEW", undo=BACK, gives="other values"
    ),
    "removed and part of the key": Row(kind="removed", change="* EXCLUDE (visit_id)", escalates="key column"),
    "removed and required": Row(kind="removed", change="* EXCLUDE (fee)", escalates="required column"),
    "removed, and no contract speaks of it": Row(
        kind="removed", change="* EXCLUDE (remark)", contract=False, escalates="no contract says"
    ),
    # Column removed, NOT NULL in target
    "removed, and a target insists on it": Row(
        kind="removed, not null in target",
        change="* EXCLUDE (remark)",
        dataset=TARGET,
        target=NOTED,
        escalates="NOT NULL",
    ),
    "removed, and policy lets the target do without": Row(
        kind="removed, not null in target",
        change="* EXCLUDE (remark)",
        dataset=TARGET,
        policy=RELAX,
        target=NOTED,
        acts="DROP NOT NULL",
        undo="NOT NULL comes back",
        gives="other values",
    ),
    # Rename, explicit evidence
    "renamed, and the contract gives the new name in the table": Row(
        kind="renamed, told",
        change="* RENAME (quantity AS pieces)",
        policy={"inferred_renames": "propose"},
        properties=contract("quantity", physicalName="pieces"),
        acts="pieces",
        undo=BACK,
    ),
    "renamed, and the contract says what it was called": Row(
        kind="renamed, told",
        change="* RENAME (setting AS unit)",
        policy={"inferred_renames": "propose"},
        properties={"setting": None, **contract("unit", logicalType="string", customProperties=previously("setting"))},
        acts="unit",
        undo=BACK,
    ),
    "renamed by the contract and a key": Row(
        kind="renamed, told",
        change="* RENAME (visit_id AS encounter)",
        properties=contract("visit_id", physicalName="encounter"),
        escalates="it is a key",
    ),
    "renamed by the contract to either of two": Row(
        kind="renamed, told",
        change="* EXCLUDE (quantity), quantity AS pieces, quantity AS items",
        properties=contract("quantity", customProperties=[{"property": "previousName", "value": ["pieces", "items"]}]),
        escalates="the contract says",
    ),
    "renamed by the contract to one column, by the values to another": Row(
        kind="renamed, told",
        change="* EXCLUDE (quantity), quantity AS qty, 7 AS pieces",
        properties=contract("quantity", physicalName="pieces"),
        escalates="the values speak for another",
    ),
    # Rename, inferred
    "renamed, as the values say": Row(
        kind="renamed, inferred", change="* RENAME (quantity AS qty_count)", acts="qty_count", undo=BACK
    ),
    "renamed, and policy wants to be asked": Row(
        kind="renamed, inferred",
        change="* RENAME (quantity AS qty_count)",
        policy={"inferred_renames": "propose"},
        escalates="scores",
    ),
    "renamed, and the grain is another": Row(
        kind="renamed, inferred",
        change="* EXCLUDE (visit_id), CASE WHEN visit_id = 1000 THEN 1001 ELSE visit_id END AS visit_number",
        escalates="not one per key",
    ),
    # Type widened
    "widened, and the values fit": Row(
        kind="widened", change="* REPLACE (quantity::BIGINT AS quantity)", acts="VIEW", undo=BACK
    ),
    "widened, and a target is too narrow": Row(
        kind="widened",
        change="* REPLACE (quantity::BIGINT * 1000000000 AS quantity)",
        dataset=TARGET,
        target=QTY,
        acts="SET DATA TYPE BIGINT",
        undo="narrowed",
        gives="other values",
    ),
    "more digits of the same scale": Row(
        kind="widened",
        change="* REPLACE ((fee * 10000000)::DECIMAL(14,2) AS fee)",
        dataset=TARGET,
        target=f"CREATE TABLE {FACTS} (visit_id INTEGER, fee DECIMAL(10,2))",
        acts="SET DATA TYPE",
        undo="narrowed",
        gives="other values",
    ),
    "float to double": Row(
        kind="widened",
        day=f"SELECT visit_id, (quantity / 3)::FLOAT AS share FROM ({DAY_ONE})",
        view="SELECT visit_id, share FROM raw.visits",
        change=f"SELECT visit_id, quantity / 3.0::DOUBLE AS share FROM ({DAY_ONE})",
        contract=False,
        dataset=TARGET,
        target=f"CREATE TABLE {FACTS} (visit_id INTEGER, share REAL)",
        acts="SET DATA TYPE DOUBLE",
        undo="narrowed",
        gives="other values",
    ),
    "text that grew": Row(
        kind="widened",
        view="SELECT visit_id, code FROM raw.visits",
        day=f"SELECT visit_id, setting::VARCHAR(6) AS code FROM ({DAY_ONE})",
        first={
            "postgres": "DROP VIEW model.visits; ALTER TABLE raw.visits ALTER COLUMN code TYPE VARCHAR(6);"
            " CREATE VIEW model.visits AS SELECT visit_id, code FROM raw.visits"
        },
        then={
            "postgres": "DROP VIEW model.visits; ALTER TABLE raw.visits ALTER COLUMN code TYPE VARCHAR(20);"
            " UPDATE raw.visits SET code = 'home, and then ward' WHERE visit_id < 1003"
        },
        contract=False,
        dataset=TARGET,
        target=f"CREATE TABLE {FACTS} (visit_id INTEGER, code VARCHAR(6))",
        acts="SET DATA TYPE",
        undo="narrowed",
        gives="other values",
        never=DUCK_TEXT,
    ),
    "date to timestamp": Row(
        kind="widened",
        day=f"SELECT visit_id, seen_at::DATE AS seen FROM ({DAY_ONE})",
        view="SELECT visit_id, seen FROM raw.visits",
        change=f"SELECT visit_id, seen_at AS seen FROM ({DAY_ONE})",
        contract=False,
        dataset=TARGET,
        target=f"CREATE TABLE {FACTS} (visit_id INTEGER, seen DATE)",
        acts="SET DATA TYPE TIMESTAMP",
        undo="narrowed",
        gives="other values",
    ),
    "widened, and the target's column is a key": Row(
        kind="widened",
        change="* REPLACE (quantity::BIGINT * 1000000000 AS quantity)",
        dataset=TARGET,
        target=f"CREATE TABLE {FACTS} (qty INTEGER PRIMARY KEY)",
        escalates="PRIMARY KEY",
    ),
    "widened, and the contract is frozen": Row(
        kind="widened",
        change="* REPLACE (quantity::BIGINT * 1000000000 AS quantity)",
        dataset=TARGET,
        target=QTY,
        frozen=True,
        escalates="contract is frozen",
    ),
    "integer to decimal, with fractions": Row(
        kind="widened", change="* REPLACE ((quantity + 0.5)::DECIMAL(10,2) AS quantity)", escalates="do not cast"
    ),
    "another scale": Row(
        kind="widened", change="* REPLACE ((fee + 0.005)::DECIMAL(12,4) AS fee)", escalates="do not cast"
    ),
    # Type narrowed
    "narrowed at the source": Row(
        kind="narrowed", change="* REPLACE (quantity::SMALLINT AS quantity)", acts="VIEW", undo=BACK
    ),
    # Type changed to another family
    "text that casts, all of it": Row(kind="retyped", change="* REPLACE (fee::VARCHAR AS fee)", acts="VIEW", undo=BACK),
    "text that casts, but for a few rows": Row(
        kind="retyped",
        change="* REPLACE (CASE WHEN visit_id IN (1003, 1207) THEN 'unknown' ELSE fee::VARCHAR END AS fee)",
        acts="set aside",
        undo="rows set aside return",
        gives="other values",
    ),
    "text that casts in too few rows": Row(
        kind="retyped",
        change="* REPLACE (CASE WHEN visit_id % 9 = 0 THEN 'unknown' ELSE fee::VARCHAR END AS fee)",
        escalates="do not cast",
    ),
    "a list where a value was": Row(kind="retyped", change="* REPLACE ([fee] AS fee)", escalates="not values of"),
    "ambiguous dates": Row(
        kind="retyped", change="* REPLACE (strftime(seen_at, '%d/%m/%Y') AS seen_at)", escalates="do not cast"
    ),
    "numbers of another locale": Row(
        kind="retyped", change="* REPLACE (replace(fee::VARCHAR, '.', ',') AS fee)", escalates="do not cast"
    ),
    # Format-only change
    "9.00 for 9": Row(
        kind="format", change="* REPLACE (quantity::VARCHAR || '.00' AS quantity)", acts="VIEW", undo=BACK
    ),
    "1/8/26 for 2026-01-08": Row(
        kind="format", change="* REPLACE (strftime(seen_at, '%-m/%-d/%y') AS seen_at)", escalates="do not cast"
    ),
    # Nullable to NOT NULL, and back
    "never NULL from now on": Row(
        kind="nullable to not null",
        day=FILLED,
        then={"duckdb": "ALTER TABLE raw.visits ALTER COLUMN remark SET NOT NULL"},
        change="*",
        never={
            "postgres": "the loader that makes the table anew gives no NOT NULL; see the ladder's suite for one that does"
        },
    ),
    "NULLs appear, and nothing is said of them": Row(
        kind="nulls appear", day=FILLED, change=DAY_ONE, dataset=TARGET, target=NOTED, gives="other values"
    ),
    "NULLs appear, and policy lets the target have them": Row(
        kind="nulls appear",
        day=FILLED,
        change=DAY_ONE,
        dataset=TARGET,
        target=NOTED,
        policy=RELAX,
        acts="DROP NOT NULL",
        undo="NOT NULL comes back",
        gives="other values",
    ),
    "NULLs appear in a number": Row(
        kind="nulls appear",
        change="* REPLACE (CASE WHEN visit_id < 1003 THEN NULL ELSE quantity END AS quantity)",
        properties=contract("quantity", required=False),
        dataset=TARGET,
        target=f"CREATE TABLE {FACTS} (visit_id INTEGER, qty INTEGER NOT NULL)",
        policy=RELAX,
        gives="other values",
    ),
    # Default changed, value set extended
    "a new value in a closed set": Row(
        kind="values",
        change="* REPLACE (CASE WHEN visit_id = 1003 THEN 'tent' ELSE setting END AS setting)",
        gives="other values",
    ),
    # Reorder only
    "reordered": Row(kind="reordered", change="* EXCLUDE (visit_id), visit_id"),
    "reordered under a star": Row(
        kind="reordered", view=STAR, change="* EXCLUDE (visit_id), visit_id", acts="VIEW", undo=BACK
    ),
    "reordered, and loaded by position": Row(
        kind="reordered",
        view=STAR,
        change="* EXCLUDE (visit_id), visit_id",
        dataset={"positional": True},
        escalates="by position",
    ),
    # Nested fields
    "a leaf added under a star": Row(
        kind="nested added",
        view=STAR,
        change="* REPLACE ({'name': site.name, 'place': site.place, 'beds': 4} AS site)",
        acts="VIEW",
        undo=BACK,
        never=PG_FLAT,
    ),
    "a leaf added, and the targets are to have it": Row(
        kind="nested added",
        **{
            **added(),
            "change": "* REPLACE ({'name': site.name, 'place': {'city': site.place.city, 'zip': site.place.zip, 'floor': 1}} AS site)",
        },
        message='Could not find key "floor" in struct',
        acts='ADD COLUMN "site"."place"."floor" INT',
        undo="no value",
        gives="more columns",
        never=PG_FLAT,
    ),
    "a leaf added inside a list": Row(
        kind="nested added",
        day=f"SELECT *, [{{'a': visit_id}}] AS parts FROM ({DAY_ONE})",
        view=STAR,
        change=f"SELECT *, [{{'a': visit_id, 'b': 1}}] AS parts FROM ({DAY_ONE})",
        escalates="not values of",
        never=PG_FLAT,
    ),
    "a leaf removed": Row(
        kind="nested removed",
        change="* REPLACE ({'name': site.name, 'place': {'zip': site.place.zip}} AS site)",
        escalates="`site.place.city`, inside a struct, is gone",
        never=PG_FLAT,
    ),
    "a leaf retyped": Row(
        kind="nested removed",
        view=STAR,
        change="* REPLACE ({'name': site.name, 'place': {'city': site.place.city, 'zip': site.place.zip::VARCHAR}} AS site)",
        escalates="inside a struct",
        never=PG_FLAT,
    ),
    "a value that is a struct now": Row(
        kind="nested removed",
        change="* REPLACE (CASE WHEN remark IS NOT NULL THEN {'text': remark} END AS remark)",
        escalates="now",
    ),
    # Case, whitespace, quoting
    "spelt in another way": Row(
        kind="spelling",
        change='* RENAME (patient_ref AS "patientRef", visit_id AS "Visit ID")',
        acts="patientRef",
        undo=BACK,
    ),
    "spelt in two ways": Row(
        kind="spelling",
        change='* EXCLUDE (patient_ref), patient_ref AS "patientRef", patient_ref AS "patient ref"',
        escalates="several columns are spelt almost like it",
    ),
    # Key, grain, table
    "the key's type loses the grain": Row(
        kind="key changed",
        change="* REPLACE (CASE WHEN visit_id = 1000 THEN '1001.0' ELSE visit_id::VARCHAR END AS visit_id)",
        escalates="the grain",
    ),
    "several rows per key": Row(
        kind="grain changed",
        change=f"SELECT * FROM ({DAY_ONE}) UNION ALL SELECT * REPLACE (quantity + 1 AS quantity) FROM ({DAY_ONE})",
        escalates="400 different keys",
        gives="other values",
    ),
    "the table is empty": Row(
        kind="table", change="* RENAME (fee AS price)", then="DELETE FROM raw.visits", escalates="is empty"
    ),
    "the table has another name": Row(
        kind="table", then="DROP VIEW model.visits; ALTER TABLE raw.visits RENAME TO visits_v2", escalates="is gone"
    ),
    "the table is gone": Row(kind="table", then="DROP VIEW model.visits; DROP TABLE raw.visits", escalates="is gone"),
    # The meaning, with the same type
    "another unit": Row(kind="meaning", change="* REPLACE ((fee * 100)::DECIMAL(10,2) AS fee)", gives="other values"),
    "a zone appeared": Row(kind="meaning", change="* REPLACE (seen_at::TIMESTAMPTZ AS seen_at)", escalates="time zone"),
    # Collation, generated, identity, constraint
    "a collation": Row(
        kind="traits",
        dataset={"view": None},
        then={
            "duckdb": "ALTER TABLE raw.visits ALTER COLUMN setting SET DATA TYPE VARCHAR COLLATE nocase",
            "postgres": 'DROP VIEW model.visits; ALTER TABLE raw.visits ALTER COLUMN setting TYPE text COLLATE "C"',
        },
        escalates="`setting` trait_changed: none is now collation",
    ),
    "a generated column": Row(
        kind="traits",
        dataset={"view": None},
        then={
            "duckdb": "CREATE TABLE raw.other (visit_id INTEGER, fee DECIMAL(10,2), patient_ref VARCHAR, setting VARCHAR,"
            " quantity INTEGER GENERATED ALWAYS AS (visit_id % 12)); INSERT INTO raw.other (visit_id, fee, patient_ref, setting)"
            " SELECT visit_id, fee, patient_ref, setting FROM raw.visits; DROP TABLE raw.visits; ALTER TABLE raw.other RENAME TO visits",
            "postgres": "DROP VIEW model.visits; ALTER TABLE raw.visits DROP COLUMN quantity;"
            " ALTER TABLE raw.visits ADD COLUMN quantity INTEGER GENERATED ALWAYS AS (visit_id % 12) STORED",
        },
        escalates="generated as",
    ),
    "an identity": Row(
        kind="traits",
        dataset={"view": None},
        then={
            "postgres": "ALTER TABLE raw.visits ALTER COLUMN visit_id SET NOT NULL,"
            " ALTER COLUMN visit_id ADD GENERATED ALWAYS AS IDENTITY"
        },
        escalates="identity, always",
        never={"duckdb": "there are no identity columns"},
    ),
    "a constraint": Row(
        kind="traits",
        dataset={"view": None},
        then="ALTER TABLE raw.visits ADD PRIMARY KEY (visit_id)",
        escalates="PRIMARY KEY",
    ),
}
KINDS = frozenset(row.kind for row in TABLE.values())
NEVER = [(name, engine) for name, row in TABLE.items() for engine in row.never]


def built(name: str, directory: Path, bench: Bench) -> World:
    """The world in which all was well, with a target that the stages load."""
    row = TABLE[name]
    world = make_world(
        directory,
        bench,
        row.view,
        policy=row.policy,
        dataset=row.dataset,
        contract=row.contract,
        properties=row.properties,
        frozen=row.frozen,
        day=row.day,
    )
    world.hypothesis(subtype=row.subtype)
    if bench.engine in row.first:
        world.sql(row.first[bench.engine])
        world.good_run("again")
    if row.target:
        world.sql(row.target)
    return world


def changed(name: str, world: World) -> None:
    """The source changes, and the stages that load it fail with what the engine says."""
    row = TABLE[name]
    select = (
        row.change
        if row.change.startswith("SELECT") or row.change == DAY_ONE
        else f"SELECT {row.change} FROM ({row.day})"
    )
    is_kept = row.change in ("*", DAY_ONE) or not (row.acts or row.escalates)
    if not row.first:
        (world.bench.reshape if is_kept else world.bench.replace)("raw.visits", select)
    then = row.then if isinstance(row.then, str) else row.then.get(world.bench.engine, "")
    if then:
        world.sql(then)
    if row.target:
        world.failed_with(load(world) or row.message)


def load(world: World) -> str:
    """What a stage does: insert everything that it is given, by name; the engine's error, "" when there is none."""
    dataset = world.services.config.datasets["visits"]
    source = dataset.view or dataset.landing
    try:
        with world.warehouse.reading() as session:
            given = [name for name, _ in session.outputs(f"SELECT * FROM {source}")]
            target = session.schema(FACTS)
        if dataset.view and target is not None and len(target.columns) < 4:  # a stage of few columns names them
            given = [name for name in given if name in target.names]
        names = ", ".join(world.warehouse.quote(name) for name in given)
        world.sql(f"DELETE FROM {FACTS}; INSERT INTO {FACTS} ({names}) SELECT {names} FROM {source}")
    except Exception as error:  # noqa: BLE001 - of either driver, or of the view that does not bind
        return str(error)
    return ""


def state(world: World) -> list[object]:
    """All that a repair might touch: the view, the target with its rows, the landing table."""
    found: list[object] = [world.view_sql()]
    with world.warehouse.reading() as session:
        for table in (LANDED, FACTS):
            schema = session.schema(table)
            found.append(schema)
            names = [world.warehouse.quote(column) for column in schema.names] if schema else []
            texts = ", ".join(f"CAST({name} AS VARCHAR)" for name in names)
            found.append(sorted(session.rows(f"SELECT {texts} FROM {table}"), key=repr) if schema else None)
    return found


def given(world: World) -> list[tuple[Any, ...]]:
    dataset = world.services.config.datasets["visits"]
    return sorted(world.sql(f"SELECT * FROM {dataset.view or dataset.landing}"), key=repr)


def names_with(**wanted: bool) -> list[str]:
    return sorted(
        name
        for name, row in TABLE.items()
        if bool(row.acts) is wanted.get("acts", False) and bool(row.escalates) is wanted.get("escalates", False)
    )


def skip_what_never_is(name: str, bench: Bench) -> None:
    reason = TABLE[name].never.get(bench.engine)
    if reason:
        pytest.skip(f"never: {reason}")


@pytest.mark.parametrize("name", names_with(acts=True))
def test_what_is_safe_is_done_once_proven_and_taken_back(tmp_path: Path, bench: Bench, name: str) -> None:
    skip_what_never_is(name, bench)
    row, world = TABLE[name], built(name, tmp_path, bench)
    healthy = given(world)
    changed(name, world)
    before = state(world)
    plan = world.plan()
    assert row.acts.lower() in " ".join((*plan.statements, plan.summary)).lower()
    assert any(words in plan.undo_summary for words in row.undo.split("|"))
    assert (world.plan(), state(world)) == (plan, before)
    receipt = world.repair.apply(plan, world.context)
    after = state(world)
    assert after != before
    assert [check for check in world.repair.verify(plan, receipt, world.context) if not check.passed] == []
    assert (world.repair.apply(plan, world.context), state(world)) == (receipt, after)
    assert world.repair.is_done(plan, world.context)
    if row.gives == "the same":
        assert given(world) == healthy
    assert world.repair.obstacle(receipt, world.context) == ""
    world.repair.undo(receipt, world.context)
    world.repair.undo(receipt, world.context)
    assert state(world) == before
    assert not world.repair.is_done(plan, world.context)
    world.repair.apply(plan, world.context)
    assert not row.target or load(world) == ""
    # A batch of the old shape that was still under way: where a column is wider by now, its values go in as they are.
    (world.bench.refill if row.kind == "widened" and row.target else world.bench.reshape)("raw.visits", row.day)
    assert len(given(world)) == len(healthy)
    if not row.target:
        assert given(world) == healthy
    assert not row.target or load(world) == ""


@pytest.mark.parametrize("name", names_with(escalates=True))
def test_what_only_a_person_may_decide_is_left_to_one(tmp_path: Path, bench: Bench, name: str) -> None:
    skip_what_never_is(name, bench)
    world = built(name, tmp_path, bench)
    changed(name, world)
    before = state(world)
    declined = world.declined()
    assert TABLE[name].escalates in declined.reason
    assert declined.needed
    assert not declined.reason.startswith("nothing to change")
    assert state(world) == before
    (finding,) = InspectSchemaDiff().run(world.context)
    assert finding.verdict is not FindingVerdict.REFUTES


@pytest.mark.parametrize("name", names_with())
def test_what_needs_nothing_gets_nothing_and_goes_on_loading(tmp_path: Path, bench: Bench, name: str) -> None:
    skip_what_never_is(name, bench)
    row, world = TABLE[name], built(name, tmp_path, bench)
    healthy = given(world)
    changed(name, world)
    before = state(world)
    assert world.declined().reason.startswith("nothing to change")
    assert state(world) == before
    assert given(world) == healthy or row.gives == "other values"


def test_every_kind_of_the_table_is_there_and_what_never_is_has_its_reason() -> None:
    assert len(KINDS) == 23
    assert all(TABLE[name].never[engine] for name, engine in NEVER)
    escalating = {row.kind for row in TABLE.values() if row.escalates}
    assert KINDS - escalating == {"narrowed", "nullable to not null", "nulls appear", "values"}


def test_a_new_value_is_reported_as_a_matter_of_data(tmp_path: Path, bench: Bench) -> None:
    enum = contract("setting", logicalTypeOptions={"enum": ["ward", "clinic", "home"]})
    world = make_world(tmp_path, bench, properties=enum)
    world.reshape("* REPLACE (CASE WHEN visit_id = 1003 THEN 'tent' ELSE setting END AS setting)")
    (finding,) = ProfileFailedBatch().run(world.context)
    assert finding.verdict is FindingVerdict.SUPPORTS
    assert "setting" in finding.summary


def test_an_added_column_whose_values_stand_nowhere_else_stays(tmp_path: Path, bench: Bench) -> None:
    name = "added, and the targets are to have it"
    world = built(name, tmp_path, bench)
    changed(name, world)
    receipt = world.repair.apply(world.plan(), world.context)
    assert receipt.effects["filled_from"] == world.context.incident.failures[0].root_run_id
    assert load(world) == ""
    assert world.repair.obstacle(receipt, world.context) == ""
    world.bench.reshape("raw.visits", f"SELECT *, 6 AS extra FROM ({DAY_ONE})")
    assert "400 of its values stand nowhere else" in world.repair.obstacle(receipt, world.context)
    with pytest.raises(NotSupported, match="stays"):
        world.repair.undo(receipt, world.context)
    assert world.sql(f"SELECT DISTINCT extra FROM {FACTS}") == [(5,)]


def test_a_rule_that_was_dropped_comes_back_only_without_nulls(tmp_path: Path, bench: Bench) -> None:
    name = "NULLs appear, and policy lets the target have them"
    world = built(name, tmp_path, bench)
    changed(name, world)
    receipt = world.repair.apply(world.plan(), world.context)
    assert load(world) == ""
    assert "100 rows without a value" in world.repair.obstacle(receipt, world.context)
    with pytest.raises(NotSupported, match="may be NULL until"):
        world.repair.undo(receipt, world.context)
    assert world.sql(f"SELECT count(*) FROM {FACTS} WHERE remark IS NULL") == [(100,)]
