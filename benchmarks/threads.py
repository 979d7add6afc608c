"""Threads as LangGraph writes them: what a saver is given at each step."""

from __future__ import annotations

import random
import string
from collections.abc import Iterator
from typing import Any, cast

from attrs import define
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, ChannelVersions, Checkpoint, CheckpointMetadata
from langgraph.checkpoint.base.id import uuid6


def text(length: int) -> str:
    """Random letters, which compress badly."""
    return "".join(random.choices(string.ascii_letters, k=length))


@define
class Step:
    """One superstep: its checkpoint, and what its tasks write."""

    checkpoint: Checkpoint
    metadata: CheckpointMetadata
    new_versions: ChannelVersions
    writes: list[tuple[str, Any]]


def chat(saver: BaseCheckpointSaver[Any], steps: int, *, constant: int, message: int) -> Iterator[Step]:
    """A conversation that grows by a message per step, beside a channel that never changes.

    Args:
        saver: numbers the channel versions.
        steps: how many checkpoints.
        constant: length of the constant channel in bytes; 0 for none.
        message: length of each message in bytes.
    """
    messages: list[BaseMessage] = []
    document = text(constant)
    versions: ChannelVersions = {}
    for step in range(steps):
        kind = HumanMessage if step % 2 == 0 else AIMessage
        messages = [*messages, kind(content=text(message), id=str(uuid6()))]
        version = saver.get_next_version(max(versions.values(), default=None), None)
        new: ChannelVersions = {"messages": version, "branch:to:model": version}
        if step == 0 and constant:
            new["document"] = version
        versions = versions | new
        values: dict[str, Any] = {"messages": messages, "branch:to:model": None}
        if constant:
            values["document"] = document
        checkpoint = {
            "v": 4,
            "id": str(uuid6(clock_seq=step)),
            "ts": "2026-01-01T00:00:00+00:00",
            "channel_values": values,
            "channel_versions": dict(versions),
            "versions_seen": {"model": {"branch:to:model": version}, "__input__": {}},
            "updated_channels": ["messages"],
        }
        metadata = {"source": "loop", "step": step, "parents": {}}
        writes = [("messages", [messages[-1]]), ("branch:to:model", None)]
        yield Step(cast(Checkpoint, checkpoint), cast(CheckpointMetadata, metadata), new, writes)


def config(thread_id: str, checkpoint_id: str | None = None) -> RunnableConfig:
    """Names a thread, or a checkpoint of it."""
    configurable = {"thread_id": thread_id, "checkpoint_ns": ""}
    if checkpoint_id is not None:
        configurable["checkpoint_id"] = checkpoint_id
    return {"configurable": configurable}
