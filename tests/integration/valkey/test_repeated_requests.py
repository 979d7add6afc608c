"""A request whose answer got lost is sent again, and nothing is done twice."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import evolve

import statekeep
from statekeep import AsyncItemRepository, Conflict, DeleteItem, GetItem, Item, ItemRepository, PutItem, Unavailable
from statekeep.repositories.item_backend import Put
from statekeep.repositories.valkey import ValkeyItems, calls, client_for, client_from_url
from statekeep.repositories.valkey.requests import Call, Commands
from statekeep.testing.faces import awaited
from statekeep.testing.servers import ValkeyServer

from .item_kinds import Watched
from .losing_proxy import LosingProxy
from .valkey_kinds import payload, write

pytestmark = pytest.mark.anyio

N = ("n",)


@pytest.fixture
def proxy(valkey_server: ValkeyServer) -> Iterator[LosingProxy]:
    with LosingProxy(valkey_server.port) as proxy:
        yield proxy


@pytest.fixture(params=["glide", "valkey-py"])
def url(request: pytest.FixtureRequest, proxy: LosingProxy) -> str:
    return f"valkey://127.0.0.1:{proxy.port}?client={request.param}&deadline=30"


async def _read(items: AsyncItemRepository, key: str = "k") -> Item:
    item = await items.get(N, key)
    assert item is not None
    return item


async def _batch(items: AsyncItemRepository) -> Any:
    return await items.batch(
        [
            GetItem(namespace=N, key="k"),
            PutItem(namespace=N, key="k", value="new"),
            DeleteItem(namespace=N, key="other"),
            GetItem(namespace=N, key="other"),
            PutItem(namespace=N, key="created", value=1, expected=None),
        ]
    )


def _outline(result: Any) -> Any:
    if isinstance(result, list):
        return [_outline(each) for each in result]
    if isinstance(result, Item):
        return result.namespace, "number" if result.key.isdecimal() else result.key, result.value, result.version
    return "number" if isinstance(result, str) and result.isdecimal() else result


OPERATIONS: dict[str, Callable[[AsyncItemRepository, Item], Awaitable[Any]]] = {
    "append": lambda items, read: items.append(N, [1, 2, 3]),
    "append with a life": lambda items, read: items.append(N, [1, 2, 3], ttl=1000),
    "pop": lambda items, read: items.pop(N),
    "create": lambda items, read: items.put(N, "created", "new", expected=None),
    "put a version": lambda items, read: items.put(N, "k", "new", expected=read.version),
    "put what was read": lambda items, read: items.put(N, "k", "new", expected=read),
    "delete": lambda items, read: items.delete(N, "k"),
    "delete what was read": lambda items, read: items.delete(N, "k", expected=read),
    "clear": lambda items, read: items.clear(N),
    "clear below": lambda items, read: items.clear(N, below=True),
    "batch": lambda items, read: _batch(items),
    "refresh": lambda items, read: items.get(N, "k", refresh=True),
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("face", ["blocking", "async"])
async def test_items(url: str, proxy: LosingProxy, prefix: str, name: str, face: str) -> None:
    results = []
    for loses in (False, True):
        backend = ValkeyItems(client_from_url(url), prefix=f"{prefix}{loses}")
        items = awaited(ItemRepository(backend)) if face == "blocking" else AsyncItemRepository(backend)
        try:
            await items.append(N, ["first"])
            await items.put(N, "other", 1)
            read = await items.put(N, "k", "old", ttl=1000)
            await items.pop(("warm",))
            await items.clear(("warm",))
            # The server knows the scripts now, and the request that does the work is the next one, or the one after.
            requests = 2 if "clear" in name or name == "pop" else 1
            lost = proxy.lost
            proxy.losing = requests if loses else 0
            result = await OPERATIONS[name](items, read)
            assert proxy.lost - lost == (requests if loses else 0)
            left = [_outline(item) async for item in items.list(N)]
            results.append((_outline(result), left))
        finally:
            await backend.aclose()
    assert results[0] == results[1]


@pytest.mark.parametrize("face", ["blocking", "async"])
async def test_a_plain_put_is_done_again(url: str, proxy: LosingProxy, prefix: str, face: str) -> None:
    backend = ValkeyItems(client_from_url(url), prefix=prefix)
    items = awaited(ItemRepository(backend)) if face == "blocking" else AsyncItemRepository(backend)
    await items.put(N, "other", 1)
    proxy.losing = 1
    item = await items.put(N, "k", "value")
    assert proxy.lost == 1
    assert item.version in (1, 2)
    assert await items.get(N, "k") == item
    await backend.aclose()


def test_checkpoints_and_cache_entries(url: str, proxy: LosingProxy, prefix: str) -> None:
    with statekeep.connect(url, prefix=prefix) as keep:

        def twice(act: Callable[[], Any]) -> Any:
            before = proxy.lost
            proxy.losing = 1
            result = act()
            assert proxy.lost == before + 1
            return result

        first = statekeep.Checkpoint(thread_id="t", checkpoint_id="1", metadata={"step": 0})
        second = statekeep.Checkpoint(thread_id="t", checkpoint_id="2", parent_id="1", metadata={"step": 1})
        keep.checkpoints.put(first)
        twice(lambda: keep.checkpoints.put(second))
        keep.checkpoints.put_writes("t", "2", [write("warm", 0)])
        twice(lambda: keep.checkpoints.put_writes("t", "2", [write("task", 0), write("task", 1)]))
        saved = keep.checkpoints.get("t")
        assert saved is not None
        assert [(each.task_id, each.idx) for each in saved.pending_writes] == [("task", 0), ("task", 1), ("warm", 0)]
        assert [each.checkpoint_id for each in keep.checkpoints.list("t")] == ["2", "1"]
        twice(lambda: keep.checkpoints.delete_thread("t"))
        assert keep.checkpoints.get("t") is None
        assert list(keep.checkpoints.list_threads()) == []

        keep.cache.set({(("warm",), "k"): (payload(b"v"), None)})
        twice(lambda: keep.cache.set({(("c",), "k"): (payload(b"v"), None)}))
        assert len(keep.cache.get([(("c",), "k")])) == 1
        twice(lambda: keep.cache.delete([(("c",), "k")]))
        assert keep.cache.get([(("c",), "k")]) == {}


# -- much later


@pytest.mark.parametrize(("deadline", "most"), [(0, 120), (10, 160), (600, 2520)])
@pytest.mark.parametrize("of_url", [False, True])
def test_answers_are_kept_for_as_long_as_requests_may_be_repeated(
    valkey_server: ValkeyServer, prefix: str, deadline: float, most: float, of_url: bool
) -> None:
    with valkey_server.client() as client:
        opened = client_from_url(valkey_server.url, deadline=deadline)
        mine = opened if of_url else client_for(client, deadline=deadline)
        items = ItemRepository(ValkeyItems(mine, prefix=prefix))
        items.append(N, [1])
        items.pop(N)
        items.delete(N, "k")
        calls = list(client.scan_iter(f"{prefix}:item-call:*"))
        assert len(calls) == 3
        for call in calls:
            assert most * 1000 - 60_000 < client.pttl(call) <= most * 1000
        opened.close()


@pytest.mark.parametrize("cluster", [False, True], ids=["standalone", "cluster"])
def test_large_answers_are_not_kept_when_they_have_come(
    valkey_server: ValkeyServer, prefix: str, cluster: bool
) -> None:
    with valkey_server.client() as client:
        watched = Watched(client, cluster=cluster)
        items = ItemRepository(ValkeyItems(watched, prefix=prefix))
        large, small = "x" * 100_000, "x" * 10_000
        items.append(N, [small, large, large])
        watched.requests.clear()
        popped = items.pop(N)
        assert popped is not None
        assert popped.value == large
        assert isinstance(watched.requests[-1], Commands) or cluster
        (call,) = _calls(watched)
        assert client.get(call.keys[json.loads(call.args[0])["call"] - 1]) == b""
        # One that comes out of a halted server's queue does nothing.
        watched.client.execute(call)
        assert [item.value for item in items.list(N)] == [small, large]
        batch: list[Any] = [GetItem(namespace=N, key=item.key) for item in items.list(N)]
        found = items.batch([*batch, PutItem(namespace=N, key="k", value=1)])
        assert [item.value for item in found] == [small, large, 1]
        calls = list(client.scan_iter(f"{prefix}:item-call:*"))
        assert len(calls) == 3
        assert all(client.memory_usage(call, samples=0) < 1000 for call in calls)
        assert all(0 < client.pttl(call) <= 160_000 for call in calls)
        items.batch([DeleteItem(namespace=N, key="k"), batch[1]])
        last = items.pop(N)
        assert last is not None
        watched.requests.clear()
        assert items.pop(N) is not None
        assert len(_calls(watched)) == 1
        assert cluster or len(watched.requests) == 2


def test_an_answer_that_cannot_be_freed(valkey_server: ValkeyServer, prefix: str) -> None:
    class Failing(Watched):
        def execute(self, request: Any) -> Any:
            if isinstance(request, Commands) and request.commands[0][0] == "SET":
                raise Unavailable("the server is away")
            return super().execute(request)

    with valkey_server.client() as client:
        items = ItemRepository(ValkeyItems(Failing(client), prefix=prefix))
        items.append(N, ["x" * 100_000])
        popped = items.pop(N)
        assert popped is not None
        assert popped.value == "x" * 100_000


def _calls(watched: Watched) -> list[Call]:
    return [request for request in watched.requests if isinstance(request, Call) and request.script.name == "apply"]


@pytest.mark.parametrize("cluster", [False, True], ids=["standalone", "cluster"])
def test_a_server_that_was_halted_does_nothing_again(valkey_server: ValkeyServer, prefix: str, cluster: bool) -> None:
    """It may find requests that nobody waits for any more, when it has forgotten their answers."""
    with valkey_server.client() as client:
        watched = Watched(client, cluster=cluster)
        items = ItemRepository(ValkeyItems(watched, prefix=prefix))
        items.put(N, "k", 1)
        acts: list[Callable[[], Any]] = [
            lambda: items.append(N, [1]),
            lambda: items.pop(N),
            lambda: items.delete(N, "k"),
            lambda: items.put(N, "k", 1, expected=None),
        ]
        for act in acts:
            watched.requests.clear()
            act()
            there = list(items.list(N))
            (call,) = _calls(watched)
            request = json.loads(call.args[0])
            now = time.time() * 1000
            assert now < request["until"] <= now + request["kept"]
            halted = request["until"] - now + request["kept"]
            # As when so much time has passed.
            late = evolve(call, args=[json.dumps(request | {"until": request["until"] - halted}), *call.args[1:]])
            client.delete(call.keys[request["call"] - 1])
            assert watched.client.execute(late)[0] == b"late"
            assert list(items.list(N)) == there


@pytest.mark.parametrize("hours", [-1e6, -1, 1, 1e6])
def test_clocks_that_differ(
    valkey_server: ValkeyServer, prefix: str, hours: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    with valkey_server.client() as client:
        watched = Watched(client)
        items = ItemRepository(ValkeyItems(watched, prefix=prefix))
        items.append(N, ["first"])
        client.delete(*client.scan_iter(f"{prefix}:item-call:*"))
        other = SimpleNamespace(time=lambda: time.time() + hours * 3600, monotonic=time.monotonic)
        monkeypatch.setattr(calls, "time", other)
        watched.requests.clear()
        assert len(items.append(N, [1, 2])) == 2
        assert len(_calls(watched)) == 2
        assert items.put(N, "k", 1, expected=None).version == 1
        with pytest.raises(Conflict):
            items.put(N, "k", 1, expected=None)
        assert [item.value for item in items.list(N)] == ["first", 1, 2, 1]
        for call in client.scan_iter(f"{prefix}:item-call:*"):
            assert 0 < client.pttl(call) <= 160_000


def test_what_may_have_been_done_is_not_done_again(
    valkey_server: ValkeyServer, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with valkey_server.client() as client:
        watched = Watched(client)
        backend = ValkeyItems(watched, prefix=prefix)
        operation = backend.append(N, [Put(N, "", 1)])
        request = operation.send(None)
        while not (isinstance(request, Call) and request.script.name == "apply"):
            request = operation.send(watched.execute(request))
        assert watched.execute(request)[0] == b"done"
        # The answer gets lost, and the server is away until it has forgotten it.
        gone = json.loads(request.args[0])
        reply = [b"late", str(gone["until"] + gone["kept"]).encode()]
        later = SimpleNamespace(time=time.time, monotonic=lambda: time.monotonic() + gone["kept"] / 1000 + 1)
        monkeypatch.setattr(calls, "time", later)
        with pytest.raises(Unavailable, match="nobody knows whether this was done"):
            operation.send(reply)
        assert len(list(ItemRepository(backend).list(N))) == 1
