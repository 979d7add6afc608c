"""The embedded server: who keeps it alive, what survives, and how it fails."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from statekeep.domain.errors import InvalidInput, Unavailable, Unsupported
from statekeep.repositories.valkey.embedded import EmbeddedServer

from .probes import alive, answers, connect, eventually, pid_of

USER = """
import sys
from statekeep.repositories.valkey.embedded import EmbeddedServer
import valkey

server = EmbeddedServer(sys.argv[1]).start()
client = valkey.Valkey.from_url(server.url)
{body}
print(server.socket_path, client.info("server")["process_id"], flush=True)
sys.stdin.read()
"""


@contextmanager
def user(directory: Path, body: str = "") -> Iterator[tuple[subprocess.Popen[str], str, int]]:
    """Another process that uses the directory's server until its stdin ends; its socket and the server's pid."""
    process = subprocess.Popen(
        [sys.executable, "-c", USER.format(body=body), str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        try:
            socket_path, pid = process.stdout.readline().rsplit(" ", 1)
            yield process, socket_path, int(pid)
        finally:
            process.kill()


class TestInMemory:
    def test_each_has_a_server_of_its_own(self) -> None:
        with EmbeddedServer() as one, EmbeddedServer() as other, connect(one) as client, connect(other) as foreign:
            client.set("key", "value")
            assert client.get("key") == b"value"
            assert foreign.get("key") is None

    def test_nothing_is_left_of_it(self) -> None:
        with EmbeddedServer() as server:
            pid, folder = pid_of(server), Path(server.socket_path).parent
            assert alive(pid)
            assert folder.exists()
        assert not alive(pid)
        assert not folder.exists()

    def test_it_ends_with_the_object_that_was_forgotten(self) -> None:
        server = EmbeddedServer().start()
        pid = pid_of(server)
        del server
        gc.collect()
        assert eventually(lambda: not alive(pid))

    def test_it_listens_on_its_unix_socket_alone(self) -> None:
        with EmbeddedServer() as server, connect(server) as client:
            assert client.config_get("port") == {"port": "0"}
            assert Path(server.socket_path).stat().st_mode & 0o077 == 0
            assert Path(server.socket_path).parent.stat().st_mode & 0o077 == 0

    def test_a_server_that_died_is_not_replaced_by_an_empty_one(self) -> None:
        with EmbeddedServer() as server:
            url = server.url
            os.kill(pid_of(server), signal.SIGKILL)
            assert eventually(lambda: not Path(server.socket_path).exists())
            server.start()
            assert server.url != url
            assert alive(pid_of(server))

    def test_starting_twice_changes_nothing(self) -> None:
        with EmbeddedServer() as server:
            pid = pid_of(server)
            assert server.start() is server
            assert pid_of(server) == pid

    def test_it_starts_again_after_stop(self) -> None:
        server = EmbeddedServer()
        for _ in range(2):
            with server, connect(server) as client:
                assert client.dbsize() == 0
                client.set("key", "value")
        server.stop()


class TestDirectory:
    def test_data_survives_a_stop(self, tmp_path: Path) -> None:
        with EmbeddedServer(tmp_path / "made" / "here") as server, connect(server) as client:
            client.set("key", b"\x00\xff")
        with EmbeddedServer(str(tmp_path / "made" / "here")) as server, connect(server) as client:
            assert client.get("key") == b"\x00\xff"

    def test_data_survives_a_sigkill_of_the_program(self, tmp_path: Path) -> None:
        with user(tmp_path, "client.set('key', 'value')") as (process, _, pid):
            process.kill()
            process.wait()
            assert eventually(lambda: not alive(pid))
        with EmbeddedServer(tmp_path) as server, connect(server) as client:
            assert client.get("key") == b"value"

    def test_data_survives_a_sigkill_of_the_server_under_its_users(self, tmp_path: Path) -> None:
        with EmbeddedServer(tmp_path) as server:
            with connect(server) as client:
                client.set("key", "value")
            pid = pid_of(server)
            os.kill(pid, signal.SIGKILL)
            assert eventually(lambda: not alive(pid) and answers(server))
            assert pid_of(server) != pid
            with connect(server) as client:
                assert client.get("key") == b"value"

    def test_the_server_answers_when_its_log_is_on_the_disk(self, tmp_path: Path) -> None:
        with EmbeddedServer(tmp_path) as server, connect(server) as client:
            assert client.config_get("appendonly") == {"appendonly": "yes"}
            assert client.config_get("appendfsync") == {"appendfsync": "always"}

    @pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the children of a process in /proc")
    def test_data_survives_sigkills_of_a_server_that_is_not_ready(self, tmp_path: Path) -> None:
        with EmbeddedServer(tmp_path) as server:
            with connect(server) as client:
                client.set("key", "value")
            keeper = json.loads((tmp_path / "keeper.json").read_text())["pid"]
            children = Path(f"/proc/{keeper}/task/{keeper}/children")
            killed = {pid_of(server)}
            os.kill(max(killed), signal.SIGKILL)
            while len(killed) < 4:  # each of them within a moment after the fork
                for pid in set(map(int, children.read_text().split())) - killed:
                    os.kill(pid, signal.SIGKILL)
                    killed.add(pid)
            assert eventually(lambda: answers(server))
            with connect(server) as client:
                assert client.get("key") == b"value"

    def test_data_survives_a_sigkill_of_the_keeper(self, tmp_path: Path) -> None:
        with EmbeddedServer(tmp_path) as server:
            with connect(server) as client:
                client.set("key", "value")
            pid = pid_of(server)
            os.kill(json.loads((tmp_path / "keeper.json").read_text())["pid"], signal.SIGKILL)
            # The lock makes this start wait for the end of the server that has lost its keeper.
            with EmbeddedServer(tmp_path) as another, connect(another) as client:
                assert not alive(pid)
                assert client.get("key") == b"value"
                server.start()
                assert pid_of(server) == pid_of(another)

    def test_data_survives_a_sigkill_of_all(self, tmp_path: Path) -> None:
        with user(tmp_path, "client.set('key', 'value')") as (process, _, pid):
            os.kill(json.loads((tmp_path / "keeper.json").read_text())["pid"], signal.SIGKILL)
            os.kill(pid, signal.SIGKILL)
            process.kill()
        assert (tmp_path / "keeper.json").exists()
        assert (tmp_path / "keeper.sock").exists()
        with EmbeddedServer(tmp_path) as server, connect(server) as client:
            assert client.get("key") == b"value"

    def test_a_record_cut_short_by_a_crash_is_dropped(self, tmp_path: Path) -> None:
        with EmbeddedServer(tmp_path) as server, connect(server) as client:
            client.set("key", "value")
            client.set("last", "value")
        (log,) = tmp_path.glob("appendonlydir/*.incr.aof")
        log.write_bytes(log.read_bytes()[:-3])
        with EmbeddedServer(tmp_path) as server, connect(server) as client:
            assert client.mget("key", "last") == [b"value", None]

    def test_one_server_for_two_objects(self, tmp_path: Path) -> None:
        with EmbeddedServer(tmp_path) as one:
            with EmbeddedServer(tmp_path) as other:
                assert pid_of(one) == pid_of(other)
            assert alive(pid_of(one))

    def test_one_server_for_two_processes_until_the_last_has_ended(self, tmp_path: Path) -> None:
        with EmbeddedServer(tmp_path) as server, user(tmp_path) as (process, socket_path, pid):
            assert (socket_path, pid) == (server.socket_path, pid_of(server))
            began = time.monotonic()
            server.stop()
            assert time.monotonic() - began < 1.0
            assert alive(pid)
            process.kill()
            assert eventually(lambda: not alive(pid))

    def test_who_asks_while_the_server_ends_is_answered_when_it_has_ended(self, tmp_path: Path) -> None:
        server = EmbeddedServer(tmp_path).start()
        pid = pid_of(server)
        os.kill(pid, signal.SIGSTOP)  # so that its end takes a while
        with ThreadPoolExecutor(1) as threads, socket.socket(socket.AF_UNIX) as late:
            try:
                stopped = threads.submit(server.stop)
                time.sleep(0.3)
                late.connect(str(tmp_path / "keeper.sock"))
                late.send(b"w")
                late.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    late.recv(1)
                assert not stopped.done()
            finally:
                os.kill(pid, signal.SIGCONT)
            late.settimeout(5.0)
            with contextlib.suppress(ConnectionResetError):
                assert late.recv(1) == b""
            assert not alive(pid)
            stopped.result()

    def test_one_server_under_two_names_of_the_directory(self, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "real")
        with EmbeddedServer(tmp_path / "real") as one, EmbeddedServer(tmp_path / "link") as other:
            assert one.socket_path == other.socket_path

    def test_many_start_and_stop_at_the_same_instant(self, tmp_path: Path) -> None:
        at_once = threading.Barrier(6)

        def increment(_: int) -> None:
            for _ in range(5):
                at_once.wait(30)
                with EmbeddedServer(tmp_path) as server, connect(server) as client:
                    client.incr("count")

        with ThreadPoolExecutor(6) as threads:
            list(threads.map(increment, range(6)))
        with EmbeddedServer(tmp_path) as server, connect(server) as client:
            assert client.get("count") == b"30"

    def test_two_processes_start_at_the_same_instant(self, tmp_path: Path) -> None:
        with ThreadPoolExecutor(3) as threads:

            def start(number: int) -> int:
                with user(tmp_path, "client.incr('count')") as (_, _, server_pid):
                    together.wait(30)
                    return server_pid

            together = threading.Barrier(3)
            assert len(set(threads.map(start, range(3)))) == 1
        with EmbeddedServer(tmp_path) as server, connect(server) as client:
            assert client.get("count") == b"3"

    @pytest.mark.parametrize("name", ["long-" * 30, "with space", 'quote"\\back', "100%41", "émoji-🙂", "new\nline"])
    def test_any_name_will_do(self, tmp_path: Path, name: str) -> None:
        with EmbeddedServer(tmp_path / name) as server, connect(server) as client:
            client.set("key", "value")
            home = Path(server.socket_path).parent
        assert [path.name for path in (tmp_path / name).glob("*.sock")] == []
        assert home == tmp_path / name or not home.exists()
        with EmbeddedServer(tmp_path / name) as server, connect(server) as client:
            assert client.get("key") == b"value"

    def test_a_relative_name_is_of_the_moment_of_creation(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        server = EmbeddedServer("data")
        monkeypatch.chdir("/")
        with server:
            assert Path(server.socket_path).parent == tmp_path / "data"


class TestFork:
    def test_a_child_that_ends_does_not_end_the_server(self, tmp_path: Path) -> None:
        body = "import os\nif os.fork() == 0: os._exit(0)\nos.wait()\nclient.ping()"
        with user(tmp_path, body) as (_, _, pid):
            time.sleep(0.1)
            assert alive(pid)

    def test_a_child_that_stops_does_not_end_the_server(self, tmp_path: Path) -> None:
        body = "import os\nif os.fork() == 0:\n    server.stop()\n    os._exit(0)\nos.wait()\nclient.ping()"
        with user(tmp_path, body) as (_, _, pid):
            time.sleep(0.1)
            assert alive(pid)

    def test_a_child_keeps_the_server_of_a_parent_that_ends(self, tmp_path: Path) -> None:
        body = "import os\nif os.fork() != 0: os._exit(0)\nclient.close()"
        with user(tmp_path, body) as (parent, _, pid):
            parent.wait()
            time.sleep(0.1)
            assert alive(pid)
            assert parent.stdin is not None
            parent.stdin.close()  # which ends the child
            assert eventually(lambda: not alive(pid))

    def test_a_subprocess_is_no_user(self, tmp_path: Path) -> None:
        with EmbeddedServer(tmp_path) as server, subprocess.Popen(["sleep", "60"], close_fds=False) as sleeper:
            pid = pid_of(server)
            server.stop()
            assert not alive(pid)
            sleeper.kill()


class TestSettings:
    def test_they_reach_the_server(self, tmp_path: Path) -> None:
        with EmbeddedServer(tmp_path, config={"maxmemory": "12mb", "save": ""}) as server, connect(server) as client:
            assert client.config_get("maxmemory") == {"maxmemory": str(12 << 20)}
            assert client.config_get("save") == {"save": ""}

    def test_a_second_user_may_be_silent_but_not_contradict(self, tmp_path: Path) -> None:
        with EmbeddedServer(tmp_path, config={"maxmemory": "12mb"}) as server:
            with EmbeddedServer(tmp_path), EmbeddedServer(tmp_path, config={"maxmemory": "12mb"}):
                pass
            with pytest.raises(InvalidInput, match="other settings") as caught:
                EmbeddedServer(tmp_path, config={"maxmemory": "13mb"}).start()
            assert caught.value.field == "config"
            assert alive(pid_of(server))

    @pytest.mark.parametrize(
        "config",
        [
            {"port": "6379"},
            {"dir": "/"},
            {"requirepass": "x"},
            {"min-replicas-to-write": "0"},
            {"save\nport": "1"},
            {"maxmemory": "1\nport 1"},
            {"": ""},
        ],
    )
    def test_what_is_not_for_choice(self, config: dict[str, str]) -> None:
        with pytest.raises(InvalidInput) as caught:
            EmbeddedServer(config=config)
        assert caught.value.field == "config"


class TestFailures:
    def test_a_bad_setting_shows_the_log_of_the_server(self, tmp_path: Path) -> None:
        with pytest.raises(Unavailable, match="no-such-setting"):
            EmbeddedServer(tmp_path, config={"no-such-setting": "1"}).start()
        with EmbeddedServer(tmp_path) as server:
            assert answers(server)

    def test_the_private_directory_of_a_failed_start_is_removed(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        with pytest.raises(Unavailable):
            EmbeddedServer(config={"no-such-setting": "1"}).start()
        assert eventually(lambda: not any(tmp_path.iterdir()))

    def test_damaged_data_shows_the_log_of_the_server(self, tmp_path: Path) -> None:
        with EmbeddedServer(tmp_path) as server, connect(server) as client:
            client.set("key", "value")
        (log,) = tmp_path.glob("appendonlydir/*.incr.aof")
        log.write_bytes(b"garbage\r\n" + log.read_bytes())
        with pytest.raises(Unavailable, match="Bad file format"):
            EmbeddedServer(tmp_path).start()

    def test_a_file_is_no_directory(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        for wrong in (tmp_path / "file", tmp_path / "file" / "below"):
            with pytest.raises(InvalidInput, match="file") as caught:
                EmbeddedServer(wrong).start()
            assert caught.value.field == "directory"

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
    def test_a_directory_that_cannot_be_written(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o500)
        with pytest.raises(InvalidInput, match="denied"):
            EmbeddedServer(tmp_path).start()

    @pytest.mark.parametrize("directory", ["", "a\0b", 7, b"bytes"])
    def test_what_is_no_path(self, directory: str) -> None:
        with pytest.raises(InvalidInput) as caught:
            EmbeddedServer(directory)
        assert caught.value.field == "directory"

    @pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf")])
    def test_what_is_no_timeout(self, timeout: float) -> None:
        with pytest.raises(InvalidInput) as caught:
            EmbeddedServer(timeout=timeout)
        assert caught.value.field == "timeout"

    def test_a_directory_that_is_locked_from_elsewhere(self, tmp_path: Path) -> None:
        with (tmp_path / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with pytest.raises(Unavailable, match="in use"):
                EmbeddedServer(tmp_path, timeout=0.2).start()

    def test_no_server_for_the_platform(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("platform.machine", lambda: "riscv64")
        with pytest.raises(Unsupported, match="riscv64"):
            EmbeddedServer().start()

    def test_the_address_of_a_stopped_server(self) -> None:
        with pytest.raises(Unavailable, match="not started"):
            _ = EmbeddedServer().url
        assert repr(EmbeddedServer()) == "<EmbeddedServer in memory stopped>"


def test_the_lock_is_free_when_stop_returns(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path), (tmp_path / "lock").open("w") as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
