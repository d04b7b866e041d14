select r.role_name, r.may_read, count(h.admission_id) as rows_visible
from {{ source('admissions_feed', 'schema_permission') }} r
left join {{ ref('admission_history') }} h on h.ward = r.ward
group by 1, 2
