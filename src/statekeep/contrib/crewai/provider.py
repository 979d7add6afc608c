"""Checkpoints of crews, flows and agents while they run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Self, Unpack

from pydantic import PrivateAttr

from ...domain import (
    Channel,
    Checkpoint,
    CorruptRecord,
    InvalidInput,
    Payload,
    SavedCheckpoint,
    Serializer,
    dump,
    load,
    new_checkpoint_id,
)
from ...domain.shown import shown
from ...repositories.checkpoints import AsyncCheckpointRepository, CheckpointRepository
from ...repositories.connect import connect
from ...repositories.faces import closing_on_error
from ...repositories.options import ConnectOptions
from ...repositories.typed.digests import digest_of
from ...repositories.validation import count, labels, text
from ..backends import KeepsCheckpoints, checkpoint_backend
from ..owned import ClosesOwn
from ..serializers import checked_serializer
from ..shielding import shielded
from ..thread_ids import thread_id_of
from .framework import BaseProvider, check_installed

NAMESPACE: Final = ("crewai", "runs")

_STATE: Final = "state"
"""The channel of the whole state."""


class StatekeepProvider(ClosesOwn, BaseProvider):  # type: ignore[misc]
    """Checkpoints of flows, crews and agents that run.

    It implements ``crewai.state.provider.BaseProvider``. A branch of a location is a thread. It may be shared by
    threads and tasks of the program.

    The framework's ``CheckpointConfig`` takes none but its own two providers. ``docs/frameworks/crewai.md`` shows how
    to write checkpoints with this one, and how to restore from them.

    Args:
        keep: where they are kept: a connection of :func:`statekeep.connect` or :func:`statekeep.aconnect`, or its
            ``checkpoints``. You close it. How long they are kept is the connection's ``ttl``.
        namespace: labels in front of the location.
        serializer: serializes the state, as one that encrypts does; ``None``: it is kept as it is.
        fields: those of the base class.

    Raises:
        InvalidInput: an argument is wrong.
        MissingDependency: crewai is not installed.

    Example:
        >>> import statekeep
        >>> with statekeep.connect("memory:") as keep:
        ...     provider = StatekeepProvider(keep)
        ...     location = provider.checkpoint('{"entities": []}', "nightly")
        ...     provider.from_checkpoint(location)
        '{"entities": []}'
    """

    provider_type: str = "statekeep"

    _checkpoints: Any = PrivateAttr(default=None)
    _acheckpoints: Any = PrivateAttr(default=None)
    _namespace: Any = PrivateAttr(default=None)
    _serializer: Any = PrivateAttr(default=None)

    def __init__(
        self,
        keep: KeepsCheckpoints,
        *,
        namespace: Sequence[str] = NAMESPACE,
        serializer: Serializer | None = None,
        **fields: Any,
    ) -> None:
        check_installed()
        backend = checkpoint_backend(keep)
        super().__init__(**fields)
        self._checkpoints = CheckpointRepository(backend)
        self._acheckpoints = AsyncCheckpointRepository(backend)
        self._namespace = labels("namespace", namespace)
        self._serializer = checked_serializer(serializer)

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        namespace: Sequence[str] = NAMESPACE,
        ttl: float | None = None,
        serializer: Serializer | None = None,
        prefix: str = "statekeep",
        refresh_on_read: bool = False,
        **options: Unpack[ConnectOptions],
    ) -> Self:
        """Open a connection for this provider alone, which :meth:`close` closes.

        Args:
            url: as for :func:`statekeep.connect`.
            namespace: as for the class.
            ttl: seconds that a checkpoint is kept, fractions allowed; ``None`` for ever.
            serializer: as for the class.
            prefix: as for :func:`statekeep.connect`.
            refresh_on_read: reading a checkpoint starts its TTL anew.
            options: as for :func:`statekeep.connect`.

        Raises:
            InvalidInput: an argument is wrong.

        Example:
            >>> with StatekeepProvider.from_url("memory:") as provider:
            ...     provider.prune("nightly", 10)
            0
        """
        keep = connect(url, prefix=prefix, ttl=ttl, refresh_on_read=refresh_on_read, **options)
        with closing_on_error(keep.close):
            provider = cls(keep, namespace=namespace, serializer=serializer)
        provider._own = keep
        return provider

    def checkpoint(self, data: str, location: str, *, parent_id: str | None = None, branch: str = "main") -> str:
        """Store a state as one unit: one round trip.

        Of a state that grows only pieces that changed are sent.

        Args:
            data: the state, as the framework serialized it.
            location: names the run; any text but the empty one.
            parent_id: the checkpoint before, maybe of another branch.
            branch: names the branch.

        Returns:
            Where it is: the text that :meth:`from_checkpoint` takes.

        Raises:
            InvalidInput: an argument is wrong. Nothing was written.
        """
        checkpoint = self._made(data, location, parent_id, branch)
        self._checkpoints.put(checkpoint)
        return _place(checkpoint)

    async def acheckpoint(self, data: str, location: str, *, parent_id: str | None = None, branch: str = "main") -> str:
        """As :meth:`checkpoint`.

        One that is cancelled comes to its end before the task is told.
        """
        checkpoint = self._made(data, location, parent_id, branch)
        await shielded(self._acheckpoints.put(checkpoint))
        return _place(checkpoint)

    def latest(self, location: str, *, branch: str = "main") -> str | None:
        """Return where the newest checkpoint of a branch is, or ``None``: one round trip.

        Args:
            location: the run.
            branch: the branch.
        """
        saved = self._checkpoints.get(self._thread_id(location, branch))
        return None if saved is None else _place(saved)

    def prune(self, location: str, max_keep: int, *, branch: str = "main") -> int:
        """Delete all checkpoints of a branch but the newest ones.

        Args:
            location: the run.
            max_keep: how many stay.
            branch: the branch; others stay as they are.

        Returns:
            How many were deleted.
        """
        found: int = self._checkpoints.prune([self._thread_id(location, branch)], keep=count("max_keep", max_keep))
        return found

    def extract_id(self, location: str) -> str:
        """Return the id of a checkpoint.

        Args:
            location: what :meth:`checkpoint` returned.
        """
        return _split(location)[1]

    def from_checkpoint(self, location: str) -> str:
        """Return a stored state: one round trip.

        Args:
            location: what :meth:`checkpoint` returned.

        Raises:
            ValueError: there is no such checkpoint.
        """
        thread_id, checkpoint_id = _split(location)
        return self._data(location, self._checkpoints.get(thread_id, checkpoint_id=checkpoint_id))

    async def afrom_checkpoint(self, location: str) -> str:
        """As :meth:`from_checkpoint`."""
        thread_id, checkpoint_id = _split(location)
        return self._data(location, await self._acheckpoints.get(thread_id, checkpoint_id=checkpoint_id))

    # -- the parts

    def _thread_id(self, location: Any, branch: Any) -> str:
        return thread_id_of([*self._namespace, text("location", location), text("branch", branch)])

    def _made(self, data: Any, location: Any, parent_id: Any, branch: Any) -> Checkpoint:
        payload = dump(self._serializer, text("data", data, is_id=False), "the state")
        before = None if parent_id is None else text("parent_id", parent_id)
        return Checkpoint(
            thread_id=self._thread_id(location, branch),
            checkpoint_id=new_checkpoint_id(after=before),
            # It may be of another branch, so it is no parent in the sense of threads.
            metadata={"location": location, "branch": branch, "parent_id": before},
            channels={_STATE: Channel.of(digest_of(payload), payload)},
        )

    def _data(self, location: str, saved: SavedCheckpoint | None) -> str:
        if saved is None:
            raise InvalidInput(f"there is no checkpoint at {shown(location, 200)}", field="location")
        channel = saved.channels.get(_STATE)
        if channel is None or not isinstance(channel.payload, Payload):
            raise CorruptRecord("no provider stored this checkpoint", key=saved.checkpoint_id)
        found: str = load(self._serializer, channel.payload)
        return found


def _place(checkpoint: Checkpoint) -> str:
    return f"{checkpoint.thread_id}#{checkpoint.checkpoint_id}"


def _split(location: Any) -> tuple[str, str]:
    thread_id, mark, checkpoint_id = text("location", location, is_id=False).rpartition("#")
    if not (thread_id and mark and checkpoint_id):
        raise InvalidInput(f"location must be what `checkpoint` returned, got {shown(location, 200)}", field="location")
    return thread_id, checkpoint_id
