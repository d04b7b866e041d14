{{ config(materialized='incremental', unique_key='gate') }}
select gate, max(waited_min) as longest_min, count(*) as trucks
from {{ source('tms', 'timeout_log') }}
group by gate
