#!/bin/bash
# The night run of the library: every branch is a process of its own, then the reminders.
set -uo pipefail
say() { echo "$(date '+%d/%b/%Y:%T') night: $*"; }

say "branches: $BRANCHES"
for branch in $BRANCHES; do
  "$PYTHON" loans.py "$branch"
  status=$?
  say "branch $branch: status $status"
  [ $status -eq 0 ] || exit 1
done
"$PYTHON" reminders.py
status=$?
say "reminders: status $status"
exit $status
