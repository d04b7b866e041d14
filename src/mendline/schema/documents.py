"""The shape of the JSON documents in a column: which paths they have, of which kinds, and what changed in it.

Only told, never made up for: what a document means without one of its fields is a person's matter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mendline.stores.base import ColumnProfile
from mendline.warehouses.base import Column, Session, TableSchema, Warehouse

SAMPLED = 10_000  # about so many documents of a column are read
MOST_PATHS = 200
ROOT = "$"
TELLING = 10.0  # a path that would have been met so often by the rates of the other batch is gone, or new, not rare


@dataclass(frozen=True, kw_only=True)
class PathChange:
    """What is different at one path (`place:address.city`, `place:$` for the document itself); `is_loss` for what was there."""

    path: str
    detail: str
    is_loss: bool


def profile_documents(
    session: Session, warehouse: Warehouse, source: str, schema: TableSchema, row_count: int
) -> tuple[ColumnProfile, ...]:
    """One profile per path of each JSON column of what `source` (FROM and WHERE) gives, the most frequent paths only.

    `column` is the path, `type` "json", `row_count` how often the path could have stood there (once per object around it),
    `null_count` how often it did not, or was null, and `top_values` the kinds with their counts. Elements of an array are
    one path (`items[].sku`), each an own occasion. Of many rows some are read, chosen by a hash of the row: the same rows
    give the same profile, in whatever order.
    """
    share = max(1, row_count // SAMPLED)
    columns = [column for column in schema.columns if column.logical_type == "json"]
    return tuple(
        profile
        for column in columns
        for profile in _profiles(_counted(session, warehouse, source, schema, column, share))
    )


_Kinds = Mapping[str, int]


def _counted(
    session: Session, warehouse: Warehouse, source: str, schema: TableSchema, column: Column, share: int
) -> dict[str, _Kinds]:
    own, quoted = warehouse.idiom, warehouse.quote(column.name)
    documents = f"SELECT {quoted} AS document, {own.digest(schema.columns)} AS digest {source} {own.fence}"
    chosen = f"SELECT document FROM ({documents}) AS looked WHERE document IS NOT NULL AND digest % {share} = 0"
    found: dict[str, dict[str, int]] = {}
    for path, kind, count in session.rows(own.paths_query(chosen, column.type)):
        found.setdefault(f"{column.name}:{str(path).lstrip('.') or ROOT}", {})[str(kind)] = int(count)
    return dict(found)


def _profiles(found: Mapping[str, _Kinds]) -> Iterator[ColumnProfile]:
    frequent = sorted(found.items(), key=lambda item: (-sum(item[1].values()), item[0]))[:MOST_PATHS]
    for path, kinds in sorted(frequent):
        count, parent = sum(kinds.values()), _parent(path)
        is_own = parent is None or path.endswith("[]")
        occasions = count if is_own else found.get(str(parent), {}).get("object", 0)
        yield ColumnProfile(
            column=path,
            type="json",
            row_count=max(count, occasions),
            null_count=max(count, occasions) - count + kinds.get("null", 0),
            distinct_count=0,
            min_value=None,
            max_value=None,
            top_values=tuple(sorted(kinds.items(), key=lambda item: (-item[1], item[0]))),
        )


def is_path(profile: ColumnProfile) -> bool:
    """Whether a profile is of a path in documents, not of a column."""
    return profile.type == "json" and ":" in profile.column and profile.distinct_count == 0


def column_of(path: str) -> str:
    """The column in whose documents a path is."""
    return path.partition(":")[0]


def compare_documents(before: Sequence[ColumnProfile], now: Sequence[ColumnProfile]) -> tuple[PathChange, ...]:
    """The differences between two batches' documents, of the columns that both have; of what moves as one, the outermost.

    A path counts as gone (or new) when chance cannot explain that it is not met: it was always there, or so often that it
    would have been met ten times.
    """
    was, is_now = ({one.column: one for one in side if is_path(one)} for side in (before, now))
    return tuple(
        change for path in sorted(was.keys() | is_now.keys()) if (change := _change(path, was, is_now)) is not None
    )


_Shape = Mapping[str, ColumnProfile]


def _change(path: str, was: _Shape, is_now: _Shape) -> PathChange | None:
    old, new = _values(was.get(path)), _values(is_now.get(path))
    if old and new:
        return _retyped(path, old, new)
    is_full = max(len(was), len(is_now)) >= MOST_PATHS and not (path in was and path in is_now)
    if is_full:  # it may have been left out for want of room
        return None
    if old and _would_show(was[path], _occasions(path, is_now)):
        empty = "null in every document" if path in is_now else "gone"
        return PathChange(path=path, detail=f"{empty}, was {_words(old)} in {_share(was[path]):.0%}", is_loss=True)
    if new and _would_show(is_now[path], _occasions(path, was)):
        return PathChange(path=path, detail=f"new, {_words(new)} in {_share(is_now[path]):.0%}", is_loss=False)
    return None


def _retyped(path: str, old: _Kinds, new: _Kinds) -> PathChange | None:
    total, before = sum(new.values()), sum(old.values())
    other = {
        kind for kind, count in new.items() if kind not in old and (count == total or count / total * before >= TELLING)
    }
    if not other:
        return None
    return PathChange(path=path, detail=f"{_words(old)} is now {_words(new)}", is_loss=True)


def _values(profile: ColumnProfile | None) -> dict[str, int]:
    """The kinds that are values."""
    return {kind: count for kind, count in profile.top_values if kind != "null"} if profile else {}


def _share(profile: ColumnProfile) -> float:
    return (profile.row_count - profile.null_count) / profile.row_count if profile.row_count else 0.0


def _occasions(path: str, shape: _Shape) -> int:
    """How often a path that is not there could have been there."""
    if path in shape:
        return shape[path].row_count
    parent = _parent(path)
    around = shape.get(parent) if parent is not None else None
    container = "array" if path.endswith("[]") else "object"
    return dict(around.top_values).get(container, 0) if around is not None else 0


def _would_show(profile: ColumnProfile, occasions: int) -> bool:
    share = _share(profile)
    return occasions > 0 and (share >= 1 or share * occasions >= TELLING)


def _words(kinds: _Kinds) -> str:
    return " or ".join(sorted(kinds, key=lambda kind: (-kinds[kind], kind)))


def _parent(path: str) -> str | None:
    """The path around a path; None for that of the document itself."""
    column, _, inner = path.partition(":")
    if inner == ROOT:
        return None
    if inner.endswith("[]"):
        return f"{column}:{inner[:-2] or ROOT}"
    return f"{column}:{inner.rpartition('.')[0] or ROOT}" if "." in inner else f"{column}:{ROOT}"
