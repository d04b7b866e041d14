DELETE FROM core.payment_reconciliation WHERE business_date = $day;
INSERT INTO core.payment_reconciliation BY NAME
SELECT sale.business_date, sale.order_id, sale.amount AS ordered_amount, coalesce(paid.amount, 0) AS paid_amount,
    coalesce(paid.payment_count, 0) AS payment_count,
    CASE WHEN paid.amount IS NULL THEN 'unpaid' WHEN paid.amount < sale.amount THEN 'underpaid'
        WHEN paid.amount > sale.amount THEN 'overpaid' ELSE 'paid' END AS status
FROM staging.orders AS sale
LEFT JOIN (
    SELECT order_id, sum(amount) AS amount, count(*) AS payment_count
    FROM staging.payments WHERE business_date = $day GROUP BY order_id
) AS paid USING (order_id)
WHERE sale.business_date = $day;
