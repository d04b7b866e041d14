#!/bin/bash
echo "--- nightly $(date -u '+%F %T') step settle_wind"
ulimit -S -t "${CPU_SECONDS:-600}"
"$1" settle_wind.py
rc=$?
echo "--- nightly $(date -u '+%F %T') step settle_wind finished rc=$rc"
[ $rc -eq 0 ] || { echo "--- nightly aborted"; exit $rc; }
