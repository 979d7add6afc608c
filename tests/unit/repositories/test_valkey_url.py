"""URLs of Valkey servers."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from statekeep.domain import InvalidInput, MissingDependency
from statekeep.repositories.valkey.client import url_client as opened
from statekeep.repositories.valkey.client.factory import client_from_url
from statekeep.repositories.valkey.client.url import PARAMETERS, SCHEMES, Target, target


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
        ("valkeys://h?ssl_cert_reqs=optional", {}, "ssl_cert_reqs"),
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
        assert opened.installed_driver(wanted, cluster=False) == chosen
        client_from_url("valkey://h", client=wanted)
        return
    with pytest.raises(MissingDependency) as caught:
        opened.installed_driver(wanted, cluster=False)
    assert (caught.value.package, caught.value.extra) == chosen


@pytest.mark.parametrize(
    ("installed", "chosen"),
    [({"glide", "glide_sync", "valkey", "libvalkey"}, "glide"), ({"valkey", "libvalkey"}, "valkey-py")],
)
def test_the_driver_of_a_cluster(installed: set[str], chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if name in installed else None)
    assert opened.installed_driver(None, cluster=True) == chosen
