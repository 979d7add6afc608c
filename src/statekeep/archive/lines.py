"""The lines of an archive: JSON objects, each with a ``kind``.

``docs/backup.md`` describes them field by field.

Equal records make equal lines: fields are in one order, times in UTC to the microsecond, channels sorted by name. Only
the order of names in users' own JSON is as it was stored.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping
from typing import Any, Final

import pybase64
from attrs import frozen

from ..domain import Channel, Checkpoint, Item, LogEntry, Payload, PendingWrite, SavedCheckpoint, ValueSource
from ..domain.cache import CacheEntry
from ..domain.items import ItemValue, Namespace
from ..domain.json_values import JsonText, dumps, loads
from ..domain.shown import shown
from ..domain.tagged_json import decode, encode

FORMAT: Final = "statekeep"
VERSION: Final = 1

KINDS: Final = ("checkpoints", "items", "logs", "cache")
"""The kinds of records, in the order in which they stand in a file."""

FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "archive": ("format", "version", "kinds"),
    "thread": ("id", "expires_at"),
    "value": ("digest", "encoding", "data"),
    "checkpoint": ("namespace", "id", "parent", "created_at", "metadata", "header", "channels"),
    "write": ("task", "path", "idx", "channel", "value"),
    "item": ("namespace", "key", "version", "created_at", "updated_at", "expires_at", "value"),
    "log": ("name", "expires_at"),
    "entry": ("position", "value"),
    "cache": ("namespace", "key", "created_at", "expires_at", "encoding", "data"),
    "end": ("counts", "sha256"),
}
"""The fields of each kind of line besides ``kind``, in their order."""


# -- what lines are read as


@frozen
class Header:
    """The first line: the kinds of records that the archive has."""

    kinds: tuple[str, ...]


@frozen
class ThreadLine:
    """The beginning of a thread; its lines follow."""

    thread_id: str
    expires_at: dt.datetime | None


@frozen
class ValueLine:
    """A value of the thread; lines behind it name it by its digest."""

    digest: str
    payload: Payload


@frozen
class CheckpointLine:
    """A checkpoint without its values.

    Attributes:
        checkpoint: its channels that have values are ``STORED``.
        digests: of these values, by channel.
    """

    checkpoint: Checkpoint
    digests: Mapping[str, str]


@frozen
class WriteLine:
    """A pending write of the checkpoint before it.

    Its payload has the digest in place of data.
    """

    write: PendingWrite
    digest: str


@frozen
class LogLine:
    """The beginning of a log; its entries follow."""

    name: Namespace
    expires_at: dt.datetime | None


@frozen
class EndLine:
    """The last line.

    It counts the records of each kind, and has the digest of all bytes before it.
    """

    counts: Mapping[str, int]
    sha256: str


Line = Header | ThreadLine | ValueLine | CheckpointLine | WriteLine | Item | LogLine | LogEntry | CacheEntry | EndLine


def digest_of(payload: Payload) -> str:
    """Return what stands for a value in its thread."""
    encoding = payload.encoding.encode()
    digest = hashlib.blake2b(b"%d:%b" % (len(encoding), encoding), digest_size=24)
    digest.update(payload.data)
    return _b64(digest.digest())


# -- to lines


def line(kind: str, *values: Any) -> bytes:
    """Return a line with the fields of its kind."""
    fields = dict(zip(FIELDS[kind], values, strict=True))
    return dumps({"kind": kind, **fields}).encode() + b"\n"


def header_line(kinds: tuple[str, ...]) -> bytes:
    """Return the first line."""
    return line("archive", FORMAT, VERSION, list(kinds))


def thread_line(thread_id: str, expires_at: dt.datetime | None) -> bytes:
    """Return the line that begins a thread."""
    return line("thread", thread_id, _time_or_none(expires_at))


def value_line(digest: str, payload: Payload) -> bytes:
    """Return the line of a value.

    It may be large, so it is joined and not encoded as a whole.
    """
    head = dumps({"kind": "value", "digest": digest, "encoding": payload.encoding})
    return b"".join([head[:-1].encode(), b',"data":"', pybase64.b64encode(payload.data), b'"}\n'])


def checkpoint_line(saved: SavedCheckpoint, digests: Mapping[str, str]) -> bytes:
    """Return the line of a checkpoint whose values have these digests, by channel."""
    channels = {
        name: [channel.version, digests.get(name, channel.carry is ValueSource.REPLAYED or None)]
        for name, channel in sorted(saved.channels.items())
    }
    return line(
        "checkpoint",
        saved.namespace,
        saved.checkpoint_id,
        saved.parent_id,
        _time(saved.created_at),
        encode(saved.metadata),
        None if saved.header is None else _payload(saved.header),
        channels,
    )


def write_line(write: PendingWrite, digest: str) -> bytes:
    """Return the line of a pending write."""
    return line("write", write.task_id, write.task_path, write.idx, write.channel, digest)


def item_line(item: Item) -> bytes:
    """Return the line of an item."""
    times = map(_time_or_none, (item.created_at, item.updated_at, item.expires_at))
    return line("item", list(item.namespace), item.key, item.version, *times, _value(item.value))


def log_line(name: Namespace, expires_at: dt.datetime | None) -> bytes:
    """Return the line that begins a log."""
    return line("log", list(name), _time_or_none(expires_at))


def entry_line(entry: LogEntry) -> bytes:
    """Return the line of a value of a log."""
    return line("entry", entry.position, _value(entry.value))


def cache_line(entry: CacheEntry) -> bytes:
    """Return the line of a cache entry."""
    times = map(_time_or_none, (entry.created_at, entry.expires_at))
    return line("cache", list(entry.namespace), entry.key, *times, entry.payload.encoding, _b64(entry.payload.data))


def end_line(counts: Mapping[str, int], sha256: str) -> bytes:
    """Return the last line."""
    return line("end", dict(sorted(counts.items())), sha256)


def _b64(data: bytes) -> str:
    return pybase64.b64encode(data).decode("ascii")


def _time(moment: dt.datetime) -> str:
    try:
        moment = moment.astimezone(dt.UTC)
    except OverflowError:  # one of the first or last days that Python has
        pass
    return moment.isoformat(timespec="microseconds")


def _time_or_none(moment: dt.datetime | None) -> str | None:
    return None if moment is None else _time(moment)


def _payload(payload: Payload) -> dict[str, str]:
    return {"encoding": payload.encoding, "data": _b64(payload.data)}


def _value(value: ItemValue) -> dict[str, Any]:
    if isinstance(value, Payload):
        return _payload(value)
    return {"json": loads(str(value)) if isinstance(value, JsonText) else value}


# -- and back


def parse(text: bytes, thread_id: str = "") -> Line:
    """Return what a line says.

    Args:
        text: the line.
        thread_id: the thread that it is in.

    Raises:
        ValueError: it is no line of an archive. Also as :class:`~statekeep.InvalidInput`.
        RecursionError: it is nested too deep.
    """
    found = loads(text.decode())
    kind = found.pop("kind", None) if type(found) is dict else None
    if not isinstance(kind, str) or kind not in FIELDS:
        raise ValueError(f"it is no record of an archive: {shown(text)}")
    fields = FIELDS[kind]
    if tuple(found) != fields:
        raise ValueError(f"a line of the kind {kind} has the fields {', '.join(fields)}, not {shown(list(found))}")
    one: Line = _PARSERS[kind](found, thread_id)
    return one


def _header(found: dict[str, Any], _: str) -> Header:
    kinds = found["kinds"]
    if type(kinds) is not list or kinds != [kind for kind in KINDS if kind in kinds]:
        raise ValueError(f"kinds must be some of {', '.join(KINDS)}, in this order, got {shown(kinds)}")
    return Header(tuple(kinds))


def _value_line(found: dict[str, Any], _: str) -> ValueLine:
    payload = _to_payload(found["encoding"], found["data"])
    if digest_of(payload) != found["digest"]:
        raise ValueError("the value has another digest than the line says")
    return ValueLine(found["digest"], payload)


def _checkpoint(found: dict[str, Any], thread_id: str) -> CheckpointLine:
    channels, digests = {}, {}
    for name, (version, source) in found["channels"].items():
        if isinstance(source, str):
            digests[name] = source
            channels[name] = Channel.earlier(version)
        elif source is True:
            channels[name] = Channel.replayed(version)
        elif source is None:
            channels[name] = Channel.empty(version)
        else:
            raise ValueError(f"the value of a channel must be a digest, true or null, got {shown(source)}")
    header = found["header"]
    checkpoint = Checkpoint(
        thread_id=thread_id,
        namespace=found["namespace"],
        checkpoint_id=found["id"],
        parent_id=found["parent"],
        created_at=_to_time(found["created_at"]),
        metadata=decode(found["metadata"]),
        header=None if header is None else _to_payload(**header),
        channels=channels,
    )
    return CheckpointLine(checkpoint, digests)


def _write(found: dict[str, Any], _: str) -> WriteLine:
    digest = found["value"]
    if type(digest) is not str:
        raise ValueError(f"the value of a write must be a digest, got {shown(digest)}")
    write = PendingWrite(
        task_id=found["task"],
        task_path=found["path"],
        idx=found["idx"],
        channel=found["channel"],
        payload=Payload(encoding="digest", data=digest.encode()),
    )
    return WriteLine(write, digest)


def _item(found: dict[str, Any], _: str) -> Item:
    return Item(
        namespace=_to_labels(found["namespace"]),
        key=found["key"],
        value=_to_value(found["value"]),
        created_at=_to_time(found["created_at"]),
        updated_at=_to_time(found["updated_at"]),
        version=found["version"],
        expires_at=_to_time_or_none(found["expires_at"]),
    )


def _cache(found: dict[str, Any], _: str) -> CacheEntry:
    return CacheEntry(
        namespace=_to_labels(found["namespace"]),
        key=found["key"],
        payload=_to_payload(found["encoding"], found["data"]),
        created_at=_to_time(found["created_at"]),
        expires_at=_to_time_or_none(found["expires_at"]),
    )


def _end(found: dict[str, Any], _: str) -> EndLine:
    counts, sha256 = found["counts"], found["sha256"]
    if type(counts) is not dict or not all(type(count) is int for count in counts.values()) or type(sha256) is not str:
        raise ValueError("counts must be numbers, and sha256 text")
    return EndLine(counts, sha256)


def _text(field: str, value: Any) -> str:
    if type(value) is not str or not value:
        raise ValueError(f"{field} must be text, and not empty, got {shown(value)}")
    return value


def _to_labels(value: Any) -> Namespace:
    if type(value) is not list:
        raise ValueError(f"labels must be a list, got {shown(value)}")
    return tuple(_text("a label", label) for label in value)


def _to_time(value: Any) -> dt.datetime:
    if type(value) is not str:
        raise ValueError(f"a time must be text, got {shown(value)}")
    moment = dt.datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError(f"a time must have an offset, got {shown(value)}")
    return moment


def _to_time_or_none(value: Any) -> dt.datetime | None:
    return None if value is None else _to_time(value)


def _to_payload(encoding: Any, data: Any) -> Payload:
    if type(data) is not str:
        raise ValueError(f"data must be base64, got {shown(data)}")
    return Payload(encoding=encoding, data=pybase64.b64decode(data, validate=True))


def _to_value(value: Any) -> ItemValue:
    if type(value) is dict and tuple(value) == ("json",):
        return value["json"]
    if type(value) is dict and tuple(value) == ("encoding", "data"):
        return _to_payload(**value)
    raise ValueError(f"a value has json, or encoding and data, got {shown(value)}")


_PARSERS: Final[Mapping[str, Any]] = {
    "archive": _header,
    "thread": lambda found, _: ThreadLine(_text("id", found["id"]), _to_time_or_none(found["expires_at"])),
    "value": _value_line,
    "checkpoint": _checkpoint,
    "write": _write,
    "item": _item,
    "log": lambda found, _: LogLine(_to_labels(found["name"]), _to_time_or_none(found["expires_at"])),
    "entry": lambda found, _: LogEntry(position=found["position"], value=_to_value(found["value"])),
    "cache": _cache,
    "end": _end,
}
