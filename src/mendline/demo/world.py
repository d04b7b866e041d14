"""One retailer's world on disk: six source systems, a warehouse, an engine's home, and the settings they share."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any
from uuid import uuid4

import yaml

from mendline.demo import generate
from mendline.demo.launcher import Launch, shared_launcher
from mendline.demo.servers.carrier import CarrierServer
from mendline.demo.servers.crm import CrmServer
from mendline.demo.warm_python import write_client

DEFAULT_FIRST_DAY = date(2026, 3, 2)


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """How one scheduled run ended; `signal` is the signal that killed its process, None when it ended by itself."""

    run_id: str
    day: date
    succeeded: bool
    signal: int | None
    seconds: float
    peak_rss_mb: float


@dataclass(frozen=True, kw_only=True)
class Servers:
    """The two API servers of a world while they are open; set `behaviour` or `change_record` to make one misbehave."""

    crm: CrmServer
    carrier: CarrierServer


class World:
    """A directory in which one retailer lives; nothing is held open between calls.

    Everything a fault may change is a file here or a server given by `open_servers()`:
    - `orders_db` (SQLite, table `orders`; the declared types decide how its columns land: INTEGER is 32 bits wide, BIGINT
      64), `customers_file(day)` and `shipments_file(day)` (Parquet that the API servers
      serve; shipments nested as the API shows them), `events_file(day)` (gzipped JSON Lines), `products_file(day)`
      (Parquet), `payments_file(day)` (CSV with header and trailer);
    - `world.yaml` through `settings()` and `update_settings()`: what the pipeline reads at the start of every stage
      (`duckdb.memory_limit`, `duckdb.max_temp_directory_size`, `http.timeout_seconds`, `retry.delay_seconds`, ...);
    - `deploy/<stage>.py` (`deployed(stage)`): a newer release of one stage, a file with a function of the stage's name
      that takes a `StageContext` and gives the rows written; while the file is there it runs in place of the built-in.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory.resolve()
        self.settings_file = self.directory / "world.yaml"
        self.config_file = self.directory / "mendline.yaml"
        self.warehouse = self.directory / "warehouse.duckdb"
        self.dagster_home = self.directory / "dagster_home"
        self.state = self.directory / ".mendline"
        self.sources = self.directory / "sources"
        self.orders_db = self.sources / "orders.db"

    def customers_file(self, day: date) -> Path:
        """The customers that the CRM knows on `day`."""
        return self.sources / "crm" / f"customers_{day}.parquet"

    def shipments_file(self, day: date) -> Path:
        """The shipments that the carrier's API gives for `day`."""
        return self.sources / "carrier" / f"shipments_{day}.parquet"

    def events_file(self, day: date) -> Path:
        """The first part of the day's web events."""
        return self.sources / "events" / f"dt={day}" / "part-0000.jsonl.gz"

    def products_file(self, day: date) -> Path:
        """The catalogue as of `day`."""
        return self.sources / "catalogue" / f"products_{day}.parquet"

    def payments_file(self, day: date) -> Path:
        """The partner's payments file of `day`."""
        return self.sources / "drop" / f"payments_{day}.csv"

    def deployed(self, stage: str) -> Path:
        """Where a newer release of one stage is deployed; usually there is none."""
        return self.directory / "deploy" / f"{stage}.py"

    @property
    def seed(self) -> int:
        return int(self.settings()["seed"])

    @property
    def scale(self) -> float:
        return float(self.settings()["scale"])

    @property
    def first_day(self) -> date:
        return date.fromisoformat(self.settings()["first_day"])

    def day(self, number: int) -> date:
        """The business day of that number, from 1."""
        return self.first_day + timedelta(days=number - 1)

    def settings(self) -> dict[str, Any]:
        """The contents of `world.yaml`."""
        found = yaml.safe_load(self.settings_file.read_text(encoding="utf-8"))
        assert isinstance(found, dict)
        return found

    def update_settings(self, changes: Mapping[str, Any]) -> None:
        """Merge `changes` into `world.yaml`, nested mappings too; readers see the old file or the new one."""
        self._write(self.settings_file, yaml.safe_dump(_merged(self.settings(), changes), sort_keys=False))

    def clone(self, to: Path) -> World:
        """Copy this world, engine history and Mendline's record included, to a directory that does not exist yet.

        Nothing may be running in this world meanwhile.
        """
        shutil.copytree(self.directory, to)
        copy = World(to)
        copy.write_config()
        return copy

    def write_config(self) -> None:
        """Write `mendline.yaml` for this directory and the servers' present addresses."""
        settings = self.settings()
        template = Template(_resource("mendline.template.yaml"))
        text = template.substitute(
            world=self.directory,
            crm_url=settings["crm"]["url"],
            crm_token=settings["crm"]["monitoring_token"],
            carrier_url=settings["carrier"]["url"],
            carrier_key=settings["carrier"]["api_key"],
            first_day=settings["first_day"],
        )
        self._write(self.config_file, text)
        write_client(self.directory / "warm-python")

    @contextmanager
    def open_servers(self) -> Iterator[Servers]:
        """Serve both APIs on free loopback ports until the block ends; the addresses go into both YAML files."""
        settings = self.settings()
        with ExitStack() as stack:
            crm = stack.enter_context(CrmServer(self.sources / "crm", settings["crm"]))
            carrier = stack.enter_context(CarrierServer(self.sources / "carrier", settings["carrier"]))
            self.update_settings({"crm": {"url": crm.url}, "carrier": {"url": carrier.url}})
            self.write_config()
            yield Servers(crm=crm, carrier=carrier)

    def run_day(
        self,
        day: date,
        *,
        limits: Mapping[int, int] | None = None,
        env: Mapping[str, str] | None = None,
        stages: tuple[str, ...] = (),
        on_start: Callable[[int], None] | None = None,
        timeout_s: float = 600.0,
    ) -> RunResult:
        """Run the day's partition as a scheduler would, in a process of its own, and wait for the end.

        `limits` maps `resource.RLIMIT_*` to a soft and hard limit of that process; `env` is added to its environment.
        `stages` selects some stages only (empty: all). `on_start` is called with the process id as soon as it is known.
        Needs open servers unless no API is read. Safe to call from several threads.

        Raises: `TimeoutError` after `timeout_s` seconds; the process is killed then.
        """
        run_id = str(uuid4())
        launch = Launch(
            world=str(self.directory),
            dagster_home=str(self.dagster_home),
            day=day.isoformat(),
            run_id=run_id,
            limits={str(key): value for key, value in (limits or {}).items()},
            env=dict(env or {}),
            stages=stages,
        )
        ended = shared_launcher().run(launch, on_start=on_start, timeout_s=timeout_s)
        return RunResult(
            run_id=run_id,
            day=day,
            succeeded=ended.exit_code == 0,
            signal=-ended.exit_code if ended.exit_code < 0 else None,
            seconds=ended.seconds,
            peak_rss_mb=ended.peak_rss_mb,
        )

    def _write(self, path: Path, text: str) -> None:
        temporary = path.with_name(f".{path.name}.{uuid4().hex}")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)


def create_world(
    directory: Path,
    *,
    seed: int = 1,
    scale: float = 0.01,
    first_day: date = DEFAULT_FIRST_DAY,
    days: int = 3,
) -> World:
    """Make a world in a new or empty directory: settings, warehouse, engine home, contracts, `days` days of sources.

    Deterministic from `seed`, `scale` and the days: the same arguments give the same sources, to the byte of a value.
    """
    directory.mkdir(parents=True, exist_ok=True)
    world = World(directory)
    for folder in (world.dagster_home, world.directory / "contracts", world.directory / "deploy"):
        folder.mkdir(exist_ok=True)
    settings = yaml.safe_load(_resource("world.yaml"))
    settings.update(seed=seed, scale=scale, first_day=first_day.isoformat())
    world._write(world.settings_file, yaml.safe_dump(settings, sort_keys=False))
    world._write(world.dagster_home / "dagster.yaml", _resource("dagster.yaml"))
    for contract in files("mendline.demo").joinpath("contracts").iterdir():
        world._write(world.directory / "contracts" / contract.name, contract.read_text(encoding="utf-8"))
    world.write_config()
    generate.create_warehouse(world.warehouse, _resource("sql/warehouse.sql"))
    for number in range(1, days + 1):
        generate.generate_day(_inputs(world, seed, scale, number))
    return world


def _inputs(world: World, seed: int, scale: float, number: int) -> generate.DayOfSources:
    day = world.day(number)
    return generate.DayOfSources(
        seed=seed,
        scale=scale,
        number=number,
        day=day,
        orders_db=world.orders_db,
        customers=world.customers_file(day),
        events=world.events_file(day),
        products=world.products_file(day),
        payments=world.payments_file(day),
        shipments=world.shipments_file(day),
    )


def _merged(old: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(old)
    for key, value in changes.items():
        before = result.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            value = _merged(before, value)  # noqa: PLW2901 - the nested mapping takes the value's place
        result[key] = value
    return result


def _resource(name: str) -> str:
    return files("mendline.demo").joinpath(name).read_text(encoding="utf-8")
