"""Typed items and threads over the real backends, blocking and in an event loop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import pytest
from pydantic import BaseModel, ConfigDict, TypeAdapter

from statekeep import (
    ANY,
    Channel,
    CheckItem,
    Checkpoint,
    Conflict,
    CorruptRecord,
    DeleteItem,
    GetItem,
    InvalidInput,
    Item,
    ListItems,
    Payload,
    PutItem,
    TypedItem,
    TypedSearchItem,
    TypeMismatch,
    Unsupported,
)
from statekeep.domain.json_values import JsonText
from statekeep.repositories.agentcore.backend import AgentCoreCheckpoints
from statekeep.repositories.agentcore.items.backend import AgentCoreItems
from statekeep.repositories.aws import open_client
from statekeep.repositories.checkpoints import AsyncCheckpointRepository, CheckpointRepository
from statekeep.repositories.items import AsyncItemRepository, ItemRepository
from statekeep.testing.servers import ValkeyServer
from tests.backends import BACKENDS, ITEM_BACKENDS
from tests.integration.agentcore.emulated import Worlds
from tests.integration.valkey.counting_proxy import CountingProxy

N = ("typed",)
NAMES = ["memory", "valkey-py", "glide-cluster", "agentcore"]


class Profile(BaseModel):
    model_config = ConfigDict(strict=True)
    name: str
    tags: frozenset[str] = frozenset()
    visits: int = 0


class State(BaseModel):
    question: str = ""
    answers: list[str] = []
    document: str = ""


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def items(name: str, request: pytest.FixtureRequest, prefix: str) -> Iterator[ItemRepository]:
    if name == "agentcore":
        worlds: Worlds = request.getfixturevalue("worlds")
        client = open_client("bedrock-agentcore", client=worlds.client("plain"))
        yield ItemRepository(AgentCoreItems(client, worlds.emulator("plain").agentcore.create_memory()))
    else:
        with ITEM_BACKENDS[name].open(request, prefix) as backend:
            yield ItemRepository(backend)


@pytest.fixture
def checkpoints(name: str, request: pytest.FixtureRequest, prefix: str) -> Iterator[CheckpointRepository]:
    if name == "agentcore":
        worlds: Worlds = request.getfixturevalue("worlds")
        client = open_client("bedrock-agentcore", client=worlds.client("plain"))
        yield CheckpointRepository(AgentCoreCheckpoints(client, worlds.emulator("plain").agentcore.create_memory()))
    else:
        with BACKENDS[name].open(request, prefix) as backend:
            yield CheckpointRepository(backend)


# -- items


def test_items(items: ItemRepository) -> None:
    people = items.of(Profile, ("people", "\x00{}:*|%"))
    assert people.get("ada") is None
    ada = Profile(name="Ada", tags=frozenset({"é"}))
    stored = people.put("ada", ada, ttl=3600, expected=None)
    assert (stored.namespace, stored.key, stored.value, stored.version) == (people.namespace, "ada", ada, 1)
    assert stored.value is not ada
    assert people.get("ada") == stored
    assert type(people.get("ada")) is TypedItem
    people.put("bob", Profile(name="Bob"), expected=ANY)
    assert [one.value.name for one in people.list()] == ["Ada", "Bob"]
    assert [one.key for one in people.list(reverse=True, limit=1)] == ["bob"]
    for found in (people.search(), people.search(filter={"name": {"$ne": "x"}})):
        assert [one.value.name for one in found] == ["Bob", "Ada"]
        assert type(found[0]) is TypedSearchItem
    assert items.get(people.namespace, "ada") == Item(**dict(stored) | {"value": {**dict(ada), "tags": ["é"]}})
    with pytest.raises(Conflict):
        people.put("ada", ada, expected=None)
    assert people.delete("ada", expected=stored) is True
    assert people.delete("ada") is False


def test_an_expected_item_is_not_one_that_was_put_again(items: ItemRepository) -> None:
    people = items.of(Profile, ("people",))
    gone = people.put("ada", Profile(name="Ada"))
    people.delete("ada")
    assert people.put("ada", Profile(name="Eve")).version == gone.version
    for call in (lambda: people.put("ada", gone.value, expected=gone), lambda: people.delete("ada", expected=gone)):
        with pytest.raises(Conflict) as caught:
            call()
        assert (caught.value.expected, caught.value.actual) == (1, 1)
    with pytest.raises(InvalidInput) as wrong:
        people.put("bob", gone.value, expected=gone)
    assert wrong.value.field == "expected"


def test_a_typed_item_is_expected_where_values_have_no_type(items: ItemRepository, name: str) -> None:
    people, n = items.of(Profile, ("people",)), ("people",)
    gone = people.put("ada", Profile(name="Ada"))
    people.delete("ada")
    read = people.put("ada", Profile(name="Eve"))
    [found] = people.search()
    assert isinstance(found, TypedSearchItem)
    refused: list[Callable[[], object]] = [
        lambda: items.put(n, "ada", {}, expected=gone),
        lambda: items.delete(n, "ada", expected=gone),
        lambda: items.batch([PutItem(namespace=n, key="ada", value={}, expected=gone)]),
        lambda: items.batch([DeleteItem(namespace=n, key="ada", expected=gone)]),
        lambda: items.batch([CheckItem(namespace=n, key="ada", expected=gone)]),
    ]
    for call in refused:
        with pytest.raises(Conflict):
            call()
    assert [one.key for one in people.list()] == ["ada"]
    for elsewhere in (
        lambda: items.put(n, "bob", {}, expected=read),
        lambda: items.delete(("n",), "ada", expected=read),
    ):
        with pytest.raises(InvalidInput) as wrong:
            elsewhere()
        assert wrong.value.field == "expected"
    [put] = people.batch([PutItem(namespace=n, key="ada", value={"name": "Ida", "tags": []}, expected=found)])
    assert (put.value.name, put.version) == ("Ida", 2)
    assert items.put(n, "ada", {"name": "Ada", "tags": []}, expected=put).version == 3
    if name != "agentcore":  # several items are no unit there
        check = CheckItem(namespace=n, key="ada", expected=people.get("ada"))
        assert people.batch([check, people.prepare_put("bob", put.value)])[1].version == 1
    assert items.batch([DeleteItem(namespace=n, key="ada", expected=people.get("ada"))]) == [True]


def test_what_does_not_fit_is_said_by_each_way_to_read(items: ItemRepository, caplog: pytest.LogCaptureFixture) -> None:
    items.put(("people",), "old", {"full_name": "Ada"})
    people = items.of(Profile, ("people",))
    ways: list[tuple[str, Any]] = [
        ("get", lambda: people.get("old")),
        ("list", lambda: list(people.list())),
        ("search", people.search),
        ("search", lambda: people.search(filter={"full_name": "Ada"})),
        ("pop", people.pop),
        ("update", lambda: people.update("old", lambda profile: profile)),
        ("batch", lambda: people.batch([GetItem(namespace=("people",), key="old")])),
    ]
    for operation, call in ways:
        with pytest.raises(TypeMismatch) as caught:
            call()
        assert (caught.value.key, caught.value.operation) == ("old", operation)
        assert caught.value.place == {"namespace": ("people",), "key": "old"}
        assert caplog.messages[-1] == f"{operation} found a value of another type: 'old'"
    assert items.get(("people",), "old") is not None
    migrated = items.of(Profile, ("people",), migrate=lambda old: {"name": old["full_name"]})
    assert migrated.update("old", lambda profile: profile).value == Profile(name="Ada")
    assert people.get("old") == migrated.get("old")


def test_bad_input_writes_nothing(items: ItemRepository) -> None:
    people: Any = items.of(Profile, ("people",))
    untyped: Any = Profile
    prepared = people.prepare_put("k", Profile(name="a"))
    calls: list[tuple[str, Any]] = [
        ("value", lambda: people.put("k", 5)),
        ("value", lambda: people.put("k", untyped.model_construct(name=1))),
        ("key", lambda: people.get(1)),
        ("change", lambda: people.update("k", 1)),
        ("attempts", lambda: people.update("k", lambda value: value, attempts=0)),
        ("default", lambda: people.update("k", lambda value: value)),
        ("default", lambda: people.update("k", lambda value: value, default=1)),
        ("value", lambda: people.update("k", lambda value: None, default=Profile(name="a"))),
        ("values", lambda: people.append("abc")),
        ("values", lambda: people.append([1])),
        ("operations", lambda: people.batch([PutItem(namespace=("people",), key="k", value=1)])),
        ("operations", lambda: people.batch([prepared, DeleteItem(namespace=("x",), key="k")])),
        ("operations", lambda: people.batch("k")),
    ]  # fmt: skip
    for field, call in calls:
        with pytest.raises(InvalidInput) as caught:
            call()
        assert caught.value.field == field
    with pytest.raises(InvalidInput):
        items.of(Profile, "people")
    assert list(people.list()) == []


def test_updates_of_many_threads_are_all_counted(items: ItemRepository, name: str) -> None:
    visits = items.of(Profile, ("visits",))
    start = threading.Barrier(4)
    times = 3 if name == "agentcore" else 8

    def visit(_: int) -> None:
        start.wait()
        for _ in range(times):
            visits.update(
                "ada", lambda one: one.model_copy(update={"visits": one.visits + 1}), default=Profile(name="Ada")
            )

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(visit, range(4)))
    found = visits.get("ada")
    assert found is not None
    assert (found.value.visits, found.version) == (4 * times, 4 * times)


def test_an_update_gives_up_after_its_attempts(items: ItemRepository) -> None:
    visits = items.of(list[int], ("visits",))
    seen = []

    def meddle(value: list[int]) -> list[int]:
        seen.append(list(value))
        items.put(("visits",), "k", [len(seen)])
        value.append(-1)
        return value

    with pytest.raises(Conflict, match="each of 3 attempts") as caught:
        visits.update("k", meddle, default=[0], attempts=3)
    assert seen == [[0], [1], [2]]
    assert (caught.value.key, caught.value.operation, caught.value.actual) == ("k", "update", 3)
    assert isinstance(caught.value.__cause__, Conflict)

    def fail(value: list[int]) -> list[int]:
        raise LookupError(value)

    with pytest.raises(LookupError):
        visits.update("k", fail)
    assert visits.update("k", lambda value: [*value, 4]).value == [3, 4]


def test_append_pop_and_batch(items: ItemRepository, name: str) -> None:
    chat = items.of(list[str], ("chat",))
    stored, read, deleted = chat.batch(
        [
            chat.prepare_put("a", ["x"]),
            GetItem(namespace=("chat",), key="a"),
            DeleteItem(namespace=("chat",), key="b"),
        ]
    )
    assert (stored.value, read.value, deleted) == (["x"], ["x"], False)
    assert type(read) is TypedItem
    if name == "agentcore":
        with pytest.raises(Unsupported):
            chat.append([["y"]])
    else:
        chat.delete("a")
        keys = chat.append([["1"], ["2"], ["3"]])
        with ThreadPoolExecutor(3) as pool:
            popped = list(pool.map(lambda _: chat.pop(), range(3)))
        assert sorted(one.key for one in popped if one) == keys
    while (last := chat.pop()) is not None:
        assert type(last) is TypedItem
    assert list(chat.list()) == []


def test_listings(items: ItemRepository) -> None:
    people = items.of(Profile, N)
    for name in ("b", "c", "a"):
        people.put(name, Profile(name=name, tags=frozenset("t"), visits=ord(name)))
    assert list(people.keys()) == ["a", "b", "c"]
    assert list(people.keys(prefix="b")) == ["b"]
    assert [item.key for item in people.list(order="updated", reverse=True, limit=2)] == ["a", "c"]
    assert [item.value.name for item in people.list(filter={"visits": {"$gt": 97}}, offset=1)] == ["c"]
    put = people.prepare_put("d", Profile(name="d"))
    stored, found = people.batch([put, ListItems(namespace=N, reverse=True, limit=2)])
    assert [item.value.name for item in found] == ["d", "c"]
    assert found[0] == stored
    assert isinstance(found[0], TypedItem)
    with pytest.raises(InvalidInput):
        people.batch([ListItems(namespace=("other",))])
    items.put(N, "wrong", 1)
    with pytest.raises(TypeMismatch):
        people.batch([ListItems(namespace=N)])
    assert "wrong" in list(people.keys())


def test_payloads(items: ItemRepository) -> None:
    payload = Payload(encoding="raw", data=b"\xff\x00")
    both = items.of(TypeAdapter(int | Payload), N)
    assert both.put("bytes", payload).value == payload
    both.put("number", 1)
    assert [item.value for item in both.list()] == [payload, 1]
    assert items.get(N, "bytes") is not None
    assert both.update("bytes", lambda value: Payload(encoding="raw", data=value.data + b"1")).version == 2  # type: ignore[union-attr]
    numbers = items.of(int, N)
    with pytest.raises(TypeMismatch) as caught:
        numbers.get("bytes")
    assert caught.value.key == "bytes"
    with pytest.raises(InvalidInput):
        numbers.put("bytes", payload)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput):
        numbers.batch([PutItem(namespace=N, key="bytes", value=payload)])
    migrated = items.of(int, N, migrate=lambda old: len(old.data)).get("bytes")
    assert migrated is not None
    assert migrated.value == 3
    assert items.of(Payload, N).get("bytes").value.data == b"\xff\x001"  # type: ignore[union-attr]


def test_values_reach_the_type_as_the_stored_text(items: ItemRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    people = items.of(list[int], ("n",))
    people.put("k", [1])
    seen: list[Any] = []
    decode = people._values.decode

    def watch(stored: Any, *more: Any) -> Any:
        seen.append(stored)
        return decode(stored, *more)

    monkeypatch.setattr(people._values, "decode", watch)
    people.get("k")
    list(people.list())
    people.search()
    people.batch([GetItem(namespace=("n",), key="k")])
    people.update("k", lambda value: value)
    assert [type(one) for one in seen] == [JsonText] * 5
    assert set(seen) == {"[1]"}
    assert items.get(("n",), "k").value == [1]  # type: ignore[union-attr]
    assert items.search(("n",), filter=None)[0].value == [1]


@pytest.mark.anyio
async def test_items_in_an_event_loop(items: ItemRepository) -> None:
    people = AsyncItemRepository(items.backend).of(Profile, ("people",))
    stored = await people.put("ada", Profile(name="Ada"), expected=None)
    assert await people.get("ada") == stored

    async def visit() -> None:
        await people.update("ada", lambda one: one.model_copy(update={"visits": one.visits + 1}))

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(visit)
    assert [one.value.visits async for one in people.list()] == [4]
    assert [one.value.visits for one in await people.search()] == [4]
    assert (await people.pop()).value.visits == 4  # type: ignore[union-attr]
    assert await people.get("ada") is None


@pytest.mark.parametrize("name", ["valkey-py"], indirect=True)
def test_a_value_that_is_no_json_is_damage(items: ItemRepository, valkey_server: ValkeyServer, prefix: str) -> None:
    numbers = items.of(list[int], ("n",), migrate=lambda old: [])
    numbers.put("k", [1])
    with valkey_server.client() as client:
        client.hset(f"{prefix}:item:{{n}}:k", "value", "[1")
    for call in (lambda: numbers.get("k"), lambda: list(numbers.list()), lambda: items.get(("n",), "k")):
        with pytest.raises(CorruptRecord) as caught:
            call()
        assert not isinstance(caught.value, TypeMismatch)


# -- threads


def test_threads(checkpoints: CheckpointRepository) -> None:
    chat = checkpoints.of(State, "chat {1}")
    assert chat.load() is None
    first = chat.save(State(question="Who?"), metadata={"step": 0})
    second = chat.save(State(question="Who?", answers=["Ada"]), parent=first, metadata={"step": 1})
    fork = chat.save(State(question="Who?", answers=["Bob"]), parent=first.checkpoint_id)
    assert first.checkpoint_id < second.checkpoint_id < fork.checkpoint_id
    assert chat.load() == fork
    assert chat.load(second) == second
    assert (second.parent_id, second.metadata, second.namespace) == (first.checkpoint_id, {"step": 1}, "")
    assert list(chat.history()) == [fork, second, first]
    assert list(chat.history(limit=1, before=fork)) == [second]
    assert list(chat.history(metadata={"step": 0})) == [first]
    other = chat.fork("chat 2", checkpoint=second)
    assert (other.state, other.metadata, other.parent_id) == (second.state, second.metadata, None)
    assert checkpoints.of(State, "chat 2").load() == other
    with pytest.raises(Conflict):
        chat.fork("chat 2")
    with pytest.raises(InvalidInput):
        chat.fork("chat 3", checkpoint="unknown")
    assert checkpoints.get("chat 3") is None
    assert len(list(checkpoints.list("chat 2"))) == 1


@pytest.mark.parametrize("state", [[1, 2], None, {}, {"": {"\x00": 1}, "a b:{}*|%": "é"}, "text"])
def test_a_state_of_any_json(checkpoints: CheckpointRepository, state: Any) -> None:
    thread = checkpoints.of(Any, "t", namespace="n")
    saved = thread.save(state)
    assert saved.state == state
    assert thread.load() == saved
    assert thread.load().state == state  # type: ignore[union-attr]


def test_the_results_of_tasks(checkpoints: CheckpointRepository) -> None:
    chat = checkpoints.of(State, "t")
    begun = chat.save(State(question="Who?"))
    done = chat.tasks(list[int], begun)
    assert done.get() == {}
    done.put("b", [2])
    done.put("a", [1])
    done.put("a", [3])
    assert done.get() == {"a": [1], "b": [2]}
    assert chat.tasks(list[int], begun.checkpoint_id).get() == {"a": [1], "b": [2]}
    with pytest.raises(TypeMismatch):
        chat.tasks(list[str], begun).get()
    with pytest.raises(InvalidInput) as caught:
        done.put("c", ["x"])  # type: ignore[list-item]
    assert caught.value.field == "result"
    assert chat.tasks(int, chat.save(State(), parent=begun)).get() == {}


def test_states_that_do_not_fit(checkpoints: CheckpointRepository) -> None:
    old = checkpoints.of(dict[str, int], "t").save({"version": 1})
    chat = checkpoints.of(State, "t")
    assert chat.load().state == State()  # type: ignore[union-attr]

    class Other(BaseModel):
        number: int

    strange = checkpoints.of(Other, "t")
    for operation, call in (("load", strange.load), ("history", lambda: list(strange.history()))):
        with pytest.raises(TypeMismatch) as caught:
            call()
        assert (caught.value.key, caught.value.operation) == (old.checkpoint_id, operation)
    migrated = checkpoints.of(Other, "t", migrate=lambda state: {"number": state["version"]}).load()
    assert migrated is not None
    assert migrated.state == Other(number=1)
    for header, payload in (
        (None, Payload(encoding="json", data=b"1")),
        (Payload(encoding="json", data=b'{"state":"fields"}'), Payload(encoding="pickle", data=b"1")),
        (Payload(encoding="json", data=b'{"state":"whole"}'), Payload(encoding="json", data=b"1")),
    ):
        checkpoints.put(Checkpoint(thread_id="foreign", header=header, channels={"number": Channel.of(1, payload)}))
        with pytest.raises(TypeMismatch, match="not saved by a typed thread"):
            checkpoints.of(Other, "foreign").load()
    whole = Payload(encoding="json", data=b'{"state":"fields"}')
    damaged = {"number": Channel.of(1, Payload(encoding="json", data=b"[1"))}
    checkpoints.put(Checkpoint(thread_id="damaged", header=whole, channels=damaged))
    with pytest.raises(CorruptRecord) as damage:
        checkpoints.of(Other, "damaged", migrate=lambda state: {"number": 1}).load()
    assert not isinstance(damage.value, TypeMismatch)


def test_a_head_is_expected(checkpoints: CheckpointRepository, name: str) -> None:
    chat = checkpoints.of(State, "t")
    if name == "agentcore":
        with pytest.raises(Unsupported, match="expected_head"):
            chat.save(State(), expected_head=None)
        assert chat.load() is None
        return
    first = chat.save(State(), expected_head=None)
    second = chat.save(State(), parent=first, expected_head=first)
    for expected in (None, first, first.checkpoint_id):
        with pytest.raises(Conflict) as caught:
            chat.save(State(question="lost"), expected_head=expected)
        assert caught.value.actual == second.checkpoint_id
    assert len(list(chat.history())) == 2


def test_a_save_is_behind_its_parent_though_the_clock_is_not(checkpoints: CheckpointRepository) -> None:
    chat = checkpoints.of(State, "t")
    checkpoints.put(Checkpoint(thread_id="t", checkpoint_id="ff", header=None))
    assert chat.save(State(), parent="ff").checkpoint_id > "ff"
    assert chat.load() is not None


def test_bad_input_of_threads(checkpoints: CheckpointRepository) -> None:
    chat: Any = checkpoints.of(State, "t")
    calls: list[tuple[str, Any]] = [
        ("state", lambda: chat.save({"question": 1})),
        ("parent", lambda: chat.save(State(), parent="")),
        ("expected_head", lambda: chat.save(State(), expected_head=1)),
        ("metadata", lambda: chat.save(State(), metadata="step")),
        ("checkpoint", lambda: chat.load("")),
        ("before", lambda: chat.history(before="")),
        ("thread_id", lambda: chat.fork("")),
        ("checkpoint", lambda: chat.tasks(int, None)),
        ("task_id", lambda: chat.tasks(int, "1").put("", 1)),
        ("thread_id", lambda: checkpoints.of(State, "")),
        ("kind", lambda: checkpoints.of(object(), "t")),
    ]
    for field, call in calls:
        with pytest.raises(InvalidInput) as caught:
            call()
        assert caught.value.field == field
    assert checkpoints.get("t") is None


@pytest.mark.anyio
async def test_threads_in_an_event_loop(checkpoints: CheckpointRepository) -> None:
    chat = AsyncCheckpointRepository(checkpoints.backend).of(State, "t")
    first = await chat.save(State(question="Who?"))
    assert await chat.load() == first
    assert [one async for one in chat.history()] == [first]
    done = chat.tasks(int, first)
    await done.put("a", 1)
    assert await done.get() == {"a": 1}
    fork = await chat.fork("u")
    assert await AsyncCheckpointRepository(checkpoints.backend).of(State, "u").load() == fork


def test_what_did_not_change_is_neither_sent_nor_stored_again(valkey_server: ValkeyServer, prefix: str) -> None:
    import statekeep

    document = "x" * 100_000
    with CountingProxy(valkey_server.port) as proxy:
        url = f"valkey://127.0.0.1:{proxy.port}?client=valkey-py"

        def counted(save: Any) -> tuple[int, int]:
            proxy.reset()
            save()
            return proxy.turns, proxy.sent

        with statekeep.connect(url, prefix=prefix) as keep:
            chat = keep.checkpoints.of(State, "t")
            parent = chat.save(State(document=document))
            chat.save(State(document=document, question="0"), parent=parent)  # loads the scripts
            for number in range(10):
                state = State(document=document, question=f"{number}?", answers=[str(number)])
                turns, sent = counted(lambda state=state: chat.save(state, parent=parent))
                assert (turns, sent < 3000) == (1, True)
            afresh = keep.checkpoints.of(State, "t")  # knows nothing: the first long value is asked for
            turns, sent = counted(lambda: afresh.save(State(document=document), parent=parent))
            assert (turns, sent < 3000) == (1, True)
            turns, sent = counted(lambda: afresh.save(State(document=document + "y"), parent=parent))
            assert turns == 1
            other = keep.checkpoints.of(State, "u")
            assert counted(lambda: other.save(State(document=document)))[0] == 2
            with valkey_server.client() as client:
                values = client.hgetall(f"{prefix}:channel-values:{{t}}:")
            assert sum(map(len, values.values())) < 250_000
