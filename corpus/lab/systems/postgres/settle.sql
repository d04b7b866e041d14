BEGIN;
DELETE FROM core.settlement WHERE day = :'day';
INSERT INTO core.settlement (day, supplier, kwh, amount_eur, share_pct)
SELECT :'day', m.supplier, sum(r.kwh), sum(r.kwh * t.eur_per_kwh), round(100 * sum(r.kwh) / c.kwh_planned, 2)
FROM core.reading AS r
JOIN core.meter AS m USING (meter_no)
JOIN core.tariff AS t ON t.tariff = m.tariff
JOIN core.commitment AS c ON c.supplier = m.supplier
WHERE r.read_at::date = :'day'
GROUP BY m.supplier, c.kwh_planned;
COMMIT;
DO $$
DECLARE read_kwh numeric; settled_kwh numeric;
BEGIN
  SELECT sum(kwh::numeric(9,3)) INTO read_kwh FROM landing.reading;
  SELECT sum(kwh) INTO settled_kwh FROM core.settlement WHERE day = (SELECT max(read_at)::date FROM landing.reading);
  RAISE NOTICE 'delivered % kWh, settled % kWh', read_kwh, settled_kwh;
  ASSERT read_kwh = settled_kwh, format('settlement does not balance: delivered %s kWh, settled %s kWh', read_kwh, settled_kwh);
END $$;
