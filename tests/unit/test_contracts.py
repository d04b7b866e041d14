"""ODCS contracts: what is read, and one clear sentence for each way a file can be wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mendline.contracts import Bound, load_contract
from mendline.errors import ConfigError

HEAD = "apiVersion: v3.0.2\nkind: DataContract\n"


def written(directory: Path, text: str) -> Path:
    path = directory / "c.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def one(directory: Path, properties: str, quality: str = "[]", extra: str = "") -> Path:
    return written(
        directory, f"{HEAD}{extra}schema:\n- name: visits\n  quality: {quality}\n  properties: [{properties}]\n"
    )


def test_everything_a_column_declares_is_read(tmp_path: Path) -> None:
    path = one(
        tmp_path,
        "{name: id, logicalType: integer, primaryKey: true}, "
        '{name: price, logicalType: number, physicalType: "DECIMAL(10,2)", required: true, '
        "logicalTypeOptions: {minimum: 0, exclusiveMaximum: 5}}, "
        "{name: code, logicalType: string, unique: true, logicalTypeOptions: {pattern: '^A', minLength: 1, maxLength: 3}, "
        "relationships: [{type: foreignKey, to: schema/codes/properties/code}]}, "
        "{name: at, logicalType: timestamp, physicalType: TEXT}, {name: raw, physicalType: INTEGER}, "
        "{name: place, logicalType: object, properties: [{name: town, logicalType: string, enum: [{value: X}]}]}",
        extra=(
            "team: {name: front-desk}\nauthoritativeDefinitions: [{type: runbook, url: 'https://run/book'}]\n"
            "description: {purpose: Who came.}\n"
        ),
    )
    contract = load_contract(path, "visits")
    assert (contract.owner, contract.runbook, contract.description) == ("front-desk", "https://run/book", "Who came.")
    assert contract.key == ("id",)
    assert [(column.name, column.logical_type) for column in contract.columns] == [
        ("id", "bigint"),
        ("price", "decimal(10,2)"),
        ("code", "string"),
        ("at", "timestamp"),
        ("raw", "integer"),
        ("place.town", "string"),
    ]
    key, price, code, town = (contract.column(name) for name in ("ID", "price", "code", "place.town"))
    assert key is not None and key.is_required and key.is_primary_key
    assert price is not None and (price.minimum, price.maximum, price.is_maximum_exclusive) == ("0", "5", True)
    assert code is not None and (code.references, code.pattern, code.min_length, code.max_length) == (
        "codes.code",
        "^A",
        1,
        3,
    )
    assert code.is_unique
    assert town is not None and town.allowed_values == ("X",)


def test_a_metric_that_tolerates_rows_is_about_the_batch(tmp_path: Path) -> None:
    path = one(
        tmp_path,
        "{name: a, logicalType: string, quality: [{metric: nullValues, mustBeLessThan: 5, unit: percent}, "
        "{metric: nullValues, mustBe: 0}, {metric: missingValues, arguments: {missingValues: [null, '-']}, mustBeLessThan: 1}]}",
        "[{metric: rowCount, mustBeGreaterThan: 0}, {metric: duplicateValues, arguments: {properties: [a]}, mustBe: 0},"
        " {type: sql, query: 'SELECT count(*) FROM {object}', mustBeBetween: [1, 9]}, {type: text, description: be nice},"
        " {type: custom, engine: mendline, implementation: {check: length(a) > 1}}, {type: custom, engine: other}]",
    )
    contract = load_contract(path, None)
    assert [(rule.name, rule.kind) for rule in contract.row_rules] == [
        ("duplicate:a", "duplicate"),
        ("custom:length(a) > 1", "custom"),
        ("not_null:a#2", "not_null"),
        ("missing:a", "missing"),
    ]
    assert [(rule.name, rule.kind) for rule in contract.table_rules] == [
        ("row_count", "row_count"),
        ("sql:table", "sql"),
        ("not_null:a", "not_null"),
    ]
    assert contract.row_rules[-1].values == ("-",)


WRONG = {
    "not YAML": ("a: [", "not valid YAML"),
    "a list": ("- a", "must be a mapping"),
    "version 2": ("apiVersion: v2.2.0\nkind: DataContract\n", "apiVersion: v3.x"),
    "unknown key": (HEAD + "surprise: 1\n", "surprise"),
    "no schema": (HEAD, "has no `schema`"),
    "nameless object": (HEAD + "schema: [{properties: []}]", "has no `name`"),
    "two objects": (HEAD + "schema: [{name: a}, {name: b}]", "set `contract_schema` to one of a, b"),
    "nameless property": (HEAD + "schema: [{name: a, properties: [{logicalType: string}]}]", "has no `name`"),
    "same name twice": (HEAD + "schema: [{name: a, properties: [{name: X}, {name: x}]}]", "`x` is there twice"),
}
WRONG_PROPERTY = {
    "{name: x, logicalType: text}": "`logicalType: text` is unknown",
    "{name: x, logicalTypeOptions: {minLength: -1}}": "`minLength` must be a whole number",
    "{name: x, logicalTypeOptions: {minimum: [1]}}": "`minimum` must be a number or a date",
    "{name: x, logicalTypeOptions: {pattern: '('}}": "is not a regular expression",
    "{name: x, relationships: [{to: nowhere}]}": "must be `object.property`",
    "{name: x, relationships: [{to: [a.b, a.c]}]}": "more than one column",
    "{name: x, quality: [{metric: nullValues}]}": "nothing could ever fail",
    "{name: x, quality: [{metric: nullValues, mustBe: none}]}": "must be a number",
    "{name: x, quality: [{metric: vibes, mustBe: 0}]}": "metric `vibes` is unknown",
    "{name: x, quality: [{metric: nullValues, mustBe: 0, unit: miles}]}": "`unit: miles` is unknown",
    "{name: x, quality: [{metric: invalidValues, mustBe: 0}]}": "needs `arguments.validValues`",
    "{name: x, quality: [{type: magic}]}": "`type: magic` is unknown",
    "{name: x, quality: [{type: custom, engine: mendline}]}": "needs `implementation",
}
WRONG_CHECK = {
    "1 = 1) OR (SELECT 1": "not one SQL condition",
    "x > 0; DROP TABLE t": "is not valid SQL",
    "1=1) ; DELETE FROM t WHERE (1=1": "exactly one query",
    "1=1) UNION SELECT 2 WHERE (1=1": "not one SQL condition",
    "1=1) GROUP BY (x": "not one SQL condition",
    "x IN (SELECT a FROM read_csv('/etc/passwd'))": "reaches outside",
    "getenv('HOME') = x": "reaches outside",
}


@pytest.mark.parametrize("case", sorted(WRONG))
def test_a_wrong_file_is_named_with_its_fault(tmp_path: Path, case: str) -> None:
    text, message = WRONG[case]
    with pytest.raises(ConfigError) as raised:
        load_contract(written(tmp_path, text), None)
    assert message in str(raised.value)
    assert "c.yaml" in str(raised.value)


@pytest.mark.parametrize("text", sorted(WRONG_PROPERTY))
def test_a_wrong_property_is_named_with_its_fault(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_contract(one(tmp_path, text), None)
    assert WRONG_PROPERTY[text] in str(raised.value)
    assert "property `x`" in str(raised.value)


@pytest.mark.parametrize("check", sorted(WRONG_CHECK))
def test_a_custom_check_is_one_condition_that_only_reads(tmp_path: Path, check: str) -> None:
    quoted = check.replace('"', '\\"')
    path = one(
        tmp_path, "{name: x}", f'[{{type: custom, engine: mendline, name: n, implementation: {{check: "{quoted}"}}}}]'
    )
    with pytest.raises(ConfigError, match="custom check `n`") as raised:
        load_contract(path, None)
    assert WRONG_CHECK[check] in str(raised.value)


@pytest.mark.parametrize(
    "query", ["DELETE FROM t", "SELECT 1; SELECT 2", "", "CREATE TABLE x AS SELECT 1", "COPY t TO 'f'"]
)
def test_a_sql_rule_is_one_query(tmp_path: Path, query: str) -> None:
    path = one(tmp_path, "{name: x}", f'[{{type: sql, query: "{query}", mustBe: 0}}]')
    with pytest.raises(ConfigError, match="SQL rule"):
        load_contract(path, None)


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        load_contract(tmp_path / "none.yaml", None)


@given(st.text(max_size=200))
def test_no_text_makes_it_fail_in_another_way(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text, encoding="utf-8", errors="replace")
    with pytest.raises(ConfigError):
        load_contract(path, None)


@given(st.integers(-5, 5), st.integers(-5, 5))
def test_a_bound_accepts_what_its_words_say(value: int, limit: int) -> None:
    assert Bound(greater=limit).accepts(value) == (value > limit)
    assert Bound(at_most=limit).accepts(value) == (value <= limit)
    assert Bound(between=(limit, limit + 2)).accepts(value) == (limit <= value <= limit + 2)
    assert Bound(not_equal=limit).accepts(value) == (value != limit)
    assert Bound(equal=0).is_zero and Bound(less=1).is_zero and not Bound(less=2).is_zero


def test_the_other_names_of_a_column_are_read_and_find_it(tmp_path: Path) -> None:
    path = one(
        tmp_path,
        "{name: pieces, physicalName: pcs, customProperties: [{property: previousName, value: [quantity, qty]}]}, "
        "{name: place, logicalType: object, properties: [{name: town, customProperties: "
        "[{property: previousName, value: city}]}]}",
    )
    contract = load_contract(path, None)
    assert contract.columns[0].aliases == ("pcs", "quantity", "qty")
    assert contract.known_as("QTY") is contract.columns[0]
    assert contract.known_as("place.city") is contract.columns[1]
    assert contract.known_as("city") is None


def test_a_previous_name_that_is_none_is_an_error(tmp_path: Path) -> None:
    path = one(tmp_path, "{name: pieces, customProperties: [{property: previousName, value: 7}]}")
    with pytest.raises(ConfigError, match=r"`previousName` must be a name.*found 7"):
        load_contract(path, None)


def test_a_contract_is_frozen_only_where_it_says_so(tmp_path: Path) -> None:
    assert not load_contract(one(tmp_path, "{name: id}"), None).is_frozen
    extra = "customProperties: [{property: frozen, value: true}]\n"
    assert load_contract(one(tmp_path, "{name: id}", extra=extra), None).is_frozen
