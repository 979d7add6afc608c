"""Filters over JSON values: the same on every backend."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

from .errors import InvalidInput
from .json_values import JsonValue, normalize
from .payload import Payload
from .shown import shown

Filter = Mapping[str, Any]
"""Conditions by field, all of which must hold; see :func:`matches`."""


def _equal(value: JsonValue, wanted: JsonValue) -> bool:
    """Equality of JSON values: ``1`` is ``1.0``, but ``true`` is not ``1``."""
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    if isinstance(value, dict) and isinstance(wanted, dict):
        return value.keys() == wanted.keys() and all(_equal(value[key], item) for key, item in wanted.items())
    if isinstance(value, list) and isinstance(wanted, list):
        return len(value) == len(wanted) and all(map(_equal, value, wanted))
    return bool(value == wanted)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[JsonValue, JsonValue], bool]:
    def holds(value: JsonValue, bound: JsonValue) -> bool:
        if isinstance(value, bool) or isinstance(bound, bool):
            return False
        if isinstance(value, int | float) and isinstance(bound, int | float):
            return compare(value, bound)
        return isinstance(value, str) and isinstance(bound, str) and compare(value, bound)

    return holds


OPERATORS: dict[str, Callable[[JsonValue, JsonValue], bool]] = {
    "$eq": _equal,
    "$ne": lambda value, wanted: not _equal(value, wanted),
    "$gt": _ordered(operator.gt),
    "$gte": _ordered(operator.ge),
    "$lt": _ordered(operator.lt),
    "$lte": _ordered(operator.le),
}


def checked(filter: Any) -> dict[str, JsonValue]:
    """Return a filter in its plain form.

    Raises:
        InvalidInput: it is no mapping, holds what JSON cannot (NaN and the infinities may be compared with), names an
            operator that does not exist, or one in the place of a field: no field's name begins with ``$`` here.
    """
    if not isinstance(filter, Mapping):
        raise InvalidInput(
            f'filter must be a mapping such as {{"status": "open"}}, got {type(filter).__name__}', field="filter"
        )
    found: dict[str, JsonValue] = normalize(filter, "filter", finite=False)
    for name, condition in found.items():
        if name.startswith("$"):
            raise InvalidInput(
                f"filter: {shown(name, 40)} stands where a field must be; operators go behind one, as in "
                f'{{"price": {{"$gt": 5}}}}, and there are {", ".join(OPERATORS)}',
                field="filter",
            )
        _check(condition)
    return found


def is_operators(condition: JsonValue) -> bool:
    """Return whether a condition is of the form ``{"$gt": 3}``."""
    return isinstance(condition, dict) and any(key.startswith("$") for key in condition)


def _check(condition: JsonValue) -> None:
    if is_operators(condition):
        for name in condition:
            if name not in OPERATORS:
                raise InvalidInput(
                    f"filter: unknown operator {shown(name, 40)}; there are {', '.join(OPERATORS)}", field="filter"
                )
    elif isinstance(condition, dict | list):
        for part in condition.values() if isinstance(condition, dict) else condition:
            _check(part)


def _holds(value: JsonValue, condition: JsonValue) -> bool:
    if is_operators(condition):
        return all(OPERATORS[name](value, wanted) for name, wanted in condition.items())
    if isinstance(condition, dict):
        return isinstance(value, dict) and all(_holds(value.get(key), part) for key, part in condition.items())
    if isinstance(condition, list):
        return isinstance(value, list) and len(value) == len(condition) and all(map(_holds, value, condition))
    return _equal(value, condition)


def matches(value: JsonValue | Payload, filter: Filter | None) -> bool:
    """Return whether ``value`` fulfils a filter that :func:`checked` returned.

    Each field of the filter is compared with the field of that name. A dict is compared field by field, and may name
    fewer fields than the value has; a list is compared element by element; anything else by equality. A dict with
    operators (``$eq $ne $gt $gte $lt $lte``) must hold for each of them. Numbers are compared as numbers, text as
    text; other pairs have no order, and neither has a missing field. A missing field equals ``None``. A
    :class:`~statekeep.Payload` fulfils no condition.

    Example:
        >>> matches({"price": 3, "tags": {"a": 1, "b": 2}}, {"price": {"$gt": 2.5}, "tags": {"a": 1}})
        True
        >>> matches({}, {"price": {"$gt": 2.5}}), matches({}, {"price": {"$ne": 2}}), matches({}, {"price": None})
        (False, True, True)
    """
    if not filter:
        return True
    if isinstance(value, Payload):
        return False
    fields = value if isinstance(value, dict) else {}
    return all(_holds(fields.get(key), condition) for key, condition in filter.items())
