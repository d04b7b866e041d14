MODEL (
  name marts.monthly,
  kind FULL
);

SELECT DATE_TRUNC('month', day) AS month, supplier, COUNT(DISTINCT meter) AS meters, SUM(kwh) AS kwh, MEDIAN(cost_cents) AS median_cents
FROM marts.daily_cost
GROUP BY ALL;

COPY (SELECT * FROM marts.daily_cost ORDER BY day, meter) TO 'export/daily_cost.csv' (HEADER);
