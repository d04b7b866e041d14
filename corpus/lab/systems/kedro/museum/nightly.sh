#!/bin/sh
# Every night: the visitors' counters of the last seven days.
echo "museum-visits $(date -u +%FT%TZ) begin"
kedro run --pipeline=visits --runner="${RUNNER:-SequentialRunner}" 2>&1
rc=$?
echo "museum-visits $(date -u +%FT%TZ) end rc=$rc"
exit $rc
