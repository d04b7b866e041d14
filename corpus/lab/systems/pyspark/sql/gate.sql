SELECT
    ASSERT_TRUE(COUNT(*) >= 400, 'fewer than 400 readings for the day') AS volume,
    ASSERT_TRUE(COUNT(*) = COUNT(well), 'readings without a well') AS keys
FROM landed
