"""Page tokens.

They name the last key of a page, so that what is deleted meanwhile shifts nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from .errors import invalid

ItemT = TypeVar("ItemT")


def page_token(last: str, about: Iterable[Any]) -> str:
    """Make the token of the page that follows ``last``.

    It is for requests that are the same in ``about``.
    """
    return base64.urlsafe_b64encode(json.dumps([last, _digest(about)]).encode()).decode()


def last_key(token: str | None, about: Iterable[Any]) -> str | None:
    """Return the key that a token names.

    Raises:
        AwsError: the token is garbage, or it belongs to another request.
    """
    if token is None:
        return None
    try:
        last, digest = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (binascii.Error, ValueError, TypeError) as error:
        raise invalid("FieldValidationFailed", "Invalid nextToken", "nextToken") from error
    if digest != _digest(about) or not isinstance(last, str):
        raise invalid("FieldValidationFailed", "Invalid nextToken: it is of another request", "nextToken")
    return last


def page(keyed: Sequence[tuple[str, ItemT]], limit: int, about: Iterable[Any]) -> tuple[list[ItemT], str | None]:
    """Return the first ``limit`` items, and the next page's token.

    There is one if there is more.
    """
    items = [item for _, item in keyed[:limit]]
    return items, page_token(keyed[limit - 1][0], about) if len(keyed) > limit else None


def _digest(about: Iterable[Any]) -> str:
    return hashlib.sha256(json.dumps(list(about), default=str, sort_keys=True).encode()).hexdigest()[:16]
