#!/bin/bash
# Freight of the night: collect, price, hand over.
set -u
echo "== nightly freight run, $(date -u +%F) =="
echo "-- collect"
for depot in depots/*.csv; do
  [ -s waybills.csv ] || head -1 "$depot" > waybills.csv
  tail -n +2 "$depot" >> waybills.csv
  echo "   $depot: $(($(wc -l < "$depot") - 1)) waybills, $(head -1 "$depot")"
done
wc -l < waybills.csv | awk '{print $1 - 1}' > waybills.ctl
echo "-- price"
./waybills
status=$?
echo "-- status of price: $status"
[ $status -eq 0 ] || { echo "nightly freight run stopped"; exit 1; }
echo "-- hand over"
cp out/invoice.csv "out/handed-over.csv" && echo "   $(wc -l < out/handed-over.csv) lines"
