"""Museum: copy the works on loan from the lenders' GraphQL service into the exhibition planner."""

import json
import os
import sqlite3
import time

from gql import Client, gql
from gql.transport.exceptions import TransportServerError
from gql.transport.requests import RequestsHTTPTransport

WORKS = gql(
    """
    query Works($after: Int!) {
      works(after: $after, first: 40) {
        id
        title
        year
        room
        insured
        makers { name born }
      }
    }
    """
)


def say(text):
    print(f"[loans {time.strftime('%H:%M:%S')}] {text}", flush=True)


def ask(client, after):
    for attempt in (1, 2, 3):
        try:
            return client.execute(WORKS, variable_values={"after": after})["works"]
        except TransportServerError as error:
            say(f"attempt {attempt}: {error}")
            if attempt == 3:
                raise
            time.sleep(0.3)


def main():
    transport = RequestsHTTPTransport(
        url=os.environ["LENDERS_URL"] + "/graphql", headers={"X-Museum": os.environ["LENDERS_KEY"]}, timeout=3
    )
    client = Client(transport=transport)
    works, after = [], 0
    while page := ask(client, after):
        works += page
        after = page[-1]["id"]
        say(f"{len(works)} works up to id {after}")
    with open("rooms.json") as file:
        rooms = json.load(file)
    planner = sqlite3.connect("planner.db", timeout=2)
    with planner:
        for work in works:
            wall = rooms[work["room"]]["walls"]
            makers = "; ".join(f"{maker['name']} ({maker['born']})" for maker in work["makers"])
            planner.execute(
                "INSERT INTO loan (work_id, title, year, makers, room, walls, insured) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (work["id"], work["title"], int(work["year"]), makers, work["room"], wall, work["insured"]),
            )
    say(f"{len(works)} loans planned")
    total, insured = planner.execute("SELECT count(*), sum(insured) FROM loan").fetchone()
    os.makedirs("lists", exist_ok=True)
    with open("lists/insured.txt", "w") as file:
        for row in planner.execute("SELECT work_id, title, insured FROM loan ORDER BY insured DESC"):
            file.write("{:6d}  {:40} {:14.2f}\n".format(*row))
    say(f"planner: {total} loans, {insured:,.2f} insured")


main()
