"""What is made from a URL travels to other processes, and is deep-copied with the graph that has it."""

from __future__ import annotations

import asyncio
import copy
import multiprocessing
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import glide_sync
import pytest
import valkey
import valkey.asyncio
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.graph import StateGraph
from langgraph.types import CachePolicy

import statekeep
from statekeep import Checkpoint, ClientClosed, Unavailable
from statekeep.langgraph_shim import (
    AgentCoreMemorySaver,
    AsyncValkeySaver,
    AsyncValkeyStore,
    BedrockSessionSaver,
    RepositorySaver,
    ValkeyCache,
    ValkeySaver,
    ValkeyStore,
)
from statekeep.testing.aws import AwsEmulator
from statekeep.testing.servers import ValkeyCluster, ValkeyServer

CONFIG: Any = {"configurable": {"thread_id": "chat-1"}}
DRIVERS = ("glide", "valkey-py")


def add_one(x: int) -> int:
    return x + 1


def embed(texts: list[str]) -> list[list[float]]:
    return [[float(len(text)), 1.0] for text in texts]


def flip(data: bytes) -> bytes:
    return bytes(byte ^ 0xFF for byte in data)


class Cipher:
    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        return "flip", flip(plaintext)

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        return flip(ciphertext)


STATE: Any = int


def _graph(saver: Any = None, store: Any = None, cache: Any = None) -> Any:
    builder: Any = StateGraph(STATE)
    builder = builder.add_node("add_one", add_one, cache_policy=CachePolicy())
    builder = builder.set_entry_point("add_one").set_finish_point("add_one")
    return builder.compile(checkpointer=saver, store=store, cache=cache)


# -- in the other process


def run_graph(saver: Any, store: Any, cache: Any) -> tuple[int, int, Any, int]:
    """Go on with a thread of another process, and leave something there."""
    with saver, store, cache:
        graph = _graph(saver, store, cache)
        before = graph.get_state(CONFIG).values
        result = graph.invoke(10, CONFIG)
        found = store.search(("notes",), query="hello")
        cache.set({"from": ("there", None)})
        return before, result, [item.value for item in found], len(list(saver.list(CONFIG)))


async def _arun_graph(saver: Any, store: Any) -> tuple[int, Any]:
    async with saver, store:
        return await _graph(saver, store).ainvoke(10, CONFIG), (await store.aget(("notes",), "a")).value


def arun_graph(saver: Any, store: Any) -> tuple[int, Any]:
    return asyncio.run(_arun_graph(saver, store))


def read_connection(keep: statekeep.Connection) -> tuple[dict[str, Any], Any, dict[Any, Any]]:
    with keep:
        saved, item = keep.checkpoints.get("t"), keep.items.get(("a",), "b")
        assert saved is not None
        assert item is not None
        return saved.metadata, item.value, keep.cache.get([((), "k")])


def value_of(saver: Any, config: Any) -> Any:
    return saver.get_tuple(config).checkpoint["channel_values"]["__root__"]


def count_checkpoints(saver: Any) -> int:
    with saver:
        return len(list(saver.list(CONFIG)))


def fail_to_connect(saver: Any) -> None:
    saver.get_tuple(CONFIG)


@pytest.fixture(scope="module")
def spawned() -> Iterator[ProcessPoolExecutor]:
    """A process that was spawned, not forked: it gets nothing but what is pickled."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


class TestInAnotherProcess:
    @pytest.mark.parametrize("client", DRIVERS)
    def test_saver_store_and_cache(
        self, spawned: ProcessPoolExecutor, valkey_server: ValkeyServer, prefix: str, client: Any
    ) -> None:
        options: Any = {"prefix": prefix, "client": client}
        index: Any = {"dims": 2, "embed": embed, "fields": ["text"]}
        with (
            ValkeySaver.from_conn_string(valkey_server.url, ttl_seconds=60, strict=True, **options) as saver,
            ValkeyStore.from_conn_string(valkey_server.url, index=index, ttl={"default_ttl": 5}, **options) as store,
            ValkeyCache[Any].from_conn_string(valkey_server.url, ttl_seconds=60, **options) as cache,
        ):
            _graph(saver, store, cache).invoke(1, CONFIG)
            store.put(("notes",), "a", {"text": "hello"})
            there = spawned.submit(run_graph, saver, store, cache).result(60)
            assert there == (2, 11, [{"text": "hello"}], 6)
            assert cache.get(["from"]) == {"from": "there"}
            state = saver.get_tuple(CONFIG)
            assert state is not None
            assert state.checkpoint["channel_values"]["__root__"] == 11

    def test_those_for_event_loops(
        self, spawned: ProcessPoolExecutor, valkey_server: ValkeyServer, prefix: str
    ) -> None:
        async def main() -> None:
            async with (
                AsyncValkeySaver.from_conn_string(valkey_server.url, prefix=prefix) as saver,
                AsyncValkeyStore.from_conn_string(valkey_server.url, prefix=prefix) as store,
            ):
                await _graph(saver, store).ainvoke(1, CONFIG)
                await store.aput(("notes",), "a", {"text": "hello"})
                there = asyncio.wrap_future(spawned.submit(arun_graph, saver, store))
                assert await asyncio.wait_for(there, 60) == (11, {"text": "hello"})

        asyncio.run(main())

    @pytest.mark.parametrize("client", DRIVERS)
    @pytest.mark.parametrize("where", ["valkey_server", "valkey_cluster"])
    def test_a_connection(
        self, request: pytest.FixtureRequest, spawned: ProcessPoolExecutor, prefix: str, client: Any, where: str
    ) -> None:
        server: ValkeyServer | ValkeyCluster = request.getfixturevalue(where)
        with statekeep.connect(server.url, prefix=prefix, client=client) as keep:
            keep.checkpoints.put(Checkpoint(thread_id="t", checkpoint_id="1", metadata={"step": 1}))
            keep.items.put(("a",), "b", {"c": 1})
            assert spawned.submit(read_connection, keep).result(60) == ({"step": 1}, {"c": 1}, {})
            assert keep.checkpoints.get("t") is not None  # which the other one has not closed

    def test_embedded_servers(self, spawned: ProcessPoolExecutor, tmp_path: Path) -> None:
        for url in ("embedded:", f"embedded:{tmp_path / 'data'}"):
            with statekeep.connect(url) as keep:
                keep.checkpoints.put(Checkpoint(thread_id="t", checkpoint_id="1", metadata={"step": 1}))
                keep.items.put(("a",), "b", {"c": 1})
                assert spawned.submit(read_connection, keep).result(60) == ({"step": 1}, {"c": 1}, {})
                assert keep.checkpoints.get("t") is not None

    def test_an_embedded_server_in_memory_that_has_ended(self) -> None:
        keep = statekeep.connect("embedded:")
        kept = pickle.dumps(keep)
        keep.close()
        with pytest.raises(Unavailable, match="has ended, and its records with it; embedded:DIR keeps them"):
            pickle.loads(kept)

    def test_agentcore(self, spawned: ProcessPoolExecutor) -> None:
        with AwsEmulator() as aws:
            options: Any = {
                "region_name": "us-west-2",
                "endpoint_url": aws.endpoint_url,
                "aws_access_key_id": "AKIAEXAMPLE",
                "aws_secret_access_key": "secret",
            }
            with AgentCoreMemorySaver(aws.memory_id, **options) as saver:
                _graph(saver).invoke(1, CONFIG)
                assert spawned.submit(count_checkpoints, saver).result(60) == 3
                assert count_checkpoints(copy.deepcopy(saver)) == 3
                assert len(list(saver.list(CONFIG))) == 3

    def test_bedrock_sessions(self, spawned: ProcessPoolExecutor) -> None:
        with AwsEmulator() as aws:
            options: Any = {
                "region_name": "us-east-1",
                "endpoint_url": aws.endpoint_url,
                "aws_access_key_id": "AKIAEXAMPLE",
                "aws_secret_access_key": "secret",
            }
            with BedrockSessionSaver(**options) as saver:
                config: Any = {"configurable": {"thread_id": saver.session_client.create_session().session_id}}
                _graph(saver).invoke(1, config)
                assert spawned.submit(value_of, saver, config).result(60) == 2
                with copy.deepcopy(saver) as twin:
                    assert value_of(twin, config) == 2
                    with copy.deepcopy(twin.session_client) as client:
                        assert client.create_session().session_id

    def test_errors_of_the_other_process(self, spawned: ProcessPoolExecutor) -> None:
        with ValkeyServer() as server:
            url = server.url
        with ValkeySaver.from_conn_string(url, deadline=0) as saver:
            with pytest.raises(Unavailable) as caught:
                spawned.submit(fail_to_connect, saver).result(60)
        assert caught.value.operation == "get"

    def test_the_password_travels(self, spawned: ProcessPoolExecutor) -> None:
        with ValkeyServer(requirepass="s3cret") as server, ValkeySaver.from_conn_string(server.url) as saver:
            _graph(saver).invoke(1, CONFIG)
            assert spawned.submit(count_checkpoints, saver).result(60) == 3


class TestDeepCopies:
    @pytest.mark.parametrize("client", DRIVERS)
    def test_of_a_compiled_graph(self, valkey_server: ValkeyServer, prefix: str, client: Any) -> None:
        options: Any = {"prefix": prefix, "client": client}
        with (
            ValkeySaver.from_conn_string(valkey_server.url, **options) as saver,
            ValkeyStore.from_conn_string(valkey_server.url, **options) as store,
            ValkeyCache[Any].from_conn_string(valkey_server.url, **options) as cache,
        ):
            graph = _graph(saver, store, cache)
            graph.invoke(1, CONFIG)
            store.put(("notes",), "a", {"text": "hello"})
            twin = copy.deepcopy(graph)
            with twin.checkpointer, twin.store, twin.cache:
                assert twin.checkpointer.client is not saver.client
                assert twin.checkpointer.client is twin.checkpointer._backend.client
                assert twin.get_state(CONFIG).values == 2
                assert twin.store.get(("notes",), "a").value == {"text": "hello"}
                # LangGraph compares with objects of its own by identity, which a deep copy of a graph breaks.
                assert _graph(twin.checkpointer, twin.store, twin.cache).invoke(10, CONFIG) == 11
            assert graph.get_state(CONFIG).values == 11  # through a client that the twin has not closed

    def test_what_is_closed_stays_closed(self, valkey_server: ValkeyServer) -> None:
        saver = ValkeySaver.from_conn_string(valkey_server.url)
        saver.close()
        with pytest.raises(ClientClosed, match="this client is closed"):
            copy.deepcopy(saver).get_tuple(CONFIG)

    def test_of_serializers(self, valkey_server: ValkeyServer, prefix: str) -> None:
        serde = EncryptedSerializer(Cipher())
        with (
            ValkeySaver.from_conn_string(valkey_server.url, prefix=prefix, serde=serde) as saver,
            pickle.loads(pickle.dumps(saver)) as twin,
        ):
            _graph(saver).invoke(1, CONFIG)
            assert twin.get_tuple(CONFIG).checkpoint["channel_values"] == {"__root__": 2}

    def test_of_records_in_memory(self) -> None:
        """They are the same records, as those of a server would be."""
        saver = RepositorySaver(statekeep.connect("memory:").checkpoints)
        twin = copy.deepcopy(_graph(saver)).checkpointer
        _graph(saver).invoke(1, CONFIG)
        assert twin is not saver
        assert len(list(twin.list(CONFIG))) == 3
        assert len(list(copy.copy(saver).list(CONFIG))) == 3


def _refused(make: Callable[[], Any], instead: str) -> None:
    with closing(make()) as refused:
        for way in (pickle.dumps, copy.deepcopy):
            with pytest.raises(TypeError, match=f"cannot be pickled or copied; {instead}"):
                way(refused)


class TestWhatCannotTravel:
    URL = "make them from a URL"

    @pytest.mark.parametrize("kind", [ValkeySaver, ValkeyStore, ValkeyCache])
    def test_what_is_around_a_client(self, valkey_server: ValkeyServer, kind: Any) -> None:
        with valkey_server.client() as client:
            _refused(lambda: kind(client), self.URL)
        with closing(valkey.ConnectionPool(port=valkey_server.port)) as pool:
            _refused(lambda: kind.from_pool(pool), self.URL)
        address = glide_sync.NodeAddress("127.0.0.1", valkey_server.port)
        with closing(glide_sync.GlideClient.create(glide_sync.GlideClientConfiguration([address]))) as own:
            _refused(lambda: kind(own), self.URL)

    def test_what_is_around_a_client_of_an_event_loop(self) -> None:
        _refused(lambda: ValkeySaver(valkey.asyncio.Valkey()), self.URL)

    def test_records_in_memory(self) -> None:
        keep = statekeep.connect("memory:")
        for repository in (keep, keep.checkpoints, keep.items, keep.cache):
            with pytest.raises(TypeError, match="in this process alone, cannot be pickled or copied; use the URL"):
                pickle.dumps(repository)

    def test_what_is_around_a_client_of_boto3(self) -> None:
        with AwsEmulator() as aws:
            session = aws.session()
            client = session.client("bedrock-agentcore")
            for options in ({"client": client}, {"session": session}):
                given: Any = options
                _refused(partial(AgentCoreMemorySaver, aws.memory_id, **given), "pass region_name")
            client.close()
