"""Family + name -> plugin: what is built in, and what installed packages offer under `mendline.<family>`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from mendline.errors import ConfigError, PluginError

BUILT_IN: Mapping[str, Mapping[str, str]] = {
    "engines": {"dagster": "mendline.engines.dagster:Dagster"},
    "warehouses": {
        "duckdb": "mendline.warehouses.duckdb:from_config",
        "postgres": "mendline.warehouses.postgres:from_config",
    },
    "notifiers": {
        "console": "mendline.notifiers.console:from_config",
        "apprise": "mendline.notifiers.apprise:from_config",
    },
    "tools": {
        "inspect_schema_diff": "mendline.tools.inspect_schema_diff:InspectSchemaDiff",
        "profile_failed_batch": "mendline.tools.profile_failed_batch:ProfileFailedBatch",
        "check_api_status": "mendline.tools.check_api_status:CheckApiStatus",
        "apply_schema_migration": "mendline.tools.apply_schema_migration:ApplySchemaMigration",
        "apply_quality_filter": "mendline.tools.apply_quality_filter:ApplyQualityFilter",
        "retry_with_backoff": "mendline.tools.retry_with_backoff:RetryWithBackoff",
    },
}


def names(family: str) -> tuple[str, ...]:
    """The plugins of one family, sorted by name.

    Raises: `PluginError` for an unknown family, and when two packages offer the same name.
    """
    return tuple(_offers(family))


def load(family: str, name: str) -> Any:
    """Import one plugin; what it is (a class, a factory) is said by the family's `base.py`.

    Raises: `PluginError` when there is none of that name or it cannot be imported, with the reason.
    """
    offers = _offers(family)
    if name not in offers:
        raise PluginError(f"there is no plugin `{name}` among `{family}`; there are {', '.join(offers) or 'none'}")
    return _imported(family, offers[name])


def load_all(family: str) -> dict[str, Any]:
    """Import every plugin of one family, by name. One broken plugin stops it: it was installed to be used.

    Raises: `PluginError`.
    """
    return {name: _imported(family, offer) for name, offer in _offers(family).items()}


def _offers(family: str) -> dict[str, EntryPoint]:
    if family not in BUILT_IN:
        raise PluginError(f"there is no plugin family `{family}`; the families are {', '.join(sorted(BUILT_IN))}")
    group = f"mendline.{family}"
    offers = {name: EntryPoint(name, value, group) for name, value in BUILT_IN[family].items()}
    for offer in entry_points(group=group):
        if offer.name in offers:
            raise PluginError(
                f"plugin `{offer.name}` among `{family}` is offered twice: by `{offers[offer.name].value}` and"
                f" `{offer.value}`; uninstall one of the packages"
            )
        offers[offer.name] = offer
    return dict(sorted(offers.items()))


def _imported(family: str, offer: EntryPoint) -> Any:
    try:
        return offer.load()
    except ConfigError:  # it says itself what is missing
        raise
    # Whatever somebody else's module raises while it is imported is a broken plugin, not a broken Mendline.
    except Exception as error:
        raise PluginError(
            f"plugin `{offer.name}` among `{family}` (`{offer.value}`) cannot be loaded:"
            f" {type(error).__name__}: {error}; repair or uninstall its package"
        ) from error
