"""`mendline.yaml`, typed: every key, its meaning, its default; every error names its key."""

from mendline.config.datasets import Dataset, DuckDBWarehouse, PostgresWarehouse, Quality
from mendline.config.engines import Adjustment, DagsterEngine
from mendline.config.file import Config, load_config
from mendline.config.policy import Breaker, ChangeWindow, Policy, Rule
from mendline.config.service import Model, Notifications, Retry
from mendline.config.sources import BasicAuth, DatabaseSource, FileSource, HttpSource, NetworkSource, Source, TcpSource

__all__ = [
    "Adjustment",
    "BasicAuth",
    "Breaker",
    "ChangeWindow",
    "Config",
    "DagsterEngine",
    "DatabaseSource",
    "Dataset",
    "DuckDBWarehouse",
    "FileSource",
    "HttpSource",
    "Model",
    "NetworkSource",
    "Notifications",
    "Policy",
    "PostgresWarehouse",
    "Quality",
    "Retry",
    "Rule",
    "Source",
    "TcpSource",
    "load_config",
]
