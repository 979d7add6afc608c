"""Conversion between LangGraph's checkpoints and those of the domain. No I/O."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    CheckpointTuple,
    DeltaChannelHistory,
    get_checkpoint_metadata,
)
from langgraph.checkpoint.base import Checkpoint as GraphCheckpoint
from langgraph.checkpoint.base import CheckpointMetadata as GraphMetadata
from langgraph.checkpoint.base import PendingWrite as GraphWrite
from langgraph.checkpoint.serde.types import TASKS

from ...domain import (
    Channel,
    ChannelHistory,
    Checkpoint,
    CorruptRecord,
    InvalidInput,
    Payload,
    PendingWrite,
    SavedCheckpoint,
    Serializer,
    dump,
)
from ...domain.lineage import NEEDS_PARENT
from ...domain.model import is_plain, plain_text
from ...domain.shown import shown
from ...repositories.encrypted_metadata import ENCRYPTED, check_names, decrypted
from .config import Address, config_of
from .metadata import pack, unpack

# Since this format a step's Sends are an ordinary channel, no longer pending writes of the parent.
_SENDS_IN_A_CHANNEL = 4
_WITHOUT_SENDS = range(_SENDS_IN_A_CHANNEL)

COUNTERS = "counters_since_delta_snapshot"
"""Where a graph names its delta channels in the metadata, but for those with a snapshot in the checkpoint itself."""


def _load(serde: Serializer, payload: Payload, place: Checkpoint | Address, what: str, *names: str) -> Any:
    """Deserialize a payload.

    An error says ``what`` it was, with ``names`` in its braces.
    """
    try:
        return serde.loads_typed((payload.encoding, payload.data))
    except Exception as error:
        raise CorruptRecord(
            f"cannot deserialize {what.format(*names)} of {_where(place)}: {type(error).__name__}: {error}"
        ) from error


def _check(checkpoint: Any, metadata: Any, new_versions: Any) -> None:
    """Refuse arguments of ``put`` that do not have LangGraph's shape."""
    for name in ("channel_values", "channel_versions"):
        if not isinstance(checkpoint, Mapping) or not isinstance(checkpoint.get(name), Mapping):
            raise InvalidInput(
                f"checkpoint must be a mapping with a mapping {name!r}, as langgraph's Checkpoint",
                field=f"checkpoint.{name}",
            )
    checkpoint_id = checkpoint.get("id")
    if not isinstance(checkpoint_id, str) or not checkpoint_id:
        raise InvalidInput(
            f"checkpoint.id must be text and not empty, got {shown(checkpoint_id)}", field="checkpoint.id"
        )
    for name, argument in (("metadata", metadata), ("new_versions", new_versions)):
        if not isinstance(argument, Mapping):
            raise InvalidInput(f"{name} must be a mapping, got {type(argument).__name__}", field=name)


def created_at(stamp: Any) -> dt.datetime:
    """Return the time that a checkpoint's ``ts`` says, or else the present one."""
    try:
        time = dt.datetime.fromisoformat(stamp)
    except (TypeError, ValueError):
        return dt.datetime.now(dt.UTC)
    return time if time.tzinfo else time.replace(tzinfo=dt.UTC)


def supplied(serde: Serializer, values: Mapping[str, Any], names: Collection[str]) -> dict[str, Payload]:
    """Serialize the values of the channels that a repository found missing."""
    return {name: dump(serde, values[name], f"channel {name!r}") for name in names if name in values}


def _channels(
    serde: Serializer,
    versions: Mapping[str, Any],
    values: Mapping[str, Any],
    new_versions: Mapping[str, Any],
    deltas: Collection[str],
) -> dict[str, Channel]:
    """Say where the value of each channel is.

    A channel without a value in the checkpoint can be one of three:

    - A ``DeltaChannel`` between two snapshots: rebuilt from its ancestors' writes, and so REPLAYED, whether it
      was written in this step or not. (Unwritten, it may still have a snapshot stored at its version.) The
      graph names it in the metadata's ``counters_since_delta_snapshot``: that holds every delta channel of the
      graph but those with a snapshot in this very checkpoint, and those have a value here.
    - Written in this step without a value, consumed or untracked: EMPTY.
    - Any other: mostly consumed in an earlier step, but perhaps a channel that this version of the graph does not
      know and a former one stored, which must be there again after a rollback. Only the repository knows, so it
      is STORED_IF_ANY. (Were it REPLAYED, ``prune`` would keep its ancestors for nothing.)
    """
    channels = {}
    for name, version in versions.items():
        if name in values:
            if name in new_versions:
                channels[name] = Channel.of(version, dump(serde, values[name], f"channel {name!r}"))
            else:
                channels[name] = Channel.earlier(version)
        elif name in deltas:
            channels[name] = Channel.replayed(version)
        elif name in new_versions:
            channels[name] = Channel.empty(version)
        else:
            channels[name] = Channel.earlier(version, required=False)
    return channels


def to_domain(
    serde: Serializer,
    config: RunnableConfig,
    checkpoint: GraphCheckpoint,
    metadata: GraphMetadata,
    new_versions: Mapping[str, Any],
) -> Checkpoint:
    """Return the checkpoint that ``BaseCheckpointSaver.put`` is asked to store.

    Values are serialized here, because the graph goes on changing them. The values of unchanged channels are
    not: the repository has them, or asks :func:`supplied` for them.

    Raises:
        InvalidInput: an argument does not have LangGraph's shape.
    """
    address = Address.of(config)
    _check(checkpoint, metadata, new_versions)
    header: dict[str, Any] = dict(checkpoint)
    values, versions = header.pop("channel_values"), header.pop("channel_versions")
    if not values.keys() <= versions.keys():
        header["channel_values"] = {name: value for name, value in values.items() if name not in versions}
    merged = cast(dict[str, Any], get_checkpoint_metadata(config, metadata))
    if ENCRYPTED in merged:
        check_names(merged)
    deltas = merged.get(COUNTERS) or {}
    if deltas:
        # The one value that does not come back as it is: LangGraph documents these pairs as stored in lists.
        merged[COUNTERS] = {name: list(pair) for name, pair in deltas.items()}
    # What is checked here need not be checked by the model again; it says best what is wrong with anything else.
    make = Checkpoint.trusted if is_plain(checkpoint["id"], *versions) else Checkpoint
    channels = _channels(serde, versions, values, new_versions, deltas)
    if checkpoint.get("v") in _WITHOUT_SENDS and needs_parent(checkpoint):  # the first half spares most puts a call
        channels[NEEDS_PARENT] = Channel.replayed(1)
    return make(
        thread_id=address.thread_id,
        namespace=address.namespace,
        checkpoint_id=checkpoint["id"],
        parent_id=address.checkpoint_id,
        created_at=created_at(checkpoint.get("ts")),
        metadata=pack(serde, merged),
        header=dump(serde, header, "the checkpoint's header"),
        channels=channels,
    )


def needs_parent(checkpoint: Mapping[str, Any]) -> bool:
    """Return whether the Sends of a checkpoint may be with its parent.

    They are in formats before 4.
    """
    # Sends are of tasks, and a graph notes in versions_seen that tasks ran.
    return checkpoint.get("v") in _WITHOUT_SENDS and _has_no_sends(checkpoint) and bool(checkpoint.get("versions_seen"))


def _has_no_sends(checkpoint: Mapping[str, Any]) -> bool:
    return not checkpoint.get("pending_sends") and TASKS not in checkpoint["channel_values"]


def writes_to_domain(
    serde: Serializer, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str
) -> list[PendingWrite]:
    """Return the pending writes that ``put_writes`` is asked to store.

    Raises:
        InvalidInput: ``writes`` is not a sequence of (channel, value) pairs, or the task is not named by text.
    """
    if isinstance(writes, str | bytes) or not isinstance(writes, Iterable):
        raise InvalidInput(f"writes must be (channel, value) pairs, got {type(writes).__name__}", field="writes")
    found = []
    task_is_plain = is_plain(task_id, task_path or "-")
    for position, write in enumerate(writes):
        pair = type(write) is tuple or (isinstance(write, Sequence) and not isinstance(write, str | bytes))
        if not pair or len(write) != 2:
            raise InvalidInput(
                f"writes[{position}] must be a (channel, value) pair, got {shown(write)}", field="writes"
            )
        channel, value = write
        if not isinstance(channel, str):
            raise InvalidInput(f"writes[{position}]: the channel must be text, got {shown(channel)}", field="writes")
        channel = plain_text(channel)
        make = PendingWrite.trusted if task_is_plain and is_plain(channel) else PendingWrite
        found.append(
            make(
                task_id=task_id,
                task_path=task_path,
                idx=WRITES_IDX_MAP.get(channel, position),
                channel=channel,
                payload=dump(serde, value, f"a write to channel {channel!r}"),
            )
        )
    return found


def _where(place: Checkpoint | Address) -> str:
    return f"thread {place.thread_id!r}, namespace {place.namespace!r}, checkpoint {place.checkpoint_id!r}"


def _decrypted(serde: Serializer, saved: SavedCheckpoint) -> dict[str, Any]:
    return decrypted(saved.metadata, serde, _where(saved))


def to_tuple(serde: Serializer, saved: SavedCheckpoint) -> CheckpointTuple:
    """Return what ``BaseCheckpointSaver.get_tuple`` answers for ``saved``.

    Raises:
        CorruptRecord: something stored cannot be deserialized, or was not put by LangGraph.
    """
    if saved.header is None:
        raise CorruptRecord(f"{_where(saved)} has no header: it was not put by LangGraph")
    header = _load(serde, saved.header, saved, "the header")
    if not isinstance(header, dict):
        raise CorruptRecord(f"the header of {_where(saved)} is not a LangGraph checkpoint but {type(header).__name__}")
    values = header.pop("channel_values", {})
    if not isinstance(values, dict) or not isinstance(header.get("v", _SENDS_IN_A_CHANNEL), int):
        raise CorruptRecord(f"the header of {_where(saved)} is not that of a LangGraph checkpoint")
    versions = {}
    for name, channel in saved.channels.items():
        if name == NEEDS_PARENT:
            continue
        versions[name] = channel.version
        if channel.payload is not None:
            values[name] = _load(serde, channel.payload, saved, "channel {!r}", name)
    try:
        metadata = unpack(serde, _decrypted(serde, saved) if ENCRYPTED in saved.metadata else saved.metadata)
    except CorruptRecord:
        raise
    except Exception as error:
        raise CorruptRecord(
            f"cannot deserialize the metadata of {_where(saved)}: {type(error).__name__}: {error}"
        ) from error
    return CheckpointTuple(
        config=config_of(saved.thread_id, saved.namespace, saved.checkpoint_id),
        checkpoint=cast(GraphCheckpoint, header | {"channel_versions": versions, "channel_values": values}),
        metadata=metadata,
        parent_config=config_of(saved.thread_id, saved.namespace, saved.parent_id) if saved.parent_id else None,
        pending_writes=_writes(serde, saved.pending_writes, saved),
    )


def _writes(serde: Serializer, writes: Iterable[PendingWrite], place: Checkpoint | Address) -> list[GraphWrite]:
    what = "task {!r}'s write to channel {!r}"
    return [
        (write.task_id, write.channel, _load(serde, write.payload, place, what, write.task_id, write.channel))
        for write in writes
    ]


def lacks_sends(found: CheckpointTuple) -> bool:
    """Return whether the Sends of a checkpoint are with its parent.

    They are in formats before 4.
    """
    return (
        found.parent_config is not None
        and found.checkpoint.get("v") in _WITHOUT_SENDS
        and _has_no_sends(found.checkpoint)
    )


def attach_sends(serde: Serializer, found: CheckpointTuple, parent: SavedCheckpoint | None) -> None:
    """Add the Sends that the parent's tasks wrote. LangGraph migrates them on."""
    if parent is None:
        return
    sends = [write for write in parent.pending_writes if write.channel == TASKS]
    if sends:
        found.checkpoint["pending_sends"] = [  # type: ignore[typeddict-unknown-key]
            value for _, _, value in _writes(serde, sends, parent)
        ]


def to_history(serde: Serializer, history: ChannelHistory, channel: str, address: Address) -> DeltaChannelHistory:
    """Return what a checkpoint's ancestors wrote to a channel, in LangGraph's form.

    Raises:
        CorruptRecord: something stored cannot be deserialized.
    """
    found = DeltaChannelHistory(writes=_writes(serde, history.writes, address))
    if history.seed is not None:
        found["seed"] = _load(serde, history.seed, address, "an earlier value of channel {!r}", channel)
    return found
