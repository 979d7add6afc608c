"""The base of every Pydantic model that users see."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from .errors import InvalidInput

# A length constraint, even one that always holds, makes Pydantic refuse lone surrogates, which UTF-8 cannot carry.
Text = Annotated[str, StringConstraints(strict=True, min_length=0)]
"""Any Unicode text, also the empty one."""

Name = Annotated[str, StringConstraints(strict=True, min_length=1)]
"""Any Unicode text but the empty one: what identifies a thread, a checkpoint, a channel or a task."""


_new = object.__new__
# Where a model of Pydantic keeps what makes it one. To set these is what `model_construct` does, in an eighth of the time.
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
    path = ".".join(map(str, first["loc"])) or what
    # The path may go on into a union's branch or a mapping's key: the field is where it begins.
    field = str(first["loc"][0]) if first["loc"] else what
    return InvalidInput(f"{what}: {path}: {first['msg']}, got {first['input']!r:.80}", field=field)


ModelT = TypeVar("ModelT", bound="Model")


class Model(BaseModel):
    """A frozen model whose constructor raises :class:`~statekeep.InvalidInput`."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise invalid(error, type(self).__name__) from error

    @classmethod
    def trusted(cls, **values: Any) -> Self:
        """Build from values that are known to be right, all fields given: what repositories read.

        There are no defaults, aliases or extras to find.
        """
        return built(cls, values)


def built(model: type[ModelT], values: dict[str, Any]) -> ModelT:
    """As :meth:`Model.trusted`, for loops over many: without the passing on of keywords."""
    self = _new(model)
    _set_values(self, values)
    _set_fields_set(self, _names(model))
    _set_extra(self, None)
    _set_private(self, None)
    return self


@cache
def _names(model: type[Model]) -> set[str]:
    # One set for all: they are frozen, and Pydantic copies it for whoever copies them.
    return set(model.model_fields)


def is_plain(*values: Any) -> bool:
    """Whether all are ASCII text and not empty: a :data:`Name` without further looking."""
    for value in values:  # noqa: SIM110  a generator takes twice as long
        if type(value) is not str or not value or not value.isascii():
            return False
    return True
