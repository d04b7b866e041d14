#!/bin/bash
echo "[nightly] $(date '+%F %T') stage sync_loans started"
LOG_LEVEL=DEBUG "$1" sync_loans.py
rc=$?
echo "[nightly] $(date '+%F %T') stage sync_loans ended, exit code $rc"
exit $rc
