SELECT
    r.well,
    CAST(r.taken_on AS DATE) AS taken_on,
    CAST(r.level_m AS DECIMAL(6, 2)) AS level_m,
    r.litres / r.pump_h AS litres_per_h,
    CAST(r.litres * (SELECT cent_per_litre FROM rates WHERE season = 'winter') / 100 AS DECIMAL(10, 2)) AS cost
FROM landed r
