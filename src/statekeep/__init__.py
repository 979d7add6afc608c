"""Typed persistence for AI agents: checkpoints and pending writes, in Valkey or in memory.

>>> import statekeep
>>> with statekeep.connect("memory:") as keep:
...     keep.checkpoints.put(statekeep.Checkpoint(thread_id="chat-1", metadata={"step": 0}))
...     keep.checkpoints.get("chat-1").metadata
{'step': 0}
"""

from .domain import (
    AccessDenied,
    Carry,
    Channel,
    ChannelHistory,
    Checkpoint,
    CheckpointQuery,
    Conflict,
    CorruptRecord,
    InvalidInput,
    JsonSerializer,
    MissingChannels,
    MissingDependency,
    ModelSerializer,
    MsgpackSerializer,
    Payload,
    PendingWrite,
    QuotaExceeded,
    SavedCheckpoint,
    Serializer,
    StatekeepError,
    Thread,
    Throttled,
    Unavailable,
    Unsupported,
    Version,
    WrongEventLoop,
    dump,
    load,
    new_checkpoint_id,
)
from .repositories.checkpoints import AsyncCheckpointRepository, CheckpointRepository
from .repositories.connect import AsyncConnection, Connection, aconnect, connect

__all__ = [
    "AccessDenied",
    "AsyncCheckpointRepository",
    "AsyncConnection",
    "Carry",
    "Channel",
    "ChannelHistory",
    "Checkpoint",
    "CheckpointQuery",
    "CheckpointRepository",
    "Conflict",
    "Connection",
    "CorruptRecord",
    "InvalidInput",
    "JsonSerializer",
    "MissingChannels",
    "MissingDependency",
    "ModelSerializer",
    "MsgpackSerializer",
    "Payload",
    "PendingWrite",
    "QuotaExceeded",
    "SavedCheckpoint",
    "Serializer",
    "StatekeepError",
    "Thread",
    "Throttled",
    "Unavailable",
    "Unsupported",
    "Version",
    "WrongEventLoop",
    "aconnect",
    "connect",
    "dump",
    "load",
    "new_checkpoint_id",
]
