"""What a thread looks like through a graph and through its saver, without what differs from run to run.

Ids of checkpoints, tasks, interrupts and messages, and versions of channels, are random. Each is replaced by a number
in the order in which they appear, so two of them are equal afterwards if, and only if, they were before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import define, field
from langchain_core.messages import BaseMessage
from langgraph.checkpoint.base import WRITES_IDX_MAP, BaseCheckpointSaver, CheckpointTuple
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from langgraph.errors import InvalidUpdateError
from langgraph.types import Command, Interrupt, Overwrite, PregelTask, Send, StateSnapshot

NULL_TASK = "00000000-0000-0000-0000-000000000000"
_RANDOM = re.compile(
    r"(?P<version>\b\d{32}\.[0-9.]+(?:e-\d+)?)"
    r"|(?P<id>\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b)"
    r"|(?P<interrupt>\b[0-9a-f]{32}\b)"
    r"|(?P<address> at 0x[0-9a-f]+)"
)


@define
class Names:
    """Names for random texts."""

    known: dict[str, str] = field(factory=dict)

    def __call__(self, text: str) -> str:
        return _RANDOM.sub(self._name, text)

    def knows(self, text: str) -> bool:
        """Whether every random part of a text has a name already."""
        return all(found[0] in self.known for found in _RANDOM.finditer(text))

    def _name(self, found: re.Match[str]) -> str:
        text = found[0]
        if text == NULL_TASK:
            return "null task"
        if found["address"]:
            return ""
        if text not in self.known:
            number = len(self.known)
            self.known[text] = f"<{int(text[:32])}.{number}>" if found["version"] else f"<{number}>"
        return self.known[text]

    def plain(self, value: Any) -> Any:
        """Any value of a graph, as text, numbers, lists and dicts."""
        if isinstance(value, str):
            return self(value)
        if isinstance(value, Mapping):
            if all(isinstance(key, str) for key in value):
                value = {key: value[key] for key in sorted(value)}
            return {self.plain(key): self.plain(item) for key, item in value.items()}
        if isinstance(value, Send):
            return ["send", value.node, self.plain(value.arg)]
        if isinstance(value, Command):
            return ["command", *map(self.plain, (value.update, value.resume, value.goto))]
        if isinstance(value, (_DeltaSnapshot, Overwrite)):
            return [type(value).__name__, self.plain(value.value)]
        if isinstance(value, BaseMessage):
            return [type(value).__name__, self.plain(value.content), self.plain(value.id)]
        if isinstance(value, BaseException):
            return [type(value).__name__, self(str(value))]
        if value and isinstance(value, (list, tuple)) and all(isinstance(item, Interrupt) for item in value):
            # Those of parallel tasks come in the order in which the tasks happened to end.
            return [type(value).__name__, *map(self.plain, sorted(value, key=lambda item: str(item.value)))]
        if isinstance(value, Interrupt):
            return ["interrupt", self.plain(value.value), self(value.id)]
        if isinstance(value, list):
            return [self.plain(item) for item in value]
        if isinstance(value, tuple):
            return ("tuple", *(self.plain(item) for item in value))
        if isinstance(value, (set, frozenset)):
            return [type(value).__name__, *sorted(map(self.plain, value))]
        if value is None or isinstance(value, (int, float, bytes)):
            return value
        raise TypeError(f"the tests do not know {type(value)}")

    def metadata(self, value: Any) -> Any:
        """Metadata: LangGraph documents that its tuples may come back as lists."""
        if isinstance(value, (list, tuple)):
            return [self.metadata(item) for item in value]
        if isinstance(value, Mapping):
            return {self(key): self.metadata(value[key]) for key in sorted(value)}
        return self.plain(value)


def _config(names: Names, config: Any) -> Any:
    if config is None:
        return None
    found = config["configurable"]
    return [names.plain(found.get(key) or "") for key in ("checkpoint_ns", "checkpoint_id")]


def _task(names: Names, task: PregelTask) -> Any:
    state = task.state
    return {
        "id": names(task.id),
        "name": task.name,
        "path": names.plain(list(task.path)),
        "error": names.plain(task.error if task.error is None else str(task.error)),
        "interrupts": names.plain(list(task.interrupts)),
        "state": snapshot(names, state) if isinstance(state, StateSnapshot) else _config(names, state),
        "result": names.plain(task.result),
    }


def snapshot(names: Names, state: StateSnapshot) -> Any:
    """A state that ``get_state`` returns."""
    return {
        "config": _config(names, state.config),
        "parent": _config(names, state.parent_config),
        "values": names.plain(state.values),
        "next": list(state.next),
        "metadata": None if state.metadata is None else names.metadata(state.metadata),
        "has a time": state.created_at is not None,
        "tasks": [_task(names, task) for task in state.tasks],
        "interrupts": names.plain(list(state.interrupts)),
    }


def stored(names: Names, found: CheckpointTuple) -> Any:
    """A checkpoint as the saver has it."""
    checkpoint: Any = found.checkpoint
    return {
        "config": _config(names, found.config),
        "parent": _config(names, found.parent_config),
        "checkpoint": {key: names.plain(checkpoint[key]) for key in sorted(checkpoint) if key != "ts"},
        "metadata": names.metadata(found.metadata),
        "writes": [names.plain(list(write)) for write in _in_order(names, found.pending_writes or [])],
    }


def _in_order(names: Names, writes: Sequence[tuple[str, str, Any]]) -> list[tuple[str, str, Any]]:
    """Order writes as if each task had stored all of its own at once, and no two at a time.

    LangGraph hands over what parallel tasks write in the order in which they happen to end, and stores what one task
    asks, is answered and returns in the background, each by itself. The order of what a task returns stays as it is.
    """
    tasks: dict[str, list[tuple[str, str, Any]]] = {}
    for write in sorted(writes, key=lambda write: WRITES_IDX_MAP.get(write[1], 0)):
        tasks.setdefault(write[0], []).append(write)

    def place(task_id: str) -> tuple[int, str]:
        if task_id == NULL_TASK:
            return -1, ""
        if task_id in names.known:
            return list(names.known).index(task_id), ""
        return len(names.known), repr(Names(dict(names.known)).plain(list(map(list, tasks[task_id]))))

    return [write for task_id in sorted(tasks, key=place) for write in tasks[task_id]]


def outcome(names: Names, act: Callable[[], Any]) -> Any:
    """What a call returns or raises."""
    try:
        return names.plain(act())
    except AssertionError:
        raise
    except Exception as error:
        return ["raises", *names.plain(error)]


def _read(names: Names, saver: BaseCheckpointSaver[str], listed: CheckpointTuple) -> Any:
    """A checkpoint as it is read by its id, which is as it is listed."""
    found = saver.get_tuple(listed.config)
    assert found is not None, f"{listed.config} is listed, but not there"
    seen = stored(names, found)
    assert not (lines := differences(stored(names, listed), seen)), "\n".join(["listed and read:", *lines])
    return seen


def thread(graph: Any, saver: BaseCheckpointSaver[str], config: Any) -> dict[str, Any]:
    """Everything about a thread: the newest state with those of inner graphs, the history, the stored checkpoints."""
    names = Names()
    seen: dict[str, Any] = {"history": []}
    try:
        for state in graph.get_state_history(config):
            seen["history"].append(snapshot(names, state))
    except InvalidUpdateError as error:  # two tasks of a step wrote a channel that takes one value
        seen["history"].append(names.plain(error))
    if seen["history"]:
        seen["now"] = outcome(names, lambda: snapshot(names, graph.get_state(config, subgraphs=True)))
    spaces: dict[str, list[CheckpointTuple]] = {}
    for found in saver.list({"configurable": {"thread_id": config["configurable"]["thread_id"]}}):
        spaces.setdefault(found.config["configurable"]["checkpoint_ns"], []).append(found)
    while spaces:
        space = _next(names, spaces)
        seen[f"stored {names(space)}"] = [_read(names, saver, found) for found in spaces.pop(space)]
    return seen


def _next(names: Names, spaces: Mapping[str, list[CheckpointTuple]]) -> str:
    """Choose the namespace to look at next, whatever the order of the listing, which goes by time.

    The tasks of one namespace name those of the namespaces within; what nobody names comes last. Of several that nobody
    names, what is in them decides: those in which all is the same may change places.
    """
    outlines = {space: (not names.knows(space), _outline(names, space)) for space in spaces}
    first = min(outlines.values())
    tied = [space for space in spaces if outlines[space] == first]
    return tied[0] if len(tied) == 1 else min(tied, key=lambda space: _contents(names, spaces, space))


def _contents(names: Names, spaces: Mapping[str, list[CheckpointTuple]], space: str) -> str:
    """Return what is at or below a namespace as text, with names as if it were the next one."""
    trial = Names(dict(names.known))
    own = repr((trial(space), [stored(trial, found) for found in spaces[space]]))
    inner = [below for below in spaces if below.startswith(f"{space}|")]
    return "\n".join([own, *sorted(_contents(trial, spaces, below) for below in inner)])


def _outline(names: Names, space: str) -> str:
    return _RANDOM.sub(lambda found: names.known.get(found[0], "~"), space)


def differences(found: Any, wanted: Any, path: str = "") -> list[str]:
    """Where two observations differ."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        lines = [f"{path}: has {sorted(found)}, not {sorted(wanted)}"] if found.keys() != wanted.keys() else []
        for key in found.keys() & wanted.keys():
            lines += differences(found[key], wanted[key], f"{path}/{key}")
        return lines
    if isinstance(found, (list, tuple)) and type(found) is type(wanted) and len(found) == len(wanted):
        return [
            line
            for place, (one, other) in enumerate(zip(found, wanted, strict=True))
            for line in differences(one, other, f"{path}/{place}")
        ]
    return [] if found == wanted and type(found) is type(wanted) else [f"{path}: {found!r}, not {wanted!r}"]
