"""Ids of sessions, invocations and steps.

A step's id says what one has to know of it in a listing, which shows ids and times and nothing else::

    KIND (1)  CHECKPOINT (10)  MILLISECONDS (11)  CONTENT (10)      hexadecimal digits, as a UUID

``CHECKPOINT`` stands for the namespace and the id of the checkpoint. Two may share it: records say in full whose they
are. ``MILLISECONDS`` is when the step was put. ``CONTENT`` stands for all that the step holds, with its stamp in
nanoseconds, so that only a request that is sent again has the same id.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from attrs import field, frozen

from ...domain import InvalidInput
from ...domain.ids import time_of
from ..records.names import digest
from ..records.ordering import TEXT, order_and_time

WRITES: Final = "a"
"""The kind of a step that has pending writes."""

KINDS: Final = {TEXT: "b", "uuid6": "c", "uuid7": "d"}
"""The kinds of steps that have a checkpoint, by the order of its id."""

_ORDERS: Final = {kind: order for order, kind in KINDS.items()}
_UUID: Final = "[a-f0-9]{8}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{12}"
_SESSION: Final = re.compile(
    rf"(?:arn:aws(?:-[^:]+)?:bedrock:(?P<region>[a-z0-9-]+):[0-9]{{12}}:session/)?(?P<id>{_UUID})", re.ASCII
)


def session_of(thread_id: str, field: str = "thread_id") -> str:
    """Return the id of the session that a thread is, which may be given by its ARN.

    Raises:
        InvalidInput: it is neither.

    Example:
        >>> session_of("arn:aws:bedrock:us-east-1:123456789012:session/01234567-89ab-4cde-8f01-23456789abcd")
        '01234567-89ab-4cde-8f01-23456789abcd'
    """
    found = _SESSION.fullmatch(thread_id)
    if found is None:
        hint = " Ids are in lower case." if _SESSION.fullmatch(thread_id.lower()) else ""
        raise InvalidInput(
            f"{field} must be the id or ARN of a Bedrock session, as create_thread() and CreateSession return them; "
            f"the service lets nobody choose it.{hint}",
            field=field,
        )
    return found["id"]


def region_of(thread_id: str) -> str | None:
    """Return the region in the ARN of a session.

    >>> region_of("arn:aws:bedrock:us-east-1:123456789012:session/01234567-89ab-4cde-8f01-23456789abcd")
    'us-east-1'
    """
    found = _SESSION.fullmatch(thread_id)
    return found and found["region"]


def _uuid(digits: str) -> str:
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:32]))


def invocation_of(namespace: str) -> str:
    """Return the id of the invocation that keeps a namespace's steps.

    >>> invocation_of("")
    'ba768b33-1fd8-6cec-803b-e04e56ab2b3d'
    """
    return _uuid(digest(namespace))


@frozen
class Step:
    """A step in a listing.

    Attributes:
        id: its id.
        invocation: the id of its invocation.
        at: its time, to the millisecond: that inside the checkpoint's id, or that of the put.
    """

    id: str
    invocation: str
    at: datetime = field(eq=False)

    @property
    def has_writes(self) -> bool:
        """Whether it has pending writes, and no checkpoint."""
        return self.id[0] == WRITES

    @property
    def order(self) -> str | None:
        """The order of its checkpoint's id.

        ``None`` if it has pending writes, or is none of ours.
        """
        return _ORDERS.get(self.id[0])

    @property
    def checkpoint(self) -> tuple[str, str]:
        """The invocation, and the part of the id that stands for the checkpoint."""
        return (self.invocation, self._digits[1:11])

    @property
    def put_at(self) -> datetime:
        """The time when it was put, to the millisecond."""
        return time_of(int(self._digits[11:22], 16) * 1_000_000)

    @property
    def _digits(self) -> str:
        return self.id.replace("-", "")


def step_of(namespace: str, checkpoint_id: str, texts: Sequence[str], stamp: int, *, has_writes: bool = False) -> Step:
    """Return the step that keeps these texts.

    Args:
        namespace: of the checkpoint.
        checkpoint_id: its id.
        texts: what the step holds.
        stamp: when it is put, in nanoseconds.
        has_writes: whether it has pending writes instead of the checkpoint.
    """
    order, moment = order_and_time(checkpoint_id, stamp)
    content = hashlib.sha256(b"%d" % stamp)
    for text in texts:
        content.update(text.encode())
    kind = WRITES if has_writes else KINDS[order]
    digits = f"{kind}{checkpoint_digits(namespace, checkpoint_id)}{stamp // 1_000_000:011x}{content.hexdigest()[:10]}"
    moment = time_of(stamp) if has_writes else moment
    # The service cuts off what is finer.
    return Step(_uuid(digits), invocation_of(namespace), moment.replace(microsecond=moment.microsecond // 1000 * 1000))


def checkpoint_digits(namespace: str, checkpoint_id: str) -> str:
    """Return the digits that stand for a checkpoint in the ids of its steps."""
    return digest(namespace, checkpoint_id)[:10]
