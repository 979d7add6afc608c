"""The types of both faces of checkpoints. Read by mypy alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import assert_type

from statekeep import ANY, ChannelHistory, Checkpoint, Payload, PendingWrite, SavedCheckpoint, Thread, ThreadMeasure
from statekeep.repositories.checkpoints import AsyncCheckpointRepository, CheckpointRepository


def blocking(
    checkpoints: CheckpointRepository, checkpoint: Checkpoint, write: PendingWrite, thread: Thread, payload: Payload
) -> None:
    assert_type(checkpoints.put(checkpoint), None)
    assert_type(checkpoints.put(checkpoint=checkpoint, supply=lambda names: dict.fromkeys(names, payload)), None)
    assert_type(checkpoints.put_writes("t", "1", [write], namespace="n"), None)
    assert_type(checkpoints.get("t"), SavedCheckpoint | None)
    assert_type(checkpoints.get(thread_id="t", namespace="n", checkpoint_id="1"), SavedCheckpoint | None)
    assert_type(checkpoints.list(), Iterator[SavedCheckpoint])
    assert_type(checkpoints.list("t", namespace="", checkpoint_id="1", before="2", limit=3), Iterator[SavedCheckpoint])
    assert_type(checkpoints.list(thread_id=None, metadata={"source": "loop"}), Iterator[SavedCheckpoint])
    assert_type(checkpoints.ancestors("t", ["c"], namespace="n", checkpoint_id="1"), dict[str, ChannelHistory])
    assert_type(checkpoints.list_threads(prefix="p", after=thread, limit=1), Iterator[Thread])
    assert_type(checkpoints.put(checkpoint, expected_head=None), None)
    assert_type(checkpoints.put(checkpoint, expected_head="1"), None)
    assert_type(checkpoints.put(checkpoint, expected_head=ANY), None)
    checkpoints.put(checkpoint, expected_head=1)  # type: ignore[arg-type]
    assert_type(checkpoints.delete("t", "1"), bool)
    assert_type(checkpoints.delete("t", checkpoint_id="1", namespace="n"), bool)
    checkpoints.delete("t")  # type: ignore[call-arg]
    assert_type(checkpoints.delete_thread("t"), None)
    assert_type(checkpoints.delete_runs(["r"]), None)
    assert_type(checkpoints.copy_thread("t", target_id="u"), None)
    assert_type(checkpoints.prune(["t"], keep=2, namespace=""), int)
    assert_type(checkpoints.reindex("t"), int)
    assert_type(checkpoints.measure(["t"]), dict[str, ThreadMeasure])
    assert_type(checkpoints.expire("t", None), bool)
    assert_type(checkpoints.expire(thread_id="t", ttl=0.5), bool)
    checkpoints.expire("t")  # type: ignore[call-arg]
    checkpoints.expire("t", "1")  # type: ignore[arg-type]
    checkpoints.measure(1)  # type: ignore[arg-type]
    assert_type(checkpoints.close(), None)
    with checkpoints as entered:
        assert_type(entered, CheckpointRepository)
    checkpoints.put(checkpoint, supplies=None)  # type: ignore[call-arg]
    checkpoints.put({})  # type: ignore[arg-type]
    checkpoints.put_writes("t", "1", [write], "n")  # type: ignore[call-arg]
    checkpoints.get("t", name_space="")  # type: ignore[call-arg]
    checkpoints.get(1)  # type: ignore[arg-type]
    checkpoints.list("t", after="1")  # type: ignore[call-arg]
    checkpoints.ancestors("t", channel=["c"])  # type: ignore[call-arg]
    checkpoints.list_threads("p")  # type: ignore[call-arg]
    checkpoints.delete_thread()  # type: ignore[call-arg]
    checkpoints.delete_runs(runs=["r"])  # type: ignore[call-arg]
    checkpoints.copy_thread("t")  # type: ignore[call-arg]
    checkpoints.prune(["t"], 2)  # type: ignore[arg-type]
    checkpoints.reindex(1)  # type: ignore[arg-type]


async def awaiting(
    checkpoints: AsyncCheckpointRepository,
    checkpoint: Checkpoint,
    write: PendingWrite,
    thread: Thread,
    payload: Payload,
) -> None:
    assert_type(await checkpoints.put(checkpoint), None)
    assert_type(await checkpoints.put(checkpoint=checkpoint, supply=lambda names: dict.fromkeys(names, payload)), None)
    assert_type(await checkpoints.put_writes("t", "1", [write], namespace="n"), None)
    assert_type(await checkpoints.get("t"), SavedCheckpoint | None)
    assert_type(await checkpoints.get(thread_id="t", namespace="n", checkpoint_id="1"), SavedCheckpoint | None)
    assert_type(checkpoints.list(), AsyncIterator[SavedCheckpoint])
    assert_type(
        checkpoints.list("t", namespace="", checkpoint_id="1", before="2", limit=3), AsyncIterator[SavedCheckpoint]
    )
    assert_type(checkpoints.list(thread_id=None, metadata={"source": "loop"}), AsyncIterator[SavedCheckpoint])
    assert_type(await checkpoints.ancestors("t", ["c"], namespace="n", checkpoint_id="1"), dict[str, ChannelHistory])
    assert_type(checkpoints.list_threads(prefix="p", after=thread, limit=1), AsyncIterator[Thread])
    assert_type(await checkpoints.put(checkpoint, expected_head=None), None)
    await checkpoints.put(checkpoint, expected_head=1)  # type: ignore[arg-type]
    assert_type(await checkpoints.delete("t", "1", namespace="n"), bool)
    assert_type(await checkpoints.delete_thread("t"), None)
    assert_type(await checkpoints.delete_runs(["r"]), None)
    assert_type(await checkpoints.copy_thread("t", target_id="u"), None)
    assert_type(await checkpoints.prune(["t"], keep=2, namespace=""), int)
    assert_type(await checkpoints.reindex("t"), int)
    assert_type(await checkpoints.measure(["t"]), dict[str, ThreadMeasure])
    assert_type(await checkpoints.expire("t", 1), bool)
    assert_type(await checkpoints.close(), None)
    async with checkpoints as entered:
        assert_type(entered, AsyncCheckpointRepository)
    await checkpoints.put(checkpoint, supplies=None)  # type: ignore[call-arg]
    await checkpoints.put({})  # type: ignore[arg-type]
    await checkpoints.put_writes("t", "1", [write], "n")  # type: ignore[call-arg]
    await checkpoints.get("t", name_space="")  # type: ignore[call-arg]
    await checkpoints.get(1)  # type: ignore[arg-type]
    checkpoints.list("t", after="1")  # type: ignore[call-arg]
    await checkpoints.ancestors("t", channel=["c"])  # type: ignore[call-arg]
    checkpoints.list_threads("p")  # type: ignore[call-arg]
    await checkpoints.delete_thread()  # type: ignore[call-arg]
    await checkpoints.delete_runs(runs=["r"])  # type: ignore[call-arg]
    await checkpoints.copy_thread("t")  # type: ignore[call-arg]
    await checkpoints.prune(["t"], 2)  # type: ignore[arg-type]
    await checkpoints.reindex(1)  # type: ignore[arg-type]
