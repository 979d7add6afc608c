"""The AgentCore backend of checkpoints. Its operations are in the modules beside."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

from attrs import evolve

from ...domain import (
    ANY,
    ChannelHistory,
    Checkpoint,
    CheckpointQuery,
    InvalidInput,
    PendingWrite,
    PrunePolicy,
    SavedCheckpoint,
    Thread,
    ThreadMeasure,
    Unsupported,
)
from ...domain.shown import once_made
from ...telemetry.records import Service
from ..aws import AwsClient, Reply, Request
from ..aws.calls import AwsCall
from ..aws.server_clock import server_time
from ..checkpoints import ExpectedHead, Supply
from ..operation import Operation, Page
from ..records.known_values import BYTES, KnownValues
from ..records.local_cache import Recent
from ..validation import LONGEST_TTL, count, function_or_none, seconds, text
from . import ancestors, get, listing, put
from .copy import copy_thread
from .delete import delete_checkpoint, delete_runs, delete_thread, prune, prune_namespace
from .get import Progress, Settings
from .lanes import Lanes
from .reindex import reindex

ACTOR = "default"
INLINE = 16_384
GRACE = 60.0
RENEWAL = 86_400.0


class AgentCoreCheckpoints:
    """Checkpoints and pending writes in AgentCore Memory.

    A backend of :class:`~statekeep.CheckpointRepository`.

    If another process deletes a thread while this one puts a checkpoint, that one may lack channel values or a place in
    listings. The next :meth:`put` notices, and stores again what the thread needs.

    Args:
        client: see :func:`~statekeep.repositories.aws.open_client`.
        memory_id: the memory's id or ARN.
        actor_id: whose threads these are; any text but the empty one.
        inline: bytes up to which a channel value is stored within each checkpoint that has it; a larger one is stored
            once, for one more call.
        grace: seconds for which a deletion takes a checkpoint that is half there for one whose ``put`` is under way.
        renewal: seconds after which a value that a new checkpoint uses is stored again, with what the lists say of
            the thread: the memory deletes events when they are as old as its ``eventExpiryDuration``.
        value_cache: bytes of long values that were read or put here, of which new versions are put together; 0 stores
            all of them whole.
        progress: called while deletions go on, which take a call for each event.

    Raises:
        InvalidInput: an argument is wrong.

    Example:
        >>> from statekeep.repositories.aws import open_client
        >>> from statekeep.repositories.checkpoints import CheckpointRepository
        >>> from statekeep.testing.aws import AwsEmulator
        >>> with AwsEmulator() as aws:
        ...     client = open_client("bedrock-agentcore", session=aws.session())
        ...     with CheckpointRepository(AgentCoreCheckpoints(client, aws.memory_id, actor_id="ada")) as keep:
        ...         keep.put(Checkpoint(thread_id="t", checkpoint_id="1"))
        ...         keep.get("t").checkpoint_id
        '1'
    """

    def __init__(
        self,
        client: AwsClient,
        memory_id: str,
        *,
        actor_id: str = ACTOR,
        inline: int = INLINE,
        grace: float = GRACE,
        renewal: float = RENEWAL,
        value_cache: int = BYTES,
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        nanoseconds = {
            "grace": math.ceil(seconds("grace", grace, zero=True, most=LONGEST_TTL) * 1_000_000_000),
            "renewal": math.ceil(seconds("renewal", renewal, most=LONGEST_TTL) * 1_000_000_000),
        }
        function_or_none("progress", progress)
        self._client = client
        self.memory_id = checked_memory_id(memory_id)
        self.actor_id = text("actor_id", actor_id)
        self._settings = Settings(
            lanes=Lanes(self.memory_id),
            actor=self.actor_id,
            inline=count("inline", inline),
            recent=Recent(),
            known_values=KnownValues(count("value_cache", value_cache)),
            progress=progress,
            **nanoseconds,
        )

    @once_made
    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._client!r}, {self.memory_id!r}, actor_id={self.actor_id!r})"

    def of_actor(self, actor_id: str) -> AgentCoreCheckpoints:
        """Return the same for the threads of another actor, over the same client.

        Raises:
            InvalidInput: ``actor_id`` is not text, or empty.
        """
        other = copy(self)
        other.actor_id = text("actor_id", actor_id)
        other._settings = evolve(self._settings, actor=other.actor_id)  # noqa: SLF001 - a copy of this one
        return other

    @property
    def service(self) -> Service:
        """The memory, for observers."""
        return Service("agentcore", *self._client.address, self.memory_id)

    def execute(self, request: Request) -> Reply:
        """Answer a request, blocking."""
        return self._client.execute(request)

    async def aexecute(self, request: Request) -> Reply:
        """Answer a request from an event loop."""
        return await self._client.aexecute(request)

    def ping(self) -> Operation[None]:
        """Ask for one actor: one call."""
        yield self._easy_call()

    def now(self) -> Operation[dt.datetime]:
        """Ask as :meth:`ping` does, for the time of the answer."""
        return server_time(self._easy_call())

    def _easy_call(self) -> AwsCall:
        return AwsCall("ListActors", {"memoryId": self.memory_id, "maxResults": 1})

    def close(self) -> None:
        """Close the client, unless it is the user's."""
        self._client.close()

    async def aclose(self) -> None:
        """As :meth:`close`, from an event loop."""
        await self._client.aclose()

    def put(self, checkpoint: Checkpoint, supply: Supply | None, expected_head: ExpectedHead = ANY) -> Operation[None]:
        """Store a checkpoint: two calls, and one more for each large value.

        One call reads beside the first.

        For a thread that was not met lately there is a round of reading, too.

        Raises:
            Unsupported: ``expected_head`` is given.
        """
        if expected_head is not ANY:
            raise Unsupported(
                "AgentCore Memory cannot compare and set checkpoints: two writers may append at once; leave out "
                "expected_head"
            )
        return put.put(self._settings, checkpoint, supply)

    def put_writes(
        self, thread_id: str, namespace: str, checkpoint_id: str, writes: Sequence[PendingWrite]
    ) -> Operation[None]:
        """Store pending writes: one call."""
        return put.put_writes(self._settings, thread_id, namespace, checkpoint_id, writes)

    def get(self, thread_id: str, namespace: str, checkpoint_id: str | None) -> Operation[SavedCheckpoint | None]:
        """Read a checkpoint: one call, two more first for the newest.

        There is one more for each large value, all side by side.
        """
        return get.get(self._settings, thread_id, namespace, checkpoint_id)

    def list(self, query: CheckpointQuery, cursor: Any) -> Operation[Page[SavedCheckpoint]]:
        """List checkpoints: one call for each 100 that are passed by.

        For each result there are the calls of :meth:`get`.
        """
        return (yield from listing.list_checkpoints(self._settings, query, cursor))

    def ancestors(
        self, thread_id: str, namespace: str, checkpoint_id: str | None, channels: Sequence[str]
    ) -> Operation[dict[str, ChannelHistory]]:
        """Walk the ancestors: one call for each, up to 32 of them side by side."""
        return ancestors.ancestors(self._settings, thread_id, namespace, checkpoint_id, channels)

    def list_threads(self, prefix: str, after: Thread | None, limit: int | None) -> Operation[Page[Thread]]:
        """List threads: some calls for each of the actor's.

        The service does not order them.
        """
        return listing.list_threads(self._settings, prefix, after, limit)

    def delete(self, thread_id: str, namespace: str, checkpoint_id: str) -> Operation[bool]:
        """Read the checkpoints of the namespace, and delete with one call for each event."""
        return delete_checkpoint(self._settings, thread_id, namespace, checkpoint_id)

    def delete_thread(self, thread_id: str) -> Operation[None]:
        """Delete a thread: one call for each event.

        If it is cut off, repeat it: it goes on where it was.
        """
        return delete_thread(self._settings, thread_id)

    def delete_runs(self, run_ids: Sequence[str]) -> Operation[None]:
        """Read the threads of the runs, and delete with one call for each event."""
        return delete_runs(self._settings, run_ids)

    def copy_thread(self, source_id: str, target_id: str) -> Operation[None]:
        """Copy a thread: two calls for each checkpoint, one for each large value.

        They follow the reading of the source.
        """
        return copy_thread(self._settings, source_id, target_id)

    def prune(self, thread_ids: Sequence[str], policy: PrunePolicy, namespace: str | None = None) -> Operation[int]:
        """Read the threads, and delete with one call for each event."""
        deleted = 0
        for thread_id in dict.fromkeys(thread_ids):
            if namespace is None:
                deleted += yield from prune(self._settings, thread_id, policy)
            else:
                deleted += yield from prune_namespace(self._settings, thread_id, namespace, policy)
        return deleted

    def measure(self, thread_ids: Sequence[str]) -> Operation[dict[str, ThreadMeasure]]:
        """Read all events of the threads. It is not known when the memory deletes them."""
        return listing.measure(self._settings, thread_ids)

    def expire(self, thread_id: str, ttl: float | None) -> Operation[bool]:
        """Refuse.

        Raises:
            Unsupported: always.
        """
        yield from ()
        raise Unsupported(
            "AgentCore Memory deletes events when they are as old as the memory's eventExpiryDuration says, and none "
            "earlier or later; delete the thread"
        )

    def reindex(self, thread_id: str) -> Operation[int]:
        """Rebuild the index of a thread. Reads all of it."""
        return reindex(self._settings, thread_id)

    def actors_of_thread(self, thread_id: str) -> Operation[Sequence[str]]:
        """Return the actors that have a thread of this id, in order: one call."""
        return (yield from get.actors_of_thread(self._settings, text("thread_id", thread_id)))

    def actors_of_run(self, run_id: str) -> Operation[Sequence[str]]:
        """Return the actors in whose threads a run put checkpoints, in order: one call."""
        return (yield from get.actors_of_run(self._settings, text("run_id", run_id)))

    def every_thread(self) -> Operation[Sequence[tuple[str, Thread]]]:
        """Return the threads of all actors with their actors.

        The most recently updated one is the first.

        One call for each 100 actors of the memory, and what :meth:`list_threads` takes for each that has threads.
        """
        return listing.every_thread(self._settings)


# As the service's model has it; botocore would send anything.
_MEMORY_ID = re.compile(
    r"(arn:[a-z0-9-.]{1,63}:bedrock-agentcore:[a-z0-9-]+:\d{12}:memory/)?[a-zA-Z][a-zA-Z0-9-_]{0,99}-[a-zA-Z0-9]{10}",
    re.ASCII,
)


def checked_memory_id(value: str) -> str:
    """Return the id or ARN of a memory.

    Raises:
        InvalidInput: it does not look like one; ``field`` is ``memory_id``.
    """
    value = text("memory_id", value)
    if not _MEMORY_ID.fullmatch(value):
        raise InvalidInput(
            "memory_id must be the id of a memory, NAME-XXXXXXXXXX, or its ARN, not its name",
            field="memory_id",
        )
    return value
