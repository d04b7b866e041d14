"""Casts on PostgreSQL that give NULL instead of an error, by looking at the text before it is cast.

`pg_input_is_valid` exists from PostgreSQL 16 and accepts whatever the server's settings do ('today', '1_000', day and month
in either order). The guards here mean the same on every version, and refuse what a person would have to explain.
"""

from __future__ import annotations

from sqlglot import exp
from sqlglot.errors import SqlglotError

SPACE = "[[:space:]]*"
NUMBER = f"^{SPACE}[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]{{1,3}})?{SPACE}$"
LONGEST = 300  # characters of a number that is looked at; a bound within the pattern makes it a thousand times slower
# A day that exists in the Gregorian calendar, from year 1 on; the 29th of February in leap years only.
LEAP = "([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)"
DAY = (
    "([0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))"
    f"|{LEAP}-02-29)"
)
CLOCK = "([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,9})?)?"
UTC_ZONE = "([zZ]|[+-]00(:?00)?)?"
ANY_ZONE = "([zZ]|[+-](0[0-9]|1[0-5])(:?[0-5][0-9])?)?"
UUID = "[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}"
PATTERNS = {
    "DATE": f"{DAY}([ T]{CLOCK}{UTC_ZONE})?",
    "TIMESTAMP": f"{DAY}([ T]{CLOCK}{UTC_ZONE})?",
    "TIMESTAMPTZ": f"{DAY}([ T]{CLOCK}{ANY_ZONE})?",
    "TIME": CLOCK,
    "UUID": UUID,
}
WHOLE = {"SMALLINT": 2**15, "INT": 2**31, "BIGINT": 2**63}
# What a double holds without overflow or underflow, both of which PostgreSQL refuses.
FLOATING = {"DOUBLE": "1e-307 AND 1.7e308", "FLOAT": "1.2e-38 AND 3.4e38"}


def safe_cast(sql: str, target: str) -> str:
    """The value as type `target` (PostgreSQL's spelling), NULL where it cannot be; never an error."""
    try:
        parsed = exp.DataType.build(target, dialect="postgres")
    except (SqlglotError, ValueError):
        return _of_the_same_type(sql, target)
    kind = str(getattr(parsed.this, "name", ""))
    digits = [int(part.name) for part in parsed.expressions if part.name.isdigit()]
    fits = _fits_as_number(kind, digits)
    if fits:
        return _guarded(sql, fits, target)
    return _guarded_text(sql, kind, digits, target)


def _fits_as_number(kind: str, digits: list[int]) -> str:
    """The condition over `n`, the value as numeric, under which it fits; "" for what is no number."""
    if kind in WHOLE:
        return f"round(n) BETWEEN {-WHOLE[kind]} AND {WHOLE[kind] - 1}"
    if kind in FLOATING:
        return f"n = 0 OR abs(n) BETWEEN {FLOATING[kind]}"
    if kind == "DECIMAL" and digits:
        precision, scale = (*digits, 0)[:2]
        return f"abs(round(n, {scale})) < 1e{precision - scale}"
    return "n IS NOT NULL" if kind == "DECIMAL" else ""


def _guarded_text(sql: str, kind: str, digits: list[int], target: str) -> str:
    text = f"CAST({sql} AS text)"
    if kind in ("TEXT", "VARCHAR", "CHAR"):
        cast = f"CAST({text} AS {target})"
        return f"CASE WHEN char_length({text}) <= {digits[0]} THEN {cast} END" if digits else cast
    if kind == "BOOLEAN":
        return _boolean(text)
    if kind in PATTERNS:
        # There is no year 0, whatever the calendar's rule for leap years says.
        is_fit = f"{text} ~ '^{SPACE}{PATTERNS[kind]}{SPACE}$' AND {text} !~ '^{SPACE}0000-'"
        return f"CASE WHEN {is_fit} THEN CAST({text} AS {target}) END"
    return _of_the_same_type(sql, target)


def _guarded(sql: str, is_fit: str, target: str) -> str:
    """`is_fit` is over `n`, the value as numeric; a text that is no number never gets there.

    A boolean is 1 or 0, as in a cast. Without the OFFSET the planner would look at the text once per mention of `n`.
    """
    text = f"CAST({sql} AS text)"
    is_boolean = f"CAST(pg_typeof({sql}) AS text) = 'boolean'"
    number = (
        f"CASE WHEN {text} ~ '{NUMBER}' AND char_length({text}) <= {LONGEST} THEN CAST({text} AS numeric)"
        f" WHEN {is_boolean} THEN CASE {text} WHEN 'true' THEN 1 WHEN 'false' THEN 0 END END"
    )
    return f"(SELECT CASE WHEN {is_fit} THEN CAST(n AS {target}) END FROM (SELECT {number} AS n OFFSET 0) AS guarded)"


def _boolean(text: str) -> str:
    plain = f"lower(btrim({text}))"
    yes, no = "'true', 't', 'yes', 'y', 'on', '1'", "'false', 'f', 'no', 'n', 'off', '0'"
    return f"CASE WHEN {plain} IN ({yes}) THEN TRUE WHEN {plain} IN ({no}) THEN FALSE END"


def _of_the_same_type(sql: str, target: str) -> str:
    """For a type without a guard: what already has it stays, anything else is NULL."""
    named = target.replace("'", "''")
    return f"CASE WHEN pg_typeof({sql}) = CAST('{named}' AS regtype) THEN CAST(CAST({sql} AS text) AS {target}) END"
