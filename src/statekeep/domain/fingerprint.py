"""Fingerprints of arguments: equal for equal values, in every process."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Collection, Mapping
from enum import Enum
from functools import cached_property
from inspect import getattr_static
from pathlib import PurePath
from typing import Any

import attrs
from pydantic import BaseModel

from . import tagged_json
from .errors import InvalidInput
from .payload import Payload

__all__ = ["fingerprint"]


def fingerprint(values: Mapping[str, Any]) -> str:
    """Return 40 hexadecimal digits, the same only for equal values of equal types.

    Values may be what exact JSON holds (tuples, sets, bytes and dates included), Pydantic models, dataclasses and attrs
    classes of such, members of enumerations, paths and classes. The order of mappings and sets is nothing. Private
    attributes of models count, and so do attributes of objects that are no fields, but for cached properties.

    Raises:
        InvalidInput: a value is something else; ``field`` is its name.

    Example:
        >>> fingerprint({"a": {"x": 1, "y": (2,)}}) == fingerprint({"a": {"y": (2,), "x": 1}})
        True
        >>> fingerprint({"a": 1}) == fingerprint({"a": 1.0})
        False
    """
    found = []
    for name, value in values.items():
        try:
            found.append((name, _text(value)))
        except InvalidInput as error:
            raise InvalidInput(f"{name}: {error}", field=name) from error
    return hashlib.blake2b(json.dumps(sorted(found)).encode(), digest_size=20).hexdigest()


def is_same(one: Any, other: Any) -> bool:
    """Return whether two values are equal, and of equal types throughout.

    Values of types that have no fingerprint are compared with ``==``.
    """
    try:
        return _text(one) == _text(other)
    except InvalidInput:
        return type(one) is type(other) and bool(one == other)


def _text(value: Any) -> str:
    return json.dumps(_ordered(tagged_json.encode(value, _parts)), sort_keys=True)


def _ordered(plain: Any) -> Any:
    """Sort the pairs of mappings that JSON does not sort.

    Those are the ones whose keys are not all texts.
    """
    if isinstance(plain, list):
        return [_ordered(item) for item in plain]
    if not isinstance(plain, dict):
        return plain
    ordered = {key: _ordered(item) for key, item in plain.items()}
    match ordered:
        case {tagged_json.TAG: ["dict", pairs]}:
            return {tagged_json.TAG: ["dict", sorted(pairs, key=lambda pair: json.dumps(pair, sort_keys=True))]}
    return ordered


def _parts(value: Any) -> Payload:
    """Return the parts of a value of another type, under the name of its type."""
    kind = type(value)
    hidden: Mapping[str, Any] = {}
    if isinstance(value, type):
        if "<locals>" in value.__qualname__:
            raise InvalidInput(f"classes such as {_name(value)}, which a function makes, cannot be told apart")
        parts: Any = _name(value)
    elif isinstance(value, Enum):
        # Flags of no known bit have no name.
        parts = value.value if value.name is None else value.name
    elif isinstance(value, BaseModel):
        extra = value.__pydantic_extra__ or {}
        parts = {name: item for name, item in value if name in kind.model_fields or name in extra}
        hidden = value.__pydantic_private__ or {}
    elif dataclasses.is_dataclass(value):
        parts = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
        hidden = _others(value, parts)
    elif attrs.has(kind):
        parts = {each.name: getattr(value, each.name) for each in attrs.fields(kind)}
        hidden = _others(value, parts)
    elif isinstance(value, PurePath):
        parts = str(value)
    elif isinstance(value, str | int | float | bytes):
        parts = tagged_json.as_scalar(value)
        hidden = _others(value, ())
    else:
        raise InvalidInput(f"values of type {kind.__qualname__} cannot be told apart")
    if hidden:
        parts = [parts, dict(hidden)]
    return Payload.trusted(encoding=_name(kind), data=_text(parts).encode())


def _others(value: Any, fields: Collection[str]) -> dict[str, Any]:
    """Return the attributes of an object that are no fields.

    What follows from the others, such as a cached property, is left out.
    """
    return {
        name: item
        for name, item in getattr(value, "__dict__", {}).items()
        if name not in fields
        and not name.startswith("_attrs_")
        and not isinstance(getattr_static(type(value), name, None), cached_property)
    }


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
