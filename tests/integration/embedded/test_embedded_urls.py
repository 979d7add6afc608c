"""URLs of embedded servers: a directory, and parameters behind it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import statekeep
from statekeep.repositories.valkey import open_client
from statekeep.repositories.valkey.client.url_client import UrlClient
from statekeep.repositories.valkey.requests import Ask


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("driver", ["glide", "valkey-py"])
@pytest.mark.parametrize(
    "url", ["embedded:", "embedded:data", "EMBEDDED:data", "embedded:{}/data", "embedded://{}/data"]
)
def test_parameters_are_no_part_of_the_directory(url: str, driver: str, here: Path) -> None:
    client = open_client(url.format(here) + f"?client={driver}&client_name=me&db=3&pool_size=2")
    try:
        assert isinstance(client, UrlClient)
        assert client._name == driver
        assert b" name=me " in client.execute(Ask(["CLIENT", "INFO"]))
        assert b" db=3 " in client.execute(Ask(["CLIENT", "INFO"]))
        assert os.listdir(here) == ([] if url == "embedded:" else ["data"])
    finally:
        client.close()


def test_names_of_directories_stand_literally(here: Path) -> None:
    with statekeep.connect("embedded:100%25 &=#") as keep:
        keep.items.put(("n",), "k", 1)
    assert os.listdir(here) == ["100%25 &=#"]


def test_options_of_other_servers_mean_nothing(here: Path) -> None:
    options: Any = {"username": "ada", "password": "secret", "ssl_cert_reqs": "none", "tls_ca_certs": os.devnull}
    with statekeep.connect("embedded:", ttl=60, **options) as keep:
        keep.items.put(("n",), "k", 1)
        assert keep.ping() > 0
