"""Faults that stages on any software share: each is made from a few words and breaks the bench that it is given."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from typing import Any

from corpus.lab.bench import Bench, free_port
from corpus.lab.case import Prepare

NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


def all_of(*faults: Prepare) -> Prepare:
    """Break in several ways, one after the other."""

    def inject(bench: Bench) -> None:
        for each in faults:
            each(bench)

    return inject


def edited(name: str, old: str, new: str, count: int = -1) -> Prepare:
    """Change a text file, be it the program's or a delivered one; refuses to change nothing."""
    return lambda bench: bench.replace(name, old, new, count=count)


def written(name: str, text: str) -> Prepare:
    return lambda bench: bench.write(name, text)


def cut(name: str, size: int) -> Prepare:
    """Leave the first `size` bytes of a file; a negative size takes so many from its end."""

    def inject(bench: Bench) -> None:
        path = bench.path(name)
        path.write_bytes(path.read_bytes()[:size])

    return inject


def recoded(name: str, old: str, new: str) -> Prepare:
    """Change a text file and write it in Latin-1, whatever it was written in."""

    def inject(bench: Bench) -> None:
        text = bench.path(name).read_text(encoding="utf-8")
        bench.write(name, text.replace(old, new), encoding="latin-1")

    return inject


def environment(**values: str) -> Prepare:
    return lambda bench: bench.env.update(values)


def unset(variable: str) -> Prepare:
    return lambda bench: bench.env.pop(variable)


def unreachable(variable: str) -> Prepare:
    """Point the program at a port of loopback where nobody listens."""
    return lambda bench: bench.env.update({variable: f"http://127.0.0.1:{free_port()}"})


def limited(which: int, most: int) -> Prepare:
    """Set one of the program's limits (`resource.RLIMIT_*`)."""
    return lambda bench: bench.limits.update({which: most})


def small_disk(folder: str, size: str) -> Prepare:
    """Give a folder a disk of its own that is soon full."""
    return lambda bench: bench.mount(folder, f"size={size}")


def as_nobody(bench: Bench) -> None:
    """Run the program as an account to which nothing belongs."""
    bench.command = (*NOBODY, *bench.command)


def kill_children(process: subprocess.Popen[bytes]) -> None:
    """Kill what a shell has started and leave the shell, as the kernel does when memory runs out."""
    subprocess.run(["pkill", "-KILL", "-P", str(process.pid)], check=False)


def renamed(old: str, new: str) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """Give the change of a row that calls one of its fields otherwise and leaves it at its place."""
    return lambda row: {new if name == old else name: value for name, value in row.items()}


def without(field: str) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """Give the change of a row that leaves out one of its fields."""
    return lambda row: {name: value for name, value in row.items() if name != field}
