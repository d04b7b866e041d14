DELETE FROM core.dim_customer WHERE business_date = $day;
INSERT INTO core.dim_customer BY NAME
SELECT $day AS business_date, customer.*, ordered.first_order_at, ordered.last_order_at
FROM contract.customers AS customer
LEFT JOIN (
    SELECT customer_id, min(ordered_at) AS first_order_at, max(ordered_at) AS last_order_at
    FROM contract.orders GROUP BY customer_id
) AS ordered ON ordered.customer_id = customer.customer_id;
