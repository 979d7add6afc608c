"""A put that goes on from the last one here stores what any other put would."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import pytest

from statekeep import Channel, Checkpoint, MissingChannels, PrunePolicy
from statekeep.repositories.checkpoints import CheckpointRepository
from statekeep.repositories.valkey import ValkeyCheckpoints, client_for
from statekeep.repositories.valkey.checkpoints import put
from statekeep.repositories.valkey.requests import Call, Request
from statekeep.testing.servers import ValkeyServer

from .valkey_kinds import payload, write

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
LONG = random.Random(1).randbytes(40_000)


class Writer:
    """A repository whose backend notes the scripts that it runs.

    Attributes:
        prefix: of its keys.
        forgets: whether each put is by a process that knows nothing, so that none goes on from the last.
        scripts: of the last put.
    """

    def __init__(self, client: Any, prefix: str, *, forgets: bool) -> None:
        self.client = client
        self.prefix = prefix
        self.forgets = forgets
        self.scripts: list[str] = []
        self.repository = self.another()

    def another(self, **options: Any) -> CheckpointRepository:
        """Another process."""
        return CheckpointRepository(ValkeyCheckpoints(client_for(self.client), prefix=self.prefix, **options))

    def put(self, checkpoint: Checkpoint, **options: Any) -> None:
        if self.forgets:
            cache = self.repository.backend.value_cache  # type: ignore[attr-defined]
            self.repository = self.another(value_cache=cache)
        self.scripts = []
        execute = self.repository.executor.execute

        class Spy:
            def execute(spy, request: Request) -> Any:  # noqa: N805
                if isinstance(request, Call):
                    self.scripts.append(request.script.name)
                return execute(request)

            async def aexecute(spy, request: Request) -> Any:  # noqa: N805
                raise AssertionError("blocking")

        executor, self.repository.executor = self.repository.executor, Spy()
        try:
            self.repository.put(checkpoint, **options)
        finally:
            self.repository.executor = executor

    def key(self, kind: str, rest: str = "{t}:") -> str:
        return f"{self.prefix}:{kind}:{rest}"

    def dump(self) -> dict[str, Any]:
        """All that is stored but times and counts."""
        found: dict[str, Any] = {}
        for key in self.client.scan_iter(f"{self.prefix}:*", count=1000):
            name = key.decode().removeprefix(self.prefix)
            kind = self.client.type(key)
            content: Any
            if kind == b"hash":
                content = self.client.hgetall(key)
                content.pop(b"generation", None)
            elif kind == b"zset":
                timed = name.endswith((":time", ":end")) or ":expiry-index:" in name
                pairs = self.client.zrange(key, 0, -1, withscores=True)
                content = sorted(member for member, _ in pairs) if timed else pairs
            else:
                content = self.client.smembers(key) if kind == b"set" else self.client.get(key)
            found[name] = (content, self.client.ttl(key) > 0)
        return found


@pytest.fixture
def writers(valkey_server: ValkeyServer, prefix: str) -> Iterator[tuple[Writer, Writer]]:
    with valkey_server.client() as client:
        yield Writer(client, f"{prefix}-a", forgets=False), Writer(client, f"{prefix}-b", forgets=True)


def step(
    number: int,
    parent: int | None = None,
    run_id: str | None = "run",
    channels: Mapping[str, Channel] = MappingProxyType({}),
) -> Checkpoint:
    """A checkpoint of a graph with every kind of channel."""
    grown = (
        {} if number % 5 == 4 else {"long": Channel.of(number, payload(b"%03d" % number + LONG[: 3000 + 700 * number]))}
    )
    unchanged = {"long": Channel.earlier(number - 1)} if number % 5 == 4 else {}
    return Checkpoint(
        thread_id="t",
        checkpoint_id=f"{number:03}",
        created_at=NOON,
        parent_id=f"{number - 1 if parent is None else parent:03}" if number else None,
        metadata={"step": number} | ({"run_id": run_id} if run_id else {}) if number % 7 else {},
        header=payload(b"header %d" % number) if number % 6 else None,
        channels={
            "é {:}": Channel.of(f"{number}.5", payload(b"%d" % number)),
            **grown,
            **unchanged,
            "fixed": Channel.of(0, payload(b"fixed")) if not number else Channel.earlier(0),
            "consumed": Channel.of(number, payload(b"x"))
            if number % 3 == 0
            else Channel.earlier(number - number % 3, required=False),
            "gone": Channel.empty(number) if number % 4 == 0 else Channel.earlier(number - number % 4, required=False),
            "delta": Channel.of(number, payload(b"snapshot")) if number % 8 == 0 else Channel.replayed(number),
            "seen": Channel.replayed(number - number % 8),
            **channels,
        },
    )


def test_a_thread_is_stored_alike(writers: tuple[Writer, Writer]) -> None:
    for number in range(40):
        for writer in writers:
            writer.put(step(number))
            writer.repository.put_writes("t", f"{number:03}", [write("task", 0), write("task", 1)])
        assert writers[0].scripts == ["put_next" if number else "put"]
        assert writers[1].scripts == ["put"]
    one, other = (writer.dump() for writer in writers)
    assert one == other
    assert len(one) > 100
    assert list(writers[0].repository.list("t")) == list(writers[1].repository.list("t"))


def others_put(writer: Writer) -> None:
    writer.another().put(step(9, parent=5, channels={"é {:}": Channel.of("12.5", payload(b"of others"))}))


def others_fork(writer: Writer) -> None:
    fork = step(10, parent=3, channels={"long": Channel.of(10, payload(LONG))})
    writer.another().put(fork.model_copy(update={"checkpoint_id": "002-fork"}))


def others_put_a_newer_one(writer: Writer) -> None:
    newer = step(9).model_copy(update={"checkpoint_id": "0105", "channels": {"fixed": Channel.earlier(0)}})
    writer.another().put(newer)


def others_put_the_same(writer: Writer) -> None:
    writer.another().put(step(10, channels={"long": Channel.of(10, payload(b"short"))}))


def others_prune(writer: Writer) -> None:
    writer.another().put(step(11, parent=3).model_copy(update={"checkpoint_id": "0095"}))
    writer.another().prune(["t"], PrunePolicy(keep=1))


def others_delete_the_newest(writer: Writer) -> None:
    writer.another().put(step(9, run_id="other"))
    writer.another().delete_runs(["other"])


def others_delete_the_thread(writer: Writer) -> None:
    writer.another().delete_thread("t")


def others_put_early_writes(writer: Writer) -> None:
    writer.another().put_writes("t", "010", [write("early", 0)])


def others_put_with_an_end(writer: Writer) -> None:
    nested = Checkpoint(thread_id="t", checkpoint_id="001", namespace="child:1", created_at=NOON)
    writer.another(ttl=1000.0).put(nested)
    writer.another(ttl=1000.0).put_writes("t", "009", [write("mortal", 0)])


def others_write_the_record(writer: Writer) -> None:
    writer.client.hset(writer.key("checkpoint", "{t}::010"), mapping={"step": 99, "mine": 1})


def others_spoil_the_record(writer: Writer) -> None:
    writer.client.set(writer.key("checkpoint", "{t}::010"), "text")


def a_value_is_lost(writer: Writer) -> None:
    writer.client.hdel(writer.key("channel-values"), "consumed:i9")


def pieces_are_lost(writer: Writer) -> None:
    key = writer.key("channel-values")
    writer.client.hdel(key, *(name for name in writer.client.hkeys(key) if name.startswith(b"=")))


def evicted(kind: str, rest: str = "{t}:") -> Callable[[Writer], None]:
    def evict(writer: Writer) -> None:
        assert writer.client.delete(writer.key(kind, rest)) == 1

    evict.__name__ = f"evicted_{kind}"
    return evict


def the_thread_is_in_no_index(writer: Writer) -> None:
    evicted("thread-index", "{threads}:time")(writer)
    evicted("thread-index", "{threads}:name")(writer)


def namespaces_of_others(writer: Writer) -> None:
    evicted("namespace-index", "{t}")(writer)
    writer.another().put(Checkpoint(thread_id="t", checkpoint_id="001", namespace="child:1", created_at=NOON))


DISTURBANCES = [
    *(others_put, others_fork, others_put_the_same, others_prune, others_delete_the_newest, others_delete_the_thread),
    *(others_put_early_writes, others_put_with_an_end, others_write_the_record, others_spoil_the_record),
    *(others_put_a_newer_one, a_value_is_lost, pieces_are_lost, namespaces_of_others),
    *(evicted("head"), evicted("checkpoint-index"), evicted("channel-values"), evicted("namespace-index", "{t}")),
    *(evicted("checkpoint", "{t}::009"), the_thread_is_in_no_index, evicted("run-index", "run")),
]


@pytest.mark.parametrize("disturb", DISTURBANCES, ids=lambda disturb: disturb.__name__)
def test_what_came_in_between_is_seen(writers: tuple[Writer, Writer], disturb: Callable[[Writer], None]) -> None:
    outcomes = []
    for writer in writers:
        for number in range(10):
            writer.put(step(number))
        disturb(writer)
        outcome = []
        for number in (10, 11, 12):
            checkpoint = step(number)
            try:
                writer.put(checkpoint)
                outcome.append("put")
            except MissingChannels as missing:
                writer.put(checkpoint, supply=lambda names: dict.fromkeys(names, payload(b"supplied")))
                outcome.append(str(missing.channels))
            outcome.append(str(writer.repository.get("t")))
        outcomes.append(outcome)
    assert outcomes[0] == outcomes[1]
    assert writers[0].dump() == writers[1].dump()
    writers[0].put(step(13))
    is_mortal = disturb == others_put_with_an_end
    assert writers[0].scripts == (["put"] if is_mortal else ["put_next"])


WRITES = [
    *([write("task", 0)], [write("task", number, b"%d" % number) for number in range(1, 40)]),
    *(
        [write("é {:}", 0, b""), write("é {:}", 7, LONG), write("é {:}", 8, LONG * 2)],
        [write("task", 3, b"later"), write("task", 40)],
    ),
    *(
        [write("task", -1), write("task", 41)],
        [write("task", 42), write("task", 42, b"again")],
        [write("one", 0), write("other", 0)],
    ),
]


@pytest.mark.parametrize("lost", ["", "pending_write-index", "pending-values", "namespace-index", "expiry-index"])
def test_pending_writes_are_stored_alike(
    writers: tuple[Writer, Writer], monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    dumps = []
    for writer in writers:
        for number in range(2):
            writer.put(step(number))
        for checkpoint_id in ("000", "001", "002"):
            for writes in WRITES:
                if lost and len(writes) == 2:
                    writer.client.delete(writer.key(lost, "{t}" if lost.startswith("name") else "{t}:"))
                writer.repository.put_writes("t", checkpoint_id, writes)
        dumps.append((writer.dump(), [str(saved) for saved in writer.repository.list("t")]))
        monkeypatch.setattr(put, "_alike", lambda writes: ())
    assert dumps[0] == dumps[1]
