"""Calls that wait for the same go out as one.

A service takes few calls a second for one session, and parallel tasks write to one. The first call goes out at once;
those that come meanwhile wait until it is answered, and then go out together.
"""

from __future__ import annotations

import contextvars
import copy
import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from typing import Any

from attrs import evolve, field, frozen

from ...domain import StatekeepError
from ..process import fork
from ..process.workers import Workers
from .calls import AwsCall, Joins


@frozen(eq=False)
class _Waiting:
    call: AwsCall
    joins: Joins
    future: Future[Any] = field(factory=Future)
    context: contextvars.Context = field(factory=contextvars.copy_context)
    """The caller's, in which a call goes out that is the first of its batch."""


class Joiner:
    """Joins calls of one client. Survives a fork.

    Args:
        workers: threads that make the calls; one for each key under way.
        call: makes a call.
    """

    def __init__(self, workers: Workers, call: Callable[[AwsCall], Any]) -> None:
        self._workers = workers
        self._call = call
        self.after_fork()
        fork.follow(self)

    def after_fork(self) -> None:
        self._lock = threading.Lock()
        self._queues: dict[Hashable, deque[_Waiting]] = {}

    @property
    def waiting(self) -> int:
        """How many calls wait for others."""
        with self._lock:
            return sum(map(len, self._queues.values()))

    def submit(self, call: AwsCall, joins: Joins) -> Future[Any]:
        """Make a call, alone or with others; its reply is that of the call that went out."""
        one = _Waiting(call, joins)
        key = (call.operation, joins.key)
        with self._lock:
            queue = self._queues.get(key)
            if queue is not None:
                queue.append(one)
                return one.future
            self._queues[key] = deque()
        try:
            self._workers.submit(self._run, key, one)
        except BaseException as error:
            with self._lock:
                left = self._queues.pop(key)
            _fail(left, error)
            raise
        return one.future

    def _run(self, key: Hashable, first: _Waiting) -> None:
        batch = [first]
        while batch:
            self._send(batch)
            with self._lock:
                batch = _next(self._queues[key])
                if not batch:
                    del self._queues[key]

    def _send(self, batch: Sequence[_Waiting]) -> None:
        # Who was cancelled while he waited is left out.
        batch = [one for one in batch if one.future.set_running_or_notify_cancel()]
        if not batch:
            return
        try:
            reply = batch[0].context.run(self._call, _joined(batch))
        except BaseException as error:
            _fail(batch, error)
        else:
            for one in batch:
                one.future.set_result(reply)


def _next(queue: deque[_Waiting]) -> list[_Waiting]:
    """Take as many calls as may go out as one."""
    batch: list[_Waiting] = []
    items = size = 0
    while queue:
        joins = queue[0].joins
        items += joins.items
        size += joins.size
        if batch and (items > joins.most_items or size > joins.most_size):
            break
        batch.append(queue.popleft())
    return batch


def _joined(batch: Sequence[_Waiting]) -> AwsCall:
    first = batch[0]
    if len(batch) == 1:
        return first.call
    together: dict[str, Any] = {}
    if (name := first.joins.argument) is not None:
        together[name] = [item for one in batch for item in one.call.arguments[name]]
    if (name := first.joins.greatest) is not None:
        together[name] = max(one.call.arguments[name] for one in batch)
    return evolve(first.call, arguments={**first.call.arguments, **together})


def _fail(batch: Sequence[_Waiting], error: BaseException) -> None:
    """Let each caller have the error.

    Errors of ours say later in which operation they were met.
    """
    for number, one in enumerate(batch):
        own = error
        if number and isinstance(error, StatekeepError):
            own = copy.copy(error)
            own.__cause__ = error.__cause__
        one.future.set_exception(own)
