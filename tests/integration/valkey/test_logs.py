"""Logs in Valkey: round trips, calls that are repeated, declared keys, what ends, and what others damaged."""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from attrs import evolve

import statekeep
from statekeep import (
    AsyncLogRepository,
    Conflict,
    CorruptRecord,
    LogEntry,
    LogRepository,
    Payload,
    QuotaExceeded,
    Unavailable,
)
from statekeep.domain.logs import LARGEST_POSITION
from statekeep.repositories.valkey import ValkeyLogs, client_for, client_from_url
from statekeep.repositories.valkey.keys import shard_of
from statekeep.repositories.valkey.logs.keys import log_keys
from statekeep.repositories.valkey.requests import Call
from statekeep.testing.servers import ValkeyServer

from .counting_proxy import CountingProxy
from .item_kinds import Watched
from .losing_proxy import LosingProxy
from .test_declared_keys import checker

L = ("chat", "ada")


@pytest.fixture
def client(valkey_server: ValkeyServer) -> Iterator[Any]:
    with valkey_server.client() as client:
        yield client


@pytest.fixture
def watched(client: Any) -> Watched:
    return Watched(client)


@pytest.fixture
def logs(watched: Any, prefix: str) -> LogRepository:
    return LogRepository(ValkeyLogs(watched, prefix=prefix))


def read(logs: LogRepository) -> list[Any]:
    return [entry.value for entry in logs.read(L)]


# -- round trips


@pytest.fixture(params=["glide", "valkey-py"])
async def turns(
    request: pytest.FixtureRequest, valkey_server: ValkeyServer, prefix: str
) -> AsyncIterator[tuple[AsyncLogRepository, Callable[[Awaitable[Any]], Awaitable[int]]]]:
    with CountingProxy(valkey_server.port) as proxy:
        url = f"valkey://127.0.0.1:{proxy.port}"
        async with statekeep.aconnect(url, client=request.param, prefix=prefix) as keep:

            async def count(work: Awaitable[Any]) -> int:
                proxy.reset()
                await work
                return proxy.turns

            yield keep.logs, count


@pytest.mark.anyio
async def test_each_operation_is_one_round_trip(turns: Any) -> None:
    logs, count = turns

    async def listed() -> None:
        assert [log.count async for log in logs.list()] == [1]

    async def all_of_them(values: list[Any], ttl: float | None) -> list[int]:
        work: list[Callable[[], Any]] = [
            lambda: logs.append(L, values, ttl=ttl),
            lambda: logs.read(L),
            lambda: logs.last(L, 100, refresh=True),
            lambda: logs.read(L, after=1, limit=10),
            lambda: logs.pop(L, 3),
            lambda: logs.trim(L, keep=2),
            lambda: logs.count(L),
            lambda: logs.append(L, []),
            lambda: logs.replace(L, values),
            lambda: logs.restore(L, [LogEntry(position=at, value=one) for at, one in enumerate(values, 1)]),
            lambda: logs.measure(L),
            lambda: logs.delete(L),
        ]
        return [await count(each()) for each in work]

    await all_of_them([1], None)  # the connection is open then, and the server knows the scripts
    for number in (1, 1000):
        assert (
            await all_of_them([{"role": "user", "content": "x" * 50}] * number, 60 if number == 1 else None) == [1] * 12
        )
    assert await count(logs.last(L, 0)) == await count(logs.pop(L, 0)) == await count(logs.read(L, limit=0)) == 0
    # Values of more than 64 KiB are not kept for a client that may ask again.
    await logs.append(L, ["x" * 100_000, 1])
    assert await count(logs.pop(L, first=True)) == 2
    assert await count(listed()) == 2


def test_a_value_takes_little(logs: LogRepository, client: Any, prefix: str) -> None:
    message = {"role": "user", "content": "x" * 100}
    logs.append(L, [message] * 500)
    size = client.memory_usage(log_keys(prefix, L).values, samples=0)
    assert size / 500 < 200


# -- calls that are repeated


END = dt.datetime(2150, 1, 1, tzinfo=dt.UTC)

CHANGES: dict[str, Callable[[LogRepository, int], Any]] = {
    "append": lambda logs, last: logs.append(L, [4, 5], ttl=1000),
    "pop": lambda logs, last: [entry.value for entry in logs.pop(L, 2)],
    "pop all": lambda logs, last: [entry.value for entry in logs.pop(L, 9, first=True)],
    "trim": lambda logs, last: logs.trim(L, keep=2),
    "delete": lambda logs, last: logs.delete(L),
    "replace": lambda logs, last: logs.replace(L, ["sum"], expected=last),
    "empty": lambda logs, last: logs.replace(L, [], expected=last),
    "restore": lambda logs, last: logs.restore(L, [LogEntry(position=last + 5, value=7)], after=last, expires_at=END),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_whose_answer_got_lost_is_not_done_twice(client: Any, prefix: str, change: str) -> None:
    results = []
    for repeats in (False, True):
        watched: Any = Watched(client, repeats=repeats)
        logs = LogRepository(ValkeyLogs(watched, prefix=f"{prefix}{repeats}"))
        logs.append(L, [1, 2, 3])
        last = logs.last(L)[0].position
        results.append((CHANGES[change](logs, last), read(logs), [log.name for log in logs.list()]))
    assert results[0] == results[1]


@pytest.mark.parametrize("driver", ["glide", "valkey-py"])
def test_answers_that_a_network_loses(valkey_server: ValkeyServer, prefix: str, driver: str) -> None:
    with LosingProxy(valkey_server.port) as proxy:
        url = f"valkey://127.0.0.1:{proxy.port}?client={driver}&request_timeout=0.3"
        with statekeep.connect(url, prefix=prefix) as keep:
            keep.logs.append(L, [1])
            proxy.losing = 1
            assert keep.logs.append(L, [2, 3]) == 3
            assert proxy.lost == 1
            assert read(keep.logs) == [1, 2, 3]


def test_a_server_that_was_halted_does_nothing_again(logs: LogRepository, watched: Watched, client: Any) -> None:
    for change in CHANGES:
        logs.replace(L, [1, 2, 3])
        last = logs.last(L)[0].position
        watched.requests.clear()
        CHANGES[change](logs, last)
        there = logs.read(L)
        call: Any = watched.requests[0]
        until, kept = map(int, call.args[:2])
        now = time.time() * 1000
        assert now < until <= now + kept
        # As when so much time has passed, and the server has forgotten the answer.
        client.delete(call.keys[-1])
        late = evolve(call, args=[str(int(now - kept)), *call.args[1:]])
        assert watched.client.execute(late)[0] == b"late"
        assert logs.read(L) == there


@pytest.mark.parametrize("hours", [-1e6, 1, 1e6])
def test_clocks_that_differ(
    logs: LogRepository, watched: Watched, client: Any, prefix: str, hours: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time
    monkeypatch.setattr("statekeep.repositories.valkey.calls.time.time", lambda: now() + hours * 3600)
    assert logs.append(L, [1]) == 1
    assert len(watched.requests) == 2
    assert read(logs) == [1]
    assert all(0 < client.pttl(call) <= 160_000 for call in client.scan_iter(f"{prefix}:log-call:*"))


def test_answers_are_forgotten(client: Any, prefix: str) -> None:
    opened = client_from_url(f"valkey://127.0.0.1:{client.connection_pool.connection_kwargs['port']}", deadline=600)
    logs = LogRepository(ValkeyLogs(opened, prefix=prefix))
    logs.append(L, ["x" * 100_000])
    assert len(logs.pop(L)) == 1
    calls = list(client.scan_iter(f"{prefix}:log-call:*"))
    assert len(calls) == 2
    for call in calls:
        assert 2_460_000 < client.pttl(call) <= 2_520_000
        assert client.memory_usage(call) < 1000
    opened.close()


# -- declared keys


def test_scripts_touch_only_declared_keys(prefix: str) -> None:
    with ValkeyServer() as server:
        for cluster in (False, True):
            with checker(server, cluster) as checked, server.client() as admin:
                logs = LogRepository(ValkeyLogs(checked, prefix=f"{prefix}{cluster}", ttl=1000, refresh_on_read=True))
                for log in ((), ("{a}:*",), ("{a}:*", "b.[c]?"), ("\\ é%",)):
                    logs.append(log, [1, Payload(encoding="raw", data=b"\0"), 3, 4, 5], ttl=1000)
                    logs.append(log, [6], ttl=None)
                    position = logs.read(log, limit=2)[-1].position
                    assert len(logs.read(log, after=position)) == 4
                    assert len(logs.last(log, 2)) == len(logs.pop(log, 2)) == 2
                    logs.trim(log, keep=1)
                    logs.replace(log, [1, 2, 3], expected=logs.last(log)[0].position)
                    with pytest.raises(Conflict):
                        logs.replace(log, [], expected=None)
                    entries = logs.read(log)
                    logs.restore(log, entries, expires_at=END)
                    logs.restore(log, entries[1:], after=entries[0].position)
                    assert logs.measure(log).count == 3
                admin.delete(log_keys(f"{prefix}{cluster}", ()).values)
                assert len(list(logs.list())) == 3
                assert logs.delete(("\\ é%",)) == 3
                assert len(logs.pop(("{a}:*",), 3)) == 3
                assert checked.scripts == {"append", "read", "pop", "trim", "forget", "restore"}


# -- what ends


def audit(client: Any, prefix: str) -> None:
    """Each log is in its index, each name in an index has a log, and what ends is known to end."""
    logs = {key.decode() for key in client.scan_iter(f"{prefix}:log:*")}
    known = set()
    for index in client.scan_iter(f"{prefix}:log-index:*:name"):
        shard = index.decode().split("{")[1][:2]
        ends = dict(client.zrange(f"{prefix}:log-index:{{{shard}}}:end", 0, -1, withscores=True))
        for member in client.zrange(index, 0, -1):
            name = tuple(member.decode().split("\0"))
            keys = log_keys(prefix, name)
            assert keys.shard == shard
            known.add(keys.values)
            assert client.pexpiretime(keys.values) == ends.pop(member, -1) == client.pexpiretime(keys.life) or (
                client.pexpiretime(keys.values) == -1 and not client.exists(keys.life)
            )
        assert not ends
    assert known == logs


def test_indexes_are_true(logs: LogRepository, client: Any, prefix: str) -> None:
    names = [("chat", f"{number}") for number in range(100)]
    for number, name in enumerate(names):
        logs.append(name, [1, 2, 3], ttl=1000 if number % 2 else None)
    audit(client, prefix)
    changes: list[Callable[[Any], Any]] = [
        lambda name: logs.append(name, [4]),
        lambda name: logs.append(name, [4], ttl=500),
        lambda name: logs.last(name, refresh=True),
        lambda name: logs.pop(name, 5),
        lambda name: logs.trim(name, keep=0),
        lambda name: logs.replace(name, []),
        lambda name: logs.replace(name, [1], ttl=50),
        lambda name: logs.read(name, refresh=True),
        lambda name: logs.restore(name, logs.read(name)[1:], expires_at=END),
        lambda name: logs.restore(name, [LogEntry(position=5, value=1)]),
    ]
    for number, name in enumerate(names):
        changes[number % 10](name)
    audit(client, prefix)
    assert len(list(logs.list())) == sum(number % 10 not in (3, 4, 5) for number in range(100))
    for name in names:
        logs.delete(name)
    # What is left: the last position of each shard, and for some minutes the answers.
    assert {key.split(b":")[1] for key in client.scan_iter(f"{prefix}:*")} == {b"log-clock", b"log-call"}


def test_names_of_logs_that_ended_are_forgotten(logs: LogRepository, client: Any, prefix: str) -> None:
    shard = shard_of("chat.ada")
    names = [("n", f"{number}") for number in range(5000) if shard_of(f"n.{number}") == shard][:30]
    for name in names:
        logs.append(name, [1], ttl=1000)
    by_name, by_end = log_keys(prefix, L).indexes
    for name in names[:20]:
        client.delete(log_keys(prefix, name).values)
    # As if they had ended, some of them just now.
    now = time.time() * 1000
    for name in names[:20]:
        client.zadd(by_end, {log_keys(prefix, name).member: now - (70_000 if name in names[:10] else 1000)})
    logs.append(L, [1])
    assert client.zcard(by_name) == 21
    assert len(list(logs.list())) == 11
    assert client.zcard(by_name) == 11
    assert client.zcard(by_end) == 10


def test_the_time_is_set_back(logs: LogRepository, client: Any, prefix: str) -> None:
    """Positions grow nevertheless, also of a log that is made anew."""
    ahead = int(time.time() * 1e6) + 10**12
    client.set(log_keys(prefix, L).clock, ahead)
    logs.append(L, [1, 2])
    assert [entry.position for entry in logs.read(L)] == [ahead + 1, ahead + 2]
    logs.delete(L)
    logs.append(L, [3])
    assert logs.last(L)[0].position == ahead + 3
    # The clock was evicted, and the log is there.
    client.delete(log_keys(prefix, L).clock)
    logs.append(L, [4])
    assert logs.last(L)[0].position == ahead + 4
    assert ahead + 4 < LARGEST_POSITION


# -- what others did


def test_evicted_logs_are_reported(logs: LogRepository, client: Any, prefix: str, caplog: Any) -> None:
    logs.append(L, [1])
    logs.append(("other",), [1], ttl=0.05)
    client.delete(log_keys(prefix, L).values)
    time.sleep(0.1)
    with caplog.at_level(logging.WARNING):
        assert list(logs.list()) == []
    assert [record.getMessage().count("chat") for record in caplog.records] == [1]
    # An evicted index is mended by the next append.
    logs.append(L, [1])
    client.delete(*log_keys(prefix, L).indexes)
    assert list(logs.list()) == []
    logs.append(L, [1])
    assert [log.count for log in logs.list()] == [2]


P = b"8000000000000000 "

DAMAGES = [
    b"", b"text", b"1795943685300080", b"12a {}", b" {}", b"-1 {}", b"1e9 {}", b"99999999999999999999 1", P, P + b"{",
    P + b"NaN", P + b"\xff", P + b"@", P + b"@3", P + b"@3:ab", P + b"@0:", P + b"@1:\xff", P + b"[" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: repr(damage[:20]))
def test_damaged_elements(logs: LogRepository, client: Any, prefix: str, damage: bytes) -> None:
    key = log_keys(prefix, L).values
    logs.append(L, [1, 2])
    client.rpush(key, damage)
    first = logs.read(L, limit=1)[0].position
    calls: list[Callable[[], Any]] = [
        lambda: logs.read(L),
        lambda: logs.last(L),
        lambda: logs.read(L, after=first),
    ]
    for call in calls:
        with pytest.raises(CorruptRecord) as caught:
            call()
        assert caught.value.key == key
    assert [entry.value for entry in logs.read(L, limit=2)] == [1, 2]
    assert logs.append(L, [3]) == 4
    assert logs.trim(L, keep=1) == 3
    assert read(logs) == [3]


@pytest.mark.parametrize("position", [0, 5, LARGEST_POSITION + 1])
def test_positions_that_do_not_grow(logs: LogRepository, client: Any, prefix: str, position: int) -> None:
    logs.append(L, [1, 2])
    client.rpush(log_keys(prefix, L).values, f"{position} {{}}")
    with pytest.raises(CorruptRecord):
        logs.read(L)
    assert logs.append(L, [3]) == 4
    assert [entry.value for entry in logs.last(L)] == [3]


def test_a_replacement_of_a_damaged_log(logs: LogRepository, client: Any, prefix: str) -> None:
    client.rpush(log_keys(prefix, L).values, "text")
    for expected in (None, 5):
        with pytest.raises(CorruptRecord):
            logs.replace(L, [1], expected=expected)
    assert logs.count(L) == 1
    assert logs.replace(L, [1]) == 1


@pytest.mark.parametrize("which", ["values", "life", "names", "ends", "clock"])
def test_keys_of_another_type(logs: LogRepository, client: Any, prefix: str, which: str) -> None:
    keys = log_keys(prefix, L)
    key = {
        "values": keys.values, "life": keys.life, "names": keys.indexes[0], "ends": keys.indexes[1], "clock": keys.clock
    }[which]  # fmt: skip
    client.sadd(key, "x")
    calls: list[Callable[[], Any]] = [lambda: logs.append(L, [1], ttl=60), lambda: logs.replace(L, [1], ttl=60)]
    if which != "clock":
        calls += [lambda: logs.pop(L), lambda: logs.trim(L, keep=0)]
    if which in ("values", "life", "ends"):
        calls.append(lambda: logs.last(L, refresh=True))
    if which == "values":
        calls += [lambda: logs.read(L), lambda: logs.count(L)]
    for call in calls:
        with pytest.raises(CorruptRecord) as caught:
            call()
        assert caught.value.key == key
    # Nothing was written.
    assert {name.decode() for name in client.scan_iter(f"{prefix}:*")} == {key}


def test_a_clock_of_others(logs: LogRepository, client: Any, prefix: str) -> None:
    for text in ("", "soon", "1e400", "nan", "-5", "1.5", "9" * 30):
        client.set(log_keys(prefix, L).clock, text)
        logs.append(L, [text])
    positions = [entry.position for entry in logs.read(L)]
    assert positions == sorted(set(positions))


def test_a_full_server(prefix: str) -> None:
    with ValkeyServer(maxmemory="8mb", maxmemory_policy="noeviction") as server, server.client() as client:
        logs = LogRepository(ValkeyLogs(client_for(client, deadline=0.5), prefix=prefix))
        with pytest.raises(QuotaExceeded):
            for _ in range(100):
                logs.append(L, ["x" * 100_000] * 5)
        there = logs.count(L)
        assert there % 5 == 0
        assert len(logs.read(L, refresh=True)) == there
        assert len(logs.pop(L, 2, first=True)) == 2
        assert logs.trim(L, keep=1) == there - 3
        assert logs.delete(L) == 1
        assert logs.append(L, [1]) == 1


def test_a_dead_server(prefix: str) -> None:
    with ValkeyServer() as server:
        logs = LogRepository(ValkeyLogs(client_from_url(server.url, deadline=0.2), prefix=prefix))
        logs.append(L, [1])
        server.kill()
        calls: dict[str, Callable[[], Any]] = {
            "append": lambda: logs.append(L, [1]),
            "replace": lambda: logs.replace(L, [1]),
            "pop": lambda: logs.pop(L),
            "trim": lambda: logs.trim(L, keep=1),
            "delete": lambda: logs.delete(L),
            "read": lambda: logs.read(L),
            "last": lambda: logs.last(L),
            "count": lambda: logs.count(L),
            "list": lambda: list(logs.list()),
        }
        for name, call in calls.items():
            with pytest.raises(Unavailable) as caught:
                call()
            assert caught.value.operation == name
        logs.backend.close()


def test_a_call_names_its_log(watched: Watched, logs: LogRepository) -> None:
    logs.append(L, [1])
    (call,) = watched.requests
    assert isinstance(call, Call)
    assert call.keys[0].endswith(":chat.ada")
