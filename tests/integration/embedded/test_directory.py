"""The directory of an embedded server: what another user prepared, or can change, is not used."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import valkey

import statekeep
from statekeep.domain.errors import InvalidInput, Unavailable
from statekeep.repositories.valkey.embedded import EmbeddedServer
from statekeep.repositories.valkey.embedded import directory as embedded_directory

NOBODY = 65534
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")

LISTEN = """
import os, socket, sys
os.setgid({user}), os.setuid({user})
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o777)
listener.listen()
print("listening", flush=True)
listener.setblocking(True)
sys.stdin.read()
listener.setblocking(False)
heard = b""
try:
    while True:
        connection = listener.accept()[0]
        connection.setblocking(False)
        heard += b"connected" + connection.recv(100)
except BlockingIOError:
    pass
print(heard.decode(), flush=True)
"""


@contextmanager
def listening(path: Path) -> Iterator[Callable[[], str]]:
    """Another user listens at this path; yields a function that ends that and returns what was sent there."""
    with subprocess.Popen(
        [sys.executable, "-c", LISTEN.format(user=NOBODY), str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "listening\n"

            def heard() -> str:
                return process.communicate()[0].strip()

            yield heard
        finally:
            process.kill()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can reach, unlike pytest's own."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def works(directory: Path) -> bool:
    with EmbeddedServer(directory) as server, valkey.Valkey.from_url(server.url) as client:
        return bool(client.ping())


def refused(directory: Path, match: str) -> str:
    with pytest.raises(InvalidInput, match=match) as caught:
        EmbeddedServer(directory).start()
    assert caught.value.field == "directory"
    return str(caught.value)


class TestTheDirectoryItself:
    @pytest.mark.parametrize("mode", [0o700, 0o750, 0o755])
    def test_who_only_reads_does_no_harm(self, tmp_path: Path, mode: int) -> None:
        tmp_path.chmod(mode)
        assert works(tmp_path)
        # What others could read there is no data.
        for path in tmp_path.rglob("*"):
            assert not path.stat().st_mode & 0o077

    @pytest.mark.parametrize("mode", [0o777, 0o1777, 0o702])
    def test_nobody_else_may_write_to_it(self, tmp_path: Path, mode: int) -> None:
        tmp_path.chmod(mode)
        assert f"chmod 700 {tmp_path}" in refused(tmp_path, "can be written by other users")
        assert list(tmp_path.iterdir()) == []

    def test_connect_refuses_it_too(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o777)
        with pytest.raises(InvalidInput, match="chmod 700"):
            statekeep.connect(f"embedded:{tmp_path}")

    @AS_ROOT
    def test_a_group_with_other_members_may_not_write_to_it(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o770)
        os.chown(tmp_path, -1, NOBODY)
        refused(tmp_path, "can be written by other users")

    @AS_ROOT
    def test_a_group_with_nobody_else_may(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o770)
        os.chown(tmp_path, -1, 54321)
        assert works(tmp_path)

    @AS_ROOT
    def test_it_belongs_to_nobody_else(self, tmp_path: Path) -> None:
        os.chown(tmp_path, NOBODY, NOBODY)
        refused(tmp_path, "belongs to .*, not to root")
        assert list(tmp_path.iterdir()) == []

    def test_it_is_made_for_its_user_alone(self, tmp_path: Path) -> None:
        before = os.umask(0)
        try:
            assert works(tmp_path / "above" / "data")
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / "above").stat().st_mode) == 0o755
        assert stat.S_IMODE((tmp_path / "above" / "data").stat().st_mode) == 0o700


class TestWhatIsAbove:
    def test_nobody_else_may_write_there(self, tmp_path: Path) -> None:
        (tmp_path / "data").mkdir(0o700)
        tmp_path.chmod(0o777)
        assert f"chmod go-w {tmp_path}" in refused(tmp_path / "data", "could replace what is below")

    def test_unless_it_is_sticky(self, tmp_path: Path) -> None:
        (tmp_path / "data").mkdir(0o700)
        tmp_path.chmod(0o1777)
        assert works(tmp_path / "data")

    @AS_ROOT
    def test_it_belongs_to_nobody_else(self, tmp_path: Path) -> None:
        (tmp_path / "theirs" / "data").mkdir(parents=True, mode=0o700)
        (tmp_path / "theirs").chmod(0o755)
        os.chown(tmp_path / "theirs", NOBODY, NOBODY)
        refused(tmp_path / "theirs" / "data", "who could replace what is below")
        refused(tmp_path / "theirs" / ".." / "theirs" / "data", "who could replace what is below")

    @AS_ROOT
    def test_an_owner_without_an_account_is_that_of_a_mounted_folder(self, tmp_path: Path) -> None:
        (tmp_path / "mounted" / "data").mkdir(parents=True, mode=0o700)
        os.chown(tmp_path / "mounted", 54321, 54321)
        assert works(tmp_path / "mounted" / "data")
        os.chown(tmp_path / "mounted" / "data", 54321, 54321)
        refused(tmp_path / "mounted" / "data", "belongs to user 54321")

    @AS_ROOT
    def test_a_link_of_somebody_else_is_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "data").mkdir(0o700)
        link = tmp_path / "link"
        link.symlink_to("data")
        assert works(link)
        os.chown(link, NOBODY, NOBODY, follow_symlinks=False)
        refused(link, "is a link of")

    def test_links_that_lead_to_each_other(self, tmp_path: Path) -> None:
        (tmp_path / "a").symlink_to("b")
        (tmp_path / "b").symlink_to("a")
        refused(tmp_path / "a", "(?i)symbolic links")

    def test_links_may_be_relative_and_absolute(self, tmp_path: Path) -> None:
        (tmp_path / "below").mkdir()
        (tmp_path / "below" / "up").symlink_to("../next")
        (tmp_path / "next").symlink_to(tmp_path / "made")
        with EmbeddedServer(tmp_path / "below" / "up" / "data") as server:
            assert Path(server.socket_path).parent == tmp_path / "made" / "data"


class TestWhatIsInIt:
    @pytest.mark.parametrize(
        "name", ["server.log", "lock", "keeper.json", "keeper.json.new", "keeper.sock", "valkey.sock", "dump.rdb"]
    )
    def test_links_are_not_followed(self, tmp_path: Path, name: str) -> None:
        victim = tmp_path / "victim"
        victim.write_bytes(b"precious" * (1 << 18))  # longer than a log may be before it is truncated
        (tmp_path / "data").mkdir(0o700)
        (tmp_path / "data" / name).symlink_to(victim)
        refused(tmp_path / "data", f"{name} is a link")
        assert victim.read_bytes() == b"precious" * (1 << 18)

    @pytest.mark.parametrize("name", ["appendonlydir", "appendonlydir/appendonly.aof.1.incr.aof"])
    def test_the_data_is_no_link(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "data").mkdir(0o700)
        assert works(tmp_path / "data")
        moved = (tmp_path / "data" / name).rename(tmp_path / "elsewhere")
        (tmp_path / "data" / name).symlink_to(moved)
        refused(tmp_path / "data", "is a link")

    @pytest.mark.parametrize("name", ["server.log", "lock", "keeper.json", "appendonlydir", "valkey.sock"])
    def test_what_is_of_another_type(self, tmp_path: Path, name: str) -> None:
        os.mkfifo(tmp_path / name)
        refused(tmp_path, f"{name} is not of the type")

    @pytest.mark.parametrize("name", ["lock", "appendonlydir/appendonly.aof.1.incr.aof"])
    def test_nobody_else_may_write_to_it(self, tmp_path: Path, name: str) -> None:
        assert works(tmp_path)
        (tmp_path / name).chmod(0o666)
        assert "chmod go-w" in refused(tmp_path, "can be written by other users")

    @AS_ROOT
    @pytest.mark.parametrize("name", ["server.log", "appendonlydir", "appendonlydir/appendonly.aof.manifest"])
    def test_it_belongs_to_nobody_else(self, tmp_path: Path, name: str) -> None:
        assert works(tmp_path)
        os.chown(tmp_path / name, NOBODY, NOBODY)
        refused(tmp_path, f"{name} belongs to")

    @AS_ROOT
    def test_sockets_of_another_user(self, open_folder: Path) -> None:
        directory = open_folder / "data"
        directory.mkdir()
        for name in ("valkey.sock", "keeper.sock"):
            directory.chmod(0o777)  # as long as he prepares it
            with listening(directory / name) as heard:
                directory.chmod(0o700)
                refused(directory, f"{name} belongs to")
                assert heard() == ""
            (directory / name).unlink()

    def test_a_long_log_starts_anew(self, tmp_path: Path) -> None:
        (tmp_path / "server.log").write_bytes(b"x" * (1 << 21))
        assert works(tmp_path)
        assert (tmp_path / "server.log").stat().st_size < 1 << 20


class TestRecord:
    @pytest.mark.parametrize(
        "text",
        [
            b"",
            b"null",
            b"7",
            b"[1, 2]",
            b'"keeper"',
            b"{}",
            b'{"keeper": 5}',
            b'{"keeper": null}',
            b'{"keeper": "a\\u0000b"}',
            b'{"keeper": "/tmp/\\ud800/keeper.sock"}',
            b'{"keeper": ""}',
            b'{"keeper": "keeper.sock"}',
            b"\xff\xfe",
            b"[" * 60_000,
            b'{"keeper": "' + b"x" * 1_000_000 + b'"}',
        ],
        ids=range(15),
    )
    def test_one_that_is_damaged_is_none(self, tmp_path: Path, text: bytes) -> None:
        (tmp_path / "keeper.json").write_bytes(text)
        with EmbeddedServer(tmp_path) as server:
            assert json.loads((tmp_path / "keeper.json").read_bytes())["keeper"] == str(tmp_path / "keeper.sock")
            assert works(tmp_path)
            assert Path(server.socket_path).parent == tmp_path

    @pytest.mark.parametrize("kind", ["directory", "socket", "fifo"])
    def test_one_that_is_no_file_is_refused(self, tmp_path: Path, kind: str) -> None:
        record = tmp_path / "keeper.json"
        with socket.socket(socket.AF_UNIX) as other:
            if kind == "directory":
                record.mkdir()
            elif kind == "socket":
                other.bind(str(record))
            else:
                os.mkfifo(record)
            refused(tmp_path, r"keeper\.json is not of the type")

    def test_one_that_points_elsewhere_is_none(self, tmp_path: Path) -> None:
        directory = tmp_path / "data"
        directory.mkdir(0o700)
        (tmp_path / "statekeep-open").mkdir(0o755)
        for path in (tmp_path / "keeper.sock", tmp_path / "statekeep-open" / "keeper.sock", directory / "other.sock"):
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(str(path))
                listener.listen()
                listener.settimeout(0)
                (directory / "keeper.json").write_text(json.dumps({"keeper": str(path), "pid": 1}))
                assert works(directory)
                with pytest.raises(BlockingIOError):
                    listener.accept()

    @AS_ROOT
    def test_one_that_points_at_another_user(self, open_folder: Path) -> None:
        directory = open_folder / "data"
        directory.mkdir(0o700)
        theirs = open_folder / "statekeep-theirs"
        theirs.mkdir()
        os.chown(theirs, NOBODY, NOBODY)
        with listening(theirs / "keeper.sock") as heard:
            (directory / "keeper.json").write_text(json.dumps({"keeper": str(theirs / "keeper.sock"), "pid": 1}))
            assert works(directory)
            assert heard() == ""

    def test_the_keeper_is_found_without_one(self, tmp_path: Path) -> None:
        with EmbeddedServer(tmp_path) as server:
            (tmp_path / "keeper.json").unlink()
            with EmbeddedServer(tmp_path) as other:
                assert other.socket_path == server.socket_path
                assert not (tmp_path / "keeper.json").exists()

    def test_one_of_a_long_directory_points_to_a_private_one(self, tmp_path: Path) -> None:
        directory = tmp_path / ("long-" * 30)
        with EmbeddedServer(directory) as server, EmbeddedServer(directory) as other:
            assert other.socket_path == server.socket_path


class TestPeers:
    @AS_ROOT
    def test_nothing_is_sent_to_another_user(self, open_folder: Path) -> None:
        open_folder.chmod(0o777)
        with listening(open_folder / "keeper.sock") as heard:
            with pytest.raises(Unavailable, match="listens at"):
                embedded_directory.connect(str(open_folder / "keeper.sock"))
            assert heard() == "connected"

    def test_this_user_is_recognized(self, tmp_path: Path) -> None:
        with ExitStack() as stack:
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(str(tmp_path / "s"))
            listener.listen()
            stack.enter_context(embedded_directory.connect(str(tmp_path / "s")))
