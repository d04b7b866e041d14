DELETE FROM staging.web_events WHERE business_date = $day;
INSERT INTO staging.web_events BY NAME
SELECT $day AS business_date, event_id, session_id, customer_id, event_type, sku, url, event_at, duration_ms,
    CASE WHEN event_type = 'purchase'
        THEN EXISTS (FROM contract.orders AS o WHERE o.customer_id = event.customer_id) END AS has_order
FROM contract.web_events AS event;
