CREATE OR REPLACE TEMP TABLE scan AS
SELECT parcel, scanned_at::TIMESTAMP AS scanned_at, hub, event.kind AS kind, event.weight_g AS weight_g, declared
FROM read_json('in/scans/*.ndjson', format = 'newline_delimited');
