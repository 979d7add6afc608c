"""Values of one type, to JSON and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, SecretBytes, SecretStr, TypeAdapter, ValidationError
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError
from pydantic.types import Secret

from ...domain import CorruptRecord, InvalidInput, Payload, TypeMismatch
from ...domain.items import ItemValue
from ...domain.json_values import JsonText, dumps, loads, normalize
from ...domain.model import invalid
from ...domain.shown import shown

T = TypeVar("T")

Migrate = Callable[[Any], Any]
"""Takes a stored JSON value that is not of the type, and returns one that is: as a ``T``, or as JSON."""

_MASK = "**********"


class Values(Generic[T]):
    """Values of one type.

    Args:
        of: the type, or a ``TypeAdapter`` of it.
        migrate: see :data:`Migrate`.
        has_payloads: whether payloads are stored as they are, and not as JSON.

    Raises:
        InvalidInput: pydantic does not know the type.
    """

    def __init__(self, of: Any, migrate: Migrate | None, *, has_payloads: bool = False) -> None:
        if migrate is not None and not callable(migrate):
            raise InvalidInput("migrate must be a function of a JSON value", field="migrate")
        if isinstance(of, str):
            raise InvalidInput(f"kind must be a type, got text {shown(of)}", field="kind")
        try:
            self._adapter: TypeAdapter[T] = of if isinstance(of, TypeAdapter) else TypeAdapter(of)
            self._adapter.rebuild(raise_errors=True)
        except (PydanticUserError, PydanticUndefinedAnnotation) as error:
            raise InvalidInput(
                f"kind: pydantic cannot read and write {shown(of)}: {error.message.splitlines()[0]}", field="kind"
            ) from error
        self.of = of
        self._migrate = migrate
        self._has_payloads = has_payloads

    def __repr__(self) -> str:
        return self.of.__qualname__ if isinstance(self.of, type) else shown(self.of)

    def encode(self, value: T, field: str) -> tuple[ItemValue, T]:
        """Return a value as it is stored, and as it will be read back.

        Args:
            value: what to store.
            field: what to call it in an error.

        Raises:
            InvalidInput: it is not of the type, JSON cannot hold it, or it could not be read back.
        """
        kind = type(value)
        if _has_fields(self.of) and kind is not self.of and issubclass(kind, self.of):
            raise InvalidInput(
                f"{field} is {kind.__qualname__}, of which the fields that {self.of.__qualname__} lacks would be lost; "
                "name all types: a union of them is one, too",
                field=field,
            )
        if self._has_payloads and isinstance(value, Payload):
            return value, self._checked(value, field)
        try:
            # Without warnings: what does not fit is refused below.
            plain = self._adapter.dump_python(value, mode="json", by_alias=True, round_trip=True, warnings="none")
        except (ValueError, TypeError, RecursionError) as error:
            raise InvalidInput(f"{field}: it cannot be made JSON: {error}", field=field) from error
        found = normalize(plain, field)
        text = dumps(found)
        if _MASK in text and _is_masked(self._adapter.dump_python(value, round_trip=True, warnings="none")):
            raise InvalidInput(
                f"{field} has a secret, of which only asterisks would be stored; have a serializer of its field reveal "
                "it",
                field=field,
            )
        return found, self._read_back(text, field)

    def check(self, plain: ItemValue, field: str) -> None:
        """Raise ``InvalidInput`` unless a stored value is of the type."""
        self._checked(plain, field)

    def _checked(self, plain: ItemValue, field: str) -> T:
        return self._read_back(plain if isinstance(plain, Payload) else dumps(plain), field)

    def _read_back(self, stored: str | Payload, field: str) -> T:
        try:
            return self._validated(stored)
        except ValidationError as error:
            refused = invalid(error, field)
            refused.field = field
            raise refused from error

    def decode(self, stored: ItemValue, key: str, what: str) -> T:
        """Return a stored value as a ``T``.

        Args:
            stored: the value, or better its :class:`~statekeep.domain.json_values.JsonText`, or a payload.
            key: that of the item, or the id of the checkpoint.
            what: what it is the value of, for an error.

        Raises:
            CorruptRecord: it is no JSON.
            TypeMismatch: it is not of the type.
        """
        text = stored if type(stored) is JsonText or isinstance(stored, Payload) else dumps(stored)
        try:
            return self._validated(text)
        except ValidationError as error:
            problem = error
        try:
            old = text if isinstance(text, Payload) else loads(text)
        except (ValueError, RecursionError) as error:
            raise CorruptRecord(f"{what} is damaged: {error}", key=key) from error
        if self._migrate is None:
            raise self._mismatch(problem, key, what, "") from problem
        try:
            new = self._migrate(old)
            return self.encode(new, "migrate")[1]
        except ValidationError as error:
            raise self._mismatch(error, key, what, " after migrate") from error
        except InvalidInput as error:
            cause = error.__cause__ if isinstance(error.__cause__, ValidationError) else problem
            raise self._mismatch(cause, key, what, " after migrate") from error
        except Exception as error:
            error.add_note(f"while migrating {what} {shown(key)}")
            raise

    def _validated(self, text: str | Payload) -> T:
        if isinstance(text, Payload):
            return self._adapter.validate_python(text, strict=True)
        # By their names, too: those are what a model without an alias for its output is dumped with.
        return self._adapter.validate_json(text, by_alias=True, by_name=True)

    def _mismatch(self, error: ValidationError, key: str, what: str, when: str) -> TypeMismatch:
        # Not the input: errors are logged, and it is what users keep.
        errors = error.errors(include_url=False, include_context=False, include_input=False)
        first = errors[0]
        path = ".".join([str(step)[:80] for step in first["loc"][:8]])
        more = f", and {len(errors) - 1} more" if len(errors) > 1 else ""
        where = f"{path}: " if path else ""
        return TypeMismatch(f"{what} is no {self!r}{when}: {where}{first['msg']}{more}", errors=errors, key=key)


def _has_fields(kind: Any) -> bool:
    return isinstance(kind, type) and (issubclass(kind, BaseModel) or is_dataclass(kind))


def _is_masked(value: Any) -> bool:
    """Return whether a secret is among these values that is not asterisks itself."""
    if isinstance(value, SecretStr | SecretBytes | Secret):
        return value.get_secret_value() not in (_MASK, _MASK.encode())
    if isinstance(value, Mapping):
        return any(_is_masked(part) for pair in value.items() for part in pair)
    if isinstance(value, list | tuple | set | frozenset):
        return any(map(_is_masked, value))
    return False
