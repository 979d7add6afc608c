"""Checkpoints whose metadata is encrypted, over any backend."""

from __future__ import annotations

import datetime as dt
import json
import secrets
from collections.abc import Collection, Mapping, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, Final

from ..domain import (
    ANY,
    ChannelHistory,
    Checkpoint,
    CheckpointQuery,
    CorruptRecord,
    InvalidInput,
    Payload,
    PendingWrite,
    PrunePolicy,
    SavedCheckpoint,
    Serializer,
    Thread,
    ThreadMeasure,
    dump,
    load,
    tagged_json,
)
from ..domain.shown import once_made, shown
from .operation import Operation, Page
from .upkeep.threads import expired, measured

if TYPE_CHECKING:
    from .checkpoints import CheckpointBackend, ExpectedHead, Supply

__all__ = ["EncryptedMetadata"]

ENCRYPTED: Final = "statekeep:encrypted"
"""The key of the metadata that holds all pairs that are encrypted, as one payload."""

READABLE: Final = frozenset({"run_id", "parents"})
"""Ids that backends look at: which run a checkpoint is of, and under which checkpoint a nested namespace ran."""

Encrypt = bool | Collection[str]
"""``True``: all metadata. Names: all but these. ``False``: none."""


class EncryptedMetadata:
    """A backend over another one, which gets the metadata of checkpoints encrypted.

    Pairs that stay readable can be filtered by. ``run_id`` and ``parents``, which hold ids, always stay readable, and
    so do the ids of threads, namespaces, checkpoints and tasks, and names of channels. Checkpoints that were put
    without encryption are read as they are.

    Args:
        backend: keeps the records, see :class:`~statekeep.repositories.checkpoints.CheckpointBackend`.
        serializer: encrypts and decrypts, such as LangGraph's ``EncryptedSerializer``.
        readable: names that stay readable, and can be filtered by; ``True``, or ``()``, for none.

    Raises:
        InvalidInput: ``serializer`` does not encrypt, or ``readable`` is something else.

    Example:
        >>> import statekeep
        >>> class Cipher:  # use a real one
        ...     def dumps_typed(self, obj):
        ...         return "flipped", bytes(byte ^ 255 for byte in obj.encode())
        ...     def loads_typed(self, data):
        ...         return bytes(byte ^ 255 for byte in data[1]).decode()
        >>> keep = statekeep.connect("memory:", encrypt_metadata=["step"], metadata_serializer=Cipher()).checkpoints
        >>> keep.put(statekeep.Checkpoint(thread_id="t", metadata={"step": 1, "user": "ada"}))
        >>> [saved.metadata for saved in keep.list("t", metadata={"step": 1})]
        [{'step': 1, 'user': 'ada'}]
    """

    def __init__(self, backend: CheckpointBackend, serializer: Serializer, readable: Encrypt = True) -> None:
        self.backend = backend
        self.serializer = serializer
        self.readable = READABLE | _names(readable)
        _check_that_it_encrypts(serializer)

    @once_made
    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.backend!r}, readable={sorted(self.readable)})"

    def execute(self, request: Any) -> Any:
        """Answer a request, blocking."""
        return self.backend.execute(request)

    async def aexecute(self, request: Any) -> Any:
        """Answer a request from an event loop."""
        return await self.backend.aexecute(request)

    def ping(self) -> Operation[None]:
        """Ask the backend for a sign of life."""
        return self.backend.ping()

    def now(self) -> Operation[dt.datetime]:
        """Ask the backend for its time."""
        return self.backend.now()

    def close(self) -> None:
        """Close the backend."""
        self.backend.close()

    async def aclose(self) -> None:
        """As :meth:`close`, from an event loop."""
        await self.backend.aclose()

    def over(self, backend: CheckpointBackend) -> EncryptedMetadata:
        """Return the same over another backend."""
        other = copy(self)
        other.backend = backend
        return other

    def check_filter(self, metadata: Mapping[str, Any] | None, field: str) -> None:
        """Check that all pairs of a filter can be looked at.

        Raises:
            InvalidInput: one is encrypted.
        """
        for name in metadata or {}:
            if name not in self.readable:
                raise InvalidInput(
                    f"{field}: {shown(name)} is encrypted, so nothing can be filtered by it; readable are "
                    f"{', '.join(sorted(self.readable))}, and what you name in encrypt_metadata",
                    field=field,
                )

    def put(self, checkpoint: Checkpoint, supply: Supply | None, expected_head: ExpectedHead = ANY) -> Operation[None]:
        """Encrypt the metadata, and store the checkpoint."""
        expected = () if expected_head is ANY else (expected_head,)
        yield from self.backend.put(self._encrypted(checkpoint), supply, *expected)

    def put_writes(
        self, thread_id: str, namespace: str, checkpoint_id: str, writes: Sequence[PendingWrite]
    ) -> Operation[None]:
        """Store pending writes, which have no metadata."""
        yield from self.backend.put_writes(thread_id, namespace, checkpoint_id, writes)

    def get(self, thread_id: str, namespace: str, checkpoint_id: str | None) -> Operation[SavedCheckpoint | None]:
        """Read a checkpoint, and decrypt its metadata."""
        saved = yield from self.backend.get(thread_id, namespace, checkpoint_id)
        return None if saved is None else self._decrypted(saved)

    def list(self, query: CheckpointQuery, cursor: Any) -> Operation[Page[SavedCheckpoint]]:
        """Read a page, and decrypt the metadata."""
        self.check_filter(query.metadata, "metadata")
        page = yield from self.backend.list(query, cursor)
        return Page([self._decrypted(saved) for saved in page.items], page.cursor)

    def ancestors(
        self, thread_id: str, namespace: str, checkpoint_id: str | None, channels: Sequence[str]
    ) -> Operation[dict[str, ChannelHistory]]:
        """Walk the ancestors."""
        return (yield from self.backend.ancestors(thread_id, namespace, checkpoint_id, channels))

    def list_threads(self, prefix: str, after: Thread | None, limit: int | None) -> Operation[Page[Thread]]:
        """List threads."""
        return (yield from self.backend.list_threads(prefix, after, limit))

    def delete(self, thread_id: str, namespace: str, checkpoint_id: str) -> Operation[bool]:
        """Delete a checkpoint."""
        return (yield from self.backend.delete(thread_id, namespace, checkpoint_id))

    def delete_thread(self, thread_id: str) -> Operation[None]:
        """Delete a thread."""
        yield from self.backend.delete_thread(thread_id)

    def delete_runs(self, run_ids: Sequence[str]) -> Operation[None]:
        """Delete runs."""
        yield from self.backend.delete_runs(run_ids)

    def copy_thread(self, source_id: str, target_id: str) -> Operation[None]:
        """Copy a thread with its metadata as it is stored."""
        yield from self.backend.copy_thread(source_id, target_id)

    def prune(self, thread_ids: Sequence[str], policy: PrunePolicy, namespace: str | None = None) -> Operation[int]:
        """Delete old checkpoints."""
        only = () if namespace is None else (namespace,)
        return (yield from self.backend.prune(thread_ids, policy, *only))

    def measure(self, thread_ids: Sequence[str]) -> Operation[dict[str, ThreadMeasure]]:
        """Measure threads as they are stored."""
        return (yield from measured(self.backend, thread_ids))

    def expire(self, thread_id: str, ttl: float | None) -> Operation[bool]:
        """Set when a thread ends."""
        return (yield from expired(self.backend, thread_id, ttl))

    def reindex(self, thread_id: str) -> Operation[int]:
        """Rebuild what is derived."""
        return (yield from self.backend.reindex(thread_id))

    def _encrypted(self, checkpoint: Checkpoint) -> Checkpoint:
        check_names(checkpoint.metadata)
        hidden = {name: value for name, value in checkpoint.metadata.items() if name not in self.readable}
        if not hidden:
            return checkpoint
        metadata = {name: value for name, value in checkpoint.metadata.items() if name in self.readable}
        try:
            metadata[ENCRYPTED] = dump(self.serializer, tagged_json.dumps(hidden))
        except InvalidInput as error:
            error.field = error.field or "metadata"
            raise
        return checkpoint.model_copy(update={"metadata": metadata})

    def _decrypted(self, saved: SavedCheckpoint) -> SavedCheckpoint:
        metadata = decrypted(saved.metadata, self.serializer, f"thread {saved.thread_id!r}")
        return saved if metadata is saved.metadata else saved.model_copy(update={"metadata": metadata})


def decrypted(metadata: dict[str, Any], serializer: Serializer, where: str) -> dict[str, Any]:
    """Return metadata as it was put, encrypted or not.

    Args:
        metadata: as it is stored.
        serializer: decrypts.
        where: whose it is, for messages.

    Raises:
        CorruptRecord: it cannot be decrypted with this serializer.
    """
    payload = metadata.get(ENCRYPTED)
    if not isinstance(payload, Payload):
        return metadata
    try:
        hidden = tagged_json.loads(load(serializer, payload))
    except Exception as error:
        raise CorruptRecord(
            f"cannot decrypt the metadata of {where}: {type(error).__name__}: {error}; is it another key or serializer?"
        ) from error
    if not isinstance(hidden, dict):
        raise CorruptRecord(f"the encrypted metadata of {where} is no mapping")
    return {**{name: value for name, value in metadata.items() if name != ENCRYPTED}, **hidden}


def check_names(metadata: Mapping[str, Any]) -> None:
    """Check that no name of metadata is the one that encrypted metadata has.

    Raises:
        InvalidInput: one is.
    """
    if ENCRYPTED in metadata:
        raise InvalidInput(f"metadata: the name {ENCRYPTED!r} is that of encrypted metadata", field="metadata")


def _names(readable: Any) -> frozenset[str]:
    if readable is True:
        return frozenset()
    if (
        isinstance(readable, str | bytes | bool)
        or not isinstance(readable, Collection)
        or not all(isinstance(name, str) for name in readable)
    ):
        raise InvalidInput(
            f"encrypt_metadata must be true, false, or a list of names that stay readable, got {shown(readable)}",
            field="encrypt_metadata",
        )
    return frozenset(readable)


def _check_that_it_encrypts(serializer: Any) -> None:
    if serializer is None:
        raise InvalidInput(
            "metadata_serializer is missing: encrypt_metadata needs one that encrypts", field="metadata_serializer"
        )
    marker = secrets.token_hex(16)
    try:
        _, data = serializer.dumps_typed(json.dumps({"a": marker}))
    except AttributeError:
        data = marker.encode()
    if marker.encode() in data:
        raise InvalidInput(
            "encrypt_metadata needs a serializer that encrypts, such as LangGraph's EncryptedSerializer; "
            f"{type(serializer).__name__} writes clear text",
            field="encrypt_metadata",
        )


def encrypting(backend: CheckpointBackend, serializer: Serializer | None, encrypt: Encrypt) -> CheckpointBackend:
    """Return a backend that encrypts metadata if that is asked for.

    Raises:
        InvalidInput: there is no serializer, or it does not encrypt, or ``encrypt`` is no choice.
    """
    return backend if encrypt is False else EncryptedMetadata(backend, serializer, encrypt)  # type: ignore[arg-type]
