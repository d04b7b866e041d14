"""The contract view, accommodated: the team's own SELECT over a subquery that restores the columns it expects.

The SELECT itself is never rewritten: only the name of the landing table in it is replaced, where it stands. So whatever it
does (joins, filters, stars, struct fields) keeps its meaning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlglot import exp, parse_one
from sqlglot.errors import SqlglotError

from mendline.schema.paths import leaf_sql, outermost
from mendline.warehouses.base import Column, TableSchema, Warehouse
from mendline.warehouses.names import name_parts, relation
from mendline.warehouses.types import fields, leaves, logical_type, same_type

SOURCE = "src"
TWO_VALUES = "both have a value, and not the same"  # what a view says that finds two values for one column


@dataclass(frozen=True, kw_only=True)
class Mapping:
    """How one expected leaf is restored: `column` and `type` as expected, `source` the leaf that it comes from now.

    `kind`: "same" (as it is), "alias" (another name or path; cast when the type differs), "cast" (another type), "wide"
    (another type that is let through), "default" (gone and optional: NULL; `source` is "").
    """

    column: str
    type: str
    kind: str
    source: str

    def as_json(self) -> dict[str, str]:
        """The mapping as it is kept with the accommodation."""
        return {"column": self.column, "type": self.type, "kind": self.kind, "source": self.source}


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a view's SELECT reads of the landing table.

    `spans` are the places of the landing table's name in the text: (start, end, alias to add or ""). `chains` are the
    column references, part by part, in lower case. `is_everything`: it takes columns without naming them.
    """

    sql: str
    spans: tuple[tuple[int, int, str], ...]
    chains: frozenset[tuple[str, ...]]
    is_everything: bool
    is_plain: bool

    def needs(self, leaf: str) -> bool:
        """Whether the view may read this leaf; when in doubt, it does."""
        if self.is_everything:
            return True
        path = tuple(leaf.lower().split("."))
        for chain in self.chains:
            for start in range(len(chain)):
                part = chain[start:]
                if part[: len(path)] == path or path[: len(part)] == part:
                    return True
        return False

    def over(self, subquery: str) -> str:
        """The SELECT with the landing table replaced by `subquery`."""
        text = self.sql
        for start, end, alias in sorted(self.spans, reverse=True):
            text = f"{text[:start]}({subquery}){f' AS {alias}' if alias else ''}{text[end:]}"
        return text


def read_view(sql: str, landing: str, warehouse: Warehouse) -> Reading | None:
    """Find what a SELECT reads of the landing table; None when it cannot be parsed or does not name the table."""
    try:
        tree = parse_one(sql, dialect=warehouse.dialect)
    except SqlglotError:
        return None
    spans = tuple(span for table in tree.find_all(exp.Table) if (span := _span(table, landing, tree, warehouse)))
    if not spans:
        return None
    return Reading(
        sql=sql,
        spans=spans,
        chains=frozenset(_chains(tree)),
        is_everything=_takes_everything(tree, landing, warehouse),
        is_plain=_is_plain(tree),
    )


def _span(table: exp.Table, landing: str, tree: exp.Expr, warehouse: Warehouse) -> tuple[int, int, str] | None:
    wanted = [part.lower() for part in name_parts(landing)]
    parts = [part for part in table.parts if isinstance(part, exp.Identifier)]
    names = [part.name.lower() for part in parts]
    if not names or names[-len(wanted) :] != wanted[-len(names) :]:
        return None
    if len(names) == 1 and names[0] in {cte.alias.lower() for cte in tree.find_all(exp.CTE)}:
        return None
    places: list[dict[str, Any]] = [part.meta for part in parts]
    if not all("start" in place and "end" in place for place in places):
        return None
    start, end = min(place["start"] for place in places), max(place["end"] for place in places) + 1
    return start, end, "" if table.alias else warehouse.quote(parts[-1].name)


def _chains(tree: exp.Expr) -> list[tuple[str, ...]]:
    chains = [tuple(part.name.lower() for part in column.parts) for column in tree.find_all(exp.Column) if column.parts]
    for join in tree.find_all(exp.Join):
        chains.extend((item.name.lower(),) for item in join.args.get("using") or ())
    return chains


def _takes_everything(tree: exp.Expr, landing: str, warehouse: Warehouse) -> bool:
    """Whether a star (or COLUMNS) stands where the landing table, or something made from it, is read."""
    named = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
    for star in tree.find_all(exp.Star, exp.Columns):
        if isinstance(star.parent, exp.Count):
            continue
        select = star.find_ancestor(exp.Select)
        for table in select.find_all(exp.Table) if select else ():
            if table.name.lower() in named or _span(table, landing, tree, warehouse):
                return True
    return False


def _is_plain(tree: exp.Expr) -> bool:
    """Whether the view has exactly one row per row of the one table that it reads."""
    if not isinstance(tree, exp.Select):
        return False
    clauses = ("where", "group", "having", "qualify", "distinct", "limit", "offset", "joins", "laterals", "with_")
    if any(tree.args.get(clause) for clause in clauses):
        return False
    return len(list(tree.find_all(exp.Table))) == 1 and not list(tree.find_all(exp.AggFunc, exp.Unnest, exp.Explode))


def plain_outputs(sql: str, warehouse: Warehouse) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The output columns that are a bare column reference: (output name, reference part by part), in order."""
    tree = parse_one(sql, dialect=warehouse.dialect)
    if not isinstance(tree, exp.Select):
        return ()
    bare = [(item.alias_or_name, item.unalias()) for item in tree.selects]
    return tuple(
        (name, tuple(part.name for part in column.parts))
        for name, column in bare
        if isinstance(column, exp.Column) and not isinstance(column.this, exp.Star)
    )


def output_names(sql: str | None, warehouse: Warehouse) -> dict[str, str]:
    """Output (lower case) -> column of the landing table, for the outputs that only rename one; {} without a view."""
    return {name.lower(): parts[-1] for name, parts in plain_outputs(sql, warehouse)} if sql else {}


@dataclass(frozen=True, kw_only=True)
class Restoration:
    """The pieces of the subquery: the landing table now, and how each expected leaf comes out of it."""

    warehouse: Warehouse
    landing: str
    now: TableSchema
    mappings: tuple[Mapping, ...]

    @property
    def expected(self) -> TableSchema:
        """The expected columns, not flattened, in order."""
        return unflatten(self.mappings, self.now, self.warehouse)

    def sql(self, *, is_tolerant: bool) -> str:
        """The subquery that gives exactly the expected columns, in their order.

        Tolerant, it also binds when the landing table is again as it was, and a column that may have either name takes the
        one that has a value, and fails when both have and differ.
        """
        table, stubs = relation(self.warehouse, self.landing), []
        if is_tolerant:
            stubs = [self._stub(self.expected, self._changed(old=True)), self._stub(self.now, self._changed())]
        source = self.warehouse.idiom.either_source(table, SOURCE, [stub for stub in stubs if stub])
        columns = [
            f"{self._restored(column, '', is_tolerant=is_tolerant)} AS {self.warehouse.quote(column.name)}"
            for column in self.expected.columns
        ]
        return f"SELECT {', '.join(columns)} FROM {source}"

    def leaf(self, mapping: Mapping, *, is_tolerant: bool) -> str:
        """The expression that gives one expected leaf, in its expected type."""
        old = self._read(self.expected, mapping.column, is_tolerant=is_tolerant)
        if mapping.kind == "default":
            return str(old) if is_tolerant and old else f"CAST(NULL AS {mapping.type})"
        if mapping.kind in ("same", "wide"):
            return self._read(self.now, mapping.source, is_tolerant=False)
        new = self._read(self.now, mapping.source, is_tolerant=is_tolerant)
        idiom, source = self.warehouse.idiom, self._source_type(mapping)
        is_typed = same_type(source, mapping.type, self.warehouse.dialect)
        cast = new if is_typed else idiom.cast(new, source, mapping.type)
        if mapping.kind == "cast" or not is_tolerant or mapping.column.lower() == mapping.source.lower():
            return cast
        failure = idiom.failure(f"{mapping.column} and {mapping.source} {TWO_VALUES}", old, mapping.type)
        return f"CASE WHEN {old} IS NULL THEN {cast} WHEN {new} IS NULL OR {cast} = {old} THEN {old} ELSE {failure} END"

    def _read(self, shape: TableSchema, path: str, *, is_tolerant: bool) -> str:
        """A leaf of either shape; where the engine needs it, in a way that bears that the column is not there."""
        plain = leaf_sql(self.warehouse, shape, path, SOURCE)
        column = next((one for one in shape.columns if one.name.lower() == path.lower()), None)
        if not is_tolerant or column is None:
            return str(plain)
        return self.warehouse.idiom.either_column(SOURCE, column) or str(plain)

    def _source_type(self, mapping: Mapping) -> str:
        """The type that the source has by itself."""
        flat = leaves(self.now, self.warehouse.dialect)
        source = next((c for c in flat.columns if c.name.lower() == mapping.source.lower()), None)
        return source.type if source is not None else ""

    def _restored(self, column: Column, prefix: str, *, is_tolerant: bool) -> str:
        path = f"{prefix}{column.name}"
        inner = fields(column.type, self.warehouse.dialect)
        mapping = next((one for one in self.mappings if one.column == path), None)
        if mapping is not None or not inner:
            return self.leaf(mapping, is_tolerant=is_tolerant) if mapping else "NULL"
        if not prefix and self._is_untouched(column):
            return f"{SOURCE}.{self.warehouse.quote(column.name)}"
        parts = [
            f"{self.warehouse.quote(name)} := {self._restored(_column(name, kind, self.warehouse), f'{path}.', is_tolerant=is_tolerant)}"
            for name, kind in inner
        ]
        packed = f"struct_pack({', '.join(parts)})"
        if not prefix and self._stays_within(column.name):
            # A row without the whole struct had NULL there, not a struct of NULLs.
            return f"CASE WHEN {SOURCE}.{self.warehouse.quote(column.name)} IS NOT NULL THEN {packed} END"
        return packed

    def _is_untouched(self, column: Column) -> bool:
        there = self.now.column(column.name)
        if there is None:
            return False
        own = [one for one in self.mappings if outermost(self.expected, one.column) == column.name]
        flat = leaves(TableSchema(table=self.landing, columns=(there,)), self.warehouse.dialect)
        return [one.column for one in own] == list(flat.names) and all(one.kind == "same" for one in own)

    def _stays_within(self, name: str) -> bool:
        own = [one for one in self.mappings if outermost(self.expected, one.column) == name and one.source]
        return bool(own) and all(outermost(self.now, one.source) == name for one in own)

    def _changed(self, *, old: bool = False) -> frozenset[str]:
        """The top-level columns that the changed mappings touch, as expected (`old`) or as they are now."""
        changed = [one for one in self.mappings if one.kind not in ("same", "wide")]
        if old:
            return frozenset(outermost(self.expected, one.column) for one in changed if not self._is_json(one))
        return frozenset(outermost(self.now, one.source) for one in changed if one.source)

    def _is_json(self, mapping: Mapping) -> bool:
        """A JSON column of today cannot stand under text of yesterday: the union would read that text as JSON."""
        column = self.now.column(outermost(self.now, mapping.source)) if mapping.source else None
        return column is not None and column.logical_type == "json"

    def _stub(self, schema: TableSchema, names: frozenset[str]) -> str:
        columns = [column for column in schema.columns if column.name in names]
        if not columns:
            return ""
        typed = ", ".join(f"CAST(NULL AS {c.type}) AS {self.warehouse.quote(c.name)}" for c in columns)
        return f"SELECT {typed} WHERE false"


def unflatten(parts: Sequence[Mapping | Column], now: TableSchema, warehouse: Warehouse) -> TableSchema:
    """The top-level columns whose leaves these are, in order of first mention.

    A dotted name is a path where the engine has structs, unless the table now has a column of exactly that name.
    """
    tree: dict[str, Any] = {}
    for leaf in parts:
        name = leaf.column if isinstance(leaf, Mapping) else leaf.name
        is_name = now.column(name) is not None or not warehouse.idiom.has_structs
        steps = [name] if is_name else name.split(".")
        node = tree
        for step in steps[:-1]:
            inner = node.setdefault(step, {})
            node = inner if isinstance(inner, dict) else node
        node[steps[-1]] = leaf.type
    columns = [
        _column(name, _spelled(kind), warehouse, position)
        for position, (name, kind) in enumerate(tree.items(), start=1)
    ]
    return TableSchema(table=now.table, columns=tuple(columns))


def _spelled(kind: Any) -> str:
    if isinstance(kind, str):
        return kind
    inner = ", ".join(f'"{name.replace(chr(34), chr(34) * 2)}" {_spelled(part)}' for name, part in kind.items())
    return f"STRUCT({inner})"


def _column(name: str, kind: str, warehouse: Warehouse, position: int = 1) -> Column:
    logical = logical_type(kind, warehouse.dialect)
    return Column(name=name, type=kind, logical_type=logical, is_nullable=True, position=position)


def stub_sql(columns: Sequence[Column], now: TableSchema, warehouse: Warehouse) -> str:
    """An empty table of the given leaves, to see what a view gave when the landing table was like that."""
    typed = [
        f"CAST(NULL AS {column.type}) AS {warehouse.quote(column.name)}"
        for column in unflatten(columns, now, warehouse).columns
    ]
    return f"SELECT {', '.join(typed)} WHERE false"
