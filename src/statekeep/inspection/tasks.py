"""Tasks of a step, and the nodes that run in it, without the graph."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from pydantic import Field

from ..domain.checkpoints import PendingWrite, SavedCheckpoint
from ..domain.model import Model
from .decoding import LIMITS, decode
from .limits import TYPE, Limits

ERROR: Final = "__error__"
INTERRUPT: Final = "__interrupt__"
SENDS: Final = "__pregel_tasks"
START: Final = "__start__"
NOBODY: Final = "00000000-0000-0000-0000-000000000000"
"""LangGraph's id for writes that no task made, such as an answer to an interrupt."""

_SPECIAL: Final = frozenset({ERROR, INTERRUPT, "__resume__", "__scheduled__", "__no_writes__"})
_INTERNAL: Final = frozenset({START, SENDS, "__input__", "__statekeep_parent"}) | _SPECIAL
_TRIGGERS: Final = ("branch:", "join:", "start:")
"""How channels begin that make a node run; its name stands behind the last colon."""

_PULL: Final = re.compile(r"~__pregel_pull, (.+)", re.DOTALL)
_PUSH: Final = re.compile(r"~__pregel_push, (\d{10})(?!\d)")


class TaskState(StrEnum):
    """How far a task is.

    Example:
        >>> TaskState("done")
        <TaskState.DONE: 'done'>
    """

    DONE = "done"
    """It wrote its result; its step is not complete yet, or was not when it was written."""
    FAILED = "failed"
    """It raised an error."""
    INTERRUPTED = "interrupted"
    """It asks a question."""
    OTHER = "other"
    """It left a note of the framework's alone."""


class TaskRecord(Model):
    """A task that left pending writes.

    Example:
        >>> TaskRecord(task_id="1", state="done", channels=("answer",)).node is None
        True
    """

    task_id: str = Field(description="The id of the task.")
    node: str | None = Field(default=None, description="The node that it runs; null if the record does not tell.")
    state: TaskState = Field(description="done, failed, interrupted or other.")
    channels: tuple[str, ...] = Field(default=(), description="The channels that it wrote to.")
    interrupts: tuple[Any, ...] = Field(default=(), description="Its questions, decoded as JSON.")
    error: Any = Field(default=None, description="Its error, decoded as JSON.")
    size: int = Field(default=0, description="Bytes of its writes.")


def is_internal(channel: str) -> bool:
    """Return whether a channel is a framework's own.

    Such a one is no part of the state that a user defined.

    Args:
        channel: its name.

    Example:
        >>> is_internal("branch:to:agent"), is_internal("messages")
        (True, False)
    """
    return channel in _INTERNAL or channel.startswith(_TRIGGERS)


def header_of(saved: SavedCheckpoint) -> Mapping[str, Any]:
    """Return the header of a checkpoint that LangGraph put.

    It is empty if the checkpoint is of somebody else.

    Args:
        saved: the checkpoint.

    Example:
        >>> from statekeep import Payload
        >>> header_of(SavedCheckpoint(thread_id="t", header=Payload(encoding="json", data=b'{"v":4}')))
        {'v': 4}
    """
    if saved.header is None:
        return {}
    found = decode(saved.header, _WHOLE).value
    return found if isinstance(found, dict) and TYPE not in found else {}


_WHOLE: Final = Limits(items=100_000, values=1_000_000)


def next_nodes(saved: SavedCheckpoint) -> tuple[str, ...]:
    """Return the nodes that run after a checkpoint, without the graph.

    They are known of graphs of LangGraph whose nodes are joined by edges: channels ``branch:to:NODE``, edges of several
    nodes, and Sends. In the order of their names, those of Sends first.

    Args:
        saved: the checkpoint.

    Example:
        >>> next_nodes(SavedCheckpoint(thread_id="t"))
        ()
    """
    seen = header_of(saved).get("versions_seen")
    if not isinstance(seen, Mapping):
        return ()
    return (*sent_to(saved), *sorted(_triggered(saved, seen)))


def sent_to(saved: SavedCheckpoint) -> tuple[str, ...]:
    """Return the nodes that Sends of a checkpoint go to, in order.

    Args:
        saved: the checkpoint.

    Example:
        >>> sent_to(SavedCheckpoint(thread_id="t"))
        ()
    """
    channel = saved.channels.get(SENDS)
    if channel is None or channel.payload is None:
        return ()
    sends = decode(channel.payload, Limits(items=100_000, characters=1000, depth=4)).value
    return tuple(
        send["args"][0]
        for send in (sends if isinstance(sends, list) else ())
        if isinstance(send, dict) and isinstance(send.get("args"), list) and isinstance(send["args"][0], str)
    )


def _triggered(saved: SavedCheckpoint, seen: Mapping[str, Any]) -> set[str]:
    found = set()
    for name, channel in saved.channels.items():
        if channel.payload is None or not (name == START or name.startswith(_TRIGGERS)):
            continue
        node = name.rpartition(":")[2]
        if name.startswith("join:") and not _is_complete(name, decode(channel.payload).value):
            continue
        versions = seen.get(node)
        if not isinstance(versions, Mapping) or _is_newer(channel.version, versions.get(name)):
            found.add(node)
    return found


def _is_complete(name: str, seen: Any) -> bool:
    """Return whether all nodes ran that an edge waits for.

    Some barriers store a flag beside their names.
    """
    wanted = set(name.removeprefix("join:").rpartition(":")[0].split("+"))
    if isinstance(seen, list) and len(seen) == 2 and isinstance(seen[1], bool):
        if not seen[1]:
            return False
        seen = seen[0]
    names = seen.get("value") if isinstance(seen, dict) else seen
    return isinstance(names, list) and set(map(str, names)) == wanted


def _is_newer(version: Any, seen: Any) -> bool:
    if seen is None:
        return True
    if isinstance(version, str) is isinstance(seen, str) and isinstance(seen, str | int | float):
        return bool(version > seen)
    return bool(version != seen)


def tasks_of(saved: SavedCheckpoint, limits: Limits = LIMITS) -> tuple[TaskRecord, ...]:
    """Return the tasks that left pending writes, in the order of these.

    Args:
        saved: the checkpoint.
        limits: how much of questions and errors is shown.

    Example:
        >>> from statekeep import Payload
        >>> write = PendingWrite(task_id="1", idx=0, channel="answer", payload=Payload(encoding="json", data=b"42"))
        >>> [task] = tasks_of(SavedCheckpoint(thread_id="t", pending_writes=(write,)))
        >>> task.state, task.channels
        (<TaskState.DONE: 'done'>, ('answer',))
    """
    by_task: dict[str, list[PendingWrite]] = {}
    for write in saved.pending_writes:
        by_task.setdefault(write.task_id, []).append(write)
    sends = sent_to(saved) if by_task else ()
    return tuple(_task(task_id, writes, sends, limits) for task_id, writes in by_task.items())


def _task(task_id: str, writes: list[PendingWrite], sends: tuple[str, ...], limits: Limits) -> TaskRecord:
    special = {write.channel: write for write in writes if write.channel in _SPECIAL}
    ordinary = tuple(dict.fromkeys(write.channel for write in writes if write.channel not in _SPECIAL))
    questions: Any = decode(special[INTERRUPT].payload, limits).value if INTERRUPT in special else ()
    error = decode(special[ERROR].payload, limits).value if ERROR in special else None
    if ordinary or "__no_writes__" in special:
        state = TaskState.DONE
    elif ERROR in special:
        state = TaskState.FAILED
    else:
        state = TaskState.INTERRUPTED if INTERRUPT in special else TaskState.OTHER
    return TaskRecord(
        task_id=task_id,
        node=_node(task_id, writes[0].task_path, sends),
        state=state,
        channels=ordinary,
        interrupts=tuple(questions) if isinstance(questions, list | tuple) else (questions,),
        error=error,
        size=sum(len(write.payload.data) for write in writes),
    )


def _node(task_id: str, path: str, sends: tuple[str, ...]) -> str | None:
    if task_id == NOBODY:
        return None
    if pulled := _PULL.fullmatch(path):
        return pulled[1]
    pushed = _PUSH.match(path)
    if pushed and int(pushed[1]) < len(sends):
        return sends[int(pushed[1])]
    return None
