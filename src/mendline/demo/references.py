"""What the warehouse must look like: worlds of the same days that Mendline never sees, made once each."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from mendline.demo.faults.base import Fault, Injection, Site, restore, run_day
from mendline.demo.oracle import EndState
from mendline.demo.world import World

FAULT_DAY = 2

Change = Callable[[Site, int], Injection]
"""What is done to a reference world on the day of that number, before its run."""


class References:
    """Reference warehouses by variant: the plain healthy days, and for each fault that needs one its own.

    Safe to use from several threads; one variant is made once, the others wait for it.
    """

    def __init__(self, base: World, directory: Path) -> None:
        self._base = base
        self._directory = directory
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._made: dict[str, Path] = {}

    def warehouse(self, fault: Fault, end_state: EndState, days: int) -> Path:
        """The closed warehouse file that the fault's own must equal after `days` days to be in `end_state`."""
        is_helped = end_state is not EndState.UNTOUCHED
        is_plain = is_helped and fault.reference is None
        name = "plain" if is_plain else fault.name if is_helped else f"{fault.name}-unhelped"
        variant = f"reference-{name}-{days}"
        change = _nothing if is_plain else _repaired(fault) if is_helped else _unhelped(fault)
        with self._locks[variant]:
            if variant not in self._made:
                self._made[variant] = self._make(variant, change, days)
            return self._made[variant]

    def _make(self, variant: str, change: Change, days: int) -> Path:
        world = self._base.clone(self._directory / variant)
        with world.open_servers() as servers:
            for number in range(FAULT_DAY, days + 1):
                site = Site(world=world, servers=servers, day=world.day(number))
                if number > FAULT_DAY:
                    restore(site, self._base)
                run_day(site, change(site, number))
        return world.warehouse


def _nothing(_site: Site, _number: int) -> Injection:
    return Injection()


def _unhelped(fault: Fault) -> Change:
    def change(site: Site, number: int) -> Injection:
        return fault.inject(site) if number == FAULT_DAY else Injection()

    return change


def _repaired(fault: Fault) -> Change:
    def change(site: Site, number: int) -> Injection:
        is_changed = number == FAULT_DAY or (number == FAULT_DAY + 1 and fault.lasting is not None)
        if fault.reference is not None and is_changed:
            fault.reference(site)
        return Injection()

    return change
