"""Ancestors that a deletion keeps, and checkpoints that go together.

Pure functions. Each backend applies them to the records that it has read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final, Protocol, Self

from attrs import frozen

from .checkpoints import ValueSource
from .model import excess

__all__ = ["NEEDS_PARENT", "Link", "too_late", "with_sources"]

NEEDS_PARENT: Final = "__statekeep_parent"
"""A ``replayed`` channel that says that pending writes of the parent belong to a checkpoint: the parent stays with it.

What the parent needs itself need not stay. LangGraph's formats before 4 have their Sends there. Text that is encoded to
itself in keys, as names of channels may be encoded in a :class:`Link`.
"""


class _Channel(Protocol):
    @property
    def carry(self) -> ValueSource: ...


@frozen
class Link:
    """A checkpoint in its chain of parents.

    Attributes:
        parent_id: the checkpoint that it was made from, in the same namespace. It may be missing, or one of a circle,
            because ids come from outside.
        stored: the channels that have a value here.
        replayed: the channels that are rebuilt from the ancestors' pending writes.
    """

    parent_id: str | None
    stored: Collection[str]
    replayed: Collection[str]

    @classmethod
    def of(cls, parent_id: str | None, channels: Mapping[str, _Channel]) -> Self:
        """Make a link of resolved channels by name."""
        return cls(
            parent_id,
            {name for name, channel in channels.items() if channel.carry is ValueSource.VALUE},
            {name for name, channel in channels.items() if channel.carry is ValueSource.REPLAYED},
        )


def with_sources(checkpoint_ids: Iterable[str], find: Callable[[str], Link | None]) -> set[str]:
    """Return checkpoints that stay, and the ancestors that they need.

    A replayed channel is rebuilt from the pending writes of the ancestors back to the nearest one that has its value,
    or to the oldest. These are kept then, and so is what *their* replayed channels need. See :data:`NEEDS_PARENT`, too.

    Args:
        checkpoint_ids: those that stay anyway.
        find: returns a stored checkpoint of their namespace by its id; ``None`` if there is none.

    Returns:
        The ids of all that are stored.

    Example:
        >>> links = {"1": Link(None, {"log"}, ()), "2": Link("1", (), {"log"}), "3": Link("2", (), ())}
        >>> sorted(with_sources(["2"], links.get)), sorted(with_sources(["3"], links.get))
        (['1', '2'], ['3'])
    """
    kept: set[str] = set()
    parents: set[str] = set()
    waiting = list(checkpoint_ids)
    # Ancestor to the channels whose walks came by: the rest of their way is known, and circles end.
    walked: dict[str, set[str]] = {}
    while waiting:
        checkpoint_id = waiting.pop()
        link = None if checkpoint_id in kept else find(checkpoint_id)
        if link is None:
            continue
        kept.add(checkpoint_id)
        wanted = set(link.replayed)
        if NEEDS_PARENT in wanted:
            wanted.remove(NEEDS_PARENT)
            if link.parent_id is not None and find(link.parent_id) is not None:
                parents.add(link.parent_id)
        while wanted and link.parent_id is not None and (parent := find(link.parent_id)) is not None:
            known = walked.setdefault(link.parent_id, set())
            wanted -= known
            if not wanted:
                break
            known |= wanted
            waiting.append(link.parent_id)
            wanted.difference_update(parent.stored)
            link = parent
    return kept | parents


def too_late(with_writes: Iterable[str], stored: Collection[str]) -> set[str]:
    """Return the checkpoints whose pending writes nobody will read.

    They are not stored, and one that is newer is: they were deleted, or never put. One that would be the newest may
    still be put, as pending writes may come before their checkpoint.

    Args:
        with_writes: ids of checkpoints that have pending writes.
        stored: the ids of all stored checkpoints of their namespace.

    Example:
        >>> sorted(too_late(["1", "2", "3", "5"], ["2", "4"])), too_late(["1"], [])
        (['1', '3'], set())
    """
    newest = max(stored, default=None)
    return set() if newest is None else {id_ for id_ in with_writes if id_ < newest and id_ not in stored}


def is_under_root(namespace: str) -> bool:
    """Return whether a namespace is that of a nested graph's task.

    Such a one ran under one checkpoint of the root namespace.

    >>> is_under_root("child:8a1f"), is_under_root("child"), is_under_root("")
    (True, False, False)
    """
    return ":" in namespace


def root_of(metadata: Mapping[str, Any]) -> str | None:
    """Return the root namespace's checkpoint under which a nested one ran.

    ``None`` if its metadata names none.

    That of the newest checkpoint counts for a whole namespace: when its root checkpoint goes, the namespace goes.
    """
    parents = metadata.get("parents")
    root = parents.get("") if isinstance(parents, dict) else None
    return root if isinstance(root, str) else None


def run_of(metadata: Mapping[str, Any]) -> str | None:
    """Return the run that a checkpoint belongs to.

    ``None`` if its metadata names none that can be an id.
    """
    run_id = metadata.get("run_id")
    if type(run_id) is not str or not run_id:
        return None
    try:
        run_id.encode()
    except UnicodeEncodeError:
        return None
    return None if excess(run_id) else run_id
