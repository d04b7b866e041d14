"""A file system for DuckDB that reads local files and takes no lock on them."""

from __future__ import annotations

import os
import threading
from typing import Any

from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]  # fsspec has no types

SCHEME = "mendline-read"


class LockFreeFiles(LocalFileSystem):  # type: ignore[misc]  # its base is untyped
    """Local files, read-only, opened without DuckDB's lock."""

    protocol = SCHEME
    cachable = False

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        return LocalFileSystem._strip_protocol(str(path).removeprefix(f"{SCHEME}://"))

    def _open(self, path: str, mode: str = "rb", block_size: int | None = None, **options: Any) -> Any:
        if mode != "rb":
            raise PermissionError(f"`{path}` is opened for reading only")
        return _SharedFile(path)


class _SharedFile:
    """A file that many threads read at once through one handle.

    DuckDB's threads call `seek` and then `read` on the same handle. With one common position they read each other's
    pages; here every thread has its own, and reads do not move it for others.
    """

    mode = "rb"

    def __init__(self, path: str) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._positions: dict[int, int] = {}

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: os.fstat(self._descriptor).st_size}[whence]
        self._positions[threading.get_ident()] = start + offset
        return start + offset

    def tell(self) -> int:
        return self._positions.get(threading.get_ident(), 0)

    def read(self, size: int = -1) -> bytes:
        position = self.tell()
        wanted = size if size >= 0 else max(0, os.fstat(self._descriptor).st_size - position)
        parts: list[bytes] = []
        while wanted > 0 and (part := os.pread(self._descriptor, wanted, position)):
            parts.append(part)
            position, wanted = position + len(part), wanted - len(part)
        self._positions[threading.get_ident()] = position
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def flush(self) -> None:
        """There is nothing to write."""

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    @property
    def closed(self) -> bool:
        return self._descriptor < 0

    def __del__(self) -> None:
        self.close()
