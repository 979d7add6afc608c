"""Scripts touch only the keys that a call declares, and in a cluster these are of one slot.

ElastiCache Serverless and others refuse anything else. Here each request runs as a server user who may touch the
declared keys of this very request and no other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import valkey
from valkey.crc import key_slot

from statekeep import Channel, Checkpoint
from statekeep.domain import AccessDenied, Conflict
from statekeep.repositories.checkpoints import CheckpointRepository
from statekeep.repositories.valkey import ValkeyCheckpoints, client_for
from statekeep.repositories.valkey.checkpoints.keys import namespace_keys
from statekeep.repositories.valkey.requests import Call, Commands, Reply, Request, Scan, Script
from statekeep.testing.servers import ValkeyServer

from .valkey_kinds import chain, payload, write

THREAD = "a:{b}*[c]?\\ é%"


class Checker:
    """A client that lets each request touch its declared keys only.

    Attributes:
        scripts: the names of the scripts that were run.
    """

    def __init__(self, admin: valkey.Valkey, checked: valkey.Valkey, cluster: bool) -> None:
        self.cluster = cluster
        self.scripts: set[str] = set()
        self._admin = admin
        self._unchecked = client_for(admin)
        self._checked = client_for(checked)

    def execute(self, request: Request) -> Reply:
        if isinstance(request, Scan):
            return self._unchecked.execute(request)
        if isinstance(request, Call):
            self.scripts.add(request.script.name)
            keys = list(request.keys)
            if self.cluster:
                assert len({key_slot(key.encode()) for key in keys}) == 1, request
        else:
            assert isinstance(request, Commands)
            keys = [str(command[1]) for command in request.commands]
        patterns = ["~" + re.sub(r"([*?\[\]\\])", r"\\\1", key) for key in dict.fromkeys(keys)]
        self._admin.execute_command("ACL", "SETUSER", "checked", "resetkeys", *patterns)
        return self._checked.execute(request)

    async def aexecute(self, request: Request) -> Reply:
        raise AssertionError("these tests are blocking")

    def close(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


@contextmanager
def checker(server: ValkeyServer, cluster: bool) -> Iterator[Checker]:
    with server.client() as admin:
        admin.execute_command("ACL", "SETUSER", "checked", "reset", "on", ">checked", "+@all")
        with server.client(username="checked", password="checked") as checked:
            yield Checker(admin, checked, cluster)


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with ValkeyServer() as server:
        yield server


CHEATS = {
    "reads": "return redis.call('GET', KEYS[1] .. '2')",
    "writes": "return redis.call('SET', KEYS[1] .. '2', 1)",
    "derives": "return redis.call('HGET', string.gsub(KEYS[1], 'a', 'b'), 'f')",
    "deletes": "redis.call('GET', KEYS[1]) return redis.call('UNLINK', KEYS[1], 'other')",
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_the_checker_finds_undeclared_keys(server: ValkeyServer, cheat: str) -> None:
    with checker(server, cluster=False) as client:
        honest = Script("honest", "#!lua\nreturn redis.call('GET', KEYS[1])")
        assert client.execute(Call(honest, ["a*"], [])) is None
        with pytest.raises(AccessDenied):
            client.execute(Call(Script(cheat, f"#!lua\n{CHEATS[cheat]}"), ["a*"], []))


def test_the_checker_finds_keys_of_two_slots(server: ValkeyServer) -> None:
    with checker(server, cluster=True) as client, pytest.raises(AssertionError):
        client.execute(Call(Script("two", "#!lua\nreturn 1"), ["{a}", "{b}"], []))


@pytest.mark.parametrize("cluster", [False, True])
@pytest.mark.parametrize("ttl", [None, 1000.0])
def test_scripts_touch_only_declared_keys(server: ValkeyServer, prefix: str, cluster: bool, ttl: float | None) -> None:
    with checker(server, cluster) as client, server.client() as admin:
        backend = ValkeyCheckpoints(
            client, prefix=prefix, ttl=ttl, refresh_on_read=True, index_metadata=["step", "{*}"]
        )
        repository = CheckpointRepository(backend)
        for namespace in ("", "child:{1}", "*"):
            keys = namespace_keys(prefix, THREAD, namespace)
            for checkpoint in chain(THREAD, 6, namespace, run_id="run:{*}"):
                repository.put(checkpoint)
                repository.put(checkpoint)
                repository.put_writes(
                    THREAD, checkpoint.checkpoint_id, [write("t:{*}", 0), write("t", -1)], namespace=namespace
                )
                repository.put_writes(THREAD, checkpoint.checkpoint_id, [write("t", -1)], namespace=namespace)
            fork = Checkpoint(
                thread_id=THREAD,
                namespace=namespace,
                checkpoint_id="fork",
                parent_id="00002",
                channels={"counter": Channel.of(4, payload(b"forked")), "delta": Channel.replayed(1)},
                metadata={"run_id": "fork"},
            )
            repository.put(fork)
            child = Checkpoint(
                thread_id=THREAD,
                namespace=namespace,
                checkpoint_id="fork2",
                parent_id="fork",
                channels={
                    "counter": Channel.earlier(4),
                    "gone": Channel.earlier(1),
                    "delta": Channel.replayed(1),
                },
            )
            repository.put(child, supply=lambda names: dict.fromkeys(names, payload(b"supplied")))
            saved = repository.get(THREAD, namespace=namespace)
            assert saved
            assert saved.checkpoint_id == "fork2"
            assert saved.channels["counter"].payload == payload(b"forked")
            assert saved.channels["gone"].payload == payload(b"supplied")
            assert repository.get(THREAD, namespace=namespace, checkpoint_id="00003")
            # Removed by others: the head, a checkpoint, a pending write.
            admin.delete(keys.head, keys.checkpoint("00001"), keys.write("00002:t:-1:items"))
            assert repository.get(THREAD, namespace=namespace)
            assert set(repository.ancestors(THREAD, ["items", "counter"], namespace=namespace)) == {"items", "counter"}
        assert len(list(repository.list(THREAD))) == 21
        assert len(list(repository.list(THREAD, metadata={"step": 3}))) == 3
        assert len(list(repository.list())) == 21
        assert len(list(repository.list(metadata={"step": 3}))) == 3
        assert len(list(repository.list(metadata={"run_id": "fork"}))) == 3
        assert len(list(repository.list(metadata={"no": "such"}))) == 0
        assert [thread.thread_id for thread in repository.list_threads(prefix="a")] == [THREAD]
        for checkpoint in chain("plain", 6):
            repository.put(checkpoint)
        behind = Checkpoint(thread_id="plain", checkpoint_id="1", parent_id="00005")
        with pytest.raises(Conflict):
            repository.put(behind, expected_head="00004")
        admin.delete(namespace_keys(prefix, "plain", "").head)
        repository.put(behind, expected_head="00005")
        assert repository.delete("plain", "1")
        assert repository.prune(["plain"], keep=3, namespace="") == 3
        repository.prune(["plain"], keep=2)
        assert [saved.parent_id for saved in repository.list("plain")] == ["00004", None]
        repository.delete_thread("plain")
        repository.copy_thread(THREAD, "copy")
        assert repository.measure([THREAD, "copy"])["copy"].checkpoints == 21
        assert repository.expire("copy", 100)
        assert repository.expire("copy", None)
        assert repository.reindex("copy") == 21
        repository.delete_runs(["fork"])
        repository.prune([THREAD], keep=2)
        repository.prune(["copy"], keep=0)
        repository.delete_thread(THREAD)
        assert list(repository.list_threads()) == []
        expected = {
            *("adopt", "collect", "contents", "rebuild_head", "erase", "fields", "get", "ids", "lineage", "page"),
            "put_behind_expect_head",
            *("survey_ends", "set_ends", "settle_ends", "settle_thread_end"),
            *("members", "clear_parent", "put", "put_writes", "read", "records", "steps", "writes", "add_run"),
        }
        expected |= {"refresh"} if ttl else set()
        expected |= {"touch_thread", "add_run", "unindex_threads"} if cluster else {"forget"}
        expected |= {"find_unindexed", "settle_metadata"} | (set() if cluster else {"namespaces_and_ids"})
        assert client.scripts >= expected
        left = {key.decode() for key in admin.scan_iter(f"{prefix}:*")}
        assert left <= {
            f"{prefix}:run-index:fork",
            f"{prefix}:run-index:run%3A%7B%2A%7D",
            f"{prefix}:metadata-index:{{threads}}:until",
        }
