"""The steps of a thread: what each did, what it stored, and where it forks."""

from __future__ import annotations

import datetime as dt
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from attrs import define, field
from pydantic import Field

from ..domain.checkpoints import SavedCheckpoint, Version
from ..domain.model import Model
from .decoding import as_tree
from .limits import Limits
from .tasks import TaskRecord, TaskState, next_nodes, tasks_of

Find = Callable[[str, str], SavedCheckpoint | None]
"""Finds a checkpoint by namespace and id."""

_BRIEF: Final = Limits(items=50, characters=500, values=500, depth=6)


class ChannelChange(Model):
    """A channel that a step changed.

    Example:
        >>> ChannelChange(name="messages", size=120).size
        120
    """

    name: str = Field(description="The channel.")
    size: int = Field(description="Bytes of its value; 0 if it has none.")


class Step(Model):
    """A step of a thread: a checkpoint, and what came to it.

    Example:
        >>> [step] = steps([SavedCheckpoint(thread_id="t", metadata={"step": 1, "source": "loop"})])
        >>> step.step, step.source
        (1, 'loop')
    """

    thread_id: str = Field(description="The thread.")
    namespace: str = Field(description='"" for the root, a path for a nested graph.')
    checkpoint_id: str = Field(description="The checkpoint.")
    parent_id: str | None = Field(description="The checkpoint that it was made from.")
    children: tuple[str, ...] = Field(description="Newer checkpoints that were made from it; several are a fork.")
    created_at: dt.datetime = Field(description="When it was made.")
    step: int | None = Field(description="The number that the framework gave to the step.")
    source: str | None = Field(description="What made it: input, loop, update, fork, or another framework's word.")
    run_id: str | None = Field(description="The run that it belongs to.")
    next: tuple[str, ...] = Field(description="The nodes that run after it, as far as the record tells.")
    tasks: tuple[TaskRecord, ...] = Field(description="The tasks that left pending writes at it.")
    is_waiting: bool = Field(description="Whether a question of a task waits for its answer.")
    changes: tuple[ChannelChange, ...] = Field(description="The channels whose version is not that of its parent.")
    channels: int = Field(description="How many channels it has.")
    bytes_new: int = Field(description="Bytes of the values that it is the first to have.")
    bytes_reused: int = Field(description="Bytes of the values that it has from its parent.")
    bytes_writes: int = Field(description="Bytes of its pending writes.")
    metadata: Any = Field(description="Its metadata, as JSON.")


_Key = tuple[str, str]


@define
class _Waiting:
    """A step whose parent is not known yet."""

    fields: dict[str, Any]
    values: dict[str, tuple[Version, int]]
    key: _Key
    parent: _Key | None
    step: Step | None = None


@define
class _Timeline:
    find: Find | None
    queue: deque[_Waiting] = field(factory=deque)
    by_parent: dict[_Key, list[_Waiting]] = field(factory=dict)

    def add(self, saved: SavedCheckpoint) -> Iterator[Step]:
        key = (saved.namespace, saved.checkpoint_id)
        values = _values(saved)
        children = self.by_parent.pop(key, [])
        for child in children:
            child.step = _made(child, values)
        fields = _fields(saved)
        fields["children"] = tuple(child.key[1] for child in children)
        fields["is_waiting"] = not children and any(task.state is TaskState.INTERRUPTED for task in fields["tasks"])
        parent = None if saved.parent_id is None else (saved.namespace, saved.parent_id)
        waiting = _Waiting(fields, values, key, parent)
        if parent is None:
            waiting.step = _made(waiting, {})
        else:
            self.by_parent.setdefault(parent, []).append(waiting)
        self.queue.append(waiting)
        yield from self.ready()

    def ready(self) -> Iterator[Step]:
        while self.queue and (step := self.queue[0].step) is not None:
            self.queue.popleft()
            yield step

    def end(self) -> Iterator[Step]:
        """Look for the parents that were not among the checkpoints."""
        for parent, children in self.by_parent.items():
            saved = None if self.find is None else self.find(*parent)
            for child in children:
                child.step = _made(child, {} if saved is None else _values(saved))
        self.by_parent.clear()
        yield from self.ready()


def _values(saved: SavedCheckpoint) -> dict[str, tuple[Version, int]]:
    return {
        name: (channel.version, 0 if channel.payload is None else len(channel.payload.data))
        for name, channel in saved.channels.items()
    }


def _fields(saved: SavedCheckpoint) -> dict[str, Any]:
    metadata = saved.metadata
    step, source, run_id = (metadata.get(name) for name in ("step", "source", "run_id"))
    return {
        "thread_id": saved.thread_id,
        "namespace": saved.namespace,
        "checkpoint_id": saved.checkpoint_id,
        "parent_id": saved.parent_id,
        "created_at": saved.created_at,
        "step": step if type(step) is int else None,
        "source": source if isinstance(source, str) else None,
        "run_id": run_id if isinstance(run_id, str) else None,
        "next": next_nodes(saved),
        "tasks": tasks_of(saved, _BRIEF),
        "channels": len(saved.channels),
        "bytes_writes": sum(len(write.payload.data) for write in saved.pending_writes),
        "metadata": as_tree(metadata, _BRIEF),
    }


def _made(waiting: _Waiting, before: dict[str, tuple[Version, int]]) -> Step:
    changes, new, reused = [], 0, 0
    for name, (version, size) in waiting.values.items():
        earlier = before.get(name)
        if earlier is not None and type(earlier[0]) is type(version) and earlier[0] == version:
            reused += size
        else:
            new += size
            changes.append(ChannelChange.trusted(name=name, size=size))
    waiting.values = {}
    return Step.trusted(**waiting.fields, changes=tuple(changes), bytes_new=new, bytes_reused=reused)


def steps(checkpoints: Iterable[SavedCheckpoint], find: Find | None = None) -> Iterator[Step]:
    """Turn checkpoints of a thread into steps, as they come.

    A step is there when its parent is known, with which it is compared. Values are not kept meanwhile, so a thread of
    any length takes little memory.

    Args:
        checkpoints: of one thread, newest first, as ``checkpoints.list`` returns them.
        find: finds parents that are not among them by namespace and id, if only a part was listed. Without it, or if
            it finds none, all values of a step count as new.

    Yields:
        The steps, in the same order.

    Example:
        >>> from statekeep import Channel, Payload
        >>> def made(id, parent, version):
        ...     channel = Channel.of(version, Payload(encoding="json", data=b"12345"))
        ...     return SavedCheckpoint(thread_id="t", checkpoint_id=id, parent_id=parent, channels={"n": channel})
        >>> [(step.checkpoint_id, step.bytes_new) for step in steps([made("2", "1", 1), made("1", None, 1)])]
        [('2', 0), ('1', 5)]
    """
    made = _Timeline(find)
    for saved in checkpoints:
        yield from made.add(saved)
    yield from made.end()
