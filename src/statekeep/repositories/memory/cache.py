"""Cache entries in this process."""

from __future__ import annotations

import datetime as dt
import heapq
import time
from collections.abc import Callable, Sequence

from ...domain import DEFAULT, CacheEntry, CacheNamespace
from ...domain.cache import CacheKey
from ...domain.items import Namespace
from ...domain.shown import once_made
from ..cache import Write
from ..operation import Page
from .at_once import AtOnce, at_once
from .ends import EPOCH, end_of, next_millisecond

_FEW = 100

_PAGE = 100
"""Results on a page of a listing."""


class MemoryCacheEntries(AtOnce):
    """A backend that keeps cache entries in this process.

    They are gone when it ends. Threads may share it.

    Args:
        ttl: seconds, with fractions, after which an entry expires that is set without a TTL of its own; ``None`` for
            never.
        clock: returns the time in seconds since the epoch.

    Raises:
        InvalidInput: ``ttl`` is not a number greater than 0.

    Example:
        >>> from statekeep.repositories.cache import CacheRepository
        >>> repository = CacheRepository(MemoryCacheEntries(ttl=3600))
        >>> repository.get([(("weather",), "london")])
        {}
    """

    def __init__(self, *, ttl: float | None = None, clock: Callable[[], float] = time.time) -> None:
        super().__init__(ttl, clock)
        self._entries: dict[CacheKey, CacheEntry] = {}
        self._namespaces: dict[Namespace, set[str]] = {}
        """The keys of each namespace that has entries."""
        self._ends: list[tuple[dt.datetime, CacheKey]] = []
        """Times of expiry, as a heap. It may still have entries that were replaced or deleted."""

    @once_made
    def __repr__(self) -> str:
        return f"{type(self).__name__}(ttl={self.ttl!r})"

    def _expire(self, now: dt.datetime) -> None:
        while self._ends and self._ends[0][0] <= now:
            ends, place = heapq.heappop(self._ends)
            entry = self._entries.get(place)
            if entry is not None and entry.expires_at == ends:
                self._remove(place)

    def _remove(self, place: CacheKey) -> bool:
        if self._entries.pop(place, None) is None:
            return False
        namespace, key = place
        self._namespaces[namespace].discard(key)
        if not self._namespaces[namespace]:
            del self._namespaces[namespace]
        return True

    def _forget_ends(self) -> None:
        """Drop stale times of expiry once they are the better part of the heap."""
        if len(self._ends) > 2 * len(self._entries) + _FEW:
            self._ends = [
                (entry.expires_at, place) for place, entry in self._entries.items() if entry.expires_at is not None
            ]
            heapq.heapify(self._ends)

    @at_once
    def get(self, keys: Sequence[CacheKey]) -> dict[CacheKey, CacheEntry]:
        with self._lock:
            self._expire(self._now())
            return {place: self._entries[place] for place in keys if place in self._entries}

    @at_once
    def set(self, entries: Sequence[Write]) -> None:
        with self._lock:
            now = self._now()
            self._expire(now)
            for write in entries:
                ends = end_of(self.ttl if write.ttl is DEFAULT else write.ttl, now)
                self._store(
                    CacheEntry.trusted(
                        namespace=write.namespace, key=write.key, payload=write.payload, created_at=now, expires_at=ends
                    )
                )
            self._forget_ends()

    def _store(self, entry: CacheEntry) -> None:
        place = (entry.namespace, entry.key)
        self._entries[place] = entry
        self._namespaces.setdefault(entry.namespace, set()).add(entry.key)
        if entry.expires_at is not None:
            heapq.heappush(self._ends, (entry.expires_at, place))

    @at_once
    def delete(self, keys: Sequence[CacheKey]) -> int:
        with self._lock:
            self._expire(self._now())
            count = sum(map(self._remove, keys))
            self._forget_ends()
            return count

    @at_once
    def clear(self, namespaces: Sequence[Namespace] | None) -> int:
        with self._lock:
            self._expire(self._now())
            places = [
                (namespace, key)
                for namespace in (self._namespaces if namespaces is None else namespaces)
                for key in self._namespaces.get(namespace, ())
            ]
            count = sum(map(self._remove, places))
            self._forget_ends()
            return count

    @at_once
    def list(self, namespace: Namespace | None, cursor: Sequence[CacheKey] | None) -> Page[CacheEntry]:
        with self._lock:
            self._expire(self._now())
            if cursor is None:
                places = [
                    (name, key)
                    for name in (self._namespaces if namespace is None else [namespace])
                    for key in self._namespaces.get(name, ())
                ]
                cursor = sorted(places, key=lambda place: _order(self._entries[place]))
            # The order is that of the listing's begin, so that none is skipped or comes twice.
            found = [self._entries[place] for place in cursor[:_PAGE] if place in self._entries]
            return Page(found, cursor[_PAGE:] or None)

    @at_once
    def list_namespaces(self, cursor: Sequence[Namespace] | None) -> Page[CacheNamespace]:
        with self._lock:
            self._expire(self._now())
            names = sorted(self._namespaces) if cursor is None else cursor
            found = [self._measure(name) for name in names[:_PAGE] if name in self._namespaces]
            return Page(found, names[_PAGE:] or None)

    def _measure(self, namespace: Namespace) -> CacheNamespace:
        keys = self._namespaces[namespace]
        return CacheNamespace(
            namespace=namespace,
            entries=len(keys),
            bytes=sum(len(self._entries[namespace, key].payload.data) for key in keys),
            basis="lengths",
        )

    @at_once
    def restore(self, entries: Sequence[CacheEntry]) -> None:
        with self._lock:
            now = self._now()
            self._expire(now)
            for entry in entries:
                ends = None if entry.expires_at is None else next_millisecond(entry.expires_at)
                if ends is None or ends > now:
                    self._store(
                        entry.model_copy(update={"created_at": entry.created_at.astimezone(dt.UTC), "expires_at": ends})
                    )
            self._forget_ends()

    @at_once
    def reindex(self) -> int:
        with self._lock:
            self._expire(self._now())
            return len(self._entries)


def _order(entry: CacheEntry) -> tuple[Namespace, bool, dt.datetime, str]:
    """Return the key by which entries are listed."""
    return entry.namespace, entry.expires_at is None, entry.expires_at or EPOCH, entry.key
