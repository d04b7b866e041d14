.changes on
CREATE TABLE IF NOT EXISTS incoming (ward TEXT, bed TEXT, patient TEXT, since TEXT, score TEXT);
DELETE FROM incoming;
.import --csv --skip 1 in/beds.csv incoming
SELECT count(*) || ' beds, ' || count(DISTINCT ward) || ' wards' FROM incoming;
