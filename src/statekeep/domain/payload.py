"""Payloads: serialized objects of users."""

from __future__ import annotations

from typing import Annotated, Any, Protocol, runtime_checkable

from pydantic import AfterValidator

from .model import Model, Name, is_plain, plain_bytes


class Payload(Model):
    """Serialized bytes and the name of their encoding.

    Repositories move payloads; they never interpret them.

    Attributes:
        encoding: what :meth:`Serializer.loads_typed` needs to read ``data``, e.g. ``"json"`` or ``"msgpack"``.
        data: the bytes.

    Example:
        >>> Payload(encoding="json", data=b"[1, 2]")
        Payload(encoding='json', data=b'[1, 2]')
    """

    encoding: Name
    data: Annotated[bytes, AfterValidator(plain_bytes)]


@runtime_checkable
class Serializer(Protocol):
    """Turns objects into typed bytes and back.

    LangGraph's serializers are of this shape.
    """

    def dumps_typed(self, obj: Any, /) -> tuple[str, bytes]:
        """Return the encoding's name and the bytes of ``obj``."""
        ...

    def loads_typed(self, data: tuple[str, bytes], /) -> Any:
        """Return the object that :meth:`dumps_typed` made ``data`` from."""
        ...


def dump(serializer: Serializer, obj: Any, what: str = "") -> Payload:
    """Serialize ``obj`` into a :class:`Payload`.

    Args:
        serializer: has the say about encoding and bytes.
        obj: what to serialize.
        what: what it is, for a note on the serializer's errors.

    Example:
        >>> from statekeep import JsonSerializer
        >>> dump(JsonSerializer(), [1, 2])
        Payload(encoding='json', data=b'[1,2]')
    """
    try:
        encoding, data = serializer.dumps_typed(obj)
    except Exception as error:
        if what:
            error.add_note(f"while serializing {what}")
        raise
    if is_plain(encoding) and type(data) is bytes:
        return Payload.trusted(encoding=encoding, data=data)
    return Payload(encoding=encoding, data=bytes(data))


def load(serializer: Serializer, payload: Payload) -> Any:
    """Return the object that :func:`dump` made ``payload`` from.

    Example:
        >>> from statekeep import JsonSerializer
        >>> load(JsonSerializer(), Payload(encoding="json", data=b"[1,2]"))
        [1, 2]
    """
    return serializer.loads_typed((payload.encoding, payload.data))
