"""Serialized checkpoints, taken apart without making objects of what is in them.

Most peers store a checkpoint as one serialized whole. Here each channel has a payload of its own. LangGraph's
serializer writes msgpack, in which objects are extensions: they are moved as they are, and nothing is imported or
called.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import ormsgpack
from attrs import frozen
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from ...domain import Channel, CorruptRecord, InvalidInput, Payload, PendingWrite, SavedCheckpoint, Serializer, dump
from ...domain.lineage import NEEDS_PARENT
from ...domain.shown import shown
from ..checkpoint.convert import COUNTERS, created_at, needs_parent

_OPTIONS: Final = ormsgpack.OPT_NON_STR_KEYS
_KNOWN: Final = (JsonPlusSerializer, EncryptedSerializer)


@frozen
class Parts:
    """A checkpoint of LangGraph in parts.

    Attributes:
        header: everything but the channel values.
        values: channel values, as ``pack`` takes them.
        pack: serializes a part.
    """

    header: Mapping[str, Any]
    values: Mapping[str, Any]
    pack: Callable[[Any], Payload]


def _packed(value: Any) -> Payload:
    """Serialize as LangGraph's serializer would serialize the object."""
    if value is None:
        return Payload(encoding="null", data=b"")
    if isinstance(value, bytes):
        return Payload(encoding="bytes", data=value)
    return Payload(encoding="msgpack", data=ormsgpack.packb(value, option=_OPTIONS))


def _as_json(value: Any) -> Payload:
    return Payload(encoding="json", data=json.dumps(value).encode())


def taken_apart(encoding: str, data: bytes, serde: Serializer | None, place: str) -> Parts:
    """Take a serialized checkpoint apart.

    Args:
        encoding: as the serializer named it.
        data: its bytes.
        serde: the serializer that wrote it, if it was given.
        place: which checkpoint it is, for errors.

    Raises:
        CorruptRecord: it is damaged.
        InvalidInput: only its serializer can read it, and that was not given.
    """
    is_known = serde is None or isinstance(serde, _KNOWN)
    try:
        if is_known and encoding == "msgpack":
            found, pack = ormsgpack.unpackb(data, ext_hook=ormsgpack.Ext, option=_OPTIONS), _packed
        elif is_known and encoding == "json":
            found, pack = json.loads(data), _as_json
        elif serde is None:
            raise InvalidInput(
                f"{place} is serialized as {shown(encoding)}, which only the serializer that wrote it can take apart: "
                "pass it as serde (for pickles JsonPlusSerializer(pickle_fallback=True), for encrypted checkpoints the "
                "EncryptedSerializer with its key)",
                field="serde",
            )
        else:
            chosen = serde
            found, pack = chosen.loads_typed((encoding, data)), lambda value: dump(chosen, value)
    except InvalidInput:
        raise
    except Exception as error:
        raise CorruptRecord(f"cannot deserialize {place}: {type(error).__name__}: {error}") from error
    if not isinstance(found, dict):
        raise CorruptRecord(f"{place} is not a LangGraph checkpoint but {type(found).__name__}")
    values = found.pop("channel_values", None) or {}
    return Parts(found, values, pack)


def assembled(
    address: tuple[str, str, str],
    parent_id: str | None,
    parts: Parts,
    metadata: Mapping[str, Any],
    writes: Iterable[PendingWrite],
    payloads: Mapping[str, Payload] | None = None,
) -> SavedCheckpoint:
    """Return a checkpoint of a peer as one of Statekeep's.

    Args:
        address: thread, namespace and checkpoint id.
        parent_id: the checkpoint that it was made from.
        parts: what the peer stored.
        metadata: what JSON can hold.
        writes: its pending writes.
        payloads: values that are serialized already, by channel.
    """
    thread_id, namespace, checkpoint_id = address
    header = dict(parts.header)
    versions: Mapping[str, Any] = header.pop("channel_versions", None) or {}
    found = {name: parts.pack(value) for name, value in parts.values.items() if name in versions}
    found |= payloads or {}
    others = {name: value for name, value in parts.values.items() if name not in versions}
    if others:
        header["channel_values"] = others
    deltas = metadata.get(COUNTERS) or {}
    channels = {
        name: Channel.of(version, found[name])
        if name in found
        else Channel.replayed(version)
        if name in deltas
        else Channel.empty(version)
        for name, version in versions.items()
    }
    if needs_parent(header | {"channel_values": found | others}):
        channels[NEEDS_PARENT] = Channel.replayed(1)
    return SavedCheckpoint(
        thread_id=thread_id,
        namespace=namespace,
        checkpoint_id=checkpoint_id,
        parent_id=parent_id or None,
        created_at=created_at(header.get("ts")),
        metadata=dict(metadata),
        header=parts.pack(header),
        channels=channels,
        pending_writes=tuple(sorted(writes, key=lambda write: write.order)),
    )


def in_order_of(keys: Sequence[tuple[str, str]], found: Iterable[SavedCheckpoint]) -> list[SavedCheckpoint]:
    """Sort checkpoints as their keys are."""
    by_key = {(saved.namespace, saved.checkpoint_id): saved for saved in found}
    return [by_key[key] for key in keys if key in by_key]


def place_of(thread_id: str, namespace: str, checkpoint_id: str) -> str:
    """Say which checkpoint it is, for errors."""
    return f"checkpoint {checkpoint_id!r} of thread {thread_id!r}, namespace {namespace!r},"
