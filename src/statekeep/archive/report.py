"""Counts of an export or a restore, as they grow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from attrs import define, field

from ..domain import StatekeepError
from ..domain.items import Namespace
from ..domain.model import Model

COUNTED: Final = ("threads", "checkpoints", "pending_writes", "items", "logs", "entries", "cache_entries")
"""What the last line of an archive counts."""


class ArchiveProgress(Model):
    """Progress of an export, a restore or a verification, and in the end its result.

    Attributes:
        threads: threads so far. With those after it, all that the file has, also from before it was resumed.
        of_threads: how many threads there are in the source; ``None`` if that is not known, as when a file is read.
        checkpoints: checkpoints so far.
        pending_writes: pending writes so far.
        items: items so far.
        logs: logs so far.
        entries: values of logs so far.
        cache_entries: cache entries so far.
        ended: threads, items, logs and cache entries of the file that were left out, as their time was over.
        endless: threads that are to end, in a target that cannot have them end.
        bytes: bytes of the file that were written or read so far, as they are on the disk.
        place: the thread, the namespace, or the log of the last record; ``None`` before the first.
    """

    threads: int = 0
    of_threads: int | None = None
    checkpoints: int = 0
    pending_writes: int = 0
    items: int = 0
    logs: int = 0
    entries: int = 0
    cache_entries: int = 0
    ended: int = 0
    endless: int = 0
    bytes: int = 0
    place: str | Namespace | None = None


Progress = Callable[[ArchiveProgress], object]


@define
class Counts:
    """Records by kind."""

    _found: Counter[str] = field(factory=Counter)

    def add(self, name: str, number: int = 1) -> None:
        """Count more of a kind."""
        self._found[name] += number

    def found(self) -> dict[str, int]:
        """Return the number of each kind, also of those that there are none of."""
        return {name: self._found[name] for name in COUNTED}

    def copy(self) -> Counts:
        """Return the counts as they are now."""
        return Counts(Counter(self._found))


@define
class Report:
    """Counts that are told to the caller as they grow.

    Attributes:
        tell: the caller's function.
        counts: of the records.
        position: returns the bytes of the file so far.
    """

    tell: Progress | None
    position: Callable[[], int]
    counts: Counts = field(factory=Counts)
    of_threads: int | None = None
    ended: int = 0
    endless: int = 0
    place: str | Namespace | None = None

    def add(self, place: str | Namespace | None = None, **more: int) -> None:
        """Count more, and perhaps name where."""
        for name, number in more.items():
            self.counts.add(name, number)
        if place is not None:
            self.place = place
        if self.tell is not None:
            self.tell(self.progress())

    def progress(self) -> ArchiveProgress:
        """Return the counts so far."""
        fields: dict[str, Any] = {
            "of_threads": self.of_threads,
            "ended": self.ended,
            "endless": self.endless,
            "place": self.place,
        }
        return ArchiveProgress(**self.counts.found(), **fields, bytes=self.position())


@contextmanager
def at(what: str, place: str | Namespace, done: str) -> Iterator[None]:
    """Name the record in errors.

    Args:
        what: its kind.
        place: its id, namespace or name.
        done: what was done when it failed, and what to do.
    """
    try:
        yield
    except StatekeepError as error:
        error.add_note(f"while the {what} {place!r} was {done}")
        raise
