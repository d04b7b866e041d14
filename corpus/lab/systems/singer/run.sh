#!/bin/bash
# ferries: tap | target, the state of the last good run is kept
python tap_ferries.py --config tap.json --state state.json | python target_ledger.py > state.new
status=("${PIPESTATUS[@]}")
if [ "${status[0]}" -ne 0 ] || [ "${status[1]}" -ne 0 ]; then
  echo "run.sh: pipeline ferries failed, exit codes tap=${status[0]} target=${status[1]}, state is kept"
  exit 1
fi
tail -n 1 state.new > state.json
echo "run.sh: pipeline ferries done"
