DELETE FROM mart.order_overview WHERE business_date = $day;
INSERT INTO mart.order_overview BY NAME
SELECT sale.business_date, sale.order_id, sale.customer_id, customer.email, customer.full_name, sale.country,
    sale.segment, customer.loyalty_points, customer.marketing_opt_in, sale.sku, product.product_name, sale.category,
    sale.channel, sale.quantity, sale.amount, sale.cost, sale.weight_g, sale.gift_note, sale.ordered_at,
    paid.paid_amount, paid.status AS payment_status, coalesce(sent.shipment_count, 0) AS shipment_count,
    sent.first_tracking_number, sent.delivery_city, sent.promised_on, sent.delivered_at
FROM core.fct_sales AS sale
JOIN core.dim_customer AS customer USING (business_date, customer_id)
JOIN core.dim_product AS product USING (business_date, sku)
LEFT JOIN core.payment_reconciliation AS paid USING (business_date, order_id)
LEFT JOIN (
    SELECT order_id, count(*) AS shipment_count, min(tracking_number) AS first_tracking_number,
        min(city) AS delivery_city, min(promised_on) AS promised_on, max(delivered_at) AS delivered_at
    FROM staging.shipments WHERE business_date = $day GROUP BY order_id
) AS sent USING (order_id)
WHERE sale.business_date = $day;

DELETE FROM mart.daily_sales WHERE business_date = $day;
INSERT INTO mart.daily_sales BY NAME
SELECT business_date, country, category, channel, count(*) AS order_count, sum(quantity) AS quantity,
    sum(amount) AS amount, sum(cost) AS cost, sum(paid_amount) AS paid_amount
FROM mart.order_overview WHERE business_date = $day GROUP BY ALL;

DELETE FROM mart.web_funnel WHERE business_date = $day;
INSERT INTO mart.web_funnel BY NAME
SELECT event.business_date, event.event_type, coalesce(product.category, 'none') AS category, count(*) AS event_count,
    count(DISTINCT event.session_id) AS session_count, count(DISTINCT event.customer_id) AS customer_count,
    sum(event.duration_ms) AS duration_ms
FROM staging.web_events AS event
LEFT JOIN core.dim_product AS product USING (business_date, sku)
WHERE event.business_date = $day GROUP BY ALL;

DELETE FROM mart.delivery WHERE business_date = $day;
INSERT INTO mart.delivery BY NAME
SELECT business_date, country, carrier, count(*) AS shipment_count, sum(pieces) AS piece_count, sum(weight_g) AS weight_g,
    count(delivered_at) AS delivered_count,
    count(*) FILTER (WHERE delivered_at::DATE > promised_on) AS late_count
FROM staging.shipments WHERE business_date = $day GROUP BY ALL;
