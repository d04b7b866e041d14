PRAGMA foreign_keys = on;
.timeout 800
.mode csv
.separator ;
CREATE TEMP TABLE landed (box TEXT, seq INTEGER, supply TEXT, setpoint TEXT, kw TEXT, door TEXT);
.import work/states.csv landed
BEGIN IMMEDIATE;
INSERT INTO state (box, seq, supply, setpoint, kw, door)
SELECT box, seq, CAST(supply AS REAL), CAST(setpoint AS REAL), NULLIF(kw, ''), door FROM landed;
COMMIT;
SELECT 'booked', count(*), 'of', (SELECT count(*) FROM box WHERE plugged) FROM landed;
