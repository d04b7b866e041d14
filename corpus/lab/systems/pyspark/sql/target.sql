CREATE TABLE IF NOT EXISTS well_day (well STRING, taken_on DATE, level_m DECIMAL(6, 2), litres_per_h DOUBLE, cost DECIMAL(10, 2))
USING parquet
