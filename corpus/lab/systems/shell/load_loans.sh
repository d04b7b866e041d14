#!/usr/bin/env bash
# Take the branches' loans of one day from the inbox into the library's store. Usage: load_loans.sh DAY
set -euo pipefail

day=$1
say() { echo "[$(date '+%d/%b/%Y:%H:%M:%S')] $*"; }
trap 'rc=$?; [ $rc -eq 0 ] || say "load_loans $day ended with status $rc"' EXIT

inbox=inbox work=work outbox=${OUTBOX:-outbox}
mkdir -p $work

say "loans of $day"
(cd $inbox && md5sum -c "loans_$day.md5")
gunzip -c "$inbox/loans_$day.csv.gz" > $work/loans.raw
iconv -f UTF-8 -t UTF-8 $work/loans.raw > $work/loans.csv
say "unpacked $(wc -c < $work/loans.csv) bytes"

say "comparing the header with the agreement"
diff -u layout.txt <(head -n 1 $work/loans.csv | tr ';' '\n')

announced=$(tail -n 1 $work/loans.csv | cut -d';' -f2)
sed '1d;$d' $work/loans.csv > $work/body.csv
counted=$(wc -l < $work/body.csv)
say "trailer announces $announced loans, the file has $counted"
[ "$announced" -eq "$counted" ]

IFS=- read -r year month dom <<< "$day"
period=$((year * 100 + month))
say "posting to period $period"

normalize_isbn < $work/body.csv > $work/isbn.csv
sort -t';' -k3,3 $work/isbn.csv > $work/by_branch.csv
join -t';' -1 3 -2 1 $work/by_branch.csv branches.csv > $work/joined.csv
say "joined $(wc -l < $work/joined.csv) loans with $(wc -l < branches.csv) branches"

gawk --lint=fatal -F';' -v OFS=, -v period="$period" '
    { fee = $5 / 100; print $2, $3, $1, $4, fee, period }
' $work/joined.csv > $work/load.csv

before=$(sqlite3 library.db 'SELECT count(*) FROM loan')
sqlite3 library.db <<SQL
.mode csv
.import $work/load.csv loan
SQL
after=$(sqlite3 library.db 'SELECT count(*) FROM loan')
say "table loan: $before rows before, $after after"
[ $((after - before)) -eq "$counted" ]

sqlite3 -csv library.db "SELECT branch, count(*), sum(fee) FROM loan WHERE period = $period GROUP BY branch" > $work/fees.csv
mkdir -p "$outbox"
cp $work/fees.csv "$outbox/fees_$day.csv"
say "fees of $(wc -l < $work/fees.csv) branches handed over in $outbox"
