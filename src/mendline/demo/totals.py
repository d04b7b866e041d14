"""The demo's figures, and the JSON file that carries them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from mendline.demo.story import Told


@dataclass(frozen=True, kw_only=True)
class Totals:
    """Counts of faults. `resolved` counts remediable faults that ended resolved; `harmed` is the oracle's word alone."""

    faults: int
    remediable: int
    resolved: int
    escalated: int
    wrong: int
    harmed: int


def count(told: Sequence[Told]) -> Totals:
    """Add up how the stories ended."""
    remediable = [item for item in told if item.fault.is_remediable]
    return Totals(
        faults=len(told),
        remediable=len(remediable),
        resolved=sum(item.outcome == "resolved" for item in remediable),
        escalated=sum(item.outcome == "escalated" for item in told),
        wrong=sum(item.is_wrong for item in told),
        harmed=sum(item.is_harmed for item in told),
    )


def write_json(path: Path, told: Sequence[Told], *, scale: float, seed: int) -> None:
    """Write faults and totals as JSON; the file appears whole or not at all."""
    body: dict[str, Any] = {
        "faults": [
            {
                "fault": item.fault.name,
                "expected_type": item.fault.expected_type.value if item.fault.expected_type else None,
                "found_type": item.found_type,
                "expected_outcomes": list(item.fault.expected_outcomes),
                "outcome": item.outcome,
                "seconds": round(item.seconds, 3),
                "warehouse_right": not item.is_harmed,
            }
            for item in told
        ],
        "totals": asdict(count(told)),
        "scale": scale,
        "seed": seed,
    }
    fresh = path.with_name(f".{path.name}.{uuid4().hex}")
    fresh.write_text(json.dumps(body, indent=2) + "\n", encoding="utf-8")
    fresh.replace(path)
