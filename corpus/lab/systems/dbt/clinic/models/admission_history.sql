{{ config(materialized='incremental', unique_key='admission_id', on_schema_change='fail') }}
select *
from {{ source('admissions_feed', 'admission') }}
{% if is_incremental() %}
where loaded_at > (select max(loaded_at) from {{ this }})
{% endif %}
