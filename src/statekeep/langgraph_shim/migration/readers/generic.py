"""Any saver or store of LangGraph as a source: what its interface tells."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from attrs import define, field
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.base import WRITES_IDX_MAP, BaseCheckpointSaver, CheckpointTuple
from langgraph.store.base import BaseStore

from ....domain import DEFAULT, InvalidInput, Payload, PendingWrite, SavedCheckpoint, Serializer, dump
from ....domain.items import Namespace
from ....domain.model import Ttl
from ....repositories.copy import WINDOW
from ....repositories.operation import Operation, Page
from ...checkpoint.config import config_of
from ...checkpoint.convert import COUNTERS
from ...checkpoint.metadata import pack
from ..payloads import Parts, assembled, in_order_of
from ..source import PAGE, Ask, FoundEntry, FoundItem, Key

_UNLISTED: Final = (
    "{} does not say which threads it has. Name them: threads=[...]. If it answers in asyncio code only, await amigrate"
)


def _only_awaited(what: object, error: NotImplementedError) -> InvalidInput:
    return InvalidInput(
        f"source {type(what).__name__} does not answer blocking code: await amigrate instead ({error})", field="source"
    )


def call(holder: object, name: str, *args: Any, **kwargs: Any) -> Ask:
    """Ask by a method, or by its asyncio twin.

    Event loops get a thread if there is none.
    """

    def blocking() -> Any:
        try:
            return getattr(holder, name)(*args, **kwargs)
        except NotImplementedError as error:
            raise _only_awaited(holder, error) from error

    async def awaiting() -> Any:
        try:
            return await getattr(holder, f"a{name}")(*args, **kwargs)
        except NotImplementedError:
            return await asyncio.to_thread(getattr(holder, name), *args, **kwargs)

    return Ask(blocking, awaiting)


def _visited(saver: BaseCheckpointSaver[Any], config: Any, visit: Callable[[CheckpointTuple], object]) -> Ask:
    """Go through a listing to its end.

    Nothing else is asked meanwhile: some savers lock themselves for so long.
    """

    def every() -> None:
        for one in saver.list(config):
            visit(one)

    def blocking() -> None:
        try:
            every()
        except NotImplementedError as error:
            raise _only_awaited(saver, error) from error

    async def awaiting() -> None:
        try:
            async for one in saver.alist(config):
                visit(one)
        except NotImplementedError:
            await asyncio.to_thread(every)

    return Ask(blocking, awaiting)


@define
class SaverThreads:
    """Threads of any saver.

    Its interface tells nothing of TTLs, of the paths of tasks, and of the positions of writes: writes keep their order.
    Each thread is listed first, and if it is long its checkpoints are read one by one.
    """

    saver: BaseCheckpointSaver[Any]
    writer: Serializer
    _namespaces: dict[str, dict[str, None]] = field(factory=lambda: defaultdict(dict))
    _kept: dict[Key, SavedCheckpoint] = field(factory=dict)

    @property
    def serde(self) -> Serializer:
        """The serializer that wrote the payloads."""
        return self.writer

    def threads(self) -> Operation[list[str]]:
        newest: dict[str, str] = {}

        def visit(one: CheckpointTuple) -> None:
            found = one.config["configurable"]
            thread_id = str(found["thread_id"])
            self._namespaces[thread_id][found.get("checkpoint_ns", "")] = None
            newest[thread_id] = max(newest.get(thread_id, ""), found["checkpoint_id"])

        try:
            yield _visited(self.saver, None, visit)
        except InvalidInput:
            raise
        except Exception as error:
            raise InvalidInput(_UNLISTED.format(type(self.saver).__name__), field="source") from error
        return sorted(newest, key=lambda thread_id: (newest[thread_id], thread_id))

    def keys(self, thread_id: str) -> Operation[list[Key]]:
        keys: dict[Key, None] = {}
        self._kept = {}

        def visit(one: CheckpointTuple) -> None:
            found = one.config["configurable"]
            key = (found.get("checkpoint_ns", ""), found["checkpoint_id"])
            keys[key] = None
            if len(keys) <= WINDOW:
                self._kept[key] = self._saved(thread_id, key, one)
            else:
                self._kept.clear()

        yield _visited(self.saver, {"configurable": {"thread_id": thread_id}}, visit)
        listed = {namespace for namespace, _ in keys}
        for namespace in self._namespaces.pop(thread_id, {}):
            if namespace not in listed:
                config = {"configurable": {"thread_id": thread_id, "checkpoint_ns": namespace}}
                yield _visited(self.saver, config, visit)
        return sorted(keys, key=lambda key: (key[1], key[0]))

    def read(self, thread_id: str, keys: Sequence[Key]) -> Operation[list[SavedCheckpoint]]:
        found = []
        for key in keys:
            kept = self._kept.pop(key, None)
            if kept is None:
                one: CheckpointTuple | None = yield call(self.saver, "get_tuple", config_of(thread_id, *key))
                kept = None if one is None else self._saved(thread_id, key, one)
            if kept is not None:
                found.append(kept)
        return in_order_of(keys, found)

    def left(self, thread_id: str, keys: Sequence[Key]) -> Operation[Ttl]:
        return DEFAULT
        yield

    def _saved(self, thread_id: str, key: Key, one: CheckpointTuple) -> SavedCheckpoint:
        parent = (one.parent_config or {}).get("configurable", {}).get("checkpoint_id")
        return of_objects(
            (thread_id, *key), parent, one.checkpoint, one.metadata, pending(self.writer, one), self.writer
        )


def of_objects(
    address: tuple[str, str, str],
    parent_id: str | None,
    checkpoint: Any,
    metadata: Any,
    writes: Iterable[PendingWrite],
    writer: Serializer,
) -> SavedCheckpoint:
    """Return a checkpoint of deserialized objects as one of Statekeep's."""
    header = {name: value for name, value in checkpoint.items() if name != "channel_values"}
    parts = Parts(header, checkpoint.get("channel_values") or {}, lambda value: dump(writer, value))
    found = dict(metadata or {})
    if deltas := found.get(COUNTERS):
        found[COUNTERS] = {name: list(pair) for name, pair in deltas.items()}
    return assembled(address, parent_id, parts, pack(writer, found), writes)


def pending(writer: Serializer, one: CheckpointTuple) -> list[PendingWrite]:
    """Return pending writes, numbered for each task, in the order in which they came.

    Where that is not the order of the tasks' ids, it becomes their paths.
    """
    positions: dict[str, int] = defaultdict(int)
    found: dict[tuple[str, int], PendingWrite] = {}
    tasks: dict[str, int] = {}
    for task_id, channel, value in one.pending_writes or ():
        idx = WRITES_IDX_MAP.get(channel)
        if idx is None:
            idx = positions[task_id]
            positions[task_id] += 1
        tasks.setdefault(task_id, len(tasks))
        found[task_id, idx] = PendingWrite(task_id=task_id, idx=idx, channel=channel, payload=dump(writer, value))
    if list(tasks) == sorted(tasks):
        return list(found.values())
    return [write.model_copy(update={"task_path": f"{tasks[write.task_id]:08}"}) for write in found.values()]


@define
class StoreItems:
    """Items of any store.

    Its interface tells nothing of TTLs.
    """

    store: BaseStore
    _namespaces: list[Namespace] | None = None

    def page(self, cursor: Any) -> Operation[Page[FoundItem]]:
        if self._namespaces is None or cursor is None:
            self._namespaces = yield from self._listed()
        at, offset = cursor or (0, 0)
        if at >= len(self._namespaces):
            return Page([])
        namespace = self._namespaces[at]
        hits = yield call(self.store, "search", namespace, limit=PAGE, offset=offset, refresh_ttl=False)
        found = [
            FoundItem(
                tuple(hit.namespace),
                hit.key,
                hit.value,
                updated_at=hit.updated_at,
                has_end=False,
                created_at=hit.created_at,
            )
            for hit in hits
            if tuple(hit.namespace) == namespace  # what is below it has its own turn
        ]
        following = (at, offset + PAGE) if len(hits) == PAGE else (at + 1, 0)
        return Page(found, following if following[0] < len(self._namespaces) else None)

    def _listed(self) -> Operation[list[Namespace]]:
        found: dict[Namespace, None] = {}
        offset = 0
        while True:
            some = yield call(self.store, "list_namespaces", limit=PAGE, offset=offset)
            found.update(dict.fromkeys(map(tuple, some)))
            offset += PAGE
            if len(some) < PAGE:
                return list(found)


@define
class MemoryEntries:
    """Entries of LangGraph's cache in memory."""

    cache: InMemoryCache[Any]

    def page(self, cursor: Any) -> Operation[Page[FoundEntry]]:
        found = [
            FoundEntry(
                namespace,
                key,
                Payload(encoding=encoding, data=data),
                None if expiry is None else dt.datetime.fromtimestamp(expiry, dt.UTC),
            )
            for namespace, entries in self.cache._cache.items()  # noqa: SLF001 - it has no listing
            for key, (encoding, data, expiry) in entries.items()
        ]
        return Page(found)
        yield
