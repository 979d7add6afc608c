"""A state machine that does the same to a backend and to an oracle, and compares what both answer.

Example:
    >>> from contextlib import nullcontext
    >>> from hypothesis import settings
    >>> from hypothesis.stateful import run_state_machine_as_test
    >>> from statekeep.repositories.memory import MemoryCheckpoints
    >>> machine = machine_for(lambda: nullcontext(MemoryCheckpoints()))
    >>> run_state_machine_as_test(machine, settings=settings(max_examples=2))
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from ..domain import Carry, Channel, Checkpoint, Payload, PendingWrite, SavedCheckpoint
from ..repositories.checkpoints import AsyncCheckpointRepository, CheckpointBackend, CheckpointRepository
from . import strategies as some
from .comparison import ComparingMachine, Expiry
from .faces import blocking
from .oracle import Oracle

MakeBackend = Callable[[], AbstractContextManager[CheckpointBackend] | AbstractAsyncContextManager[CheckpointBackend]]
"""Opens an empty backend; in an event loop of its own if it is an async context manager."""


def _fields(saved: SavedCheckpoint) -> dict[str, Any]:
    return {name: getattr(saved, name) for name in SavedCheckpoint.model_fields}


_queries = st.fixed_dictionaries(
    {},
    optional={
        "namespace": some.namespaces(),
        "checkpoint_id": some.checkpoint_ids(),
        "before": some.checkpoint_ids() | st.sampled_from(["5", "1x", "\U0010ffff"]),
        "limit": st.integers(0, 3),
        "metadata": st.fixed_dictionaries(
            {},
            optional={
                "step": st.integers(-1, 2) | st.none(),
                "run_id": st.sampled_from(some.RUN_IDS) | st.none(),
                "no such key": st.none(),
            },
        ),
    },
)


class CheckpointMachine(ComparingMachine):
    """The machine; :func:`machine_for` says what it acts on."""

    def __init__(self) -> None:
        super().__init__()
        self.repository = self.opened(
            CheckpointRepository, lambda backend, portal: blocking(AsyncCheckpointRepository(backend), portal)
        )
        self.oracle = (
            Oracle(self.expiry.ttl, self.expiry.refresh_on_read, self.expiry.clock) if self.expiry else Oracle()
        )

    # -- put

    def put(self, checkpoint: Checkpoint, supplied: dict[str, Payload] | None, instead: Payload) -> None:
        self.oracle.expire()
        # What is not defined is not compared: such a channel gets a value of its own.
        channels = {
            name: channel
            if channel.carry in (Carry.VALUE, Carry.EMPTY) or self.oracle.resolved(checkpoint, name)[0]
            else Channel.of(channel.version, instead)
            for name, channel in checkpoint.channels.items()
        }
        checkpoint = checkpoint.model_copy(update={"channels": channels})
        supply = None if supplied is None else lambda names: {name: supplied[name] for name in names & supplied.keys()}
        self.compare(
            lambda: self.repository.put(checkpoint, supply=supply), lambda: self.oracle.put(checkpoint, supplied)
        )

    @rule(
        checkpoint=some.checkpoints(channels=some.channels()),
        supplied=st.none() | st.dictionaries(st.sampled_from(some.CHANNELS), some.payloads()),
        instead=some.payloads(),
    )
    def put_any(self, checkpoint: Checkpoint, supplied: dict[str, Payload] | None, instead: Payload) -> None:
        self.put(checkpoint, supplied, instead)

    @precondition(lambda self: self.oracle.threads())
    @rule(
        data=st.data(),
        checkpoint=some.checkpoints(channels=some.stored_channels()),
        carry=st.sampled_from([Carry.EARLIER, Carry.EARLIER_IF_ANY, Carry.REPLAYED]),
        instead=some.payloads(),
    )
    def put_child(self, data: st.DataObject, checkpoint: Checkpoint, carry: Carry, instead: Payload) -> None:
        """As programs do: most channels are those of the parent, some are new."""
        places = sorted(place for place, stored in self.oracle.checkpoints.items() if stored)
        thread_id, namespace = data.draw(st.sampled_from(places))
        parent_id = data.draw(st.sampled_from(sorted(self.oracle.checkpoints[thread_id, namespace])))
        inherited = self.oracle.checkpoints[thread_id, namespace][parent_id].channels
        channels = {name: Channel(version=channel.version, carry=carry) for name, channel in inherited.items()}
        where = {"thread_id": thread_id, "namespace": namespace, "parent_id": parent_id}
        self.put(checkpoint.model_copy(update={**where, "channels": channels | checkpoint.channels}), None, instead)

    @rule(
        thread_id=some.thread_ids(),
        namespace=some.namespaces(),
        checkpoint_id=some.checkpoint_ids(),
        writes=st.lists(some.pending_writes(), max_size=4),
    )
    def put_writes_anywhere(
        self, thread_id: str, namespace: str, checkpoint_id: str, writes: list[PendingWrite]
    ) -> None:
        self.put_writes(thread_id, namespace, checkpoint_id, writes)

    def put_writes(self, thread_id: str, namespace: str, checkpoint_id: str, writes: list[PendingWrite]) -> None:
        self.compare(
            lambda: self.repository.put_writes(thread_id, checkpoint_id, writes, namespace=namespace),
            lambda: self.oracle.put_writes(thread_id, namespace, checkpoint_id, writes),
        )

    @precondition(lambda self: self.oracle.threads())
    @rule(data=st.data(), writes=st.lists(some.pending_writes(), min_size=1, max_size=6))
    def put_writes_of_stored(self, data: st.DataObject, writes: list[PendingWrite]) -> None:
        """Those that the comparison after each step reads."""
        thread_id, namespace, checkpoint_id = data.draw(
            st.sampled_from(
                sorted((*place, id_) for place, stored in self.oracle.checkpoints.items() for id_ in stored)
            )
        )
        self.put_writes(thread_id, namespace, checkpoint_id, writes)

    # -- read

    @rule(thread_id=some.thread_ids(), namespace=some.namespaces(), checkpoint_id=st.none() | some.checkpoint_ids())
    def get(self, thread_id: str, namespace: str, checkpoint_id: str | None) -> None:
        def got() -> dict[str, Any] | None:
            saved = self.repository.get(thread_id, namespace=namespace, checkpoint_id=checkpoint_id)
            return None if saved is None else _fields(saved)

        self.compare(got, lambda: self.oracle.get(thread_id, namespace, checkpoint_id))

    @rule(
        thread_id=some.thread_ids(),
        namespace=some.namespaces(),
        checkpoint_id=st.none() | some.checkpoint_ids(),
        channels=st.lists(st.sampled_from([*some.CHANNELS, "__error__"]), max_size=3),
    )
    def ancestors(self, thread_id: str, namespace: str, checkpoint_id: str | None, channels: list[str]) -> None:
        def got() -> dict[str, Any]:
            found = self.repository.ancestors(thread_id, channels, namespace=namespace, checkpoint_id=checkpoint_id)
            return {name: ([*history.writes], history.seed) for name, history in found.items()}

        self.compare(got, lambda: self.oracle.ancestors(thread_id, namespace, checkpoint_id, channels))

    @rule(thread_id=some.thread_ids(), query=_queries)
    def list_thread(self, thread_id: str, query: dict[str, Any]) -> None:
        conditions = {key: value for key, value in query.items() if key != "limit"}
        self.compare(
            lambda: [_fields(saved) for saved in self.repository.list(thread_id, **query)],
            lambda: self.oracle.list_thread(thread_id, **conditions)[: query.get("limit")],
        )

    @rule(query=_queries)
    def list_all(self, query: dict[str, Any]) -> None:
        conditions = {key: value for key, value in query.items() if key != "limit"}
        threads = [thread.thread_id for thread in self.repository.list_threads()]
        self.compare(
            lambda: [_fields(saved) for saved in self.repository.list(**query)],
            lambda: _joined(self.oracle.list_thread(id_, **conditions) for id_ in threads)[: query.get("limit")],
        )

    @rule(prefix=st.sampled_from(["", "t", "{", "{t}:*", "*", "th", "T"]), limit=st.none() | st.integers(0, 3))
    def list_threads(self, prefix: str, limit: int | None) -> None:
        self.oracle.expire()
        found = list(self.repository.list_threads(prefix=prefix))
        assert {thread.thread_id for thread in found} == {
            thread_id for thread_id in self.oracle.threads() if thread_id.startswith(prefix)
        }
        order = [(thread.updated_at, thread.thread_id) for thread in found]
        assert order == sorted(order, reverse=True) and len(set(order)) == len(order)
        for newer, older in pairwise(found):
            in_time = self.oracle.puts[newer.thread_id] > self.oracle.puts[older.thread_id]
            assert in_time or newer.updated_at == older.updated_at
        if limit is not None:
            assert list(self.repository.list_threads(prefix=prefix, limit=limit)) == found[:limit]
        for position, thread in enumerate(found):
            assert list(self.repository.list_threads(prefix=prefix, after=thread)) == found[position + 1 :]

    # -- delete, copy

    @rule(thread_id=some.thread_ids())
    def delete_thread(self, thread_id: str) -> None:
        self.compare(lambda: self.repository.delete_thread(thread_id), lambda: self.oracle.delete_thread(thread_id))

    @rule(run_ids=st.lists(st.sampled_from([*some.RUN_IDS, "unknown"]), max_size=2))
    def delete_runs(self, run_ids: list[str]) -> None:
        self.compare(lambda: self.repository.delete_runs(run_ids), lambda: self.oracle.delete_runs(run_ids))

    @rule(source_id=some.thread_ids(), target_id=some.thread_ids())
    def copy_thread(self, source_id: str, target_id: str) -> None:
        self.compare(
            lambda: self.repository.copy_thread(source_id, target_id),
            lambda: self.oracle.copy_thread(source_id, target_id),
        )

    @rule(thread_ids=st.lists(some.thread_ids(), max_size=3), keep=st.integers(0, 3))
    def prune(self, thread_ids: list[str], keep: int) -> None:
        def expected() -> None:
            for thread_id in thread_ids:
                self.oracle.prune(thread_id, keep)

        self.compare(lambda: self.repository.prune(thread_ids, keep=keep), expected)

    @rule(thread_id=some.thread_ids())
    def reindex(self, thread_id: str) -> None:
        self.compare(lambda: self.repository.reindex(thread_id), lambda: len(self.oracle.list_thread(thread_id)))

    # -- after each step

    @invariant()
    def all_is_there(self) -> None:
        for thread_id in some.THREAD_IDS:
            self.compare(
                lambda id_=thread_id: [_fields(saved) for saved in self.repository.list(id_)],  # type: ignore[misc]
                lambda id_=thread_id: self.oracle.list_thread(id_),  # type: ignore[misc]
            )


def _joined(parts: Iterable[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    return [item for part in parts for item in part]


def machine_for(make_backend: MakeBackend, *, expiry: Expiry | None = None) -> type[CheckpointMachine]:
    """Return a state machine that acts on the backends that ``make_backend`` opens, one for each example.

    Run it with :func:`hypothesis.stateful.run_state_machine_as_test`, or take its ``TestCase``.

    Args:
        make_backend: opens an empty backend; called without arguments, for each example.
        expiry: for backends with a clock that can be set: how they were made. Without it nothing expires.
    """
    namespace = {"make_backend": staticmethod(make_backend), "expiry": expiry}
    return type("CheckpointMachineFor", (CheckpointMachine,), namespace)
