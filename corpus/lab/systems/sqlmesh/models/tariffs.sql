MODEL (
  name staging.tariffs,
  kind VIEW
);

SELECT meter, supplier, cents_per_kwh FROM raw.contracts JOIN raw.suppliers USING (supplier_id);
