AUDIT (
  name every_meter_has_a_supplier
);

SELECT meter, COUNT(*) AS days FROM @this_model WHERE supplier IS NULL GROUP BY meter;
