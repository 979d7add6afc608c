"""The reader for a saver, a store or a cache.

Those of known packages are read from their databases, the others by LangGraph's interface.
"""

from __future__ import annotations

from typing import Any

from langgraph.cache.base import BaseCache
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.store.base import BaseStore

from ....domain import InvalidInput, MissingDependency, Serializer, StatekeepError, Unsupported
from ..source import PeerSource, Readers
from .generic import MemoryEntries, SaverThreads, StoreItems
from .postgres import PostgresThreads
from .redis import RedisItems, RedisThreads
from .servers import Server
from .sql import SqlItems, database_of
from .sqlite import SqliteEntries, SqliteThreads
from .valkey_aws import ServerEntries, ValkeyItems, ValkeyThreads


def readers_of(source: Any, writer: Serializer | None) -> Readers:
    """Return what reads a source.

    Args:
        source: a saver, a store or a cache of LangGraph's, or what ``open_source`` returned.
        writer: serializes what cannot be moved as it is; ``None`` for the source's own serializer.

    Raises:
        InvalidInput: it is something else.
        Unsupported: it is a cache that cannot be listed.
    """
    match source:
        case PeerSource():
            return source.readers(writer or JsonPlusSerializer())
        case BaseCheckpointSaver():
            return Readers(checkpoints=_threads(source, writer or source.serde))
        case BaseStore():
            return Readers(items=_items(source))
        case BaseCache():
            return Readers(cache=_entries(source))
    raise InvalidInput(
        "source must be a BaseCheckpointSaver, a BaseStore or a BaseCache of LangGraph, or of open_source, "
        f"got {type(source).__name__}",
        field="source",
    )


def _is_of(source: Any, *classes: str) -> bool:
    """Return whether an object is of a class, or one below it, without importing that."""
    return any(f"{kind.__module__}.{kind.__qualname__}".startswith(classes) for kind in type(source).__mro__)


def _threads(saver: Any, writer: Serializer) -> Any:
    if _is_of(saver, "langgraph.checkpoint.sqlite.SqliteSaver", "langgraph.checkpoint.sqlite.aio.AsyncSqliteSaver"):
        return SqliteThreads(database_of(saver.conn, saver.lock), saver.serde)
    if _is_of(
        saver, "langgraph.checkpoint.postgres.PostgresSaver", "langgraph.checkpoint.postgres.aio.AsyncPostgresSaver"
    ):
        return PostgresThreads(database_of(saver.conn, saver.lock), saver.serde)
    if _is_of(saver, "langgraph.checkpoint.redis.base.BaseRedisSaver"):
        prefixes = saver._checkpoint_prefix, saver._checkpoint_write_prefix  # noqa: SLF001 - it tells nobody
        return RedisThreads(Server(saver._redis), saver.serde, _plain(writer), *prefixes)  # noqa: SLF001
    if _is_of(
        saver,
        "langgraph_checkpoint_aws.checkpoint.valkey.saver.ValkeySaver",
        "langgraph_checkpoint_aws.checkpoint.valkey.async_saver.AsyncValkeySaver",
    ):
        return ValkeyThreads(Server(saver.client), saver.serde)
    return SaverThreads(saver, writer)


def _plain(writer: Serializer) -> Serializer:
    """Return a serializer whose payloads LangGraph's own one reads."""
    if _is_of(writer, "langgraph.checkpoint.redis."):
        return JsonPlusSerializer()
    return writer


def _items(store: Any) -> Any:
    if _is_of(
        store,
        "langgraph.store.sqlite.base.SqliteStore",
        "langgraph.store.sqlite.aio.AsyncSqliteStore",
        "langgraph.store.postgres.base.PostgresStore",
        "langgraph.store.postgres.aio.AsyncPostgresStore",
    ):
        return SqlItems(database_of(store.conn, getattr(store, "lock", None)))
    if _is_of(store, "langgraph.store.redis.base.BaseRedisStore"):
        return RedisItems(Server(store._redis), store.store_prefix)  # noqa: SLF001 - it tells nobody
    if _is_of(store, "langgraph_checkpoint_aws.store.valkey."):
        return ValkeyItems(Server(store.client))
    return StoreItems(store)


def _entries(cache: Any) -> Any:
    if isinstance(cache, InMemoryCache):
        return MemoryEntries(cache)
    if _is_of(cache, "langgraph.cache.sqlite.SqliteCache"):
        return SqliteEntries(database_of(cache._conn, cache._lock))  # noqa: SLF001 - it tells nobody
    if _is_of(cache, "langgraph.cache.redis.RedisCache"):
        return ServerEntries(Server(cache.redis), cache.prefix, ":")
    if _is_of(cache, "langgraph_checkpoint_aws.cache.valkey."):
        return ServerEntries(Server(cache.client), cache.prefix, "/")
    raise Unsupported(
        f"source {type(cache).__name__}: a cache cannot be listed by LangGraph's interface, and this one is none of "
        "InMemoryCache, SqliteCache, RedisCache and ValkeyCache. Leave it out: cached values are made again"
    )


def redis_decoder() -> Any:
    """Return the serializer of langgraph-checkpoint-redis.

    It alone reads what it wrote.

    Raises:
        MissingDependency: the package is not installed.
    """
    try:
        from langgraph.checkpoint.redis.jsonplus_redis import JsonPlusRedisSerializer
    except ModuleNotFoundError as error:
        raise missing("langgraph-checkpoint-redis") from error
    return JsonPlusRedisSerializer()


class MissingPeer(MissingDependency):
    """A package that wrote what is to be migrated, or its driver, is not installed."""

    def __init__(self, package: str) -> None:
        StatekeepError.__init__(self, f"{package} is not installed; run: pip install '{package}'")
        self.package, self.extra = package, ""


def missing(package: str) -> MissingPeer:
    """Return the error that names a package to install."""
    return MissingPeer(package)
