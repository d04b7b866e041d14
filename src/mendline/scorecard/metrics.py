"""The scorecard as Prometheus metrics, read from the record at each scrape: counters survive a restart."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from mendline.errors import ConfigError, Unavailable
from mendline.scorecard.score import (
    Score,
    actions,
    believed_type,
    is_open,
    resolution_seconds,
    scorecard,
)
from mendline.stores.base import IncidentRecord

ReadRecords = Callable[[], Iterable[IncidentRecord]]
PHASE_BUCKETS_S = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
RESOLUTION_BUCKETS_S = (5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 28_800.0)
LOOPBACK = "127.0.0.1"


class ScorecardCollector(Collector):
    """All metrics, computed from the records that `read` gives.

    A ratio without data has no sample, rather than 0. A state database that does not answer gives `mendline_store_up 0`
    and nothing else.
    """

    def __init__(self, read: ReadRecords) -> None:
        self._read = read

    def describe(self) -> Iterable[Metric]:
        """Nothing: the names are known without reading the record."""
        return ()

    def collect(self) -> Iterator[Metric]:
        try:
            records = tuple(self._read())
        except Unavailable:
            yield GaugeMetricFamily("mendline_store_up", "Whether the state database answers.", value=0)
            return
        yield GaugeMetricFamily("mendline_store_up", "Whether the state database answers.", value=1)
        yield from _counts(records)
        yield from _ratios(records)
        yield from _histograms(records)


def registry(read: ReadRecords) -> CollectorRegistry:
    """A registry of its own with the scorecard's metrics; `read` is called at every scrape, on the scraper's thread."""
    own = CollectorRegistry(auto_describe=False)
    own.register(ScorecardCollector(read))
    return own


@dataclass(frozen=True, kw_only=True)
class MetricsServer:
    """A running endpoint; `close` ends it."""

    port: int
    server: WSGIServer
    thread: threading.Thread

    def close(self) -> None:
        """Stop answering and free the port."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(timeout=5)


def serve_metrics(port: int, read: ReadRecords) -> MetricsServer:
    """Answer scrapes on this loopback port (0: any free one), on a thread of its own.

    Raises: `ConfigError` when the port cannot be had.
    """
    try:
        server, thread = start_http_server(port, addr=LOOPBACK, registry=registry(read))
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"port {port} of {LOOPBACK} cannot be had for metrics: {error}; set another `state.metrics_port`"
        ) from error
    return MetricsServer(port=server.server_port, server=server, thread=thread)


def _counts(records: Sequence[IncidentRecord]) -> Iterator[Metric]:
    ended = CounterMetricFamily("mendline_incidents", "Incidents that ended.", labels=["type", "outcome"])
    closed = Counter(
        (str(believed_type(record)), str(record.outcome.kind))
        for record in records
        if record.outcome is not None and not is_open(record)
    )
    for labels, count in sorted(closed.items()):
        ended.add_metric(labels, count)
    yield ended
    yield GaugeMetricFamily("mendline_incidents_open", "Incidents in work.", value=sum(map(is_open, records)))
    repairs = CounterMetricFamily("mendline_repairs", "Repairs applied.", labels=["repair", "result"])
    applied = Counter(
        (action.repair, str(action.state) if action.state is not None else "unverified")
        for record in records
        for action in actions(record)
    )
    for labels, count in sorted(applied.items()):
        repairs.add_metric(labels, count)
    yield repairs
    total = scorecard(records).total
    # Gauges: a person may take back a "harmed".
    yield GaugeMetricFamily(
        "mendline_wrong_actions", "Repairs that did not fix, made worse or harmed.", value=total.wrong_action_count
    )
    yield GaugeMetricFamily(
        "mendline_harmful_actions", "Repairs that made worse or harmed.", value=total.harmful_action_count
    )


def _ratios(records: Sequence[IncidentRecord]) -> Iterator[Metric]:
    card = scorecard(records)
    groups: dict[str, Score] = {"all": card.total} | {str(kind): score for kind, score in card.by_type.items()}
    wanted: tuple[tuple[str, str, Callable[[Score], float | None]], ...] = (
        ("mendline_accuracy_ratio", "Types judged right / judged.", lambda score: score.accuracy),
        ("mendline_automation_ratio", "Resolved without a person / ended by us.", lambda score: score.automation_rate),
        ("mendline_repair_success_ratio", "Verified fixed / applied.", lambda score: score.repair_success_rate),
    )
    for name, meaning, of in wanted:
        family = GaugeMetricFamily(name, meaning, labels=["type"])
        for group, score in groups.items():
            value = of(score)
            if value is not None:
                family.add_metric([group], value)
        yield family
    if card.calibration_error is not None:
        yield GaugeMetricFamily(
            "mendline_calibration_error", "Mean distance of confidence and accuracy.", value=card.calibration_error
        )


def _histograms(records: Sequence[IncidentRecord]) -> Iterator[Metric]:
    resolution = HistogramMetricFamily("mendline_resolution_seconds", "From failure to resolution.", labels=["type"])
    by_type: dict[str, list[float]] = {}
    for record in records:
        seconds = resolution_seconds(record)
        if seconds is not None:
            by_type.setdefault(str(believed_type(record)), []).append(seconds)
    for kind, observed in sorted(by_type.items()):
        resolution.add_metric([kind], _buckets(observed, RESOLUTION_BUCKETS_S), sum(observed))
    yield resolution
    phases = HistogramMetricFamily(
        "mendline_phase_seconds", "Seconds spent per phase of an incident.", labels=["phase"]
    )
    by_phase: dict[str, list[float]] = {}
    for record in records:
        if record.outcome is not None:
            for phase, spent in record.outcome.seconds.items():
                by_phase.setdefault(phase, []).append(spent)
    for phase, observed in sorted(by_phase.items()):
        phases.add_metric([phase], _buckets(observed, PHASE_BUCKETS_S), sum(observed))
    yield phases


def _buckets(observed: Sequence[float], bounds: Sequence[float]) -> list[tuple[str, float]]:
    # Prometheus buckets are cumulative and closed above: le="1.0" counts 1.0.
    counts = [0] * (len(bounds) + 1)
    for value in observed:
        counts[bisect_left(bounds, value)] += 1
    cumulative, so_far = [], 0
    for bound, count in zip([*map(str, bounds), "+Inf"], counts, strict=True):
        so_far += count
        cumulative.append((bound, float(so_far)))
    return cumulative
