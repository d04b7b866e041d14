select
    w.ward,
    cast(a.admitted_at as date) as day,
    count(*) as admissions,
    sum(a.stay_days) as stay_days,
    sum(a.stay_days) / max(w.beds) as share_of_beds
from {{ ref('stg_admission') }} a
left join {{ ref('wards') }} w using (ward)
group by 1, 2
