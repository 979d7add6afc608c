"""Conversations within values: roles, texts, calls of tools and their results."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from attrs import frozen

from ...inspection.limits import CUT, TYPE

ROLES: Final = {
    "ai": "assistant",
    "aimessagechunk": "assistant",
    "assistant": "assistant",
    "developer": "system",
    "function": "tool",
    "human": "user",
    "model": "assistant",
    "remove": "removal",
    "system": "system",
    "tool": "tool",
    "user": "user",
}
"""What frameworks call the roles."""


@frozen
class Call:
    """A call of a tool."""

    name: str
    arguments: Any
    id: str


@frozen
class Message:
    """A message, as a conversation shows it.

    Attributes:
        role: user, assistant, system, tool, or removal.
        texts: what was said.
        calls: of tools.
        others: parts that are neither.
        name: of who said it, or of the tool.
        call_id: the call that it answers.
        is_error: the tool failed.
        rest: all fields, for who wants to see them.
    """

    role: str
    texts: tuple[Any, ...]
    calls: tuple[Call, ...]
    others: tuple[Any, ...]
    name: str
    call_id: str
    is_error: bool
    rest: Any


def conversation(value: Any) -> list[Message | str] | None:
    """Return the messages in a decoded value; ``None`` if it is no list of messages.

    A text stands for messages that are left out.

    Args:
        value: as :func:`~statekeep.inspection.decode` returns it.

    Example:
        >>> [message] = conversation([{"role": "user", "content": "hello"}])
        >>> message.role, message.texts
        ('user', ('hello',))
        >>> conversation([1])
    """
    if isinstance(value, dict) and isinstance(value.get("value"), list):
        value = value["value"]
    if not isinstance(value, list) or not value:
        return None
    found: list[Message | str] = []
    for item in value:
        if isinstance(item, dict) and set(item) == {CUT}:
            found.append(str(item[CUT]))
            continue
        message = _message(item)
        if message is None:
            return None
        found.append(message)
    return found if any(isinstance(message, Message) for message in found) else None


def _message(item: Any) -> Message | None:
    fields = _fields(item)
    if fields is None:
        return None
    role = ROLES.get(str(fields.get("role") or fields.get("type")).lower())
    if role is None or "content" not in fields:
        return None
    texts: list[Any] = []
    calls = list(_calls(fields.get("tool_calls")))
    others: list[Any] = []
    is_error = fields.get("status") == "error"
    call_id = _text(fields.get("tool_call_id"))
    content = fields["content"]
    for part in content if isinstance(content, list) else [content]:
        block = part if isinstance(part, dict) else {}
        call = block if block.get("type") == "tool_use" else block.get("toolUse")
        result = block if block.get("type") == "tool_result" else block.get("toolResult")
        if isinstance(part, str) or CUT in block:
            texts.append(part)
        elif isinstance(block.get("text"), str):
            texts.append(block["text"])
        elif isinstance(call, dict):
            made = _call(call)
            if made.id not in {other.id for other in calls}:
                calls.append(made)
        elif isinstance(result, dict):
            role = "tool"
            call_id = _text(result.get("tool_use_id") or result.get("toolUseId"))
            is_error = bool(result.get("is_error")) or result.get("status") == "error"
            texts.append(result.get("content"))
        elif part is not None:
            others.append(part)
    return Message(
        role,
        tuple(text for text in texts if text != ""),
        tuple(calls),
        tuple(others),
        _text(fields.get("name")),
        call_id,
        is_error,
        item,
    )


def _fields(item: Any) -> dict[str, Any] | None:
    """Return the fields of a message, wherever they are kept."""
    if not isinstance(item, dict):
        return None
    if isinstance(item.get("kwargs"), dict) and "lc" in item:
        kind = item.get("id")
        name = str(kind[-1]) if isinstance(kind, list) and kind else ""
        return {"type": name.removesuffix("Message").lower(), **item["kwargs"]}
    inner = item.get("data")
    if isinstance(inner, dict) and "content" in inner and "content" not in item:
        return {"type": item.get("type"), **inner}
    if TYPE in item and isinstance(item.get("value"), dict):
        return dict(item["value"])
    return item


def _calls(value: Any) -> Iterator[Call]:
    for call in value if isinstance(value, list) else ():
        if isinstance(call, dict) and CUT not in call:
            yield _call(call)


def _call(call: dict[str, Any]) -> Call:
    function = call["function"] if isinstance(call.get("function"), dict) else call
    arguments = next((function[name] for name in ("args", "arguments", "input") if name in function), None)
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):  # a model may write what it likes
            pass
    return Call(_text(function.get("name")) or "a tool", arguments, _text(call.get("id") or call.get("toolUseId")))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def count(value: Any) -> int | None:
    """Return how many messages a decoded value has.

    ``None`` if it is no list of messages, or some are left out.
    """
    found = conversation(value)
    return None if found is None or any(isinstance(message, str) for message in found) else len(found)
