\timing on
BEGIN;
TRUNCATE landing.reading;
\copy landing.reading FROM 'readings_2026-11-21.csv' WITH (FORMAT csv, HEADER true)
SELECT count(*) AS staged, count(DISTINCT meter_no) AS meters, min(read_at) AS first, max(read_at) AS last FROM landing.reading;
COMMIT;
