#!/bin/bash
# The night's two jobs, side by side.
set -u
echo "nightly: start $(date -u +%FT%TZ)"
python load_profile.py --months "$MONTHS" --out profiles &
profiles=$!
python housekeeping.py &
keeping=$!
wait $keeping; echo "nightly: housekeeping ended with $?"
wait $profiles; status=$?
echo "nightly: load_profile ended with $status"
exit $status
