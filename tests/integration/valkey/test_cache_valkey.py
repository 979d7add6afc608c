"""Cache entries in Valkey: round trips, bounded steps, what stays consistent, what ends, and what others damaged."""

from __future__ import annotations

import datetime as dt
import logging
import random
import statistics
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, TypeVar

import pytest
from attrs import frozen

from statekeep import CacheEntry, CorruptRecord, InvalidInput, Payload, QuotaExceeded, Unavailable, connect
from statekeep.domain.cache import CacheKey
from statekeep.repositories.cache import AsyncCacheRepository, CacheRepository
from statekeep.repositories.valkey import ValkeyCacheEntries, client_for, client_from_url
from statekeep.repositories.valkey.cache import listing
from statekeep.repositories.valkey.cache.keys import keys_of
from statekeep.repositories.valkey.keys import SHARDS
from statekeep.repositories.valkey.requests import Call, Commands, Reply, Request, Scan
from statekeep.testing.servers import ValkeyCluster, ValkeyServer

from .cache_kinds import KINDS, entries, open_cache, problems
from .counting_proxy import CountingProxy
from .test_declared_keys import checker

ResultT = TypeVar("ResultT")

K: CacheKey = (("n",), "k")


def payload(data: bytes) -> Payload:
    return Payload(encoding="raw", data=data)


@pytest.fixture
def client(valkey_server: ValkeyServer) -> Iterator[Any]:
    with valkey_server.client() as client:
        yield client


@pytest.fixture
def repository(client: Any, prefix: str) -> CacheRepository:
    return CacheRepository(ValkeyCacheEntries(client_for(client), prefix=prefix))


def record_key(prefix: str, place: CacheKey) -> str:
    return keys_of(prefix, place).record(place[1])


# -- round trips


@frozen
class Turns:
    """A repository behind a proxy that counts."""

    proxy: CountingProxy
    repository: AsyncCacheRepository

    async def of(self, call: Awaitable[ResultT]) -> tuple[int, ResultT]:
        self.proxy.reset()
        result = await call
        return self.proxy.turns, result


@pytest.fixture(params=KINDS)
async def turns(request: pytest.FixtureRequest, valkey_server: ValkeyServer, prefix: str) -> AsyncIterator[Turns]:
    with CountingProxy(valkey_server.port) as proxy:
        async with open_cache(request.param, proxy.port, prefix=prefix) as repository:
            # Afterwards the connection is open and the server knows the scripts.
            await repository.set({K: payload(b"1")})
            await repository.get([K, (("m",), "other")])
            await repository.clear()
            yield Turns(proxy, repository)


@pytest.mark.anyio
@pytest.mark.parametrize("number", [1, 10, 20])
async def test_any_number_of_entries_is_one_round_trip(turns: Turns, number: int) -> None:
    some = entries(number, data=bytes(1000)) | entries(number, ("m", "o"))
    some = dict(list(some.items())[:number])
    count, _ = await turns.of(turns.repository.set({place: (value, 60) for place, value in some.items()}))
    assert count == 1
    count, found = await turns.of(turns.repository.get(list(some)))
    assert count == 1
    assert {place: entry.payload for place, entry in found.items()} == some
    count, deleted = await turns.of(turns.repository.delete(list(some)))
    assert (count, deleted) == (1, number)
    assert await turns.of(turns.repository.get(list(some))) == (1, {})


@pytest.mark.anyio
async def test_round_trips_of_many_and_of_none(turns: Turns) -> None:
    count, _ = await turns.of(turns.repository.set(entries(500)))
    assert count == 1
    count, _ = await turns.of(turns.repository.set(entries(2000)))
    assert count == 4
    assert await turns.of(turns.repository.get([])) == (0, {})
    assert await turns.of(turns.repository.set({})) == (0, None)
    assert await turns.of(turns.repository.clear([])) == (0, 0)
    assert await turns.of(turns.repository.clear([("nothing",)])) == (1, 0)
    # Where the entries are, and four times 500 of them.
    assert await turns.of(turns.repository.clear([("n",)])) == (5, 2000)
    assert await turns.of(turns.repository.clear()) == (1, 0)


class Recording:
    """A client that notes the requests, and may refuse one of them."""

    def __init__(self, client: Any) -> None:
        self.client = client_for(client)
        self.cluster = self.client.cluster
        self.requests: list[Request] = []
        self.dies_at = -1
        self.before: Callable[[], None] | None = None

    def execute(self, request: Request) -> Reply:
        if len(self.requests) == self.dies_at:
            raise Unavailable("killed")
        self.requests.append(request)
        if self.before is not None:
            self.before()
        return self.client.execute(request)

    async def aexecute(self, request: Request) -> Reply:
        raise AssertionError("these tests are blocking")

    def close(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


def test_get_is_one_request_for_any_number(client: Any, prefix: str) -> None:
    # The proxy cannot tell: of a request that goes in pieces, the server answers the first before it has the last.
    recording = Recording(client)
    repository = CacheRepository(ValkeyCacheEntries(recording, prefix=prefix))
    repository.set(entries(3000))
    recording.requests.clear()
    assert len(repository.get(list(entries(4000)))) == 3000
    assert len(recording.requests) == 1
    repository.clear()


def test_listings_and_restore_take_few_requests(client: Any, prefix: str) -> None:
    # The proxy cannot tell, as above.
    recording = Recording(client)
    repository = CacheRepository(ValkeyCacheEntries(recording, prefix=prefix))

    def count(act: Callable[[], object]) -> int:
        recording.requests.clear()
        act()
        return len(recording.requests)

    repository.set(entries(10))
    # The shards that have the namespace, its indexes, and a page of 8 entries and one of the others.
    assert count(lambda: list(repository.list())) == 4
    assert count(lambda: list(repository.list(("n",)))) == 3
    # The shards, the sizes of the indexes, the indexes, and the sizes of the entries.
    assert count(lambda: list(repository.list_namespaces())) == 4
    assert count(lambda: repository.restore([])) == 0
    repository.set(entries(2000))
    # Of 2,000 entries the indexes have no more than 100 each; pages have 8, 32, 128, 500, and so on.
    assert count(lambda: list(repository.list(("n",)))) == 1 + 4 + 3
    listed = list(repository.list())
    assert count(lambda: repository.restore(listed)) == 4
    assert repository.clear() == 2000


@pytest.mark.parametrize("cluster", [False, True])
def test_clear_goes_in_bounded_steps(
    cluster: bool, valkey_server: ValkeyServer, valkey_cluster: ValkeyCluster, prefix: str
) -> None:
    with valkey_cluster.client() if cluster else valkey_server.client() as client:
        recording = Recording(client)
        repository = CacheRepository(ValkeyCacheEntries(recording, prefix=prefix))
        repository.set(entries(10_000) | entries(10, ("other",)))
        for namespaces, number in [([("n",)], 10_000), (None, 10)]:
            recording.requests.clear()
            assert repository.clear(namespaces) == number
            assert not any(isinstance(request, Scan) for request in recording.requests)
            calls = [request for request in recording.requests if isinstance(request, Call)]
            assert max(len(call.keys) for call in calls) <= 500 + 2 * len(SHARDS)
            reads = [request.commands for request in recording.requests if isinstance(request, Commands)]
            assert max(map(len, reads)) <= len(SHARDS)
            assert {command[0] for commands in reads for command in commands} == {"ZRANGE"}
            assert max(int(command[3]) for commands in reads for command in commands) < 500
            assert len(recording.requests) <= (200 if cluster else 30)
        assert list(client.scan_iter(f"{prefix}:*")) == []


def test_clear_does_not_hold_up_the_server(prefix: str) -> None:
    with ValkeyServer(slowlog_log_slower_than=200, slowlog_max_len=10_000) as server, server.client() as client:
        repository = CacheRepository(ValkeyCacheEntries(client_for(client), prefix=prefix))
        repository.set(entries(10_000, data=bytes(1000)))
        client.slowlog_reset()
        assert repository.clear([("n",)]) == 10_000
        spent = [
            entry["duration"] / 1000 for entry in client.slowlog_get(10_000) if entry["command"].startswith(b"EVALSHA")
        ]
        # In milliseconds. Of a machine that does other things too, the longest says nothing.
        assert statistics.median(spent) < 5


def test_no_operation_walks_the_keyspace_or_watches(prefix: str) -> None:
    with ValkeyServer() as server, server.client() as client:
        repository = CacheRepository(ValkeyCacheEntries(client_for(client), prefix=prefix))
        client.config_resetstat()
        repository.set({place: (value, 60) for place, value in entries(700).items()})
        repository.set(entries(20, ("m",)))
        repository.get(list(entries(700)))
        assert len(list(repository.list())) == 720
        assert len(list(repository.list_namespaces())) == 2
        repository.restore(list(repository.list(("m",))))
        repository.delete(list(entries(3)))
        repository.clear([("n",)])
        repository.clear()
        used = {name.removeprefix("cmdstat_").upper() for name in client.info("commandstats")}
        assert {"EVALSHA", "HSET", "ZADD", "ZRANGE"} <= used
        forbidden = {"KEYS", "SCAN", "SSCAN", "HSCAN", "ZSCAN", "WATCH", "MULTI", "EXEC", "HGETALL", "FLUSHDB", "SORT"}
        assert used & forbidden == set()


@pytest.mark.parametrize("cluster", [False, True])
def test_scripts_touch_only_declared_keys(valkey_server: ValkeyServer, prefix: str, cluster: bool) -> None:
    nasty = (("a*", "{b}"), "[c]?\\ é%")
    with checker(valkey_server, cluster) as checked, valkey_server.client() as admin:
        repository = CacheRepository(ValkeyCacheEntries(checked, prefix=prefix, ttl=100))
        repository.set({nasty: payload(b"1"), K: (payload(b"2"), None), ((), ""): (payload(b"3"), 0.001)})
        time.sleep(0.01)
        repository.set({((), "other"): payload(b"4"), **entries(300)})
        assert set(repository.get([nasty, K, ((), "")])) == {nasty, K}
        admin.delete(record_key(prefix, K))
        assert repository.reindex() == 302
        repository.restore([*repository.list(("n",)), *repository.list(nasty[0])])
        assert sum(space.entries for space in repository.list_namespaces()) == 302
        assert problems(admin, prefix) == []
        assert repository.delete([nasty, K]) == 1
        assert repository.clear([("n",)]) == 300
        assert repository.clear() == 1
        assert checked.scripts == {"set", "delete", "adopt", "restore"} | (set() if cluster else {"get"})
        assert list(admin.scan_iter(f"{prefix}:*")) == []


# -- what is stored


def test_a_record_is_as_documented(repository: CacheRepository, client: Any, prefix: str) -> None:
    repository.set({(("users", "ada.b"), "th:me"): (payload(b"\xff"), 60)})
    [record] = client.scan_iter(f"{prefix}:cache_entry:*")
    name = record.decode().removeprefix(f"{prefix}:cache_entry:")
    assert name.endswith("}:users.ada%2Eb:th%3Ame")
    stored = {field.decode(): value.decode() for field, value in client.hgetall(record).items()}
    created, expires = float(stored.pop("created_at")), float(stored.pop("expires_at"))
    assert stored == {
        "pk": name,
        "namespace": "users.ada%2Eb",
        "item_key": "th:me",
        "encoding": "raw",
        "value": "/w==",
    }
    assert abs(created - time.time()) < 5
    assert 60 <= expires - created < 60.002
    assert client.execute_command("PEXPIRETIME", record) == round(expires * 1000)


def test_a_replaced_record_keeps_nothing(repository: CacheRepository, client: Any, prefix: str) -> None:
    repository.set({K: (payload(b"1"), 60)})
    record = record_key(prefix, K)
    client.hset(record, "more", "x")
    repository.set({K: payload(b"2")})
    assert client.hkeys(record) == [b"pk", b"namespace", b"item_key", b"encoding", b"value", b"created_at"]
    assert client.pttl(record) == -1


def test_entries_of_a_namespace_are_on_all_nodes(valkey_cluster: ValkeyCluster, prefix: str) -> None:
    with valkey_cluster.client() as client:
        repository = CacheRepository(ValkeyCacheEntries(client_for(client), prefix=prefix))
        repository.set(entries(300))
        counts = [
            sum(1 for _ in node.client().scan_iter(f"{prefix}:cache_entry:*")) for node in valkey_cluster.nodes.values()
        ]
        assert sum(counts) == 300
        assert min(counts) > 50
        repository.clear()


@pytest.mark.parametrize("cluster", [False, True])
def test_the_indexes_know_all_whatever_happens_at_the_same_time(
    cluster: bool, valkey_server: ValkeyServer, valkey_cluster: ValkeyCluster, prefix: str
) -> None:
    url = (valkey_cluster if cluster else valkey_server).url
    places = [((f"n{number % 3}",) if number % 4 else (), f"k{number}") for number in range(40)]

    def act(seed: int) -> None:
        dice = random.Random(seed)
        with connect(url, client="valkey-py", prefix=prefix) as keep:
            for _ in range(80):
                some = dice.sample(places, 8)
                match dice.randrange(6):
                    case 0:
                        keep.cache.clear([dice.choice(places)[0]])
                    case 1:
                        keep.cache.delete(some)
                    case 2 if dice.random() < 0.3:
                        keep.cache.clear()
                    case _:
                        keep.cache.set({place: (payload(b"v"), dice.choice([None, 0.02, 0.5, 60])) for place in some})

    threads = [threading.Thread(target=act, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    time.sleep(0.6)  # of those that live shorter, the indexes may still know
    with valkey_cluster.client() if cluster else valkey_server.client() as client:
        repository = CacheRepository(ValkeyCacheEntries(client_for(client), prefix=prefix))
        repository.set({place: payload(b"v") for place in places[::2]})
        left = [problem for problem in problems(client, prefix) if "without records" not in problem]
        assert left == []
        repository.clear()
        assert list(client.scan_iter(f"{prefix}:*")) == []


@pytest.mark.parametrize("cluster", [False, True])
@pytest.mark.parametrize("act", ["set", "delete", "clear some", "clear all"])
def test_dying_between_two_requests_leaves_nothing_that_cannot_be_cleared(
    act: str, cluster: bool, valkey_server: ValkeyServer, valkey_cluster: ValkeyCluster, prefix: str
) -> None:
    with valkey_cluster.client() if cluster else valkey_server.client() as client:
        recording = Recording(client)
        repository = CacheRepository(ValkeyCacheEntries(recording, prefix=prefix))
        many = entries(600) | entries(600, ("m",))
        step = died = 0
        while died == step:
            recording.dies_at = -1
            repository.clear()
            if act != "set":
                repository.set(many)
            recording.requests.clear()
            recording.dies_at = step
            step += 1
            try:
                match act:
                    case "set":
                        repository.set({place: (value, 60) for place, value in many.items()})
                    case "delete":
                        repository.delete(list(many))
                    case "clear some":
                        repository.clear([("n",)])
                    case _:
                        repository.clear()
            except Unavailable:
                died += 1
            if cluster and step > 6:
                break  # one shard is like another
            assert problems(client, prefix) == []
        assert died >= 3
        recording.dies_at = -1
        repository.clear()
        assert list(client.scan_iter(f"{prefix}:*")) == []


def test_clear_ends_though_others_set(client: Any, prefix: str) -> None:
    recording = Recording(client)
    repository = CacheRepository(ValkeyCacheEntries(recording, prefix=prefix))
    other = CacheRepository(ValkeyCacheEntries(client_for(client), prefix=prefix))
    repository.set(entries(2000))
    numbers = iter(range(10**6))
    recording.before = lambda: other.set({((f"busy{next(numbers) % 7}",), f"{next(numbers)}"): payload(b"v")})
    recording.requests.clear()
    assert repository.clear() >= 2000
    assert len(recording.requests) < 50
    assert problems(client, prefix) == []
    other.clear()


def test_prefixes_share_nothing(client: Any, prefix: str) -> None:
    one, two = (
        CacheRepository(ValkeyCacheEntries(client_for(client), prefix=f"{prefix}{end}")) for end in ("-a", "-a*")
    )
    three = CacheRepository(ValkeyCacheEntries(client_for(client), prefix=f"{prefix}-a:b"))
    for number, repository in enumerate((one, two, three)):
        repository.set({K: payload(b"%d" % number)})
    client.set(f"{prefix}-a:foreign", "x")
    assert two.clear() == 1
    assert set(two.get([K])) == set()
    assert [repository.get([K])[K].payload.data for repository in (one, three)] == [b"0", b"2"]
    assert two.reindex() == 0
    assert one.clear([("n",)]) == 1
    assert three.clear() == 1
    assert [*client.scan_iter(f"{prefix}-a*")] == [f"{prefix}-a:foreign".encode()]


# -- the end of entries


def test_the_server_ends_them_to_the_millisecond(repository: CacheRepository, client: Any, prefix: str) -> None:
    repository.set({K: (payload(b"1"), 7.0305)})
    left = client.pttl(record_key(prefix, K))
    assert 6000 < left <= 7032
    ends = repository.get([K])[K].expires_at
    assert ends
    assert round(ends.timestamp() * 1000) == client.execute_command("PEXPIRETIME", record_key(prefix, K))


def test_a_default_ttl(client: Any, prefix: str) -> None:
    repository = CacheRepository(ValkeyCacheEntries(client_for(client), prefix=prefix, ttl=1.1))
    repository.set({K: payload(b"1"), (("n",), "ever"): (payload(b"2"), None)})
    assert len(repository.get([K, (("n",), "ever")])) == 2
    time.sleep(1.3)
    assert set(repository.get([K, (("n",), "ever")])) == {(("n",), "ever")}


def test_everything_ends_with_the_last_entry(repository: CacheRepository, client: Any, prefix: str) -> None:
    # Long enough to look at all of them on a busy machine.
    brief = {place: (value, 2.0) for place, value in entries(200).items()}
    later = {K: (payload(b"1"), 5.1), (("m",), "k"): (payload(b"1"), 5)}
    repository.set(brief | later)
    assert problems(client, prefix, others_deleted=True) == []
    time.sleep(2.2)
    assert {*client.scan_iter(f"{prefix}:cache_entry:*")} == {record_key(prefix, place).encode() for place in later}
    time.sleep(3)
    assert list(client.scan_iter(f"{prefix}:*")) == []


def test_indexes_forget_what_ended(repository: CacheRepository, client: Any, prefix: str) -> None:
    repository.set({(("ever",), f"e{number}"): payload(b"1") for number in range(300)})
    repository.set({(("ever",), f"k{number}"): (payload(b"1"), 0.1) for number in range(3000)})
    repository.set({((f"n{number}",), "k"): (payload(b"1"), 0.1) for number in range(200)})
    time.sleep(0.2)
    repository.set({(("ever",), f"e{number}"): payload(b"2") for number in range(300)})
    assert problems(client, prefix) == []
    members = sum(client.zcard(key) for key in client.scan_iter(f"{prefix}:cache_entry-index:*"))
    assert members == 300
    names = {
        name for key in client.scan_iter(f"{prefix}:cache_namespace-index:*") for name in client.zrange(key, 0, -1)
    }
    assert b"ever" in names


def test_forgetting_is_bounded(client: Any, prefix: str) -> None:
    # 600 entries of one shard, so that one index has to forget them.
    place = next(place for place in entries(100) if keys_of(prefix, place).shard == "07")
    keys = keys_of(prefix, place)
    client.zadd(keys.index, {f"gone{number}": 1 for number in range(600)})
    client.zadd(keys.namespaces, {f"gone{number}": 1 for number in range(600)})
    repository = CacheRepository(ValkeyCacheEntries(client_for(client), prefix=prefix))
    repository.set({place: payload(b"1")})
    assert client.zcard(keys.index) == 600 + 1 - 101
    assert client.zcard(keys.namespaces) == 600 + 1 - 101
    repository.clear()


# -- what others did


DAMAGE: dict[str, Callable[[Any, str], Any]] = {
    "value": lambda client, key: client.hset(key, "value", b"!!!"),
    "value that is no text": lambda client, key: client.hset(key, "value", b"\xff\xff"),
    "value with a line break": lambda client, key: client.hset(key, "value", b"MTIz\n"),
    "no value": lambda client, key: client.hdel(key, "value"),
    "no encoding": lambda client, key: client.hdel(key, "encoding"),
    "empty encoding": lambda client, key: client.hset(key, "encoding", b""),
    "encoding that is no text": lambda client, key: client.hset(key, "encoding", b"\xff"),
    "no key": lambda client, key: client.hdel(key, "item_key"),
    "another key": lambda client, key: client.hset(key, "item_key", b"else"),
    "time": lambda client, key: client.hset(key, "created_at", b"yesterday"),
    "far time": lambda client, key: client.hset(key, "expires_at", b"1e300"),
    "a string": lambda client, key: (client.delete(key), client.set(key, "x")),
    "a list": lambda client, key: (client.delete(key), client.rpush(key, "x")),
}


@pytest.mark.parametrize("url", ["standalone glide", "standalone valkey-py", "cluster glide", "cluster valkey-py"])
def test_what_cannot_be_read_is_missing_and_said(
    url: str, valkey_server: ValkeyServer, valkey_cluster: ValkeyCluster, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = valkey_cluster if url.startswith("cluster") else valkey_server
    driver: Any = url.partition(" ")[2]
    with (
        connect(server.url, client=driver, prefix=prefix) as keep,
        server.client() as client,
        caplog.at_level(logging.WARNING, "statekeep.cache"),
    ):
        others = entries(5)
        for kind, damage in DAMAGE.items():
            caplog.clear()
            keep.cache.set({K: payload(b"123"), **others})
            damage(client, record_key(prefix, K))
            assert set(keep.cache.get([K, *others])) == set(others), kind
            [message] = caplog.messages
            assert record_key(prefix, K) in message, kind
            caplog.clear()
            assert {(entry.namespace, entry.key) for entry in keep.cache.list()} == set(others), kind
            [message] = caplog.messages
            assert record_key(prefix, K) in message, kind
            assert sum(space.entries for space in keep.cache.list_namespaces()) in (5, 6), kind
            # It is replaced, or deleted, as any other.
            keep.cache.set({K: payload(b"4")})
            assert keep.cache.get([K])[K].payload.data == b"4"
            damage(client, record_key(prefix, K))
            assert keep.cache.delete([K]) == 1
            assert len(keep.cache.get([K, *others])) == 5
        damage(client, record_key(prefix, K))
        client.delete(record_key(prefix, K))
        assert keep.cache.clear() == 5


def test_members_of_indexes_that_are_none_of_ours_are_left_out(
    repository: CacheRepository, client: Any, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    repository.set({K: payload(b"1")})
    keys = keys_of(prefix, K)
    client.zadd(keys.index, {b"\xff\xfe": 1e15, b"no such entry": 1e15})
    client.zadd(keys.namespaces, {b"\xff": 1e15, b"a%FFb": 1e15})
    with caplog.at_level(logging.WARNING, "statekeep.cache"):
        assert [entry.key for entry in repository.list()] == [K[1]]
        assert [(space.namespace, space.entries) for space in repository.list_namespaces()] == [(K[0], 1)]
    assert keys.index in caplog.text
    assert keys.namespaces in caplog.text


def test_a_listing_goes_on_among_many_that_end_together(
    client: Any, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Members of one end are read page by page; whatever goes meanwhile, no other is left out or comes twice."""
    monkeypatch.setattr(listing, "PAGE", 3)
    monkeypatch.setattr(listing, "FIRST", 1)
    monkeypatch.setattr(listing, "GROWTH", 1)
    recording = Recording(client)
    repository = CacheRepository(ValkeyCacheEntries(recording, prefix=prefix))
    ends = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)
    for gone in range(0, 200, 7):
        listed = [
            CacheEntry(namespace=("n",), key=key, payload=value, created_at=ends, expires_at=ends)
            for (_, key), value in entries(200).items()
        ]
        repository.restore(listed)
        found = repository.list(("n",))
        keys = [next(found).key for _ in range(gone + 1)]
        deleted = {key for number, key in enumerate(sorted(entry.key for entry in listed)) if number % 3 != gone % 3}
        repository.delete([(("n",), key) for key in deleted])
        keys += [entry.key for entry in found]
        assert keys == sorted(set(keys))
        assert {entry.key for entry in listed} - deleted <= set(keys)
        repository.clear()


def test_an_index_of_another_type_is_an_error_that_names_it(
    repository: CacheRepository, client: Any, prefix: str
) -> None:
    keys = keys_of(prefix, K)
    for name in (keys.index, keys.namespaces):
        client.set(name, "x")
        with pytest.raises(CorruptRecord) as caught:
            repository.set({K: payload(b"1")})
        assert caught.value.key == name
        assert repository.get([K]) == {}
        assert not client.exists(record_key(prefix, K))
        with pytest.raises(CorruptRecord):
            repository.clear([("n",)] if name == keys.index else None)
        client.delete(name)
        repository.clear()
    client.zadd(keys.index, {b"\xff": 1})
    with pytest.raises(CorruptRecord) as caught:
        repository.clear([("n",)])
    assert caught.value.key == keys.index
    client.delete(keys.index)


def test_reindex_finds_what_others_added_and_forgets_what_they_removed(
    repository: CacheRepository, client: Any, prefix: str
) -> None:
    repository.set(entries(700))
    repository.set({K: (payload(b"1"), 60)})
    client.delete(*client.scan_iter(f"{prefix}:cache_entry-index:*"), *client.scan_iter(f"{prefix}:cache_namesp*"))
    client.delete(record_key(prefix, (("n",), "k0")))
    client.hset(f"{prefix}:cache_entry:{{zz}}:n:k", "not", "ours")
    client.hset(f"{prefix}:cache_entry:{{00}}:n:%FF", "not", "ours")
    client.hset(f"{prefix}:cache_entry:", "not", "ours")
    assert repository.clear() == 0
    assert repository.reindex() == 700
    for key in client.scan_iter(f"{prefix}:cache_entry:*"):
        if client.hexists(key, "not"):
            client.delete(key)
    assert [problem for problem in problems(client, prefix) if " ends at " not in problem] == []
    client.delete(record_key(prefix, (("n",), "k1")))
    assert repository.reindex() == 699
    assert [problem for problem in problems(client, prefix) if " ends at " not in problem] == []
    assert repository.clear([("n",)]) == 699
    assert list(client.scan_iter(f"{prefix}:*")) == []


def test_a_server_that_is_full(prefix: str) -> None:
    with ValkeyServer(maxmemory="10mb", maxmemory_policy="noeviction") as server, server.client() as client:
        repository = CacheRepository(ValkeyCacheEntries(client_from_url(server.url, deadline=1), prefix=prefix))
        repository.set(entries(100))
        with pytest.raises(QuotaExceeded):
            for number in range(100):
                repository.set({(("big",), f"{number}"): payload(bytes(500_000))})
        assert problems(client, prefix) == []
        assert len(repository.get(list(entries(100)))) == 100
        assert repository.clear([("big",)]) > 0
        repository.set(entries(100))
        repository.close()


@pytest.mark.parametrize("driver", ["glide", "valkey-py"])
def test_a_dead_server_is_no_miss(driver: Any, prefix: str) -> None:
    with ValkeyServer() as server:
        repository = CacheRepository(
            ValkeyCacheEntries(client_from_url(server.url, client=driver, deadline=0.2), prefix=prefix)
        )
        repository.set({K: payload(b"1")})
        server.kill()
        calls: dict[str, Callable[[], Any]] = {
            "get": lambda: repository.get([K]),
            "set": lambda: repository.set({K: payload(b"2")}),
            "delete": lambda: repository.delete([K]),
            "clear": repository.clear,
        }
        for name, call in calls.items():
            with pytest.raises(Unavailable) as caught:
                call()
            assert caught.value.operation == name
        repository.close()


@pytest.mark.parametrize("wrong", ["", ":a", "a:", "{a}", "a{", None, b"a"])
def test_wrong_prefixes(wrong: Any, client: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        ValkeyCacheEntries(client_for(client), prefix=wrong)
    assert caught.value.field == "prefix"
