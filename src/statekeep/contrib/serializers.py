"""Serializers of bridges to frameworks."""

from __future__ import annotations

from typing import Any

from ..domain import InvalidInput, Serializer, tagged_json


def checked_serializer(serializer: Any) -> Serializer:
    """Return a serializer; one for JSON if there is none.

    Raises:
        InvalidInput: it is none.
    """
    if serializer is None:
        return BuiltinJson()
    if not isinstance(serializer, Serializer):
        raise InvalidInput(
            f"serializer must have dumps_typed and loads_typed, got {type(serializer).__name__}", field="serializer"
        )
    return serializer


class BuiltinJson:
    """JSON text, as of :class:`~statekeep.JsonSerializer`.

    Subclasses of builtin types are written as those: frameworks have members of a ``StrEnum`` and the like among what
    they call JSON.

    >>> from enum import StrEnum
    >>> BuiltinJson().dumps_typed({"reason": StrEnum("Reason", ["stop"]).stop})
    ('json', b'{"reason":"stop"}')
    """

    def dumps_typed(self, obj: Any, /) -> tuple[str, bytes]:
        """Return ``("json", bytes)``."""
        return "json", tagged_json.dumps(obj, tagged_json.as_builtin).encode()

    def loads_typed(self, data: tuple[str, bytes], /) -> Any:
        """Return the object that ``data`` was made from."""
        encoding, content = data
        if encoding != "json":
            raise InvalidInput(
                f"what is stored has the encoding {encoding!r:.80}: give the serializer that made it",
                field="serializer",
            )
        return tagged_json.loads(content)
