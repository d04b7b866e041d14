"""Put the crawled results into the season's book and work out the standings."""

import csv
import sqlite3
import sys

POINTS = (25, 20, 16, 13, 11, 10, 9, 8, 7, 6)

with open(sys.argv[1], encoding="utf-8", newline="") as file:
    results = list(csv.DictReader(file))
print(f"standings: {len(results)} results in {sys.argv[1]}", flush=True)

book = sqlite3.connect("season/book.db", timeout=1)
book.execute("PRAGMA foreign_keys = ON")
with book:
    for each in results:
        book.execute(
            "INSERT INTO result (event, licence, club, category, seconds) VALUES (?, ?, ?, ?, ?)",
            (each["event"], each["licence"] or None, each["club"], each["category"], float(each["seconds"])),
        )
    events = [event for (event,) in book.execute("SELECT DISTINCT event FROM result ORDER BY event")]
    winners = {}
    for event in events:
        placed = book.execute("SELECT licence FROM result WHERE event = ? ORDER BY seconds", (event,)).fetchall()
        for points, (licence,) in zip(POINTS, placed, strict=False):
            winners[licence] = winners.get(licence, 0) + points
leader = max(winners, key=winners.get)
print(f"standings: {len(events)} events, leader {leader} with {winners[leader]} points")
