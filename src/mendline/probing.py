"""Asking a source whether it is well: one read, no redirect, nothing sent but what is configured."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from glob import glob
from typing import Any
from urllib.parse import urlsplit

import httpx

from mendline.config import Config, DatabaseSource, FileSource, HttpSource, Source
from mendline.tools.base import ToolContext

PERMANENT = frozenset({400, 401, 403, 404, 405, 410, 422})  # RFC 9110 section 15.5: the request itself must change
BODY_LIMIT = 4_096


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
    """Ask one source whether it is well: `healthy`, `detail`, `error` ("" when healthy) and what was measured."""
    if isinstance(source, HttpSource):
        return _probe_http(source)
    if isinstance(source, DatabaseSource):
        return _probe_database(source)
    return _probe_files(source, config)


def _probe_http(source: HttpSource) -> dict[str, Any]:
    started = time.monotonic()
    data: dict[str, Any] = {"url": _shown(source.url)}
    try:
        with (
            httpx.Client(timeout=source.timeout_seconds, follow_redirects=False) as client,
            client.stream("GET", source.url, headers=source.headers) as answer,
        ):
            body = b""
            for chunk in answer.iter_bytes():
                body += chunk
                if len(body) >= BODY_LIMIT:
                    break
            data |= {
                "status": answer.status_code,
                "content_type": answer.headers.get("content-type", ""),
                "retry_after_seconds": retry_after(answer.headers.get("retry-after")),
            }
            error = _complaint(source, answer.status_code, data["content_type"])
    except httpx.HTTPError as problem:
        error = f"{type(problem).__name__}: {problem}" if str(problem) else type(problem).__name__
    data["latency_ms"] = round((time.monotonic() - started) * 1000)
    detail = f"HTTP {data.get('status')} in {data['latency_ms']} ms"
    return data | {"healthy": not error, "error": error, "detail": detail}


def _complaint(source: HttpSource, status: int, content_type: str) -> str:
    if status >= 300:
        return f"HTTP {status}"
    if source.expect_content_type and source.expect_content_type not in content_type:
        return f"HTTP {status} but content type {content_type or 'none'}, expected {source.expect_content_type}"
    return ""


def retry_after(value: str | None) -> float | None:
    """Read a Retry-After header: seconds from now; None when absent or unreadable. Source: RFC 9110 section 10.2.3."""
    if not value:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (at - datetime.now(UTC)).total_seconds())


def _probe_database(source: DatabaseSource) -> dict[str, Any]:
    import sqlalchemy  # noqa: PLC0415 (only needed for this kind of source)

    try:
        url = sqlalchemy.make_url(source.url)
        if url.get_backend_name() == "sqlite" and url.database:  # a plain connect would create the missing file
            url = url.set(database=f"file:{url.database}", query={"mode": "ro", "uri": "true"})
        engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text("SELECT 1"))
    except (sqlalchemy.exc.SQLAlchemyError, ImportError) as problem:
        return {"healthy": False, "error": str(problem).splitlines()[0], "detail": ""}
    return {"healthy": True, "error": "", "detail": "the database answers"}


def _probe_files(source: FileSource, config: Config) -> dict[str, Any]:
    count = len(glob(str(config.root / source.path)))  # noqa: PTH207 (the pattern may be absolute)
    error = "" if count else f"no file matches `{source.path}`"
    return {"healthy": bool(count), "error": error, "detail": f"{count} files"}


def _shown(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()
