"""URLs of services that sentinels watch."""

from __future__ import annotations

import asyncio
import importlib.util
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

import statekeep
from statekeep import AccessDenied, InvalidInput, Unavailable
from statekeep.langgraph_shim import ValkeySaver
from statekeep.repositories.valkey import client_from_url
from statekeep.repositories.valkey.client.url import target
from statekeep.repositories.valkey.client.valkey_py import factory
from statekeep.repositories.valkey.requests import Ask, Call, Commands, Script
from statekeep.testing.sentinels import ValkeySentinels
from statekeep.testing.servers import ValkeyServer

pytestmark = pytest.mark.anyio

STORE = Script("store", "return redis.call('SET', KEYS[1], 'x')")
FACES = ["blocking", "async", "async without libvalkey"]
PORT = Ask(["CONFIG", "GET", "port"])
Doing = Callable[[Any], Awaitable[Any]]


@pytest.fixture
def watched() -> Iterator[ValkeySentinels]:
    with ValkeySentinels() as watched:
        yield watched


def doing(client: Any, face: str) -> Doing:
    """Return a function that answers requests."""

    async def do(request: Any) -> Any:
        return await (asyncio.to_thread(client.execute, request) if face == "blocking" else client.aexecute(request))

    return do


@pytest.fixture(params=FACES)
def face(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "async without libvalkey":
        monkeypatch.setattr(factory, "LIBVALKEY_AVAILABLE", False)
    return str(request.param)


async def port_of(do: Doing) -> int:
    _, port = await do(PORT)
    return int(port)


async def test_requests_go_to_the_primary(watched: ValkeySentinels) -> None:
    with statekeep.connect(watched.url + "/3?client_name=me") as keep:
        keep.items.put(("n",), "k", 1)
    with ValkeySaver.from_conn_string(watched.url, check=True) as saver:
        assert saver.ping() > 0
    async with statekeep.aconnect(watched.url.replace("valkey+", "redis+"), db=3, check=True) as akeep:
        item = await akeep.items.get(("n",), "k")
        assert item
        assert item.value == 1
    primary = watched.nodes[watched.primary()]
    with primary.client() as client:
        assert set(client.info("keyspace")) == {"db3"}


async def test_writes_go_on_through_a_failover(watched: ValkeySentinels, face: str) -> None:
    client = client_from_url(watched.url)
    do = doing(client, face)
    before = watched.primary()
    assert await port_of(do) == before
    counts = [0]
    is_over = asyncio.Event()

    async def write() -> None:
        while not is_over.is_set():
            await do(Commands([["SET", "key", str(counts[0])]]))
            counts[0] += 1

    writers = [asyncio.create_task(write()) for _ in range(5)]
    after = await asyncio.to_thread(watched.failover)
    assert after != before
    deadline = time.monotonic() + 8  # before the predecessor learns of it, in some 10 seconds
    while await port_of(do) != after:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    written = counts[0]
    await asyncio.gather(*(do(Commands([["GET", "key"]])) for _ in range(100)))
    assert counts[0] >= written
    is_over.set()
    await asyncio.gather(*writers)  # nothing was raised
    await do(Commands([["SET", "key", "last"]]))
    with watched.nodes[after].client() as raw:
        assert raw.get("key") == b"last"
    await client.aclose()


async def test_a_primary_that_dies(watched: ValkeySentinels, face: str) -> None:
    client = client_from_url(watched.url, request_timeout=1, deadline=20)
    do = doing(client, face)
    before = watched.primary()
    assert await do(Commands([["SET", "key", "1"]])) == [b"OK"]
    watched.nodes[before].kill()
    assert await do(Commands([["SET", "key", "2"]])) == [b"OK"]
    assert await port_of(do) != before
    await client.aclose()


async def test_connections_to_a_server_that_became_a_replica_are_left(face: str) -> None:
    with ValkeyServer() as server, ValkeyServer() as other:
        client = client_from_url(server.url, client="valkey-py", deadline=0)
        do = doing(client, face)
        before = await do(Ask(["CLIENT", "ID"]))
        assert await do(Ask(["CLIENT", "ID"])) == before
        with server.client() as raw:
            raw.execute_command("REPLICAOF", "127.0.0.1", other.port)
        for request in (Commands([["SET", "key", "2"]]), Call(STORE, ["key"], [])):
            with pytest.raises(Unavailable, match="replica"):
                await do(request)
            after = await do(Ask(["CLIENT", "ID"]))
            assert after != before
            before = after
        await client.aclose()


async def test_sentinels_that_are_gone(watched: ValkeySentinels, face: str) -> None:
    client = client_from_url(watched.url, deadline=0.5)
    do = doing(client, face)
    first, second, third = watched.sentinels.values()
    first.kill()
    second.kill()
    assert await port_of(do) == watched.primary()
    third.kill()
    await asyncio.sleep(1.1)
    assert await port_of(do) in watched.nodes  # the connection goes on
    await client.aclose()
    client = client_from_url(watched.url, deadline=0.5)
    with pytest.raises(Unavailable, match="no sentinel names a primary"):
        await doing(client, face)(PORT)
    await client.aclose()


async def test_an_unknown_service(watched: ValkeySentinels, face: str) -> None:
    client = client_from_url(watched.url.replace("/main", "/other"), deadline=0.3)
    with pytest.raises(Unavailable, match="knows no service other"):
        await doing(client, face)(PORT)
    await client.aclose()


async def test_passwords(face: str) -> None:
    with ValkeySentinels(password="servers-secret", sentinel_password="sentinels-secret", sentinels=1) as watched:
        client = client_from_url(watched.url, sentinel_password="sentinels-secret")
        assert await port_of(doing(client, face)) == watched.primary()
        await client.aclose()
        provided = client_from_url(
            watched.url.replace(":servers-secret@", ""),
            sentinel_password="sentinels-secret",
            credential_provider=lambda: (None, "servers-secret"),
        )
        assert await port_of(doing(provided, face)) == watched.primary()
        await provided.aclose()
        for options in ({}, {"sentinel_password": "wrong-secret"}):
            client = client_from_url(watched.url, deadline=1, **options)  # type: ignore[arg-type]
            with pytest.raises(AccessDenied) as caught:
                await doing(client, face)(PORT)
            assert "secret" not in str(caught.value)
            assert "secret" not in repr(client)
            await client.aclose()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("valkey+sentinel://a,b:7/main", "main of a:26379,b:7"),
        ("redis+sentinel://u:p@[::1]/my-service.1/2", "my-service.1 of [::1]:26379"),
    ],
)
def test_urls(url: str, shown: str) -> None:
    assert str(target(url)) == shown


@pytest.mark.parametrize(
    ("url", "field"),
    [
        ("valkey+sentinel://h", "url"),
        ("valkey+sentinel://h/", "url"),
        ("valkey+sentinel://h//1", "url"),
        ("valkey+sentinel://h/a%20b", "url"),
        ("valkey+sentinel://u:1/secret@h/main", "url"),
        ("valkey+sentinel://h/main/x", "db"),
        ("valkey+sentinel://h/main/1/2", "db"),
        ("valkey+sentinel://h/main?sentinel_password", "url"),
        ("valkey://h?sentinel_password=x", "sentinel_password"),
        ("valkey+cluster://h?sentinel_username=x", "sentinel_username"),
    ],
)
def test_bad_urls(url: str, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        target(url)
    assert caught.value.field == field
    assert "secret" not in str(caught.value).replace("sentinel_password", "")


def test_glide_knows_no_sentinels(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match=r"\+sentinel needs client='valkey-py'; glide cannot") as caught:
        client_from_url("valkey+sentinel://h/main", client="glide")
    assert caught.value.field == "client"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if name == "glide" else None)
    with pytest.raises(statekeep.MissingDependency):
        client_from_url("valkey+sentinel://h/main")
