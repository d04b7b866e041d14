-- One day of a retailer's sources, from hash arithmetic alone. Variables: seed, day, day_number, order_count,
-- customer_count, product_count, event_count, shipment_count.

-- A number in [0, n) that is always the same for the same seed, day, thing and attribute.
CREATE MACRO pick(salt, i, n) AS
    (hash(getvariable('seed'), getvariable('day_number'), salt, i) % n)::INTEGER;
-- The same, but the same on every day: for what customers and products keep.
CREATE MACRO keep(salt, i, n) AS (hash(getvariable('seed'), salt, i) % n)::INTEGER;
CREATE MACRO at_second(s) AS getvariable('day')::TIMESTAMP + to_seconds(s);
CREATE MACRO list_price_cents(p) AS 300 + keep('price', p, 24700);
CREATE MACRO order_customer(o) AS 1 + pick('customer', o, getvariable('customer_count'));
CREATE MACRO order_product(o) AS pick('product', o, getvariable('product_count'));
CREATE MACRO order_quantity(o) AS 1 + pick('quantity', o, 4) * pick('several', o, 2);
CREATE MACRO order_id(o) AS (100000 + (getvariable('day_number') - 1) * getvariable('order_count') + o)::INTEGER;
CREATE MACRO order_second(o) AS pick('second', o, 84000);
CREATE MACRO sku(p) AS printf('SKU-%06d', p);
CREATE MACRO country(c) AS ['DE', 'FR', 'NL', 'ES', 'IT', 'PL', 'SE', 'AT'][1 + keep('country', c, 8)];
CREATE MACRO first_name(c) AS
    ['Anna', 'Bram', 'Chloe', 'Diego', 'Elif', 'Frida', 'Goran', 'Hana', 'Ivo', 'Jule', 'Karin', 'Luca']
    [1 + keep('first', c, 12)];
CREATE MACRO last_name(c) AS
    ['Müller', 'Jansen', 'Dubois', 'García', 'Rossi', 'Nowak', 'Lindqvist', 'Huber', 'Bakker', 'Moreau', 'Weiß', 'Ruiz']
    [1 + keep('last', c, 12)];

CREATE VIEW orders AS
SELECT order_id(o) AS order_id, order_customer(o) AS customer_id, sku(order_product(o)) AS sku,
    order_quantity(o) AS quantity, (list_price_cents(order_product(o)) / 100)::DECIMAL(10, 2) AS unit_price,
    ['web', 'web', 'app', 'app', 'store'][1 + pick('channel', o, 5)] AS channel,
    CASE WHEN pick('gift', o, 100) < 12 THEN 'Happy birthday, ' || first_name(o) || '!' END AS gift_note,
    strftime(at_second(order_second(o)), '%Y-%m-%dT%H:%M:%S') AS ordered_at
FROM range(getvariable('order_count')) AS t (o);

CREATE VIEW customers AS
SELECT c AS customer_id,
    lower(translate(first_name(c) || '.' || last_name(c), 'üíß', 'uis')) || '.' || c || '@example.com' AS email,
    first_name(c) || ' ' || last_name(c) AS full_name, country(c) AS country,
    ['consumer', 'consumer', 'consumer', 'business'][1 + keep('segment', c, 4)] AS segment,
    keep('points', c, 5000) + 10 * (getvariable('day_number') - 1) AS loyalty_points,
    CASE WHEN keep('asked', c, 10) > 0 THEN keep('opted', c, 3) = 0 END AS marketing_opt_in,
    strftime(TIMESTAMP '2021-01-01' + to_seconds(keep('created', c, 157000000)), '%Y-%m-%dT%H:%M:%S') AS created_at
FROM range(1, getvariable('customer_count') + 1) AS t (c);

-- Five events make a session. A purchase belongs to a customer who really ordered that product that day.
CREATE VIEW web_events AS
WITH numbered AS (
    SELECT e, e // 5 AS session, pick('buys', e // 5, getvariable('order_count')) AS bought,
        CASE WHEN e % 5 = 4 AND pick('ends', e // 5, 4) = 0 THEN 'purchase'
            ELSE ['view', 'view', 'view', 'search', 'cart'][1 + pick('type', e, 5)] END AS event_type
    FROM range(getvariable('event_count')) AS t (e)
)
SELECT printf('e-%d-%d', getvariable('day_number'), e) AS event_id,
    printf('s-%d-%d', getvariable('day_number'), session) AS session_id,
    CASE WHEN event_type = 'purchase' OR pick('known', session, 10) < 6 THEN order_customer(bought) END AS customer_id,
    event_type,
    CASE WHEN event_type = 'purchase' THEN sku(order_product(bought))
        WHEN event_type <> 'search' THEN sku(pick('seen', e, getvariable('product_count'))) END AS sku,
    'https://shop.example.com/' || event_type || '/' || pick('path', e, 5000) AS url,
    strftime(at_second(pick('at', session, 86000) + e % 5 * 40), '%Y-%m-%dT%H:%M:%S') AS event_at,
    200 + pick('duration', e, 60000) AS duration_ms
FROM numbered;

CREATE VIEW products AS
SELECT sku(p) AS sku,
    ['Cotton', 'Oak', 'Steel', 'Linen', 'Glass'][1 + keep('material', p, 5)] || ' '
        || ['lamp', 'chair', 'shirt', 'kettle', 'shelf', 'bowl'][1 + keep('thing', p, 6)] || ' ' || p AS product_name,
    ['home', 'garden', 'kitchen', 'clothing', 'office', 'toys'][1 + keep('category', p, 6)] AS category,
    (list_price_cents(p) * (40 + keep('cost', p, 30)) // 100 / 100)::DECIMAL(10, 2) AS unit_cost,
    (list_price_cents(p) / 100)::DECIMAL(10, 2) AS list_price,
    50 + keep('weight', p, 20000) AS weight_g, keep('active', p, 50) > 0 AS is_active
FROM range(getvariable('product_count')) AS t (p);

CREATE VIEW payments AS
SELECT 'P' || order_id(o) AS payment_id, order_id(o)::VARCHAR AS order_id,
    ['card', 'card', 'paypal', 'transfer', 'cash'][1 + pick('method', o, 5)] AS method,
    (order_quantity(o) * list_price_cents(order_product(o)) / 100)::DECIMAL(12, 2)::VARCHAR AS amount,
    'EUR' AS currency,
    strftime(at_second(order_second(o) + pick('paid', o, 2000)), '%Y-%m-%dT%H:%M:%S') AS paid_at,
    'Order ' || order_id(o) || ' ' || last_name(order_customer(o)) AS payer_reference
FROM range(getvariable('order_count')) AS t (o);

CREATE VIEW shipments AS
SELECT printf('SH%08d', order_id(o)) AS shipment_id, order_id(o) AS order_id,
    {'number': printf('%012d', pick('tracking', o, 2000000000)),
        'carrier': ['DHL', 'UPS', 'PostNL', 'DPD'][1 + pick('carrier', o, 4)]} AS tracking,
    {'weight_g': order_quantity(o) * (50 + keep('weight', order_product(o), 20000)),
        'pieces': 1 + pick('pieces', o, 2)} AS parcel,
    {'address': {'country': country(order_customer(o)),
            'city': ['Berlin', 'Lyon', 'Utrecht', 'Sevilla', 'Torino', 'Gdańsk', 'Malmö', 'Graz']
                [1 + keep('country', order_customer(o), 8)],
            'postcode': printf('%05d', keep('postcode', order_customer(o), 99999))},
        'promised_on': strftime(getvariable('day')::DATE + 2 + pick('promise', o, 3), '%Y-%m-%d'),
        'delivered_at': CASE WHEN pick('delivered', o, 3) > 0
            THEN strftime(at_second(86400 + pick('hours', o, 300000)), '%Y-%m-%dT%H:%M:%S') END} AS delivery
FROM range(getvariable('shipment_count')) AS t (o);
