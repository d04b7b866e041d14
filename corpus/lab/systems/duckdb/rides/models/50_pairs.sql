CREATE OR REPLACE TABLE bike_hops AS
SELECT a.bike_no, a.station_from, b.station_to, list(a.trip_id || '>' || b.trip_id ORDER BY a.started_at) AS chain
FROM fact_trip AS a JOIN fact_trip AS b ON a.bike_no = b.bike_no AND a.started_at <= b.started_at
GROUP BY ALL;
