#!/bin/bash
# Step 3 of 5.
echo "[step 3/5] orders gate"
python orders_gate.py 2>&1 | sed -u 's/^/[gate] /'
status=${PIPESTATUS[0]}
echo "[step 3/5] exit code $status"
exit $status
