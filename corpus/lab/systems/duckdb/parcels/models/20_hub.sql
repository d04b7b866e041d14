ATTACH IF NOT EXISTS 'network.duckdb' AS network (READ_ONLY);
CREATE OR REPLACE TEMP TABLE hub AS SELECT hub, city, error_429 AS lane FROM network.permission_zone;
