"""Load the help desk's tickets and agents into DuckDB."""

import os
import sys

import dlt
from dlt.sources.rest_api import rest_api_source

BASE = os.environ["DESK_URL"]
shapes: set[tuple[str, ...]] = set()


def show_fields(row: dict) -> dict:
    if tuple(row) not in shapes:
        shapes.add(tuple(row))
        print("fields:", ", ".join(row))
    return row


def desk():
    return rest_api_source(
        {
            "client": {
                "base_url": BASE,
                "auth": {"type": "bearer", "token": os.environ["DESK_TOKEN"]},
                "paginator": {"type": "page_number", "base_page": 1, "total_path": "pages"},
            },
            "resource_defaults": {"write_disposition": "merge", "endpoint": {"params": {"per_page": 100}}},
            "resources": [
                {
                    "name": "agents",
                    "primary_key": "agent_id",
                    "processing_steps": [{"map": show_fields}],
                    "endpoint": {"path": "agents", "data_selector": "agents"},
                    "schema_contract": {"tables": "evolve", "columns": "freeze", "data_type": "freeze"},
                    "columns": {
                        "agent_id": {"data_type": "bigint"},
                        "name": {"data_type": "text", "nullable": False},
                        "team": {"data_type": "text"},
                        "hired_on": {"data_type": "date"},
                    },
                },
                {
                    "name": "tickets",
                    "primary_key": "ticket_id",
                    "processing_steps": [{"map": show_fields}],
                    "endpoint": {"path": "tickets", "data_selector": "tickets"},
                    "schema_contract": {"columns": "freeze", "data_type": "freeze"},
                    "columns": {
                        "ticket_id": {"data_type": "bigint"},
                        "agent_id": {"data_type": "bigint", "nullable": False},
                        "subject": {"data_type": "text", "nullable": False},
                        "opened_at": {"data_type": "timestamp", "nullable": False},
                        "minutes": {"data_type": "bigint"},
                        "refund": {"data_type": "decimal", "precision": 6, "scale": 2},
                    },
                },
            ],
        },
        name="desk",
    )


def report(pipeline: dlt.Pipeline) -> None:
    with pipeline.sql_client() as client:
        orphans = client.execute_sql(
            "SELECT count(*) FROM tickets LEFT JOIN agents USING (agent_id) WHERE name IS NULL"
        )
        print(f"tickets without agent: {orphans[0][0]}")
        teams = client.execute_sql(
            "SELECT team, count(*), sum(refund) FROM tickets JOIN agents USING (agent_id) GROUP BY 1 ORDER BY 1"
        )
        for team, tickets, refund in teams:
            print(f"{team:<12} {tickets:>6} {refund:>10}")
        if orphans[0][0]:
            sys.exit("report stopped: every ticket needs an agent")


def main() -> None:
    pipeline = dlt.pipeline(
        "desk",
        destination=dlt.destinations.duckdb(os.environ.get("DESK_DB", "desk.duckdb")),
        dataset_name="support",
        progress="log",
    )
    info = pipeline.run(desk())
    print(info)
    print(pipeline.last_trace.last_normalize_info)
    report(pipeline)


if __name__ == "__main__":
    main()
