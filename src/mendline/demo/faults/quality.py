"""Faults of the data: rows that the contract does not allow, each once below the quality threshold and once above."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from mendline.demo.faults.base import Fault, Injection, Site
from mendline.demo.faults.sources import (
    ABOVE,
    BELOW,
    add_events,
    add_orders,
    change_payments,
    count_events,
    count_orders,
    payment_lines,
    read_events,
    share,
)
from mendline.demo.oracle import BadRows, EndState
from mendline.incident import FailureType

Fields = list[bytes]
AMOUNT, PAID_AT, PAYER_REFERENCE = 3, 5, 6


def spoil_payments(site: Site, fraction: float, spoil: Callable[[Fields], Fields]) -> Injection:
    """Change the fields of some evenly spread payments in place; the trailer still counts every line."""

    def change(header: Fields, lines: Fields) -> tuple[Fields, int]:
        chosen = _chosen(lines, fraction)
        changed = [b";".join(spoil(line.split(b";"))) if line in chosen else line for line in lines]
        return [b";".join(header), *changed], len(lines)

    ids = tuple(line.split(b";")[0].decode() for line in sorted(_chosen(payment_lines(site.world, site.day), fraction)))
    change_payments(site.world, site.day, change)
    return Injection(bad_rows=(BadRows(table="landing.payments", key="payment_id", values=ids),))


def without_payments(site: Site, fraction: float) -> None:
    """Leave out the payments that `spoil_payments` would have changed."""

    def change(header: Fields, lines: Fields) -> tuple[Fields, int]:
        chosen = _chosen(lines, fraction)
        kept = [line for line in lines if line not in chosen]
        return [b";".join(header), *kept], len(kept)

    change_payments(site.world, site.day, change)


def _chosen(lines: Fields, fraction: float) -> set[bytes]:
    count = share(len(lines), fraction)
    return set(lines[:: max(1, len(lines) // count)][:count])


def _with(index: int, value: Callable[[bytes], bytes]) -> Callable[[Fields], Fields]:
    def spoil(fields: Fields) -> Fields:
        return [value(field) if place == index else field for place, field in enumerate(fields)]

    return spoil


def _bad_orders(site: Site, fraction: float, changes: Mapping[str, str]) -> Injection:
    ids = add_orders(site.world, site.day, share(count_orders(site.world, site.day), fraction), changes)
    return Injection(bad_rows=(BadRows(table="landing.orders", key="order_id", values=ids),))


def _repeated_events(site: Site, fraction: float) -> Injection:
    copies = read_events(site.world, site.day, share(count_events(site.world, site.day), fraction))
    add_events(site.world, site.day, copies)
    ids = tuple(str(event["event_id"]) for event in copies)
    return Injection(bad_rows=(BadRows(table="landing.web_events", key="event_id", values=ids),))


def _events_without_type(site: Site, fraction: float) -> Injection:
    count = share(count_events(site.world, site.day), fraction)
    events = [
        dict(event, event_id=f"{event['event_id']}-r", event_type=None)
        for event in read_events(site.world, site.day, count)
    ]
    add_events(site.world, site.day, events)
    ids = tuple(str(event["event_id"]) for event in events)
    return Injection(bad_rows=(BadRows(table="landing.web_events", key="event_id", values=ids),))


def _truncated(site: Site, fraction: float) -> Injection:
    def change(header: Fields, lines: Fields) -> tuple[Fields, int]:
        return [b";".join(header), *lines[: len(lines) - share(len(lines), fraction)]], len(lines)

    change_payments(site.world, site.day, change)
    return Injection()


def _pair(
    name: str,
    summary: str,
    inject: Callable[[Site, float], Injection],
    *failing_stages: str,
    reference: Callable[[Site, float], None] | None = None,
    is_remediable: bool = True,
) -> tuple[Fault, Fault]:
    """The same fault in 1 % of the rows, which may be set aside, and in 6 %, where a person must look."""
    few = Fault(
        name=f"{name}_few",
        summary=f"{summary} (1 % of the rows)",
        inject=lambda site: inject(site, BELOW),
        expected_type=FailureType.DATA_QUALITY,
        expected_outcomes=("resolved",) if is_remediable else ("escalated",),
        end_state=EndState.MINUS_BAD_ROWS if is_remediable else EndState.UNTOUCHED,
        failing_stages=failing_stages,
        reference=(lambda site: reference(site, BELOW)) if reference else None,
    )
    many = Fault(
        name=f"{name}_many",
        summary=f"{summary} (6 % of the rows)",
        inject=lambda site: inject(site, ABOVE),
        expected_type=FailureType.DATA_QUALITY,
        expected_outcomes=("escalated",),
        end_state=EndState.UNTOUCHED,
        failing_stages=failing_stages,
    )
    return few, many


def _spoilt(name: str, summary: str, spoil: Callable[[Fields], Fields]) -> tuple[Fault, Fault]:
    return _pair(name, summary, partial(spoil_payments, spoil=spoil), "stage_payments", reference=without_payments)


FAULTS = (
    *_pair("nulls", "web events have no event_type", _events_without_type, "stage_web_events"),
    *_spoilt("negative_amounts", "payments have negative amounts", _with(AMOUNT, lambda amount: b"-" + amount)),
    *_pair("duplicates", "web events were delivered twice", _repeated_events, "stage_web_events"),
    *_pair(
        "orphans",
        "orders name products that are not in the catalogue",
        partial(_bad_orders, changes={"sku": "'SKU-UNKNOWN-' || order_id"}),
        "stage_orders",
    ),
    *_spoilt(
        "malformed_csv",
        "payment lines have separators inside the payer's reference",
        _with(PAYER_REFERENCE, lambda reference: reference + b";invoice;2"),
    ),
    *_spoilt(
        "bad_encoding",
        "payment lines are not UTF-8",
        _with(PAYER_REFERENCE, lambda reference: reference + " Café Müller".encode("latin-1")),
    ),
    *_spoilt(
        "impossible_dates",
        "payments were made on the 31st of February",
        _with(PAID_AT, lambda paid_at: b"2026-02-31" + paid_at[10:]),
    ),
    *_pair(
        "trailer_mismatch",
        "the payments file is shorter than its trailer says",
        _truncated,
        "stage_payments",
        is_remediable=False,
    ),
)
