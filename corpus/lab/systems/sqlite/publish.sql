.mode csv
.headers on
.once out/occupancy.csv
SELECT s.ward, w.title, count(*) AS beds, w.beds AS of, round(100.0 * count(*) / w.beds) AS percent FROM stay AS s JOIN ward AS w USING (ward) GROUP BY s.ward;
.output stdout
.mode list
VACUUM INTO 'out/wards_copy.db';
SELECT 'published ' || count(*) || ' stays' FROM stay;
