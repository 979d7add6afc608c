"""What a saver is asked for in each workload."""

from __future__ import annotations

from typing import Any

from langgraph.checkpoint.base import CheckpointTuple

from .calls import Call, Script, call, expect
from .conversations import Shape, Step, chat, config

TASKS = ("task-1", "task-2")
FAN_OUT = 30
READS = 5
LISTINGS = 3


def put(operation: str | None, thread_id: str, parent: str | None, step: Step, **more: str) -> Call:
    """Store a checkpoint."""
    here = config(thread_id, parent, **more)
    return call(operation, "put", here, step.checkpoint, step.metadata, step.new_versions)


def put_writes(operation: str | None, thread_id: str, step: Step, task: str, **more: str) -> Call:
    """Store what a task of a step wrote."""
    stored = config(thread_id, step.checkpoint_id, **more)
    return call(operation, "put_writes", stored, step.writes, task, f"~__pregel_pull, {task}")


def check(found: CheckpointTuple | None, step: Step, pending: int) -> None:
    """See that it is the checkpoint of this step, with its values and so many pending writes."""
    expect(found is not None and found.checkpoint["id"] == step.checkpoint_id, "not the checkpoint that was asked for")
    assert found is not None
    expect(
        found.checkpoint["channel_values"].keys() == step.checkpoint["channel_values"].keys(), "channels are missing"
    )
    expect(len(found.pending_writes or []) == pending, f"not {pending} pending writes")


def conversation(thread_id: str, shape: Shape) -> Script:
    """Write a thread as LangGraph does, read it, and delete it."""
    parent = None
    steps: list[Step] = []
    for step in chat(shape):
        yield put("put", thread_id, parent, step)
        parent = step.checkpoint_id
        steps.append(step)
        if len(steps) == shape.steps:
            for _ in range(READS):
                found = yield call("get latest", "get_tuple", config(thread_id))
                check(found, step, pending=0)
        for task in TASKS:
            yield put_writes("put_writes", thread_id, step, task)
    for _ in range(READS):
        found = yield call("get latest, 4 pending writes", "get_tuple", config(thread_id))
        check(found, steps[-1], pending=4)
    middle = steps[len(steps) // 2]
    for _ in range(READS):
        found = yield call("get by id, 4 pending writes", "get_tuple", config(thread_id, middle.checkpoint_id))
        check(found, middle, pending=4)
    for _ in range(LISTINGS):
        listed = yield call("list(10)", "list", config(thread_id), limit=10)
        expect([one.checkpoint["id"] for one in listed] == [one.checkpoint_id for one in steps[:-11:-1]], "wrong list")
    yield call("delete_thread", "delete_thread", thread_id)


def fan_out(thread_id: str) -> Script:
    """Thirty tasks of one superstep store their writes; then the checkpoint is read with them."""
    [step] = chat(Shape(steps=1, message=200))
    yield put(None, thread_id, None, step)
    for task in range(FAN_OUT):
        yield put_writes("put_writes", thread_id, step, f"task-{task}")
    for _ in range(READS):
        found = yield call("get latest, 60 pending writes", "get_tuple", config(thread_id))
        check(found, step, pending=60)
    yield call(None, "delete_thread", thread_id)


def large(thread_id: str, length: int) -> Script:
    """A channel of ``length`` bytes that is new in each step; then one that stays as it is beside small ones."""
    for operation, shape in (
        ("put, new value", Shape(steps=4, message=length)),
        ("put, value unchanged", Shape(steps=4, message=200, constant=length)),
    ):
        parent = None
        for number, step in enumerate(chat(shape)):
            # Only the message of this step, so that the state does not grow.
            values: dict[str, Any] = step.checkpoint["channel_values"]
            values["messages"] = values["messages"][-1:]
            yield put(None if "document" in step.new_versions else operation, thread_id, parent, step)
            parent = step.checkpoint_id
            if number == shape.steps - 1:
                for _ in range(READS):
                    found = yield call("get latest", "get_tuple", config(thread_id))
                    check(found, step, pending=0)
        yield call(None, "delete_thread", thread_id)


def run_of_graph(thread_id: str, steps: int) -> Script:
    """What a run of a graph asks for: the state, then a checkpoint and the writes of two tasks for each step."""
    parent = None
    yield call("get latest", "get_tuple", config(thread_id))
    for step in chat(Shape(steps=steps, message=200)):
        yield put("put", thread_id, parent, step)
        parent = step.checkpoint_id
        for task in TASKS:
            yield put_writes("put_writes", thread_id, step, task)
    found = yield call("get latest", "get_tuple", config(thread_id))
    check(found, step, pending=4)


def deletion(*thread_ids: str) -> Script:
    """Delete threads."""
    for thread_id in thread_ids:
        yield call(None, "delete_thread", thread_id)
