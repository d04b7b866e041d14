"""Roll the turbines' telemetry of a day up to hours in the embedded store."""

import logging
import os
import sys

from chdb import session

logging.basicConfig(
    level=logging.INFO, format="%(asctime)s.%(msecs)03d {%(process)d} <%(levelname)s> %(name)s: %(message)s"
)
log = logging.getLogger("TurbineRollup")

SETTINGS = os.environ.get("QUERY_SETTINGS", "max_threads = 2")
SETTINGS += ", http_max_tries = 2, http_connection_timeout = 1, http_receive_timeout = 2"
LIMITS = os.environ["LIMITS_URL"] + "/parks/7/limits.tsv"
STEPS = {
    "telemetry": """
        INSERT INTO wind.telemetry (turbine, measured_at, power_kw, wind_ms, state)
        SELECT turbine, measured_at, power_kw, wind_ms, state
        FROM file('inbox/telemetry.csv', 'CSVWithNames')
    """,
    "limits": f"""
        INSERT INTO wind.turbine_limit (turbine, rated_kw)
        SELECT turbine, rated_kw FROM url('{LIMITS}', 'TabSeparatedWithNames', 'turbine String, rated_kw UInt32')
    """,
    "hourly": """
        INSERT INTO wind.hourly
        SELECT turbine, toStartOfHour(measured_at) AS hour, avg(power_kw), max(wind_ms), uniqExact(state)
        FROM wind.telemetry GROUP BY turbine, hour ORDER BY turbine, hour
    """,
    "capacity": """
        INSERT INTO wind.capacity
        SELECT h.turbine, sum(h.power_kw) / sum(l.rated_kw), throwIf(count() < 24, 'a turbine has fewer than 24 hours')
        FROM wind.hourly AS h INNER JOIN wind.turbine_limit AS l USING (turbine) GROUP BY h.turbine
    """,
    "export": """
        SELECT * FROM wind.capacity ORDER BY turbine INTO OUTFILE 'outbox/capacity.parquet' TRUNCATE FORMAT Parquet
    """,
}


def main() -> None:
    store = session.Session("store")
    for name, query in STEPS.items():
        log.info("step %s", name)
        done = store.query(f"{query} SETTINGS {SETTINGS}" if "SELECT *" not in query else query)
        log.info("step %s: %d rows read, %.3f s", name, done.rows_read(), done.elapsed())
    log.info("turbines: %s", str(store.query("SELECT count(), round(avg(factor), 3) FROM wind.capacity")).strip())


if __name__ == "__main__":
    try:
        main()
    except Exception as problem:
        log.error("rollup failed", exc_info=problem)
        sys.exit(1)
