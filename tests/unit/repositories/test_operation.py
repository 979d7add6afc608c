"""The drivers of operations."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeVar

import anyio
import anyio.lowlevel
import pytest

from statekeep.domain import StatekeepError, Unavailable
from statekeep.repositories.operation import Operation, arun, nested, run

ResultT = TypeVar("ResultT")
Drive = Callable[[Operation[Any], Callable[[Any], Any]], Any]


def drive_async(operation: Operation[ResultT], execute: Callable[[Any], Any]) -> ResultT:
    async def aexecute(request: Any) -> Any:
        await anyio.lowlevel.checkpoint()
        return execute(request)

    return anyio.run(arun, operation, aexecute)


@pytest.fixture(params=[run, drive_async], ids=["run", "arun"])
def drive(request: pytest.FixtureRequest) -> Drive:
    driver: Drive = request.param
    return driver


def add(count: int) -> Operation[list[Any]]:
    replies: list[Any] = []
    for number in range(count):
        reply = yield number
        replies = [*replies, reply]
    return replies


@pytest.mark.parametrize("count", [0, 1, 3])
def test_replies_go_to_their_requests(drive: Drive, count: int) -> None:
    asked: list[int] = []

    def execute(request: int) -> int:
        asked.append(request)
        return request * 10

    assert drive(add(count), execute) == [number * 10 for number in range(count)]
    assert asked == list(range(count))


def test_errors_of_a_client_are_thrown_into_the_operation(drive: Drive) -> None:
    def retry() -> Operation[Any]:
        try:
            yield "first"
        except ConnectionError as error:
            return (yield f"after {error}")

    def execute(request: str) -> str:
        if request == "first":
            raise ConnectionError("reset")
        return request

    assert drive(retry(), execute) == "after reset"


def test_an_operation_may_go_on_after_several_errors(drive: Drive) -> None:
    def retry() -> Operation[int]:
        for attempt in range(5):
            try:
                yield attempt
            except ConnectionError:
                continue
            return attempt
        raise AssertionError("never answered")

    def execute(attempt: int) -> None:
        if attempt < 3:
            raise ConnectionError

    assert drive(retry(), execute) == 3


def test_an_operation_may_translate_an_error(drive: Drive) -> None:
    def put() -> Operation[None]:
        try:
            yield "request"
        except ConnectionError as error:
            raise Unavailable("the server is away") from error

    def execute(request: str) -> None:
        raise ConnectionError("reset")

    with pytest.raises(Unavailable, match="operation='put'") as caught:
        drive(put(), execute)
    assert caught.value.operation == "put"
    assert isinstance(caught.value.__cause__, ConnectionError)


def test_errors_carry_the_name_of_the_operation(drive: Drive) -> None:
    def execute(request: Any) -> None:
        raise Unavailable("away", key="k")

    with pytest.raises(Unavailable) as caught:
        drive(add(1), execute)
    assert (caught.value.operation, caught.value.key) == ("add", "k")
    assert str(caught.value) == "away (operation='add', key='k')"


def test_a_name_that_is_set_stays(drive: Drive) -> None:
    def execute(request: Any) -> None:
        raise Unavailable("away", operation="inner")

    with pytest.raises(StatekeepError) as caught:
        drive(add(1), execute)
    assert caught.value.operation == "inner"


def test_errors_of_an_operation_inside_another_name_the_outer_one(drive: Drive) -> None:
    def outer() -> Operation[list[Any]]:
        return (yield from add(1))

    def execute(request: Any) -> None:
        raise Unavailable("away")

    with pytest.raises(Unavailable) as caught:
        drive(outer(), execute)
    assert caught.value.operation == "outer"


def test_errors_of_a_nested_operation_name_it(drive: Drive) -> None:
    def outer() -> Operation[list[Any]]:
        return (yield from nested(add(1)))

    def execute(request: Any) -> None:
        raise Unavailable("away")

    with pytest.raises(Unavailable) as caught:
        drive(outer(), execute)
    assert caught.value.operation == "add"


def test_other_errors_pass_through(drive: Drive) -> None:
    def execute(request: Any) -> None:
        raise LookupError("a bug")

    with pytest.raises(LookupError, match="a bug"):
        drive(add(1), execute)


@pytest.mark.parametrize("error", [None, Unavailable("away"), KeyboardInterrupt()])
def test_the_operation_is_finished_whatever_happens(drive: Drive, error: BaseException | None) -> None:
    finished = []

    def operation() -> Operation[None]:
        try:
            yield "request"
        finally:
            finished.append(True)

    running: Generator[Any, Any, None] = operation()

    def execute(request: Any) -> None:
        if error is not None:
            raise error

    if error is None:
        drive(running, execute)
    else:
        with pytest.raises(type(error)):
            drive(running, execute)
    assert finished == [True]
    with pytest.raises(StopIteration):
        next(running)


@pytest.mark.anyio
async def test_a_cancelled_operation_cleans_up() -> None:
    seen: list[str] = []

    def operation() -> Operation[None]:
        try:
            yield "request"
        except BaseException as error:
            seen.append(type(error).__name__)
            raise

    async def never(request: Any) -> None:
        await anyio.sleep_forever()

    with anyio.move_on_after(0.01) as scope:
        await arun(operation(), never)
    assert scope.cancelled_caught
    assert seen == ["CancelledError"]
