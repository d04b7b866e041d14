#!/usr/bin/env bash
# Fetch the day-ahead tariffs of every zone, store them, and write the tariff sheet of the day.
set -euo pipefail

log() { printf '%s %-5s %s: %s\n' "$(date '+%F %T')" "$1" "${0##*/}" "${*:2}"; }
trap 'log ERROR "stopped at line $LINENO with status $?"' ERR

source ./tariffs.conf
mkdir -p landing sheets
rm -f landing/*

log INFO "day ${DAY}, zones: ${ZONES}"
for zone in $ZONES; do
    answer=landing/$zone.json
    log INFO "zone $zone: GET $API/v2/tariffs?zone=$zone"
    if ! curl --silent --show-error --fail-with-body --retry 2 --retry-delay 1 --connect-timeout 2 --max-time 3 \
        -H "Authorization: Bearer $TOKEN" -o "$answer" \
        -w 'http=%{http_code} type=%{content_type} bytes=%{size_download} time=%{time_total}\n' \
        "$API/v2/tariffs?zone=$zone"; then
        [ -s "$answer" ] && head -c 600 "$answer" && echo
        log ERROR "zone $zone: no tariffs"
        exit 1
    fi
    jq -r '.tariffs[] | [.zone, .hour, .price_eur, .band] | @csv' "$answer" > "landing/$zone.csv"
    log INFO "zone $zone: $(wc -l < "landing/$zone.csv") hours, fields $(jq -c '.tariffs[0] | keys' "$answer")"
done

cat landing/*.csv > landing/all.csv
log INFO "loading $(wc -l < landing/all.csv) rows into tariffs.db"
sqlite3 -bail tariffs.db <<SQL
CREATE TEMP TABLE incoming (zone TEXT, hour TEXT, price_eur TEXT, band TEXT);
.mode csv
.import landing/all.csv incoming
BEGIN;
DELETE FROM tariff WHERE day = '$DAY';
INSERT INTO tariff (day, zone, hour, price_eur, band)
SELECT '$DAY', zone, hour, nullif(price_eur, ''), band FROM incoming;
COMMIT;
SQL

log INFO "stored: $(sqlite3 tariffs.db "SELECT count(*), round(avg(price_eur), 2) FROM tariff WHERE day = '$DAY'")"
sqlite3 -header -csv tariffs.db "SELECT zone, min(price_eur), max(price_eur) FROM tariff WHERE day = '$DAY' GROUP BY zone" \
    > "sheets/$DAY.csv"
log INFO "sheet sheets/$DAY.csv written"
