"""How many bytes a thread takes where it is stored."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

from attrs import evolve

from statekeep.testing.servers import ValkeyServer

from .calls import Script, Stopwatch, drive
from .conversations import Shape, chat
from .report import Table
from .savers import INCUMBENT, SAVERS, Contender
from .scripts import TASKS, put, put_writes
from .servers import Servers
from .suite import Suite

SHAPES = {
    "short chat, 100 steps": Shape(steps=100, message=200),
    "100 KB document, 100 steps": Shape(steps=100, message=1000, constant=100_000),
}


def stored(suite: Suite) -> None:
    """Compare what the servers, or the file, grow by. In a process's own memory it is not to be had exactly."""
    table = Table(title="Stored: messages growing by 200 bytes or 1 KB per step", unit="bytes", baseline=INCUMBENT)
    for name, shape in SHAPES.items():
        for contender in suite.chosen(SAVERS):
            measure = {"valkey": _in_valkey, "postgres": _in_postgres}.get(contender.server or "", _in_file)
            try:
                size = measure(suite.servers, contender, shape)
            except Exception as error:
                suite.leave_out(contender.name, table.title, error)
            else:
                if size is not None:
                    table.add(name, contender.name, size)
    suite.publish("stored", table)


def _thread(thread_id: str, shape: Shape) -> Script:
    parent = None
    for step in chat(shape):
        yield put(None, thread_id, parent, step)
        parent = step.checkpoint_id
        for task in TASKS:
            yield put_writes(None, thread_id, step, task)


def _fill(subject: Any, thread_id: str, shape: Shape) -> None:
    drive(subject, _thread(thread_id, shape), Stopwatch())


def _in_valkey(servers: Servers, contender: Contender, shape: Shape) -> int:
    """On a server of its own."""
    with ValkeyServer() as server, server.client() as probe:
        with contender.open(evolve(servers, valkey=server, valkey_port=server.port)) as saver:
            _fill(saver, "first", Shape(steps=1, message=200))  # connections and scripts take memory, too
            before = _used(probe)
            _fill(saver, "long", shape)
            return _used(probe) - before


def _used(probe: Any) -> int:
    return int(probe.info("memory")["used_memory"])


def _in_postgres(servers: Servers, contender: Contender, shape: Shape) -> int:
    """In a database of its own."""
    import psycopg

    name = f"stored_{shape.constant}"
    with closing(psycopg.connect(servers.postgres_url, autocommit=True)) as connection:

        def size() -> int:
            found = connection.execute("SELECT pg_database_size(%s)", (name,)).fetchone()
            assert found
            return int(found[0])

        connection.execute(f"CREATE DATABASE {name}".encode())
        with contender.open(evolve(servers, database=name)) as saver:
            before = size()
            _fill(saver, "long", shape)
            return size() - before


def _in_file(servers: Servers, contender: Contender, shape: Shape) -> int | None:
    """In a file, once all of its log is in it; ``None`` if there is no file."""
    before = set(servers.directory.iterdir())
    with contender.open(servers) as saver:
        _fill(saver, "long", shape)
    made: set[Path] = set(servers.directory.iterdir()) - before
    return sum(path.stat().st_size for path in made) or None
