"""Values that JSON can hold, and paths into them.

The values are objects, arrays, text, numbers, true, false and null.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

from .errors import InvalidInput
from .model import plain_text
from .shown import shown

JsonValue = Any
"""``None``, ``bool``, ``int``, ``float`` (finite), ``str``, a list of such values, or a dict of them by text."""

_MERGING = re.compile("[\ud800-\udbff][\udc00-\udfff]")

DEEPEST: Final = 200
"""Most levels of nested lists and dicts, far below the limit of Python's stack."""

LARGEST: Final = 10 ** (sys.int_info.default_max_str_digits - 1)
"""Integers must be smaller: Python neither writes nor reads the digits of larger ones."""


def normalize(
    value: Any, field: str, *, finite: bool = True, other: Callable[[Any], Any] = lambda value: NotImplemented
) -> JsonValue:
    """Return a copy of ``value`` as JSON has it: tuples as lists, mappings as dicts.

    Args:
        value: what to check.
        field: what to call it in an error.
        finite: whether NaN and the infinities are refused; only what is not stored may have them.
        other: returns what to take for a value that is no JSON, or ``NotImplemented``.

    Raises:
        InvalidInput: JSON cannot hold it; the message says where.

    Example:
        >>> normalize({"tags": ("a", "b")}, "value")
        {'tags': ['a', 'b']}
    """
    try:
        return _normalize(value, field, finite, other, DEEPEST)
    except RecursionError:
        raise _too_deep(field) from None


def _too_deep(path: str) -> InvalidInput:
    field = re.split(r"[.\[]", path, maxsplit=1)[0]
    return InvalidInput(f"{field} is nested deeper than {DEEPEST} levels, or contains itself", field=field)


def _normalize(value: Any, path: str, finite: bool, other: Callable[[Any], Any], deeper: int) -> JsonValue:
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return _text(plain_text(value), path)
    if isinstance(value, int):
        if not -LARGEST < value < LARGEST:
            raise _refused("an integer of too many digits", path)
        return int.__int__(value)
    if isinstance(value, float):
        if finite and not math.isfinite(value):
            raise _refused(f"{value!r} is not JSON", path)
        return float.__float__(value)
    if deeper < 1:
        raise _too_deep(path)
    if isinstance(value, Mapping):
        found = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise _refused(f"the key {shown(key, 40)} is {type(key).__qualname__}; JSON has text keys only", path)
            name = _text(plain_text(key), path)
            if name in found:
                raise _refused(f"two keys are one text, {shown(name, 40)}", path)
            found[name] = _normalize(item, f"{path}.{name:.40}", finite, other, deeper - 1)
        return found
    if isinstance(value, list | tuple):
        return [
            _normalize(item, f"{path}[{position}]", finite, other, deeper - 1) for position, item in enumerate(value)
        ]
    found = other(value)
    if found is not NotImplemented:
        return _normalize(found, path, finite, other, deeper - 1)
    raise _refused(
        f"{type(value).__module__}.{type(value).__qualname__} is not JSON: make it text, a number, a list or a dict "
        "first",
        path,
    )


def is_json_text(text: str) -> bool:
    """Return whether JSON can hold a text.

    Two surrogates in a row would be read back as one character.
    """
    return text.isascii() or _MERGING.search(text) is None


def _text(text: str, path: str) -> str:
    if not is_json_text(text):
        raise _refused("two surrogates in a row, which JSON reads as one character", path)
    return text


def _refused(what: str, path: str) -> InvalidInput:
    where = path.encode("utf-8", "backslashreplace").decode()
    return InvalidInput(f"{where:.200}: {what}", field=re.split(r"[.\[]", path, maxsplit=1)[0])


# json.dumps would build an encoder for each call.
_readable = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
_escaped = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


# json.loads would make a decoder for each call.
_decode = json.JSONDecoder(parse_constant=_refuse).decode


def loads(text: str) -> JsonValue:
    """Return the value of a JSON text.

    Raises:
        ValueError: it is no JSON; NaN and the infinities are none.
        RecursionError: it is nested too deep.
    """
    return _decode(text)


class JsonText(str):
    """A value as the JSON text that is stored.

    Nobody has parsed it yet.
    """

    __slots__ = ()


def dumps(value: JsonValue) -> str:
    """Return a value of :func:`normalize` as JSON text.

    Lone surrogates are escaped, so UTF-8 takes it.

    >>> dumps({"name": "Zoë"})
    '{"name":"Zoë"}'
    """
    text = _readable(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        return _escaped(value)
    return text


# -- paths into values: they find the texts to embed


ROOT: Final = "$"
"""The path of a whole value."""

_STEP: Final = re.compile(
    r"\[(?P<index>\*|-?[0-9]{1,9})\]|\{(?P<fields>[^{}\[\]]*)\}|(?P<name>[^.\[\]{}]+)|(?P<dot>\.)"
)


def steps(path: str, field: str = "fields") -> tuple[str, ...]:
    """Cut a path into its steps.

    ``a.b`` is a field of a field, ``a[0]`` and ``a[-1]`` elements of a list, ``a[*]`` all of them, ``*`` all values of
    a list or an object, ``{a,b.c}`` several fields, and ``$`` the whole value.

    Args:
        path: the path.
        field: what to call it in an error.

    Raises:
        InvalidInput: it is not such a path.

    Example:
        >>> steps("messages[*].text")
        ('messages', '[*]', 'text')
    """
    if not isinstance(path, str) or not path:
        raise InvalidInput(
            f'{field}: a path must be text such as "text" or "parts[*].text", got {shown(path)}', field=field
        )
    if path == ROOT:
        return ()
    found = []
    at = 0
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None or (step["fields"] is not None and not all(map(_names, step["fields"].split(",")))):
            raise InvalidInput(f"{field}: {shown(path)} is no path; see position {at}", field=field)
        if not step["dot"]:
            found.append(step[0])
        at = step.end()
    return tuple(found)


def texts_at(value: JsonValue, path: tuple[str, ...]) -> list[str]:
    """Return the texts at a path that :func:`steps` cut: none if there is nothing.

    Numbers and booleans are taken as text, lists and objects as JSON.

    Example:
        >>> texts_at({"messages": [{"text": "a"}, {"text": "b"}, {}]}, steps("messages[*].text"))
        ['a', 'b']
    """
    found: list[str] = []
    _collect(value, path, found)
    return found


def _collect(value: JsonValue, path: tuple[str, ...], found: list[str]) -> None:
    if not path:
        if isinstance(value, str | int | float):  # also booleans
            found.append(str(value))
        elif value is not None:
            found.append(json.dumps(value, sort_keys=True, ensure_ascii=False))
        return
    step, rest = path[0], path[1:]
    if step.startswith("["):
        if isinstance(value, list):
            for item in value if step == "[*]" else _element(value, int(step[1:-1])):
                _collect(item, rest, found)
    elif step.startswith("{"):
        if isinstance(value, dict):
            for names in step[1:-1].split(","):
                _collect(value, (*_names(names), *rest), found)
    elif step == "*":
        for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            _collect(item, rest, found)
    elif isinstance(value, dict) and step in value:
        _collect(value[step], rest, found)


def _names(path: str) -> list[str]:
    return [name for name in path.strip().split(".") if name]


def _element(values: list[JsonValue], index: int) -> list[JsonValue]:
    return [values[index]] if -len(values) <= index < len(values) else []
