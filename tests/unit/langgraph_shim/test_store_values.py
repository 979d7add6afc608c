"""Values that are no JSON become what orjson writes, as in langgraph-checkpoint-aws."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import json
import uuid
import zoneinfo
from typing import Any, ClassVar

import numpy
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

import statekeep
from statekeep.domain import InvalidInput
from statekeep.langgraph_shim import RepositoryStore

N = ("notes",)


class Colour(enum.Enum):
    RED = "red"
    FIRST = dt.date(2026, 1, 2)
    PAIR = (1, 2)


class Number(enum.IntEnum):
    ONE = 1


class Word(enum.StrEnum):
    YES = "yes"


class Flags(enum.Flag):
    A = 1
    B = 2


@dataclasses.dataclass
class Note:
    text: str
    _hidden: int = 1
    when: dt.datetime | None = None
    inner: Note | None = None
    extra: Any = None
    count: ClassVar[int] = 3
    start: dataclasses.InitVar[int] = 4


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    text: str
    _hidden: int = 1


@dataclasses.dataclass
class Mapping(dict[str, int]):
    size: int = 1


class _NoOffset(dt.tzinfo):
    def utcoffset(self, when: dt.datetime | None) -> dt.timedelta | None:
        return None

    def dst(self, when: dt.datetime | None) -> dt.timedelta | None:
        return None

    def tzname(self, when: dt.datetime | None) -> str | None:
        return None


def _with_more_than_its_fields() -> Note:
    note = Note("a")
    note.more = 1  # type: ignore[attr-defined]
    return note


def _stored(value: Any) -> Any:
    store = RepositoryStore(statekeep.connect("memory:").items)
    store.put(N, "k", {"a": value})
    found = store.get(N, "k")
    assert found is not None
    return found.value["a"]


EXAMPLES: dict[str, Any] = {
    "naive": dt.datetime(2026, 1, 2, 3, 4, 5),
    "microseconds": dt.datetime(2026, 1, 2, 3, 4, 5, 6),
    "the first": dt.datetime.min,
    "of a zone": dt.datetime(2026, 7, 2, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
    "the second one of two": dt.datetime(2026, 10, 25, 2, 30, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"), fold=1),
    "an offset with seconds": dt.datetime(1880, 7, 2, tzinfo=zoneinfo.ZoneInfo("Europe/Amsterdam")),
    "a zone without an offset": dt.datetime(2026, 1, 2, tzinfo=_NoOffset()),
    "date": dt.date(2026, 1, 2),
    "time": dt.time(1, 2, 3, 400),
    "uuid": uuid.UUID(int=5),
    "members": [Colour.RED, Colour.FIRST, Colour.PAIR, Number.ONE, Word.YES, Flags.A | Flags.B],
    "dataclass": Note("a", when=dt.datetime(2026, 1, 2), inner=Note("b"), extra={"deep": [dt.date(2026, 1, 2)]}),
    "more than its fields": _with_more_than_its_fields(),
    "slots": Slotted("a"),
    "a mapping, too": Mapping(2),
    "nested": {"a": [({"b": uuid.UUID(int=7)},)]},
}


@pytest.mark.parametrize("value", EXAMPLES.values(), ids=EXAMPLES)
def test_as_orjson_writes_it(value: Any) -> None:
    assert _stored(value) == orjson.loads(orjson.dumps(value))


_OFFSETS = st.timedeltas(dt.timedelta(hours=-23, minutes=-59), dt.timedelta(hours=23, minutes=59))


@given(
    st.datetimes(timezones=st.none() | st.builds(dt.timezone, _OFFSETS))
    | st.datetimes(timezones=st.timezones())
    | st.dates()
    # orjson 3.13 loses a zero of such times: it writes 00:00:00.01 as "00:00:00.10000".
    | st.times().filter(lambda time: not 10_000 <= time.microsecond < 100_000)
    | st.uuids()
)
def test_any_date_time_or_uuid(value: Any) -> None:
    assert json.dumps(_stored(value)) == orjson.dumps(value).decode()


def test_a_time_that_orjson_writes_wrong() -> None:
    assert _stored(dt.time(0, 0, 0, 10_000)) == "00:00:00.010000"


class Moment(dt.datetime):
    pass


@pytest.mark.parametrize(
    "value",
    [
        b"bytes",
        {1, 2},
        decimal.Decimal(1),
        dt.timedelta(1),
        dt.time(1, tzinfo=dt.UTC),
        Moment(2026, 1, 2),
        Note,
        object(),
        numpy.int64(1),
        numpy.array([1]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_orjson_does_not_write(value: Any) -> None:
    with pytest.raises(TypeError):
        orjson.dumps(value)
    with pytest.raises(InvalidInput, match=r"^value\.a\.list\[1\]: .* is not JSON") as caught:
        _stored({"list": [1, value]})
    assert caught.value.field == "value"


def test_a_dataclass_in_itself() -> None:
    note = Note("a")
    note.extra = [note]
    with pytest.raises(InvalidInput, match="contains itself"):
        _stored(note)


def test_other_repositories_take_json_only() -> None:
    with pytest.raises(InvalidInput, match="is not JSON"):
        statekeep.connect("memory:").items.put(N, "k", {"a": dt.date(2026, 1, 2)})
