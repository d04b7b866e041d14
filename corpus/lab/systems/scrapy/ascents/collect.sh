#!/usr/bin/env bash
# Sunday night: crawl the timekeepers, then book the standings.
set -o pipefail
scrapy crawl results -O feeds/results.csv 2>&1 | tee crawl.log
rc=$?
echo "collect: crawl ended with $rc, $(wc -l < feeds/results.csv) lines"
[ $rc -eq 0 ] || exit $rc
if errors=$(grep "log_count/ERROR" crawl.log); then
  echo "collect:${errors%,}, nothing is booked"
  exit 3
fi
python standings.py feeds/results.csv
rc=$?
[ $rc -eq 0 ] || echo "collect: standings were not booked (exit status $rc)"
exit $rc
