"""Records of checkpoints, which redis-om reads too, and the raw channel values.

A record holds text only: integers in decimal, datetimes as seconds since 1970 (what redis-om writes), bytes in
base64, JSON as text. ``None`` is an absent field.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter
from types import MappingProxyType
from urllib.parse import quote

import pybase64

from ....domain import (
    Channel,
    Checkpoint,
    CorruptRecord,
    Payload,
    PendingWrite,
    SavedCheckpoint,
    ValueSource,
    tagged_json,
)
from ....domain.checkpoints import encoded_metadata
from ....domain.lineage import run_of
from ....domain.model import LONGEST_ID, SHORT
from ...records import pieces
from ...records.pieces import Piece, Value, name_of
from ..codecs import belongs, decode_bytes, decode_time, encode_bytes, encode_time
from ..keys import decode_part, encode_part
from .keys import NamespaceKeys

READ_FIELDS = ("checkpoint_id", "parent_id", "created_at", "metadata", "encoding", "header", "channels", "pk")
"""The fields from which :func:`decode_checkpoint` builds a checkpoint."""

WRITE_FIELDS = ("task_path", "channel", "encoding", "value", "pk")
"""The fields from which :func:`decode_write` builds a write, as in ``writes.lua``."""

SENT_FIELDS = ("created_at", "run_id", "step", "metadata", "encoding", "header")
"""The fields that ``put.lua`` cannot tell from a record's key and its parent's."""

VALUELESS = {"!": ValueSource.EMPTY, "?": ValueSource.REPLAYED}
"""The first letter of a token in ``channels`` whose channel has no value."""

PIECE = "="
"""The first letter of the field of a piece, and of a manifest; no token of a channel begins with it."""

_ORDER = attrgetter("task_path", "task_id", "idx")

_KINDS = {
    ValueSource.VALUE: "=",
    ValueSource.STORED: "^",
    ValueSource.STORED_IF_ANY: "~",
    ValueSource.REPLAYED: "?",
    ValueSource.EMPTY: "!",
}


# Looked up once: Pydantic makes each look at a method of a model a slow one, and these are called in loops.
_channel, _payload, _write = Channel.trusted, Payload.trusted, PendingWrite.trusted

_plain_version = re.compile(r"[A-Za-z0-9_.~-]*").fullmatch


def token(name: str, version: str | int | float) -> str:
    """Return the field of a channel's value: ``CHANNEL:VERSION``, the version typed.

    >>> token("messages", 3), token("messages", "3"), token("messages", 3.0)
    ('messages:i3', 'messages:s3', 'messages:f3.0')
    """
    if type(version) is str:
        return f"{encode_part(name)}:s{version if _plain_version(version) else quote(version, safe='')}"
    return f"{encode_part(name)}:{'f' if isinstance(version, float) else 'i'}{version!r}"


def _parse_token(text: str) -> tuple[str, str | int | float, Channel | None]:
    """Return a channel's name and version, and the channel if it has no value."""
    return (_parsed if len(text) <= SHORT else _parsed.__wrapped__)(text)


@lru_cache(maxsize=8192)
def _parsed(text: str) -> tuple[str, str | int | float, Channel | None]:
    name, _, version = text.lstrip("!?").partition("@")[0].partition(":")
    channel = decode_part(name)
    kind, number = version[:1], version[1:]
    found: str | int | float
    if kind == "s":
        found = decode_part(number)
    elif kind in ("i", "f"):
        found = int(number) if kind == "i" else float(number)
        if repr(found) != number or number in ("nan", "inf", "-inf"):  # as "1_0" and "+1" are not
            raise ValueError(f"not a channel version: {text!r:.80}")
    else:
        raise ValueError(f"not a channel version: {text!r:.80}")
    carry = VALUELESS.get(text[0])
    return (
        channel,
        found,
        Channel.trusted(version=found, payload=None, carry=carry) if carry else None,
    )


def encode_value(payload: Payload) -> bytes:
    """Encode a payload: the encoding's name and the data, each behind its length.

    >>> encode_value(Payload(encoding="json", data=b"[1]"))
    b'4:json3:[1]'
    """
    encoding = payload.encoding.encode()
    return b"%d:%b%d:%b" % (len(encoding), encoding, len(payload.data), payload.data)


def decode_value(data: bytes, key: str, field: str) -> Payload:
    """Undo :func:`encode_value`."""
    try:
        start = data.index(b":") + 1
        end = start + int(data[: start - 1])
        first = data.index(b":", end) + 1
        if start >= end or len(data) - first != int(data[end : first - 1]):
            raise ValueError("wrong length")
        return _payload(encoding=data[start:end].decode(), data=data[first:])
    except ValueError as error:
        raise CorruptRecord(f"channel value {field!r:.80} is damaged: {error}", key=key) from error


def encode_checkpoint(checkpoint: Checkpoint) -> list[str | bytes]:
    """Encode the :data:`SENT_FIELDS`; an optional one that is missing is empty."""
    metadata, header = checkpoint.metadata, checkpoint.header
    step = metadata.get("step")
    return [
        encode_time(checkpoint.created_at),
        run_of(metadata) or "",
        str(step) if type(step) is int and abs(step) < 2**53 else "",
        encoded_metadata(checkpoint),
        header.encoding if header else "",
        encode_bytes(header.data) if header else b"",
    ]


def encode_channels(
    channels: Mapping[str, Channel], in_pieces: Mapping[str, Value] = MappingProxyType({}), *, as_it_is: bool = False
) -> list[str | bytes]:
    """Encode channels for ``put.lua``: letters, tokens, the values given, pieces.

    Args:
        channels: by name.
        in_pieces: the values of those that are not sent whole.
        as_it_is: do not look for values of ``replayed`` channels.
    """
    letters, tokens, values = "", [], []
    sent: list[str | bytes] = []
    for name, channel in channels.items():
        tokens.append(token(name, channel.version))
        payload = channel.payload
        if payload is not None and (value := in_pieces.get(name)) is not None:
            letters += "&"
            values.append(encode_manifest(value, payload.encoding))
            for piece, data in value.new.items():
                sent += (PIECE + piece, data)
            continue
        letters += _KINDS[channel.carry]
        if payload is not None:
            values.append(encode_value(payload))
    return [letters.replace("?", "-") if as_it_is else letters, *tokens, *values, *sent]


LONGEST_LIST = 8192
"""Bytes of a list of tokens up to which its parts are remembered."""


@lru_cache(maxsize=256)
def _tokens(channels: bytes) -> tuple[str, ...]:
    # At white space, and in bytes: where the scripts cut, too.
    return tuple(token.decode() for token in channels.split())


def tokens(channels: bytes | None, key: str) -> tuple[str, ...]:
    """Split a record's ``channels`` into tokens.

    These are fields of values, some behind ``?`` or ``!``, each followed by those of its pieces.

    Raises:
        CorruptRecord: it is not text, or was cut off.
    """
    if channels and not channels.endswith(b" "):
        raise CorruptRecord("the list of channels is cut off", key=key)
    try:
        return (_tokens if not channels or len(channels) <= LONGEST_LIST else _tokens.__wrapped__)(channels or b"")
    except UnicodeDecodeError as error:
        raise CorruptRecord(f"the list of channels is damaged: {error}", key=key) from error


@lru_cache(maxsize=256)
def _with_value(listed: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(text for text in listed if text[0] not in VALUELESS)


def value_fields(channels: bytes | None, key: str) -> tuple[str, ...]:
    """Return the fields of values that ``channels`` names; raises as :func:`tokens`."""
    short = not channels or len(channels) <= LONGEST_LIST
    return (_with_value if short else _with_value.__wrapped__)(tokens(channels, key))


def decode_values(
    fields: Sequence[str], stored: Sequence[bytes | None], keys: NamespaceKeys
) -> dict[str, Payload | None]:
    """Decode payloads by their field; ``None`` for one that is gone, or lacks a piece."""
    found: dict[str, Payload | None] = {}
    in_pieces: dict[str, bytes] = {}
    for field, value in zip(fields, stored, strict=True):
        if field[0] == PIECE:
            continue
        if value is None:
            found[field] = None
        elif value[:1] == b"=":
            in_pieces[field] = value
        else:
            found[field] = decode_value(value, keys.values, field)
    if in_pieces:
        parts = {
            field: part
            for field, part in zip(fields, stored, strict=True)
            if field[0] == PIECE and part is not None and _is_sound(field, part, keys)
        }
        for field, manifest in in_pieces.items():
            names, encoding = _decode_manifest(manifest, keys.values, field)
            own = [part for name in names if (part := parts.get(name)) is not None]
            whole = len(own) == len(names)
            found[field] = _payload(encoding=encoding, data=b"".join(own)) if whole else None
    return found


def encode_manifest(value: Value, encoding: str) -> bytes:
    """Encode how a value is put together: its pieces, a line end, its encoding."""
    return manifest_of(" ".join(PIECE + piece.name for piece in value.pieces), encoding)


def manifest_of(pieces: str, encoding: str) -> bytes:
    """Encode the manifest of a value by the fields of its pieces."""
    name = encoding.encode()
    return b"%b\n%d:%b" % (pieces.encode(), len(name), name)


def _is_sound(field: str, part: bytes, keys: NamespaceKeys) -> bool:
    if name_of(part) != field[len(PIECE) :]:
        raise CorruptRecord(f"a piece of a channel value is damaged: {field!r:.80}", key=keys.values)
    return True


def _decode_manifest(manifest: bytes, key: str, field: str) -> tuple[list[str], str]:
    try:
        names, _, rest = manifest.partition(b"\n")
        length, _, encoding = rest.partition(b":")
        if not encoding or len(encoding) != int(length):
            raise ValueError("wrong length")
        return names.decode().split(" "), encoding.decode()
    except ValueError as error:
        raise CorruptRecord(f"channel value {field!r:.80} is damaged: {error}", key=key) from error


def known_values(
    fields: Sequence[str], stored: Sequence[bytes | None], values: Mapping[str, Payload | None], keys: NamespaceKeys
) -> Iterator[tuple[str, Value]]:
    """Return long values that were read, by the encoded name of their channel."""
    parts: dict[str, bytes | None] = {}
    for field, body in zip(fields, stored, strict=True):
        payload = values.get(field)
        if payload is None or body is None or len(payload.data) < pieces.SHORTEST:
            continue
        own: tuple[Piece, ...] = ()
        if body[:1] == b"=":
            parts = parts or dict(zip(fields, stored, strict=True))
            names, _ = _decode_manifest(body, keys.values, field)
            own = tuple(Piece(name[1:], len(parts[name] or b"")) for name in names)
        yield field.partition(":")[0], Value(payload.data, own)


def decode_channels(
    channels: bytes | None, values: Mapping[str, Payload | None], keys: NamespaceKeys, key: str
) -> dict[str, Channel]:
    """Build channels by name from the ``channels`` of a record and the values hash."""
    found: dict[str, Channel] = {}
    for text in tokens(channels, key):
        if text[0] == PIECE:
            continue
        name, version, channel = _parse_token(text)
        if channel is None:
            payload = values.get(text)
            if payload is None:
                raise CorruptRecord(f"the value of channel {name!r:.80} is gone", key=keys.values)
            channel = _channel(version=version, payload=payload, carry=ValueSource.VALUE)
        found[name] = channel
    return found


def decode_checkpoint(
    keys: NamespaceKeys,
    key: str,
    encoded_id: str,
    row: Sequence[bytes | None],
    values: Mapping[str, Payload | None],
    writes: Sequence[PendingWrite],
) -> SavedCheckpoint:
    """Build a checkpoint from its :data:`READ_FIELDS`, values, and pending writes.

    Raises:
        CorruptRecord: a part is damaged or missing, or the record is that of another checkpoint.
    """
    checkpoint_id, parent_id, created_at, metadata, encoding, header, channels, pk = row
    try:
        if checkpoint_id is None or created_at is None or metadata is None:
            raise ValueError("a field is missing")
        if encoding is None or header is None or channels is None:
            raise ValueError("a field is missing")
        if header and not encoding:
            raise ValueError("the header has no encoding")
        if len(encoding) > LONGEST_ID or len(parent_id or b"") > LONGEST_ID:
            raise ValueError("a name is too long")
        if encode_part(checkpoint_id.decode()) != encoded_id or not belongs(pk, f":{keys.encoded}:{encoded_id}"):
            raise ValueError("it is that of another checkpoint")
        found = tagged_json.loads(metadata.decode())
        if not isinstance(found, dict):
            raise ValueError("metadata is no object")
        return SavedCheckpoint.trusted(
            thread_id=keys.thread_id,
            namespace=keys.namespace,
            checkpoint_id=checkpoint_id.decode(),
            parent_id=parent_id.decode() if parent_id else None,
            created_at=decode_time(created_at.decode()),
            metadata=found,
            header=Payload.trusted(encoding=encoding.decode(), data=decode_bytes(header, key)) if encoding else None,
            channels=decode_channels(channels, values, keys, key),
            pending_writes=tuple(sorted(writes, key=_ORDER)),
        )
    except CorruptRecord as error:
        error.key = error.key or key
        raise
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptRecord(f"checkpoint is damaged: {error}", key=key) from error


def member(checkpoint_id: str, write: PendingWrite) -> str:
    """Return the index member of a pending write: ``CID:TASK:IDX:CHANNEL``."""
    return f"{encode_part(checkpoint_id)}:{encode_part(write.task_id)}:{write.idx}:{encode_part(write.channel)}"


def encode_write(name: str, write: PendingWrite) -> list[str | bytes]:
    """Encode a pending write: its index member, path with encoding, and value."""
    payload = write.payload
    return [
        name,
        f"{encode_part(write.task_path)}:{encode_part(payload.encoding)}",
        encode_bytes(payload.data),
    ]


def decode_lines(lines: bytes, encoded_ids: Collection[str]) -> dict[str, list[PendingWrite]]:
    """Decode pending writes from ``lines_of`` in ``common.lua``, by encoded id.

    Raises:
        ValueError, CorruptRecord: something is damaged; the records say which.
    """
    *parts, end = lines.decode("ascii").split(" ")
    if end:
        raise ValueError("cut off")
    found: dict[str, list[PendingWrite]] = {}
    checkpoint: str | None = None
    own: list[PendingWrite] = []
    payloads: dict[tuple[str, str], Payload] = {}
    for line in parts:
        owner, task, idx, channel, path, encoding, length, value = line.split(":")
        if len(value) != int(length):
            raise ValueError("wrong length")
        if owner != checkpoint:
            if owner not in encoded_ids:
                raise ValueError("it has the id of another checkpoint")
            checkpoint = owner
            own = found.setdefault(checkpoint, [])
        # Many tasks write the same: nothing, or that they are done.
        payload = payloads.get((encoding, value))
        if payload is None:
            data = pybase64.b64decode(value, validate=True)
            payload = payloads[encoding, value] = _payload(encoding=decode_part(encoding), data=data)
        own.append(
            _write(
                task_id=decode_part(task),
                task_path=decode_part(path),
                idx=int(idx),
                channel=decode_part(channel),
                payload=payload,
            )
        )
    return found


def decode_write(keys: NamespaceKeys, name: str, row: Sequence[bytes | None]) -> PendingWrite | None:
    """Build a pending write from its :data:`WRITE_FIELDS`; ``None`` if it is gone."""
    task_path, channel, encoding, value, pk = row
    if value is None and encoding is None and channel is None:
        return None
    try:
        if task_path is None or channel is None or not encoding or value is None:
            raise ValueError("a field is missing")
        _, task_id, idx, _ = name.split(":")
        if not belongs(pk, keys.write(name)):
            raise ValueError("it is that of another pending write")
        if max(len(task_path), len(channel), len(encoding)) > LONGEST_ID:
            raise ValueError("a name is too long")
        data = pybase64.b64decode(value, validate=True)
        return PendingWrite.trusted(
            task_id=decode_part(task_id),
            task_path=task_path.decode(),
            idx=int(idx),
            channel=channel.decode(),
            payload=Payload.trusted(encoding=encoding.decode(), data=data),
        )
    except CorruptRecord as error:
        error.key = error.key or keys.write(name)
        raise
    except ValueError as error:
        raise CorruptRecord(f"pending write is damaged: {error}", key=keys.write(name)) from error
