#!/bin/bash
# Move the catalogue of the old system (SQLite) into the warehouse and attach the shelves.
set -euo pipefail
mkdir -p scratch
echo "moving catalogue.db ($(stat -c %s catalogue.db) bytes)"
pgloader --verbose --on-error-stop --root-dir scratch catalogue.load
echo "moved, attaching shelves"
psql -X -v ON_ERROR_STOP=1 <<'SQL'
\timing on
CREATE TABLE shelf_mark AS
SELECT t.title_id, t.title, s.shelf FROM title t JOIN shelf s USING (shelf_id) WHERE t.withdrawn_on IS NULL;
ALTER TABLE shelf_mark ADD PRIMARY KEY (title_id);
SELECT shelf, count(*) FROM shelf_mark GROUP BY shelf ORDER BY shelf LIMIT 5;
SQL
