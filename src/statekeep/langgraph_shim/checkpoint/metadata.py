"""Conversion of metadata: any objects in LangGraph, exact JSON in the domain.

Metadata stays readable, because it is there to be filtered by: like in LangGraph's own savers it is *not* encrypted by
an ``EncryptedSerializer``, unless the saver has ``encrypt_metadata``. Only objects that exact JSON cannot hold go
through the serializer, and become payloads. Texts, numbers and bytes of subclasses, such as the members of an
``IntEnum``, become what they are subclasses of, so that a filter finds them in every program.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from ...domain import InvalidInput, Payload, Serializer, dump, load, tagged_json
from ...domain.model import plain_text
from ...domain.shown import shown

_SIMPLE = (str, int, bool, float, type(None))


def _checked(metadata: Any, field: str) -> Mapping[str, Any]:
    if not isinstance(metadata, Mapping):
        raise InvalidInput(f"{field} must be a mapping, got {type(metadata).__name__}", field=field)
    for key in metadata:
        if not isinstance(key, str):
            raise InvalidInput(f"the keys of {field} must be text, got {shown(key)}", field=field)
    return metadata


def pack(serde: Serializer, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy in which every object that exact JSON cannot hold is a payload.

    Raises:
        InvalidInput: ``metadata`` is not a mapping from text, or contains itself.
    """
    simple = True
    for key, item in _checked(metadata, "metadata").items():
        simple = simple and type(key) is str and (type(item) in _SIMPLE or (type(item) is dict and not item))
    if simple:
        return dict(metadata)  # what LangGraph itself puts there, mostly

    def other(item: Any) -> Any:
        return tagged_json.as_scalar(item) if isinstance(item, str | int | float | bytes) else dump(serde, item)

    plain = {plain_text(key): item for key, item in metadata.items()}
    packed: dict[str, Any] = tagged_json.decode(tagged_json.encode(plain, other))
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


@frozen(eq=False)
class _Wanted:
    """A value of a filter.

    It equals what is stored if it equals the object that was stored, as in LangGraph's savers.
    """

    value: Any
    serde: Serializer

    def __eq__(self, stored: object) -> bool:
        return bool(self.value == unpack(self.serde, stored))

    __hash__ = None  # type: ignore[assignment]


def conditions(serde: Serializer, filter: Any) -> dict[str, Any] | None:
    """Return a filter as the ``metadata`` of a query.

    It is ``None`` if there are no conditions.

    Raises:
        InvalidInput: it is not a mapping from text.
    """
    if filter is None:
        return None
    found = {
        plain_text(key): item if type(item) in _SIMPLE else _Wanted(item, serde)
        for key, item in _checked(filter, "filter").items()
    }
    return found or None
