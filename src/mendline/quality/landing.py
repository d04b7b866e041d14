"""Where a contract's columns are in a landing table: by name, else through the plain references of the contract view."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from mendline.config import Dataset
from mendline.errors import Rejected
from mendline.schema.view import TWO_VALUES
from mendline.warehouses.base import Session, TableSchema, Warehouse
from mendline.warehouses.names import name_parts, relation
from mendline.warehouses.types import leaves

Origins = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Place:
    """One column of a landing table: the quoted path, and the type that it landed in."""

    path: str
    sql: str
    logical_type: str


@dataclass(frozen=True, kw_only=True)
class Landing:
    """The present batch of one landing table.

    `table` and `where` are SQL. `renamed` maps the view's columns to the leaf paths that they come from: two when the column
    has had two names, the one that counts first.
    """

    warehouse: Warehouse
    name: str
    table: str
    where: str
    schema: TableSchema
    leaves: TableSchema
    renamed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def find(self, column: str) -> Place | None:
        """The place of a contract's column, whatever its case; None when the landing table does not have it.

        The landing table's own names come first, then the names that the contract view gives to them; but a column that
        the view takes from either of two is either of the two here, too.
        """
        wanted = column.lower()
        behind = self.renamed.get(wanted, ())
        if len(behind) > 1:
            return self._either([place for place in map(self._own, behind) if place is not None])
        own = self._own(wanted)
        return own if own is not None or not behind else self._own(behind[0])

    def _either(self, places: list[Place]) -> Place | None:
        """The place whose value is that of the first of `places` which has one, in the type of the last: the view's own."""
        if not places:
            return None
        wanted = next((leaf.type for leaf in self.leaves.columns if leaf.name == places[-1].path), None)
        parts = [
            place.sql
            if wanted is None or place.logical_type == places[-1].logical_type
            else self.warehouse.safe_cast(place.sql, wanted)
            for place in places
        ]
        return replace(places[0], sql=f"COALESCE({', '.join(parts)})", logical_type=places[-1].logical_type)

    def _own(self, path: str) -> Place | None:
        wanted = path.lower()
        for schema in (self.leaves, self.schema):
            for leaf in schema.columns:
                if leaf.name.lower() == wanted:
                    return Place(path=leaf.name, sql=self._quoted(leaf.name), logical_type=leaf.logical_type)
        return None

    def _quoted(self, path: str) -> str:
        """A name with a dot in it is one name; a leaf's path is its parts."""
        parts = [path] if self.schema.column(path) else path.split(".")
        return ".".join(self.warehouse.quote(part) for part in parts)

    @property
    def payload(self) -> tuple[str, ...]:
        """The columns in which two rows must agree to be copies: all but a loader's own, which begin with `_`."""
        kept = (column for column in self.schema.columns if not column.name.startswith("_"))
        return tuple(self.warehouse.idiom.alike(column) for column in kept)


def open_landing(dataset: Dataset, session: Session, warehouse: Warehouse) -> Landing | None:
    """Look at a dataset's landing table as it is now; None when there is none."""
    schema = session.schema(dataset.landing)
    if schema is None:
        return None
    flat = leaves(schema, warehouse.dialect)
    return Landing(
        warehouse=warehouse,
        name=dataset.landing,
        table=relation(warehouse, dataset.landing),
        where=f"({dataset.batch})" if dataset.batch else "TRUE",
        schema=schema,
        leaves=flat,
        renamed=_view_names(dataset, session, flat, warehouse.dialect),
    )


def _view_names(dataset: Dataset, session: Session, flat: TableSchema, dialect: str) -> dict[str, tuple[str, ...]]:
    if dataset.view is None:
        return {}
    try:
        sql = session.view_sql(dataset.view)
        tree = sqlglot.parse_one(sql, dialect=dialect) if sql else None
    except (SqlglotError, Rejected):
        return {}
    names = {leaf.name.lower(): (leaf.name,) for leaf in flat.columns}
    return _outputs(tree, name_parts(dataset.landing)[-1].lower(), names) if tree is not None else {}


def _outputs(query: exp.Expr, landing: str, names: Origins) -> dict[str, tuple[str, ...]]:
    """Output column -> landing leaves, for the outputs that only rename, nest out or cast one column of `landing`."""
    if isinstance(query, exp.Subquery):
        return _outputs(query.this, landing, names)
    if isinstance(query, exp.SetOperation):
        return {**_outputs(query.right, landing, names), **_outputs(query.left, landing, names)}
    if not isinstance(query, exp.Select) or query.args.get("joins") or query.args.get("group"):
        return {}
    inner = _source(query, landing, names)
    found: dict[str, tuple[str, ...]] = {}
    for projection in query.expressions:
        if projection.is_star:
            found.update(inner)
            continue
        origin = _origin(projection.unalias(), inner)
        if origin:
            found[projection.alias_or_name.lower()] = origin
    # A contract may speak of the column as it landed once, which the view renames: its name stands further in.
    for name, origin in inner.items():
        if [leaf.lower() for leaf in origin] != [name]:
            found.setdefault(name, origin)
    return found


def _source(query: exp.Select, landing: str, names: Origins) -> Origins:
    origin = query.args.get("from_") or query.args.get("from")
    source = origin.this if origin is not None else None
    if isinstance(source, exp.Subquery):
        return _outputs(source.this, landing, names)
    if not isinstance(source, exp.Table):
        return {}
    for common in query.ctes:
        if common.alias.lower() == source.name.lower() and not source.db:
            return _outputs(common.this, landing, names)
    return names if source.name.lower() == landing else {}


def _origin(expression: exp.Expr, inner: Origins) -> tuple[str, ...]:
    while isinstance(expression, exp.Cast | exp.TryCast | exp.Paren):
        expression = expression.this
    if isinstance(expression, exp.Coalesce):
        options = [_origin(part, inner) for part in (expression.this, *expression.expressions)]
        return next((option for option in options if option), ())
    if isinstance(expression, exp.Case) and _takes_either(expression):
        options = [_origin(branch.args["true"], inner) for branch in expression.args["ifs"]]
        return tuple(dict.fromkeys(leaf for option in options for leaf in option))
    if isinstance(expression, exp.JSONExtractScalar | exp.JSONExtract):
        parts = [_key_of_row(expression)]
    elif isinstance(expression, exp.Column | exp.Dot):
        parts = [part.name.lower() for part in expression.parts]
    else:
        return ()
    for start in (0, 1):  # the first part may be the table's alias
        leaf = inner.get(".".join(parts[start:]))
        if leaf is not None:
            return leaf
    return ()


def _key_of_row(extract: exp.JSONExtractScalar | exp.JSONExtract) -> str:
    """The column that an accommodated view takes out of its row as JSON; "" for any other piece of JSON."""
    row = extract.this.unnest()
    is_row = isinstance(row, exp.Anonymous) and row.name.lower() == "to_jsonb" and row.expressions[0].is_star
    key = next(iter(extract.expression.find_all(exp.Literal)), None)
    return key.name.lower() if is_row and key is not None else ""


def _takes_either(case: exp.Case) -> bool:
    """Whether this is how an accommodated view gives a column that may stand under its old or its new name.

    See `Restoration.leaf`: the one that has a value, and an error when both have and differ.
    """
    default, branches = case.args.get("default"), case.args["ifs"]
    said = [literal.name for literal in default.find_all(exp.Literal)] if default is not None else []
    return case.this is None and len(branches) == 2 and any(text.endswith(TWO_VALUES) for text in said)
