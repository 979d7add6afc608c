"""LangGraph caches over any cache repository."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from langgraph.cache.base import BaseCache, FullKey, ValueT
from langgraph.cache.base import Namespace as Labels
from langgraph.checkpoint.serde.base import SerializerProtocol, maybe_add_typed_methods

from ...domain import DEFAULT, InvalidInput, Payload, StatekeepError, dump, load
from ...domain.cache import CacheKey
from ...domain.model import Ttl
from ...domain.shown import shown
from ...repositories.cache import (
    OUTAGES,
    AsyncCacheRepository,
    CacheBackend,
    CacheRepository,
    OnError,
    checked_key,
    checked_on_error,
    unanswered,
    unreadable,
)
from ...repositories.operation import Operation
from ..faces import Blocking, executing
from ..serializers import Strict, chosen_serde

KeyT = TypeVar("KeyT", bound="str | FullKey")


def _place(key: Any) -> CacheKey:
    """Return the place of a key; a plain text is a key of the empty namespace."""
    if isinstance(key, str):
        return checked_key(((), key))
    if not isinstance(key, tuple) or len(key) != 2 or not isinstance(key[1], str):
        raise InvalidInput(f"keys must be texts, or pairs of a namespace and a text, got {shown(key)}", field="keys")
    return checked_key(key)


def _entry(pair: Any) -> tuple[Any, Ttl]:
    if not isinstance(pair, tuple) or len(pair) != 2:
        raise InvalidInput(f"pairs must have values such as (value, seconds), got {shown(pair)}", field="pairs")
    value, seconds = pair
    return value, DEFAULT if seconds is None else seconds


def _is_over(ttl: Any) -> bool:
    """Return whether a value is gone as soon as it is set.

    LangGraph's own cache has it so for a TTL of 0 or less.
    """
    return isinstance(ttl, int | float) and not isinstance(ttl, bool) and -math.inf < ttl <= 0


class Cache(Blocking, BaseCache[ValueT]):
    """LangGraph's methods over both faces of one backend."""

    def __init__(
        self, backend: CacheBackend, serde: SerializerProtocol | None, strict: Strict, on_error: OnError
    ) -> None:
        chosen = chosen_serde(serde, strict)
        super().__init__(serde=None if chosen is None else maybe_add_typed_methods(chosen))
        self.on_error = checked_on_error(on_error)
        self._backend = backend
        self._sync, self._async = CacheRepository(backend), AsyncCacheRepository(backend)
        self._execute, self._aexecute = executing(self._sync), executing(self._async)

    def get(self, keys: Sequence[KeyT]) -> dict[KeyT, ValueT]:
        """Return the values that there are, under exactly the keys that were asked for.

        A stored value that cannot be read counts as missing, and a warning with its key is logged by the logger
        ``statekeep.cache``.

        Args:
            keys: LangGraph's keys, ``((label, ...), text)``, or plain texts, which are keys of the namespace ``()``.

        Raises:
            InvalidInput: a key is something else.
            Unavailable: the server does not answer, unless ``on_error`` is ``"miss"``.
        """
        return self._run(self._getting(keys))

    async def aget(self, keys: Sequence[KeyT]) -> dict[KeyT, ValueT]:
        """As :meth:`get`."""
        return await self._arun(self._getting(keys))

    def _getting(self, keys: Any) -> Operation[dict[Any, ValueT]]:
        if isinstance(keys, str) or not isinstance(keys, Sequence):
            raise InvalidInput(f"keys must be a sequence of keys, got {type(keys).__name__}", field="keys")
        try:
            places = {key: _place(key) for key in keys}
        except TypeError as error:
            raise InvalidInput(f"keys must have namespaces that are tuples of texts: {error}", field="keys") from None
        try:
            entries = yield lambda keep: keep.get(list(places.values()))
        except OUTAGES as error:
            self._outage(error)
            return {}
        found: dict[Any, ValueT] = {}
        for key, place in places.items():
            if place in entries:
                try:
                    found[key] = load(self.serde, entries[place].payload)
                except Exception as error:
                    unreadable(error, place)
        return found

    def set(self, pairs: Mapping[KeyT, tuple[ValueT, int | float | None]]) -> None:
        """Store values; those under the same keys are replaced.

        Args:
            pairs: for each key (as of :meth:`get`) a value and the seconds that it lives, fractions allowed; ``None``
                for the TTL of the cache. With 0 or less nothing is stored, and what was there is deleted.

        Raises:
            InvalidInput: a key or TTL is wrong. Nothing was written.
            Unavailable: the server does not answer, unless ``on_error`` is ``"miss"``.

        What the serializer raises for a value that it cannot serialize is raised, too, and nothing was written.
        """
        self._run(self._setting(pairs))

    async def aset(self, pairs: Mapping[KeyT, tuple[ValueT, int | float | None]]) -> None:
        """As :meth:`set`."""
        await self._arun(self._setting(pairs))

    def _setting(self, pairs: Any) -> Operation[None]:
        if not isinstance(pairs, Mapping):
            raise InvalidInput(f"pairs must be a mapping, got {type(pairs).__name__}", field="pairs")
        found: dict[CacheKey, tuple[Payload, Ttl] | None] = {}
        for key, pair in pairs.items():
            value, ttl = _entry(pair)
            found[_place(key)] = None if _is_over(ttl) else (dump(self.serde, value), ttl)
        entries = {place: entry for place, entry in found.items() if entry is not None}
        over = [place for place, entry in found.items() if entry is None]
        try:
            if entries or not over:
                yield lambda keep: keep.set(entries)
            if over:
                yield lambda keep: keep.delete(over)
        except OUTAGES as error:
            self._outage(error)

    def clear(self, namespaces: Sequence[Labels] | None = None) -> None:
        """Delete the values of namespaces, whatever ``on_error`` is.

        Args:
            namespaces: exactly these, not those below them; ``None`` for all that the cache has, ``[]`` for none.

        Raises:
            InvalidInput: a namespace is not a tuple of texts.
            Unavailable: the server does not answer.
        """
        self._sync.clear(namespaces)

    async def aclear(self, namespaces: Sequence[Labels] | None = None) -> None:
        """As :meth:`clear`."""
        await self._async.clear(namespaces)

    def _outage(self, error: StatekeepError) -> None:
        if self.on_error == "raise":
            raise error
        unanswered(error)


class RepositoryCache(Cache[ValueT]):
    """A LangGraph cache over a cache repository.

    Serves ``invoke`` and ``ainvoke`` alike: every backend answers both. May be shared by threads and tasks, and
    kept as long as the program runs; as a context manager it closes the repository at the end.

    Args:
        repository: where values are kept, either face.
        serde: serializes values; LangGraph's JsonPlusSerializer by default.
        strict: only objects of known types are made of what is stored: ``True``, or a list of types to allow; see
            :class:`~statekeep.langgraph_shim.StrictSerializer`. A value of another type counts as missing.
            Recommended. Not with ``serde``.
        on_error: ``"raise"``: an outage of the server is an error. ``"miss"``: ``get`` finds nothing and ``set`` does
            nothing meanwhile, and a warning is logged by the logger ``statekeep.cache``. Each call waits until the
            ``deadline`` of the connection first, 10 seconds by default, so choose a short one.

    Raises:
        InvalidInput: an argument is wrong.

    Example:
        >>> import statekeep
        >>> from langgraph.graph import StateGraph
        >>> from langgraph.types import CachePolicy
        >>> def double(x: int) -> int:
        ...     print("doubling")
        ...     return 2 * x
        >>> builder = StateGraph(int).add_node("double", double, cache_policy=CachePolicy(ttl=60))
        >>> builder = builder.set_entry_point("double").set_finish_point("double")
        >>> with RepositoryCache(statekeep.connect("memory:").cache) as cache:
        ...     graph = builder.compile(cache=cache)
        ...     graph.invoke(4), graph.invoke(4)
        doubling
        (8, 8)
    """

    def __init__(
        self,
        repository: CacheRepository | AsyncCacheRepository,
        *,
        serde: SerializerProtocol | None = None,
        strict: Strict = False,
        on_error: OnError = "raise",
    ) -> None:
        if not isinstance(repository, CacheRepository | AsyncCacheRepository):
            raise InvalidInput(
                f"repository must be a CacheRepository or an AsyncCacheRepository, got {type(repository).__name__}",
                field="repository",
            )
        super().__init__(repository.backend, serde, strict, on_error)
