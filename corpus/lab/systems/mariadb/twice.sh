#!/bin/bash
# the two nightly jobs of the warehouse, side by side
"$1" sync_loans.py &
loans=$!
bash import_parcels.sh
parcels=$?
wait $loans
loans=$?
echo "loans ended with $loans, parcels with $parcels"
[ $loans -eq 0 ] && [ $parcels -eq 0 ]
