"""Doing actions on one item, before anything is written."""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve, frozen

from ....domain import ANY, DEFAULT, Item, Payload
from ....domain.json_values import dumps
from ...item_backend import EPOCH, Check, Delete, Get, ItemAction, Put, Restore, conflict
from .records import Version, time_at
from .settings import Settings


@frozen
class Step:
    """An action on an item.

    Attributes:
        position: of its result.
        action: what to do.
        moment: microseconds since 1970, greater than those of the actions before it.
    """

    position: int
    action: ItemAction
    moment: int


@frozen
class Folded:
    """The outcome of some actions on an item.

    Attributes:
        results: by position: a version, ``None``, or whether there was an item.
        version: what is to be written; ``None``: nothing.
        is_put: whether it has a value that was not stored before.
        is_renewal: whether an old event's item is to be stored again.
        texts: those of the put that counts, by which it is to be found.
    """

    results: Mapping[int, Version | bool | None]
    version: Version | None
    is_put: bool
    is_renewal: bool
    texts: Sequence[str] = ()


def fold(settings: Settings, stored: Version | None, steps: Sequence[Step], now: int) -> Folded:
    """Do actions one after the other.

    Args:
        settings: of the backend.
        stored: the newest event of the item's lane, with its value if a step reads it.
        steps: the actions, which are all about this item.
        now: milliseconds since 1970.

    Raises:
        Conflict: an expectation does not hold.
    """
    last = 0 if stored is None else stored.updated
    there = stored if stored is not None and stored.is_live(now) else None
    results: dict[int, Version | bool | None] = {}
    change: Version | None = None
    is_put = is_renewal = False
    texts: Sequence[str] = ()
    for step in steps:
        action = step.action
        if isinstance(action, Get):
            if there is not None:
                refreshed = _refreshed(settings, there, action.refresh)
                if refreshed is not there or _is_old(settings, there, now):
                    is_renewal = is_renewal or (not is_put and _is_old(settings, there, now))
                    change = there = evolve(refreshed, nonce=_nonce())
            results[step.position] = there
            continue
        _check(action, there)
        if isinstance(action, Check):
            results[step.position] = None
            continue
        if isinstance(action, Delete):
            results[step.position] = there is not None
            if there is not None:
                last = max(step.moment, last + 1)
                change, there, is_put, is_renewal = _deletion(there, last, now), None, False, False
            continue
        last = max(step.moment, last + 1)
        change = there = _put(settings, action, there, last, now)
        is_put, is_renewal, texts = True, False, action.texts
        results[step.position] = there
    if change is not None and is_renewal:
        change = evolve(change, written=now)
    return Folded(results, change, is_put, is_renewal, texts)


def _put(settings: Settings, put: Put, there: Version | None, moment: int, now: int) -> Version:
    ttl = settings.ttl if put.ttl is DEFAULT else put.ttl
    stamps: dict[str, Any] = {
        "number": 1 if there is None else there.number + 1,
        "created": moment if there is None else there.created,
        "updated": moment,
        "expires": settings.end(ttl),
    }
    if isinstance(put, Restore):
        stamps = {
            "number": put.version,
            "created": (put.created_at - EPOCH) // dt.timedelta(microseconds=1),
            "updated": (put.updated_at - EPOCH) // dt.timedelta(microseconds=1),
            "expires": None if put.expires_at is None else (put.expires_at - EPOCH) // dt.timedelta(milliseconds=1),
        }
    return Version(
        namespace=put.namespace,
        key=put.key,
        **stamps,
        written=now,
        ttl=ttl,
        content=put.value if isinstance(put.value, Payload) else dumps(put.value),
        value=None,
        nonce=_nonce(),
    )


def deletion(version: Version, moment: int, now: int) -> Version:
    """Return the event that says: the item is gone.

    Its memory records are those that may be left.
    """
    return _deletion(version, max(moment, version.updated + 1), now)


def _deletion(there: Version, moment: int, now: int) -> Version:
    gone: dict[str, Any] = {"number": 0, "created": 0, "ttl": None, "expires": None, "content": None, "value": None}
    left: dict[str, Any] = {"records": (), "stale": tuple(dict.fromkeys([*there.stale, *there.records])), "mark": ""}
    return evolve(there, **gone, **left, updated=moment, written=now, nonce=_nonce())


def _refreshed(settings: Settings, there: Version, refresh: bool | None) -> Version:
    if there.ttl is None or not (settings.refresh_on_read if refresh is None else refresh):
        return there
    return evolve(there, expires=settings.end(there.ttl))


def _is_old(settings: Settings, there: Version, now: int) -> bool:
    return now - there.written > settings.renewal


def _nonce() -> str:
    return secrets.token_hex(8)


def _check(action: Put | Delete | Check, there: Version | None) -> None:
    expected = action.expected
    actual = None if there is None else there.number
    created_at = None if there is None else time_at(there.created)
    if isinstance(expected, Item):
        holds = there is not None and (expected.version, expected.created_at) == (actual, created_at)
    else:
        holds = expected is ANY or expected == actual
    if not holds:
        raise conflict(action, actual, created_at)
