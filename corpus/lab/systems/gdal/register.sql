CREATE TABLE district (code text PRIMARY KEY, title text NOT NULL, area_ha double precision NOT NULL CHECK (area_ha > 0), trees int);
CREATE TABLE district_new (code text, title text, area_ha double precision);
CREATE TABLE tree (
    tree_id text PRIMARY KEY, species varchar(40) NOT NULL, district text NOT NULL REFERENCES district,
    height_m double precision NOT NULL CHECK (height_m BETWEEN 0.3 AND 60), planted date NOT NULL,
    state int NOT NULL CHECK (state BETWEEN 1 AND 5), easting double precision, northing double precision
);
CREATE TABLE felled (tree_id text NOT NULL REFERENCES tree, felled_on date, reason text NOT NULL);
CREATE TABLE felling (district text PRIMARY KEY, trees int NOT NULL);
