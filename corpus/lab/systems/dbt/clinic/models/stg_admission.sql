select
    admission_id,
    patient_no,
    ward,
    kind,
    cast(admitted_at as timestamp) as admitted_at,
    cast(stay_days as double) as stay_days
from {{ source('admissions_feed', 'admission') }}
