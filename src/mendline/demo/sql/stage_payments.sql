DELETE FROM staging.payments WHERE business_date = $day;
INSERT INTO staging.payments BY NAME
SELECT $day AS business_date, payment_id, order_id, method, amount, currency, paid_at, payer_reference
FROM contract.payments;
