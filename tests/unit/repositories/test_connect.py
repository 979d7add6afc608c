"""Options of `connect`: type checkers know them, and a wrong one is refused at run time."""

from __future__ import annotations

import inspect
from typing import Any, get_args, get_type_hints

import pytest

import statekeep
from statekeep import InvalidInput
from statekeep.repositories.agentcore.backend import AgentCoreCheckpoints
from statekeep.repositories.aws import AwsSettings
from statekeep.repositories.options import ConnectOptions, Driver, ValkeyOptions
from statekeep.repositories.valkey import client_from_url, open_client
from statekeep.repositories.valkey.client.url import PARAMETERS

URL = "valkey://localhost:1"


def test_a_misspelt_option() -> None:
    with pytest.raises(InvalidInput, match=r"pool_sise.*known are.*pool_size") as caught:
        statekeep.connect(URL, pool_sise=3)  # type: ignore[call-arg]
    assert caught.value.field == "pool_sise"
    with pytest.raises(InvalidInput, match="pool_sise"):
        statekeep.aconnect(URL, pool_sise=3)  # type: ignore[call-arg]
    with pytest.raises(InvalidInput, match="memory: takes no pool_sise"):
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
    of_agentcore = {*inspect.signature(AgentCoreCheckpoints).parameters, *AwsSettings.model_fields}
    assert set(get_type_hints(ValkeyOptions)) == set(PARAMETERS)
    assert set(get_type_hints(ConnectOptions)) == set(PARAMETERS) | (of_agentcore - {"memory_id"})
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
