select
    a.patient_no,
    a.ward,
    string_agg(b.ward || ' ' || cast(b.admitted_at as varchar) || ' ' || b.kind, ', ' order by b.admitted_at) as path,
    count(*) as readmissions
from {{ ref('stg_admission') }} a
join {{ ref('stg_admission') }} b on a.kind = b.kind and b.admitted_at > a.admitted_at
group by 1, 2
