#!/bin/sh
# the day's scans: start the ingest service beside the upload, stop it afterwards
python ingest_server.py 2>&1 &
server=$!
python upload_sheets.py 2>&1
rc=$?
kill $server 2>/dev/null
wait $server
echo "evening: upload $rc, ingest $?"
exit $rc
