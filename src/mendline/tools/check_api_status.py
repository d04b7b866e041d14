"""Tool `check_api_status`: does the source that a stage talks to answer, and as itself."""

from __future__ import annotations

from typing import Any

from mendline.config import FileSource, Source
from mendline.incident import FailureType, Finding, FindingVerdict
from mendline.probing import probe, read_status_page, stage_sources
from mendline.tools.base import ToolContext

ALL_WELL = "none"
INCIDENT = ("major", "critical", "maintenance")


class CheckApiStatus:
    """Probes the configured sources of the failed stages, layer by layer: name, connection, certificate, answer.

    Nothing but what `sources` names is asked: no redirect is followed, no proxy of the environment used.
    """

    name = "check_api_status"

    def run(self, context: ToolContext) -> tuple[Finding, ...]:
        """Give one finding per source, unhealthy ones first.

        `data`: source, what `probing.probe` measured, and status_page (what `probing.read_status_page` read) where one is
        configured. A source that answers now cannot refute a failure that the log shows (it may have been a passing one),
        so it is `cannot_tell`; it refutes only when the log itself does not speak of a network or HTTP failure. An incident
        on the status page supports, a minor one keeps from refuting; that all is well there refutes nothing by itself.
        """
        sources = tuple(stage_sources(context))
        if not sources:
            return (
                Finding(
                    tool=self.name,
                    verdict=FindingVerdict.CANNOT_TELL,
                    summary="no source is configured for the failed stage, so none was probed",
                ),
            )
        findings = [self._finding(context, name, dataset, source) for name, dataset, source in sources]
        return tuple(sorted(findings, key=lambda finding: bool(finding.data["healthy"])))

    def _finding(self, context: ToolContext, name: str, dataset: str | None, source: Source) -> Finding:
        data = {"source": name, **probe(source, context.services.config)}
        if not isinstance(source, FileSource) and source.status_page:
            data["status_page"] = read_status_page(source)
        summary = f"source `{name}` {_account(data, context)}{_page_account(data.get('status_page'))}"
        return Finding(tool=self.name, verdict=_verdict(data, context), summary=summary, dataset=dataset, data=data)


def _verdict(data: dict[str, Any], context: ToolContext) -> FindingVerdict:
    indicator = data.get("status_page", {}).get("indicator", "")
    if not data["was_asked"]:
        return FindingVerdict.SUPPORTS if indicator in INCIDENT else FindingVerdict.CANNOT_TELL
    if not data["healthy"] or indicator in INCIDENT:
        return FindingVerdict.SUPPORTS
    if _speaks_of_it(context) or indicator not in ("", ALL_WELL):
        return FindingVerdict.CANNOT_TELL
    return FindingVerdict.REFUTES


def _speaks_of_it(context: ToolContext) -> bool:
    return context.classification.type is FailureType.API_FAILURE and context.classification.confidence >= 0.5


def _account(data: dict[str, Any], context: ToolContext) -> str:
    if not data["healthy"]:
        found = "is not well" if data["was_asked"] else "could not be asked"
        return f"{found}: {data['error']}; {data['advice']}"
    if _speaks_of_it(context):
        return f"answers now ({data['detail']}); the failure in the log may have passed"
    return f"answers ({data['detail']})"


def _page_account(page: dict[str, Any] | None) -> str:
    if page is None:
        return ""
    if page["error"]:
        return f"; its status page could not be read ({page['error']})"
    if not page["indicator"]:
        return "; its status page answers, but says nothing that is understood"
    if page["indicator"] == ALL_WELL:
        return "; its status page says that all is well"
    kind = "maintenance" if page["indicator"] == "maintenance" else f"a {page['indicator']} incident"
    return f'; its status page tells of {kind}: "{page["description"]}"'
