#!/usr/bin/env bash
# Consignments of one day: unpack, normalise, order, total per lane, hand over.
set -euo pipefail
cd "$(dirname "$0")"
: "${DAY:=2026-03-14}"
WORK=${WORK:-work}

say() { printf '%s nightly[%s] %s\n' "$(date '+%F %T')" "$DAY" "$*"; }
step() { say "step $1"; }
trap 'code=$?; [ $code -eq 0 ] && say "finished" || say "left with status $code after ${SECONDS}s"' EXIT

say "start on $(hostname), $(nproc) cpus, work area $WORK"
mkdir -p "$WORK/spill" out

step "unpack"
gzip -dc inbox/consignments.psv.gz > "$WORK/consignments.psv"
say "$(wc -l < "$WORK/consignments.psv") lines, fields: $(head -n 1 "$WORK/consignments.psv")"

step "normalise"
tail -n +2 "$WORK/consignments.psv" |
  awk -F'|' -v OFS='\t' '{ gsub(/ /, "", $1); print toupper($1), $2 "-" $3, $4, $5 }' > "$WORK/normal.tsv"
say "normal.tsv $(stat -c %s "$WORK/normal.tsv") bytes"

step "order"
sort --parallel=1 -S 1M -T "$WORK/spill" -t $'\t' -k2,2 -k1,1 "$WORK/normal.tsv" -o "$WORK/ordered.tsv"
say "order done"

step "check keys"
cut -f1 "$WORK/ordered.tsv" | LC_ALL=C sort -S 8M | LC_ALL=C sort -c -u
say "keys fine"

step "lanes"
python3 lanes.py "$WORK/ordered.tsv" out/lanes.csv

step "pack"
gzip -9 -c "$WORK/ordered.tsv" > "out/consignments-$DAY.tsv.gz"
say "packed $(stat -c %s "out/consignments-$DAY.tsv.gz") bytes"
