"""`warehouses` and `datasets`: where the data is, and what a stage reads of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from mendline.config.section import Name, Section


class DuckDBWarehouse(Section):
    """A DuckDB file."""

    kind: Literal["duckdb"] = Field(description="The make of the warehouse.")
    path: Path = Field(description="The database file, relative to mendline.yaml.")
    lock_timeout_seconds: float = Field(
        default=60.0, gt=0, description="How long to wait while a pipeline holds the file."
    )


class PostgresWarehouse(Section):
    """A PostgreSQL database; needs `pip install 'mendline[postgres]'`."""

    kind: Literal["postgres"] = Field(description="The make of the warehouse.")
    url: SecretStr = Field(
        description="`postgresql://USER:PASSWORD@HOST:PORT/DATABASE`; use ${VARIABLE} for the password, or leave it to "
        "`~/.pgpass`. Directly to the server, not through a pooler that shares sessions."
    )
    lock_timeout_seconds: float = Field(default=30.0, gt=0, description="How long a write waits for a lock.")
    statement_timeout_seconds: float = Field(default=600.0, gt=0, description="How long one statement may take.")


Warehouse = Annotated[DuckDBWarehouse | PostgresWarehouse, Field(discriminator="kind")]


class Quality(Section):
    """How many bad rows may be set aside before a person must look."""

    max_failing_fraction: float = Field(
        default=0.01, ge=0, le=1, description="Distinct failing rows / batch rows, over all checks."
    )
    checks: dict[str, float] = Field(default_factory=dict, description="A tighter bound per check name.")


class Dataset(Section):
    """One dataset: what a source sends and what the stages read of it."""

    name: str = ""  # filled from the key
    pipeline: Name = Field(description="The pipeline that loads and reads it.")
    warehouse: Name = Field(description="The entry of `warehouses` that holds its tables.")
    landing: str = Field(description="schema.table that the extract loads, as the source sends it.")
    view: str | None = Field(
        default=None, description="schema.view, the contract view that stages read and that Mendline may redefine."
    )
    contract: Path | None = Field(default=None, description="The ODCS contract file, relative to mendline.yaml.")
    contract_schema: str | None = Field(
        default=None,
        description="The object in the contract's `schema` list; default: the only one, or the dataset's name.",
    )
    loaded_by: str | None = Field(default=None, description="The stage that loads the landing table.")
    read_by: tuple[str, ...] = Field(
        default=(), description="The stages that read it; default: the direct downstreams of `loaded_by`."
    )
    targets: tuple[str, ...] = Field(
        default=(), description="Tables that stages load from it and that Mendline may widen (additive DDL only)."
    )
    batch: str | None = Field(
        default=None,
        description="A SQL predicate that selects the current batch in a landing table that accumulates; default: the whole "
        "table. One by the latest day in it, `day = (SELECT max(day) FROM ...)`, cannot notice a day without rows.",
    )
    positional: bool | None = Field(
        default=None,
        description="true: values are put into the landing table, or from it into the targets, by position and not by name (CSV "
        "without names, `INSERT ... SELECT *`), so no change of columns is ever made up for. false: always by name. Default: not "
        "known, and looked for in the names and the values.",
    )
    source: Name | None = Field(default=None, description="The entry of `sources` it comes from.")
    quality: Quality = Quality()
    runbook: str | None = Field(default=None, description="A link; default: the contract's.")
