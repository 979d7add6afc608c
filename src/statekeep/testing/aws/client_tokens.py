"""Requests that are done at most once, by their client tokens."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from attrs import frozen

from .clock import Clock
from .errors import AwsError


@frozen
class _Done:
    request: Mapping[str, Any]
    answer: Any
    until: datetime


class ClientTokens:
    """Remembers the answers to requests with a token.

    The caller sees to it that one thread asks at a time.

    Args:
        clock: the service's time.
        life: seconds for which a token is remembered.
    """

    def __init__(self, clock: Clock, life: float) -> None:
        self._clock = clock
        self._life = timedelta(seconds=life)
        self._done: dict[tuple[str, ...], _Done] = {}

    def answer(self, key: tuple[str, ...], request: Mapping[str, Any]) -> Any:
        """Return the earlier answer to a request, ``None`` if it is new.

        Raises:
            AwsError: the token was used for a request that differs.
        """
        done = self._done.get(key)
        if done is None or done.until <= self._clock.now():
            return None
        if done.request != request:
            raise AwsError(
                "ValidationException",
                "The client token was used before, by a request with other parameters",
                members={"reason": "IdempotentParameterMismatchException", "fieldList": []},
            )
        return done.answer

    def done(self, key: tuple[str, ...], request: Mapping[str, Any], answer: Any) -> None:
        """Remember an answer."""
        now = self._clock.now()
        while self._done and (oldest := next(iter(self._done))) and self._done[oldest].until <= now:
            del self._done[oldest]
        self._done[key] = _Done(request, answer, self._clock.now() + self._life)
