"""Checks of arguments that repositories share."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ..domain import InvalidInput
from ..domain.model import is_plain


def text(field: str, value: Any, *, empty: bool = False) -> str:
    """Return Unicode text, which is not empty unless it may be.

    Raises:
        InvalidInput: it is something else; ``field`` is named.
    """
    if is_plain(value):
        return str(value)
    if not isinstance(value, str):
        raise InvalidInput(f"{field} must be text, got {type(value).__name__} {value!r:.80}", field=field)
    if not value and not empty:
        raise InvalidInput(f"{field} must not be empty", field=field)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidInput(
            f"{field} must be Unicode text without lone surrogates, got {value!r:.80}", field=field
        ) from None
    return str(value)


def texts(field: str, values: Any, *, empty: bool = False) -> list[str]:
    """Return a sequence of texts as a list. Raises as :func:`text`."""
    if isinstance(values, str) or not isinstance(values, Collection):
        raise InvalidInput(f"{field} must be a sequence of texts, got {type(values).__name__}", field=field)
    return [text(field, value, empty=empty) for value in values]


def count(field: str, value: Any) -> int:
    """Return an integer >= 0.

    Raises:
        InvalidInput: it is something else; ``field`` is named.
    """
    if type(value) is not int or value < 0:
        raise InvalidInput(f"{field} must be an integer >= 0, got {value!r:.80}", field=field)
    return value


def boolean_or_none(field: str, value: Any) -> bool | None:
    """Return true, false or ``None``.

    Raises:
        InvalidInput: it is something else; ``field`` is named.
    """
    if value is None or isinstance(value, bool):
        return value
    raise InvalidInput(f"{field} must be true, false or None, got {value!r:.80}", field=field)
