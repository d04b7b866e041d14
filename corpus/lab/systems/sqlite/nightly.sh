#!/bin/bash
# Occupied beds of the wards: import, reconcile, publish.
set -uo pipefail
store=wards.db
step() {
  local name=$1 limit=$2
  echo "[nightly] $name (at most ${limit}s) starts"
  timeout --verbose "${limit}s" sqlite3 -bail "$store" < "$name.sql"
  local status=$?
  echo "[nightly] $name ends with $status"
  [ $status -eq 0 ] || exit $status
}
echo "[nightly] sqlite $(sqlite3 --version | cut -c1-6), $(ls in | wc -l) files, free: $(df -h --output=avail . | tail -1)"
step import 10
step reconcile 3
step publish 10
echo "[nightly] done"
