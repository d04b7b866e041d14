"""The families of causes: what was broken on purpose, and therefore the true type, whatever the log says about it.

A case's type follows from its family and is never chosen by looking at the log.
"""

from __future__ import annotations

from collections.abc import Mapping

TYPES = ("SCHEMA_CHANGE", "DATA_QUALITY", "API_FAILURE", "RESOURCE", "UNKNOWN")

# family -> (type, the classifier's subtypes that are right for it; the first is the label when a case names none)
FAMILIES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    # The data's shape is not the one that the stage was built for.
    "renamed": ("SCHEMA_CHANGE", ("column_missing",)),
    "removed": ("SCHEMA_CHANGE", ("column_missing",)),
    "added": ("SCHEMA_CHANGE", ("column_added", "column_count")),
    "retyped": ("SCHEMA_CHANGE", ("type_changed", "contract_mismatch")),
    "nested": ("SCHEMA_CHANGE", ("type_changed", "contract_mismatch", "column_missing")),
    "column_count": ("SCHEMA_CHANGE", ("column_count", "column_added", "column_missing")),
    "table_gone": ("SCHEMA_CHANGE", ("table_missing",)),
    "contract": ("SCHEMA_CHANGE", ("contract_mismatch", "type_changed", "column_missing", "column_added")),
    # The shape is right, the values are not.
    "null": ("DATA_QUALITY", ("null_violation",)),
    "duplicate": ("DATA_QUALITY", ("duplicate_key",)),
    "orphan": ("DATA_QUALITY", ("orphaned_key",)),
    "unparsable": ("DATA_QUALITY", ("unparsable_value", "invalid_date", "invalid_value")),
    "encoding": ("DATA_QUALITY", ("bad_encoding",)),
    "malformed": ("DATA_QUALITY", ("malformed_file", "truncated_file", "corruption")),
    "range": ("DATA_QUALITY", ("out_of_range", "check_violation", "value_too_long", "division_by_zero")),
    "volume": ("DATA_QUALITY", ("incomplete", "stale_data", "reconciliation", "check_violation")),
    # Another system that the stage talks to does not answer as it should; our side is well.
    "outage": ("API_FAILURE", ("outage", "outage_page")),
    "refused": ("API_FAILURE", ("connection_refused",)),
    "reset": ("API_FAILURE", ("connection_reset", "connection_lost")),
    "slow": ("API_FAILURE", ("timeout",)),
    "dns": ("API_FAILURE", ("dns",)),
    "tls": ("API_FAILURE", ("tls",)),
    "rate_limit": ("API_FAILURE", ("rate_limit", "quota_exceeded")),
    "credentials": ("API_FAILURE", ("expired_credentials", "forbidden")),
    "endpoint": ("API_FAILURE", ("not_found", "endpoint_changed")),
    "protocol": ("API_FAILURE", ("protocol", "outage_page", "outage")),
    # The machinery that runs the stage has run out of something, or was killed for it.
    "memory": ("RESOURCE", ("out_of_memory",)),
    "disk": ("RESOURCE", ("disk_full", "disk_quota", "file_too_large")),
    "handles": ("RESOURCE", ("too_many_files", "limit_exceeded")),
    "connections": ("RESOURCE", ("too_many_connections",)),
    "time_limit": ("RESOURCE", ("query_timeout", "cpu_limit", "killed_process")),
    "killed": ("RESOURCE", ("killed_process", "out_of_memory", "evicted")),
    "limit": ("RESOURCE", ("limit_exceeded", "insufficient_resources", "quota_exceeded")),
    # Ours to mend by hand, or not to be told from the log: a person has to look.
    "code_bug": ("UNKNOWN", ("code_bug",)),
    "configuration": ("UNKNOWN", ("configuration",)),
    "permission": ("UNKNOWN", ("permission",)),
    "concurrency": ("UNKNOWN", ("conflict", "lock_contention")),
    "missing_input": ("UNKNOWN", ("missing_input",)),
    "environment": ("UNKNOWN", ("configuration", "crash", "code_bug")),
    "interrupted": ("UNKNOWN", ("interrupted",)),
    "no_cause": ("UNKNOWN", ("undetermined", "no_error_in_log", "general_error", "empty_log")),
}


def type_of(family: str) -> str:
    """Give the true type of a failure of this family."""
    return FAMILIES[family][0]
