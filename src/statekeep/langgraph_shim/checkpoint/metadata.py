"""Conversion of metadata: any objects in LangGraph, exact JSON in the domain.

Metadata stays readable, because it is there to be filtered by: like in LangGraph's own savers it is *not* encrypted by
an ``EncryptedSerializer``, unless the saver has ``encrypt_metadata``. Only objects that exact JSON cannot hold go
through the serializer, and become payloads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...domain import InvalidInput, Payload, Serializer, dump, load, tagged_json
from ...domain.shown import shown

_SIMPLE = (str, int, bool, float, type(None))


def pack(serde: Serializer, metadata: Mapping[str, Any], field: str = "metadata") -> dict[str, Any]:
    """Return a copy in which every object that exact JSON cannot hold is a payload.

    Raises:
        InvalidInput: ``metadata`` is not a mapping from text, or contains itself.
    """
    if not isinstance(metadata, Mapping):
        raise InvalidInput(f"{field} must be a mapping, got {type(metadata).__name__}", field=field)
    simple = True
    for key, item in metadata.items():
        if not isinstance(key, str):
            raise InvalidInput(f"the keys of {field} must be text, got {shown(key)}", field=field)
        simple = simple and (type(item) in _SIMPLE or (type(item) is dict and not item))
    if simple:
        return dict(metadata)  # what LangGraph itself puts there, mostly
    packed: dict[str, Any] = tagged_json.decode(tagged_json.encode(dict(metadata), lambda item: dump(serde, item)))
    return packed


def unpack(serde: Serializer, value: Any) -> Any:
    """Return what :func:`pack` made ``value`` from."""
    kind = type(value)
    if kind in _SIMPLE:
        return value
    if kind is Payload:
        return load(serde, value)
    if kind is dict:
        return {
            key if type(key) is str else unpack(serde, key): item if type(item) in _SIMPLE else unpack(serde, item)
            for key, item in value.items()
        }
    if kind is list or kind is tuple or kind is set or kind is frozenset:
        return kind(unpack(serde, item) for item in value)
    return value
