"""Migration of items and cache entries, page by page."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from ...domain import DEFAULT, Item, Payload, PutItem
from ...domain.cache import CacheEntry, CacheKey
from ...domain.items import Namespace
from ...domain.json_values import dumps, normalize
from ...domain.model import Ttl
from ...repositories.cache import AsyncCacheRepository, CacheRepository, Write
from ...repositories.copy import SLACK
from ...repositories.item_backend import EPOCH, Get
from ...repositories.items import AsyncItemRepository, ItemRepository
from ...repositories.operation import Operation, Page
from ..store.values import as_json
from .report import Tally, at
from .source import PAGE, EntrySource, FoundEntry, FoundItem, ItemSource, asked

ItemTarget = ItemRepository | AsyncItemRepository
EntryTarget = CacheRepository | AsyncCacheRepository


def migrated_items(source: ItemSource, target: ItemTarget, since: dt.datetime | None, tally: Tally) -> Operation[None]:
    """Put the items that the target lacks; a repeated migration makes no new versions."""
    cursor: Any = None
    number = 0
    while True:
        page: Page[FoundItem] = yield from source.page(cursor)
        items = [
            item for item in page.items if since is None or item.updated_at is None or _utc(item.updated_at) >= since
        ]
        for start in range(0, len(items), PAGE):
            some = {(item.namespace, item.key): item for item in items[start : start + PAGE]}
            tally.add(place=items[start].namespace)
            with at("namespace", items[start].namespace):
                yield from _put_items(list(some.values()), target, tally, tally.is_sampled(number))
            number += 1
        if (cursor := page.cursor) is None:
            return


def _utc(time: dt.datetime) -> dt.datetime:
    return time if time.tzinfo else time.replace(tzinfo=dt.UTC)


@frozen
class _Wanted:
    """An item as it is to be in the target."""

    item: FoundItem
    value: Any

    def is_met_by(self, stored: Item | None) -> bool:
        if stored is None or _stored(stored.value) != dumps(self.value):
            return False
        return not self.item.has_end or _end_alike(stored.expires_at, self.item.expires_at)

    def is_older_than(self, stored: Item | None) -> bool:
        """Return whether the target was given another value since the source was.

        So it is when programs write to the target already.
        """
        if stored is None or self.item.updated_at is None or _stored(stored.value) == dumps(self.value):
            return False
        # Some databases keep seconds only.
        return _utc(self.item.updated_at) + SLACK < stored.updated_at

    def is_done(self, stored: Item | None) -> bool:
        return self.is_met_by(stored) or self.is_older_than(stored)


def _stored(value: Any) -> Payload | str:
    return value if isinstance(value, Payload) else dumps(value)


def _end_alike(one: dt.datetime | None, other: dt.datetime | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) <= SLACK


def _put_items(found: Sequence[FoundItem], target: ItemTarget, tally: Tally, is_verified: bool) -> Operation[None]:
    now = dt.datetime.now(dt.UTC)
    wanted = [
        _Wanted(item, normalize(item.value, "value", other=as_json))
        for item in found
        if item.expires_at is None or item.expires_at > now
    ]
    there = yield from _items(target, wanted)
    lacking = [one for one, stored in zip(wanted, there, strict=True) if not one.is_done(stored)]
    kept = sum(one.is_older_than(stored) for one, stored in zip(wanted, there, strict=True))
    if lacking:
        versions = {(item.namespace, item.key): item.version for item in there if item is not None}
        yield from _put(lacking, versions, target, now)
    tally.add(items=len(wanted), items_put=len(lacking), items_kept=kept)
    if not is_verified:
        return
    if lacking:
        there = yield from _items(target, wanted)
    tally.add(verified=len(wanted))
    for one, stored in zip(wanted, there, strict=True):
        if not one.is_done(stored) and not _is_over(one.item.expires_at):
            what = "it is not there" if stored is None else "its value or its end"
            tally.differs(f"item {one.item.key!r} of namespace {one.item.namespace!r}: {what}")


def _put(
    lacking: Sequence[_Wanted], versions: Mapping[tuple[Namespace, str], int], target: ItemTarget, now: dt.datetime
) -> Operation[None]:
    """Put items, with the times that they have in the source where it tells them.

    By the repository, which makes the vectors.
    """
    exact: list[Item] = []
    anew: list[PutItem] = []
    for one in lacking:
        item = _exact(one, versions.get((one.item.namespace, one.item.key), 0) + 1, target, now)
        if item is not None:
            exact.append(item)
        else:
            anew.append(
                PutItem(namespace=one.item.namespace, key=one.item.key, value=one.value, ttl=_ttl(one.item, now))
            )
    # The bodies of both faces.
    if exact:
        yield asked(target.executor, target._restore(exact))  # noqa: SLF001
    if anew:
        yield asked(target.executor, target._batch(anew))  # noqa: SLF001


def _exact(one: _Wanted, version: int, target: ItemTarget, now: dt.datetime) -> Item | None:
    """Return an item with its times.

    ``None`` if they are unknown, or the target cannot keep them.

    An item that ends is put: a refresh has it live on for as long as a put says, and that is not what a source tells.
    """
    found, backend = one.item, target.backend
    ends = found.expires_at is not None if found.has_end else getattr(backend, "ttl", DEFAULT) is not None
    if ends or found.created_at is None or found.updated_at is None or not hasattr(backend, "restore"):
        return None
    # A clock that is ahead must not make what the target's programs put later look older.
    updated_at = min(_utc(found.updated_at), now)
    created_at = min(_utc(found.created_at), updated_at)
    if created_at < EPOCH:
        return None
    return Item(
        namespace=found.namespace,
        key=found.key,
        value=one.value,
        version=version,
        created_at=created_at,
        updated_at=updated_at,
    )


def _items(target: ItemTarget, wanted: Sequence[_Wanted]) -> Operation[list[Item | None]]:
    gets = [Get(one.item.namespace, one.item.key, refresh=False) for one in wanted]
    if not gets:
        return []
    found: list[Item | None] = yield asked(target.executor, target.backend.apply(gets))
    return found


def _ttl(item: FoundItem, now: dt.datetime) -> Ttl:
    if not item.has_end:
        return DEFAULT
    return None if item.expires_at is None else (item.expires_at - now).total_seconds()


def _is_over(end: dt.datetime | None) -> bool:
    return end is not None and end <= dt.datetime.now(dt.UTC) + SLACK


def migrated_entries(source: EntrySource, target: EntryTarget, tally: Tally) -> Operation[None]:
    """Put the cache entries that the target lacks."""
    cursor: Any = None
    number = 0
    while True:
        page: Page[FoundEntry] = yield from source.page(cursor)
        for start in range(0, len(page.items), PAGE):
            some = {(entry.namespace, entry.key): entry for entry in page.items[start : start + PAGE]}
            tally.add(place=page.items[start].namespace)
            with at("cache namespace", page.items[start].namespace):
                yield from _put_entries(some, target, tally, tally.is_sampled(number))
            number += 1
        if (cursor := page.cursor) is None:
            return


def _put_entries(
    found: Mapping[CacheKey, FoundEntry], target: EntryTarget, tally: Tally, is_verified: bool
) -> Operation[None]:
    now = dt.datetime.now(dt.UTC)
    wanted = {key: entry for key, entry in found.items() if entry.expires_at is None or entry.expires_at > now}
    if not wanted:
        return
    there: dict[CacheKey, CacheEntry] = yield asked(target.executor, target.backend.get(list(wanted)))
    lacking = [entry for key, entry in wanted.items() if not _is_met(entry, there.get(key))]
    if lacking:
        writes = [
            Write(
                entry.namespace,
                entry.key,
                entry.payload,
                None if entry.expires_at is None else (entry.expires_at - now).total_seconds(),
            )
            for entry in lacking
        ]
        yield asked(target.executor, target.backend.set(writes))
    tally.add(cache_entries=len(wanted), cache_entries_put=len(lacking))
    if not is_verified:
        return
    if lacking:
        there = yield asked(target.executor, target.backend.get(list(wanted)))
    tally.add(verified=len(wanted))
    for key, entry in wanted.items():
        if not _is_met(entry, there.get(key)) and not _is_over(entry.expires_at):
            tally.differs(f"cache entry {entry.key!r} of namespace {entry.namespace!r}")


def _is_met(entry: FoundEntry, stored: CacheEntry | None) -> bool:
    return stored is not None and stored.payload == entry.payload and _end_alike(stored.expires_at, entry.expires_at)
