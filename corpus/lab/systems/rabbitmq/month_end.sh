#!/bin/bash
# month end of the dairy: sender and settlement run side by side
cd "$(dirname "$0")"
python settle_collections.py 2>&1 &
settle=$!
python send_collections.py 2>&1
sent=$?
[ $sent -eq 0 ] || { echo "month_end: sender ended with $sent, stopping settlement"; kill $settle 2>/dev/null; wait $settle 2>/dev/null; exit $sent; }
wait $settle
status=$?
echo "month_end: settlement ended with $status"
exit $status
