#!/bin/bash
# Refill the queue of parcels to route from the depot's list, then take a snapshot.
set -o pipefail
say() { echo "[$(date -u +%H:%M:%S)] $*"; }
cli() { redis-cli -h 127.0.0.1 -p "$REDIS_PORT" "$@"; }

say "refill: $(wc -l < parcels.tsv) parcels in parcels.tsv"
say "queue before: $(cli LLEN parcels:to_route)"
awk -F'\t' 'NF != 4 { printf "parcels.tsv:%d: %d fields instead of 4\n", NR, NF > "/dev/stderr"; exit 3 }
  { printf "RPUSH parcels:to_route %s\r\nHSET parcel:%s depot %s grams %s label \"%s\"\r\n", $1, $1, $2, $3, $4 }' parcels.tsv |
  redis-cli -h 127.0.0.1 -p "$REDIS_PORT" --pipe || { say "refill failed with status $?"; exit 1; }
say "queue after: $(cli LLEN parcels:to_route)"

say "snapshot"
answer=$(cli SAVE)
if [ "$answer" != "OK" ]; then
  say "SAVE answered: $answer"
  say "last lines of the server's log:"
  tail -n 12 redis/redis.log
  exit 1
fi
say "done, $(stat -c %s redis/dump.rdb) bytes"
