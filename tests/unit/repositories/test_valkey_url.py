"""URLs of Valkey servers."""

from __future__ import annotations

import importlib.util
import inspect
import logging
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
import valkey.asyncio.cluster
import valkey.cluster

from statekeep.domain import InvalidInput, MissingDependency, Unsupported
from statekeep.repositories.valkey.client import url_client as opened
from statekeep.repositories.valkey.client.factory import client_from_url
from statekeep.repositories.valkey.client.url import PARAMETERS, SCHEMES, Target, target
from statekeep.repositories.valkey.client.valkey_py_options import REFUSED, WITHOUT_EFFECT
from tests.notices import all_notices


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("valkey://", {"addresses": (("localhost", 6379),)}),
        ("valkey://h", {"addresses": (("h", 6379),)}),
        ("valkey://h/", {"addresses": (("h", 6379),)}),
        ("redis://h:1/2", {"addresses": (("h", 1),), "database": 2}),
        ("valkey://h:65535?db=0", {"addresses": (("h", 65535),)}),
        ("valkey://h/3?db=3", {"addresses": (("h", 6379),), "database": 3}),
        ("valkeys://h", {"addresses": (("h", 6379),), "tls": True}),
        ("rediss://h", {"addresses": (("h", 6379),), "tls": True}),
        ("valkey+cluster://a,b:7", {"addresses": (("a", 6379), ("b", 7)), "cluster": True}),
        ("valkeys+cluster://a/0", {"addresses": (("a", 6379),), "cluster": True, "tls": True}),
        ("valkey://[::1]:7", {"addresses": (("::1", 7),)}),
        ("valkey+cluster://[::1],[fe80::1]:8", {"addresses": (("::1", 6379), ("fe80::1", 8)), "cluster": True}),
        ("unix:///tmp/a%20b.sock", {"unix_socket": "/tmp/a b.sock"}),
        ("unix://u:p@/tmp/s?db=4", {"unix_socket": "/tmp/s", "database": 4, "username": "u", "password": "p"}),
        ("valkey+unix:///tmp/s", {"unix_socket": "/tmp/s"}),
        ("valkey://:p@h", {"addresses": (("h", 6379),), "password": "p"}),
        ("valkey://u:p%40%2F%3A%25@h", {"addresses": (("h", 6379),), "username": "u", "password": "p@/:%"}),
        ("valkey://u:a@b@h", {"addresses": (("h", 6379),), "username": "u", "password": "a@b"}),
        ("valkey://h?username=u&password=p", {"addresses": (("h", 6379),), "username": "u", "password": "p"}),
        ("valkey://h?client=glide", {"addresses": (("h", 6379),), "client": "glide"}),
        ("valkey://h?client=valkey-py&client_name=x",
         {"addresses": (("h", 6379),), "client": "valkey-py", "client_name": "x"}),
        ("valkey://h?pool_size=3&deadline=0", {"addresses": (("h", 6379),), "pool_size": 3, "deadline": 0.0}),
        ("valkey://h?max_connections=3", {"addresses": (("h", 6379),), "pool_size": 3}),
        ("valkey://h?request_timeout=.5&connect_timeout=1e1",
         {"addresses": (("h", 6379),), "request_timeout": 0.5, "connect_timeout": 10.0}),
        ("valkey://h?socket_timeout=2&socket_connect_timeout=3",
         {"addresses": (("h", 6379),), "request_timeout": 2.0, "connect_timeout": 3.0}),
        ("valkeys://h?tls_insecure=true", {"addresses": (("h", 6379),), "tls": True, "tls_insecure": True}),
        ("valkeys://h?ssl_cert_reqs=none", {"addresses": (("h", 6379),), "tls": True, "tls_insecure": True}),
        ("valkeys://h?ssl_cert_reqs=required", {"addresses": (("h", 6379),), "tls": True}),
        ("valkeys://h?ssl_cert_reqs=optional", {"addresses": (("h", 6379),), "tls": True}),
        ("valkeys://h?ssl=1&ssl_check_hostname=no",
         {"addresses": (("h", 6379),), "tls": True, "tls_check_hostname": False}),
        ("valkeys://h?ssl_min_version=TLSv1_3",
         {"addresses": (("h", 6379),), "tls": True, "tls_min_version": ssl.TLSVersion.TLSv1_3}),
        ("valkey://h?socket_keepalive=True&timeout=7",
         {"addresses": (("h", 6379),), "keepalive": True, "pool_timeout": 7.0}),
    ],
)  # fmt: skip
def test_urls(url: str, expected: dict[str, Any]) -> None:
    assert target(url) == Target(**expected)


def test_keywords_and_files(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("ca", "cert", "key")]
    for file in files:
        file.write_text("x")
    ca, cert, key = map(str, files)
    ours = target("valkeys://h", {"tls_ca_certs": ca, "tls_cert": cert, "tls_key": key, "db": None})
    theirs = target(f"valkeys://h?ssl_ca_certs={ca}&ssl_certfile={cert}", {"ssl_keyfile": key})
    assert ours == theirs == Target(
        addresses=(("h", 6379),), tls=True, tls_ca_certs=ca, tls_cert=cert, tls_key=key
    )  # fmt: skip


@pytest.mark.parametrize(
    ("url", "keywords", "field"),
    [
        ("http://h", {}, "url"),
        ("h:6379", {}, "url"),
        ("valkey:h", {}, "url"),
        ("", {}, "url"),
        ("valkey://h:0", {}, "url"),
        ("valkey://h:65536", {}, "url"),
        ("valkey://h:x", {}, "url"),
        ("valkey://h:", {}, "url"),
        ("valkey://h:1:2", {}, "url"),
        ("valkey://::1", {}, "url"),
        ("valkey://[::1", {}, "url"),
        ("valkey://[::1]x", {}, "url"),
        ("valkey://a,b", {}, "url"),
        ("valkey://h#x", {}, "url"),
        ("valkey://h/x", {}, "db"),
        ("valkey://h/-1", {}, "db"),
        ("valkey://h/1?db=2", {}, "db"),
        ("valkey://h/1", {"db": 2}, "db"),
        ("valkey+cluster://h/1", {}, "db"),
        ("valkey+cluster://h", {"db": 1}, "db"),
        ("unix://host/path", {}, "url"),
        ("unix://", {}, "url"),
        ("unix:///s?tls_insecure=1", {}, "tls_insecure"),
        ("valkey+cluster+unix:///s", {}, "url"),
        ("valkeys+unix:///s", {}, "url"),
        ("valkey://u@h", {}, "password"),
        ("valkey://h?nonsense=1", {}, "nonsense"),
        ("valkey://h", {"nonsense": 1}, "nonsense"),
        ("valkey://h?db", {}, "url"),
        ("valkey://h?db=", {}, "db"),
        ("valkey://h?db=1.0", {}, "db"),
        ("valkey://h?db=%D9%A1", {}, "db"),
        ("valkey://h", {"db": True}, "db"),
        ("valkey://h?pool_size=0", {}, "pool_size"),
        ("valkey://h?pool_size=2&max_connections=3", {}, "max_connections"),
        ("valkey://h?pool_size=2", {"pool_size": 3}, "pool_size"),
        ("valkey://h?deadline=-1", {}, "deadline"),
        ("valkey://h?deadline=nan", {}, "deadline"),
        ("valkey://h?deadline=inf", {}, "deadline"),
        ("valkey://h?request_timeout=0", {}, "request_timeout"),
        ("valkey://h?connect_timeout=soon", {}, "connect_timeout"),
        ("valkey://h", {"request_timeout": True}, "request_timeout"),
        ("valkey://h", {"request_timeout": [1]}, "request_timeout"),
        ("valkey://h?client=redis", {}, "client"),
        ("valkey://h?client=glide", {"client": "valkey-py"}, "client"),
        ("valkey://h?client_name=a%20b", {}, "client_name"),
        ("valkey://h", {"username": ""}, "username"),
        ("valkey://h", {"password": 1}, "password"),
        ("valkeys://h?tls_insecure=perhaps", {}, "tls_insecure"),
        ("valkeys://h?ssl_cert_reqs=perhaps", {}, "ssl_cert_reqs"),
        ("valkeys://h", {"ssl_cert_reqs": 7}, "ssl_cert_reqs"),
        ("valkeys://h", {"ssl": False}, "ssl"),
        ("valkey://h", {"ssl": True}, "ssl"),
        ("valkey://h?ssl_ciphers=HIGH", {}, "ssl_ciphers"),
        ("valkey://h?ssl_check_hostname=no", {}, "ssl_check_hostname"),
        ("valkeys://h?ssl_ciphers=nonsense", {}, "ssl_ciphers"),
        ("valkeys://h", {"ssl_min_version": "SSLv3"}, "ssl_min_version"),
        ("valkeys://h", {"ssl_min_version": [1]}, "ssl_min_version"),
        ("valkeys://h", {"ssl_ca_data": "no certificate"}, "ssl_ca_data"),
        ("valkeys://h", {"ssl_ca_data": b"no certificate"}, "ssl_ca_data"),
        ("valkeys://h", {"ssl_ca_data": 5}, "ssl_ca_data"),
        ("valkeys://h", {"ssl_ca_path": "/no/such/folder"}, "ssl_ca_path"),
        ("valkey://h", {"socket_keepalive": "perhaps"}, "socket_keepalive"),
        ("valkey://h", {"socket_keepalive_options": [1]}, "socket_keepalive_options"),
        ("valkey://h", {"timeout": 0}, "timeout"),
        ("valkeys://h?tls_ca_certs=/no/such/file", {}, "tls_ca_certs"),
        ("valkeys://h?tls_cert=/dev/null", {}, "tls_key"),
        ("valkeys://h?tls_key=/dev/null", {}, "tls_cert"),
        ("valkey://h?tls_ca_certs=/dev/null", {}, "tls_ca_certs"),
    ],
)
def test_bad_input_names_the_field(url: str, keywords: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        target(url, keywords)
    assert caught.value.field == field
    assert str(caught.value)


@pytest.mark.parametrize("url", [None, b"valkey://h", 1])
def test_a_url_is_text(url: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        target(url)
    assert caught.value.field == "url"


SECRETS = ["s3cret", "s3/cret", "s3#cret", "s3?cret", "s3[cret", "s3]cret", "s3:cret", "s3,cret", "s3%cret", "s3@cret"]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(
    "form", ["{s}://u:{p}@h:1/2", "{s}://u:{p}@h:x", "{s}://:{p}@h/x", "{s}://{p}@h", "{s}://h:1?x=1&password={p}"]
)
@pytest.mark.parametrize("scheme", [*SCHEMES, "nonsense"])
def test_no_message_and_no_repr_shows_a_password(scheme: str, form: str, secret: str) -> None:
    url = form.format(s=scheme, p=secret)
    shown: list[object] = []
    try:
        found = target(url)
        shown = [repr(found), str(found)]
    except InvalidInput as error:
        # A traceback shows causes and contexts as well.
        shown = [str(error), repr(error), error.__cause__, None if error.__suppress_context__ else error.__context__]
    assert "cret" not in repr(shown)


def test_an_address_can_be_shown() -> None:
    assert str(target("valkey+cluster://u:p@a,[::1]:7")) == "a:6379,[::1]:7"
    assert str(target("unix://u:p@/tmp/s")) == "/tmp/s"


def test_one_attempt_is_no_longer_than_the_deadline() -> None:
    assert target("valkey://h?deadline=1&request_timeout=5").attempt == 1
    assert target("valkey://h?deadline=9&request_timeout=5").attempt == 5
    assert target("valkey://h?deadline=0&request_timeout=5").attempt == 5


def test_all_parameters_are_attributes() -> None:
    names = {attribute.name for attribute in Target.__attrs_attrs__}
    assert {attribute for attribute, _ in PARAMETERS.values()} <= names


@pytest.mark.parametrize(
    ("installed", "wanted", "chosen"),
    [
        ({"glide", "glide_sync", "valkey", "libvalkey"}, None, "valkey-py"),
        ({"glide", "glide_sync", "valkey"}, None, "glide"),
        ({"glide_sync", "libvalkey"}, None, "glide"),
        ({"glide"}, "glide", "glide"),
        ({"glide", "glide_sync", "valkey", "libvalkey"}, "glide", "glide"),
        ({"valkey"}, None, "valkey-py"),
        ({"glide", "glide_sync", "valkey"}, "valkey-py", "valkey-py"),
        (set(), None, ("valkey-glide", "valkey")),
        ({"libvalkey"}, None, ("valkey-glide", "valkey")),
        ({"valkey"}, "glide", ("valkey-glide", "valkey")),
        ({"glide", "glide_sync"}, "valkey-py", ("valkey", "valkey-py")),
    ],
)
def test_the_installed_driver_is_chosen(
    installed: set[str], wanted: Any, chosen: str | tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if name in installed else None)
    if isinstance(chosen, str):
        assert opened.driver_for(target("valkey://h", {"client": wanted})) == chosen
        client_from_url("valkey://h", client=wanted)
        return
    with pytest.raises(MissingDependency) as caught:
        opened.driver_for(target("valkey://h", {"client": wanted}))
    assert (caught.value.package, caught.value.extra) == chosen


@pytest.mark.parametrize(
    ("installed", "chosen"),
    [({"glide", "glide_sync", "valkey", "libvalkey"}, "glide"), ({"valkey", "libvalkey"}, "valkey-py")],
)
def test_the_driver_of_a_cluster(installed: set[str], chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if name in installed else None)
    assert opened.driver_for(target("valkey+cluster://h")) == chosen


@pytest.mark.parametrize("url", ["valkey://h", "valkey+cluster://h"])
@pytest.mark.parametrize(
    ("installed", "chosen"),
    [
        ({"glide", "valkey", "libvalkey"}, ("valkey-py", "glide")),
        ({"glide", "valkey"}, ("glide", "glide")),
        ({"glide"}, ("glide", "glide")),
        ({"valkey"}, ("valkey-py", "valkey-py")),
    ],
)
def test_the_choice_is_logged_once(
    url: str,
    installed: set[str],
    chosen: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if name in installed else None)
    caplog.set_level(logging.INFO, "statekeep.valkey")
    with all_notices():
        for _ in range(3):
            client_from_url(url)
    [record] = caplog.records
    kind = "a cluster" if "cluster" in url else "one server"
    assert record.levelno == logging.INFO
    assert record.message.startswith(f"{chosen['cluster' in url]} is the client of a URL of {kind}: ")
    missing = {"valkey": "valkey-py is not", "glide": "valkey-glide is not", "libvalkey": "libvalkey, with"}
    if chosen == ("glide", "glide") and "cluster" not in url:
        assert any(text in record.message for name, text in missing.items() if name not in installed)


@pytest.mark.parametrize(
    "option", [{"ssl_check_hostname": False}, {"ssl_min_version": "TLSv1_3"}, {"ssl_ciphers": "HIGH"}]
)
@pytest.mark.parametrize("scheme", ["valkeys", "valkeys+cluster"])
def test_what_glide_cannot_do_takes_valkey_py(
    option: dict[str, Any], scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert opened.driver_for(target(f"{scheme}://h", option)) == "valkey-py"
    with pytest.raises(InvalidInput, match="glide cannot") as caught:
        client_from_url(f"{scheme}://h", client="glide", **option)
    assert caught.value.field == next(iter(option))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if name == "glide" else None)
    with pytest.raises(MissingDependency):
        client_from_url(f"{scheme}://h", **option)


def test_certificates_of_a_folder(tmp_path: Path) -> None:
    one, other = trustme.CA().cert_pem.bytes().decode(), trustme.CA().cert_pem.bytes().decode()
    (tmp_path / "a.pem").write_text(one)
    (tmp_path / "b.0").write_text(other)
    (tmp_path / "README").write_text("not a certificate")
    assert target("valkeys://h", {"ssl_ca_path": tmp_path}).tls_ca_data == f"{one}\n{other}"
    assert target("valkeys://h", {"ssl_ca_data": one}).tls_ca_data == one
    (tmp_path / "b.0").unlink()
    (tmp_path / "a.pem").unlink()
    with pytest.raises(InvalidInput):
        target("valkeys://h", {"ssl_ca_path": tmp_path})


ACCEPTED_BY_FROM_URL = {
    name
    for callee in (
        valkey.connection.AbstractConnection,
        valkey.Connection,
        valkey.SSLConnection,
        valkey.UnixDomainSocketConnection,
        valkey.ConnectionPool,
        valkey.BlockingConnectionPool,
        valkey.Valkey,
        valkey.cluster.ValkeyCluster,
        valkey.asyncio.connection.AbstractConnection,
        valkey.asyncio.Connection,
        valkey.asyncio.SSLConnection,
        valkey.asyncio.UnixDomainSocketConnection,
        valkey.asyncio.ConnectionPool,
        valkey.asyncio.BlockingConnectionPool,
        valkey.asyncio.Valkey,
        valkey.asyncio.cluster.ValkeyCluster,
    )
    for name, parameter in inspect.signature(callee.__init__).parameters.items()
    if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
} - {"self", "url", "credential_provider"}


def test_every_option_of_valkey_py_is_known() -> None:
    assert {*PARAMETERS, *WITHOUT_EFFECT, *REFUSED, "connection_kwargs"} >= ACCEPTED_BY_FROM_URL


@pytest.mark.parametrize("name", sorted(WITHOUT_EFFECT))
def test_options_without_effect_are_logged_once(name: str, caplog: pytest.LogCaptureFixture) -> None:
    other = object()
    with all_notices():
        for value in (other, other, *WITHOUT_EFFECT[name][1]):
            assert target("valkey://h", {name: value}) == Target(addresses=(("h", 6379),))
        assert target(f"valkey+cluster://h?{name}=something") == target("valkey+cluster://h")
    [record] = caplog.records
    assert (record.name, record.levelno) == ("statekeep.valkey", logging.WARNING)
    assert record.message.startswith(f"{name} has no effect: ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("retry_on_timeout", True),
        ("decode_responses", False),
        ("protocol", 3),
        ("protocol", "2"),
        ("health_check_interval", 0),
        ("encoding", "UTF-8"),
        ("ssl_validate_ocsp", False),
        ("cache_enabled", False),
        ("retry", None),
        ("connection_class", None),
    ],
)
def test_what_asks_for_nothing_is_not_logged(name: str, value: Any, caplog: pytest.LogCaptureFixture) -> None:
    with all_notices():
        target("valkey://h", {name: value})
    assert not caplog.records


def test_no_check_of_certificates_must_be_said_in_full(caplog: pytest.LogCaptureFixture) -> None:
    with all_notices():
        assert not target("valkeys://h", {"ssl_cert_reqs": None}).tls_insecure
    assert [record.message for record in caplog.records] == [
        "ssl_cert_reqs=None has no effect: certificates are checked; 'none' would turn that off"
    ]


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_options_that_a_url_cannot_have(name: str) -> None:
    with pytest.raises(InvalidInput, match=f"{name} cannot be used with a URL: ") as caught:
        target("valkeys://h", {name: object()})
    assert caught.value.field == name


def test_a_platform_without_unix_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "AF_UNIX")
    with pytest.raises(Unsupported, match="valkey://host:port"):
        target("unix:///tmp/s")
