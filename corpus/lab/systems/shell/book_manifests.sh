#!/bin/bash
# Check the carriers' manifests, flatten them, and price them with the rate card.
set -eu -o pipefail
export PS4='+ ${BASH_SOURCE##*/}:${LINENO}: '
set -x

mkdir -p flat
for manifest in manifests/*.xml; do
    xmllint --noout --schema manifest.xsd "$manifest"
    xmllint --xpath '//consignment' "$manifest" > flat/last.txt
done

echo 'container_no,carrier,gross_kg,loaded_on' > flat/consignments.csv
for manifest in manifests/*.xml; do
    xmllint --xpath '//consignment/@*' "$manifest" \
        | gawk -F'"' '{ row = row (row == "" ? "" : ",") $2; if (++n % 4 == 0) { print row; row = "" } }' \
        >> flat/consignments.csv
done

csvcut -c carrier,rate_eur,valid_to rates/ratecard.csv > flat/rates.csv
csvjoin -c carrier flat/consignments.csv flat/rates.csv > flat/priced.csv
csvsort -c gross_kg flat/priced.csv | csvcut -c container_no,gross_kg,rate_eur > flat/booking.csv
csvstat --count flat/booking.csv
gawk -F, 'NR > 1 { total += $2 * $3 } END { printf "to be booked: %.2f EUR\n", total }' flat/booking.csv
