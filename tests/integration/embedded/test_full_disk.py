"""An embedded server whose disk is full.

What was acknowledged is there and can be read, and writes resume by themselves.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Literal

import pytest
import valkey
from attrs import frozen

import statekeep
from statekeep.domain import QuotaExceeded, StatekeepError, Unavailable
from statekeep.repositories.valkey.embedded import EmbeddedServer
from statekeep.repositories.valkey.embedded import server as embedded

from .probes import answers, connect, eventually, pid_of

KILO = 1024


@frozen
class Disk:
    """A small disk of its own."""

    directory: Path
    _sudo: list[str]

    def mount(self, options: str) -> None:
        mine = f"mode=0700,uid={os.geteuid()},gid={os.getegid()}"
        subprocess.run(
            [*self._sudo, "mount", "-t", "tmpfs", "-o", f"{options},{mine}", "tmpfs", str(self.directory)],
            check=True,
            capture_output=True,
        )

    def remount(self, options: str) -> None:
        subprocess.run(
            [*self._sudo, "mount", "-o", f"remount,{options}", str(self.directory)], check=True, capture_output=True
        )

    def unmount(self) -> None:
        subprocess.run([*self._sudo, "umount", "-l", str(self.directory)], check=True, capture_output=True)

    def fill(self) -> Path:
        """Fill it with something else."""
        path = self.directory / "something-else"
        with path.open("wb", buffering=0) as file:
            for size in (64 * KILO, 1):
                with suppress(OSError):
                    while True:
                        file.write(b"x" * size)
        return path


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path, [] if os.geteuid() == 0 else ["sudo", "-n"])
    try:
        made.mount("size=2m")
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no small disk can be mounted: {error}")
    yield made
    made.unmount()


def items_until_full(url: str, writers: int) -> list[tuple[str, str]]:
    """Put items from many threads until each of them fails; return what was acknowledged."""
    done: list[tuple[str, str]] = []
    with statekeep.connect(url, deadline=0) as keep:

        def write(writer: int) -> None:
            for number in range(2000):
                try:
                    keep.items.put((str(writer),), str(number), {"text": "x" * 2000})
                except StatekeepError:
                    return
                done.append((str(writer), str(number)))

        with ThreadPoolExecutor(writers) as threads:
            list(threads.map(write, range(writers)))
    assert done
    return done


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_nothing_that_was_acknowledged_is_lost(disk: Disk, end: Literal["kill", "stop"]) -> None:
    url = f"embedded:{disk.directory}"
    with EmbeddedServer(disk.directory) as server:
        done = items_until_full(url, 8)
        assert eventually(lambda: answers(server), 20)
        if end == "kill":
            os.kill(pid_of(server), signal.SIGKILL)
    disk.remount("size=16m")
    with statekeep.connect(url) as keep:
        assert [(writer, number) for writer, number in done if keep.items.get((writer,), number) is None] == []


def fails_for_want_of_room(attempt: Callable[[], object]) -> QuotaExceeded:
    """Make attempts until one fails because the disk is full.

    While the server starts again there are other failures.
    """
    for _ in range(20):
        try:
            attempt()
        except Unavailable:
            continue
        except QuotaExceeded as error:
            return error
        raise AssertionError("it was written")
    raise AssertionError("the server does not answer")


def test_the_error_says_so_and_what_is_stored_can_be_read(disk: Disk) -> None:
    url = f"embedded:{disk.directory}"
    with statekeep.connect(url, deadline=20) as keep, statekeep.connect(url, deadline=0.5) as hasty:
        keep.items.put(("a",), "k", {"n": 1})
        # The server writes down that keys expire, too, and must not end because of that. It is more than a block.
        brief = [f"brief-{number}-{'x' * 200}" for number in range(100)]
        for key in brief:
            keep.items.put(("a",), key, {"n": 1}, ttl=3)
        other = disk.fill()
        error = fails_for_want_of_room(lambda: hasty.items.put(("a",), "more", {"text": "x" * 9000}))
        assert f"the disk of {disk.directory} is full" in str(error)
        assert error.operation == "put"
        assert error.key is not None
        assert isinstance(error.__cause__, valkey.ResponseError)
        server = EmbeddedServer(disk.directory).start()
        pid = pid_of(server)
        assert eventually(lambda: all(keep.items.get(("a",), key) is None for key in brief), 20)
        found = keep.items.get(("a",), "k")
        assert found is not None
        assert found.value == {"n": 1}
        assert pid_of(server) == pid
        other.unlink()
        keep.items.put(("a",), "more", {"n": 2})
        with connect(server) as client:
            assert client.config_get("appendfsync") == {"appendfsync": "always"}
            assert client.config_get("min-replicas-to-write") == {"min-replicas-to-write": "0"}
        assert pid_of(server) == pid
        server.stop()


def test_asyncio_hears_the_same(disk: Disk) -> None:
    async def fill() -> None:
        async with statekeep.aconnect(f"embedded:{disk.directory}", deadline=0.5) as keep:
            await keep.items.put(("a",), "k", {"n": 1})
            disk.fill()
            for _ in range(20):
                with suppress(Unavailable):
                    await keep.items.put(("a",), "more", {"text": "x" * 9000})
            assert await keep.items.get(("a",), "k") is not None

    with pytest.raises(QuotaExceeded, match=f"the disk of {disk.directory} is full"):
        asyncio.run(fill())


def test_a_program_that_starts_while_it_is_full_can_read(disk: Disk) -> None:
    url = f"embedded:{disk.directory}"
    with statekeep.connect(url) as keep:
        keep.items.put(("a",), "k", {"n": 1})
    disk.fill()
    with statekeep.connect(url, deadline=0.5) as keep, statekeep.connect(url) as another:
        assert keep.items.get(("a",), "k") is not None
        assert another.items.get(("a",), "k") is not None
        fails_for_want_of_room(lambda: keep.items.put(("a",), "more", {"n": 2}))


def test_a_first_start_on_a_full_disk(disk: Disk) -> None:
    disk.fill()
    with pytest.raises(QuotaExceeded, match=r"full|No space left"):
        EmbeddedServer(disk.directory).start()


def test_a_directory_that_cannot_be_made(disk: Disk) -> None:
    disk.remount("nr_inodes=1")
    with pytest.raises(QuotaExceeded, match="is full"):
        EmbeddedServer(disk.directory / "made").start()


def test_a_write_that_is_larger_than_the_room(disk: Disk) -> None:
    disk.remount("size=4m")
    with statekeep.connect(f"embedded:{disk.directory}", deadline=0.5) as keep:
        keep.items.put(("a",), "k", {"n": 1})
        error = fails_for_want_of_room(lambda: keep.items.put(("a",), "more", {"text": "x" * 6_000_000}))
        assert "is full" in str(error)
        assert keep.items.get(("a",), "k") is not None
        disk.remount("size=64m")
        with statekeep.connect(f"embedded:{disk.directory}", deadline=20) as patient:
            patient.items.put(("a",), "more", {"text": "x" * 6_000_000})


@pytest.mark.parametrize("failures", [3, 1000])
def test_a_write_that_ends_the_server_before_the_keeper_knows_that_it_is_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    starts = tmp_path / "starts"
    binary = tmp_path / "server"
    binary.write_text(
        "#!/bin/sh\n"
        f"echo >> {shlex.quote(str(starts))}\n"
        f"n=$(wc -l < {shlex.quote(str(starts))})\n"
        f'if [ "$n" -gt 1 ] && [ "$n" -le {failures + 1} ]; then exit 1; fi\n'
        f'exec {shlex.quote(embedded._binary())} "$@"\n'
    )
    binary.chmod(0o700)
    monkeypatch.setattr(embedded, "_binary", lambda: str(binary))
    with EmbeddedServer(tmp_path / "data") as server:
        os.kill(pid_of(server), signal.SIGKILL)
        if failures == 3:
            assert eventually(lambda: starts.read_text().count("\n") == 5 and answers(server), 30)
        else:  # something else is wrong
            assert eventually(lambda: not (tmp_path / "data" / "keeper.sock").exists(), 30)
            assert starts.read_text().count("\n") < 20


def test_what_a_dead_rewrite_of_the_log_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / "temp-rewriteaof-bg-123.aof"
    left.write_bytes(b"x")
    with EmbeddedServer(tmp_path):
        assert not left.exists()


def test_a_user_may_choose_speed(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path, config={"appendfsync": "everysec"}) as server, connect(server) as client:
        assert client.config_get("appendfsync") == {"appendfsync": "everysec"}
