"""Laws of the schema diff, and one example of every class of change."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mendline.schema.diff import ChangeKind, SchemaDiff, compare, normalised
from mendline.warehouses.base import Column, TableSchema
from mendline.warehouses.types import logical_type

TYPES = ("INTEGER", "BIGINT", "VARCHAR", "DECIMAL(10,2)", "DECIMAL(12,2)", "DATE", "BOOLEAN", "INTEGER[]")


def schema(*columns: tuple[str, str], nullable: Sequence[bool] = ()) -> TableSchema:
    return TableSchema(
        table="raw.t",
        columns=tuple(
            Column(
                name=name,
                type=kind,
                logical_type=logical_type(kind, "duckdb"),
                is_nullable=nullable[place] if nullable else True,
                position=place + 1,
            )
            for place, (name, kind) in enumerate(columns)
        ),
    )


names = st.lists(
    st.text("abcxyz_", min_size=1, max_size=6).filter(lambda name: normalised(name) != ""),
    max_size=6,
    unique_by=normalised,
)
schemas = names.flatmap(
    lambda chosen: st.tuples(*(st.tuples(st.just(name), st.sampled_from(TYPES)) for name in chosen)).map(
        lambda columns: schema(*columns)
    )
)


def applied(before: TableSchema, diff: SchemaDiff) -> dict[str, str]:
    """The names and types that a diff leads to."""
    columns = {column.name: column.type for column in before.columns}
    for change in diff.changes:
        if change.kind is ChangeKind.REMOVED:
            del columns[change.column]
        elif change.kind is ChangeKind.ADDED:
            columns[change.column] = change.new_type
        elif change.kind is ChangeKind.CASE_CHANGED:
            columns[str(change.now)] = columns.pop(change.column)
    renamed = {c.column: str(c.now) for c in diff.of(ChangeKind.CASE_CHANGED)}
    for change in diff.of(ChangeKind.WIDENED, ChangeKind.NARROWED, ChangeKind.RETYPED):
        columns[renamed.get(change.column, change.column)] = change.new_type
    return columns


@given(schemas)
def test_the_diff_of_equal_schemas_is_empty(one: TableSchema) -> None:
    assert compare(one, one, "duckdb").is_empty


@given(schemas, schemas)
def test_a_diff_applied_gives_the_target(before: TableSchema, now: TableSchema) -> None:
    assert applied(before, compare(before, now, "duckdb")) == {column.name: column.type for column in now.columns}


@given(schemas, schemas)
def test_the_way_back_undoes_every_kind(one: TableSchema, other: TableSchema) -> None:
    there, back = compare(one, other, "duckdb"), compare(other, one, "duckdb")
    opposites = ((ChangeKind.ADDED, ChangeKind.REMOVED), (ChangeKind.WIDENED, ChangeKind.NARROWED))
    for kind, opposite in opposites:
        assert {c.now or c.column for c in there.of(kind)} == {c.column for c in back.of(opposite)} or len(
            there.of(kind)
        ) == len(back.of(opposite))


@pytest.mark.parametrize(
    ("before", "now", "kind"),
    [
        ([("a", "INTEGER")], [("a", "INTEGER"), ("b", "DATE")], ChangeKind.ADDED),
        ([("a", "INTEGER"), ("b", "DATE")], [("a", "INTEGER")], ChangeKind.REMOVED),
        ([("order_id", "INTEGER")], [("orderId", "INTEGER")], ChangeKind.CASE_CHANGED),
        ([("a", "INTEGER")], [("A", "INTEGER")], ChangeKind.CASE_CHANGED),
        ([("a", "INTEGER")], [("a", "BIGINT")], ChangeKind.WIDENED),
        ([("a", "DECIMAL(10,2)")], [("a", "DECIMAL(12,2)")], ChangeKind.WIDENED),
        ([("a", "DECIMAL(12,2)")], [("a", "DECIMAL(12,4)")], ChangeKind.RETYPED),
        ([("a", "BIGINT")], [("a", "INTEGER")], ChangeKind.NARROWED),
        ([("a", "INTEGER")], [("a", "VARCHAR")], ChangeKind.RETYPED),
        ([("a", "INTEGER")], [("a", "DECIMAL(12,2)")], ChangeKind.RETYPED),
        ([("a", "INTEGER"), ("b", "DATE")], [("b", "DATE"), ("a", "INTEGER")], ChangeKind.REORDERED),
    ],
)
def test_every_class_of_change_is_told_apart(
    before: list[tuple[str, str]], now: list[tuple[str, str]], kind: ChangeKind
) -> None:
    assert [change.kind for change in compare(schema(*before), schema(*now), "duckdb").changes] == [kind]


def test_nullability_key_and_a_missing_table_are_changes() -> None:
    before = schema(("id", "INTEGER"), nullable=[False])
    now = schema(("id", "INTEGER"), nullable=[True])
    assert [c.kind for c in compare(before, now, "duckdb").changes] == [ChangeKind.NULLABILITY]
    gone = compare(before, schema(("x", "DATE")), "duckdb", ("ID",))
    assert ChangeKind.KEY_CHANGED in {c.kind for c in gone.changes}
    assert [c.kind for c in compare(before, None, "duckdb").changes] == [ChangeKind.TABLE_GONE]


def test_a_rename_is_one_change_and_not_additive() -> None:
    diff = compare(schema(("qty", "INTEGER")), schema(("amount", "INTEGER")), "duckdb").with_rename("qty", "amount")
    assert [(c.kind, c.column, c.now) for c in diff.changes] == [(ChangeKind.RENAMED, "qty", "amount")]
    assert not diff.is_additive
    assert compare(schema(("a", "INTEGER")), schema(("a", "BIGINT"), ("b", "DATE")), "duckdb").is_additive
