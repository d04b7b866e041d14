"""The whole of `mendline.yaml`: read, filled from the environment, checked."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from mendline.config.datasets import Dataset, Warehouse
from mendline.config.engines import DagsterEngine, Pipeline
from mendline.config.policy import Policy
from mendline.config.section import Name, Section
from mendline.config.service import Model, Monitor, Notifications, Redaction, Retry, State
from mendline.config.sources import Source
from mendline.errors import ConfigError

ON_OFF = {True: "on", False: "off"}  # YAML reads a bare key `on` as true


ENVIRONMENT = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


class Config(Section):
    """The whole of `mendline.yaml`."""

    version: Literal[1] = Field(default=1, description="The version of this format.")
    root: Path = Field(default=Path(), exclude=True)
    state: State = State()
    engines: dict[Name, DagsterEngine]
    pipelines: dict[Name, Pipeline]
    warehouses: dict[Name, Warehouse] = Field(default_factory=dict)
    sources: dict[Name, Source] = Field(default_factory=dict)
    datasets: dict[Name, Dataset] = Field(default_factory=dict)
    policy: Policy = Policy()
    retry: Retry = Retry()
    monitor: Monitor = Monitor()
    notifications: Notifications = Notifications()
    model: Model | None = None
    redaction: Redaction = Redaction()
    playbook: Path | None = Field(default=None, description="A playbook.yaml that replaces the built-in decision tree.")

    def path(self, value: Path | str) -> Path:
        """A path of the file, absolute: relative ones are relative to mendline.yaml."""
        return (self.root / Path(value).expanduser()).resolve()

    @property
    def state_file(self) -> Path:
        """The state database's file, where it is one."""
        return self.path(self.state.directory) / "state.db"

    @property
    def server_url(self) -> str | None:
        """The URL of the state database's server, with its password; None where it is a file."""
        return self.state.database.get_secret_value() if self.state.database else None

    @property
    def state_url(self) -> str:
        """The URL of the state database, as SQLAlchemy reads it."""
        return self.server_url or f"sqlite:///{self.state_file}"

    def pipeline_datasets(self, pipeline: str) -> tuple[Dataset, ...]:
        """The datasets of one pipeline, in the file's order."""
        return tuple(dataset for dataset in self.datasets.values() if dataset.pipeline == pipeline)

    def pipeline_of_job(self, engine: str, job: str) -> str | None:
        """The pipeline that a job of an engine is known by here; None when it is not watched."""
        for name, pipeline in self.pipelines.items():
            if pipeline.engine == engine and (pipeline.job or name) == job:
                return name
        return None

    @model_validator(mode="after")
    def _references(self) -> Config:
        def known(where: str, key: str | None, among: dict[str, Any]) -> None:
            if key is not None and key not in among:
                names = ", ".join(sorted(among)) or "none"
                raise ValueError(f"`{where}` names `{key}`, which is not defined (there are: {names})")

        for name, pipeline in self.pipelines.items():
            known(f"pipelines.{name}.engine", pipeline.engine, self.engines)
            for stage, source in pipeline.stage_sources.items():
                known(f"pipelines.{name}.stage_sources.{stage}", source, self.sources)
        for name, dataset in self.datasets.items():
            known(f"datasets.{name}.pipeline", dataset.pipeline, self.pipelines)
            known(f"datasets.{name}.warehouse", dataset.warehouse, self.warehouses)
            known(f"datasets.{name}.source", dataset.source, self.sources)
        return self


def load_config(path: Path) -> Config:
    """Read `mendline.yaml`, with `${VARIABLE}` and `${VARIABLE:-default}` filled from the environment.

    Raises: `ConfigError` with the file, the key and the next step, for every way in which it can be wrong.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"`{path}` does not exist; give the file with `--config FILE` or write one (see README.md)"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"`{path}` cannot be read: {error}; check the file and its permissions") from error
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"`{path}` is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict):
        raise ConfigError(
            f"`{path}` must be a mapping with the keys `engines`, `pipelines` ...; found {type(raw).__name__}"
        )
    return _validated(_filled(raw, str(path)), path)


def _validated(raw: dict[str, Any], path: Path) -> Config:
    raw = dict(raw, root=path.resolve().parent)
    datasets = raw.get("datasets")
    if isinstance(datasets, dict):
        raw["datasets"] = {
            name: dict(body, name=name) if isinstance(body, dict) else body for name, body in datasets.items()
        }
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "(the file)"
        more = f" ({error.error_count() - 1} more like it)" if error.error_count() > 1 else ""
        message = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"`{path}`: key `{key}`: {message}{more}; correct it and run `mendline check`") from error


def _filled(value: Any, where: str) -> Any:
    if isinstance(value, dict):
        return {ON_OFF[key] if isinstance(key, bool) else key: _filled(item, where) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, where) for item in value]
    if isinstance(value, str):
        return ENVIRONMENT.sub(lambda match: _variable(match, where), value)
    return value


def _variable(match: re.Match[str], where: str) -> str:
    name, default = match.group(1), match.group(2)
    found = os.environ.get(name, default)
    if found is None:
        raise ConfigError(f"`{where}` uses `${{{name}}}`, which is not set in the environment; set it and start again")
    return found
