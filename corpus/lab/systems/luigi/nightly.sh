#!/usr/bin/env bash
# The bulletin of one day; luigi finds for itself what is left to do.
day=${1:-2026-11-20}
echo "$(date '+%F %T') bulletin of $day starts"
PYTHONPATH=. luigi --module bulletin Bulletin --day "$day" --local-scheduler --workers "${WORKERS:-1}" 2>&1
rc=$?
echo "$(date '+%F %T') bulletin of $day ends with $rc"
exit $rc
