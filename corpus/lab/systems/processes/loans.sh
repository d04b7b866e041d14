#!/bin/bash
# Loans of the branch libraries: download, reshape, compare with yesterday, load into the catalogue store.
set -eu -o pipefail
cd "$(dirname "$0")"
mkdir -p spool
stage() { echo "== $(date +%H:%M:%S) $1"; }

trap 'code=$?; echo "== $(date +%H:%M:%S) left with status $code"; df -h spool | tail -n 1' EXIT

stage "download"
curl --fail --silent --show-error --max-time "${MAX_TIME:-3}" --retry "${RETRIES:-0}" --retry-delay 1 \
     -H "X-Api-Key: $CATALOGUE_KEY" -o spool/loans.json \
     -w 'HTTP %{http_code} %{content_type} %{size_download} bytes in %{num_connects} connection(s)\n' \
     "$CATALOGUE/branches/all/loans?since=2026-05-01"

stage "reshape"
jq -c 'keys' spool/loans.json
jq -r '.loans[] | [.loan_id, .barcode, .branch, .due_on, (.fine_cents / 100)] | @tsv' spool/loans.json > spool/loans.tsv
wc -l spool/loans.tsv

stage "compare with yesterday"
sort spool/loans.tsv > spool/today.tsv
comm -13 yesterday.tsv spool/today.tsv > spool/new.tsv || true
echo "$(wc -l < spool/new.tsv) loans are new or changed"

stage "load"
sqlite3 -bail catalogue.db <<SQL
.mode tabs
CREATE TEMP TABLE incoming (loan_id, barcode, branch, due_on, fine);
.import spool/new.tsv incoming
BEGIN;
INSERT INTO loan (loan_id, barcode, branch, due_on, fine)
SELECT loan_id, nullif(barcode, ''), branch, due_on, fine FROM incoming;
UPDATE branch SET open_loans = (SELECT count(*) FROM loan WHERE loan.branch = branch.code);
COMMIT;
SELECT 'loans: ' || count(*) || ', fines: ' || printf('%.2f', sum(fine)) FROM loan;
SQL

stage "publish"
cp spool/today.tsv "${PUBLISH_DIR:-spool}/loans-latest.tsv"
grep -q '^L-' "${PUBLISH_DIR:-spool}/loans-latest.tsv"
stage "done"
