"""Whatever happens to stored bytes: an operation does its work or raises an error of ours, and reads nothing odd."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from attrs import frozen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langgraph.checkpoint.base import empty_checkpoint

import statekeep
from statekeep import Channel, Checkpoint, CheckpointRepository, ListItems, PutItem, StatekeepError
from statekeep.langgraph_shim import RepositorySaver
from statekeep.repositories.agentcore import AgentCoreCheckpoints
from statekeep.repositories.agentcore.ids import Lane
from statekeep.repositories.agentcore.records import actor_of, index_entry, known, listing_of, thread_of
from statekeep.repositories.aws import open_client
from statekeep.repositories.operation import run
from statekeep.repositories.records.checkpoints import stored, value_of
from statekeep.repositories.records.framing import Record, records
from statekeep.repositories.records.piece_lanes import PieceLane
from statekeep.testing.aws import AwsEmulator
from statekeep.testing.servers import ValkeyServer
from tests.integration.agentcore.emulated import framed
from tests.integration.valkey.item_kinds import INDEX, texts
from tests.integration.valkey.valkey_kinds import chain, payload, write
from tests.small_pieces import small_pieces

from .damage import ODD_BYTES, ODD_JSON, check, damaged, damaged_json

Act = Callable[[], Any]

SPACE = ("a", "b")
ENTRY = (("n",), "k")


def bounded(times: float) -> settings:
    """As many examples as the profile has, times this; the same in every run, which finds what was not there before."""
    assert settings.default is not None
    return settings(
        max_examples=round(times * settings.default.max_examples),
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def attempt(act: Act) -> None:
    try:
        found = act()
    except StatekeepError:
        return
    check(found)


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)


def fill(keep: CheckpointRepository) -> None:
    for number, checkpoint in enumerate(chain("t", 4, run_id="run")):
        fields = {name: getattr(checkpoint, name) for name in Checkpoint.model_fields}
        more = {
            "empty": Channel.empty("v"),
            "delta": Channel.replayed(1.5),
            "big": Channel.of(number, payload(b"z" * 100)),
        }
        keep.put(Checkpoint(**fields | {"channels": checkpoint.channels | more}))
        writes = [write("task", 0, b"done"), write("task", -1), write("a b", 1, channel="delta", path="~p")]
        keep.put_writes("t", checkpoint.checkpoint_id, writes)
    nested = {"parents": {"": "00001"}, "x": (1, 2), "w": dt.datetime(2024, 1, 1)}
    keep.put(Checkpoint(thread_id="t", namespace="sub:1", checkpoint_id="00001", metadata=nested))
    keep.put(Checkpoint(thread_id="u", checkpoint_id="1"))
    with_header: Any = {"configurable": {"thread_id": "graph", "checkpoint_ns": ""}}
    RepositorySaver(keep).put(with_header, empty_checkpoint() | {"channel_values": {"c": 1}}, {"step": 1}, {})


def of_checkpoints(keep: CheckpointRepository) -> tuple[list[Act], list[Act]]:
    """Reads, and operations that change something."""
    saver = RepositorySaver(keep)
    following = chain("t", 5)[4]
    return [
        lambda: keep.get("t"),
        lambda: keep.get("t", checkpoint_id="00001"),
        lambda: keep.get("t", namespace="sub:1"),
        lambda: list(keep.list("t")),
        lambda: list(keep.list("t", metadata={"step": 1})),
        lambda: list(keep.list(before="00002")),
        lambda: list(keep.list_threads()),
        lambda: list(keep.list_threads(prefix="t")),
        lambda: keep.ancestors("t", ["delta", "counter", "constant", "items"]),
        lambda: keep.ancestors("t", ["delta", "big"], checkpoint_id="00002"),
        lambda: saver.get_tuple({"configurable": {"thread_id": "graph"}}),
        lambda: list(saver.list(None, filter={"step": 1})),
    ], [
        lambda: keep.put(following, supply=lambda names: {name: payload(b"constant") for name in names}),
        lambda: keep.put_writes("t", "00003", [write("task", 0), write("new", 3)]),
        lambda: keep.copy_thread("t", "t2"),
        lambda: keep.prune(["t"]),
        lambda: keep.delete_runs(["run"]),
        lambda: keep.reindex("t"),
        lambda: keep.delete_thread("t"),
    ]  # fmt: skip


def of_items(keep: statekeep.ItemRepository) -> tuple[list[Act], list[Act]]:
    return [
        lambda: keep.get(SPACE, "1"),
        lambda: keep.get(SPACE, "1", refresh=True),
        lambda: keep.get(SPACE, "2"),
        lambda: list(keep.list(SPACE)),
        lambda: list(keep.list(SPACE, refresh=True, reverse=True)),
        lambda: list(keep.list(SPACE, order="updated", offset=1)),
        lambda: list(keep.list(SPACE, order="updated", reverse=True, prefix="2")),
        lambda: list(keep.keys(SPACE)),
        lambda: keep.batch([ListItems(namespace=SPACE), ListItems(namespace=SPACE, order="updated", refresh=True)]),
        keep.search,
        lambda: keep.search((), query="aaa"),
        lambda: keep.search(("a",), filter={"texts": {"$ne": 1}}, refresh=True),
        keep.list_namespaces,
    ], [
        lambda: keep.put(SPACE, "1", texts(2)),
        lambda: keep.put(SPACE, "2", 1, expected=2),
        lambda: keep.batch([PutItem(namespace=SPACE, key="1", value=payload(b"x")), ListItems(namespace=SPACE)]),
        lambda: keep.delete(SPACE, "2"),
        lambda: keep.append(("a", "log"), [1]),
        lambda: keep.pop(("a", "log")),
        lambda: keep.reindex(SPACE),
        lambda: keep.clear(SPACE),
    ]  # fmt: skip


def of_cache(keep: statekeep.CacheRepository) -> tuple[list[Act], list[Act]]:
    return [lambda: keep.get([ENTRY, (("n",), "k2"), ((), "z")])], [
        lambda: keep.set({ENTRY: payload(b"3")}),
        lambda: keep.delete([ENTRY]),
        keep.reindex,
        keep.clear,
    ]


def of_logs(keep: statekeep.LogRepository) -> tuple[list[Act], list[Act]]:
    log = ("log",)

    def newest() -> int:
        return next((entry.position for entry in keep.last(log)), 1)

    return [
        lambda: keep.last(log, 2),
        lambda: keep.read(log, refresh=True),
        lambda: keep.read(log, after=newest()),
        lambda: keep.count(log),
        lambda: list(keep.list()),
    ], [
        lambda: keep.append(log, [1]),
        lambda: keep.pop(log, 2),
        lambda: keep.trim(log, keep=1),
        lambda: keep.replace(log, [{}], expected=newest()),
        lambda: keep.delete(log),
    ]  # fmt: skip


@frozen
class World:
    """Records on a server, to be damaged and restored."""

    connect: Callable[[], statekeep.Connection]
    client: Any
    keys: list[bytes]
    dumps: dict[bytes, tuple[bytes, int]]

    def restore(self) -> None:
        gone = [key for key in self.client.scan_iter("damage:*") if key not in self.dumps]
        with self.client.pipeline(transaction=False) as pipeline:
            for key in gone:
                pipeline.delete(key)
            for key, (dump, life) in self.dumps.items():
                pipeline.restore(key, max(life, 0), dump, replace=True)
            pipeline.execute()

    def values_near(self, key: bytes) -> list[bytes]:
        """Values of a neighbour, to be put in the place of others."""
        near = self.keys[(self.keys.index(key) + 1) % len(self.keys)]
        match self.client.type(near):
            case b"hash":
                return sorted(self.client.hgetall(near).values())
            case b"zset":
                found: list[bytes] = self.client.zrange(near, 0, -1)
                return found
        return []

    def damage(self, data: st.DataObject, key: bytes) -> None:
        client, others = self.client, self.values_near(key)
        kind = client.type(key)
        how = data.draw(st.integers(0, 9))
        if how == 0:
            client.delete(key)
            replace: list[Act] = [
                lambda: None,
                lambda: client.set(key, b"garbage"),
                lambda: client.hset(key, b"garbage", b"1"),
                lambda: client.rpush(key, b"garbage"),
                lambda: client.zadd(key, {b"garbage": 1}),
            ]
            data.draw(st.sampled_from(replace))()
        elif how == 1:
            client.copy(data.draw(st.sampled_from([other for other in self.keys if other != key])), key, replace=True)
        elif kind == b"hash":
            field = data.draw(st.sampled_from(sorted(client.hkeys(key))))
            if how == 2:
                client.hdel(key, field)
            else:
                client.hset(key, field, data.draw(damaged(client.hget(key, field), others)))
        elif kind == b"zset":
            member, score = data.draw(st.sampled_from(client.zrange(key, 0, -1, withscores=True)))
            if how < 5:
                scores = [0, -1, 1e300, float("inf"), float("-inf"), score + 1, score * 1000, 0.5]
                client.zadd(key, {member: data.draw(st.sampled_from(scores))})
            else:
                client.zrem(key, *([member] if how < 8 else []), b"")
                client.zadd(key, {data.draw(damaged(member, others)): score})
        elif kind == b"set":
            member = data.draw(st.sampled_from(sorted(client.smembers(key))))
            client.sadd(key, data.draw(damaged(member, others)))
            if how < 6:
                client.srem(key, member)
        elif kind == b"list":
            at = data.draw(st.integers(0, client.llen(key) - 1))
            if how == 2:
                client.ltrim(key, 0, at)
            elif how == 3:
                client.lpop(key)
            else:
                client.lset(key, at, data.draw(damaged(client.lindex(key, at), others)))
        else:
            client.set(key, data.draw(damaged(client.get(key), others)))


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with ValkeyServer() as server, server.client() as client:

        def connect() -> statekeep.Connection:
            return statekeep.connect(server.url, client="valkey-py", prefix="damage", index=INDEX)

        with connect() as keep:
            fill(keep.checkpoints)
            keep.items.put(SPACE, "1", texts(3), ttl=1000)
            keep.items.put(SPACE, "2", texts(1))
            keep.items.put(SPACE, "2", texts(6))
            keep.items.put(SPACE, "3", payload(b"\xff"))
            keep.items.append(("a", "log"), [texts(1), 2])
            keep.logs.append(("log",), [{"role": "user"}, payload(b"2"), "é"], ttl=1000)
            keep.logs.append(("other",), [1])
            keep.cache.set({ENTRY: payload(b"1"), (("n",), "k2"): (payload(b"2"), 1000), ((), "z"): payload(b"")})
        keys = sorted(client.scan_iter("damage:*"))
        yield World(connect, client, keys, {key: (client.dump(key), client.pttl(key)) for key in keys})


@pytest.mark.parametrize("kind", ["checkpoints", "items", "cache", "logs"])
def test_valkey(world: World, kind: str) -> None:
    of_kind = [key for key in world.keys if _kind_of(key) == kind]
    assert of_kind

    @bounded(5)
    @given(st.data())
    def survives(data: st.DataObject) -> None:
        with world.connect() as keep:
            acts: dict[str, Callable[[], tuple[list[Act], list[Act]]]] = {
                "checkpoints": lambda: of_checkpoints(keep.checkpoints),
                "items": lambda: of_items(keep.items),
                "cache": lambda: of_cache(keep.cache),
                "logs": lambda: of_logs(keep.logs),
            }
            reads, changes = acts[kind]()
            try:
                world.damage(data, data.draw(st.sampled_from(of_kind)))
                for act in (*reads, data.draw(st.sampled_from(changes)), *reads[:1]):
                    attempt(act)
            finally:
                world.restore()

    survives()


def _kind_of(key: bytes) -> str:
    name = key.split(b":")[1]
    kinds = {b"item": "items", b"cache": "cache", b"log": "logs"}
    return next((kind for beginning, kind in kinds.items() if name.startswith(beginning)), "checkpoints")


@frozen
class Event:
    """An event of the emulated service, as it was created."""

    where: dict[str, str]
    id: str
    at: dt.datetime
    text: str


def _events(client: Any, memory_id: str) -> list[Event]:
    found = []
    for actor in client.list_actors(memoryId=memory_id)["actorSummaries"]:
        of_actor = {"memoryId": memory_id, "actorId": actor["actorId"]}
        for session in client.list_sessions(**of_actor)["sessionSummaries"]:
            where = of_actor | {"sessionId": session["sessionId"]}
            found += [
                Event(where, event["eventId"], event["eventTimestamp"], event["payload"][0]["blob"])
                for event in client.list_events(**where, includePayloads=True)["events"]
            ]
    return sorted(found, key=lambda event: (*event.where.values(), event.id))


def _replaced(client: Any, event: Event, blob: Any) -> Event:
    client.delete_event(**event.where, eventId=event.id)
    made = client.create_event(**event.where, eventTimestamp=event.at, payload=[{"blob": blob}])["event"]
    return Event(event.where, made["eventId"], event.at, event.text)


def _damaged_text(data: st.DataObject, text: str, others: list[str]) -> Any:
    """Another text, or that of a damaged record whose hash is right."""
    how = data.draw(st.integers(0, 7))
    if how == 0:
        return data.draw(
            st.sampled_from([odd for odd in ODD_JSON if odd is not None and odd == odd and odd != "\ud800"])
        )
    if how == 1:
        return data.draw(st.sampled_from(others))
    if how == 2:
        return data.draw(damaged(text.encode(), ODD_BYTES[:2])).decode(errors="replace")
    [[record], _] = records([text], "here")
    head = data.draw(damaged_json(dict(record.head)))
    blobs = data.draw(st.sampled_from([record.blobs, record.blobs, record.blobs[:-1], [*record.blobs, b"x"]]))
    return framed(Record(head, blobs))


@frozen
class Agents:
    """Records in the emulated AgentCore Memory."""

    service: Any
    client: Any
    memory_id: str
    events: list[Event]

    def open(self) -> CheckpointRepository:
        backend = AgentCoreCheckpoints(self.service, self.memory_id, actor_id="ada", inline=10, grace=0)
        return CheckpointRepository(backend)


@pytest.fixture(scope="module")
def agents() -> Iterator[Agents]:
    with AwsEmulator() as aws, closing(open_client("bedrock-agentcore", session=aws.session())) as service:
        made = Agents(service, aws.client("bedrock-agentcore"), aws.memory_id, [])
        keep = made.open()
        with small_pieces(shortest=20, size=7):
            fill(keep)
        keep.put(Checkpoint(thread_id="u", checkpoint_id="2", channels={"whole": Channel.of(1, payload(b"w" * 50))}))
        keep.delete_runs(["another"])
        made.events.extend(_events(made.client, made.memory_id))
        yield made


def test_agentcore(agents: Agents) -> None:
    client, events = agents.client, agents.events

    @bounded(1)
    @given(st.data())
    def survives(data: st.DataObject) -> None:
        position = data.draw(st.integers(0, len(events) - 1))
        event = events[position]
        others = [other.text for other in events]
        events[position] = _replaced(client, event, _damaged_text(data, event.text, others))
        try:
            keep = agents.open()
            backend: Any = keep.backend
            reads, changes = of_checkpoints(keep)
            reads += [
                lambda: run(backend.every_thread(), backend.execute),
                lambda: run(backend.actors_of_thread("t"), backend.execute),
                lambda: run(backend.actors_of_run("run"), backend.execute),
            ]
            for act in data.draw(st.lists(st.sampled_from(reads), min_size=5, max_size=5)):
                attempt(act)
            # Those that delete something are not undone here.
            attempt(data.draw(st.sampled_from(changes[:1] + changes[5:6])))
        finally:
            events[position] = _replaced(client, events[position], event.text)

    survives()


LANE = Lane("actor", "session")


def _decoded(record: Record, kind: str) -> Any:
    """Read a record as that of a kind, which it may not be any more."""
    match kind:
        case "checkpoint" | "writes":
            found = stored([record], "here")
            if found is None or found.head is None:
                return None if found is None else found.writes
            everywhere = {name: payload(b"") for name in found.head.values}
            return found.saved("t", everywhere), list(found.head.values), found.head.run_id, found.head.root_id
        case "value":
            return value_of(record, "here")
        case "version":
            lane = PieceLane.of([record], "here")
            [name] = lane.versions
            assert lane.needed([], [name], 0) <= {record.hash}
            return lane.payload(f"lane/{name}")
        case "index":
            entry = index_entry(record, LANE)
            assert entry.may_match(lambda metadata: True)
            assert all(isinstance(name, str) for name in (entry.namespace, entry.checkpoint_id, entry.order))
            return None
        case "listed":
            orders = listing_of(record, LANE).orders
            assert all(type(period) is int for period in orders.values())
            return None
        case "namespace":
            listed = known([record], LANE)
            assert all(isinstance(name, str) for name in (listed.thread_id, *listed.orders))
            return None
        case "actor":
            return actor_of(record, LANE)
        case "run":
            return actor_of(record, LANE), thread_of(record, LANE)
    raise AssertionError(f"no test reads a record of type {kind}")


def test_records_of_agentcore(agents: Agents) -> None:
    """As the one above, without the service: many more examples."""
    [whole, _] = records([event.text for event in agents.events], "here")
    kinds = sorted({record.head["type"] for record in whole})
    assert kinds == ["actor", "checkpoint", "index", "listed", "namespace", "run", "value", "version", "writes"]
    by_kind = {kind: [record for record in whole if record.head["type"] == kind][-1] for kind in kinds}

    @bounded(20)
    @given(st.data())
    def survives(data: st.DataObject) -> None:
        kind = data.draw(st.sampled_from(kinds))
        record = by_kind[kind]
        head = data.draw(damaged_json(dict(record.head)))
        blobs = data.draw(st.sampled_from([record.blobs, record.blobs, record.blobs[:-1]]))

        def read() -> Any:
            [[again], _] = records([framed(Record(head, blobs))], "here")
            return _decoded(again, kind)

        attempt(read)

    survives()


def test_the_checks_notice() -> None:
    for wrong in (
        Checkpoint.trusted(**dict(Checkpoint(thread_id="t")) | {"thread_id": 5}),
        [{"a": Channel.trusted(version=True, payload=None, carry="x")}],
    ):
        with pytest.raises((statekeep.InvalidInput, AssertionError)):
            check(wrong)
    with pytest.raises(ZeroDivisionError):
        attempt(lambda: 1 // 0)
