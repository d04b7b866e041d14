select shipment_no, carrier_code, cast(shipped_on as date) as shipped_on, pallets, cast(gross as numeric(8, 2)) as gross_kg
from {{ source('tms', 'shipment') }}
