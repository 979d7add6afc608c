"""LangGraph checkpointers on Valkey."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Self, Unpack

from langgraph.checkpoint.serde.base import SerializerProtocol

from ...repositories.encrypted_metadata import Encrypt
from ...repositories.memory import MemoryCheckpoints
from ...repositories.options import ValkeyOptions
from ...repositories.records.known_values import BYTES as VALUE_CACHE
from ...repositories.validation import indexed_names as _indexed_names
from ...repositories.validation import ttl_seconds as _ttl_seconds
from ...repositories.valkey import ValkeyCheckpoints, client_from_pool
from ..clients import carrier, opened
from ..serializers import Strict
from .base import AsyncRepositorySaver, RepositorySaver, Saver

__all__ = ["AsyncValkeySaver", "ValkeySaver"]


class _Valkey(Saver):
    """The constructors of both savers."""

    def __init__(
        self,
        client: Any,
        *,
        ttl: float | None = None,
        serde: SerializerProtocol | None = None,
        strict: Strict = False,
        prefix: str = "statekeep",
        refresh_on_read: bool = False,
        encrypt_metadata: Encrypt = False,
        deadline: float = 10.0,
        max_checkpoints: int | None = None,
        value_cache: int = VALUE_CACHE,
        index_metadata: Collection[str] = (),
    ) -> None:
        backend: MemoryCheckpoints | ValkeyCheckpoints
        if isinstance(client, MemoryCheckpoints):
            _indexed_names(index_metadata)
            backend = client
        else:
            settings: Any = {"prefix": prefix, "ttl": ttl, "refresh_on_read": refresh_on_read}
            settings |= {"value_cache": value_cache, "index_metadata": index_metadata}
            backend = ValkeyCheckpoints(carrier(client, deadline), **settings)
        Saver.__init__(self, backend, serde, strict, encrypt_metadata, max_checkpoints)
        self.client = client
        self.ttl = backend.ttl

    @classmethod
    def from_conn_string(
        cls,
        conn_string: str,
        *,
        ttl_seconds: float | None = None,
        serde: SerializerProtocol | None = None,
        strict: Strict = False,
        prefix: str = "statekeep",
        refresh_on_read: bool = False,
        encrypt_metadata: Encrypt = False,
        max_checkpoints: int | None = None,
        value_cache: int = VALUE_CACHE,
        index_metadata: Collection[str] = (),
        check: bool = False,
        **options: Unpack[ValkeyOptions],
    ) -> Self:
        """Make a saver that opens its own connections, when they are first needed.

        Use it as a context manager, or keep it and call ``close`` or ``aclose`` at the end. It serves the sync and
        async methods alike, and any number of event loops.

        Args:
            conn_string: ``valkey://user:pass@host:port/db``, ``valkeys://`` (TLS), ``valkey+cluster://``,
                ``valkeys+cluster://``, ``unix:///path``, ``embedded:`` or ``embedded:DIR`` (a server of this
                program's own; with a directory the data survives it), or ``memory:`` (gone with this object).
            ttl_seconds: how long checkpoints live after they were put, in seconds, fractions allowed; ``None``
                for ever.
            serde: serializes values; LangGraph's JsonPlusSerializer by default.
            strict: only objects of known types are made of what is stored: ``True``, or a list of types to allow; see
                :class:`~statekeep.langgraph_shim.StrictSerializer`. Recommended. Not with ``serde``.
            prefix: of all keys.
            refresh_on_read: reading a checkpoint starts its TTL anew.
            encrypt_metadata: encrypt metadata, too, with ``serde``: ``True``, or a list of names that stay readable, by
                which alone ``list`` can filter then.
            max_checkpoints: how many checkpoints of each namespace of a thread stay, by the rules of ``prune``;
                ``None`` for all. A thread is pruned by some of its puts, so for a while it may have twice as many, or
                ten more.
            value_cache: bytes of long values that this process keeps, so that a put stores and sends what is new in
                them; 0 stores and sends them whole.
            index_metadata: names in metadata by whose values ``list(None, filter=...)`` finds few of many threads fast;
                see :class:`~statekeep.repositories.valkey.ValkeyCheckpoints`.
            check: ask the server for a sign of life now, and not with the first use; an ``Async`` one does when you
                enter ``async with``.
            **options: of the connection, which may be URL parameters as well: ``pool_size``, ``deadline`` and the
                others of :func:`~statekeep.repositories.valkey.client_from_url`, those of valkey-py among them.

        Raises:
            InvalidInput: an argument is wrong.
            Unavailable, AccessDenied: with ``check``, the server cannot be reached, or refuses the password.
            MissingDependency: no client library is installed.
        """
        _ttl_seconds(ttl_seconds, "ttl_seconds")
        return opened(
            lambda client: cls(
                client,
                ttl=ttl_seconds,
                serde=serde,
                strict=strict,
                prefix=prefix,
                refresh_on_read=refresh_on_read,
                encrypt_metadata=encrypt_metadata,
                max_checkpoints=max_checkpoints,
                value_cache=value_cache,
                index_metadata=index_metadata,
            ),
            conn_string,
            lambda: MemoryCheckpoints(ttl=ttl_seconds, refresh_on_read=refresh_on_read),
            options,
            check=check,
        )

    @classmethod
    def from_pool(
        cls,
        pool: Any,
        *,
        ttl_seconds: float | None = None,
        serde: SerializerProtocol | None = None,
        strict: Strict = False,
        prefix: str = "statekeep",
        refresh_on_read: bool = False,
        encrypt_metadata: Encrypt = False,
        deadline: float = 10.0,
        max_checkpoints: int | None = None,
        value_cache: int = VALUE_CACHE,
        index_metadata: Collection[str] = (),
    ) -> Self:
        """Make a saver over a connection pool of valkey-py, sync or async.

        The pool stays open when the saver closes.

        Args:
            pool: a ``ConnectionPool`` of ``valkey`` or ``valkey.asyncio``.
            ttl_seconds: how long checkpoints live after they were put, in seconds; ``None`` for ever.
            serde: serializes values; LangGraph's JsonPlusSerializer by default.
            strict: only objects of known types are made of what is stored: ``True``, or a list of types to allow; see
                :class:`~statekeep.langgraph_shim.StrictSerializer`. Recommended. Not with ``serde``.
            prefix: of all keys.
            refresh_on_read: reading a checkpoint starts its TTL anew.
            encrypt_metadata: encrypt metadata, too, with ``serde``: ``True``, or a list of names that stay readable, by
                which alone ``list`` can filter then.
            max_checkpoints: how many checkpoints of each namespace of a thread stay, by the rules of ``prune``;
                ``None`` for all. A thread is pruned by some of its puts, so for a while it may have twice as many, or
                ten more.
            value_cache: bytes of long values that this process keeps, so that a put stores and sends what is new in
                them; 0 stores and sends them whole.
            index_metadata: names in metadata by whose values ``list(None, filter=...)`` finds few of many threads fast;
                see :class:`~statekeep.repositories.valkey.ValkeyCheckpoints`.
            deadline: seconds for which a failing request is tried again.

        Raises:
            InvalidInput: an argument is wrong.
        """
        _ttl_seconds(ttl_seconds, "ttl_seconds")
        client = client_from_pool(pool, deadline=deadline)
        return cls(
            client,
            ttl=ttl_seconds,
            serde=serde,
            strict=strict,
            prefix=prefix,
            refresh_on_read=refresh_on_read,
            encrypt_metadata=encrypt_metadata,
            max_checkpoints=max_checkpoints,
            value_cache=value_cache,
            index_metadata=index_metadata,
        )


class ValkeySaver(_Valkey, RepositorySaver):
    """A LangGraph checkpointer on Valkey.

    Serves ``invoke`` and ``ainvoke``: a saver made from a URL has a client for each, one made from a sync client
    answers async calls from worker threads. May be shared by threads and tasks.

    Args:
        client: of valkey-glide or valkey-py, standalone or cluster. It stays open when the saver closes.
        ttl: how long checkpoints live after they were put, in seconds, fractions allowed; ``None`` for ever.
        serde: serializes values; LangGraph's JsonPlusSerializer by default. Metadata, with what ``config`` has under
            ``configurable``, is stored in clear text even if it encrypts, to be filtered by: see ``encrypt_metadata``.
        strict: only objects of known types are made of what is stored: ``True``, or a list of types to allow; see
            :class:`~statekeep.langgraph_shim.StrictSerializer`. Recommended. Not with ``serde``.
        prefix: of all keys.
        refresh_on_read: reading a checkpoint starts its TTL anew.
        encrypt_metadata: encrypt metadata, too, with ``serde``: ``True``, or a list of names that stay readable, by
            which alone ``list`` can filter then. See
            :class:`~statekeep.repositories.encrypted_metadata.EncryptedMetadata`.
        max_checkpoints: how many checkpoints of each namespace of a thread stay, by the rules of ``prune``; ``None``:
            all. A thread is pruned by some of its puts, so for a while it may have twice as many, or ten more.
        value_cache: bytes of long values that this process keeps, so that a put stores and sends what is new in them; 0
            stores and sends them whole.
        index_metadata: names in metadata by whose values ``list(None, filter=...)`` finds few of many threads fast; see
            :class:`~statekeep.repositories.valkey.ValkeyCheckpoints`.
        deadline: seconds for which a failing request is tried again before ``Unavailable`` is raised.

    Attributes:
        client: as it was given, or as made from the URL or pool.
        ttl: in seconds, or ``None``.
        serde: the serializer.

    Raises:
        InvalidInput: an argument is wrong.

    Example:
        >>> from langgraph.graph import StateGraph
        >>> builder = StateGraph(int).add_node("add_one", lambda x: x + 1)
        >>> builder = builder.set_entry_point("add_one").set_finish_point("add_one")
        >>> with ValkeySaver.from_conn_string("embedded:", ttl_seconds=3600) as saver:
        ...     graph = builder.compile(checkpointer=saver)
        ...     graph.invoke(1, {"configurable": {"thread_id": "session-1"}})
        2
    """


class AsyncValkeySaver(_Valkey, AsyncRepositorySaver):
    """A LangGraph checkpointer on Valkey, for ``ainvoke``.

    Sync methods answer in threads without a running event loop, such as those of an async graph's sync nodes. In
    the loop's own thread they raise ``WrongEventLoop``, because they would block it.

    Args:
        client: of valkey-glide or valkey-py, standalone or cluster, sync or async. An async client belongs to one
            event loop. It stays open when the saver closes.
        ttl: how long checkpoints live after they were put, in seconds, fractions allowed; ``None`` for ever.
        serde: serializes values; LangGraph's JsonPlusSerializer by default. Metadata, with what ``config`` has under
            ``configurable``, is stored in clear text even if it encrypts, to be filtered by: see ``encrypt_metadata``.
        strict: only objects of known types are made of what is stored: ``True``, or a list of types to allow; see
            :class:`~statekeep.langgraph_shim.StrictSerializer`. Recommended. Not with ``serde``.
        prefix: of all keys.
        refresh_on_read: reading a checkpoint starts its TTL anew.
        encrypt_metadata: encrypt metadata, too, with ``serde``: ``True``, or a list of names that stay readable, by
            which alone ``list`` can filter then. See
            :class:`~statekeep.repositories.encrypted_metadata.EncryptedMetadata`.
        max_checkpoints: how many checkpoints of each namespace of a thread stay, by the rules of ``prune``; ``None``:
            all. A thread is pruned by some of its puts, so for a while it may have twice as many, or ten more.
        value_cache: bytes of long values that this process keeps, so that a put stores and sends what is new in them; 0
            stores and sends them whole.
        index_metadata: names in metadata by whose values ``list(None, filter=...)`` finds few of many threads fast; see
            :class:`~statekeep.repositories.valkey.ValkeyCheckpoints`.
        deadline: seconds for which a failing request is tried again before ``Unavailable`` is raised.

    Attributes:
        client: as it was given, or as made from the URL or pool.
        ttl: in seconds, or ``None``.
        serde: the serializer.

    Raises:
        InvalidInput: an argument is wrong.

    Example:
        >>> import asyncio
        >>> from langgraph.graph import StateGraph
        >>> builder = StateGraph(int).add_node("add_one", lambda x: x + 1)
        >>> builder = builder.set_entry_point("add_one").set_finish_point("add_one")
        >>> async def main() -> int:
        ...     async with AsyncValkeySaver.from_conn_string("embedded:") as saver:
        ...         graph = builder.compile(checkpointer=saver)
        ...         return await graph.ainvoke(1, {"configurable": {"thread_id": "session-1"}})
        >>> asyncio.run(main())
        2
    """
