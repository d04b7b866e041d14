#!/usr/bin/env bash
# Nightly load of the tree register: districts from the geoportal, the crews' survey sheets, then the felling list.
set -euo pipefail
export GDAL_HTTP_TIMEOUT=3 GDAL_HTTP_MAX_RETRY=2 GDAL_HTTP_RETRY_DELAY=0.4 GDAL_DISABLE_READDIR_ON_OPEN=EMPTY_DIR PG_USE_COPY=${PG_USE_COPY:-NO}
night=${1:-2026-09-14}
say() { printf '[%(%Y-%m-%d %H:%M:%S)T] trees %s: %s\n' -1 "$night" "$*"; }
stopped() {
    say "stopped in line $2, status $1"
    [ -z "${SERVER_LOG:-}" ] || tail -n 8 "$SERVER_LOG" | sed 's/^/  server: /'
}
trap 'stopped $? $LINENO' ERR

say "districts: $GEOPORTAL"
ogr2ogr -f PostgreSQL -update -append PG: "/vsicurl/$GEOPORTAL/districts.geojson" -nln district_new -nlt NONE
psql -X -q -v ON_ERROR_STOP=1 -c 'INSERT INTO district SELECT code, title, area_ha FROM district_new ON CONFLICT (code) DO UPDATE SET title = excluded.title, area_ha = excluded.area_ha'

for sheet in inbox/crew_north.csv inbox/crew_river.csv inbox/crew_south.csv; do
    name=$(basename "$sheet" .csv)
    ogr2ogr -f PostgreSQL -update -append PG: "$sheet" -nln tree -nlt NONE -gt 500
    ogrinfo -ro -so "$sheet" "$name" | sed -n "s/^Feature Count/  $name, trees/p"
    say "$name loaded"
done

say "sawmill shapes"
ogr2ogr -f PostgreSQL -update -append PG: inbox/felled.shp -nln felled -nlt NONE \
    -sql "SELECT tree_id, felled_on, reason FROM felled WHERE reason <> 'none'"

say "felling list"
psql -X -v ON_ERROR_STOP=1 -f totals.sql
ogr2ogr -f "${EXPORT_FORMAT:-CSV}" outbox/fell.csv PG: -sql "SELECT tree_id, species, district, height_m, state FROM tree WHERE state >= 4 ORDER BY tree_id"
say "done: $(wc -l < outbox/fell.csv) lines"
