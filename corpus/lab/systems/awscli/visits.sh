#!/bin/bash
# Take the clinics' visits of the day from the landing bucket and book them.
set -euo pipefail
export AWS_MAX_ATTEMPTS=3 AWS_RETRY_MODE=standard AWS_PAGER=
cloud=(aws --endpoint-url "$S3_ENDPOINT" --region eu-central-1 --cli-read-timeout 2 --cli-connect-timeout 2)
log() { printf '%s visits.sh[%s]: %s\n' "$(date -u +%FT%TZ)" "$STEP" "$*"; }
STEP=start
trap 'rc=$?; [ $rc -eq 0 ] || log "stopped with status $rc"' EXIT

STEP=fetch
log "s3://$LANDING/$DAY/"
"${cloud[@]}" s3 sync --no-progress "s3://$LANDING/$DAY/" landing/
log "$(find landing -name '*.csv.gz' | wc -l) files, $(du -sb landing | cut -f1) bytes"

STEP=verify
(cd landing && sha256sum -c SHA256SUMS.txt)

STEP=unpack
for file in landing/*.csv.gz; do
  gunzip -kf "$file"
  plain=${file%.gz}
  log "$plain: $(($(wc -l < "$plain") - 1)) visits, header $(head -1 "$plain")"
done

STEP=tally
python3 tally.py landing/*.csv

STEP=book
for batch in batches/*.json; do
  "${cloud[@]}" dynamodb batch-write-item --request-items "file://$batch" --output text --query 'length(UnprocessedItems)'
  log "$batch booked"
done

STEP=report
"${cloud[@]}" s3 cp --no-progress report.csv "s3://$REPORTS/$DAY/report.csv"
log "done"
