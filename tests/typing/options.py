"""The types of options of URLs. Read by mypy alone."""

from __future__ import annotations

import datetime as dt
from typing import assert_type

from valkey.credentials import UsernamePasswordCredentialProvider

import statekeep
from statekeep.langgraph_shim import AsyncValkeySaver, AsyncValkeyStore, ValkeyCache, ValkeySaver, ValkeyStore
from statekeep.repositories.checkpoints import AsyncCheckpointRepository, CheckpointRepository
from statekeep.repositories.valkey import IamCredentials

URL = "valkey://localhost:6379"


def savers() -> None:
    saver = ValkeySaver.from_conn_string(URL, ttl_seconds=60, pool_size=3, deadline=1.5, client="glide", check=True)
    assert_type(saver, ValkeySaver)
    assert_type(saver.ping(), float)
    assert_type(AsyncValkeySaver.from_conn_string(URL, retry_on_timeout=True, socket_timeout=1), AsyncValkeySaver)
    ValkeySaver.from_conn_string(URL, pool_sise=3)  # type: ignore[call-arg]
    ValkeySaver.from_conn_string(URL, pool_size="many")  # type: ignore[arg-type]
    ValkeySaver.from_conn_string(URL, client="glid")  # type: ignore[arg-type]
    ValkeySaver.from_conn_string(URL, connection_class=object)  # type: ignore[call-arg]
    AsyncValkeySaver.from_conn_string(URL, dead_line=1)  # type: ignore[call-arg]


def stores() -> None:
    assert_type(ValkeyStore.from_conn_string(URL, pool_size=3, pool_timeout=1.0, db=None), ValkeyStore)
    assert_type(AsyncValkeyStore.from_conn_string(URL, ssl_cert_reqs="none", check=True), AsyncValkeyStore)
    ValkeyStore.from_conn_string(URL, pool_time_out=1)  # type: ignore[call-arg]
    AsyncValkeyStore.from_conn_string(URL, ttl_seconds=1)  # type: ignore[call-arg]


def caches() -> None:
    assert_type(
        ValkeyCache[int].from_conn_string(URL, pool_size=3, username="ada", password="secret"), ValkeyCache[int]
    )
    ValkeyCache[int].from_conn_string(URL, user="ada")  # type: ignore[call-arg]


async def pings(blocking: CheckpointRepository, awaiting: AsyncCheckpointRepository) -> None:
    assert_type(statekeep.connect(URL, check=True, decode_responses=False).ping(), float)
    assert_type(await statekeep.aconnect(URL, check=True).ping(), float)
    assert_type(await AsyncValkeyStore.from_conn_string(URL).aping(), float)
    assert_type(blocking.ping(), float)
    assert_type(await awaiting.ping(), float)
    assert_type(blocking.now(), dt.datetime)
    assert_type(await awaiting.now(), dt.datetime)
    assert_type(await statekeep.connect(URL).asyncio.ping(), float)
    assert_type(statekeep.aconnect(URL).blocking.ping(), float)
    statekeep.connect(URL, check="yes")  # type: ignore[arg-type]
    statekeep.connect(URL, pool_sise=3)  # type: ignore[call-arg]


def providers() -> None:
    async def awaiting() -> tuple[str | None, str]:
        return None, "secret"

    statekeep.connect(URL, credential_provider=lambda: ("ada", "secret"))
    statekeep.connect(URL, credential_provider=awaiting)
    ValkeySaver.from_conn_string(URL, credential_provider=IamCredentials("ada", "cache"))
    ValkeySaver.from_conn_string(URL, credential_provider=UsernamePasswordCredentialProvider("ada", "secret"))
    statekeep.connect(URL, credential_provider=lambda: "secret")  # type: ignore[arg-type]
    statekeep.connect(URL, credential_provider="secret")  # type: ignore[arg-type]
