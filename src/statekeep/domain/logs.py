"""Logs: values one behind the other, such as the messages of a conversation."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, Field, Strict

from .items import ItemValue, Namespace
from .model import Model

LogValue = ItemValue
"""What JSON can hold, or a :class:`~statekeep.Payload`."""

LARGEST_POSITION: Final = 2**53 - 2
"""Positions are at most this: servers count in floating-point numbers of 64 bits."""

Position = Annotated[int, Strict(), Field(ge=1, le=LARGEST_POSITION)]
"""A place in a log."""


class LogEntry(Model):
    """A value of a log, and its place there.

    Attributes:
        position: greater than that of each value before it. No other value of the log ever has it, also after this one
            was removed, or the log was deleted and made again. It stays as it is when others are removed.
        value: what JSON can hold, or a :class:`~statekeep.Payload`.

    Example:
        >>> import statekeep
        >>> with statekeep.connect("memory:", clock=lambda: 1.5) as keep:
        ...     keep.logs.append(("chat", "ada"), ["hello", "how are you?"])
        ...     keep.logs.last(("chat", "ada"))
        2
        [LogEntry(position=1500001, value='how are you?')]
    """

    position: Position
    value: LogValue


class Log(Model):
    """A log, as a listing has it.

    Attributes:
        name: its labels from the outside in.
        count: the number of its values, 1 or more.
        expires_at: when it ends with all its values, to the millisecond; ``None`` for never.

    Example:
        >>> import statekeep
        >>> with statekeep.connect("memory:") as keep:
        ...     keep.logs.append(("chat", "ada"), ["hello", "how are you?"])
        ...     list(keep.logs.list())
        2
        [Log(name=('chat', 'ada'), count=2, expires_at=None)]
    """

    name: Namespace
    count: Annotated[int, Strict(), Field(ge=1)]
    expires_at: AwareDatetime | None = None


class LogMeasure(Model):
    """The size of a log.

    Attributes:
        count: the number of its values; 0 if there is no such log.
        bytes: of these values.
        basis: what the bytes are. ``"memory"``: those that they take in the server's memory. ``"lengths"``: the lengths
            of the values, without what the service needs to keep them.
    """

    count: Annotated[int, Strict(), Field(ge=0)]
    bytes: Annotated[int, Strict(), Field(ge=0)]
    basis: Literal["memory", "lengths"]
