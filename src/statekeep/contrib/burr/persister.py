"""State of Burr's applications over checkpoints."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, Self, Unpack

from ...domain import (
    ANY,
    Checkpoint,
    Conflict,
    CorruptRecord,
    InvalidInput,
    Payload,
    SavedCheckpoint,
    Serializer,
    dump,
    load,
)
from ...domain.shown import shown
from ...repositories.checkpoints import AsyncCheckpointRepository, CheckpointBackend, CheckpointRepository
from ...repositories.connect import aconnect, connect
from ...repositories.faces import Repository, awaiting, blocking, closing_on_error
from ...repositories.operation import Operation, arun, named
from ...repositories.options import ConnectOptions
from ...repositories.typed.digests import Sightings, digested
from ...repositories.validation import boolean, labels, text
from ...telemetry import hook
from ..backends import KeepsCheckpoints, checkpoint_backend
from ..owned import ClosesOwn, ClosesOwnAsync
from ..serializers import checked_serializer
from ..shielding import shielded
from ..thread_ids import labels_of, thread_id_of
from .framework import AsyncBaseStatePersister, BaseStatePersister, PersistedStateData, State, check_installed

_DIGITS: Final = 12
"""Digits of a sequence id in that of its checkpoint."""

_ID: Final = re.compile(rf"([0-9]{{{_DIGITS}}})-[0-9a-f]{{16}}")


class _Persister(Repository[CheckpointBackend]):
    """The bodies of the methods: arguments in, operations out."""

    kind = "burr"

    def __init__(
        self,
        repository: CheckpointRepository | AsyncCheckpointRepository,
        namespace: Sequence[str],
        serde_kwargs: Mapping[str, Any] | None,
        serializer: Serializer | None,
        detect_conflicts: bool,
    ) -> None:
        super().__init__(repository.backend)
        self.executor = repository.executor
        self._checkpoints = repository
        self._namespace = labels("namespace", namespace)
        self.set_serde_kwargs(serde_kwargs)
        self._serializer = checked_serializer(serializer)
        self._detects = boolean("detect_conflicts", detect_conflicts)
        self._seen = Sightings()
        # By thread: the checkpoint that a put may have stored, of which the answer was lost.
        self._doubts: dict[str, str] = {}

    def set_serde_kwargs(self, serde_kwargs: Mapping[str, Any] | None) -> None:
        """Set what ``State.serialize`` and ``State.deserialize`` are given.

        Args:
            serde_kwargs: such as ``{"allowlist": ["my_package.models"]}`` for Burr's Pydantic models.
        """
        if serde_kwargs is not None and not isinstance(serde_kwargs, Mapping):
            raise InvalidInput(
                f"serde_kwargs must be a mapping, got {type(serde_kwargs).__name__}", field="serde_kwargs"
            )
        self.serde_kwargs = dict(serde_kwargs or {})

    def _load(
        self, /, partition_key: str | None, app_id: str | None, sequence_id: int | None = None, **kwargs: Any
    ) -> Operation[PersistedStateData | None]:
        """Return a state of an application, or ``None``.

        The latest one is read in one round trip, and that of the latest application in four.

        Args:
            partition_key: the partition; ``None`` is the same as ``""``.
            app_id: the application; ``None`` for the one of the partition that was saved last.
            sequence_id: the step; ``None`` for the latest, be it ``"completed"`` or ``"failed"``.
            kwargs: not used.

        Returns:
            What was saved, with Burr's ``State``.
        """
        partition = self._partition(partition_key)
        thread_id = None if app_id is None else self._thread_id(partition, app_id)
        number = None if sequence_id is None else _number(sequence_id)
        return named("load", self._loaded(partition, thread_id, number))

    def _loaded(
        self, partition: str, thread_id: str | None, number: str | None
    ) -> Operation[PersistedStateData | None]:
        if thread_id is None:
            thread_id = next(iter((yield from self._thread_ids(partition, 1))), None)
        if thread_id is None:
            return None
        if number is not None:
            # "." is behind the "-" of an id.
            list_ = self._checkpoints._list(thread_id, namespace="", before=f"{number}.", limit=1)
            page = yield from list_(None)
            of_step = [saved for saved in page.items if saved.checkpoint_id.startswith(f"{number}-")]
            return self._data(of_step[0]) if of_step else None
        newest = yield from self._checkpoints._get(thread_id)
        self._doubts.pop(thread_id, None)
        if newest is None:
            self._seen.forget(thread_id)
            return None
        self._seen.note(newest)
        return self._data(newest)

    def _save(
        self,
        /,
        partition_key: str | None,
        app_id: str,
        sequence_id: int,
        position: str,
        state: State,
        status: Literal["completed", "failed"],
        **kwargs: Any,
    ) -> Operation[None]:
        """Store the state after a step, as one unit.

        It takes one round trip, and one more if this persister has neither loaded nor saved the application before.
        Values that did not change are not sent again.

        Args:
            partition_key: the partition; ``None`` is the same as ``""``.
            app_id: the application.
            sequence_id: the step, from 0; greater than that of the step before.
            position: the action.
            state: the state.
            status: ``"completed"`` or ``"failed"``.
            kwargs: not used.

        Raises:
            Conflict: somebody else saved or deleted the application since it was loaded or saved here, or the step is
                not behind the one that was saved last. Nothing was written.
            InvalidInput: the state cannot be serialized, or another argument is wrong. Nothing was written.
            Unsupported: the service cannot compare and set: pass ``detect_conflicts=False``.
        """
        thread_id = self._thread_id(self._partition(partition_key), app_id)
        number = _number(sequence_id)
        if status not in ("completed", "failed"):
            raise InvalidInput(f"status must be 'completed' or 'failed', got {shown(status)}", field="status")
        metadata = {"position": text("position", position), "status": status, "step": int(number)}
        if not isinstance(state, State):
            raise InvalidInput(f"state must be a State of Burr, got {type(state).__name__}", field="state")
        values = {
            name: dump(self._serializer, value, f"the field {shown(name)} of the state")
            for name, value in state.serialize(**self.serde_kwargs).items()
        }
        return named("save", self._saved(thread_id, number, metadata, values))

    def _saved(
        self, thread_id: str, number: str, metadata: dict[str, Any], values: Mapping[str, Payload]
    ) -> Operation[None]:
        if self._detects:
            yield from self._look(thread_id, number)
        seen = self._seen.get(thread_id)
        head = None if seen is None else seen.checkpoint_id
        checkpoint_id = f"{number}-{uuid.uuid4().hex[:16]}"
        if self._detects and head is not None and head[:_DIGITS] >= number:
            if head != self._doubts.get(thread_id):
                raise _overtaken(thread_id, number, head)
            checkpoint_id = head  # it is saved again, after an answer was lost
        # Of a new application nothing is stored, so all is sent.
        parts = digested(values, seen.digests if seen is not None else frozenset() if self._detects else None)
        checkpoint = Checkpoint(
            thread_id=thread_id,
            checkpoint_id=checkpoint_id,
            parent_id=head if head is not None and head < checkpoint_id else None,
            metadata=metadata,
            channels=parts.channels,
        )
        try:
            yield from self._checkpoints._put(
                checkpoint, supply=parts.supply, expected_head=head if self._detects else ANY
            )
        except Conflict:
            raise
        except BaseException:
            self._doubts[thread_id] = checkpoint_id  # maybe it is stored
            raise
        self._doubts.pop(thread_id, None)
        self._seen.note(checkpoint)

    def _look(self, thread_id: str, number: str) -> Operation[None]:
        """Find out what the latest step is, if this persister does not know."""
        doubtful, seen = self._doubts.get(thread_id), self._seen.get(thread_id)
        if doubtful is None and (seen is not None or not int(number)):
            return
        newest = yield from self._checkpoints._get(thread_id)
        if newest is None:
            self._seen.forget(thread_id)
            return
        before = None if seen is None else seen.checkpoint_id
        if doubtful is not None and newest.checkpoint_id not in (doubtful, before):
            raise _overtaken(thread_id, number, newest.checkpoint_id)
        self._seen.note(newest)

    def _list_app_ids(self, /, partition_key: str | None, **kwargs: Any) -> Operation[list[str]]:
        """Return the ids of the applications of a partition.

        The one that was saved last is the first: three round trips.

        Args:
            partition_key: the partition; ``None`` is the same as ``""``.
            kwargs: not used.
        """
        return named("list_app_ids", self._app_ids(self._partition(partition_key)))

    def _app_ids(self, partition: str) -> Operation[list[str]]:
        found = yield from self._thread_ids(partition, None)
        return [labels_of(thread_id)[-1] for thread_id in found]

    # -- the parts

    def _partition(self, partition_key: Any) -> str:
        return "" if partition_key is None else text("partition_key", partition_key, empty=True)

    def _thread_id(self, partition: str, app_id: Any) -> str:
        return text("app_id", thread_id_of([*self._namespace, partition, text("app_id", app_id)]))

    def _thread_ids(self, partition: str, limit: int | None) -> Operation[list[str]]:
        """Return the threads of a partition, the most recently updated one first."""
        prefix = thread_id_of([*self._namespace, partition, ""])
        pages = self._checkpoints._list_threads(prefix=prefix)
        found: list[str] = []
        cursor: Any = None
        while limit is None or len(found) < limit:
            page = yield from pages(cursor)
            # Those with one label more are of a longer namespace that begins like this.
            found += [thread.thread_id for thread in page.items if "/" not in thread.thread_id[len(prefix) :]]
            cursor = page.cursor
            if cursor is None:
                break
        return found[:limit]

    def _data(self, saved: SavedCheckpoint) -> PersistedStateData:
        number, metadata = _ID.fullmatch(saved.checkpoint_id), saved.metadata
        if number is None or not {"position", "status"} <= metadata.keys():
            raise CorruptRecord("no persister saved this checkpoint", key=saved.checkpoint_id)
        values = {
            name: load(self._serializer, channel.payload)
            for name, channel in saved.channels.items()
            if channel.payload is not None
        }
        _, partition, app_id = ["", *labels_of(saved.thread_id)][-3:]
        return {
            "partition_key": partition,
            "app_id": app_id,
            "sequence_id": int(number[1]),
            "position": metadata["position"],
            "state": State.deserialize(values, **self.serde_kwargs),
            "created_at": saved.created_at.isoformat(),
            "status": metadata["status"],
        }

    def __repr__(self) -> str:
        return f"{type(self).__name__}({'/'.join(self._namespace)!r}, {self._checkpoints!r})"


def _overtaken(thread_id: str, number: str, head: str) -> Conflict:
    return Conflict(
        f"step {int(number)} is not the next one: somebody saved step {head[:_DIGITS].lstrip('0') or 0}; nothing was "
        "written",
        actual=head,
        key=thread_id,
    )


def _number(sequence_id: Any) -> str:
    """Return a sequence id as text that sorts as numbers do."""
    if not isinstance(sequence_id, int) or isinstance(sequence_id, bool) or not 0 <= sequence_id < 10**_DIGITS:
        raise InvalidInput(
            f"sequence_id must be an integer >= 0 of at most {_DIGITS} digits, got {shown(sequence_id)}",
            field="sequence_id",
        )
    return f"{sequence_id:0{_DIGITS}}"


class StatekeepPersister(ClosesOwn, _Persister, BaseStatePersister):  # type: ignore[misc]
    """The state of applications, for ``ApplicationBuilder`` and its ``build``.

    Give it to ``with_state_persister`` and ``initialize_from``. It may be shared by threads of the program.

    Burr imports and calls what a stored state names, if the program has registered for it (pickle, Pydantic models,
    LangChain's objects): whoever can write to the store can run code in your program then.

    Args:
        keep: where it is: a connection of :func:`statekeep.connect` or :func:`statekeep.aconnect`, or its
            ``checkpoints``. You close it. How long it is kept is the connection's ``ttl``.
        namespace: labels in front of the partition's key.
        serde_kwargs: what ``State.serialize`` and ``State.deserialize`` are given, such as
            ``{"allowlist": ["my_package.models"]}`` for Burr's Pydantic models.
        serializer: serializes each value of the state, as one that encrypts does; ``None``: they are kept as JSON.
            Names of fields and actions stay readable.
        detect_conflicts: ``save`` refuses a step if somebody else has saved the application meanwhile. Otherwise both
            steps are kept.

    Raises:
        InvalidInput: an argument is wrong.
        MissingDependency: apache-burr is not installed.

    Example:
        >>> import statekeep
        >>> from burr.core import State
        >>> with statekeep.connect("memory:") as keep:
        ...     persister = StatekeepPersister(keep)
        ...     persister.save("ada", "app-1", 0, "greet", State({"n": 1}), "completed")
        ...     persister.load("ada", "app-1")["state"]["n"]
        1
    """

    load = blocking(_Persister._load)
    save = blocking(_Persister._save)
    list_app_ids = blocking(_Persister._list_app_ids)

    def __init__(
        self,
        keep: KeepsCheckpoints,
        *,
        namespace: Sequence[str] = ("burr",),
        serde_kwargs: Mapping[str, Any] | None = None,
        serializer: Serializer | None = None,
        detect_conflicts: bool = True,
    ) -> None:
        check_installed()
        repository = CheckpointRepository(checkpoint_backend(keep))
        super().__init__(repository, namespace, serde_kwargs, serializer, detect_conflicts)

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        namespace: Sequence[str] = ("burr",),
        ttl: float | None = None,
        serde_kwargs: Mapping[str, Any] | None = None,
        serializer: Serializer | None = None,
        detect_conflicts: bool = True,
        prefix: str = "statekeep",
        refresh_on_read: bool = False,
        **options: Unpack[ConnectOptions],
    ) -> Self:
        """Open a connection for this persister alone, which :meth:`close` closes.

        Args:
            url: as for :func:`statekeep.connect`.
            namespace: as for the class.
            ttl: seconds that a state is kept after it was saved, fractions allowed; ``None`` for ever.
            serde_kwargs: as for the class.
            serializer: as for the class.
            detect_conflicts: as for the class.
            prefix: as for :func:`statekeep.connect`.
            refresh_on_read: loading a state starts its TTL anew.
            options: as for :func:`statekeep.connect`.

        Raises:
            InvalidInput: an argument is wrong.

        Example:
            >>> with StatekeepPersister.from_url("memory:") as persister:
            ...     persister.list_app_ids("ada")
            []
        """
        keep = connect(url, prefix=prefix, ttl=ttl, refresh_on_read=refresh_on_read, **options)
        with closing_on_error(keep.close):
            persister = cls(
                keep,
                namespace=namespace,
                serde_kwargs=serde_kwargs,
                serializer=serializer,
                detect_conflicts=detect_conflicts,
            )
        persister._own = keep
        return persister

    def initialize(self) -> None:
        """Do nothing: there is nothing to set up."""

    def is_initialized(self) -> bool:
        """Return true: there is nothing to set up."""
        return True


class AsyncStatekeepPersister(ClosesOwnAsync, _Persister, AsyncBaseStatePersister):  # type: ignore[misc]
    """The state of applications, for ``ApplicationBuilder`` and its ``abuild``.

    See :class:`StatekeepPersister`. A ``save`` that is cancelled comes to its end before the task is told.

    Args:
        keep: where it is kept: as for :class:`StatekeepPersister`.
        namespace: as for :class:`StatekeepPersister`.
        serde_kwargs: as for :class:`StatekeepPersister`.
        serializer: as for :class:`StatekeepPersister`.
        detect_conflicts: as for :class:`StatekeepPersister`.

    Raises:
        InvalidInput: an argument is wrong.
        MissingDependency: apache-burr is not installed.

    Example:
        >>> import asyncio, statekeep
        >>> from burr.core import State
        >>> async def main() -> int:
        ...     async with statekeep.aconnect("memory:") as keep:
        ...         persister = AsyncStatekeepPersister(keep)
        ...         await persister.save("ada", "app-1", 0, "greet", State({"n": 1}), "completed")
        ...         return (await persister.load("ada", "app-1"))["state"]["n"]
        >>> asyncio.run(main())
        1
    """

    load = awaiting(_Persister._load)
    list_app_ids = awaiting(_Persister._list_app_ids)

    def __init__(
        self,
        keep: KeepsCheckpoints,
        *,
        namespace: Sequence[str] = ("burr",),
        serde_kwargs: Mapping[str, Any] | None = None,
        serializer: Serializer | None = None,
        detect_conflicts: bool = True,
    ) -> None:
        check_installed()
        repository = AsyncCheckpointRepository(checkpoint_backend(keep))
        super().__init__(repository, namespace, serde_kwargs, serializer, detect_conflicts)

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        namespace: Sequence[str] = ("burr",),
        ttl: float | None = None,
        serde_kwargs: Mapping[str, Any] | None = None,
        serializer: Serializer | None = None,
        detect_conflicts: bool = True,
        prefix: str = "statekeep",
        refresh_on_read: bool = False,
        **options: Unpack[ConnectOptions],
    ) -> Self:
        """Open a connection for this persister alone, which :meth:`close` closes.

        See :meth:`StatekeepPersister.from_url`. Nothing is awaited.
        """
        keep = aconnect(url, prefix=prefix, ttl=ttl, refresh_on_read=refresh_on_read, **options)
        with closing_on_error(keep.checkpoints.backend.close):
            persister = cls(
                keep,
                namespace=namespace,
                serde_kwargs=serde_kwargs,
                serializer=serializer,
                detect_conflicts=detect_conflicts,
            )
        persister._own = keep
        return persister

    async def save(
        self,
        partition_key: str | None,
        app_id: str,
        sequence_id: int,
        position: str,
        state: State,
        status: Literal["completed", "failed"],
        **kwargs: Any,
    ) -> None:
        """As :meth:`StatekeepPersister.save`."""
        # The state is serialized before anything is awaited.
        operation = self._save(partition_key, app_id, sequence_id, position, state, status, **kwargs)
        await shielded(self._performed(operation))

    async def _performed(self, operation: Operation[None]) -> None:
        if hook.observers:
            with hook.watching(f"{self.kind}.save", self.backend):
                return await arun(operation, self.executor.aexecute)
        return await arun(operation, self.executor.aexecute)

    async def initialize(self) -> None:
        """Do nothing: there is nothing to set up."""

    async def is_initialized(self) -> bool:
        """Return true: there is nothing to set up."""
        return True
