select
    c.carrier_code, c.carrier_name,
    date_trunc('month', s.shipped_on) as month,
    count(s.shipment_no) as shipments,
    sum(s.gross_kg) / nullif(sum(s.pallets), 0) as kg_per_pallet
from {{ ref('shipment_clean') }} s
left join {{ source('tms', 'carrier') }} c on c.carrier_code = s.carrier_code
group by 1, 2, 3
