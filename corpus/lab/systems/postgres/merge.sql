BEGIN;
MERGE INTO core.reading AS t
USING (
  SELECT meter_no, read_at, register, kwh::numeric(9,3) AS kwh, quality FROM landing.reading
) AS s
ON t.meter_no = s.meter_no AND t.read_at = s.read_at AND t.register = s.register
WHEN MATCHED THEN UPDATE SET kwh = s.kwh, quality = s.quality
WHEN NOT MATCHED THEN INSERT (meter_no, read_at, register, kwh, quality) VALUES (s.meter_no, s.read_at, s.register, s.kwh, s.quality);
COMMIT;
ANALYZE core.reading;
