"""A state machine for backends of checkpoints.

It does the same to a backend and to an oracle, and compares their answers.

Example:
    >>> from contextlib import nullcontext
    >>> from hypothesis import settings
    >>> from hypothesis.stateful import run_state_machine_as_test
    >>> from statekeep.repositories.memory import MemoryCheckpoints
    >>> machine = machine_for(lambda: nullcontext(MemoryCheckpoints()))
    >>> run_state_machine_as_test(machine, settings=settings(max_examples=2))
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from ...domain import (
    ANY,
    Channel,
    Checkpoint,
    CheckpointQuery,
    Payload,
    PendingWrite,
    PrunePolicy,
    SavedCheckpoint,
    Unsupported,
    ValueSource,
)
from ...domain.model import plain_text
from ...repositories.checkpoints import AsyncCheckpointRepository, CheckpointBackend, CheckpointRepository, ExpectedHead
from .. import strategies as some
from ..comparison import Call, ComparingMachine, Expiry, canonical, expected_form
from ..differences import NONE, Differences
from ..faces import blocking
from ..oracles.checkpoints import Oracle
from ..under_way import UnderWay

__all__ = ["machine_for"]

MakeBackend = Callable[[], AbstractContextManager[CheckpointBackend] | AbstractAsyncContextManager[CheckpointBackend]]
"""Opens an empty backend; in an event loop of its own if it is an async context manager."""


def _fields(saved: SavedCheckpoint) -> dict[str, Any]:
    return {name: getattr(saved, name) for name in SavedCheckpoint.model_fields}


Place = tuple[str, str, str]
"""Thread, checkpoint id and namespace."""


def _place(fields: dict[str, Any]) -> Place:
    return fields["thread_id"], fields["checkpoint_id"], fields["namespace"]


def _precedes(one: Place, other: Place) -> bool:
    """Return whether a listing may have one before the other.

    In a thread the newest is first, then they go by namespace.
    """
    return one[0] != other[0] or one[1] > other[1] or (one[1] == other[1] and one[2] < other[2])


class CheckpointMachine(ComparingMachine):
    """The machine; :func:`machine_for` makes one for a backend."""

    kind = "checkpoints"

    def __init__(self) -> None:
        super().__init__()
        self.repository, self.stepwise = self.opened(
            CheckpointRepository,
            lambda backend, portal, lazily: blocking(AsyncCheckpointRepository(backend), portal, lazily=lazily),
        )
        self.oracle = Oracle(differences=self.differences)
        if self.expiry:
            self.oracle = Oracle(
                self.expiry.ttl, self.expiry.refresh_on_read, self.expiry.clock, differences=self.differences
            )

    # -- put

    def put(
        self,
        checkpoint: Checkpoint,
        supplied: dict[str, Payload] | None,
        instead: Payload,
        expected_head: ExpectedHead = ANY,
    ) -> None:
        self.oracle.expire()
        # What is not defined is not compared: such a channel gets a value of its own.
        channels = {
            name: channel
            if channel.carry in (ValueSource.VALUE, ValueSource.EMPTY) or self.oracle.resolved(checkpoint, name)[0]
            else Channel.of(channel.version, instead)
            for name, channel in checkpoint.channels.items()
        }
        checkpoint = checkpoint.model_copy(update={"channels": channels})
        supply = None if supplied is None else lambda names: {name: supplied[name] for name in names & supplied.keys()}
        self.compare(
            lambda: self.repository.put(checkpoint, supply=supply, expected_head=expected_head),
            lambda: self.oracle.put(checkpoint, supplied, expected_head),
        )

    @initialize(checkpoints=st.lists(some.checkpoints(), max_size=10))
    def fill(self, checkpoints: list[Checkpoint]) -> None:
        for checkpoint in checkpoints:
            self.put(checkpoint, None, Payload(encoding="raw", data=b""))

    @rule(
        checkpoint=some.checkpoints(channels=some.channels()),
        supplied=st.none() | st.dictionaries(some.channel_names(), some.payloads()),
        instead=some.payloads(),
    )
    def put_any(self, checkpoint: Checkpoint, supplied: dict[str, Payload] | None, instead: Payload) -> None:
        self.put(checkpoint, supplied, instead)

    @precondition(lambda self: self.oracle.threads())
    @rule(
        data=st.data(),
        checkpoint=some.checkpoints(channels=some.stored_channels()),
        carry=st.sampled_from([ValueSource.STORED, ValueSource.STORED_IF_ANY, ValueSource.REPLAYED]),
        is_orphan=st.sampled_from([False, False, True]),
        instead=some.payloads(),
    )
    def put_child(
        self, data: st.DataObject, checkpoint: Checkpoint, carry: ValueSource, is_orphan: bool, instead: Payload
    ) -> None:
        """Put as programs do: most channels are the parent's, some are new.

        An orphan does not name its parent.
        """
        thread_id, namespace, parent_id = self.stored(data)
        inherited = self.oracle.checkpoints[thread_id, namespace][parent_id].channels
        channels = {name: Channel(version=channel.version, carry=carry) for name, channel in inherited.items()}
        named = None if is_orphan else parent_id
        where = {"thread_id": thread_id, "namespace": namespace, "parent_id": named}
        self.put(checkpoint.model_copy(update={**where, "channels": channels | checkpoint.channels}), None, instead)

    @rule(
        checkpoint=some.checkpoints(channels=some.channels()),
        expected_head=st.none() | some.checkpoint_ids(),
        is_right=st.booleans(),
        instead=some.payloads(),
    )
    def put_if_newest(
        self, checkpoint: Checkpoint, expected_head: str | None, is_right: bool, instead: Payload
    ) -> None:
        """Put behind the newest checkpoint, or behind one that may be another."""
        self.oracle.expire()
        newest = max(self.oracle.checkpoints.get((checkpoint.thread_id, checkpoint.namespace), {}), default=None)
        self.put(checkpoint, None, instead, newest if is_right else expected_head)

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

    def stored(self, data: st.DataObject) -> tuple[str, str, str]:
        """Draw thread, namespace and id of a checkpoint that is there."""
        every = ((*place, id_) for place, stored in self.oracle.checkpoints.items() for id_ in stored)
        place: tuple[str, str, str] = data.draw(st.sampled_from(sorted(every)))
        return place

    @precondition(lambda self: self.oracle.threads())
    @rule(data=st.data(), writes=st.lists(some.pending_writes(), min_size=1, max_size=6))
    def put_writes_of_stored(self, data: st.DataObject, writes: list[PendingWrite]) -> None:
        """Those that the comparison after each step reads."""
        self.put_writes(*self.stored(data), writes)

    @precondition(lambda self: self.clock is not None and self.oracle.threads())
    @rule(data=st.data(), writes=st.lists(some.pending_writes(), max_size=2))
    def use_in_time(self, data: st.DataObject, writes: list[PendingWrite]) -> None:
        """Put pending writes, or read, shortly before a checkpoint expires.

        That may let it live on.
        """
        thread_id, namespace, checkpoint_id = self.stored(data)
        self.wait(9.6)
        if writes:
            self.put_writes(thread_id, namespace, checkpoint_id, writes)
        else:
            self.get(thread_id, namespace, checkpoint_id)
        self.wait(3.1)

    # -- read

    @rule(thread_id=some.thread_ids(), namespace=some.namespaces(), checkpoint_id=st.none() | some.checkpoint_ids())
    def get(self, thread_id: str, namespace: str, checkpoint_id: str | None) -> None:
        def got() -> dict[str, Any] | None:
            saved = self.repository.get(thread_id, namespace=namespace, checkpoint_id=checkpoint_id)
            return None if saved is None else _fields(saved)

        self.compare(got, lambda: self.oracle.get(thread_id, namespace, checkpoint_id))

    @precondition(lambda self: self.oracle.threads())
    @rule(data=st.data(), is_newest=st.booleans())
    def get_stored(self, data: st.DataObject, is_newest: bool) -> None:
        thread_id, namespace, checkpoint_id = self.stored(data)
        self.get(thread_id, namespace, None if is_newest else checkpoint_id)

    @rule(
        thread_id=some.thread_ids(),
        namespace=some.namespaces(),
        checkpoint_id=st.none() | some.checkpoint_ids(),
        channels=st.lists(some.channel_names() | st.just("__error__"), max_size=3),
    )
    def ancestors(self, thread_id: str, namespace: str, checkpoint_id: str | None, channels: list[str]) -> None:
        def got() -> dict[str, Any]:
            found = self.repository.ancestors(thread_id, channels, namespace=namespace, checkpoint_id=checkpoint_id)
            return {name: ([*history.writes], history.seed) for name, history in found.items()}

        self.compare(got, lambda: self.oracle.ancestors(thread_id, namespace, checkpoint_id, channels))

    @rule(thread_id=some.thread_ids(), query=some.queries())
    def list_thread(self, thread_id: str, query: CheckpointQuery) -> None:
        conditions = _conditions(query)
        self.compare(
            lambda: [_fields(saved) for saved in self.repository.list(thread_id, limit=query.limit, **conditions)],
            lambda: self.oracle.list_thread(thread_id, **conditions)[: query.limit],
        )

    @rule(query=some.queries())
    def list_all(self, query: CheckpointQuery) -> None:
        conditions = _conditions(query)
        threads = [thread.thread_id for thread in self.repository.list_threads()]
        self.compare(
            lambda: [_fields(saved) for saved in self.repository.list(limit=query.limit, **conditions)],
            lambda: _joined(self.oracle.list_thread(id_, **conditions) for id_ in threads)[: query.limit],
        )

    @rule(prefix=some.thread_prefixes(), limit=st.none() | st.integers(0, 3))
    def list_threads(self, prefix: str, limit: int | None) -> None:
        self.oracle.expire()
        found = list(self.repository.list_threads(prefix=prefix))
        assert {thread.thread_id for thread in found} == {
            thread_id for thread_id in self.oracle.threads() if thread_id[: len(prefix)] == prefix
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

    @precondition(lambda self: len(self.under_way) < 2)
    @rule(thread_id=st.none() | some.thread_ids(), query=some.queries(), first=st.integers(0, 2))
    def begin_listing(self, thread_id: str | None, query: CheckpointQuery, first: int) -> None:
        """Begin a listing, which goes on while other rules change its items."""
        conditions = _conditions(query)

        def there() -> dict[Hashable, Any]:
            threads = self.oracle.threads() if thread_id is None else [thread_id]
            found = _joined(self.oracle.list_thread(id_, **conditions) for id_ in threads)
            return {_place(fields): expected_form(fields) for fields in found}

        def placed(saved: SavedCheckpoint) -> tuple[Place, Any]:
            return _place(_fields(saved)), canonical(_fields(saved))

        self.oracle.expire()
        items = self.stepwise.list(thread_id, **conditions)
        self.under_way.append(UnderWay(items, there, placed, _precedes))
        self.under_way[-1].go_on(first)  # the first page is read now, or when it goes on

    # -- delete, copy

    @rule(thread_id=some.thread_ids(), namespace=some.namespaces(), checkpoint_id=some.checkpoint_ids())
    def delete(self, thread_id: str, namespace: str, checkpoint_id: str) -> None:
        self.compare(
            lambda: self.repository.delete(thread_id, checkpoint_id, namespace=namespace),
            lambda: self.oracle.delete(thread_id, namespace, checkpoint_id),
        )

    @precondition(lambda self: self.oracle.threads())
    @rule(data=st.data())
    def delete_stored(self, data: st.DataObject) -> None:
        self.delete(*self.stored(data))

    @rule(thread_id=some.thread_ids())
    def delete_thread(self, thread_id: str) -> None:
        self.compare(lambda: self.repository.delete_thread(thread_id), lambda: self.oracle.delete_thread(thread_id))

    @rule(run_ids=st.lists(some.run_ids().filter(bool) | st.just("unknown"), max_size=2))
    def delete_runs(self, run_ids: list[str]) -> None:
        self.compare(lambda: self.repository.delete_runs(run_ids), lambda: self.oracle.delete_runs(run_ids))

    @rule(source_id=some.thread_ids(), target_id=some.thread_ids())
    def copy_thread(self, source_id: str, target_id: str) -> None:
        self.compare(
            lambda: self.repository.copy_thread(source_id, target_id),
            lambda: self.oracle.copy_thread(source_id, target_id),
        )

    @rule(
        thread_ids=st.lists(some.thread_ids(), max_size=3),
        policy=some.prune_policies(),
        namespace=st.none() | some.namespaces(),
    )
    def prune(self, thread_ids: list[str], policy: PrunePolicy, namespace: str | None) -> None:
        def expected() -> int:
            if self.differences.prunes_whole_threads_only and not (policy.is_deletion and namespace is None):
                raise Unsupported("prune")
            return sum(self.oracle.prune(id_, policy.keep, policy.older_than, namespace) for id_ in thread_ids)

        self.compare(lambda: self.repository.prune(thread_ids, policy, namespace=namespace), expected)

    @rule(thread_id=some.thread_ids())
    def reindex(self, thread_id: str) -> None:
        self.compare(lambda: self.repository.reindex(thread_id), lambda: self.oracle.reindex(thread_id))

    # -- sizes, and the ends of threads

    @rule(thread_ids=st.lists(some.thread_ids(), max_size=3))
    def measure(self, thread_ids: list[str]) -> None:
        # Without the method, writes whose checkpoint is not there are not found.
        is_exact = self.has("measure")

        def form(checkpoints: int, writes: int, namespaces: int, expires_at: float | None) -> tuple[Any, ...]:
            return (checkpoints, writes, namespaces, self.ends(expires_at)) if is_exact else (checkpoints,)

        def found() -> dict[str, Any]:
            return {
                thread_id: form(
                    one.checkpoints,
                    one.pending_writes,
                    one.namespaces,
                    None if one.expires_at is None else one.expires_at.timestamp(),
                )
                for thread_id, one in self.repository.measure(thread_ids).items()
            }

        def expected() -> dict[str, Any]:
            measures = {plain_text(thread_id): self.oracle.measure(thread_id) for thread_id in thread_ids}
            return {
                thread_id: form(*one) for thread_id, one in measures.items() if one is not None and (is_exact or one[0])
            }

        self.compare(found, expected)

    def ends(self, expires_at: float | None) -> Any:
        """Return when a thread ends, as far as that can be compared."""
        if not self.can("expire"):
            return None
        return expires_at is not None if self.clock is None else expires_at and round(expires_at, 3)

    @precondition(lambda self: self.has("expire"))
    @rule(thread_id=some.thread_ids(), ttl=st.sampled_from([None, 1.25, 20.25]))
    def expire(self, thread_id: str, ttl: float | None) -> None:
        # Where the clock is a real one, nothing may end before the example does.
        seconds = None if ttl is None else ttl if self.clock is not None else ttl + 3600
        self.compare(
            lambda: self.repository.expire(thread_id, seconds), lambda: self.oracle.expire_thread(thread_id, seconds)
        )
        self.measure([thread_id])

    @precondition(lambda self: self.has("expire") and self.oracle.threads())
    @rule(data=st.data(), ttl=st.sampled_from([None, 1.25, 20.25]))
    def expire_stored(self, data: st.DataObject, ttl: float | None) -> None:
        self.expire(self.stored(data)[0], ttl)

    # -- at once

    @rule(
        thread_id=some.thread_ids(),
        namespace=some.namespaces(),
        puts=st.lists(some.checkpoints(), max_size=2),
        writes=st.lists(st.tuples(some.checkpoint_ids(), st.lists(some.pending_writes(), min_size=1)), max_size=2),
        reads=st.lists(st.none() | some.checkpoint_ids(), min_size=1, max_size=1),
    )
    def at_once(
        self,
        thread_id: str,
        namespace: str,
        puts: list[Checkpoint],
        writes: list[tuple[str, list[PendingWrite]]],
        reads: list[str | None],
    ) -> None:
        """Put, write and read in one namespace in several threads."""
        here = {"thread_id": plain_text(thread_id), "namespace": plain_text(namespace)}  # `update=` validates nothing
        calls = [self._put_call(put.model_copy(update=here)) for put in puts]
        calls += [self._write_call(thread_id, namespace, id_, some_writes) for id_, some_writes in writes]
        if len(writes) < 2 or not self.differences.writes_settle_late:
            calls += [self._read_call(thread_id, namespace, id_) for id_ in reads]
        self.side_by_side(
            calls[:3],
            lambda: [_fields(saved) for saved in self.repository.list(thread_id)],
            lambda oracle: oracle.list_thread(thread_id),
        )
        self.repository.delete_thread(thread_id)
        self.oracle.delete_thread(thread_id)

    def _put_call(self, checkpoint: Checkpoint) -> Call:
        return Call(lambda: self.repository.put(checkpoint), lambda oracle, _: oracle.put(checkpoint, None))

    def _write_call(self, thread_id: str, namespace: str, checkpoint_id: str, writes: list[PendingWrite]) -> Call:
        return Call(
            lambda: self.repository.put_writes(thread_id, checkpoint_id, writes, namespace=namespace),
            lambda oracle, _: oracle.put_writes(thread_id, namespace, checkpoint_id, writes),
        )

    def _read_call(self, thread_id: str, namespace: str, checkpoint_id: str | None) -> Call:
        return Call(
            lambda: self.repository.get(thread_id, namespace=namespace, checkpoint_id=checkpoint_id),
            lambda oracle, _: oracle.get(thread_id, namespace, checkpoint_id),
            lambda saved: None if saved is None else _fields(saved),
        )

    # -- after each step

    @invariant()
    def all_is_there(self) -> None:
        self.compare(
            lambda: _by_thread(_fields(saved) for saved in self.repository.list()),
            lambda: _by_thread(_joined(self.oracle.list_thread(id_) for id_ in self.oracle.threads())),
        )


def _conditions(query: CheckpointQuery) -> dict[str, Any]:
    """Return the fields that were set of a query as arguments, but for its limit."""
    return {name: getattr(query, name) for name in query.model_fields_set if name != "limit"}


def _by_thread(found: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """In their order in each thread; that of the threads is another matter."""
    threads: dict[str, list[dict[str, Any]]] = {}
    for fields in found:
        threads.setdefault(fields["thread_id"], []).append(fields)
    return threads


def _joined(parts: Iterable[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    return [item for part in parts for item in part]


def machine_for(
    make_backend: MakeBackend,
    *,
    name: str = "",
    expiry: Expiry | None = None,
    restart: Callable[[], None] | None = None,
    differences: Differences = NONE,
) -> type[CheckpointMachine]:
    """Return a state machine that acts on backends of checkpoints.

    ``make_backend`` opens one for each example.

    Run it with :func:`hypothesis.stateful.run_state_machine_as_test`, or take its ``TestCase``.

    Args:
        make_backend: opens an empty backend; called without arguments, for each example.
        name: what the backend is called in summaries; the name of its class if there is none.
        expiry: for backends with a clock that can be set: how they were made. Without it nothing expires.
        restart: for backends whose records survive a restart of what keeps them: ends it and starts it again. It is
            called between any two steps.
        differences: what the backend does otherwise than the contract has it.
    """
    return CheckpointMachine.over(make_backend, name=name, expiry=expiry, restart=restart, differences=differences)
