"""Tool `check_api_status`: does the source that a stage talks to answer, and as itself."""

from __future__ import annotations

from mendline.config import Source
from mendline.incident import FailureType, Finding, FindingVerdict
from mendline.probing import probe, stage_sources
from mendline.tools.base import ToolContext


class CheckApiStatus:
    """Probes the configured sources of the failed stages with one GET each; never follows a redirect."""

    name = "check_api_status"

    def run(self, context: ToolContext) -> tuple[Finding, ...]:
        """Give one finding per source, unhealthy ones first.

        `data`: source, healthy, and for HTTP url, status, latency_ms, content_type, retry_after_seconds, error. A source
        that answers now cannot refute a failure that the log shows (it may have been a passing one), so it is
        `cannot_tell`; it refutes only when the log itself does not speak of a network or HTTP failure.
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
        if not data["healthy"]:
            verdict = FindingVerdict.SUPPORTS
            summary = f"source `{name}` is not well: {data['error']}"
        elif context.classification.type is FailureType.API_FAILURE and context.classification.confidence >= 0.5:
            verdict = FindingVerdict.CANNOT_TELL
            summary = f"source `{name}` answers now ({data['detail']}); the failure in the log may have passed"
        else:
            verdict = FindingVerdict.REFUTES
            summary = f"source `{name}` answers ({data['detail']})"
        return Finding(tool=self.name, verdict=verdict, summary=summary, dataset=dataset, data=data)
