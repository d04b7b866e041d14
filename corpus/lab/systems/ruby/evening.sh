#!/bin/bash
# Runs the box office close and tells the scheduler how it ended.
echo "evening.sh: closing the day, limits: $(ulimit -v) kB of memory, $(ulimit -f) blocks per file"
ruby box_office.rb
status=$?
[ $status -eq 0 ] || { echo "evening.sh: box_office.rb exited with $status"; exit 1; }
echo "evening.sh: closed"
