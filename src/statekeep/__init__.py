"""Typed persistence for AI agents: checkpoints, items, logs and cache entries.

They are kept in Valkey, in AWS or in memory.

>>> import statekeep
>>> with statekeep.connect("memory:") as keep:
...     keep.checkpoints.put(statekeep.Checkpoint(thread_id="chat-1", metadata={"step": 0}))
...     keep.checkpoints.get("chat-1").metadata
{'step': 0}
"""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from .domain import (
    ANY,
    DEFAULT,
    AccessDenied,
    CacheEntry,
    Channel,
    ChannelHistory,
    Checkpoint,
    CheckpointQuery,
    ClientClosed,
    Conflict,
    CorruptRecord,
    DeleteItem,
    EmbeddingFailed,
    GetItem,
    InvalidInput,
    Item,
    JsonSerializer,
    Log,
    LogEntry,
    MissingChannels,
    MissingDependency,
    ModelSerializer,
    MsgpackSerializer,
    NamespaceMatch,
    Payload,
    PendingWrite,
    PrunePolicy,
    PutItem,
    QuotaExceeded,
    SavedCheckpoint,
    SearchItem,
    SearchStatus,
    Serializer,
    StatekeepError,
    Thread,
    ThreadClosed,
    Throttled,
    TypedCheckpoint,
    TypedItem,
    TypedSearchItem,
    TypeMismatch,
    Unavailable,
    Unsupported,
    ValueSource,
    VectorIndex,
    Version,
    WrongEventLoop,
    dump,
    load,
    new_checkpoint_id,
)
from .lazy import lazily as _lazily
from .repositories.cache import AsyncCacheRepository, CacheRepository
from .repositories.checkpoints import AsyncCheckpointRepository, CheckpointRepository
from .repositories.connect import aconnect, connect
from .repositories.connection import AsyncConnection, Connection
from .repositories.items import AsyncItemRepository, ItemRepository
from .repositories.logs import AsyncLogRepository, LogRepository

# To type checkers a `__getattr__` would be every name; anyone else imports what is asked for, and nothing more.
if _TYPE_CHECKING:
    from .repositories.cached import cached
    from .repositories.copy import CopyProgress, acopy, copy
    from .repositories.typed.items import AsyncTypedItems, TypedItems
    from .repositories.typed.threads import AsyncTypedTasks, AsyncTypedThread, TypedTasks, TypedThread
else:
    __getattr__, __dir__ = _lazily(
        __name__,
        {
            "AsyncTypedItems": ".repositories.typed.items",
            "AsyncTypedTasks": ".repositories.typed.threads",
            "AsyncTypedThread": ".repositories.typed.threads",
            "CopyProgress": ".repositories.copy",
            "TypedItems": ".repositories.typed.items",
            "TypedTasks": ".repositories.typed.threads",
            "TypedThread": ".repositories.typed.threads",
            "acopy": ".repositories.copy",
            "cached": ".repositories.cached",
            "copy": ".repositories.copy",
        },
    )

__all__ = [
    "ANY",
    "DEFAULT",
    "AccessDenied",
    "AsyncCacheRepository",
    "AsyncCheckpointRepository",
    "AsyncConnection",
    "AsyncItemRepository",
    "AsyncLogRepository",
    "AsyncTypedItems",
    "AsyncTypedTasks",
    "AsyncTypedThread",
    "CacheEntry",
    "CacheRepository",
    "Channel",
    "ChannelHistory",
    "Checkpoint",
    "CheckpointQuery",
    "CheckpointRepository",
    "ClientClosed",
    "Conflict",
    "Connection",
    "CopyProgress",
    "CorruptRecord",
    "DeleteItem",
    "EmbeddingFailed",
    "GetItem",
    "InvalidInput",
    "Item",
    "ItemRepository",
    "JsonSerializer",
    "Log",
    "LogEntry",
    "LogRepository",
    "MissingChannels",
    "MissingDependency",
    "ModelSerializer",
    "MsgpackSerializer",
    "NamespaceMatch",
    "Payload",
    "PendingWrite",
    "PrunePolicy",
    "PutItem",
    "QuotaExceeded",
    "SavedCheckpoint",
    "SearchItem",
    "SearchStatus",
    "Serializer",
    "StatekeepError",
    "Thread",
    "ThreadClosed",
    "Throttled",
    "TypeMismatch",
    "TypedCheckpoint",
    "TypedItem",
    "TypedItems",
    "TypedSearchItem",
    "TypedTasks",
    "TypedThread",
    "Unavailable",
    "Unsupported",
    "ValueSource",
    "VectorIndex",
    "Version",
    "WrongEventLoop",
    "aconnect",
    "acopy",
    "cached",
    "connect",
    "copy",
    "dump",
    "load",
    "new_checkpoint_id",
]
