SELECT
    d.well,
    100 * SUM(r.litres) / FIRST(c.litres_per_day) AS share,
    MAP_KEYS(MAP_FROM_ENTRIES(COLLECT_LIST(STRUCT(r.taken_on, r.litres)))) [0] AS names
FROM (SELECT DISTINCT well FROM well_day) d
JOIN landed r ON r.well = d.well
JOIN connection_limit c ON c.well = d.well
GROUP BY d.well
