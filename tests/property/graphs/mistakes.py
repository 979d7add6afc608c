"""Savers with a mistake each, which random graphs have to notice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.serde.types import INTERRUPT, RESUME

from statekeep.langgraph_shim import RepositorySaver


class WritesInAnotherOrder(RepositorySaver):
    def get_tuple(self, config: Any) -> CheckpointTuple | None:
        found = super().get_tuple(config)
        return found and found._replace(pending_writes=(found.pending_writes or [])[::-1])


class WritesWithoutPath(RepositorySaver):
    def put_writes(self, config: Any, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = "") -> None:
        super().put_writes(config, writes, task_id, "")


class _Lost(RepositorySaver):
    channel = ""

    def put_writes(self, config: Any, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = "") -> None:
        super().put_writes(config, [write for write in writes if write[0] != self.channel], task_id, task_path)


class LostAnswers(_Lost):
    channel = RESUME


class LostQuestions(_Lost):
    channel = INTERRUPT


class LostParents(RepositorySaver):
    def put(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
        place = {**config["configurable"], "checkpoint_id": None}
        return super().put(config | {"configurable": place}, checkpoint, metadata, new_versions)


class ForksWithOneVersion(RepositorySaver):
    def get_next_version(self, current: str | None, channel: None) -> str:
        return f"{int((current or '0').partition('.')[0]) + 1:032}.0"


class NewestInsteadOfNamed(RepositorySaver):
    def get_tuple(self, config: Any) -> CheckpointTuple | None:
        place = config["configurable"]
        if place.get("checkpoint_ns"):
            config = {"configurable": {key: place[key] for key in ("thread_id", "checkpoint_ns")}}
        return super().get_tuple(config)


class OneNamespaceForAllCalls(RepositorySaver):
    def put(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
        place = dict(config["configurable"])
        place["checkpoint_ns"] = place["checkpoint_ns"].partition("|")[0]
        return super().put(config | {"configurable": place}, checkpoint, metadata, new_versions)


class PrunedToTheBone(RepositorySaver):
    def prune(self, thread_ids: Sequence[str], **policy: Any) -> None:
        for thread_id in thread_ids:
            [*kept] = self.list({"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}, limit=1)
            self.delete_thread(thread_id)
            for found in kept:
                checkpoint: Any = found.checkpoint
                config: Any = {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}
                self.put(config, checkpoint, found.metadata, checkpoint["channel_versions"])
                for task_id, channel, value in found.pending_writes or []:
                    self.put_writes(found.config, [(channel, value)], task_id)


MISTAKES: list[type[RepositorySaver]] = [
    WritesInAnotherOrder,
    WritesWithoutPath,
    LostAnswers,
    LostQuestions,
    LostParents,
    ForksWithOneVersion,
    NewestInsteadOfNamed,
    OneNamespaceForAllCalls,
    PrunedToTheBone,
]
