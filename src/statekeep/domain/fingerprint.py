"""Fingerprints of arguments: equal for equal values, in every process."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any

import attrs
from pydantic import BaseModel

from . import tagged_json
from .errors import InvalidInput
from .payload import Payload
from .shown import shown

__all__ = ["fingerprint"]


def fingerprint(values: Mapping[str, Any]) -> str:
    """Return 40 hexadecimal digits, the same only for equal values of equal types.

    Values may be what exact JSON holds (tuples, sets, bytes and dates included), Pydantic models, dataclasses and attrs
    classes of such, members of enumerations, paths and classes. The order of mappings and sets is nothing.

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
    if isinstance(value, type):
        parts: Any = _name(value)
    elif isinstance(value, Enum):
        parts = value.name
    elif isinstance(value, BaseModel):
        parts = dict(value)
    elif dataclasses.is_dataclass(value):
        parts = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
    elif attrs.has(kind):
        parts = {each.name: getattr(value, each.name) for each in attrs.fields(kind)}
    elif isinstance(value, PurePath):
        parts = str(value)
    else:
        bases: tuple[type[Any], ...] = (str, int, float, bytes)
        base = next((base for base in bases if isinstance(value, base)), None)
        if base is None:
            raise InvalidInput(f"values of type {kind.__qualname__} cannot be told apart, got {shown(value)}")
        parts = base(value)
    return Payload.trusted(encoding=_name(kind), data=_text(parts).encode())


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
