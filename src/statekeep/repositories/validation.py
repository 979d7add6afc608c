"""Checks of arguments, TTLs included."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from ..domain import InvalidInput
from ..domain.model import DEFAULT, LONGEST_ID, MOST_LABELS, Ttl, excess, is_plain, is_plain_place, plain_text, too_long
from ..domain.shown import shown

if TYPE_CHECKING:
    from ..domain.items import Namespace  # whoever keeps checkpoints alone imports no items


MOST_INDEXED: Final = 16
"""Names in metadata that can be indexed: each takes three keys of a put in Valkey."""


def text(field: str, value: Any, *, empty: bool = False, is_id: bool = True) -> str:
    """Return Unicode text as ``str`` itself; it is not empty unless it may be.

    Args:
        field: its name in an error.
        value: the text.
        empty: it may be empty.
        is_id: it may be no longer than an id.

    Raises:
        InvalidInput: it is something else; ``field`` is named.
    """
    if is_plain(value):
        found: str = value
        return found
    if not isinstance(value, str):
        raise InvalidInput(f"{field} must be text, got {type(value).__name__} {shown(value)}", field=field)
    found = plain_text(value)
    if not found and not empty:
        raise InvalidInput(f"{field} must not be empty", field=field)
    try:
        size = len(found.encode())
    except UnicodeEncodeError:
        raise InvalidInput(
            f"{field} must be Unicode text without lone surrogates, got {shown(value)}", field=field
        ) from None
    if is_id and size > LONGEST_ID:
        raise InvalidInput(f"{field} {too_long(size)}", field=field)
    return found


def texts(field: str, values: Any, *, empty: bool = False) -> list[str]:
    """Return a sequence of texts as a list. Raises as :func:`text`."""
    if isinstance(values, str) or not isinstance(values, Collection):
        raise InvalidInput(f"{field} must be a sequence of texts, got {type(values).__name__}", field=field)
    return [text(field, value, empty=empty) for value in values]


def indexed_names(values: Any) -> tuple[str, ...]:
    """Return the names in metadata that are to be indexed, each once.

    Raises:
        InvalidInput: they are no sequence of texts, or too many; ``field`` is ``index_metadata``.
    """
    found = dict.fromkeys(texts("index_metadata", values))
    if len(found) > MOST_INDEXED:
        raise InvalidInput(
            f"index_metadata must have at most {MOST_INDEXED} names, got {len(found)}", field="index_metadata"
        )
    return tuple(found)


def labels(field: str, values: Any) -> Namespace:
    """Return the labels of a namespace, at most as many and as long as allowed.

    Raises as :func:`text`.
    """
    found = tuple(texts(field, values))
    if len(found) > MOST_LABELS:
        raise InvalidInput(f"{field} must have at most {MOST_LABELS} labels, got {len(found)}", field=field)
    if size := excess(*found):
        raise InvalidInput(f"{field} {too_long(size)}", field=field)
    return found


def namespace_and_key(namespace: Any, key: Any) -> tuple[Namespace, str]:
    """Return the labels and the key of an item or cache entry.

    Raises as :func:`text`.
    """
    if type(namespace) is tuple and is_plain_place(namespace, key):
        return namespace, key
    return labels("namespace", namespace), text("key", key, empty=True)


def count(field: str, value: Any) -> int:
    """Return an integer >= 0.

    Raises:
        InvalidInput: it is something else; ``field`` is named.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InvalidInput(f"{field} must be an integer >= 0, got {shown(value)}", field=field)
    return int.__int__(value)


def unit_or_none(value: Any) -> int | None:
    """Return the number of labels that say which unit a namespace is in.

    ``None`` stands for all.

    Raises:
        InvalidInput: it is neither an integer >= 0 nor ``None``.
    """
    return None if value is None else count("unit", value)


LONGEST_WAIT: Final = 4_000_000
"""Seconds; 46 days. It has to fit into 32 bits of milliseconds, as some clients count."""


def seconds(field: str, value: Any, *, zero: bool = False, most: int = LONGEST_WAIT) -> float:
    """Return a number of seconds > 0 (>= 0 with ``zero``) and <= ``most``.

    Raises:
        InvalidInput: it is something else; ``field`` is named.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= most or (value == 0 and not zero):
        least = "0 or more" if zero else "more than 0"
        raise InvalidInput(
            f"{field} must be a finite number of seconds, {least} and at most {most}, got {shown(value)}",
            field=field,
        )
    return float(value)


def boolean(field: str, value: Any) -> bool:
    """Return true or false.

    Raises:
        InvalidInput: it is something else; ``field`` is named.
    """
    if isinstance(value, bool):
        return value
    raise InvalidInput(f"{field} must be true or false, got {shown(value)}", field=field)


def boolean_or_none(field: str, value: Any) -> bool | None:
    """Return true, false or ``None``.

    Raises:
        InvalidInput: it is something else; ``field`` is named.
    """
    if value is None or isinstance(value, bool):
        return value
    raise InvalidInput(f"{field} must be true, false or None, got {shown(value)}", field=field)


def some_of(field: str, value: Any, allowed: Sequence[str]) -> tuple[str, ...] | None:
    """Return those words that are given, in the order of ``allowed``, or ``None``.

    >>> some_of("kinds", ["logs", "items"], ["checkpoints", "items", "logs"])
    ('items', 'logs')

    Raises:
        InvalidInput: it is anything else; ``field`` is named.
    """
    if value is None:
        return None
    words = list(value) if isinstance(value, Iterable) and not isinstance(value, str) else None
    wrong = [value] if words is None else [word for word in words if word not in allowed]
    if words is None or wrong:
        raise InvalidInput(f"{field} must be some of {', '.join(allowed)}, got {shown(wrong[0])}", field=field)
    return tuple(word for word in allowed if word in words)


def function_or_none(field: str, value: Any) -> Any:
    """Return a function, or ``None``.

    Raises:
        InvalidInput: it is something else; ``field`` is named.
    """
    if value is None or callable(value):
        return value
    raise InvalidInput(f"{field} must be a function, got {type(value).__name__}", field=field)


LONGEST_TTL: Final = 10_000_000_000
"""Seconds; 317 years. A later end may be after the last date that Python has."""


def ttl_seconds(value: Any, field: str = "ttl") -> float | None:
    """Return a TTL: ``None`` (for ever) or a number of seconds > 0.

    >>> ttl_seconds(0.5)
    0.5

    Raises:
        InvalidInput: it is anything else; ``field`` is named.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= LONGEST_TTL:
        raise InvalidInput(
            f"{field} must be None or a number of seconds > 0 and <= {LONGEST_TTL}, got {shown(value)}", field=field
        )
    return float(value)


def ms_of(ttl: float | None) -> int:
    """Return a TTL in milliseconds, rounded up; 0 for ever."""
    return 0 if ttl is None else math.ceil(ttl * 1000)


def ttl_or_default(value: Any) -> Ttl:
    """Return a TTL in seconds, or ``DEFAULT``. Raises as :func:`ttl_seconds`."""
    return DEFAULT if value is DEFAULT else ttl_seconds(value)
