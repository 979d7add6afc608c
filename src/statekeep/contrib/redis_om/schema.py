"""The fields of records as redis-om knows them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from attrs import frozen

from ...domain import CacheEntry, Checkpoint, Item, PendingWrite


@frozen
class Field:
    """A field of a record: its name and type in redis-om, and whether it is indexed."""

    name: str
    type: type
    indexed: bool = False
    optional: bool = False


@frozen
class RecordType:
    """The stored form of a domain model."""

    model: type
    name: str
    fields: Sequence[Field]


CHECKPOINT = RecordType(
    Checkpoint,
    "checkpoint",
    (
        Field("thread_id", str, indexed=True),
        Field("namespace", str, indexed=True),
        Field("checkpoint_id", str),
        Field("parent_id", str, optional=True),
        Field("created_at", dt.datetime, indexed=True),
        Field("run_id", str, indexed=True, optional=True),
        Field("step", int, indexed=True, optional=True),
        Field("metadata", str),
        Field("encoding", str),
        Field("header", bytes),
        Field("channels", str),
    ),
)

PENDING_WRITE = RecordType(
    PendingWrite,
    "pending_write",
    (
        Field("thread_id", str, indexed=True),
        Field("namespace", str, indexed=True),
        Field("checkpoint_id", str, indexed=True),
        Field("task_id", str),
        Field("task_path", str),
        Field("idx", int),
        Field("channel", str),
        Field("encoding", str),
        Field("value", bytes),
    ),
)

ITEM = RecordType(
    Item,
    "item",
    (
        Field("namespace", str, indexed=True),
        Field("item_key", str),
        Field("value", str),
        Field("created_at", dt.datetime, indexed=True),
        Field("updated_at", dt.datetime, indexed=True),
        Field("version", int),
        Field("expires_at", dt.datetime, optional=True),
        Field("ttl", float, optional=True),
        Field("vectors", str, optional=True),
    ),
)

CACHE_ENTRY = RecordType(
    CacheEntry,
    "cache_entry",
    (
        Field("namespace", str, indexed=True),
        Field("item_key", str),
        Field("encoding", str),
        Field("value", bytes),
        Field("created_at", dt.datetime, indexed=True),
        Field("expires_at", dt.datetime, optional=True),
    ),
)

RECORD_TYPES = (CHECKPOINT, PENDING_WRITE, ITEM, CACHE_ENTRY)
