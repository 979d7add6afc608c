"""Requests of operations to the client of an AWS service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import field, frozen


@frozen
class AwsCall:
    """Call one operation of the service.

    The reply is the dictionary that boto3 returns.

    Attributes:
        operation: the API's name of it, as in its documentation and in IAM policies: ``"CreateEvent"``.
        arguments: keyword arguments of the client's method; they may hold what is not to be logged.
        missing_ok: the reply is ``None``, instead of an error, when what the call names is not there. For an event or a
            record in a memory of AgentCore, that may be the memory: ask it something else before.
    """

    operation: str
    arguments: Mapping[str, Any] = field(repr=False)
    missing_ok: bool = field(default=False, kw_only=True)


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
