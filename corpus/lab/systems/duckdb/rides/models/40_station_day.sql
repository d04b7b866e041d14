CREATE OR REPLACE TABLE station_day AS
SELECT s.code, s.name, CAST(t.started_at AS DATE) AS day, count(*) AS trips, sum(t.minutes) AS minutes,
  round(count(*) / s.docks, 2) AS trips_per_dock, median(t.metres / t.minutes) AS pace
FROM fact_trip AS t JOIN raw.station AS s ON s.code = t.station_from
WHERE s.opened_on <= DATE '2026-11-21'
GROUP BY s.code, s.name, s.docks, CAST(t.started_at AS DATE);
