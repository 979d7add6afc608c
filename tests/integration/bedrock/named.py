"""Threads of any name in Bedrock sessions, for tests that choose ids: a session is made for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from statekeep.domain import (
    ANY,
    ChannelHistory,
    Checkpoint,
    CheckpointQuery,
    PendingWrite,
    PrunePolicy,
    SavedCheckpoint,
    Thread,
    ThreadMeasure,
)
from statekeep.langgraph_shim.checkpoint.base import Saver
from statekeep.repositories.bedrock_sessions import BedrockSessionCheckpoints
from statekeep.repositories.checkpoints import ExpectedHead, Supply
from statekeep.repositories.encrypted_metadata import EncryptedMetadata
from statekeep.repositories.operation import Operation, Page

UNSUPPORTED = ("delete", "delete_runs", "expire", "prune")
"""Operations that the service cannot do."""


class NamedThreads:
    """A backend that makes a session for each thread that it meets.

    Args:
        backend: that of the sessions.
        sessions: of former threads by name; is added to.
    """

    def __init__(self, backend: BedrockSessionCheckpoints, sessions: dict[str, str] | None = None) -> None:
        self.backend = backend
        self.sessions: dict[str, str] = {} if sessions is None else sessions
        self._names = {session: name for name, session in self.sessions.items()}
        self.execute = backend.execute
        self.aexecute = backend.aexecute
        self.ping = backend.ping
        self.now = backend.now
        self.close = backend.close
        self.aclose = backend.aclose

    def __repr__(self) -> str:
        return f"NamedThreads({self.backend!r})"

    def session(self, thread_id: str) -> Operation[str]:
        if thread_id not in self.sessions:
            made = yield from self.backend.creating(None, None, None)
            # Of two that make one at the same time, the first one's is taken.
            self._names[self.sessions.setdefault(thread_id, made)] = thread_id
        return self.sessions[thread_id]

    def _named(self, saved: SavedCheckpoint) -> SavedCheckpoint:
        return saved.model_copy(update={"thread_id": self._names.get(saved.thread_id, saved.thread_id)})

    def put(self, checkpoint: Checkpoint, supply: Supply | None, expected_head: ExpectedHead = ANY) -> Operation[None]:
        session = yield from self.session(checkpoint.thread_id)
        yield from self.backend.put(checkpoint.model_copy(update={"thread_id": session}), supply, expected_head)

    def put_writes(
        self, thread_id: str, namespace: str, checkpoint_id: str, writes: Sequence[PendingWrite]
    ) -> Operation[None]:
        session = yield from self.session(thread_id)
        yield from self.backend.put_writes(session, namespace, checkpoint_id, writes)

    def get(self, thread_id: str, namespace: str, checkpoint_id: str | None) -> Operation[SavedCheckpoint | None]:
        session = yield from self.session(thread_id)
        found = yield from self.backend.get(session, namespace, checkpoint_id)
        return None if found is None else self._named(found)

    def list(self, query: CheckpointQuery, cursor: Any) -> Operation[Page[SavedCheckpoint]]:
        if query.thread_id is not None:
            session = yield from self.session(query.thread_id)
            query = query.model_copy(update={"thread_id": session})
        page = yield from self.backend.list(query, cursor)
        return Page([self._named(saved) for saved in page.items], page.cursor)

    def ancestors(
        self, thread_id: str, namespace: str, checkpoint_id: str | None, channels: Sequence[str]
    ) -> Operation[dict[str, ChannelHistory]]:
        session = yield from self.session(thread_id)
        return (yield from self.backend.ancestors(session, namespace, checkpoint_id, channels))

    def list_threads(self, prefix: str, after: Thread | None, limit: int | None) -> Operation[Page[Thread]]:
        page = yield from self.backend.list_threads("", None, None)
        threads = [
            Thread(thread_id=self._names[one.thread_id], updated_at=one.updated_at)
            for one in page.items
            if self._names.get(one.thread_id, "").startswith(prefix) and one.thread_id in self._names
        ]
        threads = [one for one in threads if after is None or _recency(one) < _recency(after)]
        threads.sort(key=_recency, reverse=True)
        some = threads[:limit]
        return Page(some, some[-1] if some and len(some) < len(threads) else None)

    def delete(self, thread_id: str, namespace: str, checkpoint_id: str) -> Operation[bool]:
        return (yield from self.backend.delete((yield from self.session(thread_id)), namespace, checkpoint_id))

    def measure(self, thread_ids: Sequence[str]) -> Operation[dict[str, ThreadMeasure]]:
        for thread_id in thread_ids:
            yield from self.session(thread_id)
        found = yield from self.backend.measure([self.sessions[name] for name in thread_ids])
        return {
            name: found[self.sessions[name]].model_copy(update={"thread_id": name})
            for name in thread_ids
            if self.sessions[name] in found
        }

    def expire(self, thread_id: str, ttl: float | None) -> Operation[bool]:
        return (yield from self.backend.expire((yield from self.session(thread_id)), ttl))

    def delete_thread(self, thread_id: str) -> Operation[None]:
        session = yield from self.session(thread_id)
        yield from self.backend.delete_thread(session)
        self.sessions.pop(thread_id, None)

    def delete_runs(self, run_ids: Sequence[str]) -> Operation[None]:
        yield from self.backend.delete_runs(run_ids)

    def copy_thread(self, source_id: str, target_id: str) -> Operation[None]:
        source, target = (yield from self.session(source_id)), (yield from self.session(target_id))
        yield from self.backend.copy_thread(source, target)

    def prune(self, thread_ids: Sequence[str], policy: PrunePolicy, namespace: str | None = None) -> Operation[int]:
        deleted = 0
        if not policy.is_deletion or namespace is not None:
            return (yield from self.backend.prune(thread_ids, policy, namespace))
        for thread_id in dict.fromkeys(thread_ids):
            deleted += yield from self.backend.prune([(yield from self.session(thread_id))], policy)
            self.sessions.pop(thread_id, None)
        return deleted

    def continuing(self, thread_id: str) -> Operation[str]:
        former = yield from self.session(thread_id)
        made = yield from self.backend.continuing(former)
        self.sessions[made] = self._names[made] = made
        return made

    def reindex(self, thread_id: str) -> Operation[int]:
        session = yield from self.session(thread_id)
        return (yield from self.backend.reindex(session))


SaverT = TypeVar("SaverT", bound=Saver)


def named(saver: SaverT, sessions: dict[str, str] | None = None) -> SaverT:
    """Let a saver of sessions take threads of any name."""
    plain = saver._plain
    assert isinstance(plain, BedrockSessionCheckpoints)
    saver._plain = NamedThreads(plain, sessions)
    if isinstance(saver._backend, EncryptedMetadata):
        saver._backend.backend = saver._plain
    else:
        saver._backend = saver._plain
    return saver


def _recency(thread: Thread) -> tuple[Any, str]:
    return thread.updated_at, thread.thread_id
