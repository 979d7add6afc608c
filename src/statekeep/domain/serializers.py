"""Ready-made serializers: JSON, msgpack, and one Pydantic model.

LangGraph's ``JsonPlusSerializer`` and ``EncryptedSerializer`` fit wherever these do.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from . import tagged_json
from .errors import InvalidInput, MissingDependency
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
