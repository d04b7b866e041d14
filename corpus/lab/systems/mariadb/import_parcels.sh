#!/bin/bash
# Nightly import of the depots' scan files
set -u
export MYSQL_PWD="$WAREHOUSE_PASSWORD"
sql() { mariadb --no-defaults -h "$WAREHOUSE_HOST" -P "$WAREHOUSE_PORT" -u etl --local-infile=1 --default-character-set=utf8mb4 --show-warnings -vv "$@"; }
step() { echo "$(date '+%F %T') [import_parcels] $*"; }

step "start, batch 2026-05-04"
for depot in north south west; do
  file="inbox/$depot.csv"
  step "loading $file ($(wc -l < "$file") lines: $(head -1 "$file"))"
  sql parcels -e "SET SESSION sql_mode='STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO';
    LOAD DATA LOCAL INFILE '$file' INTO TABLE scan_stage CHARACTER SET utf8mb4
    FIELDS TERMINATED BY ';' IGNORE 1 LINES (parcel_no, depot, weight_g, scanned_at, consignee);" || { step "load of $depot failed"; exit 1; }
done
step "merging"
sql parcels < merge.sql || { rc=$?; step "merge ended with $rc"; exit 1; }
step "done"
