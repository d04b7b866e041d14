#!/usr/bin/env bash
# What cron starts: the steps of the night, one after the other; mails go to the on-call list when a step fails.
cd "$(dirname "$0")" || exit 1
failed=0
trap 'echo "=== $(date "+%F %T") SIGINT during $step"; exit 130' INT
for step in "$@"; do
    echo "=== $(date '+%F %T') start $step"
    bash $step
    rc=$?
    echo "=== $(date '+%F %T') end $step rc=$rc"
    [ $rc -eq 0 ] || failed=$((failed + 1))
done
echo "nightly: $# steps, $failed failed"
exit $((failed > 0))
