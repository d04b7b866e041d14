"""The metrics endpoint: on loopback only, with an end, and clear when it cannot begin."""

from __future__ import annotations

import socket

import httpx
import pytest

from mendline.errors import ConfigError
from mendline.scorecard.metrics import serve_metrics
from mendline.testing.memory_store import MemoryStore
from mendline.testing.values import an_incident, an_outcome


def test_a_scrape_sees_the_record_of_that_moment() -> None:
    store = MemoryStore()
    server = serve_metrics(0, store.incidents)
    try:
        url = f"http://127.0.0.1:{server.port}/metrics"
        assert "mendline_incidents_open 0.0" in httpx.get(url, trust_env=False).text
        store.open_incident(an_incident("a"))
        assert "mendline_incidents_open 1.0" in httpx.get(url, trust_env=False).text
        store.close_incident("1", an_outcome(), "")
        answer = httpx.get(url, trust_env=False)
        assert answer.status_code == 200
        assert 'mendline_incidents_total{outcome="resolved",type="SCHEMA_CHANGE"} 1.0' in answer.text
        assert server.server.server_address[0] == "127.0.0.1"
    finally:
        server.close()
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, trust_env=False)


def test_a_taken_port_is_a_config_error_that_names_the_key() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match=r"`state\.metrics_port`"):
            serve_metrics(taken.getsockname()[1], tuple)
