"""Questions to PostgreSQL's catalogue. Source: PostgreSQL 15 documentation, chapter 53 (System Catalogs)."""

from __future__ import annotations

_OF = "JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = ? AND c.relname = ?"

# One row per column in order; one row without a name for a table without columns. A domain is of its base type.
SCHEMA = f"""
SELECT a.attname, format_type(a.atttypid, a.atttypmod),
       CASE t.typtype WHEN 'd' THEN format_type(t.typbasetype, t.typtypmod) ELSE format_type(a.atttypid, a.atttypmod) END,
       coalesce(t.typtype = 'e', FALSE), NOT coalesce(a.attnotnull, FALSE)
FROM pg_class AS c
LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_type AS t ON t.oid = a.atttypid
{_OF} AND c.relkind IN ('r', 'p', 'v', 'm', 'f') ORDER BY a.attnum"""

VIEW = f"SELECT pg_get_viewdef(c.oid) FROM pg_class AS c {_OF} AND c.relkind = 'v'"

NAMED_TYPES = """
SELECT name, format_type(kind, modifier)
FROM unnest(CAST(? AS text[]), CAST(? AS oid[]), CAST(? AS int[])) WITH ORDINALITY AS given(name, kind, modifier, place)
ORDER BY place"""

TABLES = """
SELECT count(*) FROM information_schema.tables WHERE table_schema NOT IN ('pg_catalog', 'information_schema')"""

WAITING = "SELECT 1 FROM pg_locks WHERE NOT granted AND %s = ANY(pg_blocking_pids(pid)) LIMIT 1"

# What depends on a view: other views and rules through their rewrite rule, functions by themselves.
DEPENDENTS = f"""
SELECT DISTINCT CASE WHEN v.relkind IN ('v', 'm') THEN 'view' WHEN d.classid = CAST('pg_proc' AS regclass) THEN 'function'
                     ELSE 'rule' END,
       CASE WHEN v.relkind IN ('v', 'm') THEN 'view ' || CAST(CAST(v.oid AS regclass) AS text)
            ELSE pg_describe_object(d.classid, d.objid, d.objsubid) END
FROM pg_class AS c
JOIN pg_depend AS d ON d.refclassid = CAST('pg_class' AS regclass) AND d.refobjid = c.oid AND d.deptype = 'n'
LEFT JOIN pg_rewrite AS w ON d.classid = CAST('pg_rewrite' AS regclass) AND w.oid = d.objid
LEFT JOIN pg_class AS v ON v.oid = w.ev_class
{_OF} AND v.oid IS DISTINCT FROM c.oid ORDER BY 1, 2"""

# Rights, owner and comment of a view, as the statements that give them to its successor.
GRANTS = f"""
WITH v AS (SELECT c.oid, c.relowner, c.relacl, format('%I.%I', n.nspname, c.relname) AS name FROM pg_class AS c {_OF})
SELECT statement FROM (
  SELECT 0 AS place, format('ALTER VIEW %s OWNER TO %I', name, pg_get_userbyid(relowner)) AS statement
  FROM v WHERE pg_get_userbyid(relowner) <> current_user
  UNION ALL
  SELECT 1, format('GRANT %s ON %s TO %s%s', g.privilege_type, name,
                   CASE WHEN g.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END,
                   CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
  FROM v CROSS JOIN LATERAL aclexplode(relacl) AS g WHERE g.grantee <> relowner
  UNION ALL
  SELECT 2, format('COMMENT ON VIEW %s IS %L', name, obj_description(oid, 'pg_class'))
  FROM v WHERE obj_description(oid, 'pg_class') IS NOT NULL
) AS statements ORDER BY place, statement"""

# Whatever is on a column or depends on it, with its kind; the column's own default and sequence do not count.
IN_THE_WAY = f"""
WITH place AS (
  SELECT c.oid AS table_id, a.attnum, c.relkind FROM pg_class AS c
  JOIN pg_attribute AS a ON a.attrelid = c.oid AND NOT a.attisdropped {_OF} AND a.attname = ?
)
SELECT CASE
         WHEN k.contype = 'p' THEN 'primary key' WHEN k.contype = 'u' THEN 'unique constraint'
         WHEN k.contype = 'x' THEN 'exclusion constraint' WHEN k.contype = 'c' THEN 'check constraint'
         WHEN k.contype = 'f' THEN 'foreign key' WHEN d.classid = CAST('pg_rewrite' AS regclass) THEN 'view'
         WHEN d.classid = CAST('pg_trigger' AS regclass) THEN 'trigger'
         WHEN d.classid = CAST('pg_policy' AS regclass) THEN 'policy'
         WHEN d.classid = CAST('pg_statistic_ext' AS regclass) THEN 'statistics'
         WHEN i.relkind IN ('i', 'I') THEN 'index' WHEN f.adnum <> place.attnum THEN 'generated column'
         ELSE 'other' END,
       CASE WHEN k.oid IS NOT NULL THEN upper(CASE k.contype WHEN 'p' THEN 'primary key' WHEN 'u' THEN 'unique'
                                              WHEN 'c' THEN 'check' WHEN 'f' THEN 'foreign key' ELSE 'exclusion' END)
              || ' constraint ' || quote_ident(k.conname)
            WHEN v.oid IS NOT NULL THEN 'view ' || CAST(CAST(v.oid AS regclass) AS text)
            ELSE pg_describe_object(d.classid, d.objid, d.objsubid) END
FROM place JOIN pg_depend AS d
  ON d.refclassid = CAST('pg_class' AS regclass) AND d.refobjid = place.table_id AND d.refobjsubid = place.attnum
LEFT JOIN pg_constraint AS k ON d.classid = CAST('pg_constraint' AS regclass) AND k.oid = d.objid
LEFT JOIN pg_class AS i ON d.classid = CAST('pg_class' AS regclass) AND i.oid = d.objid
LEFT JOIN pg_attrdef AS f ON d.classid = CAST('pg_attrdef' AS regclass) AND f.oid = d.objid
LEFT JOIN pg_rewrite AS w ON d.classid = CAST('pg_rewrite' AS regclass) AND w.oid = d.objid
LEFT JOIN pg_class AS v ON v.oid = w.ev_class
UNION ALL SELECT 'partitions', 'its partitions' FROM place WHERE relkind = 'p'
UNION ALL SELECT 'generated column', 'a generated column' FROM place JOIN pg_attribute AS a
  ON a.attrelid = place.table_id AND a.attnum = place.attnum AND a.attgenerated <> ''
ORDER BY 1"""

PARTITIONED = f"SELECT 1 FROM pg_class AS c {_OF} AND c.relkind = 'p'"

IMMOVABLE = f"""
SELECT CASE
    WHEN c.relkind NOT IN ('r', 'p') THEN 'is no ordinary table, so its rows cannot be moved'
    WHEN c.relkind = 'r' AND EXISTS (SELECT FROM pg_inherits WHERE inhparent = c.oid) THEN 'has tables that inherit from it'
    WHEN EXISTS (SELECT FROM pg_partition_tree(c.oid) AS p JOIN pg_class AS f ON f.oid = p.relid WHERE f.relkind = 'f')
      THEN 'has a partition on another server, whose rows cannot be moved in the same transaction'
    WHEN EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attgenerated <> '' AND NOT attisdropped)
      THEN 'has a generated column, which cannot be put back'
    WHEN c.relrowsecurity THEN 'has row level security, so rows may be hidden'
    ELSE '' END
FROM pg_class AS c {_OF}"""
