"""Errors say what the caller named, and none of what passes by itself."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import valkey

import statekeep
from statekeep import Channel, Checkpoint, CorruptRecord, Payload, PendingWrite, PutItem, Unavailable
from statekeep.langgraph_shim import ValkeyCache, ValkeySaver, ValkeyStore
from statekeep.repositories.items import ItemRepository
from statekeep.repositories.valkey import ValkeyItems, client_for
from statekeep.testing.servers import ValkeyCluster, ValkeyServer

pytestmark = pytest.mark.anyio

DRIVERS = ("glide", "valkey-py")
PAYLOAD = Payload(encoding="x", data=b"y")
WRITE = PendingWrite(task_id="task", idx=0, channel="a", payload=PAYLOAD)


@pytest.fixture(scope="module")
def nowhere() -> str:
    """The URL of a server that has gone."""
    with ValkeyServer() as server:
        return f"{server.url}?deadline=0"


CALLS: dict[str, tuple[Callable[[statekeep.Connection], object], dict[str, Any]]] = {
    "put": (
        lambda keep: keep.checkpoints.put(Checkpoint(thread_id="chat:1", namespace="a b")),
        {"thread_id": "chat:1", "namespace": "a b"},
    ),
    "put_writes": (
        lambda keep: keep.checkpoints.put_writes("chat:1", "7", [WRITE]),
        {"thread_id": "chat:1", "namespace": ""},
    ),
    "get": (lambda keep: keep.checkpoints.get("chat:1"), {"thread_id": "chat:1", "namespace": ""}),
    "list": (lambda keep: list(keep.checkpoints.list("chat:1")), {"thread_id": "chat:1"}),
    "delete_thread": (lambda keep: keep.checkpoints.delete_thread("chat:1"), {"thread_id": "chat:1"}),
    "delete_runs": (lambda keep: keep.checkpoints.delete_runs(["run:1"]), {"run_id": "run:1"}),
    "item put": (lambda keep: keep.items.put(("users", "a.b"), "k:1", {}), {"namespace": ("users", "a.b")}),
    "item get": (
        lambda keep: keep.items.get(("users", "a.b"), "k:1"),
        {"namespace": ("users", "a.b"), "key": "k:1"},
    ),
    "item search": (lambda keep: keep.items.search(("users", "a.b")), {"namespace": ("users", "a.b")}),
    "item append": (lambda keep: keep.items.append(("users", "a.b"), [{}]), {"namespace": ("users", "a.b")}),
    "cache get": (lambda keep: keep.cache.get([(("a", "b"), "k:1")]), {"namespace": ("a", "b"), "key": "k:1"}),
    "cache set": (lambda keep: keep.cache.set({(("a", "b"), "k:1"): PAYLOAD}), {"namespace": ("a", "b")}),
}


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("call", CALLS)
def test_the_caller_finds_his_own_names(nowhere: str, driver: Any, call: str) -> None:
    do, place = CALLS[call]
    with statekeep.connect(nowhere, client=driver) as keep, pytest.raises(Unavailable) as caught:
        do(keep)
    assert caught.value.place is not None
    assert {name: caught.value.place.get(name) for name in place} == place
    assert caught.value.key is not None
    assert caught.value.key.startswith("statekeep:")
    text = str(caught.value)
    assert "statekeep:" not in text
    assert all(f"{name}={value!r}" in text for name, value in place.items() if value)


def test_savers_stores_and_caches(nowhere: str) -> None:
    saver, store = ValkeySaver.from_conn_string(nowhere), ValkeyStore.from_conn_string(nowhere)
    cache: ValkeyCache[Any] = ValkeyCache.from_conn_string(nowhere)
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: saver.get_tuple({"configurable": {"thread_id": "chat-1"}}), "thread_id='chat-1'"),
        (lambda: store.get(("users",), "ada"), "namespace=('users',), key='ada'"),
        (lambda: cache.get([(("a",), "b")]), "namespace=('a',), key='b'"),
    ]
    for call, place in calls:
        with pytest.raises(Unavailable) as caught:
            call()
        assert place in str(caught.value)
        assert "statekeep:" not in str(caught.value)
        assert "langgraph:cache" not in str(caught.value)
    for one in (saver, store, cache):
        one.close()


def test_a_damaged_record_is_named_by_its_key(valkey_server: ValkeyServer, prefix: str) -> None:
    with statekeep.connect(valkey_server.url, prefix=prefix) as keep, valkey_server.client() as raw:
        keep.items.put(("users",), "ada", {})
        raw.hset(f"{prefix}:item:{{users}}:ada", "value", "{")
        with pytest.raises(CorruptRecord) as caught:
            keep.items.get(("users",), "ada")
    assert f"key='{prefix}:item:{{users}}:ada'" in str(caught.value)


# -- what is too large for its time


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_value_that_is_too_large_for_its_time(valkey_server: ValkeyServer, prefix: str, driver: Any) -> None:
    """Writing so much takes many times as long as a request may."""
    options: Any = {"client": driver, "prefix": prefix, "request_timeout": 0.002, "deadline": 0.05}
    large = Checkpoint(thread_id="t", channels={"a": Channel.of(1, Payload(encoding="x", data=b"y" * 100_000_000))})
    says = r"the request has 100,0\d\d,\d{3} bytes: store less .*, or raise request_timeout, which is 0.002 seconds"
    with statekeep.connect(valkey_server.url, **options) as keep, pytest.raises(Unavailable, match=says):
        keep.checkpoints.put(large)

    async def main() -> None:
        async with statekeep.aconnect(valkey_server.url, **options) as keep:
            with pytest.raises(Unavailable, match=says):
                await keep.checkpoints.put(large)

    asyncio.run(main())


def test_a_client_of_the_user_has_a_timeout_of_its_own(valkey_server: ValkeyServer, prefix: str) -> None:
    with valkey.Valkey(port=valkey_server.port, socket_timeout=0.002) as client:
        keep = ItemRepository(ValkeyItems(client_for(client, deadline=0), prefix=prefix))
        with pytest.raises(Unavailable, match=r"has 100,000,\d{3} bytes: .* raise the timeout of your client"):
            keep.put(("a",), "k", {"x": "y" * 100_000_000})


# -- what passes by itself


@contextmanager
def _flushing(server: ValkeyServer | ValkeyCluster) -> Iterator[None]:
    """Empty the servers' scripts again and again."""
    nodes = [server] if isinstance(server, ValkeyServer) else list(server.nodes.values())
    ends = threading.Event()

    def flush(node: ValkeyServer) -> None:
        with node.client() as raw:
            while not ends.is_set():
                raw.execute_command("SCRIPT", "FLUSH")

    threads = [threading.Thread(target=flush, args=[node]) for node in nodes]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ends.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("where", ["own_server", "own_cluster"])
async def test_scripts_that_are_gone_again_and_again(request: pytest.FixtureRequest, driver: Any, where: str) -> None:
    server: ValkeyServer | ValkeyCluster = request.getfixturevalue(where)
    rounds = 40
    with _flushing(server), statekeep.connect(server.url, client=driver) as keep:
        for number in range(rounds):
            checkpoint_id = f"{number:03}"
            keep.checkpoints.put(Checkpoint(thread_id="t", checkpoint_id=checkpoint_id))
            keep.checkpoints.put_writes("t", checkpoint_id, [WRITE])
            saved = keep.checkpoints.get("t")
            assert saved is not None
            assert [write.task_id for write in saved.pending_writes] == ["task"]
            keep.items.batch([PutItem(namespace=("a",), key="k", value={"n": number}, ttl=60)])
            item = keep.items.get(("a",), "k", refresh=True)
            assert item is not None
            assert item.value == {"n": number}
            keep.cache.set({(("a",), "k"): PAYLOAD})
            assert keep.cache.get([(("a",), "k")])[("a",), "k"].payload == PAYLOAD
    with _flushing(server):
        async with statekeep.aconnect(server.url, client=driver) as akeep:

            async def one(number: int) -> None:
                await akeep.checkpoints.put(Checkpoint(thread_id=f"u{number % 4}", checkpoint_id=f"{number:03}"))
                await akeep.items.put(("b",), str(number), {"n": number})
                assert await akeep.items.get(("b",), str(number)) is not None

            for number in range(0, rounds, 8):
                await asyncio.gather(*(one(number + more) for more in range(8)))
            assert len([saved async for saved in akeep.checkpoints.list("u0")]) == rounds // 4


@pytest.fixture(scope="module")
def own_server() -> Iterator[ValkeyServer]:
    with ValkeyServer() as server:
        yield server


@pytest.fixture(scope="module")
def own_cluster() -> Iterator[ValkeyCluster]:
    with ValkeyCluster(primaries=3) as cluster:
        yield cluster
