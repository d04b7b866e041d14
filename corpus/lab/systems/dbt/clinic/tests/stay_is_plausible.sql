select ward, day, share_of_beds
from {{ ref('ward_day') }}
where share_of_beds > 30 or share_of_beds < 0
