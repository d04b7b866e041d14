\set VERBOSITY default
UPDATE district d SET trees = (SELECT count(*) FROM tree t WHERE t.district = d.code);
DO $$
DECLARE bare text;
BEGIN
    SELECT string_agg(code, ', ') INTO bare FROM district WHERE trees < 40;
    IF bare IS NOT NULL THEN
        RAISE EXCEPTION 'districts with fewer than 40 surveyed trees: %', bare;
    END IF;
END $$;
INSERT INTO felling (district, trees) SELECT district, count(*) FROM tree WHERE state >= 4 GROUP BY district;
