"""Observers of operations: what they are told, and that nobody is hurt."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from langgraph.checkpoint.base import empty_checkpoint

import statekeep
from statekeep import Checkpoint, Conflict, InvalidInput, JsonSerializer, Payload, PutItem
from statekeep.domain import VectorIndex
from statekeep.langgraph_shim import RepositoryCache, RepositorySaver, RepositoryStore
from statekeep.repositories.checkpoints import CheckpointRepository
from statekeep.repositories.memory import MemoryCheckpoints
from statekeep.telemetry import Beginning, Observation, Observing, Service, observe
from statekeep.telemetry import hook as telemetry_hook
from statekeep.telemetry.records import service_of
from statekeep.testing.faces import awaited


@pytest.fixture
def seen() -> Iterator[list[Observation]]:
    found: list[Observation] = []
    with observe(found.append):
        yield found
    assert telemetry_hook.observers == ()


@pytest.fixture
def keep() -> Iterator[statekeep.Connection]:
    with statekeep.connect("memory:") as keep:
        yield keep


def names(seen: list[Observation]) -> list[str]:
    return [one.name for one in seen]


def payload(data: bytes = b"1") -> Payload:
    return Payload(encoding="raw", data=data)


def test_what_is_told(seen: list[Observation], keep: statekeep.Connection) -> None:
    item = keep.items.put(("users",), "ada", {"theme": "the-secret"})
    [one] = seen
    assert (one.name, one.service, one.place) == ("items.put", Service("memory"), {"namespace": ("users",)})
    assert (one.round_trips, one.retries, one.bytes_sent, one.bytes_received) == (0, 0, 0, 0)
    assert (one.error, one.error_type, one.batch) == (None, None, None)
    assert 0 < one.seconds < 5
    assert abs((one.started_at - item.created_at).total_seconds()) < 5
    assert "ada" not in repr(one)
    assert "users" not in repr(one)
    assert "the-secret" not in f"{one!r}{one.place}"


@pytest.mark.parametrize("awaits", [False, True])
def test_each_method_of_all_repositories(seen: list[Observation], keep: statekeep.Connection, awaits: bool) -> None:
    """Both faces tell the same."""

    async def do(checkpoints: Any, items: Any, logs: Any, cache: Any) -> None:
        await checkpoints.put(Checkpoint(thread_id="t", checkpoint_id="1"))
        await checkpoints.put_writes("t", "1", [])
        await checkpoints.get("t")
        assert len([one async for one in checkpoints.list("t")]) == 1
        assert len([one async for one in checkpoints.list_threads()]) == 1
        await checkpoints.prune(["t"], keep=1)
        await checkpoints.delete_thread("t")
        await items.batch([PutItem(namespace=("n",), key="a", value=1), PutItem(namespace=("n",), key="b", value=2)])
        await items.search(("n",))
        await items.list_namespaces()
        await items.setup()
        await logs.append(("l",), [1, 2, 3])
        await logs.read(("l",))
        await cache.set({(("n",), "k"): payload()})
        await cache.get([(("n",), "k"), (("n",), "l")])
        await checkpoints.ping()
        await items.now()

    if awaits:
        found = keep.asyncio
        asyncio.run(do(found.checkpoints, found.items, found.logs, found.cache))
    else:
        asyncio.run(do(awaited(keep.checkpoints), awaited(keep.items), awaited(keep.logs), awaited(keep.cache)))
    assert names(seen) == [
        *(f"checkpoints.{name}" for name in ("put", "put_writes", "get", "list", "list_threads", "prune")),
        "checkpoints.delete_thread",
        *(f"items.{name}" for name in ("batch", "search", "list_namespaces", "setup")),
        *("logs.append", "logs.read", "cache.set", "cache.get", "ping", "now"),
    ]
    batches = {one.name: one.batch for one in seen if one.batch is not None}
    assert batches == {
        "checkpoints.put_writes": 0,
        "items.batch": 2,
        "logs.append": 3,
        "cache.set": 1,
        "cache.get": 2,
    }
    places = {one.name: dict(one.place) for one in seen if one.place}
    assert places == {
        "checkpoints.put": {"thread_id": "t", "namespace": ""},
        "checkpoints.put_writes": {"thread_id": "t"},
        "checkpoints.get": {"thread_id": "t"},
        "checkpoints.list": {"thread_id": "t"},
        "checkpoints.delete_thread": {"thread_id": "t"},
        "logs.append": {"log": ("l",)},
        "logs.read": {"log": ("l",)},
    }


@pytest.mark.parametrize("awaits", [False, True])
def test_each_page_is_one(seen: list[Observation], keep: statekeep.Connection, awaits: bool) -> None:
    async def read() -> int:
        return len([item async for item in keep.asyncio.checkpoints.list()])

    for number in range(45):
        keep.checkpoints.put(Checkpoint(thread_id="t", checkpoint_id=f"{number:02}"))
    seen.clear()
    first = next(keep.checkpoints.list())
    assert (first.checkpoint_id, names(seen)) == ("44", ["checkpoints.list"])
    seen.clear()
    assert (asyncio.run(read()) if awaits else len(list(keep.checkpoints.list()))) == 45
    assert names(seen) == ["checkpoints.list"] * 3


def test_errors(seen: list[Observation], keep: statekeep.Connection) -> None:
    with pytest.raises(InvalidInput):
        keep.items.get("users", "ada")
    keep.items.put(("users",), "ada", 1)
    with pytest.raises(Conflict) as caught:
        keep.items.put(("users",), "ada", 2, expected=None)
    with pytest.raises(InvalidInput):
        asyncio.run(keep.asyncio.checkpoints.get(1))  # type: ignore[arg-type]
    assert [one.error_type for one in seen] == ["InvalidInput", None, "Conflict", "InvalidInput"]
    assert seen[2].error is caught.value
    assert "ada" not in repr(seen[2])


def test_errors_of_others_are_told_with_their_module(seen: list[Observation], keep: statekeep.Connection) -> None:
    def fails(value: int) -> int:
        raise asyncio.QueueFull

    keep.items.put(("n",), "k", 1)
    with pytest.raises(asyncio.QueueFull):
        keep.items.of(int, ("n",)).update("k", fails)
    with pytest.raises(ZeroDivisionError):
        keep.items.of(int, ("n",)).update("k", lambda value: value // 0)
    assert [one.error_type for one in seen[1:]] == ["asyncio.queues.QueueFull", "ZeroDivisionError"]


def test_cancelled(seen: list[Observation]) -> None:
    class Stuck(MemoryCheckpoints):
        def get(self, *_: Any) -> Any:
            yield "wait"

        async def aexecute(self, request: Any) -> Any:
            await asyncio.sleep(60)

    async def main() -> None:
        keep = statekeep.AsyncCheckpointRepository(Stuck())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(keep.get("t"), 0.01)

    asyncio.run(main())
    assert [one.error_type for one in seen] == ["asyncio.exceptions.CancelledError"]


def test_typed_items_and_threads(seen: list[Observation], keep: statekeep.Connection) -> None:
    visits = keep.items.of(int, ("visits",))
    visits.update("ada", lambda number: number + 1, default=0)
    visits.get("ada")
    chat = keep.checkpoints.of(dict[str, str], "chat-1")
    first = chat.save({"question": "Who?"})
    chat.load()
    list(chat.history())
    chat.tasks(int, first).put("count", 3)
    assert names(seen) == ["items.update", "items.get", "threads.save", "threads.load", "threads.history", "tasks.put"]
    assert [one.place.get("namespace") for one in seen[:2]] == [("visits",)] * 2
    assert [one.place.get("thread_id") for one in seen[2:5]] == ["chat-1"] * 3


@pytest.mark.parametrize("awaits", [False, True])
def test_copies_are_told_step_by_step(seen: list[Observation], keep: statekeep.Connection, awaits: bool) -> None:
    keep.checkpoints.put(Checkpoint(thread_id="t"))
    keep.items.put(("n",), "k", 1)
    keep.logs.append(("l",), [1])
    seen.clear()
    with statekeep.connect("memory:") as target:
        if awaits:
            asyncio.run(statekeep.acopy(keep.asyncio, target.asyncio))
        else:
            statekeep.copy(keep, target)
    assert set(names(seen)) == {
        *("checkpoints.list_threads", "checkpoints.list", "checkpoints.put"),
        *("items.list_namespaces", "items.list", "items.batch"),
        *("logs.list", "logs.read", "logs.replace"),
    }


def test_cached_functions(seen: list[Observation], keep: statekeep.Connection) -> None:
    @statekeep.cached(keep.cache, namespace=("double",))
    def double(number: int) -> int:
        return 2 * number

    assert (double(2), double(2)) == (4, 4)
    assert names(seen) == ["cache.get", "cache.set", "cache.get"]


@pytest.mark.parametrize("awaits", [False, True])
def test_langgraph(seen: list[Observation], keep: statekeep.Connection, awaits: bool) -> None:
    """Its operations have the names of the repository's, and come once."""
    saver = RepositorySaver(keep.checkpoints)
    store = RepositoryStore(keep.items)
    cache: RepositoryCache[int] = RepositoryCache(keep.cache)
    config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    checkpoint = empty_checkpoint()

    async def asynchronously() -> None:
        stored = await saver.aput(config, checkpoint, {"source": "loop", "step": 1}, {})
        await saver.aput_writes(stored, [("topic", "milk")], "task")
        await saver.aget_tuple(config)
        assert len([one async for one in saver.alist(config)]) == 1
        await saver.aget_delta_channel_history(config=config, channels=["topic"])
        await saver.acopy_thread("t", "u")
        await saver.aprune(["u"])
        await saver.adelete_for_runs(["r"])
        await saver.adelete_thread("t")
        await saver.aping()
        await store.aput(("n",), "k", {"a": 1})
        await store.asearch(("n",))
        await cache.aset({(("n",), "k"): (1, None)})
        await cache.aget([(("n",), "k")])

    def blocking() -> None:
        stored = saver.put(config, checkpoint, {"source": "loop", "step": 1}, {})
        saver.put_writes(stored, [("topic", "milk")], "task")
        saver.get_tuple(config)
        assert len(list(saver.list(config))) == 1
        saver.get_delta_channel_history(config=config, channels=["topic"])
        saver.copy_thread("t", "u")
        saver.prune(["u"])
        saver.delete_for_runs(["r"])
        saver.delete_thread("t")
        saver.ping()
        store.put(("n",), "k", {"a": 1})
        store.search(("n",))
        cache.set({(("n",), "k"): (1, None)})
        cache.get([(("n",), "k")])

    asyncio.run(asynchronously()) if awaits else blocking()
    methods = ("put", "put_writes", "get", "list", "ancestors", "copy_thread", "prune", "delete_runs", "delete_thread")
    assert names(seen) == [
        *(f"checkpoints.{name}" for name in methods),
        *("ping", "items.batch", "items.search", "cache.set", "cache.get"),
    ]
    assert [one.place.get("thread_id") for one in seen[:5]] == ["t"] * 5


def test_what_a_listing_of_langgraph_reads_besides(seen: list[Observation], keep: statekeep.Connection) -> None:
    """Checkpoints of an old format need their parent: that is a read of its own, if it is not on the page."""
    saver = RepositorySaver(keep.checkpoints)
    old = {**empty_checkpoint(), "v": 3}
    old.pop("updated_channels", None)
    config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    parent = saver.put(config, {**old, "id": "1"}, {}, {})  # type: ignore[typeddict-item]
    saver.put(parent, {**old, "id": "2"}, {}, {})  # type: ignore[typeddict-item]
    seen.clear()
    list(saver.list(config, limit=1))
    assert names(seen) == ["checkpoints.list", "checkpoints.get"]
    seen.clear()
    saver.get_tuple(config)
    assert names(seen) == ["checkpoints.get"]


def test_an_observer_that_raises_hurts_nobody(
    seen: list[Observation], keep: statekeep.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(record: Beginning) -> None:
        calls.append(record.name)
        raise kinds[len(calls) % 2]("broken")

    calls: list[str] = []
    kinds: list[type[Exception]] = [ValueError, KeyError]
    later: list[Observation] = []
    with observe(fails), observe(began=fails), observe(began=lambda _: fails), observe(later.append):
        for _ in range(4):
            assert keep.checkpoints.get("t") is None
        asyncio.run(keep.asyncio.checkpoints.get("t"))
    assert len(calls) == 3 * 5
    assert len(seen) == len(later) == 5
    logged = [record for record in caplog.records if record.name == "statekeep.telemetry"]
    assert {record.levelno for record in logged} == {logging.ERROR}
    assert len(logged) == 3 * 2  # for each observer, one of each kind


def test_operations_of_observers_are_not_observed(seen: list[Observation], keep: statekeep.Connection) -> None:
    def note(record: Beginning) -> None:
        told.append(record.name)
        if len(told) < 10:  # else it would never end
            keep.logs.append(("operations",), [record.name])

    told: list[str] = []

    def begin(record: Beginning) -> Any:
        note(record)
        return note

    with observe(note), observe(began=begin):
        keep.checkpoints.get("t")
    assert names(seen) == ["checkpoints.get"]
    assert [entry.value for entry in keep.logs.read(("operations",))] == ["checkpoints.get"] * 3


def test_beginnings(keep: statekeep.Connection) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="outside")
    told: list[Any] = []

    def begin(record: Beginning) -> Any:
        told.append(("begins", record.name, dict(record.place)))
        token = variable.set("inside")

        def end(done: Observation) -> None:
            variable.reset(token)
            told.append(("ends", done.name, done.error_type))

        return end

    def change(number: int) -> int:
        told.append(variable.get())
        return number + 1

    visits = keep.items.of(int, ("visits",))
    with observe(began=begin), observe(began=lambda _: None):
        visits.update("ada", change, default=0)
        asyncio.run(keep.asyncio.items.of(int, ("visits",)).update("ada", change))
    about = {"namespace": ("visits",)}
    assert told == [("begins", "items.update", about), "inside", ("ends", "items.update", None)] * 2
    assert variable.get() == "outside"


def test_the_end_of_an_observer(keep: statekeep.Connection) -> None:
    ended: list[str] = []
    first, second = observe(lambda done: ended.append("first")), observe(lambda done: ended.append("second"))
    keep.checkpoints.get("t")
    first.end()
    first.end()
    keep.checkpoints.get("t")
    second.end()
    keep.checkpoints.get("t")
    assert ended == ["first", "second", "second"]

    def begin(record: Beginning) -> Any:
        return lambda done: ended.append("begun")

    def change(number: int) -> int:
        observing.end()
        plain.end()
        return number

    observing, plain = observe(began=begin), observe(lambda done: ended.append("plain"))
    keep.items.of(int, ("n",)).update("k", change, default=0)
    assert ended[3:] == ["begun"]  # what began ends; the other is told of nothing any more


def test_one_that_comes_later_is_not_told_of_what_began_before(keep: statekeep.Connection) -> None:
    later: list[Observation] = []
    handles: list[Observing] = []

    def change(number: int) -> int:
        handles.append(observe(later.append))
        return number

    with observe(lambda done: None):
        keep.items.of(int, ("n",)).update("k", change, default=0)
    keep.checkpoints.get("t")
    handles[0].end()
    assert names(later) == ["checkpoints.get"]


async def _observes(done: Observation) -> None: ...


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({}, "observer"),
        ({"observer": print, "began": print}, "observer"),
        ({"observer": 1}, "observer"),
        ({"observer": _observes}, "observer"),
        ({"began": "soon"}, "began"),
    ],
)
def test_wrong_observers(arguments: Any, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        observe(**arguments)
    assert caught.value.field == field
    assert telemetry_hook.observers == ()


class Counting(MemoryCheckpoints):
    """A backend of somebody's that counts its requests, and knows nothing of telemetry."""

    service = None  # type: ignore[assignment]

    def get(self, thread_id: str, *_: Any) -> Any:
        yield from range(int(thread_id))

    def execute(self, request: Any) -> Any:
        barrier.wait(10)
        telemetry_hook.count(round_trips=1, sent=2)

    async def aexecute(self, request: Any) -> Any:
        await asyncio.sleep(0)
        telemetry_hook.count(round_trips=1, sent=2)


barrier = threading.Barrier(2)


def test_backends_of_others_are_named_by_their_class(seen: list[Observation]) -> None:
    CheckpointRepository(Counting()).get("0")
    assert seen[0].service == Service("Counting")


def test_tasks_side_by_side_count_for_themselves(seen: list[Observation]) -> None:
    async def main() -> None:
        keep = statekeep.AsyncCheckpointRepository(Counting())
        await asyncio.gather(*(keep.get(str(number)) for number in range(30)))

    asyncio.run(main())
    assert sorted((one.place["thread_id"], one.round_trips, one.bytes_sent) for one in seen) == sorted(
        (str(number), number, 2 * number) for number in range(30)
    )


def test_threads_side_by_side_count_for_themselves(seen: list[Observation]) -> None:
    keep = CheckpointRepository(Counting())
    threads = [threading.Thread(target=keep.get, args=["20"]) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(one.round_trips, one.bytes_sent) for one in seen] == [(20, 40)] * 2


def test_a_coroutine_that_nobody_finishes(seen: list[Observation]) -> None:
    """It is closed in another context than it ran in."""
    keep = statekeep.AsyncCheckpointRepository(Counting())
    coroutine = keep.get("2")
    contextvars.copy_context().run(coroutine.send, None)
    assert telemetry_hook.current() is None
    coroutine.close()
    assert telemetry_hook.current() is None
    gc.collect()
    assert [one.error_type for one in seen] == ["GeneratorExit"]


@pytest.mark.parametrize(
    ("url", "service"),
    [
        ("valkey://ada:s3cret@db.example:6380/2", Service("valkey", "db.example", 6380, "2")),
        ("valkey://[::1]:6380", Service("valkey", "::1", 6380, "0")),
        ("valkey+cluster://one:1,two:2", Service("valkey", "one", 1, "0")),
        ("valkey+sentinel://one:1,two:2/main/3", Service("valkey", "main", None, "3")),
        ("unix:///tmp/a,b:1", Service("valkey", "/tmp/a,b:1", None, "0")),
    ],
)
def test_addresses_of_urls(url: str, service: Service) -> None:
    with statekeep.connect(url, client="valkey-py") as keep:
        assert {service_of(keep.checkpoints.backend), service_of(keep.logs.backend)} == {service}


def test_without_observers_nothing_is_counted(keep: statekeep.Connection) -> None:
    assert telemetry_hook.observers == ()

    def change(number: int) -> int:
        assert telemetry_hook.current() is None
        return number

    keep.items.of(int, ("n",)).update("k", change, default=0)


def test_encrypted_metadata_and_embedded_texts(seen: list[Observation]) -> None:
    class Cipher(JsonSerializer):
        def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
            kind, data = super().dumps_typed(obj)
            return kind, bytes(byte ^ 255 for byte in data)

    index = VectorIndex(dims=2, embed=lambda texts: [[1.0, 0.0] for _ in texts])
    with statekeep.connect("memory:", encrypt_metadata=True, metadata_serializer=Cipher(), index=index) as keep:
        keep.checkpoints.put(Checkpoint(thread_id="t", metadata={"a": 1}))
        keep.items.put(("n",), "k", {"text": "tea"})
    assert [(one.name, one.service.kind) for one in seen] == [
        ("checkpoints.put", "memory"),
        ("items.put", "memory"),
    ]
