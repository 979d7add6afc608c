"""Messages of conversations, which the memory's strategies make memory records of.

They lie in the sessions of the users themselves, one event for each. Nothing here reads them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, Literal

from attrs import field, frozen

from ....domain import InvalidInput
from ...aws import AwsCall
from ...operation import Operation
from ...records.names import digest
from ...validation import text
from ..ids import OURS, actor_name, session_name
from .memory_records import namespace_path
from .records import time_at
from .settings import Settings, side_by_side

LONGEST_MESSAGE: Final = 100_000
"""Characters of a message, the service's limit."""

Role = Literal["USER", "ASSISTANT", "TOOL", "OTHER"]
"""Who said something, in the service's words."""


@frozen
class Message:
    """A message of a conversation.

    Attributes:
        actor_id: any text. What the service does not take as a name of an actor becomes one with a hash.
        session_id: any text, likewise.
        key: tells it from other messages of the same text.
        role: who said it.
        text: 1 to 100,000 characters.
    """

    actor_id: str
    session_id: str
    key: str
    role: Role
    text: str = field(repr=False)


def checked_message(message: Message) -> Message:
    """Return a message that the service takes.

    Raises:
        InvalidInput: its text is too long, or no Unicode text.
    """
    text("message", message.text, is_id=False)
    if len(message.text) > LONGEST_MESSAGE:
        raise InvalidInput(
            f"message must have at most {LONGEST_MESSAGE} characters of text, which is the limit of AgentCore Memory, "
            f"got {len(message.text)}; put parts of it under keys of their own, or a shorter text",
            field="message",
        )
    return message


def say(settings: Settings, messages: Sequence[Message]) -> Operation[None]:
    """Create an event for each of some messages, in their order: one round.

    What was said before under the same key is not said again, as long as the service remembers client tokens. That is a
    day; of a memory that does not honour them, a message that is repeated is extracted again.
    """
    now, said = settings.now(), Counter[tuple[str, str]]()
    calls = []
    for message in messages:
        session = _name(message.actor_id, actor_name), _name(message.session_id, session_name)
        # Events of one millisecond are unordered.
        at = time_at((now + said[session]) * 1000)
        said[session] += 1
        calls.append(
            AwsCall(
                "CreateEvent",
                {
                    "memoryId": settings.lanes.memory_id,
                    "actorId": session[0],
                    "sessionId": session[1],
                    "eventTimestamp": at,
                    "payload": [{"conversational": {"content": {"text": message.text}, "role": message.role}}],
                    "clientToken": digest(
                        message.actor_id, message.session_id, message.key, message.role, message.text
                    ),
                },
                used_ok=True,
            )
        )
    yield from side_by_side(calls)


def _name(text: str, make: Callable[[str], str]) -> str:
    """Return the name of an actor or session for a text.

    It stands for the text in namespaces of records, too, so what is extracted is found by it. A few make an exception:
    those that the service takes as a label and not as this name, such as a session with a colon, or of more than 100
    characters.
    """
    label = namespace_path((text,)).strip("/")
    return label if label.startswith(OURS) else make(label)
