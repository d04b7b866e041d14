CREATE DATABASE wind ENGINE = Atomic;
CREATE TABLE wind.telemetry (
    turbine LowCardinality(String), measured_at DateTime, power_kw Float32, wind_ms Float32, state Enum8('run' = 1, 'idle' = 2, 'stop' = 3),
    CONSTRAINT power_plausible CHECK power_kw > -100 AND power_kw < 9000
) ENGINE = MergeTree PARTITION BY toYYYYMM(measured_at) ORDER BY (turbine, measured_at);
CREATE TABLE wind.turbine_limit (turbine String, rated_kw UInt32) ENGINE = MergeTree ORDER BY turbine;
CREATE TABLE wind.hourly (turbine String, hour DateTime, power_kw Float64, wind_ms Float32, states UInt64) ENGINE = MergeTree ORDER BY (turbine, hour);
CREATE TABLE wind.capacity (turbine String, factor Float64, checked UInt8) ENGINE = MergeTree ORDER BY turbine
