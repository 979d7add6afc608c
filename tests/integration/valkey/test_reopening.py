"""Connections whose other end takes what is sent and never answers: new ones have to be opened."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from statekeep.domain import Unavailable
from statekeep.repositories.valkey.client.factory import Client, client_from_url
from statekeep.repositories.valkey.client.glide import opening, reopening
from statekeep.repositories.valkey.requests import Call, Reply, Script
from statekeep.testing.servers import ValkeyCluster, ValkeyServer

pytestmark = pytest.mark.anyio

RETURN = Script("return", "#!lua\nreturn ARGV[1]")
KINDS = [(driver, blocking) for driver in ("glide", "valkey-py") for blocking in (True, False)]


class Proxy:
    """Passes on what comes, until its connections are frozen: then it only takes what clients send."""

    def __init__(self, port: int) -> None:
        self.opened = 0
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"valkey://127.0.0.1:{self._listener.getsockname()[1]}"
        self._frozen = threading.Event()
        self._sockets: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def freeze(self) -> None:
        """Freeze the connections that there are; later ones work."""
        self._frozen.set()
        self._frozen = threading.Event()

    def close(self) -> None:
        for own in [self._listener, *self._sockets]:
            try:
                own.shutdown(socket.SHUT_RDWR)
            except OSError:  # the other end was quicker
                pass
            own.close()
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._port))
            except OSError:  # the test is over
                return
            self.opened += 1
            self._sockets += [near, far]
            for pair in ((near, far), (far, near)):
                threading.Thread(target=self._pass_on, args=[*pair, self._frozen], daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, frozen: threading.Event) -> None:
        try:
            while data := source.recv(1 << 16):
                if not frozen.is_set():
                    sink.sendall(data)
            if not frozen.is_set():
                sink.shutdown(socket.SHUT_RDWR)
        except OSError:  # the other end was quicker
            pass


@pytest.fixture
def proxy(valkey_server: ValkeyServer) -> Iterator[Proxy]:
    proxy = Proxy(valkey_server.port)
    yield proxy
    proxy.close()


async def _all(client: Client, blocking: bool, texts: list[str]) -> list[Reply]:
    requests = [Call(RETURN, ["k"], [text]) for text in texts]
    if blocking:
        return await asyncio.gather(*(asyncio.to_thread(client.execute, request) for request in requests))
    return await asyncio.gather(*(client.aexecute(request) for request in requests))


@pytest.mark.parametrize(("driver", "blocking"), KINDS)
async def test_connections_that_froze(driver: Any, blocking: bool, proxy: Proxy) -> None:
    client = client_from_url(proxy.url, client=driver, deadline=20, request_timeout=1)
    texts = [str(number) for number in range(8)]
    replies = [text.encode() for text in texts]
    for _ in range(2):
        assert await _all(client, blocking, texts) == replies
        before = proxy.opened
        proxy.freeze()
        assert await _all(client, blocking, texts) == replies
        if driver == "glide":
            assert proxy.opened == before + 1
    await client.aclose()


@pytest.mark.parametrize("blocking", [True, False])
async def test_a_server_that_is_slow_is_not_flooded(
    blocking: bool, valkey_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[float] = []
    name = "open_sync" if blocking else "open_async"
    real = getattr(opening, name)

    def note(*arguments: Any) -> Any:
        opened.append(time.monotonic())
        return real(*arguments)

    monkeypatch.setattr(opening, name, note)
    client = client_from_url(valkey_server.url, client="glide", deadline=2.5, request_timeout=0.1, connect_timeout=0.2)
    assert await _all(client, blocking, ["a"]) == [b"a"]
    valkey_server.pause()
    try:
        asking = [_all(client, blocking, ["x"]) for _ in range(5)]
        for result in await asyncio.gather(*asking, return_exceptions=True):
            assert isinstance(result, Unavailable)
    finally:
        valkey_server.resume()
    assert await _all(client, blocking, ["b"]) == [b"b"]
    await client.aclose()
    assert len(opened) > 1
    assert all(later - earlier > reopening.REOPEN_AFTER / 2 for earlier, later in pairwise(opened))


@pytest.fixture(scope="module")
def stubborn() -> Iterator[ValkeyCluster]:
    """A cluster in which nobody notices that a node is frozen."""
    with ValkeyCluster(node_timeout=600_000) as cluster:
        yield cluster


@pytest.mark.slow
@pytest.mark.parametrize("blocking", [True, False])
async def test_a_node_that_stays_frozen_holds_up_nobody_but_its_own(
    blocking: bool, stubborn: ValkeyCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of two clients without an answer the first one stays, whose connections to the other nodes work.
    monkeypatch.setattr(reopening, "REOPEN_AFTER", 0.0)
    frozen = stubborn.primary_of("k")
    healthy = next(key for key in map(str, range(1000)) if stubborn.primary_of(key) != frozen)
    url = f"valkey+cluster://127.0.0.1:{frozen}"
    client = client_from_url(url, client="glide", deadline=5, request_timeout=0.5, connect_timeout=0.5)

    async def ask(key: str) -> Reply:
        request = Call(RETURN, [key], [key])
        return client.execute(request) if blocking else await client.aexecute(request)

    assert [await ask("k"), await ask(healthy)] == [b"k", healthy.encode()]
    stubborn.nodes[frozen].pause()
    try:
        with pytest.raises(Unavailable):
            await ask("k")
        assert await ask(healthy) == healthy.encode()
    finally:
        stubborn.nodes[frozen].resume()
    assert await ask("k") == b"k"
    await client.aclose()
