"""Values of items that are no JSON, as orjson writes them.

langgraph-checkpoint-aws stores them so.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final


def as_json(value: Any) -> Any:
    """Return what orjson writes for a value that is no JSON.

    It is ``NotImplemented`` for what orjson does not write, either.

    >>> import datetime as dt, uuid
    >>> as_json(dt.datetime(2026, 1, 2, 3, 4, tzinfo=dt.UTC)), as_json(dt.date(2026, 1, 2)), as_json(uuid.UUID(int=1))
    ('2026-01-02T03:04:00+00:00', '2026-01-02', '00000000-0000-0000-0000-000000000001')
    """
    if isinstance(value, enum.Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _fields(value)
    # Not their subclasses, such as the Timestamp of pandas, which may mean more than the text says.
    write = _WRITERS.get(type(value))
    return NotImplemented if write is None else write(value)


def _fields(value: Any) -> dict[str, Any]:
    held: Mapping[str, Any] = getattr(value, "__dict__", None) or {
        one.name: getattr(value, one.name) for one in dataclasses.fields(value) if hasattr(value, one.name)
    }
    return {name: item for name, item in held.items() if not name.startswith("_")}


def _datetime(value: dt.datetime) -> str:
    text = value.replace(tzinfo=None).isoformat()
    return text if value.tzinfo is None else text + _offset(value.utcoffset() or dt.timedelta())


def _offset(offset: dt.timedelta) -> str:
    """Write hours and minutes.

    Of an offset with seconds, as zones had before 1900, it is the nearest minute.
    """
    seconds = offset.days * 86_400 + offset.seconds
    minutes = (abs(seconds) + 30) // 60
    return f"{'-' if seconds < 0 else '+'}{minutes // 60:02}:{minutes % 60:02}"


def _time(value: dt.time) -> Any:
    # The day decides what a zone's offset is, so orjson writes none.
    return NotImplemented if value.tzinfo is not None else value.isoformat()


_WRITERS: Final[Mapping[type, Callable[[Any], Any]]] = {
    dt.datetime: _datetime,
    dt.date: dt.date.isoformat,
    dt.time: _time,
    uuid.UUID: str,
}
