#!/bin/bash
# Support tickets: export | enrich | keep the newest state per ticket | store
set -o pipefail
cd "$(dirname "$0")"
python3 ticket_export.py tickets.jsonl | python3 ticket_enrich.py agents.csv | python3 ticket_store.py tickets.db
codes="${PIPESTATUS[*]}"
echo "tickets: exit codes of export, enrich, store: $codes"
set -- $codes
[ "$1" = 0 ] && [ "$2" = 0 ] && [ "$3" = 0 ]
