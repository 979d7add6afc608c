"""Operations are written once, as generators, and run by one of two drivers.

An operation yields requests (whatever its backend understands: a script call, a batch of commands, an AWS
call), is resumed with the reply, and returns its result. It does no I/O itself, so the same body serves a
blocking client, an asyncio client, and a test that feeds replies by hand.

>>> def greet() -> Operation[str]:
...     name = yield "who?"
...     return f"hello {name}"
>>> run(greet(), lambda request: "Ada")
'hello Ada'
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Sequence
from types import GeneratorType
from typing import Any, Generic, TypeVar

from attrs import frozen

from ..domain import CorruptRecord, StatekeepError
from .process.notices import damaged

__all__ = ["Operation", "Page", "arun", "run"]

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

Operation = Generator[Any, Any, ResultT]
"""Yields requests, receives replies, returns the result."""


@frozen
class Page(Generic[ItemT]):
    """Some results of a listing, and where to go on.

    ``cursor`` is ``None`` on the last page.
    """

    items: Sequence[ItemT]
    cursor: Any = None


def named(name: str, operation: Operation[ResultT]) -> Operation[ResultT]:
    """Have errors say ``name`` for an operation that is the body of several.

    One that is a part of another has none.
    """
    if isinstance(operation, GeneratorType):
        operation.__name__ = name
    return operation


def nested(operation: Operation[ResultT]) -> Operation[ResultT]:
    """Run an operation as a part of another one; errors say its own name."""
    try:
        return (yield from operation)
    except StatekeepError as error:
        _name(operation, error)
        raise


def _name(operation: Operation[Any], error: StatekeepError) -> None:
    if error.operation is None:
        error.operation = getattr(operation, "__name__", None) or None
        if error.operation is not None and isinstance(error, CorruptRecord):
            damaged(error)


def run(operation: Operation[ResultT], execute: Callable[[Any], Any]) -> ResultT:
    """Run ``operation`` to its end, answering each request with ``execute``.

    Raises:
        StatekeepError: whatever the operation or ``execute`` raises, with ``operation`` set to its name.
    """
    try:
        request = next(operation)
        while True:
            try:
                reply = execute(request)
            except BaseException as error:
                request = operation.throw(error)
            else:
                request = operation.send(reply)
    except StopIteration as stop:
        result: ResultT = stop.value
        return result
    except StatekeepError as error:
        _name(operation, error)
        raise


async def arun(operation: Operation[ResultT], execute: Callable[[Any], Awaitable[Any]]) -> ResultT:
    """Run ``operation`` to its end, awaiting ``execute`` for each request.

    See :func:`run`.
    """
    try:
        request = next(operation)
        while True:
            try:
                reply = await execute(request)
            except BaseException as error:
                request = operation.throw(error)
            else:
                request = operation.send(reply)
    except StopIteration as stop:
        result: ResultT = stop.value
        return result
    except StatekeepError as error:
        _name(operation, error)
        raise
