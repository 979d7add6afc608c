"""Programs that are killed, some of them together with their embedded server."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import pytest
import valkey

from statekeep.domain import Unavailable
from statekeep.repositories.valkey import open_client
from statekeep.repositories.valkey.embedded import EmbeddedServer

from .crews import audit_all, keeps_of, under, writers
from .model import Model
from .tally import Tally
from .work import PARTS, Writer

KILL_WRITER = "kill -9 of a writer"
KILL_SERVER = "kill -9 of an embedded server"
KILL_ALL = "kill -9 of a writer, its server and the keeper"

BEGUN, ANSWERED, REFUSED = b"b", b"a", b"r"


def write_for_ever(url: str, name: str, seed: str, skipped: int, journal: Connection) -> None:
    """Do what a writer of this seed does, and report each operation before it begins and when it has ended."""
    writer = Writer(name, seed, PARTS, Model(), Tally(seed))
    keeps = keeps_of(open_client(url, client="valkey-py", deadline=10), "blocking")

    async def work() -> None:
        for _ in range(skipped):
            writer.next_action()
        while True:
            action = writer.next_action()
            journal.send_bytes(BEGUN)
            try:
                await writer.perform(action, keeps)
            except Unavailable:
                journal.send_bytes(REFUSED)
            else:
                journal.send_bytes(ANSWERED)

    asyncio.run(work())


FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([write_for_ever.__module__])


def _read(journal: Connection) -> list[bytes]:
    """All that was reported; the rest of a report that was cut off is none."""
    lines = []
    try:
        while True:
            lines.append(journal.recv_bytes())
    except (EOFError, OSError):
        return lines


def follow(writer: Writer, lines: list[bytes]) -> int:
    """Apply a journal to the model of a writer; returns how many operations it is about."""
    count = 0
    for place, line in enumerate(lines):
        if line == BEGUN:
            count += 1
            effects = writer.begin(writer.next_action())
            ended = lines[place + 1] if place + 1 < len(lines) else None
            writer.settle(effects, is_acknowledged=ended == ANSWERED)
    return count


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["writer", "all"])
def test_programs_that_are_killed(
    kind: Literal["writer", "all"], tmp_path: Path, source: random.Random, tally: Tally, factor: int
) -> None:
    tally.wanted = {KILL_WRITER if kind == "writer" else KILL_ALL}
    url = f"embedded:{tmp_path}"
    [writer, *_] = writers(source, tally)
    done = 0
    # In one of the two ways the server lives on, because this process uses it too.
    server = EmbeddedServer(tmp_path).start() if kind == "writer" else None
    for _ in range((12 if kind == "writer" else 5) * factor):
        journal, sender = FORKS.Pipe(duplex=False)
        process = FORKS.Process(target=write_for_ever, args=(url, writer.name, writer.seed, done, sender))
        process.start()
        sender.close()
        assert journal.poll(30)
        time.sleep(source.uniform(0, 0.15))
        if kind == "writer":
            process.kill()
        else:
            _kill_all(tmp_path, process, source)
        process.join()
        tally.faults.update(tally.wanted)
        done += follow(writer, _read(journal))
        journal.close()

        client = open_client(url, client="valkey-py")
        asyncio.run(writer.verify(keeps_of(client, "blocking")))
        with EmbeddedServer(tmp_path) as again, valkey.Valkey(unix_socket_path=again.socket_path) as plain:
            audit_all(plain, tally)
        client.close()
    if server is not None:
        server.stop()


def _kill_all(directory: Path, process: Any, source: random.Random) -> None:
    """End a program, its server and the server's keeper, in any order."""
    keeper = json.loads((directory / "keeper.json").read_text())
    with valkey.Valkey(unix_socket_path=str(directory / "valkey.sock")) as plain:
        pids = [plain.info("server")["process_id"], keeper["pid"], process.pid]
    source.shuffle(pids)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize("driver", ["glide", "valkey-py"])
def test_an_embedded_server_that_is_killed_under_its_users(
    driver: Literal["glide", "valkey-py"], tmp_path: Path, source: random.Random, tally: Tally, factor: int
) -> None:
    tally.wanted = {KILL_SERVER}
    crew = writers(source, tally)
    with EmbeddedServer(tmp_path) as server:

        def kill() -> None:
            for _ in range(5 * factor):
                time.sleep(source.uniform(0.05, 0.3))
                with valkey.Valkey(unix_socket_path=server.socket_path) as plain:
                    _until(plain.ping)
                    pid = plain.info("server")["process_id"]
                os.kill(pid, signal.SIGKILL)
                tally.faults[KILL_SERVER] += 1

        under(
            kill,
            crew,
            lambda: open_client(f"embedded:{tmp_path}", client=driver, deadline=20, request_timeout=1.0),
            lambda client: keeps_of(client, "blocking"),
            "blocking",
            source,
        )
        with valkey.Valkey(unix_socket_path=server.socket_path) as plain:
            audit_all(plain, tally)
    assert not tally.operations["unacknowledged"]


def _until(ask: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            ask()
            return
        except valkey.ConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
