"""How the results of a function are serialized, as its annotation says."""

from __future__ import annotations

import collections.abc
import datetime as dt
import functools
import inspect
import types
import typing
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from ...domain import InvalidInput, JsonSerializer, Payload, Serializer
from ...domain.serializers import TypeSerializer

_EXACT: Final[frozenset[Any]] = frozenset(
    (
        None, type(None), bool, int, float, str, bytes, bytearray, list, tuple, dict, set, frozenset, object, Any, ...,
        dt.datetime, dt.date, dt.timedelta, Decimal, uuid.UUID, Payload,
        *(kind for kind in vars(collections.abc).values() if isinstance(kind, type)),
    )
)  # fmt: skip
"""Types of which exact JSON needs to be told nothing, or of which an annotation says nothing."""


def serializer_of(function: Any, name: str) -> Callable[[], Serializer]:
    """Return what returns the serializer of a function's results.

    An annotation that names what is defined later is read at the first call.

    Raises:
        InvalidInput: results of the type that the annotation names cannot be kept; also raised by what is returned.
    """

    @functools.cache
    def chosen(*, is_late: bool = True) -> Serializer:
        try:
            annotation = _returned(function)
        except Exception:
            # Names that only type checkers know, or that are there later.
            if not is_late:
                raise
            annotation = Any
        if _is_exact(annotation):
            return JsonSerializer()
        try:
            return TypeSerializer(annotation)
        except InvalidInput as error:
            raise InvalidInput(
                f"the results of {name} cannot be kept: {error}; pass serializer=", field="serializer"
            ) from error

    try:
        found = chosen(is_late=False)
    except InvalidInput:
        raise
    except Exception:
        return chosen
    return lambda: found


def _returned(function: Any) -> Any:
    """Return what a function is annotated to return, :data:`~typing.Any` if it is not."""
    try:
        annotation = inspect.signature(function).return_annotation
    except (TypeError, ValueError):
        return Any
    if annotation is inspect.Signature.empty:
        return Any
    inner = inspect.unwrap(function)
    if isinstance(inner, functools.partial):
        inner = inner.func
    inner = getattr(inner, "__func__", inner)
    if not isinstance(inner, types.FunctionType):
        inner = type(inner).__call__

    def of_one_hint() -> None: ...

    of_one_hint.__annotations__ = {"return": annotation}
    nonlocals = inspect.getclosurevars(inner).nonlocals
    return typing.get_type_hints(of_one_hint, inner.__globals__, dict(nonlocals), include_extras=True)["return"]


def _is_exact(annotation: Any) -> bool:
    if isinstance(annotation, typing.TypeVar | typing.ParamSpec | str):
        return True
    if typing.get_origin(annotation) is typing.Literal:
        return all(type(value) in _EXACT for value in typing.get_args(annotation))
    if typing.is_typeddict(annotation):
        return all(map(_is_exact, typing.get_type_hints(annotation).values()))
    origin = typing.get_origin(annotation)
    if origin is None:
        return annotation in _EXACT
    parts = typing.get_args(annotation)
    if origin is typing.Annotated:
        return _is_exact(parts[0])
    if origin in (typing.Union, types.UnionType, typing.Required, typing.NotRequired, typing.ClassVar, typing.Final):
        return all(map(_is_exact, parts))
    return origin in _EXACT and all(isinstance(part, list) or _is_exact(part) for part in parts)
