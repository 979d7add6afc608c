"""Ids of any text in real keys: no two of them meet, and none is taken for a pattern."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from statekeep import Channel, Checkpoint
from statekeep.repositories.checkpoints import CheckpointRepository
from statekeep.repositories.valkey import ValkeyCheckpoints, client_for
from statekeep.testing.servers import ValkeyServer

from .valkey_audit import audit
from .valkey_kinds import payload, write

NASTY = [
    *(
        "{}",
        "{",
        "}",
        "}{",
        "{a}",
        "a}b{c",
        ":",
        "::",
        "a:b",
        "*",
        "?",
        "[x]",
        "x",
        "|",
        "%",
        "%25",
        "%3A",
        "~",
        "-",
        "_",
    ),
    *(
        " ",
        "  ",
        "\t",
        "\n",
        "\r\n",
        "\x00",
        "\x00\x00",
        "\x7f",
        ".",
        "..",
        "/",
        "../a",
        "\\",
        "'",
        '"',
        "@",
        "!",
        "!a",
    ),
    *(
        "é",
        "e\u0301",
        "👩‍👩‍👧",
        "中",
        "\ufeff",
        "\u2028",
        "a" * 1000,
        "a" * 1001,
        "👻" * 1000,
        "None",
        "0",
        "-1",
        "index",
    ),
    *(
        "index:hash",
        "generation",
        "A",
        "a",
        "+",
        "(a",
        "-inf",
        "\udbff".encode("utf-16", "surrogatepass").hex(),
        ";",
        "#",
    ),
]


@pytest.fixture
def client(valkey_server: ValkeyServer) -> Iterator[Any]:
    with valkey_server.client() as client:
        yield client


@pytest.fixture
def repository(client: Any, prefix: str) -> CheckpointRepository:
    return CheckpointRepository(ValkeyCheckpoints(client_for(client), prefix=prefix))


def made(thread: str, namespace: str, checkpoint_id: str, parent: str | None = None) -> Checkpoint:
    sign = f"{thread!r} {namespace!r} {checkpoint_id!r}"
    return Checkpoint(
        thread_id=thread,
        namespace=namespace,
        checkpoint_id=checkpoint_id,
        parent_id=parent,
        metadata={"sign": sign, thread: namespace, "run_id": checkpoint_id},
        channels={"c": Channel.of(1, payload(sign.encode()))},
    )


def sign(checkpoint: Checkpoint | None) -> str | None:
    if checkpoint is None:
        return None
    value = checkpoint.channels["c"].payload
    assert value
    assert value.data.decode() == checkpoint.metadata["sign"]
    return value.data.decode()


def test_threads(repository: CheckpointRepository, client: Any, prefix: str) -> None:
    for thread in NASTY:
        repository.put(made(thread, "", "1"))
        repository.put_writes(thread, "1", [write("task", 0, thread.encode())])
    assert {thread.thread_id for thread in repository.list_threads()} == set(NASTY)
    for thread in NASTY:
        [saved] = repository.list(thread)
        assert sign(saved) == sign(made(thread, "", "1"))
        assert [found.payload.data.decode() for found in saved.pending_writes] == [thread]
        starting = {found.thread_id for found in repository.list_threads(prefix=thread)}
        assert starting == {other for other in NASTY if other.startswith(thread)}
    assert not audit(client, prefix).problems
    left = list(NASTY)
    for thread in ["*", "?", "[x]", "{}", "..", "\\", "a" * 1000, "\x00", ":"]:
        repository.delete_thread(thread)
        left.remove(thread)
        assert {found.thread_id for found in repository.list_threads()} == set(left)
        assert repository.get(thread) is None
    assert {saved.thread_id for saved in repository.list()} == set(left)
    for thread in left:
        assert repository.reindex(thread) == 1
        repository.delete_thread(thread)
    keys = {key.decode() for key in client.scan_iter(f"{prefix}:*")}
    assert keys == set()


def test_namespaces(repository: CheckpointRepository, client: Any, prefix: str) -> None:
    names = ["", *NASTY]
    for name in names:
        repository.put(made("t", name, "1"))
        repository.put_writes("t", "1", [write("task", 0, name.encode())], namespace=name)
    assert [saved.namespace for saved in repository.list("t")] == sorted(names)
    for name in names:
        saved = repository.get("t", namespace=name)
        assert sign(saved) == sign(made("t", name, "1"))
        assert [saved.namespace for saved in repository.list("t", namespace=name)] == [name]
    assert repository.reindex("t") == len(names)
    assert not audit(client, prefix).problems
    repository.delete_thread("t")
    assert not list(client.scan_iter(f"{prefix}:*"))


def test_checkpoint_ids_tasks_and_channels(repository: CheckpointRepository, client: Any, prefix: str) -> None:
    for checkpoint_id in NASTY:
        repository.put(made("t", "", checkpoint_id, "parent of " + checkpoint_id))
        repository.put_writes(
            "t", checkpoint_id, [write(checkpoint_id, 0, channel=other, data=other.encode()) for other in NASTY[:1]]
        )
    # The order is that of the texts.
    assert [saved.checkpoint_id for saved in repository.list("t")] == sorted(NASTY, reverse=True)
    for checkpoint_id in NASTY:
        saved = repository.get("t", checkpoint_id=checkpoint_id)
        assert sign(saved) == sign(made("t", "", checkpoint_id))
        assert saved
        assert saved.parent_id == "parent of " + checkpoint_id
        assert [found.task_id for found in saved.pending_writes] == [checkpoint_id]
        before = [saved.checkpoint_id for saved in repository.list("t", before=checkpoint_id)]
        assert before == sorted((other for other in NASTY if other < checkpoint_id), reverse=True)
    repository.put_writes("t", "all", [write(task, 0, data=task.encode(), channel=task, path=task) for task in NASTY])
    channels = {name: Channel.of(name, payload(name.encode())) for name in ["", *NASTY]}
    repository.put(Checkpoint(thread_id="t", checkpoint_id="all", channels=channels))
    saved = repository.get("t", checkpoint_id="all")
    assert saved
    assert saved.channels == channels
    assert [(found.task_id, found.channel, found.payload.data.decode()) for found in saved.pending_writes] == [
        (task, task, task) for task in sorted(NASTY)
    ]
    assert not audit(client, prefix).problems
    repository.delete_runs(["*", "..", "\x00"])
    assert {saved.checkpoint_id for saved in repository.list("t")} == {"all", *NASTY} - {"*", "..", "\x00"}
    assert not audit(client, prefix).problems
