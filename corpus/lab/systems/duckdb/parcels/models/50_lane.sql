CREATE OR REPLACE TABLE lane_load AS
SELECT h.lane, h.city, count(*) AS scans, avg(p.weight_kg) AS weight_kg, sum(p.declared_eur) AS declared_eur
FROM scan JOIN hub AS h USING (hub) JOIN parcel AS p USING (parcel) GROUP BY ALL;
