"""Calls and bytes of savers on AgentCore Memory, on the emulator: what is paid for, and what quotas count."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any

from attrs import define, field

from statekeep.langgraph_shim import AgentCoreMemorySaver
from statekeep.testing.aws import AwsEmulator, Calls, slow

from .calls import Call, Script, call, drive
from .conversations import Shape, chat, config
from .report import Table
from .scripts import READS, TASKS, check, put, put_writes
from .suite import Suite

ACTOR = "bench"
STATEKEEP = "Statekeep, AgentCore"
LEGACY = "langgraph-checkpoint-aws, legacy"
SNAPSHOT = "langgraph-checkpoint-aws, snapshot"
LATENCY = 0.02  # seconds, so that calls side by side overlap

Open = Callable[[AwsEmulator], AbstractContextManager[Any]]


def _statekeep(aws: AwsEmulator) -> AbstractContextManager[Any]:
    return AgentCoreMemorySaver(aws.agentcore.create_memory(), session=aws.session())


@contextmanager
def _incumbent(aws: AwsEmulator, layout: str) -> Iterator[Any]:
    from langgraph_checkpoint_aws import AgentCoreMemorySaver

    yield AgentCoreMemorySaver(
        aws.agentcore.create_memory(),
        checkpoint_format=layout,
        endpoint_url=aws.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id="EMULATED",
        aws_secret_access_key="emulated",
    )


OPEN: dict[str, Open] = {
    LEGACY: partial(_incumbent, layout="legacy"),
    SNAPSHOT: partial(_incumbent, layout="snapshot"),
    STATEKEEP: _statekeep,
}


@define
class Recorder:
    """Keeps the calls of each operation."""

    aws: AwsEmulator
    calls: dict[str, list[Calls]] = field(factory=lambda: defaultdict(list))
    _recording: Any = None
    _now: Any = None

    def start(self) -> None:
        """Begin."""
        self._recording = self.aws.record()
        self._now = self._recording.__enter__()

    def stop(self, ended: Call) -> None:
        """End."""
        self._recording.__exit__(None, None, None)
        if ended.operation is not None:
            self.calls[ended.operation].append(self._now)


def _writing(thread_id: str, shape: Shape, ids: list[str]) -> Script:
    for step in chat(shape):
        yield put("put", thread_id, ids[-1] if ids else None, step, actor_id=ACTOR)
        ids.append(step.checkpoint_id)
        if len(ids) < shape.steps:
            for task in TASKS:
                yield put_writes("put_writes", thread_id, step, task, actor_id=ACTOR)
    found = yield call(None, "get_tuple", config(thread_id, actor_id=ACTOR))
    check(found, step, pending=0)


def _reading(thread_id: str, ids: list[str]) -> Script:
    for _ in range(READS):
        yield call("get latest", "get_tuple", config(thread_id, actor_id=ACTOR))
        yield call("get by id, 4 pending writes", "get_tuple", config(thread_id, ids[len(ids) // 2], actor_id=ACTOR))
        yield call("list(1)", "list", config(thread_id, actor_id=ACTOR), limit=1)
        yield call("list(10)", "list", config(thread_id, actor_id=ACTOR), limit=10)


def agentcore(suite: Suite) -> None:
    """Count calls and bytes on a thread of 100 steps with a constant document of 100 KB."""
    shape = Shape(steps=20 if suite.quick else 100, message=1000, constant=100_000)
    what = f"AgentCore, {shape.steps} steps, 100 KB document"
    tables = {
        "calls": Table(title=f"{what}: calls of an operation", unit="mean number", baseline=LEGACY),
        "waits": Table(title=f"{what}: calls one after the other", unit="mean number", baseline=LEGACY),
        "sent": Table(title=f"{what}: sent by an operation", unit="mean bytes", baseline=LEGACY),
        "received": Table(title=f"{what}: received by an operation", unit="mean bytes", baseline=LEGACY),
        "total": Table(title=f"{what}: all of them", unit="calls, bytes", baseline=LEGACY),
    }
    with AwsEmulator() as aws:
        for name, opened in OPEN.items():
            if not suite.takes(name):
                continue
            try:
                _count(aws, name, opened, shape, tables)
            except Exception as error:
                for table in tables.values():
                    table.drop(name)
                suite.leave_out(name, what, error)
    for key, table in tables.items():
        suite.publish(f"agentcore/{key}", table)


def _count(aws: AwsEmulator, name: str, opened: Open, shape: Shape, tables: dict[str, Table]) -> None:
    with ExitStack() as stack:
        saver = stack.enter_context(opened(aws))
        ids: list[str] = []
        recorder = Recorder(aws)
        drive(saver, _writing("thread-1", shape, ids), recorder)
        written = [calls for recorded in recorder.calls.values() for calls in recorded]
        drive(saver, _reading("thread-1", ids), recorder)
        waits = Recorder(aws)
        with aws.failing(slow(LATENCY)):
            drive(saver, _writing("thread-2", Shape(3, message=1000, constant=100_000), []), waits)
            drive(saver, _reading("thread-1", ids), waits)
    for operation, recorded in recorder.calls.items():
        tables["calls"].add(operation, name, _mean([len(calls) for calls in recorded]))
        tables["sent"].add(operation, name, _mean([calls.request_bytes for calls in recorded]))
        tables["received"].add(operation, name, _mean([calls.response_bytes for calls in recorded]))
    for operation, recorded in waits.calls.items():
        tables["waits"].add(operation, name, _mean([calls.rounds for calls in recorded]))
    tables["total"].add("calls to write the thread", name, sum(len(calls) for calls in written))
    tables["total"].add("bytes to write the thread", name, sum(calls.request_bytes for calls in written))


def _mean(numbers: list[int]) -> float:
    return sum(numbers) / len(numbers)
