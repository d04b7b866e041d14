DELETE FROM core.dim_product WHERE business_date = $day;
INSERT INTO core.dim_product BY NAME
SELECT $day AS business_date, sku, product_name, category, unit_cost, list_price, weight_g, is_active
FROM contract.products;
