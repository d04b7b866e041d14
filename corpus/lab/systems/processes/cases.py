"""Plain processes: shell pipelines, scripts and pools of workers, as cron would start them."""

from __future__ import annotations

from corpus.lab.case import System
from corpus.lab.systems.processes import clinics, freight, library, settlement, tickets

SYSTEM = System(
    name="processes",
    cases=freight.CASES + clinics.CASES + settlement.CASES + library.CASES + tickets.CASES,
    debian=("jq", "curl", "sqlite3", "gzip", "mawk"),
)
