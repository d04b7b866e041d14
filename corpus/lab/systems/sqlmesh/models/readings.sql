MODEL (
  name staging.readings,
  kind FULL,
  audits (
    not_null(columns := (kwh)),
    unique_combination_of_columns(columns := (meter, read_at)),
    number_of_rows(threshold := 500)
  )
);

SELECT
  readings.meter,
  readings.read_at::TIMESTAMP AS read_at,
  readings.kwh::DECIMAL(9, 3) AS kwh
FROM READ_CSV('data/readings-*.csv', all_varchar = TRUE) AS readings;
