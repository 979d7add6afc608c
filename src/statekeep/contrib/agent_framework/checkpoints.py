"""Checkpoints of workflows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, Final, Self, Unpack

from ...domain import (
    Checkpoint,
    Conflict,
    CorruptRecord,
    InvalidInput,
    Item,
    Payload,
    SavedCheckpoint,
    Serializer,
    dump,
    load,
)
from ...domain.shown import shown
from ...repositories.checkpoints import AsyncCheckpointRepository, Supply
from ...repositories.connect import aconnect
from ...repositories.connection import AsyncConnection, Connection
from ...repositories.faces import closing_on_error
from ...repositories.items import AsyncItemRepository
from ...repositories.options import ConnectOptions
from ...repositories.typed.digests import Sightings, digested
from ...repositories.validation import labels, text
from ..backends import checkpoint_backend, item_backend
from ..owned import ClosesOwnAsync
from ..serializers import checked_serializer
from ..shielding import shielded
from ..thread_ids import labels_of, thread_id_of
from .framework import (
    WorkflowCheckpoint,
    WorkflowCheckpointException,
    check_installed,
    decode_checkpoint_value,
    encode_checkpoint_value,
)

_SPLIT: Final = ("messages", "state", "pending_request_info_events")
"""Fields of a checkpoint whose members are channels."""

_EXECUTORS: Final = "_executor_state"
"""The member of the state that has the states of executors, each of which is a channel."""


class StatekeepCheckpointStorage(ClosesOwnAsync):
    """Checkpoints of workflows, for ``WorkflowBuilder(..., checkpoint_storage=)``.

    It implements the protocol ``agent_framework.CheckpointStorage``. A workflow's name is a thread; each member of the
    state, each executor's state and each executor's messages are a channel, which is neither sent nor stored again as
    long as it stays as it is. Use it in asyncio code, also in several tasks and processes at once.

    What JSON cannot hold the framework pickles. On the way back it only makes objects of its own types, of openai's,
    of a few builtin ones, and of those that you allow. That list is no wall: whoever can write to the store can run
    code in your program.

    Args:
        keep: where they are kept: a connection of :func:`statekeep.connect` or :func:`statekeep.aconnect` that keeps
            items, too. You close it. How long they are kept is its ``ttl``.
        namespace: labels in front of the workflow's name. Give each conversation its own, as ``get_latest`` and
            ``list_checkpoints`` know nothing but the workflow's name.
        allowed_checkpoint_types: classes that may be made of what is stored, or their ``"module:qualname"``.
        serializer: serializes the parts of a checkpoint, as one that encrypts does; ``None``: they are kept as JSON.
            The names of workflows, executors and members of the state stay readable.

    Raises:
        InvalidInput: an argument is wrong.
        Unsupported: the connection's service keeps no items.
        MissingDependency: agent-framework-core is not installed.

    Example:
        >>> import asyncio, statekeep
        >>> from agent_framework import WorkflowCheckpoint
        >>> async def main() -> bool:
        ...     async with statekeep.aconnect("memory:") as keep:
        ...         storage = StatekeepCheckpointStorage(keep)
        ...         first = WorkflowCheckpoint(workflow_name="greet", graph_signature_hash="1", state={"n": 1})
        ...         await storage.save(first)
        ...         return await storage.get_latest(workflow_name="greet") == first
        >>> asyncio.run(main())
        True
    """

    def __init__(
        self,
        keep: Connection | AsyncConnection,
        *,
        namespace: Sequence[str] = ("agent-framework", "checkpoints"),
        allowed_checkpoint_types: Sequence[str | type[Any]] = (),
        serializer: Serializer | None = None,
    ) -> None:
        check_installed()
        if not isinstance(keep, Connection | AsyncConnection):
            raise InvalidInput(
                f"keep must be a connection of statekeep.connect or aconnect, got {type(keep).__name__}", field="keep"
            )
        self._namespace = labels("namespace", namespace)
        self._allowed = frozenset(_type_names(allowed_checkpoint_types))
        self._serializer = checked_serializer(serializer)
        self._checkpoints = AsyncCheckpointRepository(checkpoint_backend(keep))
        self._items = AsyncItemRepository(item_backend(keep))
        self._seen = Sightings()

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        namespace: Sequence[str] = ("agent-framework", "checkpoints"),
        ttl: float | None = None,
        allowed_checkpoint_types: Sequence[str | type[Any]] = (),
        serializer: Serializer | None = None,
        prefix: str = "statekeep",
        **options: Unpack[ConnectOptions],
    ) -> Self:
        """Open a connection for this storage alone, which :meth:`close` closes.

        Args:
            url: as for :func:`statekeep.aconnect`.
            namespace: as for the class.
            ttl: seconds that a checkpoint is kept after it was saved, fractions allowed; ``None`` for ever.
            allowed_checkpoint_types: as for the class.
            serializer: as for the class.
            prefix: as for :func:`statekeep.aconnect`.
            options: as for :func:`statekeep.aconnect`.

        Raises:
            InvalidInput: an argument is wrong.
            Unsupported: the URL's service keeps no items.

        Example:
            >>> import asyncio
            >>> async def main() -> int:
            ...     async with StatekeepCheckpointStorage.from_url("memory:") as storage:
            ...         return len(await storage.list_checkpoint_ids(workflow_name="greet"))
            >>> asyncio.run(main())
            0
        """
        keep = aconnect(url, prefix=prefix, ttl=ttl, **options)
        with closing_on_error(keep.checkpoints.backend.close):
            storage = cls(
                keep, namespace=namespace, allowed_checkpoint_types=allowed_checkpoint_types, serializer=serializer
            )
        storage._own = keep
        return storage

    async def save(self, checkpoint: WorkflowCheckpoint) -> str:
        """Store a checkpoint; one with the same id is replaced: two round trips.

        First the place is noted under which its id is found, then the checkpoint is stored as one unit. If the program
        dies in between there is no such checkpoint.

        Returns:
            Its id.

        Raises:
            WorkflowCheckpointException: it cannot be encoded, or could not be read again with the allowed types.
                Nothing was written.
        """
        encoded = self._encoded(checkpoint)
        thread_id = self._thread_id(encoded["workflow_name"])
        stored_id = f"{_time(encoded['timestamp'])}/{text('checkpoint_id', encoded['checkpoint_id'])}"
        header, parts = _parted(encoded)
        values = {name: dump(self._serializer, part, f"the channel {shown(name)}") for name, part in parts.items()}
        seen = self._seen.get(thread_id)
        channels = digested(values, None if seen is None else seen.digests)
        previous = encoded["previous_checkpoint_id"]
        is_next = seen is not None and bool(previous) and seen.checkpoint_id.endswith(f"/{previous}")
        found = Checkpoint(
            thread_id=thread_id,
            checkpoint_id=stored_id,
            parent_id=seen.checkpoint_id if seen is not None and is_next and seen.checkpoint_id < stored_id else None,
            metadata={"step": encoded["iteration_count"], "previous_checkpoint_id": previous},
            header=dump(self._serializer, header, "the header"),
            channels=channels.channels,
        )
        checkpoint_id: str = encoded["checkpoint_id"]
        await shielded(self._stored(found, checkpoint_id, channels.supply))
        return checkpoint_id

    async def _stored(self, checkpoint: Checkpoint, checkpoint_id: str, supply: Supply) -> None:
        place = [checkpoint.thread_id, checkpoint.checkpoint_id]
        old: Item | None = None
        while True:
            try:
                await self._items.put(self._namespace, checkpoint_id, place, expected=old)
                break
            except Conflict:  # it is saved again
                old = await self._items.get(self._namespace, checkpoint_id)
        await self._checkpoints.put(checkpoint, supply=supply)
        self._seen.note(checkpoint)
        if old is not None and old.value != place:
            await self._checkpoints.delete(*_place(old))

    async def load(self, checkpoint_id: str) -> WorkflowCheckpoint:
        """Return a checkpoint by its id: two round trips.

        Raises:
            WorkflowCheckpointException: there is none, or a type is not allowed.
        """
        item = await self._items.get(self._namespace, text("checkpoint_id", checkpoint_id))
        saved = None
        if item is not None:
            thread_id, stored_id = _place(item)
            saved = await self._checkpoints.get(thread_id, checkpoint_id=stored_id)
        if saved is None:
            raise WorkflowCheckpointException(f"No checkpoint found with ID {checkpoint_id}")
        self._seen.note(saved)
        return self._decoded(saved)

    async def get_latest(self, *, workflow_name: str) -> WorkflowCheckpoint | None:
        """Return the checkpoint of a workflow with the latest timestamp: one round trip.

        Raises:
            WorkflowCheckpointException: a type is not allowed.
        """
        saved = await self._checkpoints.get(self._thread_id(workflow_name))
        if saved is None:
            return None
        self._seen.note(saved)
        return self._decoded(saved)

    async def list_checkpoints(self, *, workflow_name: str) -> list[WorkflowCheckpoint]:
        """Return all checkpoints of a workflow by their timestamps, the earliest first.

        Raises:
            WorkflowCheckpointException: a type is not allowed.
        """
        thread_id = self._thread_id(workflow_name)
        found = [self._decoded(saved) async for saved in self._checkpoints.list(thread_id, namespace="")]
        return found[::-1]

    async def list_checkpoint_ids(self, *, workflow_name: str) -> list[str]:
        """Return the ids of :meth:`list_checkpoints`, which reads as much."""
        thread_id = self._thread_id(workflow_name)
        found = [_id(saved) async for saved in self._checkpoints.list(thread_id, namespace="")]
        return found[::-1]

    async def delete(self, checkpoint_id: str) -> bool:
        """Delete a checkpoint: a dozen round trips, with all that only it needs.

        Of several at once, one returns true.

        Returns:
            Whether there was one.
        """
        item = await self._items.get(self._namespace, text("checkpoint_id", checkpoint_id))
        return item is not None and await shielded(self._deleted(item))

    async def _deleted(self, item: Item) -> bool:
        try:
            # Of several at once this lets one go on.
            mine = await self._items.put(self._namespace, item.key, item.value, expected=item)
        except Conflict:
            return False
        is_gone = await self._checkpoints.delete(*_place(item))
        try:
            await self._items.delete(self._namespace, item.key, expected=mine)
        except Conflict:  # it was saved again meanwhile
            pass
        return is_gone

    def _thread_id(self, workflow_name: Any) -> str:
        return thread_id_of([*self._namespace, text("workflow_name", workflow_name)])

    def _encoded(self, checkpoint: WorkflowCheckpoint) -> dict[str, Any]:
        if not isinstance(checkpoint, WorkflowCheckpoint):
            raise InvalidInput(
                f"checkpoint must be a WorkflowCheckpoint, got {type(checkpoint).__name__}", field="checkpoint"
            )
        try:
            encoded: dict[str, Any] = encode_checkpoint_value(checkpoint.to_dict())
            decode_checkpoint_value(encoded, allowed_types=self._allowed)
        except WorkflowCheckpointException:
            raise
        except Exception as error:
            raise WorkflowCheckpointException(
                f"Checkpoint {checkpoint.checkpoint_id} cannot be encoded or restored: {error}"
            ) from error
        return encoded

    def _decoded(self, saved: SavedCheckpoint) -> WorkflowCheckpoint:
        if saved.header is None:
            raise CorruptRecord("no workflow saved this checkpoint", key=saved.checkpoint_id)
        values = {
            name: load(self._serializer, channel.payload)
            for name, channel in saved.channels.items()
            if isinstance(channel.payload, Payload)
        }
        try:
            encoded = _joined(load(self._serializer, saved.header), values)
        except (KeyError, TypeError) as error:
            raise CorruptRecord(f"a part is missing: {error!r}", key=saved.checkpoint_id) from error
        return WorkflowCheckpoint.from_dict(decode_checkpoint_value(encoded, allowed_types=self._allowed))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({'/'.join(self._namespace)!r}, {self._checkpoints!r})"


def _type_names(types: Any) -> list[str]:
    if isinstance(types, str) or not isinstance(types, Sequence | frozenset | set):
        raise InvalidInput(
            f"allowed_checkpoint_types must be a sequence of classes and texts, got {type(types).__name__}",
            field="allowed_checkpoint_types",
        )
    names = [f"{kind.__module__}:{kind.__qualname__}" if isinstance(kind, type) else kind for kind in types]
    for name in names:
        if not isinstance(name, str) or not all(part for part in name.split(":", 1)) or ":" not in name:
            raise InvalidInput(
                f"allowed_checkpoint_types must have classes, or 'module:qualname' of them, got {shown(name)}",
                field="allowed_checkpoint_types",
            )
    return names


def _time(timestamp: Any) -> str:
    """Return a time as text that sorts as times do."""
    try:
        at = dt.datetime.fromisoformat(timestamp).astimezone(dt.UTC)
    except (TypeError, ValueError, OverflowError) as error:
        raise WorkflowCheckpointException(f"the timestamp {shown(timestamp)} is no ISO 8601 time") from error
    return at.isoformat(timespec="microseconds")


def _id(saved: Checkpoint) -> str:
    """Return the id that the framework gave a checkpoint."""
    return saved.checkpoint_id.partition("/")[2]


def _place(item: Item) -> tuple[str, str]:
    """Return the thread and the id under which a checkpoint is stored."""
    match item.value:
        case [str(thread_id), str(stored_id)]:
            return thread_id, stored_id
    raise CorruptRecord("the item does not say where a checkpoint is stored", key=item.key)


# A checkpoint as JSON is taken apart into a header and values by channel. The header has the fields that are not split,
# and an outline: the paths of the objects that are, and the names of the channels, in their order.


def _parted(encoded: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the header of a checkpoint, and its values by channel."""
    outline: list[str | list[str]] = []
    values: dict[str, Any] = {}

    def part(path: list[str], members: dict[str, Any]) -> None:
        outline.append(path)
        for key, member in members.items():
            here = [*path, key]
            if here == ["state", _EXECUTORS] and isinstance(member, dict):
                part(here, member)
            else:
                name = thread_id_of(here)
                outline.append(name)
                values[name] = member

    fields = {}
    for field, value in encoded.items():
        if field in _SPLIT and isinstance(value, dict):
            part([field], value)
        else:
            fields[field] = value
    return {"fields": fields, "outline": outline}, values


def _joined(header: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Undo :func:`_parted`."""
    encoded: dict[str, Any] = dict(header["fields"])
    for entry in header["outline"]:
        *parents, key = labels_of(entry) if isinstance(entry, str) else entry
        members = encoded
        for parent in parents:
            members = members[parent]
        members[key] = values[entry] if isinstance(entry, str) else {}
    return encoded
