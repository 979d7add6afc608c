"""What writers do while faults are injected, and what readers must find afterwards.

A writer has a thread, a namespace of items and one of cache entries for itself, and does one thing after the other.
What it does is drawn from its seed alone, so that a process that was killed can be followed by what it reported.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import cache
from hashlib import sha512
from typing import Any, Literal

from attrs import define, field, frozen

from statekeep import Channel, CheckItem, Checkpoint, GetItem, Payload, PendingWrite, PutItem, SavedCheckpoint
from statekeep.domain import StatekeepError, Unavailable
from statekeep.repositories.cache import AsyncCacheRepository
from statekeep.repositories.checkpoints import AsyncCheckpointRepository
from statekeep.repositories.items import AsyncItemRepository

from .model import Effect, Model
from .tally import Tally

Part = Literal["checkpoints", "items", "cache"]
PARTS: tuple[Part, ...] = ("checkpoints", "items", "cache")

WRITES = 4
RESUME = -4
LOG = 40
KEYS = ("a", "b", "c")


@frozen
class Keeps:
    """The repositories that a writer uses."""

    checkpoints: AsyncCheckpointRepository
    items: AsyncItemRepository | None = None
    cache: AsyncCacheRepository | None = None


@frozen
class Action:
    """One operation of a writer. ``number`` counts them, and makes what is written unique."""

    kind: str
    number: int
    target: int = 0


def payload(data: str) -> Payload:
    return Payload(encoding="raw", data=data.encode())


@cache
def _entry(number: int) -> str:
    return sha512(str(number).encode()).hexdigest()


def made(name: str, number: int, parent: int | None) -> Checkpoint:
    """A checkpoint of a writer, with values that its number tells: one never changes, and one grows as a log does."""
    source = random.Random(f"{name} {number}")
    values = {f"channel {index}": "x" * source.randrange(1500) + f"{number}" for index in range(3)}
    values["log"] = "".join(map(_entry, range(max(0, number - LOG), number)))
    channels = {key: Channel.of(number, payload(value)) for key, value in values.items()}
    constant = Channel.of(1, payload(name)) if parent is None else Channel.earlier(1)
    return Checkpoint(
        thread_id=name,
        checkpoint_id=f"{number:08}",
        parent_id=None if parent is None else f"{parent:08}",
        metadata={"number": number, "run_id": f"{name} {number % 2}"},
        header=payload(f"header {number}"),
        channels=channels | {"constant": constant},
    )


def is_whole(name: str, saved: SavedCheckpoint) -> bool:
    """Whether all of a checkpoint is as it was made."""
    number = int(saved.checkpoint_id)
    wanted = made(name, number, None)
    return (
        {key: channel.payload for key, channel in saved.channels.items()}
        == {key: channel.payload for key, channel in wanted.channels.items()}
        and saved.metadata == wanted.metadata
        and saved.header == wanted.header
    )


def actions(seed: str, parts: Sequence[Part]) -> Iterator[Action]:
    """The operations of a writer, without end."""
    source = random.Random(seed)
    kinds: list[str] = []
    if "checkpoints" in parts:
        kinds += ["put"] * 4 + ["writes"] * 3 + ["special"] * 2 + ["read thread"] * 2 + ["delete thread", "prune"]
    if "items" in parts:
        kinds += ["put item"] * 3 + ["delete item"] + ["append"] * 2 + ["pop", "read items"] + ["put pair"] * 2
    if "cache" in parts:
        kinds += ["set"] * 2 + ["forget", "read cache"]
    number = 0
    while True:
        number += 1
        yield Action(source.choice(kinds), number, source.randrange(3))


@define
class Writer:
    """Does operations and keeps a model of what they may have left.

    Attributes:
        name: of its thread, and of its namespaces.
        seed: of its operations.
        parts: which repositories it uses.
        model: what may be stored.
        tally: where it counts.
        refusals: errors that an operation may end with.
    """

    name: str
    seed: str
    parts: Sequence[Part]
    model: Model
    tally: Tally
    refusals: tuple[type[StatekeepError], ...] = (Unavailable,)
    ids: list[int] = field(factory=list)
    _source: Iterator[Action] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._source = actions(self.seed, self.parts)

    @property
    def _pair(self) -> list[tuple[str, ...]]:
        """Two namespaces of one unit, whose items are always put together."""
        return [(self.name, "one"), (self.name, "two", "of them")]

    @property
    def _never(self) -> CheckItem:
        """A condition that always holds, so that a batch is one unit."""
        return CheckItem(namespace=(self.name,), key="never", expected=None)

    def next_action(self) -> Action:
        """The next operation."""
        action = next(self._source)
        if action.kind == "put":
            self.ids.append(action.number)
        return action

    async def step(self, keeps: Keeps) -> bool:
        """Do the next operation; returns whether it was acknowledged."""
        action = self.next_action()
        effects = self.begin(action)
        try:
            found = await self.perform(action, keeps)
        except self.refusals:
            self.settle(effects, is_acknowledged=False)
            return False
        except StatekeepError as error:
            self.tally.violations.append(f"{self.name}: {action} failed: {error!r}")
            self.settle(effects, is_acknowledged=False)
            return False
        self.settle(effects, is_acknowledged=True)
        if found is not None:
            self._see(found)
        return True

    def settle(self, effects: Sequence[Effect], *, is_acknowledged: bool) -> None:
        """Note how an operation ended."""
        self.tally.operations["acknowledged" if is_acknowledged else "unacknowledged"] += 1
        if is_acknowledged:
            self.model.acknowledged(effects)
        else:
            self.model.unacknowledged(effects)

    # -- what operations do

    def begin(self, action: Action) -> list[Effect]:
        """Note that an operation begins; returns what it does if it is done."""
        effects = self._effects(action)
        if action.kind == "prune":
            self.model.unacknowledged([effect for one in self._doubtful() for effect in self._gone(one)])
        return effects

    def _doubtful(self) -> list[int]:
        """Checkpoints that may be there; and the newest that certainly is, if one of these may be newer."""
        maybe = [one for one in self.ids if len(self.model.states((self.name, "checkpoint", one))) > 1]
        there = self._certain()
        return [*maybe, there[-1]] if there and maybe and maybe[-1] > there[-1] else maybe

    def _certain(self) -> list[int]:
        return [one for one in self.ids if self.model.states((self.name, "checkpoint", one)) == {"whole"}]

    def _gone(self, number: int) -> list[Effect]:
        return [Effect.to((self.name, kind, number), None) for kind in ("checkpoint", "writes", "special")]

    def _target(self, action: Action) -> int | None:
        """The checkpoint that pending writes are for: one of the last."""
        return self.ids[-1 - action.target % len(self.ids)] if self.ids else None

    def _effects(self, action: Action) -> list[Effect]:
        name, number = self.name, action.number
        key = (name, "item", KEYS[action.target])
        log = (name, "log")
        match action.kind:
            case "put":
                return [Effect.to((name, "checkpoint", number), "whole")]
            case "writes" if (target := self._target(action)) is not None:
                # What is there stays: all writes of a target are of one task, and the first ones win.
                return [Effect((name, "writes", target), lambda state: number if state is None else state)]
            case "special" if (target := self._target(action)) is not None:
                return [Effect.to((name, "special", target), number)]
            case "delete thread":
                return [effect for one in self.ids for effect in self._gone(one)]
            case "prune":
                return [effect for one in self._certain()[:-1] for effect in self._gone(one)]
            case "put item":
                return [Effect.to(key, number)]
            case "delete item":
                return [Effect.to(key, None)]
            case "put pair":
                return [Effect.to((name, "pair"), number)]
            case "append":
                return [Effect(log, lambda state: (*(state or ()), number, -number))]
            case "pop":
                return [Effect(log, lambda state: (state or ())[:-1] or None)]
            case "set":
                return [Effect.to((name, "entry", one), number) for one in (KEYS[action.target], "all")]
            case "forget":
                return [Effect.to((name, "entry", KEYS[action.target]), None)]
        return []

    async def perform(self, action: Action, keeps: Keeps) -> dict[tuple[str, Any], Any] | None:
        """Do an operation. Returns what was read, by kind of cell and name."""
        name, number = self.name, action.number
        match action.kind:
            case "put":
                parent = self.ids[-2] if len(self.ids) > 1 else None
                await keeps.checkpoints.put(
                    made(name, number, parent), supply=lambda names: dict.fromkeys(names, payload(name))
                )
            case "writes" | "special" if (target := self._target(action)) is not None:
                indexes = [RESUME] if action.kind == "special" else range(WRITES)
                writes = [_write(index, number) for index in indexes]
                await keeps.checkpoints.put_writes(name, f"{target:08}", writes)
            case "delete thread":
                await keeps.checkpoints.delete_thread(name)
            case "prune":
                await keeps.checkpoints.prune([name])
            case "read thread":
                return await self._read_thread(keeps.checkpoints)
        if keeps.items is not None:
            match action.kind:
                case "put item":
                    await keeps.items.put((name, "items"), KEYS[action.target], number)
                case "delete item":
                    await keeps.items.delete((name, "items"), KEYS[action.target])
                case "append":
                    await keeps.items.append((name, "log"), [number, -number])
                case "put pair":
                    puts = [PutItem(namespace=space, key="k", value=number) for space in self._pair]
                    await keeps.items.batch([puts[0], self._never, puts[1]])
                case "pop":
                    await keeps.items.pop((name, "log"))
                case "read items":
                    return await self._read_items(keeps.items)
        if keeps.cache is not None:
            match action.kind:
                case "set":
                    keys = {((name,), key): payload(str(number)) for key in (KEYS[action.target], "all")}
                    await keeps.cache.set(keys)
                case "forget":
                    await keeps.cache.delete([((name,), KEYS[action.target])])
                case "read cache":
                    return await self._read_cache(keeps.cache)
        return None

    async def _read_thread(self, checkpoints: AsyncCheckpointRepository) -> dict[tuple[str, Any], Any]:
        listed = await _all(checkpoints.list(self.name))
        newest = await checkpoints.get(self.name)
        found: dict[tuple[str, Any], Any] = dict.fromkeys((("checkpoint", one) for one in self.ids), None)
        for saved in listed:
            number = int(saved.checkpoint_id)
            found["checkpoint", number] = "whole" if is_whole(self.name, saved) else f"damaged: {saved!r:.300}"
            found["writes", number] = _ordinary(saved)
            found["special", number] = _special(saved)
        if newest != (listed[0] if listed else None):
            self.tally.violations.append(f"{self.name}: the newest is {newest!r:.200}, not {listed[:1]!r:.200}")
        if [one.checkpoint_id for one in listed] != sorted({one.checkpoint_id for one in listed}, reverse=True):
            self.tally.violations.append(f"{self.name}: the list is not in order, or names one twice")
        return found

    async def _read_items(self, items: AsyncItemRepository) -> dict[tuple[str, Any], Any]:
        found: dict[tuple[str, Any], Any] = {}
        listed = {item.key: item.value async for item in items.list((self.name, "items"))}
        for key in KEYS:
            item = await items.get((self.name, "items"), key)
            found["item", key] = None if item is None else item.value
            if listed.get(key) != found["item", key]:
                self.tally.violations.append(f"{self.name}: item {key} is {item!r:.200}, listed as {listed.get(key)}")
        # With a condition they are read as one, too: an operation that was given up may be under way.
        _, *pair = await items.batch([self._never, *(GetItem(namespace=space, key="k") for space in self._pair)])
        values = [None if item is None else item.value for item in pair]
        found["pair", None] = values[0] if values[0] == values[1] else f"damaged: {values}"
        log = [item.value async for item in items.list((self.name, "log"))]
        found["log", None] = tuple(log) or None
        return found

    async def _read_cache(self, cache: AsyncCacheRepository) -> dict[tuple[str, Any], Any]:
        keys = [((self.name,), key) for key in (*KEYS, "all")]
        entries = await cache.get(keys)
        return {
            ("entry", key): int(entries[space, key].payload.data) if (space, key) in entries else None
            for space, key in keys
        }

    def _see(self, found: dict[tuple[str, Any], Any]) -> None:
        for (kind, one), state in found.items():
            self.tally.operations["checked"] += 1
            cell = (self.name, kind) if one is None else (self.name, kind, one)
            if problem := self.model.seen(cell, state):
                self.tally.violations.append(f"{self.name}: {problem}")

    async def reindex(self, keeps: Keeps) -> None:
        """Rebuild the indexes of everything."""
        await keeps.checkpoints.reindex(self.name)
        if keeps.items is not None:
            for space in ((self.name, "items"), (self.name, "log"), *self._pair):
                await keeps.items.reindex(space)
        if keeps.cache is not None:
            await keeps.cache.reindex()

    async def verify(self, keeps: Keeps) -> None:
        """Read everything, every checkpoint also by its id, and the thread where threads are listed."""
        if "checkpoints" in self.parts:
            found = await self._read_thread(keeps.checkpoints)
            for one in self.ids:
                saved = await keeps.checkpoints.get(self.name, checkpoint_id=f"{one:08}")
                is_there = None if saved is None else "whole" if is_whole(self.name, saved) else "damaged"
                if is_there != found["checkpoint", one]:
                    self.tally.violations.append(
                        f"{self.name}: {one} is {is_there} by its id, else {found['checkpoint', one]}"
                    )
            self._see(found)
        if "items" in self.parts and keeps.items is not None:
            self._see(await self._read_items(keeps.items))
        if "cache" in self.parts and keeps.cache is not None:
            self._see(await self._read_cache(keeps.cache))


async def _all(found: AsyncIterator[SavedCheckpoint]) -> list[SavedCheckpoint]:
    return [saved async for saved in found]


def _write(index: int, number: int) -> PendingWrite:
    return PendingWrite(task_id="task", task_path="", idx=index, channel="c", payload=payload(str(number)))


def _ordinary(saved: SavedCheckpoint) -> Any:
    """The number of the operation that put the ordinary writes, if they are all there and of one."""
    found = [write for write in saved.pending_writes if write.idx >= 0]
    numbers = {int(write.payload.data) for write in found}
    if not found:
        return None
    return numbers.pop() if len(numbers) == 1 and len(found) == WRITES else f"damaged: {found!r:.300}"


def _special(saved: SavedCheckpoint) -> Any:
    found = [int(write.payload.data) for write in saved.pending_writes if write.idx < 0]
    return found[0] if found else None
