"""Calls and bytes of savers on AgentCore Memory, on the emulator: what is paid for, and what quotas count."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

from attrs import define, field

from statekeep.langgraph_shim import AgentCoreMemorySaver
from statekeep.testing.aws import AwsEmulator, Calls, slow

from .report import Table
from .running import Call, Script, Suite, call, drive
from .scripts import READS, TASKS, Shape, chat, check, config, written

ACTOR = "bench"
STATEKEEP = "Statekeep, AgentCore"
LEGACY = "langgraph-checkpoint-aws, legacy"
SNAPSHOT = "langgraph-checkpoint-aws, snapshot"
LATENCY = 0.02  # seconds, so that calls side by side overlap


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


OPEN: dict[str, Callable[[AwsEmulator], AbstractContextManager[Any]]] = {
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
        self._recording = self.aws.record()
        self._now = self._recording.__enter__()

    def stop(self, ended: Call) -> None:
        self._recording.__exit__(None, None, None)
        if ended.operation is not None:
            self.calls[ended.operation].append(self._now)


def _writing(thread_id: str, shape: Shape, ids: list[str]) -> Script:
    for step in chat(shape):
        tasks = TASKS if len(ids) < shape.steps - 1 else ()
        yield from written(thread_id, [step], ids, tasks, actor_id=ACTOR)
    found = yield call(None, "get_tuple", config(thread_id, actor_id=ACTOR))
    check(found, step, pending=0)


def _reading(thread_id: str, ids: list[str]) -> Script:
    for _ in range(READS):
        yield call("get latest", "get_tuple", config(thread_id, actor_id=ACTOR))
        yield call("get by id", "get_tuple", config(thread_id, ids[len(ids) // 2], actor_id=ACTOR))
        yield call("list(1)", "list", config(thread_id, actor_id=ACTOR), limit=1)
        yield call("list(10)", "list", config(thread_id, actor_id=ACTOR), limit=10)


def agentcore(suite: Suite) -> None:
    """Count calls and bytes on a thread of 100 steps with a constant document of 100 KB."""
    shape = Shape(steps=20 if suite.quick else 100, message=1000, constant=100_000)
    title = f"AgentCore, {shape.steps} steps beside a document of 100 KB"
    table = Table(title=title, unit="the mean of what each row says", baseline=LEGACY)
    with AwsEmulator() as aws:
        for name, opened in OPEN.items():
            if not suite.takes(name):
                continue
            with suite.trying(name, title), opened(aws) as saver:
                for row, numbers in _counted(aws, saver, shape).items():
                    table.add(row, name, sum(numbers) / len(numbers))
    suite.publish("agentcore", table)


def _counted(aws: AwsEmulator, saver: Any, shape: Shape) -> dict[str, list[int]]:
    ids: list[str] = []
    recorder, waits = Recorder(aws), Recorder(aws)
    drive(saver, _writing("thread-1", shape, ids), recorder)
    drive(saver, _reading("thread-1", ids), recorder)
    with aws.failing(slow(LATENCY)):
        drive(saver, _writing("thread-2", Shape(3, message=1000, constant=100_000), []), waits)
        drive(saver, _reading("thread-1", ids), waits)
    found: dict[str, list[int]] = {}
    for operation, recorded in recorder.calls.items():
        found[f"{operation}: calls"] = [len(calls) for calls in recorded]
        found[f"{operation}: calls one after the other"] = [calls.rounds for calls in waits.calls[operation]]
        found[f"{operation}: bytes sent"] = [calls.request_bytes for calls in recorded]
        found[f"{operation}: bytes received"] = [calls.response_bytes for calls in recorded]
    return found
