"""Differences of two checkpoints: which channels changed, and how."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import islice
from typing import Any, Final

from pydantic import Field

from ..domain.checkpoints import Channel, Checkpoint, Version
from ..domain.model import Model
from .decoding import DecodedValue, as_tree, decode
from .limits import CUT, TYPE, Limits

MOST: Final = 200
"""Changes of one channel that are named at most."""

LIMITS: Final = Limits(items=20_000, characters=2_000_000)

SHOWN: Final = Limits(items=20, characters=500, depth=6, values=200)
"""How much of a value is shown in a change."""


class ChangeKind(StrEnum):
    """How something changed.

    Example:
        >>> ChangeKind("added")
        <ChangeKind.ADDED: 'added'>
    """

    ADDED = "added"
    """A key, an item with an id, or a channel that was not there."""
    REMOVED = "removed"
    """The same, and it is not there now."""
    CHANGED = "changed"
    """Another value."""
    APPENDED = "appended"
    """Items at the end of a list, or characters at the end of a text."""
    INSERTED = "inserted"
    """Items within a list, or before all others."""
    DELETED = "deleted"
    """Items of a list."""
    MOVED = "moved"
    """The same items with ids in another order."""


class Change(Model):
    """One change within a value.

    Example:
        >>> [change] = changes({"n": 1}, {"n": 2})
        >>> change.path, change.before, change.after
        ('n', 1, 2)
    """

    path: str = Field(description='Where: "user.tags[2]"; an item with an id is "[id=...]"; "" is the whole value.')
    kind: ChangeKind = Field(description="How it changed.")
    count: int = Field(default=1, description="How many items, or characters of a text.")
    before: Any = Field(default=None, description="What was there, cut to a few items.")
    after: Any = Field(default=None, description="What is there now, cut to a few items.")

    def __str__(self) -> str:
        """Return the change in a few words."""
        where = f"{self.path}: " if self.path else ""
        many = "" if self.count == 1 else "s"
        if self.kind is ChangeKind.APPENDED and isinstance(self.after, str):
            return f"{where}{self.count:,} character{many} appended"
        if self.kind in (ChangeKind.APPENDED, ChangeKind.INSERTED, ChangeKind.DELETED):
            return f"{where}{self.count:,} item{many} {self.kind}"
        if self.kind is ChangeKind.MOVED:
            return f"{where}items in another order"
        return f"{where}{self.kind}"


class ChannelDifference(Model):
    """A channel that two checkpoints do not have alike.

    Example:
        >>> from statekeep import Payload
        >>> def made(version, text):
        ...     return {"n": Channel.of(version, Payload(encoding="json", data=text))}
        >>> [found] = compare_channels(made(1, b"[1]"), made(2, b"[1,2]"))
        >>> found.name, [str(change) for change in found.changes]
        ('n', ['1 item appended'])
    """

    name: str = Field(description="The channel.")
    kind: ChangeKind = Field(description="added, removed or changed.")
    version_before: Version | None = Field(default=None, description="Its version in the first checkpoint.")
    version_after: Version | None = Field(default=None, description="Its version in the second checkpoint.")
    before: DecodedValue | None = Field(default=None, description="Its value in the first one; null if it has none.")
    after: DecodedValue | None = Field(default=None, description="Its value in the second one; null if it has none.")
    is_equal: bool = Field(default=False, description="Whether only its version changed.")
    changes: tuple[Change, ...] = Field(default=(), description="How its value changed, the first 200 changes.")
    is_cut: bool = Field(default=False, description="Whether there are more changes, or the values were cut.")


class Differences(Model):
    """How two checkpoints differ.

    Example:
        >>> first, second = Checkpoint(thread_id="t", metadata={"step": 1}), Checkpoint(thread_id="t")
        >>> [str(change) for change in compare(first, second).metadata]
        ['step: removed']
    """

    first: str = Field(description="The id of the first checkpoint.")
    second: str = Field(description="The id of the second checkpoint.")
    channels: tuple[ChannelDifference, ...] = Field(description="The channels that differ, by name.")
    same: int = Field(description="How many channels do not.")
    metadata: tuple[Change, ...] = Field(description="How the metadata differ.")


def compare(first: Checkpoint, second: Checkpoint) -> Differences:
    """Compare two checkpoints.

    Args:
        first: one of them.
        second: the other one. What it has more is added.

    Example:
        >>> compare(Checkpoint(thread_id="t"), Checkpoint(thread_id="t")).channels
        ()
    """
    found = tuple(compare_channels(first.channels, second.channels))
    return Differences(
        first=first.checkpoint_id,
        second=second.checkpoint_id,
        channels=found,
        same=len(first.channels.keys() | second.channels.keys()) - len(found),
        metadata=tuple(islice(changes(as_tree(first.metadata), as_tree(second.metadata)), MOST)),
    )


def compare_channels(before: Mapping[str, Channel], after: Mapping[str, Channel]) -> Iterator[ChannelDifference]:
    """Compare channels by name.

    Args:
        before: those of the first checkpoint.
        after: those of the second one.

    Yields:
        Those whose version or value differs, by name.

    Example:
        >>> list(compare_channels({"n": Channel.empty(1)}, {"n": Channel.empty(1)}))
        []
    """
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old is None or new is None:
            kind = ChangeKind.ADDED if old is None else ChangeKind.REMOVED
            yield _difference(name, kind, old, new)
        elif not (_same_version(old.version, new.version) and old.payload == new.payload and old.carry is new.carry):
            yield _difference(name, ChangeKind.CHANGED, old, new)


def _same_version(old: Version, new: Version) -> bool:
    return type(old) is type(new) and old == new


def _difference(name: str, kind: ChangeKind, old: Channel | None, new: Channel | None) -> ChannelDifference:
    before, after = (None if side is None or side.payload is None else side.payload for side in (old, new))
    found: list[Change] = []
    is_cut = False
    if before is not None and after is not None and before != after:
        # Compared as far as possible; shown as far as it is for people.
        whole = [decode(payload, LIMITS) for payload in (before, after)]
        is_cut = any(side.is_cut for side in whole)
        if all(side.problem is None for side in whole):
            found = list(islice(changes(whole[0].value, whole[1].value), MOST + 1))
        else:
            found = [Change(path="", kind=ChangeKind.CHANGED)]
    return ChannelDifference(
        name=name,
        kind=kind,
        version_before=None if old is None else old.version,
        version_after=None if new is None else new.version,
        before=None if before is None else decode(before, SHOWN),
        after=None if after is None else decode(after, SHOWN),
        is_equal=kind is ChangeKind.CHANGED and before == after,
        changes=tuple(found[:MOST]),
        is_cut=is_cut or len(found) > MOST,
    )


def changes(before: Any, after: Any, path: str = "") -> Iterator[Change]:
    """Say how one JSON-like value became another one.

    Lists of objects with ids, such as messages, are compared by the ids; others from their ends.

    Args:
        before: as :func:`~statekeep.inspection.decode` returns it.
        after: the same.
        path: where both are.

    Yields:
        Every change, the outermost that says all.

    Example:
        >>> [str(change) for change in changes({"a": [1], "b": "x"}, {"a": [1, 2], "c": "y"})]
        ['a: 1 item appended', 'b: removed', 'c: added']
    """
    if _same(before, after):
        return
    if isinstance(before, dict) and isinstance(after, dict) and before.get(TYPE) == after.get(TYPE):
        yield from _keys(before, after, path)
    elif isinstance(before, list) and isinstance(after, list):
        yield from _lists(before, after, path)
    elif isinstance(before, str) and isinstance(after, str) and after.startswith(before):
        more = after[len(before) :]
        yield Change(path=path, kind=ChangeKind.APPENDED, count=len(more), after=_cut(more))
    else:
        yield Change(path=path, kind=ChangeKind.CHANGED, before=_cut(before), after=_cut(after))


def _same(before: Any, after: Any) -> bool:
    """Return whether two are equal as JSON: to Python, 1, 1.0 and True are, too."""
    if type(before) is not type(after) or before != after:
        return False
    return not isinstance(before, dict | list) or _text(before) == _text(after)


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _cut(value: Any, deeper: int = 6) -> Any:
    """Return a shown value with fewer items; it has marks and types already."""
    if isinstance(value, str):
        return (
            value
            if len(value) <= SHOWN.characters
            else {CUT: f"a text of {len(value):,} characters", "begins": value[: SHOWN.characters]}
        )
    if not isinstance(value, dict | list) or not value:
        return value
    if deeper < 1:
        return {CUT: f"{len(value):,} more levels or items"}
    more = len(value) - SHOWN.items
    if isinstance(value, list):
        items = [_cut(item, deeper - 1) for item in value[: SHOWN.items]]
        return [*items, {CUT: f"{more:,} more items"}] if more > 0 else items
    found = {key: _cut(item, deeper - 1) for key, item in islice(value.items(), SHOWN.items)}
    return found | {CUT: f"{more:,} more keys"} if more > 0 else found


def _keys(before: dict[str, Any], after: dict[str, Any], path: str) -> Iterator[Change]:
    for key in (*before, *(key for key in after if key not in before)):
        where = f"{path}.{key}" if path else key
        if key not in after:
            yield Change(path=where, kind=ChangeKind.REMOVED, before=_cut(before[key]))
        elif key not in before:
            yield Change(path=where, kind=ChangeKind.ADDED, after=_cut(after[key]))
        else:
            yield from changes(before[key], after[key], where)


def _lists(before: list[Any], after: list[Any], path: str) -> Iterator[Change]:
    start = 0
    for old, new in zip(before, after, strict=False):
        if not _same(old, new):
            break
        start += 1
    old_ids, new_ids = _ids(before[start:]), _ids(after[start:])
    if old_ids is not None and new_ids is not None:
        yield from _by_id(
            dict(zip(old_ids, before[start:], strict=True)), dict(zip(new_ids, after[start:], strict=True)), path
        )
        return
    end = 0
    while end < min(len(before), len(after)) - start and _same(before[-1 - end], after[-1 - end]):
        end += 1
    old_part, new_part = before[start : len(before) - end], after[start : len(after) - end]
    paired = min(len(old_part), len(new_part))
    for at in range(paired):
        yield from changes(old_part[at], new_part[at], f"{path}[{start + at}]")
    if len(new_part) > paired:
        kind = ChangeKind.INSERTED if end else ChangeKind.APPENDED
        yield _run(kind, f"{path}[{start + paired}]" if end else path, new_part[paired:], ())
    if len(old_part) > paired:
        yield _run(ChangeKind.DELETED, f"{path}[{start + paired}]", (), old_part[paired:])


def _run(kind: ChangeKind, path: str, new: Sequence[Any], old: Sequence[Any]) -> Change:
    return Change(
        path=path,
        kind=kind,
        count=len(new) + len(old),
        before=_cut(list(old)) if old else None,
        after=_cut(list(new)) if new else None,
    )


def _ids(items: Sequence[Any]) -> list[str] | None:
    """Return the ids of items, if each has one of its own."""
    found = [item.get("id") if isinstance(item, dict) else None for item in items]
    if len(set(map(str, found))) < len(found) or not all(isinstance(id_, str) and id_ for id_ in found):
        return None
    return [str(id_) for id_ in found]


def _by_id(before: Mapping[str, Any], after: Mapping[str, Any], path: str) -> Iterator[Change]:
    for id_, old in before.items():
        where = f"{path}[id={id_}]"
        if id_ not in after:
            yield Change(path=where, kind=ChangeKind.REMOVED, before=_cut(old))
        else:
            yield from changes(old, after[id_], where)
    fresh = [id_ for id_ in after if id_ not in before]
    kept = [id_ for id_ in after if id_ in before]
    if [id_ for id_ in before if id_ in after] != kept:
        yield Change(path=path, kind=ChangeKind.MOVED, count=len(kept))
    if fresh == list(after)[len(kept) :]:
        if fresh:
            yield _run(ChangeKind.APPENDED, path, [after[id_] for id_ in fresh], ())
        return
    for id_ in fresh:
        yield Change(path=f"{path}[id={id_}]", kind=ChangeKind.ADDED, after=_cut(after[id_]))
