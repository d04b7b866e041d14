"""What the warehouse must look like: worlds of the same days that Mendline never sees, made once each."""

from __future__ import annotations

import threading
from collections import defaultdict
from pathlib import Path

from mendline.demo.faults.base import Fault, Injection, Site, restore, run_day
from mendline.demo.oracle import EndState
from mendline.demo.world import World

FAULT_DAY = 2


class References:
    """Reference warehouses by variant: the plain healthy days, and for each fault that needs one its own.

    Safe to use from several threads; one variant is made once, the others wait for it.
    """

    def __init__(self, base: World, directory: Path) -> None:
        self._base = base
        self._directory = directory
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._made: dict[str, Path] = {}

    def warehouse(self, fault: Fault, days: int) -> Path:
        """The closed warehouse file that a fault's own must equal after `days` days."""
        is_plain = fault.end_state is not EndState.UNTOUCHED and fault.reference is None
        variant = f"reference-{'plain' if is_plain else fault.name}-{days}"
        with self._locks[variant]:
            if variant not in self._made:
                self._made[variant] = self._make(variant, None if is_plain else fault, days)
            return self._made[variant]

    def _make(self, variant: str, fault: Fault | None, days: int) -> Path:
        world = self._base.clone(self._directory / variant)
        with world.open_servers() as servers:
            for number in range(FAULT_DAY, days + 1):
                site = Site(world=world, servers=servers, day=world.day(number))
                if number > FAULT_DAY:
                    restore(site, self._base)
                run_day(site, _changed(site, fault, number))
        return world.warehouse


def _changed(site: Site, fault: Fault | None, number: int) -> Injection:
    """Make the change that the declared end amounts to on one day."""
    if fault is None:
        return Injection()
    if fault.end_state is EndState.UNTOUCHED:
        return fault.inject(site) if number == FAULT_DAY else Injection()
    if fault.reference is not None and (number == FAULT_DAY or (number == FAULT_DAY + 1 and fault.lasting)):
        fault.reference(site)
    return Injection()
