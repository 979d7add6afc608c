"""Threads whose state is of one type: each field of it is a channel."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final, Generic, Literal, TypeVar

from pydantic_core import to_json

from ...domain import (
    ANY,
    Checkpoint,
    Conflict,
    InvalidInput,
    Payload,
    PendingWrite,
    SavedCheckpoint,
    TypedCheckpoint,
    TypeMismatch,
    new_checkpoint_id,
)
from ...domain.json_values import JsonText, JsonValue, dumps
from ...domain.model import Anything
from ...domain.shown import shown
from ..checkpoints import AsyncCheckpointRepository, CheckpointBackend, CheckpointRepository
from ..faces import Pages, Repository, aiterating, awaiting, blocking, iterating
from ..operation import Operation, Page, named
from ..validation import text
from .digests import Digests, digested, digests_of
from .values import Migrate, Values

StateT = TypeVar("StateT")
ResultT = TypeVar("ResultT")

_JSON: Final = "json"
_FIELDS: Final = Payload(encoding=_JSON, data=b'{"state":"fields"}')
_WHOLE: Final = Payload(encoding=_JSON, data=b'{"state":"whole"}')
"""Headers: a channel for each member of a JSON object; one channel, without a name, for any other value."""

_RESULT: Final = "result"
"""The channel of what a task returned."""

Which = str | TypedCheckpoint[Any]
"""The id of a checkpoint, or the checkpoint as it was read."""


def _id(field: str, checkpoint: Any) -> str:
    return text(field, checkpoint.checkpoint_id if isinstance(checkpoint, TypedCheckpoint) else checkpoint)


def _id_or_none(field: str, checkpoint: Any) -> str | None:
    return None if checkpoint is None else _id(field, checkpoint)


class _Thread(Repository[CheckpointBackend], Generic[StateT]):
    """The bodies of the methods: arguments in, operations out."""

    kind = "threads"

    def __init__(
        self,
        repository: CheckpointRepository | AsyncCheckpointRepository,
        kind: Any,
        thread_id: str,
        namespace: str = "",
        migrate: Migrate | None = None,
    ) -> None:
        super().__init__(repository.backend)
        self.executor = repository.executor
        self.thread_id = text("thread_id", thread_id)
        self.namespace = text("namespace", namespace, empty=True)
        self._checkpoints = repository
        self._values: Values[StateT] = Values(kind, migrate)
        self._seen: Digests | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._values!r}, {shown(self.thread_id, 200)})"

    def _save(
        self,
        state: StateT,
        *,
        parent: Which | None = None,
        metadata: Mapping[str, Any] | None = None,
        expected_head: Which | Literal[Anything.ANY] | None = ANY,
    ) -> Operation[TypedCheckpoint[StateT]]:
        """Store a state as a new checkpoint of the thread.

        Fields that did not change since an earlier checkpoint are not stored again, nor sent if they are long or this
        thread was loaded or saved here before.

        Args:
            state: a state that can be read back: that is tried before it is sent.
            parent: the checkpoint that it was made from, in this thread; ``None`` for none.
            metadata: a JSON object to filter by.
            expected_head: as for :meth:`CheckpointRepository.put`: the checkpoint that must be the newest one;
                ``None``: the thread must have none.

        Returns:
            The checkpoint. Its state is the one that ``load`` returns, not the one given.

        Raises:
            Conflict: ``expected_head`` does not hold. Nothing was written.
            InvalidInput: the state is not of the type, or another argument is wrong. Nothing was written.
            Unsupported: the backend cannot compare and set, and ``expected_head`` is given.
        """
        if metadata is not None and not isinstance(metadata, Mapping):
            raise InvalidInput(f"metadata must be a mapping, got {type(metadata).__name__}", field="metadata")
        plain, read_back = self._values.encode(state, "state")
        head: Any = expected_head if expected_head is ANY else _id_or_none("expected_head", expected_head)
        parent_id = _id_or_none("parent", parent)
        # A clock may be behind that of the host that saved these.
        before = max((id_ for id_ in (parent_id, head) if isinstance(id_, str)), default=None)
        checkpoint_id = new_checkpoint_id(after=before)
        return named("save", self._saved(plain, read_back, checkpoint_id, parent_id, dict(metadata or {}), head))

    def _load(self, checkpoint: Which | None = None) -> Operation[TypedCheckpoint[StateT] | None]:
        """Return a checkpoint with its state, or ``None``.

        Args:
            checkpoint: its id; ``None`` for the newest.

        Raises:
            TypeMismatch: the stored state is not of the type, or something else stored it.
        """
        get = self._checkpoints._get(
            self.thread_id, namespace=self.namespace, checkpoint_id=_id_or_none("checkpoint", checkpoint)
        )
        return named("load", self._loaded(get))

    def _history(
        self, *, before: Which | None = None, limit: int | None = None, metadata: Mapping[str, Any] | None = None
    ) -> Pages[TypedCheckpoint[StateT]]:
        """Iterate over the checkpoints of the thread, newest first, reading page by page.

        Args:
            before: only those with smaller ids.
            limit: at most so many.
            metadata: pairs that must be equal in the checkpoint's metadata.

        Raises:
            TypeMismatch: a state of the next page is not of the type.
        """
        pages = self._checkpoints._list(
            self.thread_id,
            namespace=self.namespace,
            before=_id_or_none("before", before),
            limit=limit,
            metadata=metadata,
        )
        return partial(self._page, pages)

    def _fork(self, thread_id: str, *, checkpoint: Which | None = None) -> Operation[TypedCheckpoint[StateT]]:
        """Begin another thread with the state of a checkpoint of this one.

        To go on from an older checkpoint in this thread, save with it as the ``parent``.

        Args:
            thread_id: the thread to begin. It must have no checkpoint; one that somebody else puts there at this very
                moment is not noticed.
            checkpoint: where from; ``None`` for the newest.

        Returns:
            The first checkpoint of the other thread. Its metadata are those of the original, without ``run_id``.

        Raises:
            Conflict: that thread has a checkpoint already. Nothing was written.
            InvalidInput: there is no such checkpoint.
        """
        target = text("thread_id", thread_id)
        return named("fork", self._forked(self._load(checkpoint), target))

    # -- the parts

    def _saved(
        self,
        plain: JsonValue,
        state: StateT,
        checkpoint_id: str,
        parent_id: str | None,
        metadata: dict[str, Any],
        head: Any,
    ) -> Operation[TypedCheckpoint[StateT]]:
        header, values = _split(plain)
        parts = digested(values, self._seen)
        checkpoint = Checkpoint(
            thread_id=self.thread_id,
            namespace=self.namespace,
            checkpoint_id=checkpoint_id,
            parent_id=parent_id,
            metadata=metadata,
            header=header,
            channels=parts.channels,
        )
        yield from self._checkpoints._put(checkpoint, supply=parts.supply, expected_head=head)
        self._seen = parts.digests
        return self._typed(checkpoint, state)

    def _loaded(self, get: Operation[SavedCheckpoint | None]) -> Operation[TypedCheckpoint[StateT] | None]:
        saved = yield from get
        if saved is None:
            return None
        found = self._decoded(saved)
        self._seen = digests_of(saved)
        return found

    def _page(self, pages: Pages[SavedCheckpoint], cursor: Any) -> Operation[Page[TypedCheckpoint[StateT]]]:
        return named("history", self._read_page(pages(cursor)))

    def _read_page(self, operation: Operation[Page[SavedCheckpoint]]) -> Operation[Page[TypedCheckpoint[StateT]]]:
        page = yield from operation
        return Page([self._decoded(saved) for saved in page.items], page.cursor)

    def _forked(
        self, load: Operation[TypedCheckpoint[StateT] | None], target: str
    ) -> Operation[TypedCheckpoint[StateT]]:
        found = yield from load
        if found is None:
            raise InvalidInput("there is no such checkpoint to fork from", field="checkpoint")
        newest = yield from self._checkpoints._get(target, namespace=self.namespace)
        if newest is not None:
            raise Conflict(
                f"the thread {shown(target, 200)} has a checkpoint already; nothing was written",
                actual=newest.checkpoint_id,
                key=target,
            )
        other = type(self)(self._checkpoints, self._values.of, target, self.namespace)
        # A run that is deleted must not take other threads with it.
        metadata = {name: value for name, value in found.metadata.items() if name != "run_id"}
        return (yield from other._save(found.state, metadata=metadata))

    def _decoded(self, saved: SavedCheckpoint) -> TypedCheckpoint[StateT]:
        try:
            return self._typed(saved, self._values.decode(_joined(saved), saved.checkpoint_id, "state"))
        except TypeMismatch as error:
            error.place = {
                "thread_id": saved.thread_id,
                "namespace": saved.namespace,
                "checkpoint_id": saved.checkpoint_id,
            }
            raise

    def _typed(self, checkpoint: Checkpoint, state: StateT) -> TypedCheckpoint[StateT]:
        fields = {name: getattr(checkpoint, name) for name in TypedCheckpoint.model_fields if name != "state"}
        return TypedCheckpoint.trusted(**fields, state=state)


def _split(plain: JsonValue) -> tuple[Payload, dict[str, Payload]]:
    """Return the header of a state, and its values by channel."""
    header, values = (_FIELDS, plain) if isinstance(plain, dict) else (_WHOLE, {"": plain})
    return header, {name: Payload.trusted(encoding=_JSON, data=dumps(value).encode()) for name, value in values.items()}


def _joined(saved: SavedCheckpoint) -> JsonText:
    """Return the JSON text of a state.

    Raises:
        TypeMismatch: it was not stored by a typed thread.
    """
    values: dict[str, str] = {}
    for name, channel in saved.channels.items():
        if channel.payload is None or channel.payload.encoding != _JSON:
            break
        try:
            values[name] = channel.payload.data.decode()
        except UnicodeDecodeError:
            break
    else:
        if saved.header == _FIELDS:
            members = ",".join([f"{to_json(name).decode()}:{value}" for name, value in values.items()])
            return JsonText(f"{{{members}}}")
        if saved.header == _WHOLE and values.keys() == {""}:
            return JsonText(values[""])
    raise TypeMismatch("the checkpoint was not saved by a typed thread", key=saved.checkpoint_id)


class _Tasks(Repository[CheckpointBackend], Generic[ResultT]):
    """The bodies of the methods: arguments in, operations out."""

    kind = "tasks"

    def __init__(
        self, thread: TypedThread[Any] | AsyncTypedThread[Any], kind: Any, checkpoint: Which, migrate: Migrate | None
    ) -> None:
        super().__init__(thread.backend)
        self.executor = thread.executor
        self.checkpoint_id = _id("checkpoint", checkpoint)
        self._thread = thread
        self._values: Values[ResultT] = Values(kind, migrate)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._values!r}, {shown(self.checkpoint_id, 200)})"

    def _put(self, task_id: str, result: ResultT) -> Operation[None]:
        """Store what a task returned.

        If the task has a result already, that one stays.

        Args:
            task_id: names the task; any text but the empty one.
            result: what it returned.

        Raises:
            InvalidInput: the result is not of the type. Nothing was written.
        """
        plain, _ = self._values.encode(result, "result")
        write = PendingWrite(
            task_id=text("task_id", task_id),
            idx=0,
            channel=_RESULT,
            payload=Payload(encoding=_JSON, data=dumps(plain).encode()),
        )
        checkpoints = self._thread._checkpoints
        return checkpoints._put_writes(
            self._thread.thread_id, self.checkpoint_id, [write], namespace=self._thread.namespace
        )

    def _get(self) -> Operation[dict[str, ResultT]]:
        """Return the results of the tasks that have one, by task id.

        They are empty as long as the checkpoint itself is not stored.

        Raises:
            TypeMismatch: a result is not of the type.
        """
        get = self._thread._checkpoints._get(
            self._thread.thread_id, namespace=self._thread.namespace, checkpoint_id=self.checkpoint_id
        )
        return named("get", self._results(get))

    def _results(self, get: Operation[SavedCheckpoint | None]) -> Operation[dict[str, ResultT]]:
        saved = yield from get
        found = {}
        for write in () if saved is None else saved.pending_writes:
            if (write.channel, write.idx, write.payload.encoding) == (_RESULT, 0, _JSON):
                stored = JsonText(write.payload.data.decode(errors="replace"))
                found[write.task_id] = self._values.decode(stored, write.task_id, "result of a task")
        return found


class TypedThread(_Thread[StateT]):
    """A thread whose state is of one type, for blocking code.

    :meth:`CheckpointRepository.of` makes one. The type is any that pydantic's ``TypeAdapter`` knows; each field of a
    model, dataclass or ``TypedDict`` is a channel. It may be shared by threads of the program.

    Attributes:
        thread_id: the thread.
        namespace: ``""`` for the root.

    Example:
        >>> import statekeep
        >>> from pydantic import BaseModel
        >>> class State(BaseModel):
        ...     question: str
        ...     answers: list[str] = []
        >>> with statekeep.connect("memory:") as keep:
        ...     chat = keep.checkpoints.of(State, "chat-1")
        ...     first = chat.save(State(question="Who?"))
        ...     second = chat.save(State(question="Who?", answers=["Ada"]), parent=first)
        ...     chat.load().state, len(list(chat.history()))
        (State(question='Who?', answers=['Ada']), 2)
    """

    save = blocking(_Thread[StateT]._save)
    load = blocking(_Thread[StateT]._load)
    history = iterating(_Thread[StateT]._history)
    fork = blocking(_Thread[StateT]._fork)

    def tasks(self, kind: type[ResultT], checkpoint: Which, *, migrate: Migrate | None = None) -> TypedTasks[ResultT]:
        """Return the results of the tasks of a step, as values of one type.

        They are kept as pending writes of the checkpoint that the step began from, and go with it. Who begins the step
        anew finds there what is done.

        Args:
            kind: as for :meth:`ItemRepository.of`.
            checkpoint: the checkpoint that the tasks work on.
            migrate: as for :meth:`ItemRepository.of`.

        Example:
            >>> import statekeep
            >>> chat = statekeep.connect("memory:").checkpoints.of(dict[str, str], "chat-1")
            >>> done = chat.tasks(int, chat.save({"question": "How many?"}))
            >>> done.put("count", 3)
            >>> done.get()
            {'count': 3}
        """
        return TypedTasks(self, kind, checkpoint, migrate)


class AsyncTypedThread(_Thread[StateT]):
    """A thread whose state is of one type, for asyncio code.

    :meth:`AsyncCheckpointRepository.of` makes one. See :class:`TypedThread`.

    Attributes:
        thread_id: the thread.
        namespace: ``""`` for the root.

    Example:
        >>> import asyncio, statekeep
        >>> async def main() -> dict[str, str]:
        ...     async with statekeep.aconnect("memory:") as keep:
        ...         chat = keep.checkpoints.of(dict[str, str], "chat-1")
        ...         await chat.save({"question": "Who?"})
        ...         return (await chat.load()).state
        >>> asyncio.run(main())
        {'question': 'Who?'}
    """

    save = awaiting(_Thread[StateT]._save)
    load = awaiting(_Thread[StateT]._load)
    history = aiterating(_Thread[StateT]._history)
    fork = awaiting(_Thread[StateT]._fork)

    def tasks(
        self, kind: type[ResultT], checkpoint: Which, *, migrate: Migrate | None = None
    ) -> AsyncTypedTasks[ResultT]:
        """Return the results of the tasks of a step, as values of one type.

        See :meth:`TypedThread.tasks`. Nothing is awaited.
        """
        return AsyncTypedTasks(self, kind, checkpoint, migrate)


class TypedTasks(_Tasks[ResultT]):
    """The results of the tasks of a step, for blocking code.

    :meth:`TypedThread.tasks` makes one.

    Attributes:
        checkpoint_id: the checkpoint that the tasks work on.
    """

    put = blocking(_Tasks[ResultT]._put)
    get = blocking(_Tasks[ResultT]._get)


class AsyncTypedTasks(_Tasks[ResultT]):
    """The results of the tasks of a step, for asyncio code.

    :meth:`AsyncTypedThread.tasks` makes one.

    Attributes:
        checkpoint_id: the checkpoint that the tasks work on.
    """

    put = awaiting(_Tasks[ResultT]._put)
    get = awaiting(_Tasks[ResultT]._get)
