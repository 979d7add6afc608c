"""langgraph-checkpoint-redis: its savers and its store."""

from __future__ import annotations

import base64
import datetime as dt
import json
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from attrs import define, field, frozen

from ....domain import CorruptRecord, PendingWrite, SavedCheckpoint, Serializer, dump
from ....domain.model import Ttl
from ....repositories.operation import Operation, Page
from ..payloads import in_order_of, place_of
from ..source import Ask, FoundItem, Key, utc
from .generic import of_objects
from .servers import Index, Server, corrupt, documents, longest, scan, seconds_left, some_keys

KIND: Final = "ReJSON-RL"
"""The type of JSON documents."""

_FIELDS: Final = ("$.thread_id", "$.checkpoint_ns", "$.checkpoint_id")
_NO_ID: Final = "00000000-0000-0000-0000-000000000000"
_NO_NAMESPACE: Final = "__empty__"


def _namespace(text: str) -> str:
    return "" if text == _NO_NAMESPACE else text


def _id(text: Any) -> str | None:
    return None if text in (None, "", "None", _NO_ID) else str(text)


@define
class RedisThreads:
    """Threads of RedisSaver, ShallowRedisSaver and their async twins.

    Records are JSON documents. What is in them is made objects by the package's serializer, which writes objects in a
    way of its own, and serialized anew.

    Attributes:
        decoder: the package's serializer.
    """

    server: Server
    decoder: Any
    writer: Serializer
    prefix: str = "checkpoint"
    writes_prefix: str = "checkpoint_write"
    _index: Index | None = field(default=None)
    _keys: dict[Key, str] = field(factory=dict)
    _thread: str = ""

    @property
    def serde(self) -> Serializer:
        """The serializer that wrote the payloads."""
        return self.writer

    def threads(self) -> Operation[list[str]]:
        self._index = index = yield Ask.of_blocking(Index)
        yield from self._noted(index, "checkpoints", f"{self.prefix}:")
        yield from self._noted(index, "writes", f"{self.writes_prefix}:")
        threads: list[str] = yield Ask.of_blocking(index.threads)
        return threads

    def _noted(self, index: Index, table: str, prefix: str) -> Operation[None]:
        cursor: Any = None
        while True:
            keys, cursor = yield from scan(self.server, cursor, prefix, KIND)
            found = yield from documents(self.server, keys, _FIELDS)
            rows = []
            for key, record in zip(keys, found, strict=True):
                # A document of another program lacks a field.
                if record and all(record.get(name) for name in _FIELDS):
                    thread_id, namespace, checkpoint_id = (record[name][0] for name in _FIELDS)
                    rows.append((str(thread_id), _namespace(namespace), checkpoint_id, key))
            yield Ask.of_blocking(partial(index.add, table, rows))
            if cursor is None:
                return

    def keys(self, thread_id: str) -> Operation[list[Key]]:
        if self._index is None:
            yield from self.threads()
        self._keys = yield Ask.of_blocking(partial(self._indexed().checkpoints, thread_id))
        self._thread = thread_id
        return sorted(self._keys, key=lambda key: (key[1], key[0]))

    def _indexed(self) -> Index:
        if self._index is None:
            raise RuntimeError("threads() comes first")
        return self._index

    def read(self, thread_id: str, keys: Sequence[Key]) -> Operation[list[SavedCheckpoint]]:
        if self._thread != thread_id:
            yield from self.keys(thread_id)
        keys = [key for key in keys if key in self._keys]
        found = yield from documents(self.server, [self._keys[key] for key in keys])
        saved = []
        for key, document in zip(keys, found, strict=True):
            if document is None:
                continue
            places = yield Ask.of_blocking(partial(self._indexed().writes, thread_id, key))
            written = yield from documents(self.server, places)
            saved.append(self._saved((thread_id, *key), document, [one for one in written if one is not None]))
        return in_order_of(keys, saved)

    def _saved(self, address: tuple[str, str, str], document: dict[str, Any], written: list[Any]) -> SavedCheckpoint:
        try:
            checkpoint = document["checkpoint"]
            checkpoint = dict(json.loads(checkpoint) if isinstance(checkpoint, str) else checkpoint)
            metadata = document["metadata"]
            metadata = json.loads(metadata) if isinstance(metadata, str) else metadata
            checkpoint.pop("type", None)
            if not checkpoint.get("pending_sends"):
                checkpoint.pop("pending_sends", None)
            values = self._revived(checkpoint.get("channel_values") or {})
            writes = [self._write(one) for one in written]
        except Exception as error:
            raise CorruptRecord(f"cannot read {place_of(*address)} {type(error).__name__}: {error}") from error
        parent_id = _id(document.get("parent_checkpoint_id"))
        return of_objects(address, parent_id, checkpoint | {"channel_values": values}, metadata, writes, self.writer)

    def _revived(self, value: Any) -> Any:
        return self.decoder._revive_if_needed(_with_bytes(value))  # noqa: SLF001 - what its own saver calls

    def _write(self, record: Mapping[str, Any]) -> PendingWrite:
        value = self.decoder.loads_typed((record["type"], base64.b64decode(record["blob"])))
        return PendingWrite(
            task_id=record["task_id"],
            task_path=record.get("task_path") or "",
            idx=int(record["idx"]),
            channel=record["channel"],
            payload=dump(self.writer, value),
        )

    def left(self, thread_id: str, keys: Sequence[Key]) -> Operation[Ttl]:
        if self._thread != thread_id:
            yield from self.keys(thread_id)
        found = yield from seconds_left(self.server, [self._keys[key] for key in keys if key in self._keys])
        return longest(left for left in found if left != 0)


def _with_bytes(value: Any) -> Any:
    """Return a document in which bytes are bytes."""
    if isinstance(value, list):
        return [_with_bytes(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1 and isinstance(value.get("__bytes__"), str):
        return base64.b64decode(value["__bytes__"])
    return {key: _with_bytes(item) for key, item in value.items()}


_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)


@frozen
class RedisItems:
    """Items of RedisStore and AsyncRedisStore: a JSON document each.

    A value that holds objects, such as messages, is in a wrapping of the package, and stays in it.
    """

    server: Server
    prefix: str = "store"

    def page(self, cursor: Any) -> Operation[Page[FoundItem]]:
        keys, following = yield from some_keys(self.server, cursor, f"{self.prefix}:", KIND)
        records = yield from documents(self.server, keys)
        left = yield from seconds_left(self.server, keys)
        found = []
        for key, record, seconds in zip(keys, records, left, strict=True):
            if not isinstance(record, dict) or not {"prefix", "key", "value"} <= record.keys() or seconds == 0:
                continue  # gone, or a document of another program
            try:
                value = json.loads(record["value"]) if isinstance(record["value"], str) else record["value"]
                found.append(
                    FoundItem(
                        tuple(_ESCAPED.sub(r"\1", record["prefix"]).split(".")),
                        record["key"],
                        value,
                        _time(record.get("updated_at")),
                        None if seconds is None else utc(seconds),
                        created_at=_time(record.get("created_at")),
                    )
                )
            except (TypeError, ValueError) as error:
                raise corrupt("the item", key, error) from error
        return Page(found, following)


def _time(microseconds: Any) -> dt.datetime | None:
    if not isinstance(microseconds, int | float):
        return None
    return dt.datetime.fromtimestamp(microseconds / 1_000_000, dt.UTC)
