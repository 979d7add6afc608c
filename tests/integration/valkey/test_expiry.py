"""Expiry on a real server. Times are short, and so are the waits: each has a margin of a multiple of a slow step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from statekeep import Channel, Checkpoint, PendingWrite
from statekeep.repositories.checkpoints import CheckpointRepository
from statekeep.repositories.valkey import ValkeyCheckpoints, client_for
from statekeep.repositories.valkey.checkpoints import put
from statekeep.repositories.valkey.checkpoints.keys import namespace_keys, thread_index_keys
from statekeep.testing.servers import ValkeyServer

from .valkey_audit import audit
from .valkey_kinds import chain, payload, write

TTL = 0.5
"""Seconds. What must still be there is looked at well before, what must be gone well after."""

OVER = TTL + 0.1

Open = Callable[..., CheckpointRepository]


@pytest.fixture
def client(valkey_server: ValkeyServer) -> Iterator[Any]:
    with valkey_server.client() as client:
        yield client


@pytest.fixture
def open_repository(client: Any, prefix: str) -> Open:
    def opened(ttl: float | None = TTL, **options: Any) -> CheckpointRepository:
        return CheckpointRepository(ValkeyCheckpoints(client_for(client), prefix=prefix, ttl=ttl, **options))

    return opened


def listed(repository: CheckpointRepository, thread_id: str = "t") -> list[str]:
    return [saved.checkpoint_id for saved in repository.list(thread_id)]


def check(client: Any, prefix: str) -> None:
    found = audit(client, prefix, expired=True)
    assert not found.problems, "\n".join(found.problems)


def test_all_keys_of_a_thread_end(open_repository: Open, client: Any, prefix: str) -> None:
    repository = open_repository()
    for namespace in ("", "child"):
        for checkpoint in chain("t", 3, namespace, run_id="run"):
            repository.put(checkpoint)
            repository.put_writes("t", checkpoint.checkpoint_id, [write("task", 0)], namespace=namespace)
    check(client, prefix)
    time.sleep(OVER)
    assert repository.get("t") is None
    assert repository.get("t", checkpoint_id="00000") is None
    assert listed(repository) == []
    # The index of a run lasts somewhat longer, so that not every refresh has to lengthen it.
    time.sleep(TTL * 0.25)
    assert {key.decode() for key in client.scan_iter(f"{prefix}:*")} == set(thread_index_keys(prefix))
    # The entry of the thread may be that of a put under way: it goes when it is a minute old.
    assert list(repository.list_threads()) == []
    by_time, by_name, by_end = thread_index_keys(prefix)
    assert client.zscore(by_time, "t")
    client.zincrby(by_time, -61_000_000, "t")
    assert list(repository.list_threads()) == []
    assert not client.exists(by_time, by_name, by_end)


def test_fractions_of_a_second_count(open_repository: Open, client: Any, prefix: str) -> None:
    open_repository(0.25).put(chain("t", 1)[0])
    left = client.pttl(namespace_keys(prefix, "t", "").checkpoint("00000"))
    assert 100 < left <= 250
    open_repository(0.0004).put(chain("t", 1)[0])
    time.sleep(0.01)
    assert open_repository().get("t") is None


def test_an_unchanged_value_lives_as_long_as_a_checkpoint_that_uses_it(
    open_repository: Open, client: Any, prefix: str
) -> None:
    repository = open_repository()
    for checkpoint in chain("t", 8):
        repository.put(checkpoint)
        assert all(saved.channels["constant"].payload == payload(b"constant") for saved in repository.list("t"))
        check(client, prefix)
        time.sleep(TTL / 4)
    saved = repository.get("t")
    assert saved
    assert saved.channels["constant"].payload == payload(b"constant")
    # Older checkpoints are gone from the listing, the index, and with their own values.
    assert "00000" not in listed(repository)
    assert len(listed(repository)) <= 4
    keys = namespace_keys(prefix, "t", "")
    assert client.zscore(keys.checkpoints, "00000") is None
    repository.put(chain("t", 9)[8])
    assert not client.hexists(keys.values, "counter:i1")


def test_an_active_thread_does_not_grow(open_repository: Open, client: Any, prefix: str) -> None:
    repository = open_repository(0.05)
    keys = namespace_keys(prefix, "t", "")
    most = 0
    parent = None
    for number in range(60):
        # More values than what a fixed number of clean-ups per put would drop.
        channels = {f"c{index}": Channel.of(number, payload(b"v")) for index in range(150)}
        channels["constant"] = Channel.earlier(1)
        made = Checkpoint(thread_id="t", checkpoint_id=f"{number:05}", parent_id=parent, channels=channels)
        repository.put(made, supply=lambda names: dict.fromkeys(names, payload(b"constant")))
        repository.put_writes("t", made.checkpoint_id, [write("task", index) for index in range(20)])
        parent = made.checkpoint_id
        time.sleep(0.01)
        most = max(most, client.hlen(keys.values))
        assert client.zcard(keys.writes) < 60 * 20 * 0.7
    assert most < 60 * 150 * 0.5
    time.sleep(0.1)
    for number in (60, 61):
        repository.put(
            Checkpoint(thread_id="t", checkpoint_id=f"{number:05}", channels={"c": Channel.of(1, payload(b""))})
        )
    assert client.hlen(keys.values) < 60 * 150 * 0.5


def test_put_writes_refreshes_its_checkpoint_and_the_other_writes(
    open_repository: Open, client: Any, prefix: str
) -> None:
    repository = open_repository()
    for checkpoint in chain("t", 2, run_id="run"):
        repository.put(checkpoint)
    for index in range(5):
        repository.put_writes("t", "00001", [write("task", index)])
        check(client, prefix)
        time.sleep(TTL / 3)
    saved = repository.get("t")
    assert saved
    assert saved.checkpoint_id == "00001"
    assert [made.idx for made in saved.pending_writes] == [0, 1, 2, 3, 4]
    assert saved.channels["constant"].payload == payload(b"constant")
    assert listed(repository) == ["00001"]  # the other one had nothing to keep it
    check(client, prefix)
    repository.delete_runs(["run"])
    assert listed(repository) == []


def test_reading_refreshes_if_asked_to(open_repository: Open, client: Any, prefix: str) -> None:
    reading, plain = open_repository(refresh_on_read=True), open_repository()
    for thread in ("read", "left"):
        for checkpoint in chain(thread, 2, run_id="run"):
            plain.put(checkpoint)
        plain.put_writes(thread, "00001", [write("task", 0)])
    for _ in range(5):
        time.sleep(TTL / 3)
        assert reading.get("read")
        plain.get("left")
        check(client, prefix)
    saved = reading.get("read", checkpoint_id="00001")
    assert saved
    assert len(saved.pending_writes) == 1
    assert saved.channels["constant"].payload == payload(b"constant")
    assert plain.get("left") is None
    assert listed(reading, "read") == ["00001"]
    reading.delete_runs(["run"])
    assert reading.get("read") is None


@pytest.mark.parametrize("first_lasts", [True, False])
def test_one_thread_with_and_without_an_end(open_repository: Open, client: Any, prefix: str, first_lasts: bool) -> None:
    lasting, ending = open_repository(None), open_repository()
    for number, checkpoint in enumerate(chain("t", 6)):
        repository = lasting if first_lasts is (number % 2 == 0) else ending
        repository.put(checkpoint)
        repository.put_writes("t", checkpoint.checkpoint_id, [write("task", 0)])
        check(client, prefix)
    time.sleep(OVER)
    expected = ["00004", "00002", "00000"] if first_lasts else ["00005", "00003", "00001"]
    saved = lasting.get("t")
    assert saved
    assert saved.checkpoint_id == expected[0]
    found = list(ending.list("t"))
    assert [saved.checkpoint_id for saved in found] == expected
    assert all(saved.channels["constant"].payload == payload(b"constant") for saved in found)
    assert all(len(saved.pending_writes) == 1 for saved in found)
    assert [thread.thread_id for thread in ending.list_threads()] == ["t"]
    check(client, prefix)
    lasting.delete_thread("t")
    assert not list(client.scan_iter(f"{prefix}:*{{t}}*"))


def test_values_that_end_do_not_gather_where_others_last(open_repository: Open, client: Any, prefix: str) -> None:
    keys = namespace_keys(prefix, "t", "")
    open_repository(None).put(
        Checkpoint(thread_id="t", checkpoint_id="0", channels={"a": Channel.of(1, payload(b"a"))})
    )
    for number in range(1, 6):
        repository = open_repository(0.02)
        made = Checkpoint(thread_id="t", checkpoint_id=f"{number}", channels={"b": Channel.of(number, payload(b"b"))})
        repository.put(made)
        repository.put_writes("t", made.checkpoint_id, [write("task", 0)])
        time.sleep(0.05)
    assert client.hlen(keys.values) <= 3  # the lasting one, the last one, and the count of puts
    assert client.zcard(keys.checkpoints) <= 2
    assert client.zcard(keys.writes) <= 1
    check(client, prefix)


def test_namespaces_of_one_thread_with_and_without_an_end(open_repository: Open, client: Any, prefix: str) -> None:
    open_repository().put(chain("t", 1, "child")[0])
    lasting = open_repository(None)
    lasting.put(chain("t", 1)[0])
    lasting.put_writes("t", "x", [write("task", 0)], namespace="writes")
    check(client, prefix)
    time.sleep(OVER)
    assert [saved.namespace for saved in lasting.list("t")] == [""]
    assert [thread.thread_id for thread in lasting.list_threads()] == ["t"]
    lasting.delete_thread("t")
    assert not list(client.scan_iter(f"{prefix}:*{{t}}*"))


def test_reading_keeps_values_that_reindex_needs(open_repository: Open, client: Any, prefix: str) -> None:
    repository = open_repository(None)
    for checkpoint in chain("t", 2):
        repository.put(checkpoint)
    keys = namespace_keys(prefix, "t", "")
    client.delete(keys.checkpoints, keys.head)
    client.zadd(keys.checkpoints, {"garbage": 0})
    assert listed(repository) == []
    assert repository.get("t") is None
    assert list(repository.list_threads()) == []
    assert repository.reindex("t") == 2
    assert listed(repository) == ["00001", "00000"]
    assert [thread.thread_id for thread in repository.list_threads()] == ["t"]
    check(client, prefix)


def test_a_longer_life_is_not_cut_short(open_repository: Open, client: Any, prefix: str) -> None:
    long, short = open_repository(1000), open_repository()
    first, second = chain("t", 2)
    long.put(first)
    short.put(second)
    short.put_writes("t", "00000", [write("task", 0)])
    check(client, prefix)
    time.sleep(OVER)
    saved = short.get("t")
    assert saved
    assert saved.checkpoint_id == "00000"
    assert saved.channels["constant"].payload == payload(b"constant")
    check(client, prefix)


def test_what_expired_is_supplied_again(open_repository: Open) -> None:
    repository = open_repository()
    first, second = chain("t", 2)
    repository.put(first)
    time.sleep(OVER)
    repository.put(second, supply=lambda names: dict.fromkeys(names, payload(b"supplied")))
    saved = repository.get("t")
    assert saved
    assert saved.channels["constant"].payload == payload(b"supplied")


def test_pruning_and_copying_leave_out_what_expired(open_repository: Open, client: Any, prefix: str) -> None:
    lasting, ending = open_repository(None), open_repository()
    for number, checkpoint in enumerate(chain("t", 6)):
        (lasting if number < 4 else ending).put(checkpoint)
    time.sleep(OVER)
    lasting.copy_thread("t", "copy")
    assert listed(lasting, "copy") == ["00003", "00002", "00001", "00000"]
    lasting.prune(["t"], keep=2)
    assert listed(lasting) == ["00003", "00002"]
    assert lasting.reindex("t") == 2
    check(client, prefix)


def test_the_copy_of_the_newest_ends_with_it(open_repository: Open, client: Any, prefix: str) -> None:
    # Many that expired stand before the one that lasts.
    open_repository(None).put(Checkpoint(thread_id="t", checkpoint_id="0"))
    ending = open_repository(0.2)
    for number in range(1, 700):
        ending.put(Checkpoint(thread_id="t", checkpoint_id=f"{number:05}"))
    time.sleep(0.3)
    saved = ending.get("t")
    assert saved
    assert saved.checkpoint_id == "0"
    assert client.zcard(namespace_keys(prefix, "t", "").checkpoints) == 1


def test_a_listing_goes_on_when_what_it_lists_expires(open_repository: Open, client: Any, prefix: str) -> None:
    lasting, ending = open_repository(60), open_repository()
    for number in range(50):
        repository = ending if number % 2 else lasting
        repository.put(Checkpoint(thread_id="t", checkpoint_id=f"{number:02}", channels={"a": Channel.empty(1)}))
    listings = [lasting.list("t"), lasting.list(), lasting.list("t", metadata={"step": None})]
    found = [[next(listing).checkpoint_id] for listing in listings]
    time.sleep(OVER)
    for ids, listing in zip(found, listings, strict=True):
        ids += [saved.checkpoint_id for saved in listing]
        assert ids == sorted(set(ids), reverse=True)
        assert {f"{number:02}" for number in range(0, 50, 2)} <= set(ids)
        assert not {f"{number:02}" for number in range(1, 20, 2)} & set(ids)  # those of pages that were not read yet
    assert lasting.reindex("t") == 25


def test_a_wide_step_looks_at_its_other_writes_once(prefix: str) -> None:
    """Each task stores its writes by a call of its own: none may cost more than the one before."""
    with ValkeyServer() as server, server.client() as client:
        repository = CheckpointRepository(ValkeyCheckpoints(client_for(client), prefix=prefix, ttl=1000))
        repository.put(chain("t", 1, run_id="run")[0])
        client.config_resetstat()
        for task in range(200):
            repository.put_writes("t", "00000", [write(f"task {task}", 0)])
        stats = client.info("commandstats")
        assert stats["cmdstat_hset"]["calls"] >= 200
        assert stats["cmdstat_zrangebylex"]["calls"] == 1
        assert stats["cmdstat_zmscore"]["calls"] == 1
        assert not audit(client, prefix).problems
        assert (saved := repository.get("t"))
        assert len(saved.pending_writes) == 200


def test_each_write_lasts_as_long_as_the_last_one_of_its_checkpoint(
    open_repository: Open, client: Any, prefix: str
) -> None:
    keys = namespace_keys(prefix, "t", "")
    open_repository(1000).put(chain("t", 1)[0])
    for number, ttl in enumerate((100, 100, 1000, 100, 100, 1000, 1000)):
        open_repository(ttl).put_writes("t", "00000", [write(f"task-{number}", 0)])
        left = [client.pttl(keys.write(name.decode())) for name in client.zrange(keys.writes, 0, -1)]
        assert len(left) == number + 1
        assert min(left) > 900 * ttl
        check(client, prefix)
    open_repository().reindex("t")
    client.pexpire(keys.write("00000:task-3:0:items"), 1000)
    open_repository().reindex("t")
    open_repository(1000).put_writes("t", "00000", [write("task-7", 0)])
    assert client.pttl(keys.write("00000:task-3:0:items")) > 900_000
    open_repository(1000).put_writes("t", "00000", [write("task-8", 0)])
    assert client.zscore(keys.expiry, "m00000")
    open_repository(1000).put(chain("t", 2)[1])
    open_repository().prune(["t"])
    assert client.zscore(keys.expiry, "m00000") is None


def early(number: int = 1) -> list[PendingWrite]:
    return [write("task", index) for index in range(number)] + [write("task", -1)]


@pytest.mark.parametrize("is_deleted", [False, True])
def test_writes_without_a_checkpoint_end(
    open_repository: Open, client: Any, prefix: str, is_deleted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(put, "EARLY_TTL", TTL)
    repository = open_repository(None)
    if is_deleted:
        repository.put(chain("t", 1)[0])
        repository.delete_thread("t")
    for namespace in ("", "n"):
        repository.put_writes("t", "00000", early(), namespace=namespace)
    check(client, prefix)
    time.sleep(OVER)
    assert list(client.scan_iter(f"{prefix}:*")) == []


def test_writes_without_a_checkpoint_do_not_stay_in_a_thread_that_lasts(
    open_repository: Open, client: Any, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(put, "EARLY_TTL", TTL)
    repository = open_repository(None)
    made = chain("t", 3)
    repository.put(made[0])
    repository.put_writes("t", "00000", early())
    repository.put_writes("t", "zzz", early())
    check(client, prefix)
    time.sleep(OVER)
    repository.put(made[1])
    keys = namespace_keys(prefix, "t", "")
    assert client.zrange(keys.writes, 0, -1) == [b"00000:task:-1:items", b"00000:task:0:items"]
    assert not client.exists(keys.expiry)
    assert len(client.keys(f"{prefix}:pending_write:*")) == 2
    check(client, prefix)


@pytest.mark.parametrize("ttl", [None, 100 * 86_400])
@pytest.mark.parametrize("number", [1, 150, 3000])
@pytest.mark.parametrize("is_other", [False, True])
@pytest.mark.parametrize("has_others", [False, True])
def test_early_writes_last_as_long_as_their_checkpoint(
    open_repository: Open, client: Any, prefix: str, ttl: float | None, number: int, is_other: bool, has_others: bool
) -> None:
    """Whoever puts it: this process, which knows of the writes, or another one."""
    keys = namespace_keys(prefix, "t", "")
    repository = open_repository(ttl)
    first, second = chain("t", 2)
    if has_others:
        repository.put(first)
        repository.put_writes("t", "00000", early())
    repository.put_writes("t", "00001", early(number))
    left = [client.pttl(key) for key in client.scan_iter(f"{prefix}:pending_write:*00001:*")]
    assert len(left) == number + 1
    assert all(0 < each <= 86_400_000 for each in left)
    check(client, prefix)
    (open_repository(ttl) if is_other else repository).put(second, supply=lambda names: {})
    left = [client.pttl(key) for key in client.scan_iter(f"{prefix}:*{{t}}:*")]
    if ttl is None:
        assert set(left) == {-1}
        assert not client.exists(keys.expiry)
    else:
        assert all(each > 99 * 86_400_000 for each in left)
        assert client.zscore(keys.expiry, "o00001") is None
    assert (saved := repository.get("t"))
    assert len(saved.pending_writes) == number + 1
    check(client, prefix)
    repository.put_writes("t", "00001", [write("later", 0)])
    check(client, prefix)


def test_writes_that_end_soon_anyway_are_as_before(open_repository: Open, client: Any, prefix: str) -> None:
    repository = open_repository(1000)
    repository.put_writes("t", "00000", early())
    keys = namespace_keys(prefix, "t", "")
    assert client.zscore(keys.expiry, "o00000") is None
    client.pexpire(keys.write("00000:task:0:items"), 5000)
    repository.put(chain("t", 1)[0])
    assert client.pttl(keys.write("00000:task:0:items")) <= 5000


@pytest.mark.parametrize("operation", ["prune", "reindex"])
def test_late_writes_leave_no_key(open_repository: Open, client: Any, prefix: str, operation: str) -> None:
    repository = open_repository(None)
    for checkpoint in chain("t", 3):
        repository.put(checkpoint)
    repository.prune(["t"])
    before = set(client.scan_iter(f"{prefix}:*"))
    for number in range(700):
        repository.put_writes("t", f"00001-{number}", early())
    (repository.prune(["t"]) if operation == "prune" else repository.reindex("t"))
    assert set(client.scan_iter(f"{prefix}:*")) == before
    check(client, prefix)
