#!/bin/sh
# Book a day's gifts; when that fails, show what the ledger's server had to say.
python book_gifts.py "$1" && exit
rc=$?
echo "night: book_gifts $1 ended with $rc; last lines of $(basename "$LEDGER_LOG"):"
tail -n 20 "$LEDGER_LOG"
exit $rc
