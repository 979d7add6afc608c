"""Threads as LangGraph writes them, and what savers are asked for in each workload."""

from __future__ import annotations

import datetime as dt
import random
import string
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

from attrs import frozen
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata, CheckpointTuple
from langgraph.checkpoint.base.id import uuid6

from .running import Script, call, expect

TASKS = ("task-1", "task-2")
FAN_OUT = 30
READS = 5
LISTINGS = 3

_LETTERS = (string.ascii_letters * 5)[:256].encode()


def text(length: int) -> str:
    """Random letters, which compress badly."""
    return random.randbytes(length).translate(_LETTERS).decode()


@frozen
class Step:
    """One superstep: its checkpoint, and what each of its tasks writes."""

    checkpoint: Checkpoint
    metadata: CheckpointMetadata
    new_versions: ChannelVersions
    writes: list[tuple[str, Any]]

    @property
    def checkpoint_id(self) -> str:
        return self.checkpoint["id"]


@frozen
class Shape:
    """How a conversation goes: so many checkpoints, each with a message of so many bytes more.

    ``before`` messages are there already, and a channel of ``constant`` bytes, unless 0, never changes.
    """

    steps: int
    message: int
    before: int = 0
    constant: int = 0


def chat(shape: Shape, first: int = 0, *, growing: bool = True) -> Iterator[Step]:
    """A conversation from step ``first`` on that grows by a message per step, or has the last one alone."""
    messages: list[BaseMessage] = [HumanMessage(content=text(shape.message), id=f"m-{n}") for n in range(shape.before)]
    values: dict[str, Any] = {"document": text(shape.constant)} if shape.constant else {}
    versions: ChannelVersions = {}
    for number in range(first, first + shape.steps):
        kind = HumanMessage if number % 2 == 0 else AIMessage
        messages = [*(messages if growing else ()), kind(content=text(shape.message), id=str(uuid6()))]
        version = f"{number + 1:032}.{random.random():016}"
        new: ChannelVersions = {"messages": version, "branch:to:model": version}
        if number == 0 and shape.constant:
            new["document"] = version
        versions = versions | new
        checkpoint = {
            "v": 4,
            "id": str(uuid6(clock_seq=number)),
            "ts": dt.datetime.now(dt.UTC).isoformat(),
            "channel_values": {**values, "messages": messages, "branch:to:model": None},
            "channel_versions": dict(versions),
            "versions_seen": {"model": {"branch:to:model": version}, "__input__": {}},
            "updated_channels": ["messages"],
        }
        metadata: CheckpointMetadata = {"source": "loop", "step": number, "parents": {}}
        writes = [("messages", [messages[-1]]), ("branch:to:model", None)]
        yield Step(cast(Checkpoint, checkpoint), metadata, new, writes)


def config(thread_id: str, checkpoint_id: str | None = None, **more: str) -> RunnableConfig:
    """Names a thread, or a checkpoint of it."""
    configurable = {"thread_id": thread_id, "checkpoint_ns": "", **more}
    if checkpoint_id is not None:
        configurable["checkpoint_id"] = checkpoint_id
    return {"configurable": configurable}


def check(found: CheckpointTuple | None, step: Step, pending: int) -> None:
    """See that it is the checkpoint of this step, with its values and so many pending writes."""
    expect(found is not None and found.checkpoint["id"] == step.checkpoint_id, "not the checkpoint that was asked for")
    assert found is not None
    there, stored = found.checkpoint["channel_values"], step.checkpoint["channel_values"]
    expect(there.get("messages") == stored["messages"], "not the messages that were put")
    expect(there.get("document") == stored.get("document"), "not the document that was put")
    expect(len(found.pending_writes or []) == pending, f"not {pending} pending writes")


def written(thread_id: str, steps: Iterable[Step], ids: list[str], tasks: Sequence[str] = TASKS, **more: str) -> Script:
    """Go on writing a thread as LangGraph does; the ids of its checkpoints are appended to ``ids``."""
    for step in steps:
        here = config(thread_id, ids[-1] if ids else None, **more)
        yield call("put", "put", here, step.checkpoint, step.metadata, step.new_versions)
        ids.append(step.checkpoint_id)
        for task in tasks:
            stored = config(thread_id, step.checkpoint_id, **more)
            yield call("put_writes", "put_writes", stored, step.writes, task, f"~__pregel_pull, {task}")


def conversation(thread_id: str, shape: Shape) -> Script:
    """Write a thread, read it, and delete it."""
    steps = list(chat(shape))
    yield from written(thread_id, steps, [])
    for _ in range(READS):
        found = yield call("get latest", "get_tuple", config(thread_id))
        check(found, steps[-1], pending=4)
    middle = steps[len(steps) // 2]
    for _ in range(READS):
        found = yield call("get by id", "get_tuple", config(thread_id, middle.checkpoint_id))
        check(found, middle, pending=4)
    for _ in range(LISTINGS):
        listed = yield call("list(10)", "list", config(thread_id), limit=10)
        expect([one.checkpoint["id"] for one in listed] == [one.checkpoint_id for one in steps[:-11:-1]], "wrong list")
    yield call("delete_thread", "delete_thread", thread_id)
    found = yield call(None, "get_tuple", config(thread_id))
    expect(found is None, "a thread that was deleted")


def fan_out(thread_id: str) -> Script:
    """Thirty tasks of one superstep store their writes; then the checkpoint is read with them."""
    steps = list(chat(Shape(steps=1, message=200)))
    yield from written(thread_id, steps, [], [f"task-{number}" for number in range(FAN_OUT)])
    for _ in range(READS):
        found = yield call("get latest, 60 writes", "get_tuple", config(thread_id))
        check(found, steps[0], pending=60)
    yield call(None, "delete_thread", thread_id)


def deletion(*thread_ids: str) -> Script:
    """Delete threads."""
    for thread_id in thread_ids:
        yield call(None, "delete_thread", thread_id)
