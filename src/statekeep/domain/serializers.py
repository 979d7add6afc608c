"""Ready-made serializers: JSON, msgpack, one Pydantic model, and one type.

LangGraph's ``JsonPlusSerializer`` and ``EncryptedSerializer`` fit wherever these do.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, to_jsonable_python

from . import json_values, tagged_json
from .errors import InvalidInput, MissingDependency
from .fingerprint import is_same
from .model import invalid

ModelT = TypeVar("ModelT", bound=BaseModel)


def _expect(encoding: str, expected: str) -> None:
    if encoding != expected:
        raise InvalidInput(f"cannot read encoding {encoding!r} with a serializer of {expected!r}", field="encoding")


class JsonSerializer:
    """JSON text, extended so that Python's own types come back as they were.

    These are tuples, bytes, dates, sets and NaN.

    Example:
        >>> JsonSerializer().dumps_typed({"step": 1})
        ('json', b'{"step":1}')
    """

    def dumps_typed(self, obj: Any, /) -> tuple[str, bytes]:
        """Return ``("json", bytes)``.

        Raises:
            InvalidInput: ``obj`` holds an object of another type.
        """
        return "json", tagged_json.dumps(obj).encode()

    def loads_typed(self, data: tuple[str, bytes], /) -> Any:
        """Return the object that ``data`` was made from.

        Raises:
            InvalidInput: the encoding is not ``"json"``.
            ValueError: the bytes are damaged.
        """
        encoding, content = data
        _expect(encoding, "json")
        return tagged_json.loads(content)


class MsgpackSerializer:
    r"""MessagePack through ormsgpack: compact, keeps bytes as bytes.

    Install it with ``pip install 'statekeep[msgpack]'``.

    Example:
        >>> MsgpackSerializer().dumps_typed([1, b"x"])
        ('msgpack', b'\x92\x01\xc4\x01x')
    """

    def __init__(self) -> None:
        try:
            import ormsgpack
        except ImportError as error:
            raise MissingDependency("ormsgpack", "msgpack") from error
        self._ormsgpack = ormsgpack

    def dumps_typed(self, obj: Any, /) -> tuple[str, bytes]:
        """Return ``("msgpack", bytes)``.

        Raises:
            InvalidInput: MessagePack cannot hold ``obj``.
        """
        try:
            return "msgpack", self._ormsgpack.packb(obj)
        except TypeError as error:
            raise InvalidInput(f"MessagePack cannot hold this: {error}") from error

    def loads_typed(self, data: tuple[str, bytes], /) -> Any:
        """Return the object that ``data`` was made from (tuples come back as lists).

        Raises:
            InvalidInput: the encoding is not ``"msgpack"``.
            ValueError: the bytes are damaged.
        """
        encoding, content = data
        _expect(encoding, "msgpack")
        return self._ormsgpack.unpackb(content)


class ModelSerializer(Generic[ModelT]):
    """One Pydantic model as JSON: a typed state without any framework.

    Args:
        model: the class of every object that this serializer writes and reads.

    Example:
        >>> class State(BaseModel):
        ...     step: int
        >>> serializer = ModelSerializer(State)
        >>> serializer.loads_typed(serializer.dumps_typed(State(step=1)))
        State(step=1)
    """

    def __init__(self, model: type[ModelT]) -> None:
        self.model = model

    def dumps_typed(self, obj: ModelT, /) -> tuple[str, bytes]:
        """Return ``("model+json", bytes)``.

        Raises:
            InvalidInput: ``obj`` is not an instance of the model.
        """
        if not isinstance(obj, self.model):
            raise InvalidInput(f"expected {self.model.__qualname__}, got {type(obj).__qualname__}", field="obj")
        return "model+json", obj.model_dump_json().encode()

    def loads_typed(self, data: tuple[str, bytes], /) -> ModelT:
        """Return the model instance that ``data`` was made from.

        Raises:
            InvalidInput: the encoding is another one, or the stored state does not fit the model.
        """
        encoding, content = data
        _expect(encoding, "model+json")
        try:
            return self.model.model_validate_json(content)
        except ValidationError as error:
            raise invalid(error, self.model.__name__) from error


class TypeSerializer:
    """Values of one type, as Pydantic reads annotations.

    These are models, dataclasses, enumerations, and containers of such.

    Args:
        annotation: the type.

    Raises:
        InvalidInput: Pydantic knows no such type.

    Example:
        >>> class State(BaseModel):
        ...     step: int
        >>> serializer = TypeSerializer(list[State])
        >>> serializer.loads_typed(serializer.dumps_typed([State(step=1)]))
        [State(step=1)]
    """

    def __init__(self, annotation: Any) -> None:
        try:
            self._adapter: TypeAdapter[Any] = TypeAdapter(annotation)
        except PydanticUserError as error:
            reason = error.message.partition("\n")[0]
            raise InvalidInput(f"Pydantic cannot read {annotation!r:.200}: {reason}", field="annotation") from error

    def dumps_typed(self, obj: Any, /) -> tuple[str, bytes]:
        """Return ``("type+json", bytes)``.

        Raises:
            InvalidInput: ``obj`` is not of the type, or would not come back as it is.
        """
        try:
            plain = self._adapter.dump_python(obj, by_alias=True, round_trip=True, warnings="error")
        except PydanticSerializationError as error:
            raise InvalidInput(
                f"{type(obj).__qualname__} is not of the type, or cannot be JSON", field="obj"
            ) from error
        content = json_values.dumps(tagged_json.encode(plain, _jsonable)).encode()
        try:
            again = self._adapter.validate_python(tagged_json.loads(content))
        except ValidationError as error:
            raise InvalidInput(f"{type(obj).__qualname__} would not come back from JSON", field="obj") from error
        if not is_same(again, obj):
            raise InvalidInput(f"{type(obj).__qualname__} would come back from JSON as another value", field="obj")
        return "type+json", content

    def loads_typed(self, data: tuple[str, bytes], /) -> Any:
        """Return the value that ``data`` was made from.

        Raises:
            InvalidInput: the encoding is another one, or what is stored does not fit the type.
            ValueError: the bytes are damaged.
        """
        encoding, content = data
        _expect(encoding, "type+json")
        try:
            return self._adapter.validate_python(tagged_json.loads(content))
        except ValidationError as error:
            raise invalid(error, "stored value") from error


def _jsonable(value: Any) -> Any:
    """Return what Pydantic makes such a value of again."""
    if isinstance(value, Enum):
        return value.value
    try:
        return to_jsonable_python(value)
    except PydanticSerializationError as error:
        raise InvalidInput(f"{type(value).__qualname__} cannot be JSON", field="obj") from error
