"""What a catalogue says of a table's columns besides name, type and NULL: keys, checks, collation, identity, generation."""

from __future__ import annotations

from collections.abc import Mapping

from mendline.warehouses.base import Session, Warehouse
from mendline.warehouses.names import name_parts

DEFAULT_SCHEMA = {"duckdb": "main", "postgres": "public"}
Traits = Mapping[str, tuple[str, ...]]

# One row per column and trait, for the table `schema`, `name`. The names of constraints are left out: a table that is made
# anew gets others.
QUERIES = {
    # Source: DuckDB 2.0.0, tried by hand (November 2026); a collation stands in the table's own statement only.
    "duckdb": """
WITH place AS (SELECT ? AS schema_name, ? AS table_name)
SELECT unnest(k.constraint_column_names) AS name, k.constraint_text AS trait
FROM duckdb_constraints() AS k JOIN place AS p
  ON lower(k.schema_name) = lower(p.schema_name) AND lower(k.table_name) = lower(p.table_name)
WHERE k.database_name = current_database() AND k.constraint_type <> 'NOT NULL'
UNION ALL
SELECT c.column_name, 'generated as ' || c.generation_expression
FROM duckdb_columns() AS c JOIN place AS p
  ON lower(c.schema_name) = lower(p.schema_name) AND lower(c.table_name) = lower(p.table_name)
WHERE c.database_name = current_database() AND c.is_generated
UNION ALL
SELECT c.column_name, 'collation ' || lower(found.collation)
FROM duckdb_columns() AS c JOIN place AS p
  ON lower(c.schema_name) = lower(p.schema_name) AND lower(c.table_name) = lower(p.table_name)
JOIN duckdb_tables() AS t ON t.table_oid = c.table_oid AND t.database_oid = c.database_oid,
LATERAL (SELECT regexp_extract(
  t.sql, '(?:"' || regexp_escape(c.column_name) || '"|[(, ]' || regexp_escape(c.column_name)
    || ') VARCHAR COLLATE ("[^"]*"|[\\w.]+)', 1) AS collation) AS found
WHERE c.database_name = current_database() AND found.collation <> ''
ORDER BY ALL""",
    # Source: PostgreSQL 15 documentation, pg_attribute, pg_constraint (52.7, 52.13).
    "postgres": """
WITH place AS (SELECT c.oid FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
               WHERE n.nspname = ? AND c.relname = ?)
SELECT a.attname AS name, found.trait
FROM place JOIN pg_attribute AS a ON a.attrelid = place.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type AS t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
LEFT JOIN pg_collation AS o ON o.oid = a.attcollation AND a.attcollation <> t.typcollation
CROSS JOIN LATERAL (
  SELECT 'collation ' || o.collname AS trait WHERE o.oid IS NOT NULL
  UNION ALL SELECT 'generated as ' || pg_get_expr(d.adbin, d.adrelid) WHERE a.attgenerated <> ''
  UNION ALL SELECT CASE a.attidentity WHEN 'a' THEN 'identity, always' ELSE 'identity, by default' END WHERE a.attidentity <> ''
  UNION ALL SELECT pg_get_constraintdef(k.oid) FROM pg_constraint AS k
            WHERE k.conrelid = a.attrelid AND a.attnum = ANY(k.conkey) AND k.contype IN ('p', 'u', 'c', 'f', 'x')
) AS found
ORDER BY name, trait""",
}


def traits_of(session: Session, warehouse: Warehouse, table: str) -> dict[str, tuple[str, ...]] | None:
    """Each column's traits as the engine words them, in order; columns without any are left out.

    None when the engine's catalogue is not known here.
    """
    query = QUERIES.get(warehouse.dialect)
    if query is None:
        return None
    found: dict[str, tuple[str, ...]] = {}
    *_, schema, name = (DEFAULT_SCHEMA[warehouse.dialect], *name_parts(table))
    for column, trait in session.rows(query, [schema, name]):
        found[str(column)] = (*found.get(str(column), ()), str(trait))
    return found
