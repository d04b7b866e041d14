#!/bin/bash
# Load the branches' loans of the day: unpack, copy with pgloader, update the overview of members.
set -euo pipefail

say() { printf '%s load_loans[%d]: %s\n' "$(date -u +%FT%TZ)" 1 "$*"; }

day=2026-11-20
mkdir -p unpacked scratch
for branch in mitte nord west; do
    gunzip -c "delivery/loans_${branch}_${day}.csv.gz" >"unpacked/${branch}.csv"
    say "${branch}: $(wc -l <"unpacked/${branch}.csv") lines, header $(head -n 1 "unpacked/${branch}.csv" | tr -d '\r')"
done

for branch in mitte nord west; do
    say "loading ${branch}"
    BRANCH=$branch pgloader --root-dir scratch --client-min-messages notice loans.load
done

expected=$(cat unpacked/*.csv | wc -l)
loaded=$(psql -X -A -t -c "SELECT count(*) FROM loan")
say "in the files: $((expected - 3)), in the table: ${loaded}"
[ "$loaded" -eq $((expected - 3)) ]
psql -X -v ON_ERROR_STOP=1 -f members.sql
say "day ${day} is loaded"
