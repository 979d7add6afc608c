"""Values on the wire, by the shapes of botocore's service models.

This is their parsing, validation and serialization.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import cache
from typing import Any

from botocore.utils import parse_timestamp

from ...domain.errors import Portable

Shape = Any
"""A ``botocore.model.Shape``."""


class CannotParse(Portable):
    """A value does not fit its shape, such as a list where a string belongs."""


def parse(shape: Shape, value: Any, at: str = "") -> Any:
    """Make a Python value of what came as JSON.

    Unknown members are dropped, as the services do.

    Raises:
        CannotParse: a value has the wrong type; the message names its place.
    """
    kind = shape.type_name
    if kind == "structure":
        if shape.is_document_type:
            return _document(value, at)
        members = _expect(value, dict, at, "an object")
        return {
            name: parse(member, members[wire], _join(at, wire))
            for name, member, wire in _members(shape)
            if members.get(wire) is not None
        }
    if kind == "list":
        return [parse(shape.member, item, f"{at}.{n}.member") for n, item in enumerate(_expect(value, list, at), 1)]
    if kind == "map":
        return {
            parse(shape.key, key, at): parse(shape.value, item, _join(at, key))
            for key, item in _expect(value, dict, at, "an object").items()
        }
    return parse_scalar(shape, value, at)


def parse_scalar(shape: Shape, value: Any, at: str) -> Any:
    """Make a Python value of a scalar in a body. See :func:`parse`."""
    match shape.type_name:
        case "string":
            return _encodable(_expect(value, str, at, "a string"), at)
        case "boolean":
            return _expect(value, bool, at, "a boolean")
        case "integer" | "long":
            if isinstance(value, float) and value.is_integer():
                value = int(value)
            return _expect(None if isinstance(value, bool) else value, int, at, "an integer")
        case "float" | "double":
            if value in ("NaN", "Infinity", "-Infinity"):
                return float(value)
            return float(_expect(None if isinstance(value, bool) else value, int | float, at, "a number"))
        case "timestamp":
            return _timestamp(shape, value, at)
        case "blob":
            try:
                return base64.b64decode(_expect(value, str, at, "base64 text"), validate=True)
            except binascii.Error as error:
                raise CannotParse(f"'{at}' is not base64: {error}") from error
        case other:
            raise CannotParse(f"'{at}' has a shape of the unknown type {other}")


def parse_text(shape: Shape, text: str, at: str) -> Any:
    """Make a Python value of a scalar in a path, a query or a header."""
    match shape.type_name:
        case "integer" | "long" | "float" | "double":
            try:
                value = float(text)
            except ValueError as error:
                raise CannotParse(f"'{at}' is not a number: {text!r}") from error
            return parse_scalar(shape, value, at)
        case "boolean":
            if text not in ("true", "false"):
                raise CannotParse(f"'{at}' is neither true nor false: {text!r}")
            return text == "true"
        case "timestamp":
            return _moment(text, at)
        case _:
            return parse_scalar(shape, text, at)


def serialize(shape: Shape, value: Any) -> Any:
    """Make what goes out as JSON of a Python value.

    Members that the shape does not have are an error of ours.
    """
    kind = shape.type_name
    if kind == "structure" and not shape.is_document_type:
        unknown = set(value) - set(shape.members)
        if unknown:
            raise TypeError(f"{shape.name} has no members {sorted(unknown)}")
        return {
            wire: serialize(member, value[name])
            for name, member, wire in _members(shape)
            if value.get(name) is not None
        }
    if kind == "list":
        return [serialize(shape.member, item) for item in value]
    if kind == "map":
        return {key: serialize(shape.value, item) for key, item in value.items()}
    if kind == "timestamp":
        return moment_text(value, shape.serialization.get("timestampFormat", "unixTimestamp"))
    if kind == "blob":
        return base64.b64encode(value).decode()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def moment_text(value: datetime, form: str) -> Any:
    """Write a moment in one of AWS's three formats."""
    if form == "iso8601":
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if form == "rfc822":
        return format_datetime(value.astimezone(UTC), usegmt=True)
    return value.timestamp()


def violations(shape: Shape, value: Any, at: str = "") -> Iterator[tuple[str, str]]:
    """Yield (place, constraint) for all constraints that a value does not meet.

    The value is a parsed one; the constraints are those of the model.
    """
    kind = shape.type_name
    if kind == "structure" and shape.is_document_type:
        return
    if kind == "structure":
        for name in shape.required_members:
            if name not in value:
                yield _join(at, name), "Member must not be null"
        if shape.is_tagged_union and len(value) != 1:
            yield at, f"exactly one of [{', '.join(shape.members)}] must be set"
        for name, member in value.items():
            yield from violations(shape.members[name], member, _join(at, name))
    elif kind == "list":
        for number, item in enumerate(value, 1):
            yield from violations(shape.member, item, f"{at}.{number}.member")
    elif kind == "map":
        for key, item in value.items():
            yield from violations(shape.key, key, f"{at}.key")
            yield from violations(shape.value, item, _join(at, key))
    yield from _own_violations(shape, value, at)


def _own_violations(shape: Shape, value: Any, at: str) -> Iterator[tuple[str, str]]:
    limits = shape.metadata
    # A boolean or a moment has no size.
    sized = isinstance(value, int | float | str | bytes | list | dict) and not isinstance(value, bool)
    if sized and ("min" in limits or "max" in limits):
        is_number = isinstance(value, int | float)
        size = value if is_number else len(value)
        what = "value" if is_number else "length"
        if "min" in limits and size < limits["min"]:
            yield at, f"Member must have {what} greater than or equal to {limits['min']}"
        if "max" in limits and size > limits["max"]:
            yield at, f"Member must have {what} less than or equal to {limits['max']}"
    if "pattern" in limits and isinstance(value, str) and not _pattern(limits["pattern"]).fullmatch(value):
        yield at, f"Member must satisfy regular expression pattern: {limits['pattern']}"
    if limits.get("enum") and value not in limits["enum"]:
        yield at, f"Member must satisfy enum value set: [{', '.join(limits['enum'])}]"


@cache
def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.ASCII)  # \s and \w are ASCII's in the services' Java


def _members(shape: Shape) -> Iterator[tuple[str, Shape, str]]:
    """Yield (name, shape, name on the wire) of the members that are in the body."""
    for name, member in shape.members.items():
        if "location" not in member.serialization:
            yield name, member, member.serialization.get("name", name)


def _join(at: str, name: str) -> str:
    return f"{at}.{name}" if at else name


def _expect(value: Any, kind: Any, at: str, what: str = "a list") -> Any:
    if not isinstance(value, kind):
        raise CannotParse(f"'{at}' must be {what}")
    return value


def _encodable(text: str, at: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise CannotParse(f"'{at}' has a lone surrogate") from error
    return text


def _document(value: Any, at: str) -> Any:
    if isinstance(value, str):
        return _encodable(value, at)
    if isinstance(value, Mapping):
        return {_encodable(key, at): _document(item, _join(at, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_document(item, at) for item in value]
    return value


def _timestamp(shape: Shape, value: Any, at: str) -> datetime:
    if shape.serialization.get("timestampFormat", "unixTimestamp") == "unixTimestamp":
        _expect(None if isinstance(value, bool) else value, int | float, at, "a number of seconds")
    else:
        _expect(value, str, at, "a timestamp")
    return _moment(value, at)


def _moment(value: Any, at: str) -> datetime:
    try:
        moment: datetime = parse_timestamp(value)
        return moment.astimezone(UTC)
    except (ValueError, OverflowError, OSError, RuntimeError) as error:
        raise CannotParse(f"'{at}' is not a timestamp: {value!r}") from error
