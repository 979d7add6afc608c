"""Paths into JSON values: they find the texts to embed."""

from __future__ import annotations

import json
import re
from typing import Final

from .errors import InvalidInput
from .json_values import JsonValue
from .shown import shown

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
