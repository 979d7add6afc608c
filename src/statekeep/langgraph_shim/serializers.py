"""Serializers: the check of the user's, and one that makes known types only."""

from __future__ import annotations

import copyreg
import json
from collections.abc import Collection
from contextvars import ContextVar
from typing import Any, Final

from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.event_hooks import SerdeEvent, register_serde_event_listener
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from ..domain import CorruptRecord, InvalidInput
from ..domain.shown import shown

Strict = bool | Collection[type | str]
"""``True``: make objects of known types only. A list: know these types, too. ``False``: make any."""

_refused: ContextVar[list[str] | None] = ContextVar("statekeep_refused_types", default=None)


def _listen(event: SerdeEvent) -> None:
    """Note what LangGraph refuses; it would put the bare data in the object's place."""
    refused = _refused.get()
    if refused is not None and event["kind"].endswith("blocked"):
        name = shown(f"{event['module']}:{event['name']}")
        # LangGraph lets nobody allow objects that a method makes, such as a subclass of datetime.
        hint = f"; if it is yours, allow it with strict=[{name}]" if event["kind"] == "msgpack_blocked" else ""
        refused.append(f"type {name} is refused in strict mode{hint}")


register_serde_event_listener(_listen)


def _remade(kind: type[JsonPlusSerializer], attributes: dict[str, Any]) -> JsonPlusSerializer:
    made = kind.__new__(kind)
    vars(made).update(attributes)
    if _HOOK not in attributes:
        allowed = attributes["_allowed_msgpack_modules"]
        vars(made)[_HOOK] = vars(JsonPlusSerializer(allowed_msgpack_modules=allowed))[_HOOK]
    return made


def _reduce(serializer: JsonPlusSerializer) -> tuple[Any, ...]:
    attributes = dict(vars(serializer))
    if not attributes["_custom_unpack_ext_hook"]:
        del attributes[_HOOK]
    return _remade, (type(serializer), attributes)


_HOOK: Final = "_unpack_ext_hook"
"""The one attribute of LangGraph's serializer that cannot be pickled: a function that it makes of the others."""

copyreg.pickle(JsonPlusSerializer, _reduce)


class StrictSerializer(JsonPlusSerializer):
    """LangGraph's serializer, for objects of known types only; others are an error.

    LangGraph's own one imports any module that a stored record names, and calls what it names in it. So those who can
    write to the store can run code in the program that reads it. Here nothing is imported but what is known: the types
    of LangGraph (``Send``, ``Interrupt``, ``Command`` ...), the messages of LangChain, dates, sets, paths and the like
    (LangGraph's ``SAFE_MSGPACK_TYPES``), and those that you allow. ``strict=True`` of savers and caches is this.

    Args:
        allowed: types of yours that are stored: classes, or texts such as ``"my_package.models:State"``.

    Raises:
        InvalidInput: ``allowed`` is something else.

    Example:
        >>> import decimal, fractions
        >>> serde = StrictSerializer()
        >>> serde.loads_typed(serde.dumps_typed({decimal.Decimal(1)}))
        {Decimal('1')}
    """

    def __init__(self, allowed: Collection[type | str] = ()) -> None:
        super().__init__(pickle_fallback=False, allowed_msgpack_modules=[_type(found) for found in _types(allowed)])

    def __reduce__(self) -> tuple[Any, ...]:
        return _reduce(self)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """Return the object.

        Raises:
            CorruptRecord: it is, or holds, an object of an unknown type, which the message names.
        """
        encoding, content = data
        if encoding == "json":
            return json.loads(content, object_hook=_plain)
        refused: list[str] = []
        token = _refused.set(refused)
        try:
            found = super().loads_typed(data)
        finally:
            _refused.reset(token)
        if refused:
            raise CorruptRecord(refused[0])
        return found


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    # Objects in a form that LangGraph has not written for long.
    if "lc" in value and "id" in value:
        raise CorruptRecord(f"type {shown(value['id'])} is refused in strict mode, and cannot be allowed as JSON")
    return value


def _types(allowed: Any) -> Collection[Any]:
    if isinstance(allowed, str | bytes) or not isinstance(allowed, Collection):
        raise InvalidInput(
            "strict must be true, false, or a list of types to allow: classes, or texts such as "
            f'"my_package.models:State"; got {shown(allowed)}',
            field="strict",
        )
    return allowed


def _type(found: Any) -> tuple[str, str]:
    if isinstance(found, type):
        return found.__module__, found.__name__
    module, colon, name = found.partition(":") if isinstance(found, str) else ("", "", "")
    if not module or not colon or not name.isidentifier():
        raise InvalidInput(
            f'strict: a type to allow must be a class, or a text such as "my_package.models:State", got {shown(found)}',
            field="strict",
        )
    return module, name


def chosen_serde(serde: Any, strict: Strict) -> SerializerProtocol | None:
    """Return the serializer that two arguments ask for.

    ``None`` stands for LangGraph's own one.

    Raises:
        InvalidInput: ``serde`` is no serializer, neither with typed methods nor with ``dumps`` and ``loads``;
            ``strict`` is no choice; or both are given.
    """
    if serde is not None and not all(
        callable(getattr(serde, typed, None) or getattr(serde, plain, None))
        for typed, plain in (("dumps_typed", "dumps"), ("loads_typed", "loads"))
    ):
        raise InvalidInput(
            f"serde must have dumps_typed and loads_typed, as LangGraph's JsonPlusSerializer, got {shown(serde)}",
            field="serde",
        )
    if strict is False:
        chosen: SerializerProtocol | None = serde
        return chosen
    if serde is not None:
        raise InvalidInput(
            "strict and serde cannot both be given: a serializer says itself what it makes of stored bytes. "
            "To encrypt, pass serde=EncryptedSerializer(cipher, StrictSerializer())",
            field="strict",
        )
    return StrictSerializer(() if strict is True else strict)
