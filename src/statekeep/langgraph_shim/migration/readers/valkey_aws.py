"""langgraph-checkpoint-aws on Valkey: its saver, store and cache."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import define, field, frozen

from ....domain import Payload, PendingWrite, SavedCheckpoint, Serializer
from ....domain.model import Ttl
from ....repositories.operation import Operation, Page
from ..payloads import assembled, in_order_of, place_of, taken_apart
from ..source import FoundEntry, FoundItem, Key, utc
from .servers import (
    SCANNED,
    Server,
    bytes_of,
    corrupt,
    longest,
    replies,
    scan,
    seconds_left,
    some_keys,
    text_of,
)
from .sql import time_of

THREAD: Final = "thread:{"
STORE: Final = "langgraph:"
CACHE: Final = "langgraph:cache:"

_HEAD: Final = 65_535
"""The last byte of a record's beginning: the longest thread id fits in, however it is escaped."""


@define
class ValkeyThreads:
    """Threads of ValkeySaver and AsyncValkeySaver.

    A LIST names the checkpoints of a thread and namespace, and each is JSON with a serialized whole in it. The package
    stores no paths of tasks. A key cannot always be taken apart, so the records say what thread it is.
    """

    server: Server
    serde: Serializer | None
    _namespaces: dict[str, dict[str, str]] = field(factory=dict)
    """By thread: of each namespace what the keys of its records have in common."""

    def threads(self) -> Operation[list[str]]:
        newest: dict[str, str] = {}
        cursor: Any = None
        while True:
            keys, cursor = yield from scan(self.server, cursor, THREAD, "list")
            places = [key.removeprefix("thread:") for key in keys]
            for place, found in zip(places, (yield from self._newest(places)), strict=True):
                if found is not None:
                    thread_id, namespace, checkpoint_id = found
                    self._namespaces.setdefault(thread_id, {})[namespace] = place
                    newest[thread_id] = max(newest.get(thread_id, ""), checkpoint_id)
            if cursor is None:
                return sorted(newest, key=lambda thread_id: (newest[thread_id], thread_id))

    def _newest(self, places: Sequence[str]) -> Operation[list[tuple[str, str, str] | None]]:
        """Return the newest checkpoint that is there of each LIST.

        It is named by thread, namespace and id.
        """
        listed = yield from replies(self.server, [("LINDEX", f"thread:{place}", 0) for place in places])
        ids = ["" if id_ is None else text_of(id_) for id_ in listed]
        keys = [f"checkpoint:{place}:{id_}" for place, id_ in zip(places, ids, strict=True)]
        # Records may be large: their beginning tells the thread.
        heads = yield from replies(self.server, [("GETRANGE", key, 0, _HEAD) for key in keys])
        found: list[tuple[str, str, str] | None] = []
        for place, id_, head in zip(places, ids, heads, strict=True):
            found.append(_named(place, id_, head) if head else (yield from self._first(place)))
        return found

    def _first(self, place: str) -> Operation[tuple[str, str, str] | None]:
        """Look for the newest that is there, as records may end before the LIST does."""
        start = 0
        while True:
            [listed] = yield from replies(self.server, [("LRANGE", f"thread:{place}", start, start + SCANNED - 1)])
            ids = [text_of(id_) for id_ in listed or ()]
            heads = yield from replies(
                self.server, [("GETRANGE", f"checkpoint:{place}:{id_}", 0, _HEAD) for id_ in ids]
            )
            for id_, head in zip(ids, heads, strict=True):
                if head:
                    return _named(place, id_, head)
            if len(ids) < SCANNED:
                return None
            start += SCANNED

    def keys(self, thread_id: str) -> Operation[list[Key]]:
        if thread_id not in self._namespaces:
            yield from self.threads()
        found: set[Key] = set()
        for namespace, place in self._namespaces.get(thread_id, {}).items():
            [ids] = yield from replies(self.server, [("LRANGE", f"thread:{place}", 0, -1)])
            found.update((namespace, text_of(id_)) for id_ in ids or ())
        return sorted(found, key=lambda key: (key[1], key[0]))

    def read(self, thread_id: str, keys: Sequence[Key]) -> Operation[list[SavedCheckpoint]]:
        places = [f"{{{thread_id}}}:{namespace}:{checkpoint_id}" for namespace, checkpoint_id in keys]
        written = yield from replies(self.server, [("GET", f"writes:{place}") for place in places])
        stored = yield from replies(self.server, [("GET", f"checkpoint:{place}") for place in places])
        found = [
            self._saved((thread_id, *key), place, data, writes)
            for key, place, data, writes in zip(keys, places, stored, written, strict=True)
            if data is not None
        ]
        return in_order_of(keys, found)

    def _saved(self, address: tuple[str, str, str], place: str, data: Any, writes: Any) -> SavedCheckpoint:
        record = _record(f"checkpoint:{place}", data)
        try:
            whole, metadata = _bytes(record["checkpoint"]), json.loads(_bytes(record["metadata"]) or b"{}")
            parent_id, encoding = record["parent_checkpoint_id"], record["type"]
            listed = [] if writes is None else [_write(one) for one in json.loads(text_of(writes))]
        except (KeyError, TypeError, ValueError) as error:
            raise corrupt("the record", f"checkpoint:{place}", error) from error
        parts = taken_apart(encoding, whole, self.serde, place_of(*address))
        return assembled(address, parent_id, parts, metadata, listed)

    def left(self, thread_id: str, keys: Sequence[Key]) -> Operation[Ttl]:
        names = [f"checkpoint:{{{thread_id}}}:{namespace}:{checkpoint_id}" for namespace, checkpoint_id in keys]
        found = yield from seconds_left(self.server, names)
        return longest(left for left in found if left != 0)


def _named(place: str, checkpoint_id: str, head: Any) -> tuple[str, str, str] | None:
    """Return thread, namespace and id of a record.

    It is ``None`` for one of another program.

    Args:
        place: what follows ``checkpoint:`` in its key, but for the id.
        checkpoint_id: the id.
        head: the beginning of the record.
    """
    text = bytes_of(head).decode(errors="replace")
    begin = '{"thread_id":'
    try:
        thread_id = json.JSONDecoder().raw_decode(text.removeprefix(begin))[0] if text.startswith(begin) else None
    except ValueError:
        thread_id = None
    if not isinstance(thread_id, str) or not place.startswith(f"{{{thread_id}}}:"):
        return None
    return thread_id, place.removeprefix(f"{{{thread_id}}}:"), checkpoint_id


def _record(key: str, data: Any) -> dict[str, Any]:
    try:
        found = json.loads(text_of(data))
        if not isinstance(found, dict):
            raise TypeError("no JSON object")
    except (ValueError, TypeError) as error:
        raise corrupt("the record", key, error) from error
    return found


def _bytes(value: Any) -> bytes:
    return base64.b64decode(value) if isinstance(value, str) else bytes(value or b"")


def _write(record: Mapping[str, Any]) -> PendingWrite:
    payload = Payload(encoding=record["type"], data=_bytes(record["value"]))
    return PendingWrite(task_id=record["task_id"], idx=record["idx"], channel=record["channel"], payload=payload)


@frozen
class ValkeyItems:
    """Items of ValkeyStore and AsyncValkeyStore: a HASH each.

    Labels of a namespace are joined with slashes.
    """

    server: Server

    def page(self, cursor: Any) -> Operation[Page[FoundItem]]:
        keys, following = yield from some_keys(self.server, cursor, STORE, "hash")
        records = yield from replies(
            self.server, [("HMGET", key, "namespace", "key", "value", "updated_at") for key in keys]
        )
        left = yield from seconds_left(self.server, keys)
        found = []
        for key, record, seconds in zip(keys, records, left, strict=True):
            if record is None or None in record or seconds == 0:
                continue  # gone, or a hash of another program
            namespace, name, value, stamp = map(text_of, record)
            try:
                found.append(
                    FoundItem(
                        tuple(namespace.split("/")),
                        name,
                        json.loads(value),
                        _local_time(stamp),
                        None if seconds is None else utc(seconds),
                    )
                )
            except ValueError as error:
                raise corrupt("the item", key, error) from error
        return Page(found, following)


def _local_time(stamp: str) -> Any:
    """Return a time, if it can be relied on.

    The package writes it by its host's clock, without a zone.
    """
    found = time_of(stamp)
    return found if stamp.endswith("+00:00") else None


@frozen
class ServerEntries:
    """Cache entries of ValkeyCache, or of LangGraph's RedisCache.

    Under each key is ``encoding:bytes``.

    Attributes:
        separator: what stands between labels and key: ``"/"`` or ``":"``. The key is what stands behind the last one.
    """

    server: Server
    prefix: str
    separator: str

    def page(self, cursor: Any) -> Operation[Page[FoundEntry]]:
        keys, following = yield from some_keys(self.server, cursor, self.prefix, "string")
        values = yield from replies(self.server, [("GET", key) for key in keys])
        left = yield from seconds_left(self.server, keys)
        found = []
        for key, value, seconds in zip(keys, values, left, strict=True):
            encoding, colon, data = (b"" if value is None else bytes_of(value)).partition(b":")
            if not colon or not encoding or seconds == 0:
                continue  # gone, or a value of another program: their own caches miss it, too
            *labels, name = key.removeprefix(self.prefix).split(self.separator)
            payload = Payload(encoding=encoding.decode(), data=data)
            found.append(FoundEntry(tuple(labels), name, payload, None if seconds is None else utc(seconds)))
        return Page(found, following)
