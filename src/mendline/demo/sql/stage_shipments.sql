DELETE FROM staging.shipments WHERE business_date = $day;
INSERT INTO staging.shipments BY NAME
SELECT $day AS business_date, shipment_id, order_id, tracking_number, carrier, weight_g, pieces, country, city, postcode,
    promised_on, delivered_at
FROM contract.shipments;
