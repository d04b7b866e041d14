\set VERBOSITY verbose
BEGIN;
TRUNCATE member_overview;
INSERT INTO member_overview (member, loans, fees_euros, last_lent_on)
SELECT member, count(*), sum(fee_cents) / 100.0, max(lent_on) FROM loan GROUP BY member;
UPDATE member_overview SET rank = (SELECT count(*) FROM member_overview o WHERE o.loans > member_overview.loans);
COMMIT;
