"""Credentials of a provider, which change under way."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import boto3
import pytest
import valkey

import statekeep
from statekeep import AccessDenied, InvalidInput
from statekeep.langgraph_shim import ValkeySaver
from statekeep.repositories.valkey import IamCredentials, client_from_url
from statekeep.repositories.valkey.client.url import target
from statekeep.repositories.valkey.requests import Ask, Commands
from statekeep.testing.servers import ValkeyCluster, ValkeyServer

pytestmark = pytest.mark.anyio

GET = Commands([["GET", "{users}"]])
DRIVERS = ["glide", "valkey-py"]
KINDS = ["standalone", "cluster"]


class Users:
    """A server whose only user for clients gets new names and passwords."""

    def __init__(self, server: ValkeyServer | ValkeyCluster) -> None:
        self.url = server.url
        self._nodes = list(server.nodes.values()) if isinstance(server, ValkeyCluster) else [server]
        self._number = 0
        self.asked = 0
        self.error: Exception | None = None
        self.rotate()

    def rotate(self) -> None:
        """Give the user another password, and every second time another name."""
        before = f"user-{self._number // 2}"
        self._number += 1
        self.user, self.password = f"user-{self._number // 2}", f"secret-{self._number}"
        words = ["resetpass", f">{self.password}", "allkeys", "allchannels", "+@all"]
        for node in self._nodes:
            with node.client() as client:
                client.execute_command("ACL", "SETUSER", before, "resetpass")
                client.execute_command("ACL", "SETUSER", self.user, "on", *words)

    def end_connections(self) -> None:
        for node in self._nodes:
            with node.client() as client:
                for entry in client.client_list():
                    if entry["user"].startswith("user-"):
                        client.execute_command("CLIENT", "KILL", "ID", entry["id"])

    def connections(self) -> set[str]:
        return {entry["id"] for node in self._nodes for entry in self._listed(node)}

    @staticmethod
    def _listed(node: ValkeyServer) -> list[dict[str, str]]:
        with node.client() as client:
            listed: list[dict[str, str]] = client.client_list()
        return [entry for entry in listed if entry["user"].startswith("user-")]

    def blocking(self) -> tuple[str, str]:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return self.user, self.password

    async def awaiting(self) -> tuple[str, str]:
        await asyncio.sleep(0)
        return self.blocking()

    def get_credentials(self) -> tuple[str, str]:
        return self.blocking()


@pytest.fixture(params=KINDS)
def users(request: pytest.FixtureRequest) -> Iterator[Users]:
    kind: Any = {"standalone": ValkeyServer, "cluster": ValkeyCluster}[request.param]
    with kind() as server:
        yield Users(server)


def open_client(users: Users, driver: Any, provider: Any) -> Any:
    return client_from_url(users.url, client=driver, credential_provider=provider, request_timeout=0.5, deadline=8)


def asking(client: Any) -> list[Callable[[], Awaitable[Any]]]:
    """Both ways to ask."""
    return [lambda: asyncio.to_thread(client.execute, GET), lambda: client.aexecute(GET)]


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize(("provider", "face"), [("awaiting", "blocking"), ("blocking", "async"), ("awaiting", "async")])
async def test_new_connections_have_new_credentials(users: Users, driver: str, provider: str, face: str) -> None:
    client = open_client(users, driver, getattr(users, provider))

    async def get() -> Any:
        return await (client.aexecute(GET) if face == "async" else asyncio.to_thread(client.execute, GET))

    try:
        for _ in range(3):
            assert await get() == [None]
            before, asked = await asyncio.to_thread(users.connections), users.asked
            await asyncio.to_thread(users.rotate)
            assert await get() == [None]
            assert users.asked == asked  # the connection goes on
            assert await asyncio.to_thread(users.connections) == before
            await asyncio.to_thread(users.end_connections)
            assert await get() == [None]
            assert users.asked > asked
    finally:
        await client.aclose()


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a_provider_that_fails(users: Users, driver: str) -> None:
    users.error = KeyError("hunter2")
    client = open_client(users, driver, users.blocking)
    for ask in asking(client):
        with pytest.raises(AccessDenied, match=r"credential provider failed.*raised KeyError") as caught:
            await ask()
        assert "hunter2" not in str(caught.value)
        assert users.error in _chain(caught.value)
    users.error = None
    assert await asyncio.to_thread(client.execute, GET) == [None]
    assert await client.aexecute(GET) == [None]
    await client.aclose()


def _chain(error: BaseException | None) -> list[BaseException]:
    found = []
    while error is not None:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize(
    "wrong", [None, "secret-1", (), ("u", "p", "q"), ("u", None), (1, "p"), ("u", ""), ("u", b"p")]
)
async def test_what_is_no_pair_of_credentials(driver: Any, wrong: Any, valkey_server: ValkeyServer) -> None:
    client = client_from_url(valkey_server.url, client=driver, credential_provider=lambda: wrong)
    for ask in asking(client):
        with pytest.raises(AccessDenied, match=r"credential provider failed.*pair") as caught:
            await ask()
        assert "secret-1" not in "".join(traceback.format_exception(caught.value))
    await client.aclose()


@pytest.mark.parametrize("driver", DRIVERS)
async def test_credentials_that_the_server_refuses(users: Users, driver: str) -> None:
    client = open_client(users, driver, lambda: (users.user, "hunter2"))
    for ask in asking(client):
        with pytest.raises(AccessDenied) as caught:
            await ask()
        assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    await client.aclose()


@pytest.mark.parametrize("driver", DRIVERS)
async def test_the_password_of_the_default_user(driver: Any) -> None:
    with ValkeyServer(requirepass="right") as server:
        url = f"valkey://127.0.0.1:{server.port}"
        for found in ((None, "right"), ("", "right"), ("right",), ["default", "right"]):
            client = client_from_url(url, client=driver, credential_provider=lambda found=found: found)
            assert client.execute(GET) == [None]
            assert await client.aexecute(GET) == [None]
            await client.aclose()


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a_provider_of_valkey_py(users: Users, driver: Any) -> None:
    class Provider(valkey.CredentialProvider):
        def get_credentials(self) -> tuple[str, str]:
            return users.blocking()

    saver = ValkeySaver.from_conn_string(users.url, client=driver, credential_provider=Provider(), check=True)
    assert saver.ping() > 0
    await saver.aclose()


@pytest.mark.parametrize("driver", DRIVERS)
async def test_tokens_of_iam(driver: Any, valkey_server: ValkeyServer) -> None:
    session = boto3.Session(aws_access_key_id="AKIA", aws_secret_access_key="hunter2", aws_session_token="x" * 900)
    sign = IamCredentials("user-iam", "notes", region_name="us-west-2", session=session)
    tokens = []

    def provider() -> tuple[str, str]:
        user, token = sign()
        with valkey_server.client() as raw:  # as AWS does, it takes what was signed last
            raw.execute_command("ACL", "SETUSER", user, "on", "resetpass", f">{token}", "allkeys", "+@all")
        tokens.append(token)
        return user, token

    with statekeep.connect(valkey_server.url, client=driver, credential_provider=provider, check=True) as keep:
        assert keep.items.get(("n",), "k") is None
    assert tokens


async def test_many_tasks_ask_once_for_a_client_of_glide(valkey_server: ValkeyServer) -> None:
    users = Users(valkey_server)
    client = open_client(users, "glide", users.awaiting)
    assert await asyncio.gather(*(client.aexecute(GET) for _ in range(50))) == [[None]] * 50
    assert users.asked == 1
    await client.aclose()


async def test_each_connection_of_valkey_py_asks(valkey_server: ValkeyServer) -> None:
    users = Users(valkey_server)
    client = client_from_url(valkey_server.url, credential_provider=users.blocking, pool_size=2)
    assert client._name == "valkey-py"  # type: ignore[attr-defined]
    waiting = [asyncio.to_thread(client.execute, Ask(["BLPOP", f"nothing-{number}", "0.3"])) for number in range(2)]
    await asyncio.gather(*waiting)
    assert users.asked == 2
    await client.aclose()


def test_the_options() -> None:
    for name in ("username", "password"):
        with pytest.raises(InvalidInput, match="credential_provider") as caught:
            target("valkey://h", {"credential_provider": lambda: ("u", "p"), name: "x"})
        assert caught.value.field == name
    for wrong in ("text", 5, ("u", "p")):
        with pytest.raises(InvalidInput) as caught:
            target("valkey://h", {"credential_provider": wrong})
        assert caught.value.field == "credential_provider"
    with pytest.raises(InvalidInput):
        target("valkey://h?credential_provider=x")
    found = target("valkey://h", {"credential_provider": lambda: ("u", "hunter2")})
    assert "credential_provider=...," in repr(found)
    statekeep.connect("memory:", credential_provider=lambda: ("u", "p")).close()
    with statekeep.connect("embedded:", credential_provider=lambda: ("u", "p")) as keep:
        assert keep.ping() > 0
