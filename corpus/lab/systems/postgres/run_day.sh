#!/bin/bash
# Meter readings of one day: stage, merge, settle, hand over.
set -euo pipefail
day="${DAY:-2026-11-21}"
log() { echo "$(date '+%F %T') run_day[$1]: $2"; }

step() {
  log "$day" "step $1"
  psql -X --no-psqlrc -v ON_ERROR_STOP=1 -v day="$day" -f "$1.sql"
}

trap 'status=$?; [ $status -eq 0 ] || log "$day" "ended with status $status"' EXIT
log "$day" "server $(psql -X -At -c 'show server_version')"
log "$day" "delivery: $(wc -l < "readings_$day.csv") lines, $(head -n 1 "readings_$day.csv")"
step stage
step merge
step settle
step handover
log "$day" "done"
