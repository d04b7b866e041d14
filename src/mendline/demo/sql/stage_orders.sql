DELETE FROM staging.orders WHERE business_date = $day;
INSERT INTO staging.orders BY NAME
SELECT $day AS business_date, order_id, customer_id, sku, quantity, unit_price, quantity * unit_price AS amount, channel,
    gift_note, ordered_at
FROM contract.orders;
