SET SESSION sql_mode='STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO';
SET SESSION max_statement_time=6;
START TRANSACTION;
INSERT INTO parcel (parcel_no, depot, weight_g, scanned_at, consignee)
  SELECT parcel_no, depot, CAST(weight_g AS INT), CAST(scanned_at AS DATETIME), consignee FROM scan_stage;
INSERT INTO depot_day (depot, day, parcels, grams)
  SELECT depot, DATE(scanned_at), COUNT(*), SUM(weight_g) FROM parcel GROUP BY 1, 2;
UPDATE depot_day d JOIN depot_capacity c USING (depot) SET d.load_share = d.parcels / c.daily_parcels;
COMMIT;
SELECT depot, day, parcels, load_share FROM depot_day ORDER BY depot;
