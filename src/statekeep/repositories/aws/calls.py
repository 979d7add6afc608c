"""Requests of operations to the client of an AWS service."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from attrs import field, frozen


@frozen
class Joins:
    """How a call may go out as one with others of this process that wait for the same.

    The lists of all are put behind each other; the other arguments are those of the call that came first, but for one,
    of which the greatest counts. Without a list the calls are the same: one is made for all.

    Attributes:
        key: equal for calls of one operation that may be joined.
        argument: the name of the list; ``None`` if there is none.
        items: how many the call's own list has.
        size: bytes of it.
        most_items: items of a call at most.
        most_size: bytes of a call's list at most.
        greatest: the name of the argument of which the greatest counts.
    """

    key: Hashable
    argument: str | None = None
    items: int = 0
    size: int = 0
    most_items: int = 0
    most_size: int = 0
    greatest: str | None = None


@frozen
class AwsCall:
    """Call one operation of the service.

    The reply is the dictionary that boto3 returns.

    Attributes:
        operation: the API's name of it, as in its documentation and in IAM policies: ``"CreateEvent"``.
        arguments: keyword arguments of the client's method; they may hold what is not to be logged.
        missing_ok: the reply is ``None``, instead of an error, when what the call names is not there. For an event or a
            record in a memory of AgentCore, that may be the memory: ask it something else before.
        joins: how it may go out as one with others, ``None`` for never. All of them get its reply, or its error.
        used_ok: the reply is ``None``, instead of an error, when another request was made under its client token.
    """

    operation: str
    arguments: Mapping[str, Any] = field(repr=False)
    missing_ok: bool = field(default=False, kw_only=True)
    joins: Joins | None = field(default=None, kw_only=True)
    used_ok: bool = field(default=False, kw_only=True)


@frozen
class AwsCalls:
    """Several calls side by side, in no particular order.

    The reply is the list of their replies.

    All of them run to their end. If some fail, the error of the first of these in the list is raised.
    """

    calls: Sequence[AwsCall]


Request = AwsCall | AwsCalls

Reply = Any
"""A dictionary, or a list of dictionaries."""
