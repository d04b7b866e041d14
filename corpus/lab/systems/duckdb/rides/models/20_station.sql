CREATE OR REPLACE TABLE raw.station AS
SELECT code, name, docks, opened_on FROM read_parquet('in/stations.parquet');
