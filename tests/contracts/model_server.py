"""A scripted server with OpenAI's chat interface: it says what the test wrote down, and keeps every byte it received."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Message = Mapping[str, Any]
Reply = Callable[[Mapping[str, Any]], "Said"]
USED = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}


@dataclass(frozen=True, kw_only=True)
class Said:
    """One reply of the server; `hangs` keeps the client waiting until the test is over."""

    body: str
    status: int = 200
    hangs: bool = False


def text(content: str, used: Mapping[str, int] = USED) -> Said:
    """A finished answer."""
    return _completion({"role": "assistant", "content": content}, "stop", used)


def answer(kind: str, quote: str, *, step: str = "escalate", confidence: float = 0.9, subtype: str = "") -> Said:
    """A well-formed classification that quotes `quote`."""
    evidence = [{"line": 1, "quote": quote}]
    said = {"type": kind, "subtype": subtype, "confidence": confidence, "evidence": evidence}
    return text(json.dumps({**said, "recommended_next_step": step}))


def call(tool: str, **arguments: Any) -> Said:
    """A call for a tool instead of an answer."""
    function = {"name": tool, "arguments": json.dumps(arguments)}
    message = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
    }
    return _completion(message, "tool_calls", USED)


def failure(status: int) -> Said:
    """An error of the server's."""
    return Said(body=json.dumps({"error": {"message": "password=hunter2hunter2", "type": "x"}}), status=status)


def hang() -> Said:
    """No reply at all."""
    return Said(body="", hangs=True)


def _completion(message: Message, reason: str, used: Mapping[str, int]) -> Said:
    choice = {"index": 0, "finish_reason": reason, "message": message}
    whole = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": used}
    return Said(body=json.dumps(whole))


@dataclass
class ModelServer:
    """`script` holds what is said next; its last entry is said again for ever. `received` are the bodies that came in."""

    port: int
    script: list[Said | Reply]
    received: list[bytes] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def requests(self) -> list[dict[str, Any]]:
        return [json.loads(body) for body in self.received]

    def next(self, body: bytes) -> Said:
        self.received.append(body)
        said = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        return said if isinstance(said, Said) else said(json.loads(body))


@contextmanager
def serving(*script: Said | Reply) -> Iterator[ModelServer]:
    """Serve on a free port of this machine until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            said = model.next(self.rfile.read(int(self.headers["Content-Length"])))
            if said.hangs:
                model.over.wait(30)
                return
            self.send_response(said.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(said.body.encode())))
            self.send_header("retry-after-ms", "1")
            self.end_headers()
            self.wfile.write(said.body.encode())

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    model = ModelServer(port=server.server_address[1], script=list(script))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield model
    finally:
        model.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
