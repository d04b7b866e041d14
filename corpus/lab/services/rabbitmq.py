"""A RabbitMQ broker of its own for one run, on free ports of loopback, with a port mapper of its own.

    broker = rabbitmq.start(bench, queues=("orders",))
    broker.publish("orders", [b"..."])

The program finds it by `AMQP_URL`, as the user `etl`. The system's interpreter must have pika.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from corpus.lab.bench import Bench, free_port
from corpus.lab.case import Prepare
from corpus.lab.services.certificate import Pair

BINARIES = Path("/usr/lib/rabbitmq/bin")
PASSWORD = "etl-9d07"  # of a broker that lives for seconds
CORE = {"vhosts": [{"name": "/"}], "exchanges": [], "bindings": [], "policies": []}
RIGHTS = {"configure": ".*", "write": ".*", "read": ".*"}

TALK = """
import base64, json, sys
import pika
url, queue, messages = json.load(sys.stdin)
connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()
for headers, kind, body in messages:
    kept = pika.BasicProperties(headers=headers, content_type=kind, delivery_mode=2)
    channel.basic_publish("", queue, base64.b64decode(body), kept)
connection.close()
"""
HOLD = """
import sys
import pika
connection = pika.BlockingConnection(pika.URLParameters(sys.argv[1]))
channel = connection.channel()
exec(sys.argv[2])
print("held", flush=True)
connection.process_data_events(time_limit=300)
"""

_running: dict[Path, Broker] = {}


@dataclass(frozen=True, kw_only=True)
class Broker:
    """A running broker; `home` holds its data and its log."""

    home: Path
    port: int
    process: subprocess.Popen[bytes]
    environment: Mapping[str, str]

    @property
    def url(self) -> str:
        """The address for the preparation, whose user may do everything."""
        return f"amqp://lab:{PASSWORD}@127.0.0.1:{self.port}/%2F"

    def publish(self, bench: Bench, queue: str, messages: Sequence[bytes], *, kind: str = "application/json") -> None:
        encoded = [({"n": at}, kind, base64.b64encode(each).decode()) for at, each in enumerate(messages)]
        bench.run(str(bench.python), "-c", TALK, text=json.dumps([self.url, queue, encoded]))

    def ctl(self, *command: str) -> None:
        """Run a command of rabbitmqctl; it takes seconds."""
        done = subprocess.run(
            [str(BINARIES / "rabbitmqctl"), *command], env=self.environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"rabbitmqctl {command[0]} failed: {done.stderr[-1000:] or done.stdout[-1000:]}")

    def hold(self, bench: Bench, statements: str) -> None:
        """Keep a session of the preparation open until the run ends, after statements on its `channel`."""
        command = [str(bench.python), "-c", HOLD, self.url, statements]
        holder = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        bench.on_exit(holder.wait)
        bench.on_exit(holder.kill)
        assert holder.stdout is not None
        if holder.stdout.readline().strip() != b"held":
            raise RuntimeError("the session could not be held")

    def signal(self, number: int) -> None:
        """Send the broker a signal: KILL ends it, STOP lets it be silent."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)
        if number == signal.SIGKILL:
            self.process.wait()


def start(
    bench: Bench,
    *,
    queues: Sequence[str] = (),
    definitions: Mapping[str, object] | None = None,
    settings: Mapping[str, str] | None = None,
    tls: Pair | None = None,
    rights: Mapping[str, str] = RIGHTS,
) -> Broker:
    """Start a broker for the length of one run; with `tls` it speaks AMQPS alone.

    `definitions` are further ones as the broker imports them (exchanges, bindings, queues, policies); `settings` lines of
    rabbitmq.conf; `rights` those of the user `etl`.
    """
    home, port = bench.path("broker/log/rabbit.log").parent.parent, free_port()
    mapper = _port_mapper(bench)
    _configure(home, port, definitions or {}, queues, settings or {}, tls, rights)
    environment = _environment(home, port, mapper)
    output = (home / "startup").open("wb")
    server = subprocess.Popen(
        [str(BINARIES / "rabbitmq-server")],
        env=environment,
        cwd=home,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
    )
    broker = Broker(home=home, port=port, process=server, environment=environment)
    bench.on_exit(lambda: broker.signal(signal.SIGKILL))
    _await(port, server, home)
    _running[bench.directory] = broker
    scheme = "amqps" if tls else "amqp"
    bench.env["AMQP_URL"] = f"{scheme}://etl:{PASSWORD}@{'localhost' if tls else '127.0.0.1'}:{port}/%2F"
    return broker


def running(bench: Bench) -> Broker:
    """Give the broker that was started for this run."""
    return _running[bench.directory]


def control(*command: str) -> Prepare:
    """Change the run's broker by a command of rabbitmqctl."""
    return lambda bench: running(bench).ctl(*command)


def held(statements: str) -> Prepare:
    """Let another client do this on its `channel` and stay."""
    return lambda bench: running(bench).hold(bench, statements)


def _port_mapper(bench: Bench) -> int:
    port = free_port()
    mapper = subprocess.Popen(
        ["epmd", "-address", "127.0.0.1", "-port", str(port)], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    bench.on_exit(mapper.wait)
    bench.on_exit(mapper.kill)
    return port


def _configure(
    home: Path,
    port: int,
    definitions: Mapping[str, object],
    queues: Sequence[str],
    settings: Mapping[str, str],
    tls: Pair | None,
    rights: Mapping[str, str],
) -> None:
    users = [{"name": name, "password": PASSWORD, "tags": ["administrator"]} for name in ("lab", "etl")]
    may = [{"user": "lab", "vhost": "/", **RIGHTS}, {"user": "etl", "vhost": "/", **rights}]
    plain = [{"name": name, "vhost": "/", "durable": True, "auto_delete": False, "arguments": {}} for name in queues]
    world: dict[str, object] = {**CORE, "users": users, "permissions": may, "queues": plain, **definitions}
    (home / "definitions.json").write_text(json.dumps(world), encoding="utf-8")
    listener = "listeners.ssl.default" if tls else "listeners.tcp.default"
    lines = {
        listener: f"127.0.0.1:{port}",
        "load_definitions": str(home / "definitions.json"),
        "log.file.level": "info",
        "disk_free_limit.absolute": "1MB",
        **settings,
    }
    if tls:
        secured = {"certfile": tls.certificate, "keyfile": tls.key, "verify": "verify_none"}
        lines |= {"listeners.tcp": "none"} | {f"ssl_options.{name}": str(value) for name, value in secured.items()}
    text = "".join(f"{name} = {value}\n" for name, value in lines.items())
    (home / "rabbitmq.conf").write_text(text, encoding="utf-8")
    (home / "enabled_plugins").write_text("[].\n", encoding="utf-8")


def _environment(home: Path, port: int, mapper: int) -> dict[str, str]:
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "ERL_EPMD_PORT": str(mapper),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": "rabbit@localhost",
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_MNESIA_BASE": str(home / "data"),
        "RABBITMQ_LOG_BASE": str(home / "log"),
        "RABBITMQ_LOGS": str(home / "log" / "rabbit.log"),
        "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq"),
        "RABBITMQ_CONF_ENV_FILE": str(home / "none"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +S 1:1",
        "RABBITMQ_NODE_PORT": str(port),
    }


def _await(port: int, process: subprocess.Popen[bytes], home: Path) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"rabbitmq-server did not start: {(home / 'startup').read_text(errors='replace')[-1500:]}")
