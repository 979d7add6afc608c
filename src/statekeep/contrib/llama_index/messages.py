"""Messages as values of logs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import to_jsonable_python

from ...domain import CorruptRecord, InvalidInput, LogEntry, Payload
from ...domain.items import Namespace
from ...domain.logs import LogValue
from ...domain.shown import shown
from .framework import ChatMessage

EVERYTHING: Final = 2**31 - 1
"""More values than a log has."""

_ENCODING: Final = "llama-index-json"
"""Of what Python's ``json`` writes and JSON does not know: infinities and NaN."""


def value_of(what: Any) -> LogValue:
    """Return a value of a log that stands for what a message was dumped to."""
    try:
        json.dumps(what, allow_nan=False)
    except ValueError:
        return Payload(encoding=_ENCODING, data=json.dumps(what).encode())
    return what


def dumped(message: ChatMessage) -> Any:
    """Return the parts of a message, as JSON has them.

    Raises:
        InvalidInput: it is no message.
    """
    if not isinstance(message, ChatMessage):
        raise InvalidInput(f"message must be a ChatMessage, got {type(message).__name__}", field="message")
    # In one step infinities, such as the log probability of a token, would become null.
    return to_jsonable_python(message.model_dump(), inf_nan_mode="constants")


def dumped_of(entry: LogEntry) -> Any:
    """Return what :func:`value_of` made a value of.

    Raises:
        CorruptRecord: it made no such value.
    """
    if not isinstance(entry.value, Payload):
        return entry.value
    try:
        if entry.value.encoding != _ENCODING:
            raise ValueError(f"the encoding {shown(entry.value.encoding)} is another's")
        return json.loads(entry.value.data)
    except ValueError as error:
        raise CorruptRecord(f"the value at {entry.position} is no message: {error}") from error


def message_of(parts: Any, entry: LogEntry) -> ChatMessage:
    """Return the message that was dumped to these parts.

    Raises:
        CorruptRecord: no message was.
    """
    try:
        return ChatMessage.model_validate(parts)
    except ValidationError as error:
        raise CorruptRecord(f"the value at {entry.position} is no message: {error}") from error


def index_of(idx: int, length: int) -> int | None:
    """Return a place in a list of this length, ``None`` if it has no such place.

    Raises:
        InvalidInput: ``idx`` is no whole number.
    """
    if isinstance(idx, bool) or not isinstance(idx, int):
        raise InvalidInput(f"idx must be a whole number, got {shown(idx)}", field="idx")
    return range(length)[idx] if -length <= idx < length else None


def checked_messages(messages: Any) -> Sequence[ChatMessage]:
    """Return a list of messages.

    Raises:
        InvalidInput: it is none.
    """
    if not isinstance(messages, Sequence) or isinstance(messages, str | bytes):
        raise InvalidInput(f"messages must be a list, got {type(messages).__name__}", field="messages")
    return messages


def keys_of(logs: Sequence[Namespace], root: Namespace) -> list[str]:
    """Return the keys of chats among the names of logs."""
    return [name[-1] for name in logs if len(name) == len(root) + 1]
