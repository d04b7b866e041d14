#!/usr/bin/env bash
# Roll the parking sensors' events up to hours: one file per city.
set -euo pipefail

SPOOL=${SPOOL:-spool}
export TMPDIR=$SPOOL
stamp() { gawk -v tag="$1" '{ print strftime("%H:%M:%S"), tag, $0; fflush() }'; }
note() { echo "$(date +%T) rollup $*"; }

note "$(wc -l < events.csv) events, spool $SPOOL"
for city in $(cut -d, -f1 events.csv | uniq | sort -u); do
    note "city $city: $(grep -c "^$city," events.csv) events"
    grep "^$city," events.csv > "$SPOOL/$city.csv"
    sort --buffer-size=1M -t, -k2,2 -k3,3n "$SPOOL/$city.csv" -o "$SPOOL/$city.sorted"
    mawk -F, '
        { hour = substr($3, 1, 13); key = $2 "," hour; seen[key, NR] = $0; taken[key] += $4 }
        END { for (key in taken) print key "," taken[key] }
    ' "$SPOOL/$city.sorted" | sort > "$SPOOL/$city.hours"
    note "city $city: $(wc -l < "$SPOOL/$city.hours") bay hours"
    gzip --keep --force "$SPOOL/$city.hours"
    rm -f "$SPOOL/$city.csv" "$SPOOL/$city.sorted"
done
ls "$SPOOL" | stamp spool
note "done"
