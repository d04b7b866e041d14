\pset format csv
\o handover/settlement.csv
SELECT supplier, day, kwh, amount_eur, share_pct FROM core.settlement WHERE day = :'day' ORDER BY supplier;
\o
\copy (SELECT * FROM core.reading ORDER BY read_at, meter_no, register) TO 'handover/readings.csv' WITH (FORMAT csv, HEADER true)
