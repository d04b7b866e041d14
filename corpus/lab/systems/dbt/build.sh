#!/bin/bash
# Nightly build of a dbt project: check the sources, build everything, keep the artefacts.
cd "$(dirname "$0")/$1" || exit 2
export DBT_PROFILES_DIR=. DBT_TARGET_PATH=target DBT_LOG_PATH=logs
echo "$(date '+%F %T') nightly build of $1"
if [ -n "$FRESHNESS" ]; then dbt source freshness || { echo "$(date '+%F %T') stopped before the build"; exit 1; }; fi
dbt ${DBT_FLAGS:-} build ${DBT_SELECT:-}
status=$?
echo "$(date '+%F %T') dbt ended with $status"
exit $status
