"""A LangGraph cache on Valkey."""

from __future__ import annotations

from typing import Any, Self, Unpack

from langgraph.cache.base import ValueT
from langgraph.checkpoint.serde.base import SerializerProtocol

from ...domain.model import plain_text
from ...repositories.cache import OnError
from ...repositories.memory import MemoryCacheEntries
from ...repositories.options import ValkeyOptions
from ...repositories.validation import ttl_seconds as _ttl_seconds
from ...repositories.valkey import ValkeyCacheEntries, client_from_pool
from ..clients import carrier, opened
from ..serializers import Strict
from .base import Cache

__all__ = ["ValkeyCache"]

PREFIX = "langgraph:cache:"


class ValkeyCache(Cache[ValueT]):
    """A LangGraph cache on Valkey.

    Serves ``invoke`` and ``ainvoke``: a cache made from a URL has a client for each, one made from a sync client
    answers async calls from worker threads. May be shared by threads and tasks.

    Args:
        client: of valkey-glide or valkey-py, standalone or cluster, sync or async. It stays open when the cache
            closes.
        prefix: of all keys. A ``:`` at its end means nothing: there is always one behind it.
        ttl: how long values live that are set without a TTL of their own, in seconds, fractions allowed; ``None`` for
            ever.
        serde: serializes values; LangGraph's JsonPlusSerializer by default.
        strict: only objects of known types are made of what is stored: ``True``, or a list of types to allow; see
            :class:`~statekeep.langgraph_shim.StrictSerializer`. A value of another type counts as missing.
            Recommended. Not with ``serde``.
        on_error: ``"raise"``: an outage of the server is an error, ``Unavailable``, which ends a graph's run.
            ``"miss"``: ``get`` finds nothing and ``set`` does nothing meanwhile, and a warning is logged by the logger
            ``statekeep.cache``. Each call tries until the deadline first, so choose a short ``deadline`` with it.
        deadline: seconds for which a failing request is tried again.

    Attributes:
        client: as it was given, or as made from the URL or pool.
        prefix: as it was given.
        ttl: in seconds, or ``None``.
        serde: the serializer.

    Raises:
        InvalidInput: an argument is wrong.

    Example:
        >>> from langgraph.graph import StateGraph
        >>> from langgraph.types import CachePolicy
        >>> builder = StateGraph(int).add_node("add_one", lambda x: x + 1, cache_policy=CachePolicy())
        >>> builder = builder.set_entry_point("add_one").set_finish_point("add_one")
        >>> with ValkeyCache.from_conn_string("embedded:", ttl_seconds=3600) as cache:
        ...     graph = builder.compile(cache=cache)
        ...     graph.invoke(1)
        2
    """

    def __init__(
        self,
        client: Any,
        *,
        prefix: str = PREFIX,
        ttl: float | None = None,
        serde: SerializerProtocol | None = None,
        strict: Strict = False,
        on_error: OnError = "raise",
        deadline: float = 10.0,
    ) -> None:
        start = plain_text(prefix).removesuffix(":") if isinstance(prefix, str) else prefix
        backend: MemoryCacheEntries | ValkeyCacheEntries
        if isinstance(client, MemoryCacheEntries):
            backend = client
        else:
            backend = ValkeyCacheEntries(carrier(client, deadline), prefix=start, ttl=ttl)
        super().__init__(backend, serde, strict, on_error)
        self.client = client
        self.prefix = prefix
        self.ttl = backend.ttl

    @classmethod
    def from_conn_string(
        cls,
        conn_string: str,
        *,
        prefix: str = PREFIX,
        ttl_seconds: float | None = None,
        serde: SerializerProtocol | None = None,
        strict: Strict = False,
        on_error: OnError = "raise",
        check: bool = False,
        **options: Unpack[ValkeyOptions],
    ) -> Self:
        """Make a cache that opens its own connections, when they are first needed.

        Use it as a context manager, or keep it and call ``close`` or ``aclose`` at the end. It serves the sync and
        async methods alike, and any number of event loops.

        Args:
            conn_string: ``valkey://user:pass@host:port/db``, ``valkeys://`` (TLS), ``valkey+cluster://``,
                ``valkeys+cluster://``, ``unix:///path``, ``embedded:`` or ``embedded:DIR`` (a server of this
                program's own; with a directory the data survives it), or ``memory:`` (gone with this object).
            prefix: of all keys.
            ttl_seconds: how long values live that are set without a TTL of their own, in seconds, fractions allowed;
                ``None`` for ever.
            serde: serializes values; LangGraph's JsonPlusSerializer by default.
            strict: only objects of known types are made of what is stored: ``True``, or a list of types to allow.
                Recommended. Not with ``serde``.
            on_error: what an outage of the server is, ``"raise"`` or ``"miss"``.
            check: ask the server for a sign of life now, and not with the first use.
            **options: of the connection, which may be URL parameters as well: ``pool_size``, ``deadline`` and the
                others of :func:`~statekeep.repositories.valkey.client_from_url`, those of valkey-py among them.

        Raises:
            InvalidInput: an argument is wrong.
            Unavailable, AccessDenied: with ``check``, the server cannot be reached, or refuses the password.
            MissingDependency: no client library is installed.
        """
        _ttl_seconds(ttl_seconds, "ttl_seconds")
        return opened(
            lambda client: cls(client, prefix=prefix, ttl=ttl_seconds, serde=serde, strict=strict, on_error=on_error),
            conn_string,
            lambda: MemoryCacheEntries(ttl=ttl_seconds),
            options,
            check=check,
        )

    @classmethod
    def from_pool(
        cls,
        pool: Any,
        *,
        prefix: str = PREFIX,
        ttl_seconds: float | None = None,
        serde: SerializerProtocol | None = None,
        strict: Strict = False,
        on_error: OnError = "raise",
        deadline: float = 10.0,
    ) -> Self:
        """Make a cache over a connection pool of valkey-py, sync or async.

        The pool stays open when the cache closes.

        Args:
            pool: a ``ConnectionPool`` of ``valkey`` or ``valkey.asyncio``.
            prefix: of all keys.
            ttl_seconds: how long values live that are set without a TTL of their own, in seconds; ``None`` for ever.
            serde: serializes values; LangGraph's JsonPlusSerializer by default.
            strict: only objects of known types are made of what is stored: ``True``, or a list of types to allow.
                Recommended. Not with ``serde``.
            on_error: what an outage of the server is, ``"raise"`` or ``"miss"``.
            deadline: seconds for which a failing request is tried again.

        Raises:
            InvalidInput: an argument is wrong.
        """
        _ttl_seconds(ttl_seconds, "ttl_seconds")
        client = client_from_pool(pool, deadline=deadline)
        return cls(client, prefix=prefix, ttl=ttl_seconds, serde=serde, strict=strict, on_error=on_error)
