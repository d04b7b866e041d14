"""What is different between two flattened schemas, in classes that each have their own safe answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from mendline.warehouses.base import Column, TableSchema
from mendline.warehouses.types import is_narrowing, is_widening, same_type


class ChangeKind(StrEnum):
    """The classes of schema change, by the field's names."""

    ADDED = "added"
    REMOVED = "removed"
    RENAMED = "renamed"
    CASE_CHANGED = "case_changed"  # the name differs in case, underscores or quoting only
    NESTED = "nested"  # the same leaf at another path
    WIDENED = "widened"
    NARROWED = "narrowed"
    RETYPED = "retyped"
    NULLABILITY = "nullability"
    REORDERED = "reordered"
    KEY_CHANGED = "key_changed"
    GRAIN_CHANGED = "grain_changed"  # the same columns, and rows that are not one per key any more
    SHIFTED = "shifted"  # values stand in a column further on or back
    TRAIT_CHANGED = "trait_changed"  # a key, check, collation, identity or generation
    DOCUMENT_BROKEN = "document_broken"  # inside JSON that is read: a path has gone, or is of another kind
    DOCUMENT_DIFFERS = "document_differs"  # inside JSON: a path that is new, or anything where nobody reads it
    TABLE_GONE = "table_gone"


# What no repair may make up for: a person decides.
FOR_A_PERSON = (
    ChangeKind.GRAIN_CHANGED,
    ChangeKind.SHIFTED,
    ChangeKind.TRAIT_CHANGED,
    ChangeKind.DOCUMENT_BROKEN,
)
ADDITIVE = frozenset(
    {ChangeKind.DOCUMENT_DIFFERS, ChangeKind.ADDED, ChangeKind.WIDENED, ChangeKind.NULLABILITY, ChangeKind.REORDERED}
)


@dataclass(frozen=True, kw_only=True)
class Change:
    """One change. `column` is the name before (for `added`, the name now); `now` the name after a rename.

    Types are the engine's spelling, "" where there is none; for a trait what the catalogue says of it. `detail` says what
    the other fields cannot.
    """

    kind: ChangeKind
    column: str
    now: str | None = None
    old_type: str = ""
    new_type: str = ""
    detail: str = ""

    def __str__(self) -> str:
        if self.detail:
            return f"`{self.column}` {self.kind}: {self.detail}"
        if self.now is not None:
            return f"`{self.column}` {self.kind}: now `{self.now}`"
        if self.old_type and self.new_type:
            return f"`{self.column}` {self.kind}: {self.old_type} is now {self.new_type}"
        return f"`{self.column}` {self.kind}"


@dataclass(frozen=True, kw_only=True)
class SchemaDiff:
    """All changes of one table, in the order of its columns before, then those added."""

    changes: tuple[Change, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing changed."""
        return not self.changes

    @property
    def is_additive(self) -> bool:
        """Whether nothing that was there is lost or means something else."""
        return all(change.kind in ADDITIVE for change in self.changes)

    def of(self, *kinds: ChangeKind) -> tuple[Change, ...]:
        """The changes of these kinds."""
        return tuple(change for change in self.changes if change.kind in kinds)

    def also(self, *changes: Change) -> SchemaDiff:
        """The diff with more changes at its end."""
        return replace(self, changes=(*self.changes, *changes)) if changes else self

    def with_rename(self, old: str, new: str, kind: ChangeKind = ChangeKind.RENAMED) -> SchemaDiff:
        """The diff in which `old` removed and `new` added are one change."""
        removed = next((c for c in self.of(ChangeKind.REMOVED) if c.column == old), None)
        added = next((c for c in self.of(ChangeKind.ADDED) if c.column == new), None)
        if removed is None or added is None:
            return self
        merged = Change(kind=kind, column=old, now=new, old_type=removed.old_type, new_type=added.new_type)
        kept = tuple(merged if change is removed else change for change in self.changes if change is not added)
        return replace(self, changes=kept)


def compare(before: TableSchema, now: TableSchema | None, dialect: str, keys: tuple[str, ...] = ()) -> SchemaDiff:
    """Compare two flattened schemas, by name without regard to case; `keys` names the key's columns.

    A removed and an added column stay two changes: whether they are one is for the data to say (`renames.py`), but for
    names that are equal after normalising (`case_changed`).
    """
    if now is None:
        return SchemaDiff(changes=(Change(kind=ChangeKind.TABLE_GONE, column=before.table),))
    there = {column.name.lower(): column for column in now.columns}
    earlier = {column.name.lower() for column in before.columns}
    added = [column for column in now.columns if column.name.lower() not in earlier]
    changes: list[Change] = []
    for column in before.columns:
        match = there.get(column.name.lower())
        if match is None:
            match = _same_when_normalised(column, added)
            if match is None:
                changes.append(Change(kind=ChangeKind.REMOVED, column=column.name, old_type=column.type))
                continue
            added.remove(match)
        changes.extend(_changes_of(column, match, dialect))
    changes.extend(Change(kind=ChangeKind.ADDED, column=column.name, new_type=column.type) for column in added)
    changes.extend(_reordered(before, now))
    changes.extend(_keys(changes, keys))
    return SchemaDiff(changes=tuple(changes))


def normalised(name: str) -> str:
    """A name without case, spaces, quotes and underscores; a path keeps its dots."""
    return "".join(character for character in name.lower() if character.isalnum() or character == ".")


def _same_when_normalised(column: Column, added: list[Column]) -> Column | None:
    matches = [other for other in added if normalised(other.name) == normalised(column.name)]
    return matches[0] if len(matches) == 1 else None


def _changes_of(old: Column, new: Column, dialect: str) -> list[Change]:
    changes: list[Change] = []
    if old.name != new.name:
        changes.append(
            Change(
                kind=ChangeKind.CASE_CHANGED,
                column=old.name,
                now=new.name,
                old_type=old.type,
                new_type=new.type,
            )
        )
    if not same_type(old.type, new.type, dialect):
        kind = ChangeKind.RETYPED
        if is_widening(old.type, new.type, dialect):
            kind = ChangeKind.WIDENED
        elif is_narrowing(old.type, new.type, dialect):
            kind = ChangeKind.NARROWED
        changes.append(Change(kind=kind, column=old.name, old_type=old.type, new_type=new.type))
    if old.is_nullable != new.is_nullable:
        words = {True: "NULL", False: "NOT NULL"}
        changes.append(
            Change(
                kind=ChangeKind.NULLABILITY,
                column=old.name,
                old_type=words[old.is_nullable],
                new_type=words[new.is_nullable],
            )
        )
    return changes


def _reordered(before: TableSchema, now: TableSchema) -> list[Change]:
    common = {c.name.lower() for c in before.columns} & {c.name.lower() for c in now.columns}
    was = [c.name.lower() for c in before.columns if c.name.lower() in common]
    is_now = [c.name.lower() for c in now.columns if c.name.lower() in common]
    if was == is_now:
        return []
    first = next(old for old, new in zip(was, is_now, strict=True) if old != new)
    return [Change(kind=ChangeKind.REORDERED, column=first)]


def _keys(changes: list[Change], keys: tuple[str, ...]) -> list[Change]:
    lowered = {key.lower() for key in keys}
    touched = [
        change
        for change in changes
        if change.column.lower() in lowered and change.kind in (ChangeKind.REMOVED, ChangeKind.RETYPED)
    ]
    return [
        Change(kind=ChangeKind.KEY_CHANGED, column=c.column, old_type=c.old_type, new_type=c.new_type) for c in touched
    ]
