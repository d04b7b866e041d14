MODEL (
  name marts.daily_cost,
  kind INCREMENTAL_BY_TIME_RANGE (
    time_column day
  ),
  audits (
    accepted_range(column := cost_cents, min_v := 0),
    every_meter_has_a_supplier
  )
);

SELECT
  readings.read_at::DATE AS day,
  readings.meter,
  tariffs.supplier,
  SUM(readings.kwh) AS kwh,
  SUM(readings.kwh * COALESCE(prices.spot_cents, tariffs.cents_per_kwh)) AS cost_cents
FROM staging.readings AS readings
LEFT JOIN staging.tariffs AS tariffs ON tariffs.meter = readings.meter
LEFT JOIN staging.prices AS prices ON prices.hour = DATE_TRUNC('hour', readings.read_at)
WHERE readings.read_at::DATE BETWEEN @start_date AND @end_date
GROUP BY 1, 2, 3;
