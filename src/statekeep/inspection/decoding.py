"""Stored values as JSON, without executing, importing or unpickling."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import math
import uuid
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from pydantic import Field
from pydantic_core import from_json

from ..domain.errors import Portable
from ..domain.model import Model
from ..domain.payload import Payload
from ..domain.shown import shown
from ..domain.tagged_json import TAG
from .limits import TYPE, Cutter, Limits
from .msgpack import Damaged, unpacked

LIMITS: Final = Limits()


class DecodedValue(Model):
    """A stored value, as far as it can be shown.

    Example:
        >>> from statekeep import Payload
        >>> decode(Payload(encoding="json", data=b'{"step": 1}')).value
        {'step': 1}
    """

    encoding: str = Field(description="The name that the serializer gave to its encoding.")
    size: int = Field(description="Bytes, before any compression of the service.")
    value: Any = Field(
        default=None,
        description='The value as JSON. What JSON has none such is an object with "$type"; what is left out a mark '
        'with "$cut". null if it is not decoded.',
    )
    is_cut: bool = Field(default=False, description="Whether something is left out, as the marks say.")
    problem: str | None = Field(default=None, description="Why it is not decoded; null if it is.")
    sha256: str | None = Field(default=None, description="SHA-256 of the bytes, if it is not decoded.")


def decode(payload: Payload, limits: Limits = LIMITS) -> DecodedValue:
    """Decode a payload as JSON.

    Nothing is imported, executed or unpickled: classes that a serializer names are shown by their names. What cannot be
    shown so (pickles, encrypted values, unknown encodings) is named by its size and hash.

    Args:
        payload: the stored value.
        limits: how much of it is shown.

    Example:
        >>> from statekeep import Payload
        >>> decode(Payload(encoding="pickle", data=b"...")).problem
        'a pickle, which would have to be executed'
    """
    cutter = Cutter(limits)
    try:
        value = _read(payload, cutter)
    except _Closed as closed:
        return _closed(payload, str(closed))
    except (ValueError, RecursionError) as error:
        return _closed(payload, _why(error))
    return DecodedValue.trusted(
        encoding=payload.encoding,
        size=len(payload.data),
        value=value,
        is_cut=cutter.was_cut,
        problem=None,
        sha256=None,
    )


def decode_raw(payload: Payload) -> dict[str, Any]:
    """Return a payload as it is stored: its encoding, size, and bytes in base64.

    Args:
        payload: the stored value.

    Example:
        >>> from statekeep import Payload
        >>> decode_raw(Payload(encoding="json", data=b"[1]"))
        {'encoding': 'json', 'size': 3, 'base64': 'WzFd'}
    """
    text = base64.b64encode(payload.data).decode("ascii")
    return {"encoding": payload.encoding, "size": len(payload.data), "base64": text}


def as_tree(value: Any, limits: Limits = LIMITS) -> Any:
    """Return Python's own values as JSON, in the form of :func:`decode`.

    These are metadata of checkpoints, values of items, and elements of logs.

    Args:
        value: of the types that exact JSON holds, payloads among them.
        limits: how much of it is shown.

    Example:
        >>> as_tree({"at": (1, b"x")})
        {'at': {'$type': 'tuple', 'value': [1, {'$type': 'bytes', 'size': 1, 'base64': 'eA=='}]}}
    """
    return _shape(value, Cutter(limits), limits.depth, tagged=False)


class _Closed(Portable):
    """A value that is not opened; the text says why."""


def _closed(payload: Payload, problem: str) -> DecodedValue:
    return DecodedValue(
        encoding=payload.encoding,
        size=len(payload.data),
        problem=problem,
        sha256=hashlib.sha256(payload.data).hexdigest(),
    )


def _why(error: Exception) -> str:
    """Say why bytes were not read.

    Some are whole, and more than a parser of Python takes.
    """
    text = str(error)
    if isinstance(error, RecursionError) or "recursion limit" in text:
        return "nested too deeply to be shown"
    if "integer string conversion" in text:
        return "it has a number of too many digits to be shown"
    kind = "" if isinstance(error, Damaged) else f"{type(error).__name__}: "
    return f"damaged: {kind}{shown(text, 200)}"


_TAGGED: Final = ("json", "type+json")
_PLAIN: Final = ("model+json",)
_LANGGRAPH: Final = ("bytearray", "bytes", "json", "msgpack", "null", "pickle")


def _read(payload: Payload, cutter: Cutter) -> Any:
    encoding, data = payload.encoding, payload.data
    if encoding == "null" and not data:
        return None
    if encoding in ("bytes", "bytearray"):
        return cutter.bytes(data, encoding)
    if encoding == "msgpack":
        return unpacked(data, cutter)
    if encoding in _TAGGED or encoding in _PLAIN:
        return _json(data, cutter, tagged=encoding in _TAGGED)
    if encoding == "pickle":
        raise _Closed("a pickle, which would have to be executed")
    kind, plus, cipher = encoding.partition("+")
    if plus and kind in _LANGGRAPH:
        raise _Closed(f"encrypted with {cipher!r:.80}, to which only the program has the key")
    raise _Closed("an encoding that Statekeep does not know")


def _json(data: bytes, cutter: Cutter, tagged: bool) -> Any:
    most = cutter.limits.bytes
    if len(data) <= most:
        try:
            found = from_json(data)
        except ValueError:
            found = json.loads(data)  # takes more, such as lone surrogates, and explains errors best
        return _shape(found, cutter, cutter.limits.depth, tagged)
    beginning = from_json(data[:most], allow_partial="trailing-strings")
    rest = cutter.mark(f"{len(data) - most:,} more bytes of JSON")
    return {"begins": _shape(beginning, cutter, cutter.limits.depth, tagged), **rest}


def _shape(value: Any, cutter: Cutter, deeper: int, tagged: bool) -> Any:
    cutter.left -= 1
    kind = type(value)
    if value is None or kind is bool or kind is int:
        return value
    if kind is float:
        return value if math.isfinite(value) else {TYPE: "float", "value": repr(value)}
    if kind is str:
        return cutter.text(value)
    if kind in (bytes, bytearray):
        return cutter.bytes(bytes(value), kind.__name__)
    if kind is Payload:
        return _nested(value, cutter)
    if kind in _SCALARS:
        name, show = _SCALARS[kind]
        return {TYPE: name, "value": show(value)}
    if kind in (list, tuple, set, frozenset):
        if deeper < 1:
            return cutter.mark(f"a {kind.__name__} of {len(value):,}, deeper than {cutter.limits.depth} levels")
        items = _items(value, cutter, deeper, tagged)
        return items if kind is list else {TYPE: kind.__name__, "value": items}
    if isinstance(value, Mapping):
        return _mapping(value, cutter, deeper, tagged)
    return {TYPE: f"{kind.__module__}.{kind.__qualname__}", "value": shown(value, 200)}


_SCALARS: Final[Mapping[type, tuple[str, Callable[[Any], Any]]]] = {
    dt.datetime: ("datetime.datetime", dt.datetime.isoformat),
    dt.date: ("datetime.date", dt.date.isoformat),
    dt.timedelta: ("datetime.timedelta", dt.timedelta.total_seconds),
    Decimal: ("decimal.Decimal", str),
    uuid.UUID: ("uuid.UUID", str),
}


def _items(values: Any, cutter: Cutter, deeper: int, tagged: bool) -> list[Any]:
    items: list[Any] = []
    for value in values:
        if len(items) >= cutter.limits.items or cutter.left <= 0:
            break
        items.append(_shape(value, cutter, deeper - 1, tagged))
    return cutter.listed(items, len(values) - len(items))


def _mapping(value: Mapping[Any, Any], cutter: Cutter, deeper: int, tagged: bool) -> Any:
    if deeper < 1:
        return cutter.mark(f"an object of {len(value):,}, deeper than {cutter.limits.depth} levels")
    if tagged and TAG in value:
        found = _tagged(value[TAG], cutter, deeper)
        if found is not NotImplemented:
            return found
    pairs: list[tuple[Any, Any]] = []
    for key, item in value.items():
        if len(pairs) >= cutter.limits.items or cutter.left <= 0:
            break
        shown_key = key if type(key) is str else _shape(key, cutter, deeper - 1, tagged)
        pairs.append((shown_key, _shape(item, cutter, deeper - 1, tagged)))
    return cutter.mapping(pairs, len(value) - len(pairs))


def _tagged(parts: Any, cutter: Cutter, deeper: int) -> Any:
    """Return what exact JSON says by a tag.

    ``NotImplemented`` if it is no tag, or the JSON ended in it.
    """
    if not isinstance(parts, list) or len(parts) < 2:
        return NotImplemented
    kind, value, *more = parts
    try:
        if kind in ("tuple", "set", "frozenset"):
            return {TYPE: kind, "value": _items(value, cutter, deeper, tagged=True)}
        if kind == "dict":
            pairs = [
                tuple(_shape(part, cutter, deeper - 1, tagged=True) for part in pair)
                for pair in value[: cutter.limits.items]
            ]
            return cutter.mapping([(key, item) for key, item in pairs], len(value) - len(pairs))
        if kind in ("bytes", "bytearray"):
            return cutter.bytes(base64.b64decode(value), kind)
        if kind == "str":
            return cutter.text(base64.b64decode(value).decode("utf-8", "surrogatepass"))
        if kind == "timedelta":
            return {TYPE: "datetime.timedelta", "value": dt.timedelta(*value).total_seconds()}
        if kind == "payload":
            return _nested(Payload(encoding=value, data=base64.b64decode(more[0])), cutter)
    except (AttributeError, IndexError, OverflowError, TypeError, ValueError):
        return NotImplemented
    names = {"decimal": "decimal.Decimal", "uuid": "uuid.UUID", "float": "float"}
    name = names.get(kind) or (f"datetime.{kind}" if kind in ("datetime", "date") else None)
    return NotImplemented if name is None else {TYPE: name, "value": _shape(value, cutter, deeper - 1, tagged=False)}


def _nested(payload: Payload, cutter: Cutter) -> Any:
    found = decode(payload, cutter.limits)
    cutter.was_cut = cutter.was_cut or found.is_cut
    about = {TYPE: "payload", "encoding": found.encoding, "size": found.size}
    if found.problem is None:
        return about | {"value": found.value}
    return about | {"problem": found.problem, "sha256": found.sha256}
