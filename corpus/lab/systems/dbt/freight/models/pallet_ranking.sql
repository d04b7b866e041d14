select a.shipment_no, count(*) as heavier
from {{ ref('shipment_clean') }} a
join {{ ref('shipment_clean') }} b on b.gross_kg > a.gross_kg
group by 1
