"""A put that expects a head: what is lost, evicted, expired or repeated changes no answer."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

import statekeep
from statekeep import Checkpoint, CheckpointRepository, Conflict
from statekeep.repositories.valkey.checkpoints.keys import namespace_keys
from statekeep.repositories.valkey.scripts import script
from statekeep.testing.servers import ValkeyCluster, ValkeyServer

from .counting_proxy import CountingProxy
from .losing_proxy import LosingProxy

CLIENTS = ("glide", "valkey-py")


def checkpoint(checkpoint_id: str) -> Checkpoint:
    return Checkpoint(thread_id="t", checkpoint_id=checkpoint_id)


def ids(keep: CheckpointRepository) -> list[str]:
    return [saved.checkpoint_id for saved in keep.list("t")]


@pytest.fixture(params=CLIENTS)
def keep(request: pytest.FixtureRequest, valkey_server: ValkeyServer, prefix: str) -> Iterator[CheckpointRepository]:
    with statekeep.connect(f"{valkey_server.url}?client={request.param}", prefix=prefix) as connection:
        yield connection.checkpoints


def test_a_copy_of_the_newest_that_was_evicted_is_made_anew(
    keep: CheckpointRepository, valkey_server: ValkeyServer, prefix: str
) -> None:
    for number in "12":
        keep.put(checkpoint(number))
    with valkey_server.client() as client:
        for expected, holds in (("1", False), (None, False), ("2", True)):
            client.delete(namespace_keys(prefix, "t", "").head)
            if holds:
                keep.put(checkpoint("3"), expected_head=expected)
            else:
                with pytest.raises(Conflict) as caught:
                    keep.put(checkpoint("3"), expected_head=expected)
                assert caught.value.actual == "2"
    assert ids(keep) == ["3", "2", "1"]


def test_a_record_that_others_removed_is_no_head(
    keep: CheckpointRepository, valkey_server: ValkeyServer, prefix: str
) -> None:
    for number in "12":
        keep.put(checkpoint(number))
    keys = namespace_keys(prefix, "t", "")
    with valkey_server.client() as client:
        client.delete(keys.head, keys.checkpoint("2"))
    with pytest.raises(Conflict) as caught:
        keep.put(checkpoint("3"), expected_head="2")
    assert caught.value.actual == "1"
    keep.put(checkpoint("3"), expected_head="1")
    assert ids(keep) == ["3", "1"]


def test_what_expired_is_no_head(valkey_server: ValkeyServer, prefix: str) -> None:
    with statekeep.connect(valkey_server.url, prefix=prefix, ttl=0.2) as connection:
        keep = connection.checkpoints
        keep.put(checkpoint("1"), expected_head=None)
        with pytest.raises(Conflict):
            keep.put(checkpoint("2"), expected_head=None)
        time.sleep(0.3)
        with pytest.raises(Conflict) as caught:
            keep.put(checkpoint("2"), expected_head="1")
        assert caught.value.actual is None
        keep.put(checkpoint("2"), expected_head=None)
        assert ids(keep) == ["2"]


@pytest.mark.parametrize("client", CLIENTS)
def test_a_put_whose_answer_was_lost_is_no_conflict(valkey_server: ValkeyServer, prefix: str, client: str) -> None:
    with LosingProxy(valkey_server.port) as proxy:
        url = f"valkey://127.0.0.1:{proxy.port}?client={client}&deadline=30"
        with statekeep.connect(url, prefix=prefix) as connection:
            keep = connection.checkpoints
            keep.put(checkpoint("1"), expected_head=None)
            proxy.losing = 1
            keep.put(checkpoint("2"), expected_head="1")
            assert proxy.lost == 1
            assert ids(keep) == ["2", "1"]


def test_it_takes_one_round_trip(valkey_server: ValkeyServer, prefix: str) -> None:
    with CountingProxy(valkey_server.port) as proxy:
        with statekeep.connect(f"valkey://127.0.0.1:{proxy.port}?client=valkey-py", prefix=prefix) as connection:
            keep = connection.checkpoints
            keep.put(checkpoint("1"), expected_head=None)
            proxy.reset()
            keep.put(checkpoint("2"), expected_head="1")
            assert proxy.turns == 1
            proxy.reset()
            with pytest.raises(Conflict):
                keep.put(checkpoint("3"), expected_head="1")
            assert proxy.turns == 1


def test_a_put_that_expects_nothing_is_the_script_that_it_was() -> None:
    plain, expecting = script("checkpoints/put"), script("checkpoints/put", behind="expect_head")
    assert plain.name == "put"
    assert "expected_head" not in plain.source
    body = plain.source[plain.source.index("local head, values, checkpoints") :]
    assert expecting.source.endswith(body)


def test_in_a_cluster_a_conflict_is_no_update_of_the_thread(valkey_cluster: ValkeyCluster, prefix: str) -> None:
    with statekeep.connect(valkey_cluster.url, prefix=prefix) as connection:
        keep = connection.checkpoints
        keep.put(checkpoint("1"))
        (before,) = keep.list_threads()
        with pytest.raises(Conflict):
            keep.put(checkpoint("2"), expected_head=None)
        assert list(keep.list_threads()) == [before]
