"""SFTP: manifests fetched from a carrier (paramiko), invoices sent to a bank (the OpenSSH commands)."""

from __future__ import annotations

import gzip
import resource
import socket
import sqlite3
import threading
from collections.abc import Callable

from corpus.lab.bench import Bench
from corpus.lab.case import Case, Program, System
from corpus.lab.faults import edited, limited, small_disk
from corpus.lab.services import sftp

HEADER = "container;vessel;tonnes;eta;seal"
TABLES = """
CREATE TABLE vessel (name TEXT PRIMARY KEY);
CREATE TABLE container (
    number TEXT PRIMARY KEY, vessel TEXT NOT NULL REFERENCES vessel, tonnes REAL NOT NULL CHECK (tonnes < 40),
    eta TEXT NOT NULL, seal TEXT NOT NULL
);
"""


def rows(day: int) -> list[str]:
    return [f"MSKU{day}{n:05d};Vessel {n % 9};{8 + n % 20}.5;2026-06-{1 + n % 28:02d};S{n}" for n in range(150)]


def _put(bench: Bench, day: int, lines: list[str], encoding: str = "utf-8") -> None:
    content = gzip.compress(("\n".join(lines) + "\n").encode(encoding))
    sftp.running(bench).put(f"outbox/manifest_{day}.csv.gz", content)


def manifests_world(bench: Bench) -> None:
    server = sftp.start(bench)
    bench.env |= {"CARRIER_HOST": "127.0.0.1", "CARRIER_PORT": str(server.port)}
    for day in (1, 2, 3):
        _put(bench, day, [HEADER, *rows(day)])
    bench.path("archive/x")
    store = sqlite3.connect(bench.path("port.db"))
    with store:
        store.executescript(TABLES)
        store.executemany("INSERT INTO vessel VALUES (?)", [(f"Vessel {n}",) for n in range(9)])
    store.close()


def invoices_world(bench: Bench) -> None:
    server = sftp.start(bench)
    bench.env |= {"BANK_HOST": "127.0.0.1", "BANK_PORT": str(server.port)}
    server.put("drop/README", b"bank\n")
    bench.run("chown", "partner", str(server.home / "drop"))
    for n in range(8):
        lines = [f"R{n}{k:04d};D{k % 60};{990 + k}" for k in range(600)]
        bench.write(f"invoices/inv_{n}.csv", "\n".join(["invoice;debtor;cents", *lines]) + "\n")


MANIFESTS = Program(
    name="manifests", command=("{python}", "fetch_manifests.py"), files=("fetch_manifests.py",), world=manifests_world
)
INVOICES = Program(
    name="invoices", command=("bash", "push_invoices.sh"), files=("push_invoices.sh",), world=invoices_world
)


def third(change: Callable[[list[str]], list[str]], encoding: str = "utf-8") -> Callable[[Bench], None]:
    """Deliver another manifest on the third day."""
    return lambda bench: _put(bench, 3, change([HEADER, *rows(3)]), encoding)


def line(number: int, old: str, new: str) -> Callable[[list[str]], list[str]]:
    return lambda lines: [text.replace(old, new) if n == number else text for n, text in enumerate(lines)]


def _stop(bench: Bench) -> None:
    sftp.running(bench).stop()


def _other_key(bench: Bench) -> None:
    keys = sftp.running(bench).keys
    keys.write_text('expiry-time="20250101" ' + keys.read_text())


def _cut(bench: Bench) -> None:
    path = sftp.running(bench).home / "outbox/manifest_2.csv.gz"
    path.write_bytes(path.read_bytes()[:700])


def _listen(bench: Bench, greeting: bytes) -> int:
    """Take connections and give a greeting; without one, say nothing."""
    server = socket.create_server(("127.0.0.1", 0))
    held: list[socket.socket] = []

    def take() -> None:
        while True:
            try:
                client = server.accept()[0]
            except OSError:
                return
            held.append(client)
            if greeting:
                client.sendall(greeting)
                client.close()

    threading.Thread(target=take, daemon=True).start()
    bench.on_exit(server.close)
    return int(server.getsockname()[1])


def _silent(bench: Bench) -> None:
    bench.env["CARRIER_PORT"] = str(_listen(bench, b""))


def _web(bench: Bench) -> None:
    bench.env["BANK_PORT"] = str(_listen(bench, b"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\n\r\n" * 40))


def _drop_gone(bench: Bench) -> None:
    home = sftp.running(bench).home
    (home / "drop").rename(home / "incoming-v2")


def _writer(bench: Bench) -> None:
    other = sqlite3.connect(bench.path("port.db"), check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    bench.on_exit(other.close)


def _small_address_space(bench: Bench) -> None:
    lines = [HEADER, *rows(3)]
    many = [text.replace("MSKU", f"T{n:04d}") + "x" * 3000 for n in range(400) for text in lines[1:]]
    _put(bench, 3, [HEADER, *many])
    bench.limits[resource.RLIMIT_AS] = 260_000_000


def _other_name(bench: Bench) -> None:
    bench.env["BANK_HOST"] = "sftp.hausbank.invalid"


def _key_readable(bench: Bench) -> None:
    bench.path("id_ed25519").chmod(0o644)


def _empty_outbox(bench: Bench) -> None:
    for path in (sftp.running(bench).home / "outbox").glob("*"):
        path.unlink()


CASES = (
    Case(
        name="seal_renamed",
        family="renamed",
        cause="the carrier's column seal is called seal_no now",
        program=MANIFESTS,
        inject=third(lambda lines: [lines[0].replace("seal", "seal_no"), *lines[1:]]),
        trap="surfaces as a NULL violation; only the logged header shows the new name",
    ),
    Case(
        name="columns_in_front",
        family="column_count",
        cause="the carrier added two columns",
        program=MANIFESTS,
        inject=third(lambda lines: [f"line;terminal;{lines[0]}", *(f"7;T2;{text}" for text in lines[1:])]),
    ),
    Case(
        name="tonnes_split",
        family="removed",
        cause="the carrier replaced tonnes by kilograms under another name",
        program=MANIFESTS,
        inject=third(lambda lines: [lines[0].replace("tonnes", "gross_kg"), *lines[1:]]),
    ),
    Case(
        name="invoice_header_changed",
        family="contract",
        subtype="column_missing",
        cause="the accounts' export has another header",
        program=INVOICES,
        inject=edited("invoices/inv_5.csv", "invoice;debtor;cents", "invoice;debtor_iban;amount_eur"),
        trap="only the script's own check tells it, with a bare status",
    ),
    Case(
        name="vessel_of_nobody",
        family="orphan",
        cause="a container on a vessel that is not registered",
        program=MANIFESTS,
        inject=third(line(80, "Vessel 7", "Vessel 71")),
    ),
    Case(
        name="gzip_cut",
        family="malformed",
        subtype="truncated_file",
        cause="the second manifest is incomplete",
        program=MANIFESTS,
        inject=_cut,
        trap="an EOFError right after a transfer",
    ),
    Case(
        name="latin1_vessel",
        family="encoding",
        cause="the third manifest is written in Latin-1",
        program=MANIFESTS,
        inject=third(line(33, "Vessel", "Königin"), encoding="latin-1"),
    ),
    Case(
        name="container_twice",
        family="duplicate",
        cause="the carrier repeats a container of the first day",
        program=MANIFESTS,
        inject=third(line(5, "MSKU3", "MSKU1")),
    ),
    Case(
        name="invoice_without_amount",
        family="unparsable",
        subtype="invalid_value",
        cause="two invoices hold words instead of an amount",
        program=INVOICES,
        inject=edited("invoices/inv_2.csv", ";1200\n", ";connection limit reached\n"),
        trap="the value reads like a server's limit",
    ),
    Case(
        name="server_refuses",
        family="refused",
        cause="the carrier's server is down",
        program=MANIFESTS,
        inject=_stop,
    ),
    Case(
        name="no_banner",
        family="slow",
        cause="the carrier's server takes the connection and says nothing",
        program=MANIFESTS,
        inject=_silent,
    ),
    Case(
        name="bank_key_expired",
        family="credentials",
        cause="the bank lets our key run out",
        program=INVOICES,
        inject=_other_key,
        trap="`Permission denied`, as of a file",
    ),
    Case(
        name="bank_name_gone",
        family="dns",
        cause="the bank's name does not resolve",
        program=INVOICES,
        inject=_other_name,
    ),
    Case(
        name="web_server_at_the_port",
        family="protocol",
        cause="the bank's port leads to a web server",
        program=INVOICES,
        inject=_web,
    ),
    Case(
        name="drop_folder_moved",
        family="endpoint",
        cause="the bank has renamed its drop folder",
        program=INVOICES,
        inject=_drop_gone,
        trap="`No such file or directory`, as of an input of ours",
    ),
    Case(
        name="archive_disk_full",
        family="disk",
        cause="our archive's disk has no space",
        program=MANIFESTS,
        inject=small_disk("archive", "4k"),
        trap="a failure in the middle of a transfer",
    ),
    Case(
        name="file_size_limit",
        family="disk",
        subtype="file_too_large",
        cause="the worker may write files of 1,000 bytes",
        program=MANIFESTS,
        inject=limited(resource.RLIMIT_FSIZE, 1000),
    ),
    Case(
        name="manifest_of_a_gigabyte",
        family="memory",
        cause="the worker may have 260 MB of addresses, the manifest needs more",
        program=MANIFESTS,
        inject=_small_address_space,
        trap="small when fetched, large when unpacked; a bare MemoryError",
    ),
    Case(
        name="key_open_to_all",
        family="configuration",
        cause="a deployment left our key file readable for everybody",
        program=INVOICES,
        inject=_key_readable,
        trap="ends in the server's refusal, which names public keys",
    ),
    Case(
        name="database_held_by_other_run",
        family="concurrency",
        subtype="lock_contention",
        cause="another run holds the database for writing",
        program=MANIFESTS,
        inject=_writer,
    ),
    Case(
        name="width_of_wrong_kind",
        family="code_bug",
        cause="a release made the width a text",
        program=MANIFESTS,
        inject=edited("fetch_manifests.py", "WIDTH = 5", 'WIDTH = "5"'),
        trap="the message says expected 5 fields, saw 5",
    ),
    Case(
        name="outbox_empty",
        family="missing_input",
        cause="nothing was delivered: the outbox holds no manifest",
        program=MANIFESTS,
        inject=_empty_outbox,
    ),
)

SYSTEM = System(
    name="sftp", cases=CASES, requirements=("paramiko==5.1.0",), debian=("openssh-server", "openssh-client")
)
