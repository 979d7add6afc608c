"""Checkpoints in sessions of Amazon Bedrock."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ...domain import (
    ANY,
    ChannelHistory,
    Checkpoint,
    CheckpointQuery,
    PendingWrite,
    PrunePolicy,
    SavedCheckpoint,
    Thread,
    ThreadMeasure,
    Unsupported,
)
from ...domain.shown import once_made
from ..aws import AwsClient, Reply, Request
from ..aws.calls import AwsCall
from ..aws.server_clock import server_time
from ..checkpoints import ExpectedHead, Supply
from ..operation import Operation, Page, arun, named, run
from ..validation import count
from . import ancestors, get, listing, measure, put, threads

INLINE: Final = 4_096


class BedrockSessionCheckpoints:
    """Checkpoints and pending writes in sessions of Bedrock.

    The backend of a :class:`~statekeep.CheckpointRepository`.

    A thread is a session: its id is the session's, which the service makes, or its ARN. The service keeps it for 30
    days, lets nobody write to it after an hour without a write, and takes at most 1,000 steps. Each checkpoint is a
    step, and so is each call of ``put_writes``. The service deletes no steps, so ``delete_runs`` and ``prune`` with
    ``keep`` raise :class:`~statekeep.Unsupported`. Source: the user guide of Amazon Bedrock, "Store and retrieve
    conversation history and context with Amazon Bedrock sessions".

    Args:
        client: see :func:`~statekeep.repositories.aws.open_client`, of ``bedrock-agent-runtime``.
        inline: bytes up to which a channel value is stored within each checkpoint that has it; a larger one is stored
            once, and costs a call to read.

    Raises:
        InvalidInput: an argument is wrong.

    Example:
        >>> from statekeep.repositories.aws import open_client
        >>> from statekeep.repositories.checkpoints import CheckpointRepository
        >>> from statekeep.testing.aws import AwsEmulator
        >>> with AwsEmulator() as aws:
        ...     client = open_client("bedrock-agent-runtime", session=aws.session())
        ...     with CheckpointRepository(BedrockSessionCheckpoints(client)) as keep:
        ...         thread = keep.backend.create_thread(metadata={"user": "ada"})
        ...         keep.put(Checkpoint(thread_id=thread, checkpoint_id="1"))
        ...         keep.get(thread).checkpoint_id
        '1'
    """

    def __init__(self, client: AwsClient, *, inline: int = INLINE) -> None:
        self._client = client
        self._settings = get.Settings(count("inline", inline))

    @once_made
    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._client!r})"

    @property
    def client(self) -> AwsClient:
        """The client that it was made with."""
        return self._client

    def execute(self, request: Request) -> Reply:
        """Answer a request, blocking."""
        return self._client.execute(request)

    async def aexecute(self, request: Request) -> Reply:
        """Answer a request from an event loop."""
        return await self._client.aexecute(request)

    def ping(self) -> Operation[None]:
        """Ask for one session: one call."""
        yield self._easy_call()

    def now(self) -> Operation[dt.datetime]:
        """Ask as :meth:`ping` does, for the time of the answer."""
        return server_time(self._easy_call())

    def _easy_call(self) -> AwsCall:
        return AwsCall("ListSessions", {"maxResults": 1})

    def close(self) -> None:
        """Close the client, unless it is the user's."""
        self._client.close()

    async def aclose(self) -> None:
        """As :meth:`close`, from an event loop."""
        await self._client.aclose()

    # -- sessions

    def create_thread(
        self,
        metadata: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        encryption_key: str | None = None,
    ) -> str:
        """Make a session, and return its id, which is the thread's.

        Args:
            metadata: of the session, at most 50 pairs.
            tags: of the session, at most 200.
            encryption_key: ARN of a KMS key; one of AWS's own is used otherwise.

        Raises:
            InvalidInput: the service refuses one of them.
        """
        return run(self.creating(metadata, tags, encryption_key), self.execute)

    async def acreate_thread(
        self,
        metadata: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        encryption_key: str | None = None,
    ) -> str:
        """As :meth:`create_thread`, from an event loop."""
        return await arun(self.creating(metadata, tags, encryption_key), self.aexecute)

    def creating(
        self, metadata: Mapping[str, str] | None, tags: Mapping[str, str] | None, encryption_key: str | None
    ) -> Operation[str]:
        """Return the operation of :meth:`create_thread`."""
        return named("create_thread", threads.create_thread(metadata, tags, encryption_key))

    def continue_thread(self, thread_id: str) -> str:
        """Go on from an ended, expired or full session.

        Make another one, and return its id.

        The new session has the newest checkpoint of each namespace, its pending writes, and what channels that are
        replayed need; of nested graphs those that ran under the newest checkpoint of the root. Metadata and key are
        those of the former session; tags are not copied.

        Args:
            thread_id: id or ARN of the former session.

        Raises:
            InvalidInput: there is no such session.
        """
        return run(self.continuing(thread_id), self.execute)

    async def acontinue_thread(self, thread_id: str) -> str:
        """As :meth:`continue_thread`, from an event loop."""
        return await arun(self.continuing(thread_id), self.aexecute)

    def continuing(self, thread_id: str) -> Operation[str]:
        """Return the operation of :meth:`continue_thread`."""
        return named("continue_thread", threads.continue_thread(self._settings, thread_id))

    def steps_left(self, thread_id: str) -> int:
        """Return how many of its 1,000 steps a session has left: one call.

        Raises:
            InvalidInput: there is no such session.
        """
        return run(self.counting(thread_id), self.execute)

    async def asteps_left(self, thread_id: str) -> int:
        """As :meth:`steps_left`, from an event loop."""
        return await arun(self.counting(thread_id), self.aexecute)

    def counting(self, thread_id: str) -> Operation[int]:
        """Return the operation of :meth:`steps_left`."""
        return named("steps_left", threads.steps_left(self._settings, thread_id))

    # -- operations

    def put(self, checkpoint: Checkpoint, supply: Supply | None, expected_head: ExpectedHead = ANY) -> Operation[None]:
        """Store a checkpoint.

        One call, two more before for a parent not met lately, or for a namespace's first.

        Raises:
            Unsupported: ``expected_head`` is given.
        """
        if expected_head is not ANY:
            raise Unsupported(
                "Bedrock cannot compare and set: two writers may put steps at once; leave out expected_head"
            )
        return put.put(self._settings, checkpoint, supply)

    def put_writes(
        self, thread_id: str, namespace: str, checkpoint_id: str, writes: Sequence[PendingWrite]
    ) -> Operation[None]:
        """Store pending writes: one call, and nothing is read before.

        They are later than all that this process read of the checkpoint, also if its clock is behind. Among processes
        that did not read what the others put, clocks decide which of two special writes is the last one.
        """
        return put.put_writes(self._settings, thread_id, namespace, checkpoint_id, writes)

    def get(self, thread_id: str, namespace: str, checkpoint_id: str | None) -> Operation[SavedCheckpoint | None]:
        """Read a checkpoint.

        Two calls, and one for each step of writes or large values, in three rounds.
        """
        return get.get(self._settings, thread_id, namespace, checkpoint_id)

    def list(self, query: CheckpointQuery, cursor: Any) -> Operation[Page[SavedCheckpoint]]:
        """List checkpoints.

        One call, and those of :meth:`get` but one for each result, 20 of them side by side.
        """
        return (yield from listing.list_checkpoints(self._settings, query, cursor))

    def ancestors(
        self, thread_id: str, namespace: str, checkpoint_id: str | None, channels: Sequence[str]
    ) -> Operation[dict[str, ChannelHistory]]:
        """Walk the ancestors.

        A call for each step, those of up to 32 checkpoints side by side.
        """
        return ancestors.ancestors(self._settings, thread_id, namespace, checkpoint_id, channels)

    def list_threads(self, prefix: str, after: Thread | None, limit: int | None) -> Operation[Page[Thread]]:
        """List threads.

        Slow, with a call or two for each session of the account until ``limit`` is reached.
        """
        return listing.list_threads(self._settings, prefix, after, limit)

    def delete(self, thread_id: str, namespace: str, checkpoint_id: str) -> Operation[bool]:
        """Refuse.

        Raises:
            Unsupported: always.
        """
        yield from ()
        raise Unsupported("Bedrock deletes no steps of a session, so no checkpoint by itself; delete the thread")

    def delete_thread(self, thread_id: str) -> Operation[None]:
        """Delete a session: two calls, however long it is."""
        return threads.delete_thread(self._settings, thread_id, lambda: self._client.region)

    def delete_runs(self, run_ids: Sequence[str]) -> Operation[None]:
        """Refuse.

        Raises:
            Unsupported: always.
        """
        yield from ()
        raise Unsupported("Bedrock deletes no steps of a session, so no checkpoints of a run; delete the thread")

    def copy_thread(self, source_id: str, target_id: str) -> Operation[None]:
        """Copy into an active session: a call to read each step, and one to write it."""
        return threads.copy_thread(self._settings, source_id, target_id)

    def prune(self, thread_ids: Sequence[str], policy: PrunePolicy, namespace: str | None = None) -> Operation[int]:
        """Delete threads if the policy keeps nothing.

        Their checkpoints are counted before, as :meth:`reindex` does.

        Raises:
            Unsupported: it does, or one namespace is named. Nothing was deleted.
        """
        if not policy.is_deletion or namespace is not None:
            raise Unsupported(
                "Bedrock deletes no steps of a session, so checkpoints cannot be pruned; continue_thread(thread_id) "
                "makes a new session with the newest ones"
            )
        deleted = 0
        for thread_id in dict.fromkeys(thread_ids):
            deleted += yield from self.reindex(thread_id)
            yield from self.delete_thread(thread_id)
        return deleted

    def measure(self, thread_ids: Sequence[str]) -> Operation[dict[str, ThreadMeasure]]:
        """Read all steps of the sessions: a call for each.

        Bedrock does not say when a session ends.
        """
        return measure.measure(self._settings, thread_ids)

    def expire(self, thread_id: str, ttl: float | None) -> Operation[bool]:
        """Refuse.

        Raises:
            Unsupported: always.
        """
        yield from ()
        raise Unsupported("Bedrock keeps sessions for 30 days, and nobody can change that; delete the thread")

    def reindex(self, thread_id: str) -> Operation[int]:
        """Count the checkpoints of a thread. There is no index to rebuild."""
        return (yield from listing.count_checkpoints(self._settings, thread_id))
