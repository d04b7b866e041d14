#!/bin/sh
# Keep one partition per cell and hour; old ones go, tomorrow's come.
set -e
echo "rotate: $(psql -X -At -c "select count(*) from pg_class where relkind = 'r' and relname like 'cell\_%'") partitions before"
psql -X -v ON_ERROR_STOP=1 -q <<SQL
\echo rotate: drop what is past
BEGIN;
DO \$\$
DECLARE old regclass; gone integer := 0;
BEGIN
  FOR old IN SELECT inhrelid::regclass FROM pg_inherits JOIN pg_class ON oid = inhrelid
             WHERE inhparent = 'signal'::regclass AND relname < 'cell_2026112200' ORDER BY relname LOOP
    EXECUTE format('DROP TABLE %s', old);
    gone := gone + 1;
    IF gone % 25 = 0 THEN RAISE NOTICE '% partitions dropped', gone; END IF;
  END LOOP;
  RAISE NOTICE '% partitions dropped in all', gone;
END \$\$;
COMMIT;
\echo rotate: make what is to come
DO \$\$
BEGIN
  FOR hour IN 0..23 LOOP
    EXECUTE format('CREATE TABLE IF NOT EXISTS %I PARTITION OF signal FOR VALUES FROM (%s) TO (%s)',
      'cell_20261123' || lpad(hour::text, 2, '0'), 2026112300 + hour, 2026112301 + hour);
  END LOOP;
END \$\$;
\echo rotate: strongest cells
SELECT hour, max(dbm) AS best, round(stddev(dbm)::numeric, 1) AS spread FROM signal GROUP BY hour ORDER BY hour DESC LIMIT 3;
SQL
echo "rotate: finished"
