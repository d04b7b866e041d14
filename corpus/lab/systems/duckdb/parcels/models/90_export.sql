COPY lane_load TO 'out/lane_load' (FORMAT parquet, PARTITION_BY (lane), OVERWRITE_OR_IGNORE);
