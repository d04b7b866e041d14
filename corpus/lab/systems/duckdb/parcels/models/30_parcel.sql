CREATE TABLE IF NOT EXISTS parcel (parcel VARCHAR PRIMARY KEY, first_scan TIMESTAMP, last_hub VARCHAR NOT NULL, weight_kg DECIMAL(7, 3),
  declared_eur DECIMAL(9, 2));
INSERT INTO parcel
SELECT parcel, min(scanned_at), arg_max(hub, scanned_at), max(weight_g) / 1000.0, max(declared::DECIMAL(9, 2)) FROM scan GROUP BY parcel
ON CONFLICT DO UPDATE SET last_hub = excluded.last_hub;
