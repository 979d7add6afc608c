"""Records of what was indexed, over items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self, Unpack

from langchain_core.indexing import RecordManager

from ...domain import DeleteItem, GetItem, InvalidInput, Item, PutItem
from ...domain.model import Ttl
from ...repositories.connect import connect
from ...repositories.faces import closing_on_error
from ...repositories.items import AsyncItemRepository, ItemRepository
from ...repositories.options import ConnectOptions
from ...repositories.validation import labels, text, texts, ttl_or_default
from ..backends import KeepsItems, item_backend
from ..shielding import shielded
from .connected import Connected


class StatekeepRecordManager(Connected, RecordManager):
    """Records of the documents in a vector store, for ``index`` and ``aindex``.

    It implements ``RecordManager`` in both faces. All times are those of the server, the same for all programs; in one
    namespace each is later than all before it. Use it in several tasks, threads and processes at once: up to 500 keys
    are one unit.

    Args:
        namespace: names the vector store, as LangChain has it; any text but the empty one.
        keep: where records are kept: a connection of :func:`statekeep.connect` or :func:`statekeep.aconnect`, or its
            ``items``. You close it.
        above: labels in front of the namespace.
        ttl: seconds that a record is kept after it was last updated; ``None`` for ever. Without its record a document
            is indexed again, and no longer deleted.

    Raises:
        InvalidInput: an argument is wrong.
        Unsupported: the connection's service keeps no items.

    Example:
        >>> import statekeep
        >>> with statekeep.connect("memory:") as keep:
        ...     records = StatekeepRecordManager("handbook", keep)
        ...     records.update(["a", "b"], group_ids=["page 1", "page 2"])
        ...     records.exists(["a", "c"]), records.list_keys(group_ids=["page 2"])
        ([True, False], ['b'])
    """

    def __init__(
        self, namespace: str, keep: KeepsItems, *, above: Sequence[str] = ("langchain", "records"), ttl: Ttl = None
    ) -> None:
        super().__init__(text("namespace", namespace))
        self._namespace = labels("namespace", (*labels("above", above), self.namespace))
        self._ttl = ttl_or_default(ttl)
        backend = item_backend(keep)
        self._items, self._aitems = ItemRepository(backend), AsyncItemRepository(backend)

    @classmethod
    def from_url(
        cls,
        namespace: str,
        url: str,
        *,
        above: Sequence[str] = ("langchain", "records"),
        ttl: float | None = None,
        prefix: str = "statekeep",
        **options: Unpack[ConnectOptions],
    ) -> Self:
        """Open a connection for these records alone, which :meth:`close` closes.

        Args:
            namespace: as for the class.
            url: as for :func:`statekeep.connect`.
            above: as for the class.
            ttl: as for the class.
            prefix: as for :func:`statekeep.connect`.
            options: as for :func:`statekeep.connect`.

        Raises:
            InvalidInput: an argument is wrong.
            Unsupported: the URL's service keeps no items.

        Example:
            >>> with StatekeepRecordManager.from_url("handbook", "memory:") as records:
            ...     records.exists(["a"])
            [False]
        """
        keep = connect(url, prefix=prefix, ttl=ttl, **options)
        with closing_on_error(keep.close):
            records = cls(namespace, keep, above=above, ttl=ttl)
        records._own = keep
        return records

    def create_schema(self) -> None:
        """Do nothing: there is no schema."""

    async def acreate_schema(self) -> None:
        """Do nothing: there is no schema."""

    def get_time(self) -> float:
        """Return the server's time in seconds since 1970: one round trip."""
        return self._items.now().timestamp()

    async def aget_time(self) -> float:
        """As :meth:`get_time`."""
        return (await self._aitems.now()).timestamp()

    def update(
        self,
        keys: Sequence[str],
        *,
        group_ids: Sequence[str | None] | None = None,
        time_at_least: float | None = None,
    ) -> None:
        """Note that documents are indexed now: one round trip for 500.

        Args:
            keys: of the documents, each any text.
            group_ids: the source of each, if they have any.
            time_at_least: the server's time must be this or later.

        Raises:
            ValueError: there are not as many ``group_ids`` as keys; nothing was noted. Or ``time_at_least`` is later:
                the records have the server's time.
        """
        _check_times(self._items.batch(self._puts(keys, group_ids)), time_at_least)

    async def aupdate(
        self,
        keys: Sequence[str],
        *,
        group_ids: Sequence[str | None] | None = None,
        time_at_least: float | None = None,
    ) -> None:
        """As :meth:`update`.

        Args:
            keys: as for that.
            group_ids: as for that.
            time_at_least: as for that.
        """
        _check_times(await shielded(self._aitems.batch(self._puts(keys, group_ids))), time_at_least)

    def exists(self, keys: Sequence[str]) -> list[bool]:
        """Return for each key whether there is a record: one round trip for 500.

        Args:
            keys: of documents.
        """
        return [item is not None for item in self._items.batch(self._gets(keys))]

    async def aexists(self, keys: Sequence[str]) -> list[bool]:
        """As :meth:`exists`.

        Args:
            keys: as for that.
        """
        return [item is not None for item in await self._aitems.batch(self._gets(keys))]

    def list_keys(
        self,
        *,
        before: float | None = None,
        after: float | None = None,
        group_ids: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> list[str]:
        """Return the keys of records: two round trips for 100.

        With ``before`` the oldest come first, with ``after`` alone the newest, and none that is too new or too old is
        read. Those of other sources are.

        Args:
            before: only of those that were updated before this time.
            after: only of those that were updated after this time.
            group_ids: only of those of these sources.
            limit: at most so many; ``None`` or 0 for all.
        """
        wanted = _Wanted(before, after, group_ids)
        found: list[str] = []
        for item in self._items.list(self._namespace, order="updated", reverse=wanted.newest_first, refresh=False):
            if wanted.ends_at(item):
                break
            if wanted(item):
                found.append(item.key)
                if len(found) == limit:
                    break
        return found

    async def alist_keys(
        self,
        *,
        before: float | None = None,
        after: float | None = None,
        group_ids: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> list[str]:
        """As :meth:`list_keys`.

        Args:
            before: as for that.
            after: as for that.
            group_ids: as for that.
            limit: as for that.
        """
        wanted = _Wanted(before, after, group_ids)
        found: list[str] = []
        items = self._aitems.list(self._namespace, order="updated", reverse=wanted.newest_first, refresh=False)
        async for item in items:
            if wanted.ends_at(item):
                break
            if wanted(item):
                found.append(item.key)
                if len(found) == limit:
                    break
        return found

    def delete_keys(self, keys: Sequence[str]) -> None:
        """Remove records, those that there are: one round trip for 500.

        Args:
            keys: of documents.
        """
        self._items.batch(self._deletes(keys))

    async def adelete_keys(self, keys: Sequence[str]) -> None:
        """As :meth:`delete_keys`.

        Args:
            keys: as for that.
        """
        await shielded(self._aitems.batch(self._deletes(keys)))

    def _puts(self, keys: Sequence[str], group_ids: Sequence[str | None] | None) -> list[PutItem]:
        checked = _keys(keys)
        if group_ids and len(checked) != len(group_ids):
            raise InvalidInput(
                f"group_ids must be as many as keys, got {len(group_ids)} for {len(checked)}", field="group_ids"
            )
        options: Any = {"namespace": self._namespace, "ttl": self._ttl, "index": False}
        groups = group_ids or [None] * len(checked)
        return [
            PutItem(key=key, value={"group_id": group}, **options) for key, group in zip(checked, groups, strict=True)
        ]

    def _gets(self, keys: Sequence[str]) -> list[GetItem]:
        return [GetItem(namespace=self._namespace, key=key, refresh=False) for key in _keys(keys)]

    def _deletes(self, keys: Sequence[str]) -> list[DeleteItem]:
        return [DeleteItem(namespace=self._namespace, key=key) for key in _keys(keys)]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.namespace!r}, {self._items!r})"


class _Wanted:
    """Whether a record is asked for.

    Attributes:
        newest_first: whether those are found soonest that were updated last.
    """

    def __init__(self, before: float | None, after: float | None, group_ids: Sequence[str] | None) -> None:
        self._before, self._after = before, after
        self._group_ids = set(group_ids or ())
        self.newest_first = bool(after) and not before

    def ends_at(self, item: Item) -> bool:
        """Return whether no record from here on is asked for."""
        return self._is_old(item) if self.newest_first else self._is_new(item)

    def _is_old(self, item: Item) -> bool:
        return bool(self._after and item.updated_at.timestamp() <= self._after)

    def _is_new(self, item: Item) -> bool:
        return bool(self._before and item.updated_at.timestamp() >= self._before)

    def __call__(self, item: Item) -> bool:
        if self._is_old(item) or self._is_new(item):
            return False
        return not self._group_ids or item.value["group_id"] in self._group_ids


def _keys(keys: Any) -> list[str]:
    return texts("keys", keys, empty=True)


def _check_times(stored: Sequence[Item], time_at_least: float | None) -> None:
    """Refuse records that a clean-up would take for outdated."""
    if time_at_least and any(item.updated_at.timestamp() < time_at_least for item in stored):
        raise ValueError(f"time_at_least must be in the past: the server's time is before {time_at_least!r}")
