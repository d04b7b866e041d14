"""The benches on which the repairs are tried: every claim on every warehouse."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from contracts.bench import Bench, DuckDBBench, PostgresBench
from postgres_server import PostgresServer


@pytest.fixture(scope="session")
def repairs_database(postgres_server: PostgresServer) -> str:
    """One database for all repairs: a bench empties its schemas, which is quicker than a database of its own."""
    return postgres_server.create_database()


BENCHES: dict[str, Callable[[pytest.FixtureRequest, Path], Bench]] = {
    "duckdb": lambda request, directory: DuckDBBench(directory / "w.duckdb"),
    "postgres": lambda request, directory: PostgresBench(request.getfixturevalue("repairs_database")),
}


@pytest.fixture(params=sorted(BENCHES))
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    made: Bench = BENCHES[request.param](request, tmp_path)
    yield made
    made.warehouse.close()
