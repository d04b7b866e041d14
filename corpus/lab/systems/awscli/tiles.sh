#!/bin/sh
# Copy yesterday's elevation tiles to the public store, then say what it holds.
set -e
echo "tiles: from $SOURCE to $TARGET"
mkdir -p work
s3cmd -c s3cfg --no-progress --force get "$SOURCE/manifest.txt" work/manifest.txt
count=$(wc -l < work/manifest.txt)
echo "tiles: manifest names $count tiles, first: $(head -1 work/manifest.txt)"
while read -r tile metres; do
  s3cmd -c s3cfg --no-progress --force get "$SOURCE/$tile" "work/$tile"
  size=$(stat -c %s "work/$tile")
  echo "tiles: $tile $size bytes, $((size / 2 / (metres / 30))) columns of $metres m"
  gzip -9 -f "work/$tile"
  s3cmd -c s3cfg --no-progress put "work/$tile.gz" "$TARGET/$tile.gz"
done < work/manifest.txt
echo "tiles: finished"
