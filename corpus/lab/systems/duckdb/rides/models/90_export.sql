COPY (SELECT * FROM station_day ORDER BY code, day) TO 'out/station_day.csv' (HEADER, DELIMITER ';');
COPY (SELECT * FROM bike_hops ORDER BY bike_no, station_from, station_to) TO 'out/bike_hops.parquet' (FORMAT parquet, COMPRESSION uncompressed);
