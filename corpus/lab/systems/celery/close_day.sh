#!/usr/bin/env bash
# Start a worker for the day's closing, close the day, stop the worker.
mkdir -p queue control
python -m celery -A tasks worker --loglevel INFO --concurrency 1 --without-gossip --without-mingle --hostname desk@%h 2>&1 &
worker=$!
python desk_day.py 2>&1
rc=$?
kill -TERM $worker
wait $worker
echo "close_day: status $rc"
exit $rc
