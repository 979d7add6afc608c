"""The requests of Valkey operations to their client."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

from attrs import field, frozen

from ...domain.errors import Portable
from ...domain.shown import shown

Arg = str | bytes
"""A command argument; text is sent as UTF-8."""

Reply = Any
"""A reply as in RESP2: bytes, int, None, or a list of replies; never text."""


@frozen
class Script:
    """A Lua script of this package. It touches only the keys that a call declares."""

    name: str
    source: str = field(repr=False)
    sha: str = field(init=False, repr=False)

    @sha.default
    def _sha(self) -> str:
        return hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()


@frozen
class Call:
    """Run a script: one round trip, atomic, all keys in one slot.

    The reply is what the script returns.
    """

    script: Script
    keys: Sequence[str]
    args: Sequence[Arg]
    is_whole: bool = False
    """Whether to retry while its keys may be on two nodes, or raise :class:`Divided`."""


class Divided(Portable):
    """The keys of a call may be on two nodes of a cluster, because their slot moves."""

    def __init__(self, call: Call) -> None:
        super().__init__(call.script.name)
        self.call = call


@frozen
class Commands:
    """Run plain commands in order, one round trip on a standalone server, not atomic.

    The second word of each command is its key, so a subcommand goes with the first: ``MEMORY USAGE``; see
    :func:`words_of`. In a cluster the keys may be in different slots. The reply is the list of replies.

    Attributes:
        commands: name and arguments of each.
        aside: how many of the last commands are not what the operation is about, so that an error is not about their
            keys.
    """

    commands: Sequence[Sequence[Arg]]
    aside: int = 0


@frozen
class Scan:
    """Find the HASH keys that match a glob pattern, on all nodes; reply with them.

    Walks the whole keyspace, so it has no place on a request path: only ``reindex`` uses it.
    """

    pattern: str


@frozen
class Ask:
    """Run a command about no key in particular: one round trip.

    It may be ``FT.SEARCH`` or ``INFO``.

    Attributes:
        command: name and arguments.
        near: in a cluster, the primary that has the slot of this text answers. Questions that build on each other's
            answers name the same text.
    """

    command: Sequence[Arg]
    near: str = ""


Request = Call | Commands | Scan | Ask


def words_of(command: Sequence[Arg]) -> Sequence[Arg]:
    """Return a command as it is sent: a subcommand is a word of its own.

    >>> words_of(("MEMORY USAGE", "key")), words_of(("HLEN", "key"))
    (['MEMORY', 'USAGE', 'key'], ('HLEN', 'key'))
    """
    name = command[0]
    return [*name.split(), *command[1:]] if isinstance(name, str) and " " in name else command


def size_of(request: Request) -> int:
    """Return about how many bytes a request sends."""
    words: Iterable[Arg] = ()
    match request:
        case Call(_, keys, args):
            words = (*keys, *args)
        case Commands(commands):
            words = chain.from_iterable(commands)
        case Ask(command):
            words = command
        case Scan(pattern):
            words = (pattern,)
    return sum(map(len, words))


def name_of(request: Request) -> str:
    """Return what a request does, for logs.

    That is its script or commands, and its first key, but no values.
    """
    match request:
        case Call(script, keys):
            return f"the script {script.name} of {shown(keys[0], 200)}" if keys else f"the script {script.name}"
        case Commands(commands) if commands:
            first = [
                word if isinstance(word, str) else word.decode(errors="backslashreplace") for word in commands[0][:2]
            ]
            more = f" and {len(commands) - 1} more" if len(commands) > 1 else ""
            return f"{first[0]} of {shown(first[1], 200)}{more}" if len(first) > 1 else f"{first[0]}{more}"
        case Ask(command):
            return command[0] if isinstance(command[0], str) else command[0].decode(errors="backslashreplace")
        case Scan(pattern):
            return f"SCAN of {shown(pattern, 200)}"
    return "nothing"


def _text(word: Arg) -> str:
    return word if isinstance(word, str) else word.decode(errors="backslashreplace")
