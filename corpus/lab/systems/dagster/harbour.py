"""Ship arrivals of one day: read, complete, store, report."""

import duckdb
import pandas as pd
from dagster import Config, In, Nothing, OpExecutionContext, Out, job, op


class StoreConfig(Config):
    path: str
    memory_limit: str = "256MB"


class SourceConfig(Config):
    file: str
    day: str


@op(out=Out(pd.DataFrame))
def read_arrivals(context: OpExecutionContext, config: SourceConfig):
    frame = duckdb.execute(
        f"SELECT * FROM read_csv('{config.file}', header = true, types = {{'draught_m': 'DOUBLE', 'arrived_at': 'TIMESTAMP'}})"
    ).df()
    context.log.info(f"{len(frame)} arrivals on {config.day}, columns {', '.join(frame.columns)}")
    return frame


@op(out=Out(pd.DataFrame))
def complete(context: OpExecutionContext, arrivals):
    berths = pd.read_csv("berths.csv")
    known = berths.rename(columns={"depth": "depth_m"}).set_index("berth").to_dict("index")
    records = []
    for row in arrivals.to_dict("records"):
        berth = known.get(row["berth"], {})
        records.append(
            {
                "imo": row["imo"],
                "vessel": row["vessel"],
                "berth": row["berth"],
                "arrived_at": row["arrived_at"],
                "draught_m": row["draught_m"],
                "depth_m": berth.get("depth_m"),
            }
        )
    context.log.info(f"{len(berths)} berths known ({', '.join(berths.columns)})")
    return pd.DataFrame(records)


@op(out=Out(Nothing))
def store(context: OpExecutionContext, config: StoreConfig, completed):
    with duckdb.connect(config.path, config={"memory_limit": config.memory_limit, "threads": 1}) as db:
        before = db.execute("SELECT count(*) FROM arrival").fetchone()[0]
        db.execute("BEGIN")
        db.execute("INSERT INTO arrival SELECT imo, vessel, berth, arrived_at, draught_m, depth_m FROM completed")
        db.execute("COMMIT")
        after = db.execute("SELECT count(*) FROM arrival").fetchone()[0]
    context.log.info(f"arrival grew from {before} to {after} rows")


@op(ins={"after": In(Nothing)})
def report(context: OpExecutionContext, config: StoreConfig):
    with duckdb.connect(config.path, config={"memory_limit": config.memory_limit, "threads": 1}) as db:
        lines = db.execute(
            "SELECT berth, count(*) AS ships, min(depth_m - draught_m) AS clearance,"
            " list(vessel || ' ' || strftime(arrived_at, '%d %H:%M') ORDER BY arrived_at) AS ships_in_order"
            " FROM arrival GROUP BY berth ORDER BY berth"
        ).fetchall()
    for berth, ships, clearance, _ in lines:
        context.log.info(f"{berth}: {ships} ships, least clearance {clearance:.1f} m")
    return len(lines)


@job
def harbour_daily():
    report(store(complete(read_arrivals())))
