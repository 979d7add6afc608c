"""Places where the command line finds records: a URL for each kind of service."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from json import dumps, loads
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from typer.testing import CliRunner

import statekeep
from statekeep import Channel, Checkpoint, JsonSerializer, PendingWrite, dump
from statekeep.cli.app import application
from statekeep.testing.servers import ValkeyCluster, ValkeyServer

from ..agentcore.emulated import Worlds

PLACES = ["embedded", "valkey-py", "glide", "cluster", "agentcore"]
SECONDS = 60


@frozen
class Ended:
    """What a command left: its exit status, and what it printed."""

    status: int
    stdout: str
    stderr: str

    @property
    def lines(self) -> list[list[str]]:
        return [line.split("\t") for line in self.stdout.splitlines()]

    @property
    def json_lines(self) -> list[Any]:
        return [loads(line) for line in self.stdout.splitlines()]

    @property
    def json(self) -> Any:
        return loads(self.stdout)


@frozen
class Place:
    """Where records are, and how to run commands there."""

    url: str
    key_prefix: str

    def connect(self) -> statekeep.Connection:
        return statekeep.connect(self.url, prefix=self.key_prefix)

    @property
    def environment(self) -> dict[str, str]:
        return {"STATEKEEP_URL": self.url, "STATEKEEP_KEY_PREFIX": self.key_prefix}

    def run(self, *arguments: str) -> Ended:
        """Run a command in this process, which is quicker. Standard input is no terminal."""
        result = CliRunner().invoke(application(), list(arguments), env=self.environment, catch_exceptions=False)
        return Ended(result.exit_code, result.stdout, result.stderr)

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start the program itself."""
        return program(arguments, **{"env": self.environment} | options)

    def program(self, *arguments: str, **options: Any) -> Ended:
        """Run the program itself to its end."""
        with self.start(*arguments, **options) as process:
            stdout, stderr = process.communicate(timeout=SECONDS)
        return Ended(process.returncode, stdout.decode(), stderr.decode())


def program(arguments: Sequence[str], env: dict[str, str] | None = None, **options: Any) -> subprocess.Popen[bytes]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STATEKEEP_")}
    streams: dict[str, Any] = {"stdin": subprocess.DEVNULL} | dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
    started: subprocess.Popen[bytes] = subprocess.Popen(
        [sys.executable, "-m", "statekeep", *arguments],
        env=environment | {"COLUMNS": "200", "PYTHONWARNINGS": "error"} | (env or {}),
        **streams | options,
    )
    return started


def read(leader: int) -> str:
    """Return all that a terminal gets until the last program that holds it ends."""
    shown = b""
    while True:
        assert select.select([leader], [], [], SECONDS)[0], shown
        try:
            more = os.read(leader, 65536)
        except OSError:  # Linux says so when nobody holds the other end
            more = b""
        if not more:
            os.close(leader)
            return shown.decode()
        shown += more


EACH = """
import json, sys
from statekeep.cli import main
for arguments in json.loads(sys.argv[1]):
    try:
        main(arguments)
    except SystemExit as ended:
        print("status", ended.code)
"""


def all_on_terminal(place: Place, commands: Sequence[Sequence[str]]) -> tuple[list[int], str]:
    """Run commands one after the other in one process, which is quicker."""
    leader, follower = pty.openpty()
    streams: Any = dict.fromkeys(("stdin", "stdout", "stderr"), follower)
    environment = os.environ | place.environment | {"TERM": "xterm", "COLUMNS": "200", "NO_COLOR": "1"}
    process = subprocess.Popen([sys.executable, "-c", EACH, dumps(commands)], env=environment, **streams)
    os.close(follower)
    shown = read(leader)
    assert process.wait(SECONDS) == 0, shown
    statuses = [int(status) for status in re.findall(r"^status (\d+)\r?$", shown, re.MULTILINE)]
    assert len(statuses) == len(commands), shown
    return statuses, shown


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, prefix: str, tmp_path: Path) -> Place:
    """An empty place of each kind."""
    return made(request, request.param, prefix, tmp_path)


def made(request: pytest.FixtureRequest, kind: str, prefix: str, tmp_path: Path) -> Place:
    if kind == "embedded":
        return Place(f"embedded:{tmp_path / 'data'}", prefix)
    if kind == "agentcore":
        worlds: Worlds = request.getfixturevalue("worlds")
        monkeypatch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
        worlds.set_environment(monkeypatch)
        memory_id = f"cli-{uuid.uuid4().hex[:10]}"
        worlds.emulator("plain").agentcore.create_memory(memory_id=memory_id)
        return Place(f"agentcore://{memory_id}?region=us-west-2&actor_id=ada", "statekeep")
    if kind == "cluster":
        cluster: ValkeyCluster = request.getfixturevalue("valkey_cluster")
        return Place(cluster.url, prefix)
    server: ValkeyServer = request.getfixturevalue("valkey_server")
    return Place(f"{server.url}?client={kind}", prefix)


@pytest.fixture
def valkey(valkey_server: ValkeyServer, prefix: str) -> Place:
    """An empty place on the server that tests share."""
    return Place(valkey_server.url, prefix)


SERIALIZER = JsonSerializer()


def put_chat(keep: statekeep.Connection, thread_id: str = "chat", steps: int = 4, fork: bool = True) -> list[str]:
    """Put a thread whose messages grow, with a fork of its second step, and return the ids of its checkpoints."""
    messages: list[dict[str, str]] = []
    ids: list[str] = []
    for step in range(steps):
        messages.append({"id": f"m{step}", "content": f"message {step}"})
        channels = {
            "messages": Channel.of(step + 1, dump(SERIALIZER, messages)),
            "user": Channel.earlier(1) if step else Channel.of(1, dump(SERIALIZER, {"name": "ada"})),
        }
        ids.append(f"0000000{step}")
        keep.checkpoints.put(
            Checkpoint(
                thread_id=thread_id,
                checkpoint_id=ids[-1],
                parent_id=ids[-2] if step else None,
                metadata={"step": step, "source": "loop" if step else "input"},
                channels=channels,
            )
        )
    write = PendingWrite(task_id="t1", idx=0, channel="messages", payload=dump(SERIALIZER, ["next"]))
    keep.checkpoints.put_writes(thread_id, ids[-1], [write])
    if fork:
        keep.checkpoints.put(
            Checkpoint(
                thread_id=thread_id,
                checkpoint_id="00000001-fork",
                parent_id=ids[1],
                metadata={"step": 2, "source": "fork"},
                channels={"messages": Channel.of(9, dump(SERIALIZER, messages[:1])), "user": Channel.earlier(1)},
            )
        )
    return ids


@pytest.fixture
def filled(place: Place) -> Iterator[Place]:
    """A place with a thread ``chat``, and another one ``other/1``. The connection keeps an embedded server alive."""
    with place.connect() as keep:
        put_chat(keep, "other/1", steps=1, fork=False)
        put_chat(keep)
        yield place
