#!/bin/bash
# Started by the table of jobs: one name, one command; keeps the job's output and says how it ended.
name=$1; shift
echo "[$name] begin $(date -u +%FT%TZ) pid $$"
"$@"
status=$?
echo "[$name] end $(date -u +%FT%TZ) exit code $status"
exit $status
