"""Only reading: SQL that people write in contracts may look at data and do nothing else."""

from __future__ import annotations

from collections.abc import Callable

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

Wrong = Callable[[str], Exception]
# Everything that is a statement and not a query; `Command` is what sqlglot could not parse.
STATEMENTS = (exp.DML, exp.DDL, exp.Command, exp.Into, exp.Drop, exp.Alter, exp.Set, exp.Pragma, exp.Attach, exp.Copy)
# Functions that leave the database or change it. Source: DuckDB 2.0 and PostgreSQL 18 function references, 2026-11.
OUTSIDE = ("read_", "pg_read_", "pg_ls_", "lo_", "dblink", "copy_", "parquet_scan", "csv_scan", "sqlite_", "postgres_")
EFFECTS = {"getenv", "glob", "nextval", "setval", "set_config", "pg_sleep", "query", "query_table", "sniff_csv"}


def guard_condition(text: str, dialect: str, wrong: Wrong) -> exp.Expr:
    """Parse one boolean expression over a row; raises what `wrong` makes of a text that is anything else."""
    tree = _one(f"SELECT 1 WHERE (\n{text}\n)", dialect, wrong)
    where = tree.args.get("where")
    if not isinstance(tree, exp.Select) or where is None or len(tree.args.get("expressions") or ()) != 1:
        raise wrong("is not one SQL condition")
    extra = [key for key, value in tree.args.items() if value and key not in ("expressions", "where", "kind")]
    if extra or not isinstance(where.this, exp.Paren):
        raise wrong("is not one SQL condition")
    inner: exp.Expr = where.this.this
    return inner


def guard_query(text: str, dialect: str, wrong: Wrong) -> exp.Expr:
    """Parse one query; `{object}` and `{property}` in it are placeholders for names."""
    if not text.strip():
        raise wrong("is empty")
    return _one(fill(text, "mendline_object", "mendline_property"), dialect, wrong)


def fill(text: str, target: str, column: str) -> str:
    """Put names in for `{object}`, `{table}`, `{model}` and `{property}`, `{column}` (also written `${...}`)."""
    for word in ("object", "table", "model"):
        text = text.replace(f"${{{word}}}", target).replace(f"{{{word}}}", target)
    for word in ("property", "column"):
        text = text.replace(f"${{{word}}}", column).replace(f"{{{word}}}", column)
    return text


def _one(text: str, dialect: str, wrong: Wrong) -> exp.Expr:
    try:
        trees = [tree for tree in sqlglot.parse(text, dialect=dialect) if tree is not None]
    except SqlglotError as error:
        raise wrong(f"is not valid SQL: {str(error).splitlines()[0]}") from error
    if len(trees) != 1 or not isinstance(trees[0], exp.Query):
        raise wrong("must be exactly one query")
    tree = trees[0]
    for node in tree.walk():
        if isinstance(node, STATEMENTS):
            raise wrong(f"may only read, found {type(node).__name__.upper()}")
        if isinstance(node, exp.Func) and _leaves(node):
            raise wrong(f"calls `{_function(node)}`, which reaches outside the data")
    return tree


def _function(node: exp.Func) -> str:
    return (node.name if isinstance(node, exp.Anonymous) else node.sql_name()).lower()


def _leaves(node: exp.Func) -> bool:
    name = _function(node)
    return name.startswith(OUTSIDE) or name in EFFECTS
