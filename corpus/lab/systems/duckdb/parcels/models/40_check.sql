SELECT CASE WHEN count(*) >= (SELECT expected FROM read_csv('in/manifest.csv')) THEN count(*)
  ELSE error(format('{} scans loaded, the manifest announces {}', count(*), (SELECT max(expected) FROM read_csv('in/manifest.csv')))) END AS scans
FROM scan;
