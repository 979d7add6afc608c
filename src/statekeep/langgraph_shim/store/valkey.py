"""LangGraph stores on Valkey."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self, Unpack

from langgraph.store.base import IndexConfig, TTLConfig, ensure_embeddings

from ...domain import InvalidInput, VectorIndex
from ...domain.shown import shown
from ...repositories.memory import MemoryItems
from ...repositories.options import ValkeyOptions
from ...repositories.valkey import ValkeyItems, client_from_pool
from ..clients import carrier, opened
from .base import AsyncRepositoryStore, RepositoryStore, Store

__all__ = ["AsyncValkeyStore", "ValkeyIndexConfig", "ValkeyStore"]


class ValkeyIndexConfig(IndexConfig, total=False):
    """The options of vector search.

    ``dims`` and ``embed`` are required, all others have defaults. ``fields`` is that of LangGraph's ``IndexConfig``.

    Attributes:
        collection_name: stores with different names keep different vectors, of different models perhaps.
        timezone: an IANA name, ``"UTC"`` by default; the times of items are returned in it.
        index_type: ``"hnsw"`` (the default; approximate, on servers with the search module) or ``"flat"`` (exact).
        distance_metric: ``"cosine"`` (the default), ``"ip"`` or ``"l2"``.
        hnsw_m: connections per element and layer, 4 to 64, by default 16.
        hnsw_ef_construction: candidates looked at when an element is added, 100 to 800, by default 200.
        hnsw_ef_runtime: candidates looked at in a search, 10 to 500, by default 10.
        vector_cache: bytes of vectors that this process keeps if the server has no search module, so that a search
            reads what was put since the last one, by default 256 MiB; 0 keeps none.
    """

    collection_name: str
    timezone: str
    index_type: Literal["hnsw", "flat"]
    distance_metric: Literal["cosine", "ip", "l2"]
    hnsw_m: int
    hnsw_ef_construction: int
    hnsw_ef_runtime: int
    vector_cache: int


def _vector_index(index: Any) -> VectorIndex | None:
    """Return the options of vector search.

    ``None`` means the default, ``"provider:model"`` becomes a model.
    """
    if not isinstance(index, Mapping):
        return VectorIndex.of(index)
    given = {name: value for name, value in index.items() if value is not None}
    for name in ("dims", "embed"):
        if name not in given:
            raise InvalidInput(
                f"index: {name} is missing; dims (the length of the vectors) and embed (what makes vectors of texts) "
                "are required",
                field=name,
            )
    embed = given["embed"]
    if isinstance(embed, str):
        try:
            given["embed"] = ensure_embeddings(embed)
        except (ImportError, ValueError) as error:
            raise InvalidInput(f"index: no embedding model {shown(embed)}: {error}", field="embed") from error
    return VectorIndex.of(given)


def _option(name: str) -> Any:
    """Return a read-only attribute: an option of the index, ``None`` without one."""
    return property(lambda store: getattr(store.index, name, None))


class _Valkey(Store):
    """The constructors of both stores."""

    def __init__(
        self,
        client: Any,
        *,
        index: ValkeyIndexConfig | VectorIndex | None = None,
        ttl: TTLConfig | None = None,
        prefix: str = "statekeep",
        unit: int | None = None,
        deadline: float = 10.0,
    ) -> None:
        backend: MemoryItems | ValkeyItems
        if isinstance(client, MemoryItems):
            backend = client
        else:
            backend = ValkeyItems(carrier(client, deadline), prefix=prefix, index=_vector_index(index), unit=unit)
        Store.__init__(self, backend, ttl)
        self.client = client

    dims = _option("dims")
    embeddings = _option("embed")
    index_fields = _option("fields")
    collection_name = _option("collection_name")
    timezone = _option("timezone")
    index_type = _option("index_type")
    distance_metric = _option("distance_metric")
    hnsw_m = _option("hnsw_m")
    hnsw_ef_construction = _option("hnsw_ef_construction")
    hnsw_ef_runtime = _option("hnsw_ef_runtime")

    @classmethod
    def from_conn_string(
        cls,
        conn_string: str,
        *,
        index: ValkeyIndexConfig | VectorIndex | None = None,
        ttl: TTLConfig | None = None,
        prefix: str = "statekeep",
        unit: int | None = None,
        check: bool = False,
        **options: Unpack[ValkeyOptions],
    ) -> Self:
        """Make a store that opens its own connections, when they are first needed.

        Use it as a context manager, or keep it and call ``close`` or ``aclose`` at the end. It serves the sync and
        async methods alike, and any number of event loops.

        Args:
            conn_string: ``valkey://user:pass@host:port/db``, ``valkeys://`` (TLS), ``valkey+cluster://``,
                ``valkeys+cluster://``, ``unix:///path``, ``embedded:`` or ``embedded:DIR`` (a server of this
                program's own; with a directory the data survives it), or ``memory:`` (gone with this object).
            index: makes items findable by meaning, see :class:`ValkeyIndexConfig`. Call ``setup()`` once.
            ttl: LangGraph's ``TTLConfig``: ``default_ttl`` in minutes, and ``refresh_on_read``.
            prefix: of all keys.
            unit: as for :class:`ValkeyStore`.
            check: ask the server for a sign of life now, and not with the first use; an ``Async`` one does when you
                enter ``async with``.
            **options: of the connection, which may be URL parameters as well: ``pool_size``, ``deadline`` and the
                others of :func:`~statekeep.repositories.valkey.client_from_url`, those of valkey-py among them.

        Raises:
            InvalidInput: an argument is wrong.
            Unavailable, AccessDenied: with ``check``, the server cannot be reached, or refuses the password.
            MissingDependency: no client library is installed, or numpy is not and there is an ``index``.
        """
        return opened(
            lambda client: cls(client, index=index, ttl=ttl, prefix=prefix, unit=unit),
            conn_string,
            lambda: MemoryItems(index=_vector_index(index), unit=unit),
            options,
            check=check,
        )

    @classmethod
    def from_pool(
        cls,
        pool: Any,
        *,
        index: ValkeyIndexConfig | VectorIndex | None = None,
        ttl: TTLConfig | None = None,
        prefix: str = "statekeep",
        unit: int | None = None,
        deadline: float = 10.0,
    ) -> Self:
        """Make a store over a connection pool of valkey-py, sync or async.

        The pool stays open when the store closes.

        Args:
            pool: a ``ConnectionPool`` of ``valkey`` or ``valkey.asyncio``.
            index: makes items findable by meaning, see :class:`ValkeyIndexConfig`.
            ttl: LangGraph's ``TTLConfig``: ``default_ttl`` in minutes, and ``refresh_on_read``.
            prefix: of all keys.
            unit: as for :class:`ValkeyStore`.
            deadline: seconds for which a failing request is tried again.

        Raises:
            InvalidInput: an argument is wrong.
            MissingDependency: numpy is not installed, and there is an ``index``.
        """
        return cls(client_from_pool(pool, deadline=deadline), index=index, ttl=ttl, prefix=prefix, unit=unit)


class ValkeyStore(_Valkey, RepositoryStore):
    """A LangGraph store on Valkey.

    Serves ``invoke`` and ``ainvoke``: a store made from a URL has a client for each, one made from a sync client
    answers async calls from worker threads. May be shared by threads and tasks.

    Args:
        client: of valkey-glide or valkey-py, standalone or cluster. It stays open when the store closes.
        index: makes items findable by meaning, see :class:`ValkeyIndexConfig`; without it a ``query`` is ignored, as
            in LangGraph's own stores. Call ``setup()`` once, so that a server with the search module gets its index.
        ttl: LangGraph's ``TTLConfig``: ``default_ttl`` in minutes, and ``refresh_on_read`` (true unless given).
            ``sweep_interval_minutes`` and ``omit_expired`` mean nothing here: the server deletes what expired.
        prefix: of all keys.
        unit: as for :func:`statekeep.connect`: namespaces that begin with the same so many labels share a slot of a
            cluster. All programs that share a prefix must pass the same.
        deadline: seconds for which a failing request is tried again before ``Unavailable`` is raised.

    Attributes:
        client: as it was given, or as made from the URL or pool.
        ttl_config: as given, or ``None``.
        index: the options of vector search as a :class:`~statekeep.VectorIndex`, or ``None``. Its options are
            attributes of the store, too: ``dims``, ``embeddings``, ``index_fields``, ``collection_name``,
            ``timezone``, ``index_type``, ``distance_metric``, ``hnsw_m``, ``hnsw_ef_construction`` and
            ``hnsw_ef_runtime``, all ``None`` without an index.

    Raises:
        InvalidInput: an argument is wrong.
        MissingDependency: numpy is not installed, and there is an ``index``.

    Example:
        >>> with ValkeyStore.from_conn_string("embedded:", ttl={"default_ttl": 60.0}) as store:
        ...     store.put(("users", "ada"), "theme", {"dark": True})
        ...     [item.key for item in store.search(("users",), filter={"dark": True})]
        ['theme']
    """


class AsyncValkeyStore(_Valkey, AsyncRepositoryStore):
    """A LangGraph store on Valkey, for ``ainvoke``.

    Sync methods answer in threads without a running event loop, such as those of an async graph's sync nodes. In
    the loop's own thread they raise ``WrongEventLoop``, because they would block it.

    Args:
        client: of valkey-glide or valkey-py, standalone or cluster, sync or async. An async client belongs to one
            event loop. It stays open when the store closes.
        index: as for :class:`ValkeyStore`.
        ttl: as for :class:`ValkeyStore`.
        prefix: of all keys.
        unit: as for :class:`ValkeyStore`.
        deadline: seconds for which a failing request is tried again before ``Unavailable`` is raised.

    Attributes:
        client: as it was given, or as made from the URL or pool.
        ttl_config: as given, or ``None``.
        index: as for :class:`ValkeyStore`, with the same attributes beside it.

    Raises:
        InvalidInput: an argument is wrong.
        MissingDependency: numpy is not installed, and there is an ``index``.

    Example:
        >>> import asyncio
        >>> async def main() -> bool:
        ...     async with AsyncValkeyStore.from_conn_string("embedded:") as store:
        ...         await store.setup()
        ...         await store.aput(("users", "ada"), "theme", {"dark": True})
        ...         return (await store.aget(("users", "ada"), "theme")).value["dark"]
        >>> asyncio.run(main())
        True
    """
