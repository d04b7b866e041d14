CREATE TABLE zone (zone_id TEXT PRIMARY KEY, canton TEXT NOT NULL, elev_min INTEGER NOT NULL, elev_max INTEGER NOT NULL, CHECK (elev_max > elev_min));
CREATE TABLE rating (zone_id TEXT NOT NULL UNIQUE REFERENCES zone (zone_id), level INTEGER NOT NULL CHECK (level BETWEEN 1 AND 5), valid_to TEXT NOT NULL);
CREATE TABLE snow (station TEXT NOT NULL, hour TEXT NOT NULL, depth_cm REAL NOT NULL CHECK (depth_cm >= 0), PRIMARY KEY (station, hour));
