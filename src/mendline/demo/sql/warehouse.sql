-- The retailer's warehouse, as the team's migration makes it once.
CREATE SCHEMA landing;
CREATE SCHEMA contract;
CREATE SCHEMA staging;
CREATE SCHEMA core;
CREATE SCHEMA mart;

-- Which business day each landing table holds now.
CREATE TABLE landing.batches (source VARCHAR PRIMARY KEY, business_date DATE NOT NULL);

CREATE TABLE landing.orders (
    order_id INTEGER, customer_id INTEGER, sku VARCHAR, quantity INTEGER, unit_price DECIMAL(10, 2), channel VARCHAR,
    gift_note VARCHAR, ordered_at VARCHAR
);
CREATE TABLE landing.customers (
    customer_id BIGINT, email VARCHAR, full_name VARCHAR, country VARCHAR, segment VARCHAR, loyalty_points BIGINT,
    marketing_opt_in BOOLEAN, created_at TIMESTAMP
);
CREATE TABLE landing.web_events (
    event_id VARCHAR, session_id VARCHAR, customer_id BIGINT, event_type VARCHAR, sku VARCHAR, url VARCHAR,
    event_at TIMESTAMP, duration_ms BIGINT
);
CREATE TABLE landing.products (
    sku VARCHAR, product_name VARCHAR, category VARCHAR, unit_cost DECIMAL(10, 2), list_price DECIMAL(10, 2),
    weight_g INTEGER, is_active BOOLEAN
);
CREATE TABLE landing.payments (
    payment_id VARCHAR, order_id VARCHAR, method VARCHAR, amount VARCHAR, currency VARCHAR, paid_at VARCHAR,
    payer_reference VARCHAR, _line_number BIGINT, _field_count INTEGER
);
CREATE TABLE landing.payments_trailer (file_name VARCHAR, expected_count BIGINT, line_count BIGINT);
CREATE TABLE landing.shipments (
    shipment_id VARCHAR, order_id BIGINT, tracking STRUCT(number VARCHAR, carrier VARCHAR),
    parcel STRUCT(weight_g BIGINT, pieces BIGINT),
    delivery STRUCT(
        address STRUCT(country VARCHAR, city VARCHAR, postcode VARCHAR), promised_on DATE, delivered_at TIMESTAMP
    )
);

CREATE VIEW contract.orders AS
SELECT order_id, customer_id, sku, quantity, unit_price, channel, gift_note, CAST(ordered_at AS TIMESTAMP) AS ordered_at
FROM landing.orders;

CREATE VIEW contract.customers AS
SELECT * FROM landing.customers;

CREATE VIEW contract.web_events AS
SELECT event_id, session_id, customer_id, event_type, sku, url, event_at, duration_ms
FROM landing.web_events;

CREATE VIEW contract.products AS
SELECT sku, product_name, category, unit_cost, list_price, weight_g, is_active
FROM landing.products;

CREATE VIEW contract.payments AS
SELECT payment_id, CAST(order_id AS INTEGER) AS order_id, method, CAST(amount AS DECIMAL(12, 2)) AS amount, currency,
    CAST(paid_at AS TIMESTAMP) AS paid_at, payer_reference, _line_number, _field_count
FROM landing.payments;

CREATE VIEW contract.shipments AS
SELECT shipment_id, order_id, tracking.number AS tracking_number, tracking.carrier AS carrier,
    parcel.weight_g AS weight_g, parcel.pieces AS pieces, delivery.address.country AS country,
    delivery.address.city AS city, delivery.address.postcode AS postcode, delivery.promised_on AS promised_on,
    delivery.delivered_at AS delivered_at
FROM landing.shipments;

CREATE TABLE staging.orders (
    business_date DATE NOT NULL, order_id INTEGER NOT NULL, customer_id INTEGER NOT NULL, sku VARCHAR NOT NULL,
    quantity INTEGER NOT NULL, unit_price DECIMAL(10, 2) NOT NULL, amount DECIMAL(14, 2) NOT NULL CHECK (amount >= 0),
    channel VARCHAR NOT NULL CHECK (channel IN ('web', 'app', 'store')), gift_note VARCHAR,
    ordered_at TIMESTAMP NOT NULL, PRIMARY KEY (business_date, order_id)
);
CREATE TABLE staging.web_events (
    business_date DATE NOT NULL, event_id VARCHAR NOT NULL, session_id VARCHAR NOT NULL, customer_id INTEGER,
    event_type VARCHAR NOT NULL CHECK (event_type IN ('view', 'cart', 'purchase', 'search')), sku VARCHAR,
    url VARCHAR NOT NULL, event_at TIMESTAMP NOT NULL, duration_ms INTEGER NOT NULL, has_order BOOLEAN,
    PRIMARY KEY (business_date, event_id)
);
CREATE TABLE staging.payments (
    business_date DATE NOT NULL, payment_id VARCHAR NOT NULL, order_id INTEGER NOT NULL, method VARCHAR NOT NULL,
    amount DECIMAL(12, 2) NOT NULL CHECK (amount >= 0), currency VARCHAR NOT NULL, paid_at TIMESTAMP NOT NULL,
    payer_reference VARCHAR, PRIMARY KEY (business_date, payment_id)
);
CREATE TABLE staging.shipments (
    business_date DATE NOT NULL, shipment_id VARCHAR NOT NULL, order_id INTEGER NOT NULL,
    tracking_number VARCHAR NOT NULL, carrier VARCHAR NOT NULL, weight_g INTEGER NOT NULL, pieces INTEGER NOT NULL,
    country VARCHAR NOT NULL, city VARCHAR NOT NULL, postcode VARCHAR, promised_on DATE NOT NULL,
    delivered_at TIMESTAMP, PRIMARY KEY (business_date, shipment_id)
);
CREATE TABLE core.dim_customer (
    business_date DATE NOT NULL, customer_id INTEGER NOT NULL, email VARCHAR NOT NULL, full_name VARCHAR NOT NULL,
    country VARCHAR NOT NULL, segment VARCHAR NOT NULL, loyalty_points INTEGER NOT NULL, marketing_opt_in BOOLEAN,
    created_at TIMESTAMP NOT NULL, first_order_at TIMESTAMP, last_order_at TIMESTAMP,
    PRIMARY KEY (business_date, customer_id)
);
CREATE TABLE core.dim_product (
    business_date DATE NOT NULL, sku VARCHAR NOT NULL, product_name VARCHAR NOT NULL, category VARCHAR NOT NULL,
    unit_cost DECIMAL(10, 2) NOT NULL CHECK (unit_cost >= 0), list_price DECIMAL(10, 2) NOT NULL CHECK (list_price >= 0),
    weight_g INTEGER NOT NULL, is_active BOOLEAN NOT NULL, PRIMARY KEY (business_date, sku)
);
CREATE TABLE core.fct_sales (
    business_date DATE NOT NULL, order_id INTEGER NOT NULL, customer_id INTEGER NOT NULL, country VARCHAR NOT NULL,
    segment VARCHAR NOT NULL, sku VARCHAR NOT NULL, category VARCHAR NOT NULL, channel VARCHAR NOT NULL,
    quantity INTEGER NOT NULL, amount DECIMAL(14, 2) NOT NULL, cost DECIMAL(14, 2) NOT NULL,
    weight_g BIGINT NOT NULL, gift_note VARCHAR, ordered_at TIMESTAMP NOT NULL, PRIMARY KEY (business_date, order_id)
);
CREATE TABLE core.payment_reconciliation (
    business_date DATE NOT NULL, order_id INTEGER NOT NULL, ordered_amount DECIMAL(14, 2) NOT NULL,
    paid_amount DECIMAL(14, 2) NOT NULL, payment_count INTEGER NOT NULL, status VARCHAR NOT NULL,
    PRIMARY KEY (business_date, order_id)
);

CREATE TABLE mart.order_overview (
    business_date DATE NOT NULL, order_id INTEGER NOT NULL, customer_id INTEGER NOT NULL, email VARCHAR NOT NULL,
    full_name VARCHAR NOT NULL, country VARCHAR NOT NULL, segment VARCHAR NOT NULL, loyalty_points BIGINT NOT NULL,
    marketing_opt_in BOOLEAN, sku VARCHAR NOT NULL, product_name VARCHAR NOT NULL, category VARCHAR NOT NULL,
    channel VARCHAR NOT NULL, quantity BIGINT NOT NULL, amount DECIMAL(14, 2) NOT NULL, cost DECIMAL(14, 2) NOT NULL,
    weight_g BIGINT NOT NULL, gift_note VARCHAR, ordered_at TIMESTAMP NOT NULL, paid_amount DECIMAL(14, 2) NOT NULL,
    payment_status VARCHAR NOT NULL, shipment_count INTEGER NOT NULL, first_tracking_number VARCHAR,
    delivery_city VARCHAR, promised_on DATE, delivered_at TIMESTAMP, PRIMARY KEY (business_date, order_id)
);
CREATE TABLE mart.daily_sales (
    business_date DATE NOT NULL, country VARCHAR NOT NULL, category VARCHAR NOT NULL, channel VARCHAR NOT NULL,
    order_count BIGINT NOT NULL, quantity BIGINT NOT NULL, amount DECIMAL(18, 2) NOT NULL, cost DECIMAL(18, 2) NOT NULL,
    paid_amount DECIMAL(18, 2) NOT NULL, PRIMARY KEY (business_date, country, category, channel)
);
CREATE TABLE mart.web_funnel (
    business_date DATE NOT NULL, event_type VARCHAR NOT NULL, category VARCHAR NOT NULL, event_count BIGINT NOT NULL,
    session_count BIGINT NOT NULL, customer_count BIGINT NOT NULL, duration_ms BIGINT NOT NULL,
    PRIMARY KEY (business_date, event_type, category)
);
CREATE TABLE mart.delivery (
    business_date DATE NOT NULL, country VARCHAR NOT NULL, carrier VARCHAR NOT NULL, shipment_count BIGINT NOT NULL,
    piece_count BIGINT NOT NULL, weight_g BIGINT NOT NULL, delivered_count BIGINT NOT NULL, late_count BIGINT NOT NULL,
    PRIMARY KEY (business_date, country, carrier)
);
