"""The decision tree as data: which tools serve which failure type, in which order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from mendline.errors import ConfigError
from mendline.incident import FailureType, Finding

DIAGNOSTICS = frozenset({"inspect_schema_diff", "profile_failed_batch", "check_api_status"})
REPAIRS = frozenset({"apply_schema_migration", "apply_quality_filter", "retry_with_backoff"})
WITH_LOGGING = "reprocess_with_logging"
VERIFIERS = frozenset({"verify_pipeline_stage", WITH_LOGGING})
ALWAYS = frozenset({"retrieve_logs", "escalate"})
NOT_REPAIRS = DIAGNOSTICS | VERIFIERS | ALWAYS  # a policy may name them; they ask no permission of their own
BUILT_IN = Path(__file__).with_name("playbook.yaml")


@dataclass(frozen=True, kw_only=True)
class Page:
    """The steps for one failure type."""

    diagnostics: tuple[str, ...]
    repairs: tuple[str, ...]
    verifier: str


@dataclass(frozen=True, kw_only=True)
class Playbook:
    """One page per failure type."""

    pages: dict[FailureType, Page]

    def page(self, kind: FailureType) -> Page:
        """The page of one type; every type has one."""
        return self.pages[kind]

    def types_of(self, diagnostic: str) -> tuple[FailureType, ...]:
        """The types whose page asks for a diagnostic."""
        return tuple(kind for kind, page in self.pages.items() if diagnostic in page.diagnostics)

    def by_type(self, findings: Iterable[Finding]) -> dict[FailureType, list[Finding]]:
        """Findings under the types that their diagnostics serve."""
        sorted_out: dict[FailureType, list[Finding]] = {}
        for finding in findings:
            for kind in self.types_of(finding.tool):
                sorted_out.setdefault(kind, []).append(finding)
        return sorted_out


def load_playbook(path: Path | None = None) -> Playbook:
    """Read a playbook file (None: the built-in one); a type it leaves out keeps its built-in page.

    Raises: `ConfigError` for an unreadable file, an unknown type or an unknown tool.
    """
    pages = _pages(BUILT_IN)
    if path is not None:
        pages |= _pages(path)
    return Playbook(pages=pages)


def _pages(path: Path) -> dict[FailureType, Page]:
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"playbook `{path}` cannot be read: {' '.join(str(error).split())}") from error
    types = raw.get("types") if isinstance(raw, dict) else None
    if not isinstance(types, dict):
        raise ConfigError(f"playbook `{path}` must have a mapping `types:` from failure type to a list of tools")
    return {_type(name, path): _page(name, tools, path) for name, tools in types.items()}


def _type(name: object, path: Path) -> FailureType:
    try:
        return FailureType(str(name))
    except ValueError:
        known = ", ".join(FailureType)
        raise ConfigError(f"playbook `{path}` names the type `{name}`; the types are {known}") from None


def _page(name: object, tools: object, path: Path) -> Page:
    if not isinstance(tools, list):
        raise ConfigError(f"playbook `{path}`: `types.{name}` must be a list of tools")
    known = DIAGNOSTICS | REPAIRS | VERIFIERS | ALWAYS
    for tool in tools:
        if tool not in known:
            raise ConfigError(
                f"playbook `{path}`: `types.{name}` names `{tool}`; the tools are {', '.join(sorted(known))}"
            )
    verifiers = [tool for tool in tools if tool in VERIFIERS]
    return Page(
        diagnostics=tuple(tool for tool in tools if tool in DIAGNOSTICS),
        repairs=tuple(tool for tool in tools if tool in REPAIRS),
        verifier=verifiers[0] if verifiers else "verify_pipeline_stage",
    )
