"""Repositories of cache entries: the contract of a backend, and two faces."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, Protocol, TypeVar

from attrs import frozen

from ..domain import DEFAULT, InvalidInput, Payload, QuotaExceeded, StatekeepError, Throttled, Unavailable
from ..domain.cache import CacheEntry, CacheKey
from ..domain.items import Namespace
from ..domain.model import Ttl
from ..domain.shown import shown
from .faces import Awaiting, Backend, Blocking, aiterating, awaiting, blocking, iterating
from .operation import Operation
from .upkeep.entries import EntryUpkeep
from .validation import labels, namespace_and_key, ttl_seconds

__all__ = ["AsyncCacheRepository", "CacheBackend", "CacheRepository", "OnError", "Write"]

KeyT = TypeVar("KeyT", bound=CacheKey)

logger = logging.getLogger("statekeep.cache")
"""Says what a cache does in the place of an error."""

OnError = Literal["raise", "miss"]
"""How an outage is handled: as an error, or as by a cache that is empty and forgets."""

OUTAGES: Final = (Unavailable, Throttled, QuotaExceeded)
"""The errors that may count as a miss. What is wrong in the program or its permissions never does."""


@frozen
class Write:
    """An entry to be stored.

    Attributes:
        ttl: seconds, ``None`` for ever, ``DEFAULT`` for the backend's own.
    """

    namespace: Namespace
    key: str
    payload: Payload
    ttl: Ttl = DEFAULT


class CacheBackend(Backend, Protocol):
    """The contract of a backend.

    Every operation is a generator, see :mod:`statekeep.repositories.operation`.

    The arguments are validated already; keys and namespaces come without repetition. What each operation must do is
    said by the method of the same name of :class:`CacheRepository`, and proved by the contract tests in
    ``statekeep.testing``.

    ``list(namespace, cursor)``, ``list_namespaces(cursor)`` and ``restore(entries)`` are optional. The first two return
    a :class:`~statekeep.repositories.operation.Page`, and their first cursor is ``None``. Without them the methods of
    the repository raise :class:`~statekeep.Unsupported`.
    """

    def get(self, keys: Sequence[CacheKey]) -> Operation[dict[CacheKey, CacheEntry]]:
        """Read entries, leaving out those that are missing or damaged.

        :func:`unreadable` is told of the latter.
        """
        ...

    def set(self, entries: Sequence[Write]) -> Operation[None]: ...

    def delete(self, keys: Sequence[CacheKey]) -> Operation[int]: ...

    def clear(self, namespaces: Sequence[Namespace] | None) -> Operation[int]: ...

    def reindex(self) -> Operation[int]: ...


def unreadable(error: Exception, key: object) -> None:
    """Log that the entry under ``key`` is taken as missing.

    It cannot be read.
    """
    logger.warning("cache entry %r cannot be read and counts as missing: %s: %s", key, type(error).__name__, error)


def unanswered(error: StatekeepError) -> None:
    """Log that a cache is done without, because its backend does not answer."""
    logger.warning("the cache is done without: %s: %s", type(error).__name__, error)


def checked_on_error(value: Any) -> OnError:
    """Return ``value`` if it is a way to handle outages.

    Raises:
        InvalidInput: it is none.
    """
    if value == "raise" or value == "miss":
        found: OnError = value
        return found
    raise InvalidInput(f'on_error must be "raise" or "miss", got {shown(value)}', field="on_error")


def checked_key(value: Any) -> CacheKey:
    """Return the namespace and key of an entry.

    Raises:
        InvalidInput: it is no such pair.
    """
    if not isinstance(value, tuple) or len(value) != 2:
        raise InvalidInput(f"keys must be pairs of a namespace and a key, got {shown(value)}", field="keys")
    return namespace_and_key(*value)


def _keys(values: Any) -> list[CacheKey]:
    # Not any iterable: checking a generator would use it up.
    if isinstance(values, str | bytes) or not isinstance(values, Sequence):
        raise InvalidInput(f"keys must be a sequence of keys, got {type(values).__name__}", field="keys")
    return list(dict.fromkeys(map(checked_key, values)))


def _write(place: Any, value: Any) -> Write:
    namespace, key = checked_key(place)
    payload, ttl = value if isinstance(value, tuple) and len(value) == 2 else (value, DEFAULT)
    if not isinstance(payload, Payload):
        raise InvalidInput(
            f"entries must be payloads, or pairs of a payload and a TTL, got {type(payload).__name__} for {shown(key)}",
            field="entries",
        )
    return Write(namespace, key, payload, DEFAULT if ttl is DEFAULT else ttl_seconds(ttl))


class _Operations(EntryUpkeep[CacheBackend]):
    """The bodies of the methods: arguments in, operations out."""

    def __init__(self, backend: CacheBackend) -> None:
        super().__init__(backend)

    def _get(self, keys: Sequence[KeyT]) -> Operation[dict[KeyT, CacheEntry]]:
        """Return the entries that there are, by key.

        A stored entry that is damaged counts as missing, and a warning with its key is logged by the logger
        ``statekeep.cache``: what a cache lost can be made again.

        Args:
            keys: pairs of a namespace and a key.
        """
        found: Operation[dict[Any, CacheEntry]] = self.backend.get(_keys(keys))
        return found

    def _set(self, entries: Mapping[KeyT, Payload | tuple[Payload, Ttl]]) -> Operation[None]:
        """Store entries, each whole or not at all; those under the same keys are replaced.

        Args:
            entries: a payload for each key, or a payload and the seconds that it lives from now on: fractions are
                allowed, ``None`` is for ever, and :data:`~statekeep.DEFAULT`, as without a pair, what the repository
                was made with.

        Raises:
            InvalidInput: an argument is wrong. Nothing was written.

        Example:
            >>> import statekeep
            >>> cache = statekeep.connect("memory:", ttl=3600).cache
            >>> payload = statekeep.Payload(encoding="json", data=b"1")
            >>> cache.set({((), "for an hour"): payload, ((), "for a moment"): (payload, 0.5)})
        """
        if not isinstance(entries, Mapping):
            raise InvalidInput(f"entries must be a mapping, got {type(entries).__name__}", field="entries")
        writes = [_write(place, value) for place, value in entries.items()]
        # Keys of subclasses of str may differ from each other, and yet be one text.
        return self.backend.set(list({(write.namespace, write.key): write for write in writes}.values()))

    def _delete(self, keys: Sequence[CacheKey]) -> Operation[int]:
        """Delete entries.

        Args:
            keys: pairs of a namespace and a key; those that do not exist are no error.

        Returns:
            How many there were; fewer, if an answer got lost and the request was repeated.
        """
        return self.backend.delete(_keys(keys))

    def _clear(self, namespaces: Sequence[Sequence[str]] | None = None) -> Operation[int]:
        """Delete all entries of namespaces, a few hundred at a time.

        Entries that are set meanwhile may be deleted or stay.

        Args:
            namespaces: exactly these, not those below them; ``None`` for all that the repository has.

        Returns:
            How many there were; fewer, if an answer got lost and the request was repeated.
        """
        if namespaces is None:
            return self.backend.clear(None)
        if isinstance(namespaces, str | bytes) or not isinstance(namespaces, Sequence):
            raise InvalidInput(
                f"namespaces must be None or a sequence of namespaces, got {type(namespaces).__name__}",
                field="namespaces",
            )
        return self.backend.clear(list(dict.fromkeys(labels("namespaces", each) for each in namespaces)))

    def _reindex(self) -> Operation[int]:
        """Find all entries anew, for :meth:`clear`.

        Needed after entries were added by other means, such as redis-om.

        Returns:
            How many there are.
        """
        return self.backend.reindex()


class CacheRepository(_Operations, Blocking[CacheBackend]):
    """Cache entries, for blocking code.

    Get one from :func:`statekeep.connect`, or build it over a backend. It may be shared by threads. To cache what
    functions return, see :func:`statekeep.cached`.

    Args:
        backend: where the entries are kept.

    Example:
        >>> import statekeep
        >>> cache = statekeep.connect("memory:").cache
        >>> place = (("weather",), "london")
        >>> cache.set({place: (statekeep.dump(statekeep.JsonSerializer(), {"rain": True}), 60)})
        >>> statekeep.load(statekeep.JsonSerializer(), cache.get([place])[place].payload)
        {'rain': True}
        >>> cache.clear([("weather",)])
        1
    """

    get = blocking(_Operations._get)
    set = blocking(_Operations._set)
    delete = blocking(_Operations._delete)
    clear = blocking(_Operations._clear)
    list = iterating(_Operations._list)
    list_namespaces = iterating(_Operations._list_namespaces)
    restore = blocking(_Operations._restore)
    reindex = blocking(_Operations._reindex)


class AsyncCacheRepository(_Operations, Awaiting[CacheBackend]):
    """Cache entries, for asyncio code.

    Get one from :func:`statekeep.aconnect`, or build it over a backend. It may be shared by tasks. To cache what
    functions return, see :func:`statekeep.cached`.

    Args:
        backend: where the entries are kept.

    Example:
        >>> import asyncio, statekeep
        >>> async def main() -> int:
        ...     async with statekeep.aconnect("memory:") as keep:
        ...         await keep.cache.set({(("weather",), "london"): statekeep.Payload(encoding="json", data=b"1")})
        ...         return await keep.cache.clear()
        >>> asyncio.run(main())
        1
    """

    get = awaiting(_Operations._get)
    set = awaiting(_Operations._set)
    delete = awaiting(_Operations._delete)
    clear = awaiting(_Operations._clear)
    list = aiterating(_Operations._list)
    list_namespaces = aiterating(_Operations._list_namespaces)
    restore = awaiting(_Operations._restore)
    reindex = awaiting(_Operations._reindex)
