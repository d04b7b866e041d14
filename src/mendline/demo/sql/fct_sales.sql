DELETE FROM core.fct_sales WHERE business_date = $day;
INSERT INTO core.fct_sales BY NAME
SELECT sale.business_date, sale.order_id, sale.customer_id, customer.country, customer.segment, sale.sku,
    product.category, sale.channel, sale.quantity, sale.amount, sale.quantity * product.unit_cost AS cost,
    sale.quantity::BIGINT * product.weight_g AS weight_g, sale.gift_note, sale.ordered_at
FROM staging.orders AS sale
LEFT JOIN core.dim_customer AS customer USING (business_date, customer_id)
LEFT JOIN core.dim_product AS product USING (business_date, sku)
WHERE sale.business_date = $day;
