"""PostgreSQL: the other side does not answer as it should."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

from corpus.lab.bench import Bench, free_port
from corpus.lab.services import postgres, web
from corpus.lab.services.postgres import Server
from corpus.lab.systems.postgres.worlds import CLINICS, DESK, LOANS, METERS, case, env, page_of, sql

LIMITED = web.Reply(429, {"error": "too many requests", "limit": 60}, {"Retry-After": "0"})
GONE = web.Reply(410, {"error": "v2 was retired on 2026-11-20", "see": "/v3/cases"})
SIGN_IN = web.Reply(
    200,
    "<!doctype html><html><head><title>Sign in</title></head><body>...</body></html>",
    {"Content-Type": "text/html"},
)
EXPIRED = web.Reply(
    401, {"error": "invalid_token"}, {"WWW-Authenticate": 'Bearer error="invalid_token", error_description="expired"'}
)


def _silent(bench: Bench, server: Server) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    bench.on_exit(listener.close)
    bench.env["DATABASE_URL"] = server.url.replace(str(server.port), str(listener.getsockname()[1]))


def _web_instead(bench: Bench, server: Server) -> None:
    server.stop()
    listener = socket.create_server(("127.0.0.1", server.port))

    def answer() -> None:
        with suppress(OSError):
            while True:
                caller, _ = listener.accept()
                caller.recv(8)
                caller.sendall(b"HTTP/1.1 400 Bad Request\r\nServer: nginx/1.24.0\r\nConnection: close\r\n\r\n")
                caller.close()

    threading.Thread(target=answer, daemon=True).start()
    bench.on_exit(listener.close)
    bench.on_exit(lambda: listener.shutdown(socket.SHUT_RDWR))


def _shutting_down(bench: Bench, server: Server) -> None:
    postgres.session(bench, *server.socket("postgres", "postgres"))
    server.signal("TERM")


def _crash(bench: Bench, server: Server) -> None:
    bench.env.update(LOG_LEVEL="DEBUG")
    server.when_waiting(bench, "lending.reader", lambda: server.stop("immediate"))


def _terminate(server: Server) -> object:
    return server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'etl'")


CASES = (
    case(
        "server_away",
        "refused",
        "the database server is down",
        METERS,
        lambda bench, server: server.stop(),
        language="fr",
    ),
    case(
        "server_shutting_down",
        "outage",
        "the server is being shut down for maintenance and takes no sessions",
        CLINICS,
        _shutting_down,
        language="de",
    ),
    case(
        "server_name_unknown",
        "dns",
        "the name of the server does not resolve",
        CLINICS,
        env(PGHOST="pg-clinics-primary.invalid"),
    ),
    case(
        "password_expired",
        "credentials",
        "the password of our role was valid until yesterday",
        METERS,
        sql("ALTER ROLE etl VALID UNTIL '2026-11-21'"),
        language="ru",
    ),
    case("server_silent", "slow", "the server accepts connections and says nothing", DESK, _silent),
    case(
        "page_instead_of_server",
        "protocol",
        "a web proxy answers on the server's port",
        LOANS,
        _web_instead,
        trap="talks of SSL",
    ),
    case(
        "session_ended_by_their_admin",
        "reset",
        "the database team ended our session",
        CLINICS,
        lambda bench, server: server.when_waiting(bench, "practice", lambda: _terminate(server)),
        trap="in the midst of our own statement, after a good beginning",
        subtype="connection_lost",
        language="zh",
    ),
    case(
        "server_crashed",
        "reset",
        "the server crashed while the loans were counted",
        LOANS,
        _crash,
        trap="far from the start, after hundreds of debug lines",
        subtype="connection_lost",
    ),
    case(
        "desk_rate_limited",
        "rate_limit",
        "the desk allows us no more requests",
        DESK,
        lambda bench, server: web.running(bench).set("/v2/tickets", page_of, LIMITED),
    ),
    case(
        "desk_hangs",
        "slow",
        "the desk does not answer the second page",
        DESK,
        lambda bench, server: web.running(bench).set("/v2/tickets", page_of, web.Reply(ending="hang")),
    ),
    case(
        "desk_v2_retired",
        "endpoint",
        "the desk retired the path",
        DESK,
        lambda bench, server: web.running(bench).set("/v2/tickets", GONE),
    ),
    case(
        "desk_sign_in_page",
        "protocol",
        "a sign-in page comes with status 200",
        DESK,
        lambda bench, server: web.running(bench).set("/v2/tickets", page_of, SIGN_IN),
        trap="status 200; surfaces as JSON that cannot be decoded",
    ),
    case(
        "desk_token_expired",
        "credentials",
        "the token expired between two pages",
        DESK,
        lambda bench, server: web.running(bench).set(
            "/v2/tickets", web.Reply(429, b"", {"Retry-After": "0"}), page_of, EXPIRED
        ),
        trap="a 429 that was retried and recovered comes first",
    ),
    case(
        "desk_away",
        "refused",
        "nobody listens where the desk was",
        DESK,
        lambda bench, server: bench.env.update(DESK_URL=f"http://127.0.0.1:{free_port()}"),
    ),
)
