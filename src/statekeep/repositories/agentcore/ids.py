"""Names of actors and sessions, for texts of any kind.

AgentCore takes letters, digits and a few signs only, and 100 or 255 of them. What it takes is used as it is, so that
it can be found in the console; anything else becomes a hash. Names that begin like ours are hashed too: otherwise
somebody who may choose a text could choose the name of another's.
"""

from __future__ import annotations

import re
from typing import Final

from attrs import frozen

from ..records.names import digest

OURS: Final = "statekeep-"
"""Prefix of all names that are made here."""

_SESSION: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,99}", re.ASCII)
_ACTOR: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_/-]*(?::[a-zA-Z0-9_/-]+)*", re.ASCII)
_ACTOR_LENGTH: Final = 200
"""Longest name of an actor; the suffix of :func:`thread_actor` fits behind it within 255."""


def actor_name(actor: str) -> str:
    """Return the actor id for a text.

    >>> actor_name("team/ada")
    'team/ada'
    >>> actor_name("Ada Lovelace")
    'statekeep-actor-a1f74eda4429bac47a1ed9ff266a54ed3698bd81'
    """
    is_plain = len(actor) <= _ACTOR_LENGTH and _ACTOR.fullmatch(actor)
    if is_plain and not actor.startswith(OURS) and f":{OURS}" not in actor:
        return actor
    return f"{OURS}actor-{digest(actor)}"


def thread_actor(actor: str, thread_id: str) -> str:
    """Return the actor id under which a thread's own lanes are, and nothing else.

    An IAM condition on ``ada:*`` covers it.
    """
    return f"{actor_name(actor)}:{OURS}{digest(thread_id)}"


def session_name(text: str, kind: str = "session") -> str:
    """Return the session id for a text: the text, or ``statekeep-KIND-`` and a hash.

    >>> session_name("chat-1")
    'chat-1'
    """
    if _SESSION.fullmatch(text) and not text.startswith(OURS):
        return text
    return hashed_session(kind, text)


def hashed_session(kind: str, *parts: str) -> str:
    """Return ``statekeep-KIND-`` and a hash of texts."""
    return f"{OURS}{kind}-{digest(*parts)}"


@frozen(order=True)
class Lane:
    """One session of one actor: a log of events, that is read by exactly these names."""

    actor: str
    session: str

    def __str__(self) -> str:
        return f"{self.actor} {self.session}"
