"""``statekeep migrate``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

import statekeep
from statekeep.testing.servers import ValkeyServer

from ..cli.conftest import Place
from .graphs import questions, thread
from .peers import Peers


@pytest.fixture
def place(valkey_server: ValkeyServer, prefix: str) -> Place:
    return Place(valkey_server.url, prefix)


def test_all_is_brought(peers: Peers, place: Place) -> None:
    graph = questions(Counter()).compile(checkpointer=peers.saver("sqlite"))
    graph.invoke({"log": ["in"]}, thread("t"))
    peers.store("sqlite").put(("a",), "k", {"v": 1})
    url = peers.url("sqlite")
    ended = place.run("migrate", url, "--verify", "all", "--json")
    assert (ended.status, ended.stderr) == (0, "")
    told = ended.json
    assert (told["source"], told["threads"], told["items_put"]) == ("langgraph-checkpoint-sqlite", 1, 1)
    assert (told["written"], told["differences"]) == (told["checkpoints"] + told["pending_writes"] + 1, [])
    with place.connect() as keep:
        assert [found.thread_id for found in keep.checkpoints.list_threads()] == ["t"]
    again = place.run("migrate", url, place.url, "--since", told["began_at"], "--verify", "none")
    assert again.status == 0
    assert "items: 1 read, 0 written" in again.stdout
    assert "read back and compared: 0" in again.stdout


def test_what_differs(peers: Peers, place: Place) -> None:
    saver = peers.saver("sqlite")
    questions(Counter()).compile(checkpointer=saver).invoke({"log": ["in"]}, thread("t"))
    place.run("migrate", peers.url("sqlite"))
    with place.connect() as keep:
        saved = keep.checkpoints.get("t")
        assert saved is not None
        write = saved.pending_writes[0]
        other = write.model_copy(update={"idx": 7, "payload": statekeep.Payload(encoding="null", data=b"")})
        keep.checkpoints.put_writes("t", saved.checkpoint_id, [other])
    saver.put_writes(
        {"configurable": thread("t")["configurable"] | {"checkpoint_ns": "", "checkpoint_id": saved.checkpoint_id}},
        [("x", 1)] * 8,
        write.task_id,
    )
    ended = place.run("migrate", peers.url("sqlite"), "--verify", "all", "--json")
    assert ended.status == 1
    assert ended.json["differences"] == [
        f"checkpoint {saved.checkpoint_id!r} of thread 't', namespace '': the pending write 7 of task {write.task_id!r}"
    ]
    assert "differs: checkpoint" in ended.stderr


def test_wrong_use(peers: Peers, place: Place, tmp_path: Path) -> None:
    for arguments, status, message in (
        ((f"sqlite:///{tmp_path}/none.db",), 1, "no file"),
        (("mysql://ada:secret@db/x",), 2, "url must begin with"),
        ((peers.url("aws"),), 2, "nothing of"),
        ((f"sqlite:///{tmp_path}/none.db", "--verify", "some"), 2, "--verify must be"),
        ((f"sqlite:///{tmp_path}/none.db", "--since", "yesterday"), 2, "--since must be"),
    ):
        ended = place.run("migrate", *arguments)
        assert ended.status == status, ended
        assert message in ended.stderr
        assert "secret" not in ended.stderr
        assert "Traceback" not in ended.stderr
