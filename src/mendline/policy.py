"""The one gate for writes: may this plan act by itself, must it ask, or is it only reported."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from mendline.config import ChangeWindow, Policy, Rule
from mendline.errors import ConfigError
from mendline.history import EMPTY, Event, History, day_of
from mendline.incident import Classification, FailureType, Plan

Word = Literal["auto", "ask", "suggest", "off"]
STRICTEST_FIRST: tuple[Word, ...] = ("off", "suggest", "ask", "auto")
STAGE_FAILURE_DAYS = 7.0
ESCALATED_BY_DEFAULT = frozenset({FailureType.RESOURCE, FailureType.UNKNOWN})
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

# What no rule can allow, by what a statement begins with: (pattern, what it would do).
NEVER_AUTOMATED = (
    (r"DROP(?!\s+(MATERIALIZED\s+)?VIEW\b)", "drops what cannot be brought back"),
    (r"ALTER\b.*\bDROP\s+(?!NOT\s+NULL\b|DEFAULT\b)", "drops what cannot be brought back"),
    (r"TRUNCATE\b", "truncates"),
    (r"(GRANT|REVOKE|DENY|REASSIGN)\b|ALTER\s+DEFAULT\s+PRIVILEGES\b|ALTER\b.*\bOWNER\s+TO\b", "touches permissions"),
    (
        r"(CREATE|ALTER)(\s+(OR\s+REPLACE|PERSISTENT|TEMPORARY|TEMP))*\s+(USER|ROLE|GROUP|SECRET|SERVER|LOGIN|POLICY)\b"
        r"|SET\s+(SESSION|ROLE)\b",
        "touches credentials or permissions",
    ),
)
_NEVER = tuple((re.compile(pattern, re.IGNORECASE | re.DOTALL), what) for pattern, what in NEVER_AUTOMATED)
_COMMENT_OR_QUOTED = re.compile(r"""(--[^\n]*|/\*.*?\*/)|'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`""", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Ruling:
    """The gate's word on one plan, with the reason that the report shows.

    `shadowed` is the word that it would have been out of shadow mode, "" out of it.
    """

    decision: Word
    reason: str
    shadowed: str = ""


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What the gate knows beside the plan: for whom it is, what has been done and gone wrong, and the time.

    `catalogue` names the repairs that there are; a plan of any other is never carried out.
    """

    pipeline: str
    stages: tuple[str, ...]
    catalogue: frozenset[str]
    now: datetime
    history: History = EMPTY


@dataclass(frozen=True, kw_only=True)
class BreakerState:
    """One breaker and what speaks for opening it; an open one turns `auto` into `ask`."""

    name: str
    is_open: bool
    reason: str
    incident_ids: tuple[str, ...]


def decide(policy: Policy, plan: Plan, classification: Classification, situation: Situation) -> Ruling:
    """The rules' word, made stricter by every limit that holds; no limit ever makes it more permissive.

    In shadow mode nothing is done, and the word says so.
    """
    ruling = rule_on(policy, plan, classification, situation.pipeline)
    for limit in _limits(policy, plan, situation):
        if _is_stricter(limit.decision, ruling.decision):
            ruling = limit
    if policy.shadow and _is_stricter("suggest", ruling.decision):
        reason = f"shadow mode; without it: {ruling.decision} ({ruling.reason})"
        ruling = Ruling(decision="suggest", reason=reason, shadowed=ruling.decision)
    return ruling


def rule_on(policy: Policy, plan: Plan, classification: Classification, pipeline: str) -> Ruling:
    """The rules' own word on one plan: the first that matches counts, and none means the default, which never acts.

    A rule for all types lets nothing happen to what escalates by default (RESOURCE, UNKNOWN). A rule with
    `min_confidence` matches only when both the classification and the plan are at least that sure. A plan is
    never allowed more than a surer one would be, in whatever order the rules stand.
    """
    sure = min(classification.confidence, plan.confidence)
    named = [(n, rule) for n, rule in enumerate(policy.rules, 1) if _names(rule, plan, classification, pipeline)]
    ruling = _first(policy, plan, named, sure)
    for surer in sorted({rule.min_confidence for _, rule in named if rule.min_confidence > sure}):
        other = _first(policy, plan, named, surer)
        if _is_stricter(other.decision, ruling.decision):
            ruling = replace(other, reason=f"{other.reason}; this is less sure ({sure:.2f})")
    return ruling


def require_known(policy: Policy, catalogue: frozenset[str]) -> None:
    """Raises: `ConfigError` when a rule names an action that is no tool of the catalogue."""
    for number, rule in enumerate(policy.rules, start=1):
        if rule.action != "*" and rule.action not in catalogue:
            raise ConfigError(
                f"`policy.rules`, rule {number}: `{rule.action}` is no tool that there is, and nothing else is ever automated; "
                f"there are {', '.join(sorted(catalogue))}"
            )


def sentences(policy: Policy) -> Iterator[str]:
    """What the policy allows and what limits it, one sentence each."""
    for rule in policy.rules:
        yield (
            f"{rule.decision} `{rule.action}` for {_types(rule)} on pipeline `{rule.pipeline}`,"
            f" dataset `{rule.dataset}`, when at least {rule.min_confidence:.2f} sure"
        )
    yield f"everything else is {'only suggested' if policy.default == 'suggest' else 'off'}"
    if policy.shadow:
        yield "shadow mode: all of that is only recorded, nothing is touched"
    yield f"at most {policy.max_per_day} repairs of one kind per pipeline and day, then they ask"
    for window in policy.change_windows:
        yield (
            f"unasked on {', '.join(window.days)} from {window.begins:%H:%M} to {window.ends:%H:%M} ({window.time_zone})"
        )
    if any(rule.decision == "ask" for rule in policy.rules):
        who = ", ".join(policy.approvers) or "anybody"
        yield f"{who} may answer what a repair asks, within {policy.approval_expires_hours:g} hours"


def breakers(policy: Policy, history: History, now: datetime) -> tuple[BreakerState, ...]:
    """Every breaker that something speaks for, in order of name; an event that is too old or was reset speaks no more."""
    most_failures = policy.breaker.stage_failures
    return (
        *_counted(history.mishaps, history, now, policy.breaker.days, policy.breaker.failures, "went wrong"),
        *_counted(history.failures, history, now, STAGE_FAILURE_DAYS, most_failures + 1, "failed"),
    )


def forbidden(statement: str) -> str:
    """What makes a statement one that is never automated ("drops ..."); "" when nothing does.

    Quoted text and comments are not read: a value may be called anything.
    """
    bare = _COMMENT_OR_QUOTED.sub(lambda found: " " if found.group(1) else " x ", statement)
    parts = [part.strip() for part in bare.split(";")]
    return next((what for part in parts for pattern, what in _NEVER if pattern.match(part)), "")


def _limits(policy: Policy, plan: Plan, situation: Situation) -> Iterator[Ruling]:
    if plan.repair not in situation.catalogue:
        yield Ruling(decision="suggest", reason=f"`{plan.repair}` is no repair of the catalogue: never automated")
    for what in sorted({what for statement in plan.statements if (what := forbidden(statement))}):
        yield Ruling(decision="suggest", reason=f"a statement of the plan {what}: never automated")
    if policy.change_windows and not any(is_in(window, situation.now) for window in policy.change_windows):
        yield Ruling(decision="ask", reason="outside the change windows of `policy.change_windows`")
    yield from _budget(policy, plan, situation)
    names = {f"action:{plan.repair}@{situation.pipeline}"}
    names |= {f"stage:{stage}@{situation.pipeline}" for stage in situation.stages}
    for breaker in breakers(policy, situation.history, situation.now):
        if breaker.is_open and breaker.name in names:
            reset = f"`mendline breaker reset {breaker.name}` closes it"
            yield Ruling(decision="ask", reason=f"breaker `{breaker.name}` is open: {breaker.reason}; {reset}")


def _budget(policy: Policy, plan: Plan, situation: Situation) -> Iterator[Ruling]:
    today = day_of(situation.now)
    done = {
        deed.key
        for deed in situation.history.deeds
        if (deed.pipeline, deed.repair) == (situation.pipeline, plan.repair)
        and day_of(deed.at) == today
        and deed.key != plan.key
    }
    if len(done) >= policy.max_per_day:
        yield Ruling(
            decision="ask",
            reason=f"`{plan.repair}` was done {len(done)} times for `{situation.pipeline}` today (UTC); "
            f"`policy.max_per_day` is {policy.max_per_day}",
        )


def is_in(window: ChangeWindow, now: datetime) -> bool:
    """Whether a change window is open; one that ends no later than it begins lasts into the next day."""
    # A machine without time zone data still knows UTC.
    local = now.astimezone(UTC if window.time_zone == "UTC" else ZoneInfo(window.time_zone))
    lasts_over_midnight = window.ends <= window.begins
    today, yesterday = WEEKDAYS[local.weekday()], WEEKDAYS[local.weekday() - 1]
    began_today = today in window.days and local.time() >= window.begins
    if not lasts_over_midnight:
        return began_today and local.time() < window.ends
    return began_today or (yesterday in window.days and local.time() < window.ends)


def _counted(
    events: tuple[Event, ...], history: History, now: datetime, days: float, limit: int, what: str
) -> Iterator[BreakerState]:
    since = now - timedelta(days=days)
    for name in sorted({event.name for event in events}):
        reset_at = history.resets.get(name)
        counted = [e for e in events if e.name == name and e.at > since and (reset_at is None or e.at > reset_at)]
        if counted:
            ids = tuple(dict.fromkeys(event.incident_id for event in counted))
            yield BreakerState(
                name=name,
                is_open=len(counted) >= limit,
                reason=f"{what} {len(counted)} times in {days:g} days (incident{'s' if len(ids) > 1 else ''} {_some(ids)})",
                incident_ids=ids,
            )


def _some(ids: tuple[str, ...]) -> str:
    return ", ".join(ids[-5:])


def _first(policy: Policy, plan: Plan, named: list[tuple[int, Rule]], sure: float) -> Ruling:
    for number, rule in named:
        if sure >= rule.min_confidence:
            return Ruling(decision=rule.decision, reason=f"policy rule {number} says {rule.decision} (sure {sure:.2f})")
    if not named:
        return Ruling(decision=policy.default, reason=f"no policy rule allows `{plan.repair}` here")
    asked = named[0][1].min_confidence
    return Ruling(decision=policy.default, reason=f"sure {sure:.2f}, the policy asks for {asked:.2f}")


def _is_stricter(one: Word, other: Word) -> bool:
    return STRICTEST_FIRST.index(one) < STRICTEST_FIRST.index(other)


def _names(rule: Rule, plan: Plan, classification: Classification, pipeline: str) -> bool:
    return (
        rule.action in ("*", plan.repair)
        and _covers(rule, classification.type)
        and rule.pipeline in ("*", pipeline)
        and rule.dataset in ("*", plan.dataset)
    )


def _types(rule: Rule) -> str:
    """The types that a rule speaks of, in words."""
    if rule.type != "*":
        return rule.type.value
    left_out = [kind for kind in sorted(ESCALATED_BY_DEFAULT) if not _covers(rule, kind)]
    return f"every type but {' and '.join(left_out)}" if left_out else "every type"


def _covers(rule: Rule, kind: FailureType) -> bool:
    """Whether a rule speaks of a type. What escalates by default acts only under a rule that calls it by its name."""
    if rule.type == "*" and kind in ESCALATED_BY_DEFAULT:
        return not _is_stricter("suggest", rule.decision)
    return rule.type in ("*", kind)
