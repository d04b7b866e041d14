#!/bin/bash
# 02:30 chain: curves and flows
trap 'echo "$(date +%FT%T) night.sh: caught SIGINT, leaving"; exit 130' INT
run() {
  echo "$(date +%FT%T) night.sh: step $1 started"
  shift
  "$@"
  local status=$?
  echo "$(date +%FT%T) night.sh: step ended with status $status"
  [ $status -eq 0 ] || exit 1
}
run sweep find out -name '*.tmp' -delete
run discharge Rscript discharge.R
run publish cp out/monthly.rds out/flows.csv published/
