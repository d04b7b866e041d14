"""The sources of the failed stages, and whether one is well."""

from __future__ import annotations

import time
from collections.abc import Iterator
from glob import glob
from typing import Any

import httpx

from mendline.config import BasicAuth, Config, DatabaseSource, FileSource, HttpSource, Source, TcpSource
from mendline.probing.answers import judge, note_head
from mendline.probing.certificates import Handshake
from mendline.probing.connection import dial
from mendline.probing.database import probe_database
from mendline.probing.deadline import Deadline, Facts, Stopped, elapsed_ms
from mendline.probing.http import Question, basic
from mendline.tools.base import ToolContext

ENOUGH_BYTES = 4_096  # of a body: so many arrive only where the source works
FILES_TIMEOUT_SECONDS = 10.0
SOON_DAYS = 14


def stage_sources(context: ToolContext) -> Iterator[tuple[str, str | None, Source]]:
    """Give (source name, dataset name, source) of everything the failed stages talk to themselves, each once."""
    config, stages = context.services.config, set(context.incident.stages)
    seen: set[str] = set()
    for dataset in context.datasets:
        if dataset.source and dataset.loaded_by in stages and dataset.source not in seen:
            seen.add(dataset.source)
            yield dataset.source, dataset.name, config.sources[dataset.source]
    for stage, name in config.pipelines[context.incident.pipeline].stage_sources.items():
        if stage in stages and name not in seen:
            seen.add(name)
            yield name, None, config.sources[name]


def probe(source: Source, config: Config) -> dict[str, Any]:
    """Ask one source whether it is well, with its own credentials, within its `timeout_seconds`; never raises for it.

    Always there: healthy, layer (where the way ended: dns, tcp, proxy, tls, http, database, file; "" when healthy), error and
    advice ("" when healthy), detail ("" when not), permanent (no retry can heal it), needed (what must change, "" where waiting
    may do), was_asked (False: Mendline could not ask, nothing is known), latency_ms. As far as the way was gone: host, port,
    addresses, address, dns_ms, tcp_ms, tls_ms, tls_version, certificate_expires_at, certificate_days_left; of HTTP also url
    (scheme and host only), proxy, http_ms (to the first byte), status, content_type, retry_after_seconds, rate_limit,
    redirect_to. Nothing of a body or of a credential.
    """
    facts: Facts = {}
    started_s = time.monotonic()
    try:
        detail = _examine(source, config, facts)
        verdict = _verdict(healthy=True, detail=f"{detail}{_expiry(facts)}")
    except Stopped as stop:
        verdict = _verdict(
            healthy=False,
            layer=stop.layer,
            error=stop.found,
            advice=stop.advice,
            needed=stop.needed,
            permanent=bool(stop.needed),
            was_asked=stop.was_asked,
        )
    return facts | {"latency_ms": elapsed_ms(started_s)} | verdict


def _verdict(**known: Any) -> dict[str, Any]:
    nothing = {
        "layer": "",
        "error": "",
        "advice": "",
        "detail": "",
        "needed": "",
        "permanent": False,
        "was_asked": True,
    }
    return nothing | known


def _expiry(facts: Facts) -> str:
    days = facts.get("certificate_days_left")
    return f"; its certificate expires in {days} days" if days is not None and days < SOON_DAYS else ""


def _examine(source: Source, config: Config, facts: Facts) -> str:
    """Go the whole way; gives what it did. Raises: `Stopped`."""
    if isinstance(source, HttpSource):
        return _examine_http(source, config, facts)
    if isinstance(source, TcpSource):
        return _examine_tcp(source, config, facts)
    if isinstance(source, DatabaseSource):
        return probe_database(source, facts)
    return _examine_files(source, config)


def _examine_http(source: HttpSource, config: Config, facts: Facts) -> str:
    try:
        url = httpx.URL(source.url.get_secret_value())
        proxy = httpx.URL(source.proxy.get_secret_value()) if source.proxy else None
    except httpx.InvalidURL as error:
        raise Stopped("http", "HTTP: `url` or `proxy` is no URL", "correct it in `sources`", was_asked=False) from error
    question = Question(
        url=url.copy_with(username=None, password=None),
        deadline=Deadline.after(source.timeout_seconds),
        headers=_headers(source, url),
        proxy=proxy,
        ca_file=config.path(source.ca_file) if source.ca_file else None,
    )
    answer = question.ask(facts, ENOUGH_BYTES)
    note_head(answer.status, answer.headers, facts)
    judge(answer.headers, facts, source.expect_content_type)
    return f"HTTP {answer.status} in {facts['http_ms']} ms"


def _headers(source: HttpSource, url: httpx.URL) -> dict[str, str]:
    headers = {name: value.get_secret_value() for name, value in source.headers.items()}
    if isinstance(source.auth, BasicAuth):
        headers["Authorization"] = basic(source.auth.username, source.auth.password.get_secret_value())
    elif source.auth is not None:
        headers["Authorization"] = f"Bearer {source.auth.token.get_secret_value()}"
    elif url.username or url.password:
        headers["Authorization"] = basic(url.username, url.password)
    return headers


def _examine_tcp(source: TcpSource, config: Config, facts: Facts) -> str:
    deadline = Deadline.after(source.timeout_seconds)
    if not source.tls:
        dial(source.host, source.port, deadline, facts).close()
        return f"{facts['address']}:{source.port} takes connections"
    Handshake(
        host=source.host,
        dial=lambda: dial(source.host, source.port, deadline, facts),
        deadline=deadline,
        facts=facts,
        ca_file=config.path(source.ca_file) if source.ca_file else None,
    ).secured().close()
    return f"{facts['address']}:{source.port} takes {facts['tls_version']} connections"


def _examine_files(source: FileSource, config: Config) -> str:
    pattern = str(config.root / source.path)
    try:
        count = len(Deadline.after(FILES_TIMEOUT_SECONDS).call(lambda: glob(pattern)))  # noqa: PTH207 (it may be absolute)
    except TimeoutError as error:
        message = f"the files of `{source.path}` could not be listed within {FILES_TIMEOUT_SECONDS:g} s"
        raise Stopped("file", message, "look at the mount; it may pass") from error
    if not count:
        raise Stopped("file", f"no file matches `{source.path}`", "it may still be delivered")
    return f"{count} files"
