"""Threads as LangGraph writes them: what a saver is given at each step."""

from __future__ import annotations

import datetime as dt
import random
import string
from collections.abc import Iterator
from typing import Any, cast

from attrs import frozen
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.serde.types import _DeltaSnapshot

SNAPSHOT_EVERY = 100
"""As many updates go by between two snapshots of a delta channel, by LangGraph's default."""


_LETTERS = (string.ascii_letters * 5)[:256].encode()


def text(length: int) -> str:
    """Random letters, which compress badly."""
    return random.randbytes(length).translate(_LETTERS).decode()


def next_version(step: int) -> str:
    """A version as LangGraph's own savers make them."""
    return f"{step + 1:032}.{random.random():016}"


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
    """How a conversation goes.

    Attributes:
        steps: how many checkpoints.
        message: length of the message that each step adds, in bytes.
        constant: length of a channel that never changes, in bytes; 0 for none.
    """

    steps: int
    message: int
    constant: int = 0


def _step(
    number: int, values: dict[str, Any], versions: ChannelVersions, new: ChannelVersions, writes: list[tuple[str, Any]]
) -> Step:
    checkpoint = {
        "v": 4,
        "id": str(uuid6(clock_seq=number)),
        "ts": dt.datetime.now(dt.UTC).isoformat(),
        "channel_values": values,
        "channel_versions": dict(versions),
        "versions_seen": {"model": {"branch:to:model": versions["branch:to:model"]}, "__input__": {}},
        "updated_channels": ["messages"],
    }
    metadata = {"source": "loop", "step": number, "parents": {}}
    return Step(cast(Checkpoint, checkpoint), cast(CheckpointMetadata, metadata), new, writes)


def chat(shape: Shape) -> Iterator[Step]:
    """A conversation that grows by a message per step, beside a channel that never changes if there is one."""
    messages: list[BaseMessage] = []
    document = text(shape.constant)
    versions: ChannelVersions = {}
    for number in range(shape.steps):
        kind = HumanMessage if number % 2 == 0 else AIMessage
        messages = [*messages, kind(content=text(shape.message), id=str(uuid6()))]
        version = next_version(number)
        new: ChannelVersions = {"messages": version, "branch:to:model": version}
        if number == 0 and shape.constant:
            new["document"] = version
        versions = versions | new
        values: dict[str, Any] = {"messages": messages, "branch:to:model": None}
        if shape.constant:
            values["document"] = document
        yield _step(number, values, versions, new, [("messages", [messages[-1]]), ("branch:to:model", None)])


def log(first: int, last: int) -> Iterator[Step]:
    """A thread whose state does not grow: its last message, and a delta channel, which is rebuilt from writes.

    Args:
        first: number of the first step.
        last: number of the step after the last.
    """
    written = 0
    for number in range(first, last):
        version = next_version(number)
        new: ChannelVersions = {"messages": version, "branch:to:model": version, "events": version}
        message = AIMessage(content=text(200), id=str(uuid6()))
        values: dict[str, Any] = {"messages": [message], "branch:to:model": None}
        if snapshot := number % SNAPSHOT_EVERY == 0:
            values["events"] = _DeltaSnapshot([text(20)] * 100)
        step = _step(number, values, new, new, [("events", [text(20)])])
        written = 0 if snapshot else written + 1
        if not snapshot:
            cast(dict[str, Any], step.metadata)["counters_since_delta_snapshot"] = {"events": (written, written)}
        yield step


def config(thread_id: str, checkpoint_id: str | None = None, **more: str) -> RunnableConfig:
    """Names a thread, or a checkpoint of it."""
    configurable = {"thread_id": thread_id, "checkpoint_ns": "", **more}
    if checkpoint_id is not None:
        configurable["checkpoint_id"] = checkpoint_id
    return {"configurable": configurable}
