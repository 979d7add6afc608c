"""The base of every Pydantic model that users see."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from functools import cache
from inspect import cleandoc
from itertools import takewhile
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import PydanticCustomError

from .errors import InvalidInput
from .shown import shown

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

LONGEST_ID: Final = 8192
"""Most bytes of UTF-8 of an id: of a thread, checkpoint, channel, item and so on."""


MOST_LABELS: Final = 128
"""Most labels of a namespace. Each put is indexed under every namespace above it."""

SHORT: Final = 256
"""Most characters of a text whose result is cached. It bounds the bytes of caches that count entries."""


def excess(*texts: str) -> int:
    """Return the bytes of these texts together if an id may not have so many, else 0."""
    # Counting characters is enough for most: none has more than four bytes.
    if 4 * sum(map(len, texts)) <= LONGEST_ID:
        return 0
    size = sum(len(text) if text.isascii() else len(text.encode()) for text in texts)
    return size if size > LONGEST_ID else 0


def too_long(size: int) -> str:
    """Say that an id has too many bytes, behind the name of its field."""
    return f"must be at most {LONGEST_ID} bytes of UTF-8, got {size}"


def plain_text(value: str) -> str:
    """Return a text as ``str`` itself.

    A subclass, such as an enumeration with ``str`` in it, may write, compare and hash itself as another text.

    >>> from enum import Enum
    >>> kind = Enum("Kind", {"FACT": "fact"}, type=str)
    >>> f"{kind.FACT}", f"{plain_text(kind.FACT)}"
    ('Kind.FACT', 'fact')
    """
    return str.__str__(value)


def plain_bytes(value: bytes) -> bytes:
    """Return bytes as ``bytes`` itself. See :func:`plain_text`."""
    return bytes.__bytes__(value)


def _short(value: str) -> str:
    if size := excess(value):
        raise PydanticCustomError("too_long", too_long(size))
    return value


# A length constraint, even one that always holds, makes Pydantic refuse lone surrogates, which UTF-8 cannot carry.
Text = Annotated[str, StringConstraints(strict=True, min_length=0), AfterValidator(_short)]
"""Any Unicode text of at most :data:`LONGEST_ID` bytes, also the empty one."""

Name = Annotated[str, StringConstraints(strict=True, min_length=1), AfterValidator(_short)]
"""As :data:`Text`, but not empty: the id of a thread, a checkpoint or a task, and the like."""


def _short_together(values: tuple[str, ...]) -> tuple[str, ...]:
    if size := excess(*values):
        raise PydanticCustomError("too_long", too_long(size))
    return values


Names = Annotated[tuple[Name, ...], Field(max_length=MOST_LABELS), AfterValidator(_short_together)]
"""At most :data:`MOST_LABELS` names, of at most :data:`LONGEST_ID` bytes together."""


class Anything(Enum):
    """The type of :data:`ANY`."""

    ANY = "any"

    def __repr__(self) -> str:
        return self.name


ANY: Final = Anything.ANY
"""As ``expected``: whatever is there, also nothing."""


class Default(Enum):
    """The type of :data:`DEFAULT`."""

    DEFAULT = "default"

    def __repr__(self) -> str:
        return self.name


DEFAULT: Final = Default.DEFAULT
"""As ``ttl``: that of the repository."""

Ttl = float | None | Literal[Default.DEFAULT]
"""Seconds that an item lives, ``None`` for ever, or :data:`DEFAULT`."""


_new = object.__new__
# The slots of a Pydantic model. `model_construct` sets them too, and takes eight times as long.
_set_values, _set_fields_set, _set_extra, _set_private = (
    vars(BaseModel)[name].__set__
    for name in ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
)


def invalid(error: ValidationError, what: str) -> InvalidInput:
    """Say in one line which field of ``what`` is wrong, and why."""
    first = error.errors(include_url=False)[0]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, InvalidInput):
        return InvalidInput(f"{what}: {cause}", field=cause.field)
    # Not shown: which branch of a union it was.
    steps = takewhile(lambda step: not str(step).startswith(("function-", "constrained-")), first["loc"][:8])
    path = ".".join([str(step)[:80] for step in steps]) or what
    # The path may go on into a union's branch or a mapping's key: the field is where it begins.
    field = str(first["loc"][0]) if first["loc"] else what
    return InvalidInput(f"{what}: {path}: {first['msg']}, got {shown(first['input'])}", field=field)


_SECTION: Final = re.compile(r"^(?:Args|Attributes|Example|Raises|Returns):\n", re.MULTILINE)
_ATTRIBUTES: Final = re.compile(r"^Attributes:\n((?: .*\n|\n)*)", re.MULTILINE)
_ATTRIBUTE: Final = re.compile(r"^    (\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)
_ROLE: Final = re.compile(r":\w+:`~?([^`]+)`")


def _prose(text: str) -> str:
    """Return text of a docstring without markup, on one line."""
    named = _ROLE.sub(lambda role: role[1].rpartition(".")[2], text)
    return " ".join(named.replace("``", "`").split())


def attributes(docstring: str | None) -> dict[str, str]:
    """Return what a docstring says of each attribute, by name, in plain text."""
    section = _ATTRIBUTES.search(cleandoc(docstring or "") + "\n")
    return {name: _prose(text) for name, text in _ATTRIBUTE.findall(section[1])} if section else {}


@cache
def descriptions(model: type[BaseModel]) -> Mapping[str, str]:
    """Return what the docstrings of a model and its bases say of its fields.

    Their sections ``Attributes`` do. So the text is there once: for readers of the code, of the documentation, and of
    the JSON schema.

    >>> descriptions(Model)
    {}
    """
    found: dict[str, str] = {}
    for one in reversed(model.__mro__):
        found |= attributes(vars(one).get("__doc__"))
    return {name: found[name] for name in model.model_fields if name in found}


def summary(docstring: str | None) -> str:
    """Return what a docstring says before its sections, in plain text."""
    return _prose(_SECTION.split(cleandoc(docstring or ""), maxsplit=1)[0])


class Model(BaseModel):
    """A frozen model whose constructor raises :class:`~statekeep.InvalidInput`."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise invalid(error, type(self).__name__) from error

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler, /) -> JsonSchemaValue:
        """Add what the docstring says: of the model, and of each field."""
        schema = handler(core_schema)
        its = handler.resolve_ref_schema(schema)
        if text := summary(cls.__doc__):
            its["description"] = text
        properties = its.get("properties", {})
        for name, text in descriptions(cls).items():
            field = cls.model_fields[name]
            for key in {name, field.alias, field.serialization_alias} & properties.keys():
                properties[key].setdefault("description", text)
        return schema

    @classmethod
    def trusted(cls, **values: Any) -> Self:
        """Build from valid values without checks. Give all fields: there are no defaults."""
        self = _new(cls)
        _set_values(self, values)
        _set_fields_set(self, _names(cls))
        _set_extra(self, None)
        _set_private(self, None)
        return self


@cache
def _names(model: type[Model]) -> set[str]:
    # One set for all: models are frozen, and Pydantic copies the set when it copies a model.
    return set(model.model_fields)


def is_plain(*values: Any) -> bool:
    """Return whether all are plain: ASCII text, not empty and not too long.

    Such a text is a :data:`Name` without further looking.
    """
    for value in values:
        if type(value) is not str or not value or not value.isascii() or len(value) > LONGEST_ID:
            return False
    return True


def is_plain_place(namespace: tuple[Any, ...], key: Any) -> bool:
    """Return whether these are plain :data:`Names` and a plain :data:`Name`."""
    return len(namespace) <= MOST_LABELS and is_plain(key, *namespace) and sum(map(len, namespace)) <= LONGEST_ID
