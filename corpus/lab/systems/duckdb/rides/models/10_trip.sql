CREATE SCHEMA IF NOT EXISTS raw;
CREATE OR REPLACE TABLE raw.trip AS
SELECT * FROM read_csv('in/trips_*.csv', header = true, union_by_name = false,
  columns = {'trip_id': 'BIGINT', 'bike_no': 'INTEGER', 'station_from': 'VARCHAR', 'station_to': 'VARCHAR',
             'started_at': 'TIMESTAMP', 'minutes': 'SMALLINT', 'metres': 'INTEGER'});
