"""The right answers of a repository of cache entries.

They are worked out the slow and obvious way.

It shares no code with any backend, and each is compared to it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import define, field, frozen

from ...domain import DEFAULT, InvalidInput, Payload

__all__ = ["CacheOracle"]

Labels = tuple[str, ...]
Place = tuple[Labels, str]


@frozen
class Stored:
    """A payload, and when it ends; ``None`` for never."""

    payload: Payload
    ends: dt.datetime | None


@define
class CacheOracle:
    """The model.

    Args:
        ttl: seconds until an entry expires that is set without a TTL of its own.
        clock: the time in seconds; ``None`` if it is not known, then nothing expires.
    """

    ttl: float | None = None
    clock: Callable[[], float] | None = None
    entries: dict[Place, Stored] = field(factory=dict)

    def now(self) -> dt.datetime:
        return dt.datetime.fromtimestamp(self.clock() if self.clock else 0, dt.UTC)

    def _end(self, ttl: float | None) -> dt.datetime | None:
        if ttl is None:
            return None
        moment = self.now() + dt.timedelta(seconds=ttl)
        return moment + dt.timedelta(microseconds=-moment.microsecond % 1000)

    def expire(self) -> None:
        now = self.now()
        self.entries = {
            place: stored for place, stored in self.entries.items() if stored.ends is None or stored.ends > now
        }

    def get(self, places: Sequence[Place]) -> dict[Place, Stored]:
        return {place: self.entries[place] for place in places if place in self.entries}

    def set(self, entries: Mapping[Place, tuple[Payload, Any]]) -> None:
        new = {}
        for place, (payload, ttl) in entries.items():
            seconds = self.ttl if ttl is DEFAULT else ttl
            if seconds is not None and seconds <= 0:
                raise InvalidInput("no such TTL")
            new[place] = Stored(payload, self._end(seconds))
        self.entries |= new

    def list(self, namespace: Labels | None) -> list[tuple[Place, Stored]]:
        """Return the entries in order."""
        last = dt.datetime.max.replace(tzinfo=dt.UTC)
        found = [(place, stored) for place, stored in self.entries.items() if namespace in (None, place[0])]
        return sorted(found, key=lambda one: (one[0][0], one[1].ends or last, one[0][1]))

    def namespaces(self) -> dict[Labels, tuple[int, int]]:
        """Return the number of entries of each namespace, and the bytes of their values."""
        found: dict[Labels, tuple[int, int]] = {}
        for (name, _), stored in sorted(self.entries.items(), key=lambda one: one[0]):
            count, size = found.get(name, (0, 0))
            found[name] = (count + 1, size + len(stored.payload.data))
        return found

    def restore(self, entries: Mapping[Place, tuple[Payload, dt.datetime | None]], now: dt.datetime) -> None:
        """Store entries that end at these times, unless they have ended."""
        for place, (payload, ends) in entries.items():
            if ends is None or ends > now:
                self.entries[place] = Stored(payload, ends)

    def _remove(self, places: Sequence[Place]) -> int:
        for place in places:
            del self.entries[place]
        return len(places)

    def delete(self, places: Sequence[Place]) -> int:
        return self._remove([place for place in self.entries if place in places])

    def clear(self, namespaces: Sequence[Labels] | None) -> int:
        return self._remove([place for place in self.entries if namespaces is None or place[0] in namespaces])

    def reindex(self) -> int:
        return len(self.entries)
