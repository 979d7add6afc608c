"""Options of `connect`: type checkers know them, and a wrong one is refused at run time."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, get_args, get_type_hints

import botocore.config
import pytest
from langgraph.checkpoint.base import empty_checkpoint

import statekeep
from statekeep import InvalidInput
from statekeep.langgraph_shim import AsyncValkeySaver, AsyncValkeyStore, ValkeyCache, ValkeySaver, ValkeyStore
from statekeep.repositories.agentcore import AgentCoreCheckpoints, AgentCoreItems
from statekeep.repositories.aws import AwsSettings
from statekeep.repositories.options import ConnectOptions, Driver, ValkeyOptions
from statekeep.repositories.valkey import client_from_url, open_client
from statekeep.repositories.valkey.client.url import PARAMETERS
from statekeep.repositories.valkey.client.valkey_py_options import WITHOUT_EFFECT
from tests.notices import all_notices

URL = "valkey://localhost:1"


def test_a_misspelt_option() -> None:
    with pytest.raises(InvalidInput, match=r"pool_sise.*known are.*pool_size") as caught:
        statekeep.connect(URL, pool_sise=3)  # type: ignore[call-arg]
    assert caught.value.field == "pool_sise"
    with pytest.raises(InvalidInput, match="pool_sise"):
        statekeep.aconnect(URL, pool_sise=3)  # type: ignore[call-arg]
    with pytest.raises(InvalidInput, match=r"pool_sise.*known are.*pool_size"):
        statekeep.connect("memory:", pool_sise=3)  # type: ignore[call-arg]
    with pytest.raises(InvalidInput, match="pool_sise"):
        statekeep.connect("agentcore://notes-Ab12Cd34Ef", region_name="us-west-2", pool_sise=3)  # type: ignore[call-arg]
    with pytest.raises(InvalidInput, match="pool_sise"):
        client_from_url(URL, pool_sise=3)  # type: ignore[call-arg]
    with pytest.raises(InvalidInput, match="pool_sise"):
        open_client(URL, pool_sise=3)  # type: ignore[call-arg]


def test_an_option_of_another_type() -> None:
    with pytest.raises(InvalidInput) as caught:
        statekeep.connect(URL, pool_size="many")  # type: ignore[arg-type]
    assert caught.value.field == "pool_size"
    with pytest.raises(InvalidInput) as caught:
        statekeep.connect(URL, client="glid")  # type: ignore[arg-type]
    assert caught.value.field == "client"
    with pytest.raises(InvalidInput) as caught:
        client_from_url(URL, client="glid")  # type: ignore[arg-type]
    assert caught.value.field == "client"


def test_every_option_is_typed() -> None:
    of_items = {*inspect.signature(AgentCoreItems).parameters} - {"ttl", "refresh_on_read", "index"}
    of_agentcore = {*inspect.signature(AgentCoreCheckpoints).parameters, *of_items, *AwsSettings.model_fields}
    of_valkey = {*PARAMETERS, *WITHOUT_EFFECT}
    assert set(get_type_hints(ValkeyOptions)) == of_valkey
    assert set(get_type_hints(ConnectOptions)) == of_valkey | (of_agentcore - {"memory_id", "value_cache"})
    assert set(get_args(Driver)) == {"glide", "valkey-py"}


@pytest.mark.parametrize(
    "url", ["", "memory", "memory:x", "memory://", "valkey", "mongodb://h", "embed:", "://h", "localhost:6379", 5, None]
)
def test_a_url_of_another_kind(url: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        statekeep.connect(url)
    assert caught.value.field == "url"


@pytest.mark.parametrize("url", [URL, "embedded:", "agentcore://notes-Ab12Cd34Ef"])
def test_only_memory_takes_a_clock(url: str) -> None:
    with pytest.raises(InvalidInput, match="memory: only") as caught:
        statekeep.connect(url, clock=lambda: 0.0)
    assert caught.value.field == "clock"


@pytest.mark.parametrize(
    "scheme", ["valkey", "valkeys", "redis", "rediss", "valkey+cluster", "redis+cluster", "valkeys+cluster", "VALKEY"]
)
def test_schemes_of_servers(scheme: str) -> None:
    statekeep.connect(f"{scheme}://localhost:1").close()


@pytest.mark.parametrize("scheme", ["unix", "valkey+unix", "redis+unix"])
def test_schemes_of_unix_sockets(scheme: str) -> None:
    statekeep.connect(f"{scheme}:///nowhere").close()


COMMON: Any = {
    "ttl": 60,
    "pool_size": 4,
    "pool_timeout": 1,
    "request_timeout": 2,
    "connect_timeout": 1,
    "deadline": 3,
    "client_name": "me",
    "db": 1,
    "max_connections": 4,
    "decode_responses": True,
}


@pytest.mark.parametrize("url", ["memory:", "valkey://localhost:1", "agentcore://notes-Ab12Cd34Ef?region=us-west-2"])
def test_every_url_takes_the_common_options(url: str) -> None:
    statekeep.connect(url, prefix="other", refresh_on_read=True, **COMMON).close()
    with pytest.raises(InvalidInput) as caught:
        statekeep.connect(url, **COMMON | {"pool_size": 0})
    assert caught.value.field == "pool_size"


def test_the_common_options_of_agentcore(caplog: pytest.LogCaptureFixture) -> None:
    url: Any = "agentcore://notes-Ab12Cd34Ef?region=us-west-2"
    with all_notices(), statekeep.connect(url, **COMMON) as keep:
        backend: Any = keep.checkpoints.backend
        config = backend._client._client.meta.config
        with statekeep.connect(url, ttl=1, value_cache=7) as keep:
            backend = keep.checkpoints.backend
            assert backend._settings.known_values._limit == 7
    assert (config.read_timeout, config.connect_timeout, config.max_pool_connections) == (2, 1, 4)
    said = [record.message for record in caplog.records if record.name == "statekeep.aws"]
    why = "events live as long as the memory's eventExpiryDuration; items have it"
    assert f"ttl of checkpoints has no effect with agentcore://: {why}" in said
    assert sorted(text.split()[0] for text in said) == [
        "client_name",
        "db",
        "deadline",
        "pool_timeout",
        "ttl",
    ]


def test_options_of_items_in_agentcore() -> None:
    url = "agentcore://notes-Ab12Cd34Ef?region=us-west-2"
    with statekeep.connect(url, hierarchical_search=False, index={"fields": ["text"]}, renewal=60) as keep:
        backend: Any = keep.items.backend
        assert (backend.hierarchical_search, backend.text_paths) == (False, ("text",))
    with pytest.raises(InvalidInput, match="half of the life") as caught:
        statekeep.connect(url, renewal=86_400, event_expiry_days=1)
    assert caught.value.field == "renewal"


def test_timeouts_in_a_config_of_the_user_win() -> None:
    config = botocore.config.Config(read_timeout=9)
    url = "agentcore://notes-Ab12Cd34Ef?region=us-west-2"
    with statekeep.connect(url, request_timeout=2, connect_timeout=1, config=config) as keep:
        backend: Any = keep.checkpoints.backend
        merged = backend._client._client.meta.config
    assert (merged.read_timeout, merged.connect_timeout) == (9, 1)


@pytest.mark.parametrize(
    ("url", "field"),
    [
        ("memory:?pool_sise=4", "pool_sise"),
        ("memory:?pool_size=x", "pool_size"),
        ("memory:?pool_size", "url"),
        ("memory:there", "url"),
        ("embedded:?pool_sise=4", "pool_sise"),
        ("embedded:?client=glid", "client"),
        ("embedded:?client", "url"),
        ("embedded:/tmp/x?client=glid", "client"),
        ("embedded://u:p@h", "url"),
        ("embedded://h/data", "url"),
        ("embedded://", "url"),
        ("EMBEDDED://h", "url"),
    ],
)
@pytest.mark.parametrize(
    "open_url",
    [
        statekeep.connect,
        statekeep.aconnect,
        ValkeySaver.from_conn_string,
        AsyncValkeySaver.from_conn_string,
        ValkeyStore.from_conn_string,
        AsyncValkeyStore.from_conn_string,
        ValkeyCache.from_conn_string,
    ],
    ids=lambda opener: opener.__qualname__,
)
def test_parameters_of_local_urls(open_url: Callable[[str], object], url: str, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        open_url(url)
    assert caught.value.field == field
    assert "u:p" not in str(caught.value)


def test_a_server_that_cannot_be_reached_is_no_news_later() -> None:
    with pytest.raises(statekeep.Unavailable) as caught:
        statekeep.connect("valkey://127.0.0.1:1", deadline=0, check=True)
    assert caught.value.operation == "ping"
    for open_url in (ValkeySaver.from_conn_string, ValkeyStore.from_conn_string, ValkeyCache.from_conn_string):
        with pytest.raises(statekeep.Unavailable):
            open_url("valkey://127.0.0.1:1", deadline=0, check=True)


@pytest.mark.anyio
async def test_event_loops_check_when_they_enter() -> None:
    for made in (
        statekeep.aconnect("valkey://127.0.0.1:1", deadline=0, check=True),
        AsyncValkeySaver.from_conn_string("valkey://127.0.0.1:1", deadline=0, check=True),
        AsyncValkeyStore.from_conn_string("valkey://127.0.0.1:1", deadline=0, check=True),
    ):
        with pytest.raises(statekeep.Unavailable) as caught:
            async with made:
                pytest.fail("there is no server")
        assert caught.value.operation == "ping"
        with pytest.raises(statekeep.ClientClosed, match="closed"):
            await (made.ping() if isinstance(made, statekeep.AsyncConnection) else made.aping())


def test_savers_stores_and_caches_in_memory() -> None:
    config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    index: Any = {"dims": 2, "embed": lambda texts: [[float(len(text)), 1.0] for text in texts]}
    with ValkeySaver.from_conn_string("memory:", ttl_seconds=60, pool_size=3, check=True) as saver:
        saver.put(config, empty_checkpoint(), {}, {})
        assert saver.get_tuple(config)
        assert saver.ttl == 60
        assert saver.ping() >= 0
    with ValkeyStore.from_conn_string("memory:?pool_size=3", index=index, ttl={"default_ttl": 1.0}) as store:
        store.put(("a",), "k", {"text": "x"})
        assert [item.key for item in store.search(("a",), query="x")] == ["k"]
        assert store.dims == 2
    with ValkeyCache[int].from_conn_string("memory:", ttl_seconds=60) as cache:
        cache.set({(("a",), "k"): (1, None)})
        assert cache.get([(("a",), "k")]) == {(("a",), "k"): 1}
        assert cache.ttl == 60


@pytest.mark.anyio
async def test_savers_and_stores_in_memory_in_event_loops() -> None:
    config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    async with AsyncValkeySaver.from_conn_string("memory:", check=True) as saver:
        await saver.aput(config, empty_checkpoint(), {}, {})
        assert await saver.aget_tuple(config)
        assert await saver.aping() >= 0
        with pytest.raises(statekeep.WrongEventLoop):
            saver.ping()
    async with AsyncValkeyStore.from_conn_string("memory:") as store:
        await store.aput(("a",), "k", {"text": "x"})
        assert await store.aget(("a",), "k")
