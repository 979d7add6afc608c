"""Messages of LangChain in the values of items."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from langchain_core.messages import BaseMessage, messages_from_dict

from ...domain import CorruptRecord, InvalidInput
from ...domain.json_values import JsonValue, normalize
from ...domain.shown import shown
from ...repositories.agentcore.items.conversations import Role
from .values import as_json

MESSAGE: Final = "message"
"""The name under which a value has a message."""

MARK: Final = "statekeep:message"
"""Tells a stored message from an object that looks like one; its value is the version of this form."""

_ROLES: Final[Mapping[str, Role]] = {"human": "USER", "ai": "ASSISTANT", "tool": "TOOL", "system": "OTHER"}


def said(message: BaseMessage) -> tuple[Role, str] | None:
    """Return who says what, as langgraph-checkpoint-aws has it.

    It is ``None`` for a message of another type, for one without text, and for one that is an event already.
    """
    role = _ROLES.get(message.type)
    text = str(message.text)
    if role is None or not text.strip() or message.additional_kwargs.get("event_id") is not None:
        return None
    return role, text


def with_stored_message(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a value with its message as JSON.

    That is an object of the message's own fields, and a mark.

    Raises:
        InvalidInput: JSON cannot hold the message, or another message would come back; or an object has our mark.
    """
    message = value.get(MESSAGE)
    if isinstance(message, BaseMessage):
        return {**value, MESSAGE: _stored(message)}
    if isinstance(message, Mapping) and MARK in message:
        raise InvalidInput(
            f'value.message must not have the name "{MARK}", which marks stored messages; put the message itself',
            field="value",
        )
    return value


def with_message(value: JsonValue, key: str) -> JsonValue:
    """Return a stored value with its message as an object.

    Raises:
        CorruptRecord: it is none.
    """
    found = value.get(MESSAGE) if isinstance(value, dict) else None
    if not isinstance(found, dict) or MARK not in found:
        return value
    try:
        return {**value, MESSAGE: _made(found)}
    except Exception as error:
        raise CorruptRecord(f"the message of an item cannot be made: {type(error).__name__}", key=key) from error


def _stored(message: BaseMessage) -> JsonValue:
    fields = normalize({**message.model_dump(), MARK: 1}, "value.message", other=as_json)
    try:
        again = _made(fields)
    except Exception as error:
        raise _refused(message, f"{type(error).__name__}: {error}") from error
    if type(again) is not type(message):
        raise _refused(message, f"it would come back as {type(again).__name__}")
    if normalize({**again.model_dump(), MARK: 1}, "value.message", other=as_json) != fields:
        raise _refused(message, "its fields would come back as others")
    return fields


def _refused(message: BaseMessage, why: str) -> InvalidInput:
    return InvalidInput(
        f"value.message of type {type(message).__name__} cannot be stored: {shown(why, 200)}; put a message of "
        "langchain_core.messages",
        field="value",
    )


def _made(fields: Mapping[str, Any]) -> BaseMessage:
    if fields[MARK] != 1:
        raise ValueError("unknown form of a message")
    data = {name: value for name, value in fields.items() if name != MARK}
    (message,) = messages_from_dict([{"type": data["type"], "data": data}])
    return message
