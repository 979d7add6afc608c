"""Messages as LangChain writes them into dicts, and back.

Only its own classes come back, chosen by the dict's ``type``; nothing is imported by name.
"""

from __future__ import annotations

from typing import Any, Final

from langchain_core.messages import BaseMessage, message_to_dict, messages_from_dict

from ...domain import InvalidInput
from ...domain.shown import shown

_KINDS: Final = frozenset({"human", "ai", "system", "tool", "AIMessageChunk", "chat", "function", "remove"})
"""Types that come back for sure."""


def dict_of(message: Any, what: str) -> dict[str, Any]:
    """Return a message as a dict.

    Raises:
        InvalidInput: it is no message, or one that does not come back; ``what`` names it.
    """
    if not isinstance(message, BaseMessage):
        raise InvalidInput(f"{what} must be a BaseMessage, got {type(message).__name__}", field="messages")
    found = message_to_dict(message)
    if message.type not in _KINDS:
        try:
            messages_from_dict([found])
        except Exception as error:
            raise InvalidInput(
                f"{what} has the type {shown(message.type)}, which LangChain cannot read back: {error}",
                field="messages",
            ) from error
    return found


def message_of(value: Any) -> BaseMessage:
    """Return the message that :func:`dict_of` made a dict of.

    Raises:
        Exception: it is no such dict.
    """
    (message,) = messages_from_dict([value])
    return message
