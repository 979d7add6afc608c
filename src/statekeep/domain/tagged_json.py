r"""JSON that loses nothing.

Plain JSON values are written as they are. What JSON cannot hold (tuples, bytes, dates, NaN, sets,
mappings whose keys are not strings ...) becomes a one-key object ``{"$keep": [kind, value]}``, so that it
is read back equal and of the same type. Lone surrogates are written as ``\udXXX`` escapes, or as tagged UTF-8
where two of them in a row would be read back as one character.

>>> loads(dumps({"a": (1, 2), "b": b"\xff"}))
{'a': (1, 2), 'b': b'\xff'}
>>> dumps({"a": [1, "x", None]})
'{"a":[1,"x",null]}'
"""

from __future__ import annotations

import datetime as dt
import json
import math
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pybase64
from pydantic_core import from_json, to_json

from . import json_values
from .errors import InvalidInput
from .json_values import DEEPEST, LARGEST, is_json_text
from .model import plain_bytes, plain_text
from .payload import Payload
from .shown import shown

__all__ = ["dumps", "loads"]

TAG = "$keep"

_SMALL = 2**63

Other = Callable[[Any], Any]
"""Returns a payload in the place of an object of another type, or a value that is of none."""


def _b64(data: bytes) -> str:
    return pybase64.b64encode(data).decode("ascii")


def _unb64(text: str) -> bytes:
    return pybase64.b64decode(text, validate=True)


def _reject(value: Any) -> Any:
    raise InvalidInput(
        f"{type(value).__qualname__} is not JSON, and none of tuple, set, bytes, datetime, Decimal, UUID: "
        f"serialize it first, got {shown(value)}"
    )


def as_builtin(value: Any) -> Any:
    """Return an object of a subclass of a builtin type as one of that type.

    It is text, a number, bytes, or a container.

    Raises:
        InvalidInput: it is of no such type.

    Example:
        >>> from collections import OrderedDict
        >>> as_builtin(OrderedDict(a=1))
        {'a': 1}
    """
    if isinstance(value, str | int | float | bytes):
        return as_scalar(value)
    kinds: tuple[Any, ...] = (dict, list, tuple, set, frozenset, bytearray)
    for kind in kinds:
        if isinstance(value, kind):
            return kind(value)
    return _reject(value)


def as_scalar(value: str | int | float | bytes) -> str | int | float | bytes:
    """Return a text, a number or bytes of a subclass as what it is a subclass of."""
    if isinstance(value, str):
        return plain_text(value)
    if isinstance(value, bytes):
        return plain_bytes(value)
    return int.__int__(value) if isinstance(value, int) else float.__float__(value)


def encode(value: Any, other: Other = _reject) -> Any:
    """Return plain JSON for ``value``; objects of unknown types go through ``other``.

    Raises:
        InvalidInput: a value is of an unknown type and no ``other`` was given, is nested too deeply to be read back
            anywhere, or contains itself.
    """
    try:
        return _encode(value, other, DEEPEST)
    except RecursionError:  # of `other`, with an object that contains itself
        raise _too_deep() from None


def _too_deep() -> InvalidInput:
    return InvalidInput(f"value is nested deeper than {DEEPEST} levels of JSON, or contains itself")


def _encode(value: Any, other: Other, deeper: int) -> Any:
    # deeper: how many levels of JSON may follow. A tag takes two of them.
    kind = type(value)
    if kind is bool or value is None:
        return value
    if kind is int:
        if not -LARGEST < value < LARGEST:
            raise InvalidInput(f"an integer has too many digits, got {shown(value)}")
        return value
    if kind is str:
        return value if is_json_text(value) else {TAG: ["str", _b64(value.encode("utf-8", "surrogatepass"))]}
    if kind is float:
        return value if math.isfinite(value) else {TAG: ["float", repr(value)]}
    if deeper < 1:
        raise _too_deep()
    if kind is dict:
        if all(type(key) is str and is_json_text(key) for key in value) and TAG not in value:
            return {key: _encode(item, other, deeper - 1) for key, item in value.items()}
        pairs = [[_encode(key, other, deeper - 4), _encode(item, other, deeper - 4)] for key, item in value.items()]
        return {TAG: ["dict", pairs]}
    if kind is list:
        return [_encode(item, other, deeper - 1) for item in value]
    if kind is tuple:
        return {TAG: ["tuple", [_encode(item, other, deeper - 3) for item in value]]}
    if kind is set or kind is frozenset:
        items = sorted((_encode(item, other, deeper - 3) for item in value), key=json.dumps)
        return {TAG: [kind.__name__, items]}
    if kind is bytes or kind is bytearray:
        return {TAG: [kind.__name__, _b64(bytes(value))]}
    if kind is dt.datetime and (value.tzinfo is None or isinstance(value.tzinfo, dt.timezone)):
        return {TAG: ["datetime", value.isoformat(), *([1] if value.fold else [])]}
    if kind is dt.date:
        return {TAG: ["date", value.isoformat()]}
    if kind is dt.timedelta:
        return {TAG: ["timedelta", [value.days, value.seconds, value.microseconds]]}
    if kind is Decimal:
        return {TAG: ["decimal", str(value)]}
    if kind is uuid.UUID:
        return {TAG: ["uuid", str(value)]}
    payload = value if kind is Payload else other(value)
    if type(payload) is not Payload:
        return _encode(payload, other, deeper)
    return {TAG: ["payload", payload.encoding, _b64(payload.data)]}


def _items(parts: list[Any]) -> list[Any]:
    return [decode(item) for item in parts]


_DECODERS: dict[str, Callable[..., Any]] = {
    "str": lambda text: _unb64(text).decode("utf-8", "surrogatepass"),
    "float": float,
    "dict": lambda pairs: {decode(key): decode(item) for key, item in pairs},
    "tuple": lambda parts: tuple(_items(parts)),
    "set": lambda parts: set(_items(parts)),
    "frozenset": lambda parts: frozenset(_items(parts)),
    "bytes": _unb64,
    "bytearray": lambda text: bytearray(_unb64(text)),
    "datetime": lambda text, fold=0: dt.datetime.fromisoformat(text).replace(fold=fold),
    "date": dt.date.fromisoformat,
    "timedelta": lambda parts: dt.timedelta(*parts),
    "decimal": Decimal,
    "uuid": uuid.UUID,
    "payload": lambda encoding, text: Payload(encoding=encoding, data=_unb64(text)),
}


def decode(value: Any) -> Any:
    """Undo :func:`encode`. Payloads stay :class:`Payload`.

    Raises:
        ValueError: ``value`` was not made by :func:`encode`.
    """
    if type(value) is list:
        return [decode(item) for item in value]
    if type(value) is not dict:
        return value
    if TAG not in value:
        return {key: decode(item) for key, item in value.items()}
    try:
        kind, *parts = value[TAG]
        return _DECODERS[kind](*parts)
    except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise ValueError(f"not exact JSON: {shown(value)}") from error


def dumps(value: Any, other: Other = _reject) -> str:
    """Return ``value`` as JSON text that UTF-8 can carry.

    Raises:
        InvalidInput: as :func:`encode`.
    """
    if is_simple(value):
        return to_json(value).decode()
    return json_values.dumps(encode(value, other))


def is_simple(value: Any) -> bool:
    """Return whether a value needs no encoding, as most metadata.

    Pydantic writes it as Python does.
    """
    if type(value) is not dict or TAG in value:
        return False
    for key, item in value.items():
        if type(key) is not str or not key.isascii():
            return False
        kind = type(item)
        if kind is str:
            if not item.isascii():
                return False
        elif kind is int:
            if not -_SMALL < item < _SMALL:
                return False
        elif kind is not bool and item is not None and not (kind is dict and not item):
            return False
    return True


def loads(text: str | bytes) -> Any:
    """Undo :func:`dumps`.

    Raises:
        ValueError: ``text`` is not JSON, or was not made by :func:`dumps`.
    """
    try:
        plain = from_json(text)
    except ValueError:
        # Python's decoder takes more, such as lone surrogates, and explains errors best.
        plain = json.loads(text)
    return decode(plain) if TAG in (text if isinstance(text, str) else text.decode()) else plain
