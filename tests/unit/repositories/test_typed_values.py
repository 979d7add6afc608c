"""Values of types that pydantic knows, to JSON and back."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import math
import uuid
from typing import Annotated, Any, ForwardRef, Generic, Literal, TypeVar

import pytest
from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    SecretStr,
    TypeAdapter,
    ValidationError,
    field_serializer,
    field_validator,
)
from pydantic.alias_generators import to_camel
from typing_extensions import TypedDict

from statekeep import CorruptRecord, InvalidInput, TypeMismatch
from statekeep.domain.json_values import JsonText, dumps
from statekeep.repositories.operation import Operation, run
from statekeep.repositories.records.json_text import stored_value, unparsed
from statekeep.repositories.typed.values import Values

T = TypeVar("T")


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
    born: dt.date
    tags: frozenset[str] = frozenset()
    pair: tuple[int, bytes] = (1, b"x")
    price: decimal.Decimal = decimal.Decimal("1.10")
    id: uuid.UUID = uuid.UUID(int=1)


class Aliased(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)
    first_name: str
    inner_value: list[Aliased] = []


class ReadsOthers(BaseModel):
    name: str = Field(validation_alias=AliasChoices("full_name", "fullName"))


class WritesOther(BaseModel):
    name: str = Field(serialization_alias="writtenName")


class Cat(BaseModel):
    kind: Literal["cat"] = Field("cat", alias="type")
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"] = Field("dog", alias="type")


Pet = Annotated[Cat | Dog, Field(discriminator="kind")]


class Box(BaseModel, Generic[T]):
    content: T


class Colour(enum.Enum):
    RED = "red"


class Movie(TypedDict, total=False):
    title: str
    year: int


@dataclasses.dataclass
class Point:
    x: int
    y: float = 0.5


@dataclasses.dataclass
class Deep(Point):
    z: int = 0


class Login(BaseModel):
    password: SecretStr


class Revealed(Login):
    @field_serializer("password", when_used="json")
    def reveal(self, value: SecretStr) -> str:
        return value.get_secret_value()


class Profile(BaseModel):
    name: str
    age: int = Field(default=0, ge=0)


UNTYPED: Any = Profile


class Customer(Profile):
    number: int = 1


class Numbers(RootModel[list[int]]):
    pass


CASES: list[tuple[Any, Any]] = [
    (Strict, Strict(born=dt.date(1815, 12, 10), tags=frozenset({"é"}))),
    (Aliased, Aliased(firstName="Ada", innerValue=[Aliased(firstName="\x00{}:*|%")])),
    (ReadsOthers, ReadsOthers(fullName="Ada")),
    (Pet, Cat(lives=3)),
    (Pet, Dog()),
    (list[Pet], [Dog(), Cat()]),
    (Box[Box[int]], Box[Box[int]](content=Box[int](content=2))),
    (dict[int, Colour], {1: Colour.RED}),
    (Movie, {"title": "x"}),
    (Point, Point(2)),
    (list[int], []),
    (int | str, "1"),
    (int | str, 1),
    (int | None, None),
    (Numbers, Numbers([1])),
    (dt.datetime, dt.datetime(2024, 1, 1, 12, 0, 0, 1, dt.UTC)),
    (TypeAdapter(tuple[int, ...]), (1, 2)),
    (float, -0.0),
    (int, 2**200),
    (str, ""),
    (Revealed, Revealed(password="hush")),
    (Login, Login(password="**********")),
    (Any, {"a": [1, None]}),
]


@pytest.mark.parametrize(("kind", "value"), CASES, ids=map(str, range(len(CASES))))
def test_a_value_is_read_back_as_it_was(kind: Any, value: Any) -> None:
    values: Values[Any] = Values(kind, None)
    plain, read_back = values.encode(value, "value")
    for found in (read_back, values.decode(JsonText(dumps(plain)), "k", "item"), values.decode(plain, "k", "item")):
        assert found == value
        assert type(found) is type(value)
        assert found is not value or value is None or isinstance(value, int | str | float)


@pytest.mark.parametrize(
    ("kind", "value", "says"),
    [
        (Profile, UNTYPED.model_construct(name=1), "name"),
        (Profile, Profile.model_construct(name="a", age=-1), "age"),
        (Profile, 5, "object"),
        (Profile, Customer(name="a"), "number|lacks|Customer"),
        (Point, Deep(1), "Deep"),
        (Login, Login(password="hush"), "secret"),
        (list[Login], [Login(password="hush")], "secret"),
        (WritesOther, WritesOther(name="a"), "name"),
        (float, math.nan, "nan"),
        (float | None, math.inf, "inf"),
        (Any, object(), "JSON"),
        (Any, "\ud83d\ude00", "surrogates"),
        pytest.param(int, 10**5000, "digits", id="huge"),
        (Movie, {"title": "x", "year": "y"}, "year"),
    ],
)
def test_what_could_not_be_read_back_is_refused(kind: Any, value: Any, says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as caught:
        Values(kind, None).encode(value, "value")
    assert caught.value.field == "value"


@pytest.mark.parametrize("kind", [object(), type("Unknown", (), {}), "Profile", list[ForwardRef("Nowhere")]])  # type: ignore[misc]
def test_types_that_are_not_known_are_refused(kind: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        Values(kind, None)
    assert caught.value.field == "kind"
    assert "\n" not in str(caught.value)


def test_migrate_must_be_a_function() -> None:
    with pytest.raises(InvalidInput) as caught:
        Values(int, 1)  # type: ignore[arg-type]
    assert caught.value.field == "migrate"


def test_what_does_not_fit_is_said_without_what_is_stored() -> None:
    with pytest.raises(TypeMismatch) as caught:
        Values(Profile, None).decode(JsonText('{"name":["hush"],"age":"hush"}'), "k", "item")
    error = caught.value
    assert isinstance(error, CorruptRecord)
    assert not isinstance(error, InvalidInput)
    assert error.key == "k"
    assert [one["loc"] for one in error.errors] == [("name",), ("age",)]
    assert "hush" not in str(error) + repr(error.errors)
    assert "name" in str(error)
    assert "Profile" in str(error)


DAMAGED = ["", "{", '{"name":"a"}x', "NaN", '{"name":NaN}', "[" * 100_000, "1" * 5000]


@pytest.mark.parametrize("text", DAMAGED, ids=range(len(DAMAGED)))
def test_what_is_no_json_is_damage_and_is_not_migrated(text: str) -> None:
    with pytest.raises(CorruptRecord) as caught:
        Values(Profile, lambda old: Profile(name="x")).decode(JsonText(text), "k", "item")
    assert type(caught.value) is CorruptRecord
    assert caught.value.key == "k"


@pytest.mark.parametrize("migrate", [lambda old: {"name": old}, lambda old: Profile(name=old)])
def test_old_values_are_migrated(migrate: Any) -> None:
    values: Values[Profile] = Values(Profile, migrate)
    assert values.decode(JsonText('"Ada"'), "k", "item") == Profile(name="Ada")
    assert values.decode(JsonText('{"name":"Bob"}'), "k", "item") == Profile(name="Bob")


def test_strict_models_are_migrated_by_their_json() -> None:
    values: Values[Strict] = Values(Strict, lambda old: {"born": old["birthday"]})
    assert values.decode(JsonText('{"birthday":"2000-01-02"}'), "k", "item") == Strict(born=dt.date(2000, 1, 2))


@pytest.mark.parametrize(
    "migrate", [lambda old: old, lambda old: {"name": 1}, lambda old: Profile(**old), lambda old: None]
)
def test_what_still_does_not_fit_is_a_mismatch(migrate: Any) -> None:
    with pytest.raises(TypeMismatch, match="after migrate") as caught:
        Values(Profile, migrate).decode(JsonText('{"n":1}'), "k", "item")
    assert caught.value.key == "k"
    assert caught.value.errors


def test_an_error_of_migrate_is_its_own_and_says_where() -> None:
    with pytest.raises(KeyError, match="old") as caught:
        Values(Profile, lambda value: value["old"]).decode(JsonText("{}"), "k", "item")
    assert caught.value.__notes__ == ["while migrating item 'k'"]


def test_text_that_pydantic_does_not_read_can_be_migrated() -> None:
    """Lone surrogates, which items may hold and pydantic refuses."""
    text = JsonText(dumps({"name": "\ud800"}))
    with pytest.raises(TypeMismatch):
        Values(Profile, None).decode(text, "k", "item")
    values: Values[Profile] = Values(Profile, lambda old: {"name": ascii(old["name"])})
    assert values.decode(text, "k", "item").name == "'\\ud800'"


def test_a_value_is_parsed_once() -> None:
    calls = []

    class Watched(BaseModel):
        name: str

        @field_validator("name")
        @classmethod
        def note(cls, value: str) -> str:
            calls.append(value)
            return value

    Values(Watched, None).decode(JsonText('{"name":"a"}'), "k", "item")
    assert calls == ["a"]


def reading(*texts: str) -> Operation[list[Any]]:
    found = []
    for text in texts:
        try:
            yield text
        except LookupError as error:
            found.append(error)
        found.append(stored_value(text))
    return found


def test_values_are_kept_as_text_in_the_steps_of_an_operation_alone() -> None:
    outside = []

    def execute(request: str) -> None:
        outside.append(stored_value(request))
        if request == "2":
            raise LookupError(request)

    found = run(unparsed(reading("1", "2", "[")), lambda request: execute(request) if request != "[" else None)
    assert [repr(one) for one in found] == ["'1'", "LookupError('2')", "'2'", "'['"]
    assert [type(one) for one in found] == [JsonText, LookupError, JsonText, JsonText]
    assert outside == [1, 2]
    assert run(reading("1"), execute) == [1]


def test_an_operation_that_is_given_up_is_closed() -> None:
    ended = []

    def operation() -> Operation[None]:
        try:
            yield 1
        finally:
            ended.append(stored_value("2"))

    kept = unparsed(operation())
    assert next(kept) == 1
    kept.close()
    assert ended == [2]


def test_errors_of_a_validator_that_are_no_mismatch_are_raised_as_they_are() -> None:
    class Odd(BaseModel):
        name: str

        @field_validator("name")
        @classmethod
        def fail(cls, value: str) -> str:
            raise KeyError(value)

    with pytest.raises(KeyError):
        Values(Odd, None).decode(JsonText('{"name":"a"}'), "k", "item")
    with pytest.raises(ValidationError):
        Odd.model_validate({})
