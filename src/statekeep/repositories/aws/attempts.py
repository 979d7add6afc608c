"""Attempts at calls: observers count them, and those that failed are logged.

boto3 tells of each attempt when it asks whether to try again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from ...telemetry import hook
from ..process.notices import aws_logger, sometimes

_ID: Final = "statekeep-attempts"
_FAILURE: Final = "statekeep-failure"


def follow(client: Any, service: str) -> None:
    """Have a client of boto3 tell of its attempts.

    Idempotent; its answers stay the same.
    """
    handler: Callable[..., None] = partial(_attempted, service)
    client.meta.events.register_first(f"needs-retry.{service}", handler, unique_id=_ID)


def _attempted(
    service: str,
    response: Any = None,
    attempts: int = 1,
    caught_exception: BaseException | None = None,
    request_dict: Any = None,
    operation: Any = None,
    **_: Any,
) -> None:
    if hook.observers:
        hook.count(
            round_trips=1,
            retries=int(attempts > 1),
            sent=_size(request_dict and request_dict.get("body")),
            received=_size(response and response[0].content),
        )
    context = request_dict.get("context") if request_dict else None
    if context is None:
        return
    if attempts > 1 and (failure := context.get(_FAILURE)):
        sometimes(aws_logger, service, "%s %s: %s; attempt %d was made", service, operation.name, failure, attempts)
    context[_FAILURE] = _failure(response, caught_exception)


def _failure(response: Any, caught_exception: BaseException | None) -> str | None:
    """Name what an attempt failed with; not its text, which may show what was sent."""
    if caught_exception is not None:
        return type(caught_exception).__name__
    if response is None or response[0].status_code < 300:
        return None
    error = response[1].get("Error", {}) if isinstance(response[1], dict) else {}
    return str(error.get("Code") or response[0].status_code)


def _size(body: Any) -> int:
    if isinstance(body, str):
        return len(body.encode())
    return len(body) if isinstance(body, bytes | bytearray) else 0
