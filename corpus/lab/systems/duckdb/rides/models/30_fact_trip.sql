CREATE TABLE IF NOT EXISTS fact_trip (
  trip_id BIGINT PRIMARY KEY, bike_no INTEGER NOT NULL, station_from VARCHAR NOT NULL, station_to VARCHAR NOT NULL,
  started_at TIMESTAMP NOT NULL, minutes SMALLINT NOT NULL CHECK (minutes > 0), metres INTEGER);
MERGE INTO fact_trip AS t USING raw.trip AS s ON t.trip_id = s.trip_id
WHEN MATCHED THEN UPDATE SET minutes = s.minutes, metres = s.metres
WHEN NOT MATCHED THEN INSERT (trip_id, bike_no, station_from, station_to, started_at, minutes, metres)
  VALUES (s.trip_id, s.bike_no, s.station_from, s.station_to, s.started_at, s.minutes, s.metres);
