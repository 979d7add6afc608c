"""Signs of life, and connections that are checked when they are made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import statekeep
from statekeep import AccessDenied, Unavailable
from statekeep.langgraph_shim import (
    AsyncValkeySaver,
    AsyncValkeyStore,
    RepositoryCache,
    RepositorySaver,
    RepositoryStore,
    ValkeyCache,
    ValkeySaver,
    ValkeyStore,
)
from statekeep.testing.servers import ValkeyCluster, ValkeyServer

pytestmark = pytest.mark.anyio

DRIVERS = ["glide", "valkey-py"]
BLOCKING: tuple[Callable[..., Any], ...] = (
    statekeep.connect,
    ValkeySaver.from_conn_string,
    ValkeyStore.from_conn_string,
    ValkeyCache.from_conn_string,
)
AWAITING: tuple[Callable[..., Any], ...] = (
    statekeep.aconnect,
    AsyncValkeySaver.from_conn_string,
    AsyncValkeyStore.from_conn_string,
)


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("kind", ["standalone", "cluster"])
async def test_everything_that_is_made_from_a_url(
    kind: str, driver: Any, valkey_server: ValkeyServer, valkey_cluster: ValkeyCluster
) -> None:
    url = (valkey_cluster if kind == "cluster" else valkey_server).url
    for make in BLOCKING:
        with make(url, client=driver, check=True) as made:
            assert made.ping() > 0
    for make in AWAITING:
        async with make(url, client=driver, check=True) as made:
            assert await (made.ping() if make is statekeep.aconnect else made.aping()) > 0
    keep = statekeep.connect(url, client=driver)
    shims: tuple[Any, ...] = (
        RepositorySaver(keep.checkpoints),
        RepositoryStore(keep.items),
        RepositoryCache(keep.cache),
    )
    for shim in shims:
        assert shim.ping() > 0
        assert await shim.aping() > 0
    await shims[0].aclose()


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a_refused_password(driver: Any) -> None:
    with ValkeyServer(requirepass="right") as server:
        url = server.url.replace("right", "wrong")
        for make in BLOCKING:
            with pytest.raises(AccessDenied) as caught:
                make(url, client=driver, check=True)
            assert caught.value.operation == "ping"
            assert "wrong" not in str(caught.value).replace("WRONGPASS", "").replace("wrong or missing", "")
            made = make(url, client=driver)  # the first use would tell
            made.close()
        for make in AWAITING:
            with pytest.raises(AccessDenied):
                async with make(url, client=driver, check=True):
                    pytest.fail("the password is wrong")


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a_server_that_is_gone(driver: Any) -> None:
    with ValkeyServer() as server, statekeep.connect(server.url, client=driver, deadline=0.2) as keep:
        assert keep.ping() > 0
        server.kill()
        with pytest.raises(Unavailable) as caught:
            keep.items.ping()
        assert caught.value.operation == "ping"
        server.restart()
        assert keep.cache.ping() > 0


async def test_a_check_that_failed_leaves_no_connection() -> None:
    with ValkeyServer() as server, server.client() as raw:
        raw.execute_command("ACL", "SETUSER", "mute", "on", ">pw", "allkeys", "+@all", "-ping")
        with pytest.raises(AccessDenied):
            statekeep.connect(server.url.replace("://", "://mute:pw@"), client="valkey-py", check=True)
        assert [client["user"] for client in raw.client_list()] == ["default"]
