#!/bin/bash
# Send the day's invoices to the bank's drop folder; every file goes up as .part and is renamed at the end.
set -u
options=(-P "$BANK_PORT" -i id_ed25519 -o UserKnownHostsFile=known_hosts -o ConnectTimeout=2 -o BatchMode=yes -o LogLevel="${SSH_LOG:-INFO}")
echo "push_invoices: $(ls invoices | wc -l) files, $(du -sk invoices | cut -f1) kB"
awk -F';' 'FNR == 1 { if ($0 != "invoice;debtor;cents") { printf "%s: header is %s\n", FILENAME, $0; exit 4 } next }
  $3 !~ /^[0-9]+$/ { printf "%s:%d: amount %s of invoice %s\n", FILENAME, FNR, $3, $1; bad = 1 }
  seen[$1]++ { printf "%s:%d: invoice %s was in an earlier line\n", FILENAME, FNR, $1; bad = 1 }
  END { exit bad }' invoices/*.csv || { echo "push_invoices: check ended with $?"; exit 1; }
for file in invoices/*.csv; do
  name=$(basename "$file")
  printf 'put %s drop/%s.part\nrename drop/%s.part drop/%s\n' "$file" "$name" "$name" "$name"
done > batch
for try in 1 2; do
  sftp -b batch "${options[@]}" "partner@$BANK_HOST" 2>&1 && { echo "push_invoices: all sent"; exit 0; }
  echo "push_invoices: try $try ended with status $?"
done
exit 1
