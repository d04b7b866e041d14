"""Every fault of the demo, in the order in which the demo shows them."""

from __future__ import annotations

from mendline.demo.faults import api, controls, quality, resource, schema, unknown
from mendline.demo.faults.base import Fault
from mendline.errors import InputError

FAULTS: tuple[Fault, ...] = (
    *controls.FAULTS,
    *schema.FAULTS,
    *quality.FAULTS,
    *api.FAULTS,
    *resource.FAULTS,
    *unknown.FAULTS,
)


def chosen(names: tuple[str, ...] | None) -> tuple[Fault, ...]:
    """The faults of these names, in the catalogue's order; all of them for None.

    Raises: `InputError` for a name that is not in the catalogue.
    """
    if names is None:
        return FAULTS
    known = {fault.name for fault in FAULTS}
    strange = sorted(set(names) - known)
    if strange:
        raise InputError(f"there is no fault `{strange[0]}`; choose among: {', '.join(sorted(known))}")
    return tuple(fault for fault in FAULTS if fault.name in names)
