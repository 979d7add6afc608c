"""Values in messages of errors, in bounded text and time."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Final, TypeVar

_BRACKETS: dict[Any, tuple[str, str]] = {
    list.__repr__: ("[", "]"),
    tuple.__repr__: ("(", ")"),
    dict.__repr__: ("{", "}"),
    set.__repr__: ("{", "}"),
    frozenset.__repr__: ("frozenset({", "})"),
}
_PLAIN: tuple[Any, ...] = (str.__repr__, bytes.__repr__, bytearray.__repr__)

T = TypeVar("T")

_LONGEST_INTEGER: Final = 1000
"""Bits of an integer that is shown; Python makes no text of some 14,000."""


def shown(value: object, most: int = 80) -> str:
    """Return the first characters of ``repr(value)``.

    It is short however large, deep or broken the value is.

    >>> shown([1, {"a": "b"}]), shown("x" * 10**6, 10)
    ("[1, {'a': 'b'}]", "'xxxxxxxxx")
    """
    return _shown(value, most)[:most]


def _shown(value: Any, most: int) -> str:
    """Return the text up to its end, or so much of it.

    Each level takes a character, so that there are at most so many.
    """
    if most <= 0:
        return ""
    kind: Any = type(value).__repr__
    try:
        if kind in _PLAIN:
            return str(kind(value[:most]))
        if kind in _BRACKETS and value:
            return _items(value, *_BRACKETS[kind], most)
        if isinstance(value, int) and value.bit_length() > _LONGEST_INTEGER:
            return f"an integer of {value.bit_length()} bits"
        return repr(value)
    except Exception as error:  # the message is about something else than a broken `__repr__`
        return f"<{type(value).__name__} whose repr raises {type(error).__name__}>"


def _items(values: Any, start: str, end: str, most: int) -> str:
    text = start
    pairs = isinstance(values, dict)
    for item in values.items() if pairs else values:
        if text != start:
            text += ", "
        if len(text) >= most:
            return text
        if pairs:
            text += _shown(item[0], most - len(text)) + ": "
            text += _shown(item[1], most - len(text))
        else:
            text += _shown(item, most - len(text))
    return text + ("," if start == "(" and len(values) == 1 else "") + end


def once_made(method: Callable[[T], str]) -> Callable[[T], str]:
    """Let ``__repr__`` answer for a half-made object, too.

    Trackers of errors show these.
    """

    @wraps(method)
    def answer(self: T) -> str:
        try:
            return method(self)
        except AttributeError:
            return f"<{type(self).__name__}, not made>"

    return answer
