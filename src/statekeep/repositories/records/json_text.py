"""Values of items as the text that is stored, for those who parse it themselves.

A backend makes the value of each item by :func:`stored_value`. That parses the text, unless the operation runs within
:func:`unparsed`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TypeVar

from ...domain.json_values import JsonText, JsonValue, loads
from ..operation import Operation

ResultT = TypeVar("ResultT")

_is_kept: ContextVar[bool] = ContextVar("_is_kept", default=False)


def stored_value(text: str, parse: Callable[[str], JsonValue] = loads) -> JsonValue:
    """Return the value of an item: parsed, or its :class:`JsonText`.

    Raises:
        ValueError: it is no JSON, and it was not to be kept as text.
    """
    return JsonText(text) if _is_kept.get() else parse(text)


def unparsed(operation: Operation[ResultT]) -> Operation[ResultT]:
    """Run an operation so that values of the items it reads are :class:`JsonText`.

    The values of items that it writes are what it was given. It must not be one that looks into values, as a search
    with a filter does.
    """
    reply: Any = None
    failure: BaseException | None = None
    while True:
        # For this step alone: what runs while the operation waits is none of it.
        token = _is_kept.set(True)
        try:
            request = operation.send(reply) if failure is None else operation.throw(failure)
        except StopIteration as stop:
            result: ResultT = stop.value
            return result
        finally:
            _is_kept.reset(token)
        reply = failure = None
        try:
            reply = yield request
        except GeneratorExit:
            operation.close()
            raise
        except BaseException as error:
            failure = error
