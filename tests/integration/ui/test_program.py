"""``statekeep ui`` itself: where it listens, and who may look."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

import statekeep
from statekeep import Checkpoint
from statekeep.cli.app import application
from statekeep.testing.servers import ValkeyServer


@contextmanager
def running(*arguments: str, **environment: str) -> Iterator[tuple[dict[str, Any], subprocess.Popen[str]]]:
    """Start it, and yield what it says and the process."""
    command = [sys.executable, "-m", "statekeep", "ui", "--json", *arguments]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("STATEKEEP_")}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=inherited | environment, **pipes) as process:
        try:
            assert process.stdout is not None
            said = ""
            while not said.endswith("}\n"):
                line = process.stdout.readline()
                assert line, process.stderr.read() if process.stderr else ""
                said += line
            yield json.loads(said), process
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=20)


def test_it_serves_this_machine_until_it_is_interrupted(valkey_server: ValkeyServer, prefix: str) -> None:
    with statekeep.connect(valkey_server.url, prefix=prefix) as keep:
        keep.checkpoints.put(Checkpoint(thread_id="chat-1"))
    with running(valkey_server.url, "--key-prefix", prefix) as (said, process):
        assert said["write"] is False
        assert said["url"].startswith("http://127.0.0.1:")
        assert "chat-1" in httpx.get(said["url"]).text
        assert httpx.get(said["url"], headers={"host": "evil.example"}).status_code == 421
    assert process.returncode == 130
    with pytest.raises(httpx.ConnectError):
        httpx.get(said["url"])


def test_other_addresses_need_a_token() -> None:
    with running("--host", "0.0.0.0", "--write", STATEKEEP_URL="memory:") as (said, _):
        link = httpx.URL(said["url"])
        assert len(link.params["token"]) >= 32
        here = link.copy_with(host="127.0.0.1")
        assert httpx.get(here.copy_with(query=b"")).status_code == 401
        with httpx.Client(follow_redirects=True) as visit:
            answer = visit.get(here)
        assert answer.status_code == 200
        assert "token" not in str(answer.url)
        assert "may change records" in answer.text


def test_the_urls_secret_is_in_no_page_and_no_log() -> None:
    with ValkeyServer(requirepass="s3cret-word") as server:
        with running(f"{server.url}?client=valkey-py&deadline=0.5") as (said, process):
            assert httpx.get(said["url"]).status_code == 200
            server.stop()
            away = httpx.get(said["url"], timeout=20)
            assert away.status_code == 503
            assert "s3cret-word" not in away.text
        assert process.stderr is not None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["memory:", "--token", "short"], "token must be"),
        (["memory:", "--host", "no such host"], "no host"),
        (["agentcore://m?region=us-west-2&actor_id=a", "--embed", "json:dumps"], "leave out --embed"),
        ([], "say where the records are"),
    ],
)
def test_wrong_use_is_named(arguments: list[str], words: str) -> None:
    ended = CliRunner().invoke(application(), ["ui", *arguments], env={"STATEKEEP_URL": ""}, catch_exceptions=False)
    assert ended.exit_code == 2
    assert words in ended.stderr


def test_a_port_that_is_taken_is_named(valkey_server: ValkeyServer) -> None:
    taken = ["ui", "memory:", "--port", str(valkey_server.port)]
    ended = CliRunner().invoke(application(), taken, catch_exceptions=False)
    assert ended.exit_code == 1
    assert "cannot listen on 127.0.0.1" in ended.stderr
