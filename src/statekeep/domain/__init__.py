"""Pydantic models, queries, serializers and errors.

No I/O, no driver, no framework.
"""

from .cache import CacheEntry
from .checkpoints import (
    Channel,
    ChannelHistory,
    Checkpoint,
    CheckpointQuery,
    PendingWrite,
    PrunePolicy,
    SavedCheckpoint,
    Thread,
    ValueSource,
    Version,
)
from .errors import (
    AccessDenied,
    ClientClosed,
    Conflict,
    CorruptRecord,
    EmbeddingFailed,
    InvalidInput,
    MissingChannels,
    MissingDependency,
    QuotaExceeded,
    StatekeepError,
    ThreadClosed,
    Throttled,
    TypeMismatch,
    Unavailable,
    Unsupported,
    WrongEventLoop,
)
from .ids import new_checkpoint_id
from .items import ANY, DEFAULT, DeleteItem, GetItem, Item, NamespaceMatch, PutItem, SearchItem
from .payload import Payload, Serializer, dump, load
from .serializers import JsonSerializer, ModelSerializer, MsgpackSerializer
from .typed import TypedCheckpoint, TypedItem, TypedSearchItem
from .vector_index import SearchStatus, VectorIndex

__all__ = [
    "ANY",
    "DEFAULT",
    "AccessDenied",
    "CacheEntry",
    "Channel",
    "ChannelHistory",
    "Checkpoint",
    "CheckpointQuery",
    "ClientClosed",
    "Conflict",
    "CorruptRecord",
    "DeleteItem",
    "EmbeddingFailed",
    "GetItem",
    "InvalidInput",
    "Item",
    "JsonSerializer",
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
    "TypedSearchItem",
    "Unavailable",
    "Unsupported",
    "ValueSource",
    "VectorIndex",
    "Version",
    "WrongEventLoop",
    "dump",
    "load",
    "new_checkpoint_id",
]
