#!/bin/sh
# Run by cron at 02:10.
python fetch_export.py
status=$?
if [ $status -ne 0 ]; then
  echo "fetch_export.py: exit status $status" >&2
  exit 1
fi
