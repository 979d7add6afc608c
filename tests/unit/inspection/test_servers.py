"""Which servers there are, and what each says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from valkey.crc import key_slot

from statekeep.domain import AccessDenied, StatekeepError, Unavailable, Unsupported
from statekeep.inspection.doctor import Finding
from statekeep.inspection.doctor.general import compared, libraries
from statekeep.inspection.doctor.valkey import settings
from statekeep.inspection.doctor.valkey.settings import covered
from statekeep.inspection.valkey.servers import SLOTS, Server, is_silent, primaries, slot_of, text_of_slot


@pytest.mark.parametrize("text", ["", "0", "123456789", "users.ada"])
def test_slots_are_the_servers(text: str) -> None:
    assert slot_of(text) == key_slot(text.encode())


@pytest.mark.parametrize("slots", [(0, 0), (16383, 16383), (5000, 6000)])
def test_a_text_for_each_slot(slots: tuple[int, int]) -> None:
    assert slots[0] <= slot_of(text_of_slot([slots])) <= slots[1]


def test_primaries_with_several_ranges() -> None:
    a, b, c = [b"h", 1, b"a"], [b"", 2, b"b", [b"hostname", b"x"]], [b"h", 3, b"c"]
    found = primaries([[8000, 16383, a, c], [0, 99, a], [100, 7999, b]])
    assert [(server.name, server.slots, server.replicas) for server in found] == [("h:1", 8484, 1), ("b:2", 7900, 0)]
    assert sum(server.slots for server in found) == SLOTS
    info = {"cluster_state": "ok", "cluster_slots_ok": "16384"}
    assert covered(found, info).state == covered(found, {}).state == "ok"
    assert covered(found, info | {"cluster_slots_ok": "8484"}).state == "problem"
    assert covered(found, info | {"cluster_state": "fail"}).state == "problem"


@pytest.mark.parametrize("reply", [None, [[0, 1]], [[0, 1, []]], [["x", 1, [b"h", 1, b"a"]]], [[0, 1, [7, 1, b"a"]]]])
def test_other_answers_are_refused(reply: Any) -> None:
    with pytest.raises(StatekeepError):
        primaries(reply)


def test_slots_without_a_server() -> None:
    found = covered(primaries([[0, 99, [b"h", 1, b"a"]]]), {})
    assert found.state == "problem"
    assert "16284 of its 16384" in found.found


@pytest.mark.parametrize(
    ("error", "silent"),
    [
        (AccessDenied("no"), True),
        (Unsupported("unknown command"), True),
        (StatekeepError("ERR not in this service"), True),
        (Unavailable("away"), False),
    ],
)
def test_silence(error: StatekeepError, silent: bool) -> None:
    assert is_silent(error) is silent


GOOD = {
    "valkey_version": "8.1.0",
    "redis_version": "7.2.4",
    "role": "master",
    "loading": "0",
    "maxmemory_policy": "noeviction",
    "used_memory": "100",
    "maxmemory": "1000",
    "aof_enabled": "1",
    "aof_last_write_status": "ok",
    "rdb_last_bgsave_status": "ok",
    "connected_slaves": "1",
    "slave0": "ip=10.0.0.2,port=6379,state=online,offset=14,lag=0",
    "connected_clients": "3",
    "maxclients": "100",
    "rejected_connections": "0",
    "evicted_keys": "0",
}


def checked(changes: Mapping[str, str | None], given: Mapping[str, str] | None = None) -> dict[str, Finding]:
    info = {name: text for name, text in (GOOD | dict(changes)).items() if text is not None}
    settings_of = {"save": "", "appendfsync": "everysec"} if given is None else given
    return {finding.name: finding for finding in settings.checked([(Server(), info)], [settings_of], False)}


def test_a_good_server() -> None:
    assert {finding.state for finding in checked({}).values()} == {"ok"}


@pytest.mark.parametrize(
    ("name", "state", "changes"),
    [
        ("version", "problem", {"valkey_version": None, "redis_version": "6.2.14"}),
        ("version", "ok", {"valkey_version": None, "redis_version": "7.0.0"}),
        ("version", "unknown", {"valkey_version": None, "redis_version": "7.2.0", "dragonfly_version": "df-v1.2"}),
        ("version", "unknown", {"valkey_version": None, "redis_version": None}),
        ("role", "problem", {"role": "slave", "master_host": "h"}),
        ("role", "warning", {"loading": "1"}),
        ("eviction", "problem", {"maxmemory_policy": "volatile-ttl"}),
        ("eviction", "warning", {"evicted_keys": "7"}),
        ("eviction", "unknown", {"maxmemory_policy": None}),
        ("memory", "warning", {"used_memory": "800"}),
        ("memory", "problem", {"used_memory": "950"}),
        ("memory", "warning", {"maxmemory": "0"}),
        ("memory", "unknown", {"used_memory": None}),
        ("persistence", "problem", {"aof_last_write_status": "err"}),
        ("persistence", "problem", {"rdb_last_bgsave_status": "err"}),
        ("persistence", "warning", {"aof_enabled": "0"}),
        ("replicas", "warning", {"connected_slaves": "0", "slave0": None}),
        ("replicas", "warning", {"slave0": "ip=10.0.0.2,port=6379,state=wait_bgsave,offset=0,lag=0"}),
        ("replicas", "unknown", {"connected_slaves": None}),
        ("connections", "warning", {"connected_clients": "90"}),
        ("connections", "warning", {"rejected_connections": "1"}),
        ("connections", "unknown", {"connected_clients": None}),
    ],
)
def test_findings_about_a_server(name: str, state: str, changes: dict[str, str | None]) -> None:
    found = checked(changes)
    assert found[name].state == state
    assert bool(found[name].advice) == (state != "ok")
    assert {finding.state for other, finding in found.items() if other != name} == {"ok"}


def test_persistence_by_settings() -> None:
    assert (
        checked({"aof_enabled": "0"}, {"save": "3600 1", "appendfsync": "everysec"})["persistence"].state == "warning"
    )
    assert "snapshots" in checked({"aof_enabled": "0"}, {"save": "3600 1"})["persistence"].found
    assert checked({}, {"appendfsync": "no"})["persistence"].state == "warning"
    found = settings.persistence(GOOD | {"aof_enabled": "0"}, None)
    assert found.state == "unknown"
    assert settings.persistence(GOOD | {"aof_enabled": "0"}, None, is_ours=True).state == "ok"


def test_the_worst_server_is_named() -> None:
    bad = GOOD | {"maxmemory_policy": "allkeys-lru"}
    infos = [(Server("a:1"), GOOD), (Server("b:1"), bad), (Server("c:1"), GOOD)]
    [found] = [each for each in settings.checked(infos, [{}, {}, {}], False) if each.name == "eviction"]
    assert found.state == "problem"
    assert found.found.startswith("b:1: ")
    assert "a:1" not in found.found


def test_clocks() -> None:
    assert compared("clock", 1.9, 0.0, 2.0).state == "ok"
    assert compared("clock", 2.1, 0.2, 2.0).state == "ok"
    ahead, behind = compared("clock", 3.0, 0.1, 2.0), compared("clock", -3.0, 0.1, 2.0)
    assert ahead.state == behind.state == "warning"
    assert "3.0 s ahead of" in ahead.found
    assert "3.0 s behind" in behind.found


def test_libraries_that_clash() -> None:
    installed = {"valkey-glide": "2.6.0", "valkey-glide-sync": "2.5.0", "valkey": "7.0.0"}
    found = libraries("glide", installed.get)
    assert [finding.state for finding in found] == ["problem", "warning"]
    assert all(finding.advice for finding in found)
    assert [finding.state for finding in libraries("glide", {"valkey": "6.1.0"}.get)] == ["ok"]
