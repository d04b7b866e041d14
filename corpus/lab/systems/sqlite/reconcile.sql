.changes on
.timer on
PRAGMA temp_store = memory;
CREATE TABLE IF NOT EXISTS stay (patient TEXT NOT NULL CHECK (patient <> ''), ward TEXT NOT NULL, bed TEXT NOT NULL, since TEXT NOT NULL CHECK (date(since) IS NOT NULL),
  score INTEGER, PRIMARY KEY (ward, bed)) STRICT;
BEGIN;
DELETE FROM stay;
INSERT INTO stay (patient, ward, bed, since, score) SELECT patient, ward, bed, since, score FROM incoming;
COMMIT;
SELECT a.ward, count(*) AS neighbours, sum(abs(a.score - b.score)) AS spread FROM stay AS a JOIN stay AS b ON a.ward = b.ward GROUP BY a.ward ORDER BY spread DESC LIMIT 5;
