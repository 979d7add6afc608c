"""The contract of a backend of checkpoints, as tests that its authors inherit.

Example, for a backend of your own (``pytest``, ``hypothesis`` and ``anyio`` are needed)::

    # In conftest.py, so that failures say what was compared:
    pytest.register_assert_rewrite("statekeep.testing.contracts.checkpoints")
    from statekeep.testing.contracts.checkpoints import CheckpointContract

    class TestMyBackend(CheckpointContract):
        @pytest.fixture
        def repository(self):
            with CheckpointRepository(MyBackend(...)) as repository:
                yield repository

        @pytest.fixture
        async def arepository(self):
            async with AsyncCheckpointRepository(MyBackend(...)) as repository:
                yield repository
"""

from __future__ import annotations

import datetime as dt
import decimal
import math
import random
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from enum import IntEnum
from typing import Any, TypeVar, cast

import anyio
import pytest

from ...domain import (
    ANY,
    Channel,
    Checkpoint,
    Conflict,
    InvalidInput,
    MissingChannels,
    Payload,
    PendingWrite,
    PrunePolicy,
    SavedCheckpoint,
    ThreadMeasure,
)
from ...domain.lineage import NEEDS_PARENT
from ...domain.model import LONGEST_ID
from ...repositories.checkpoints import AsyncCheckpointRepository, CheckpointRepository
from ..comparison import canonical
from ..faces import awaited
from ..strategies import NASTY_TEXTS
from ..strategies.texts import Disguised, member

__all__ = ["CheckpointContract"]

ItemT = TypeVar("ItemT")

EXACT_VALUES: tuple[Any, ...] = (
    None, True, 0, 1.0, -0.0, 2**70, "", "é\x00", float("nan"), float("inf"), "\ud800", "\ud83d\ude00", (),
    (1, (2, [3])), b"", b"\xff\x00", bytearray(b"x"), {1, 2}, frozenset({"a"}), dt.date(2024, 2, 29),
    dt.datetime(2024, 1, 1, 12, 0, 0, 1), dt.datetime(2024, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=-3))),
    dt.timedelta(days=-1, microseconds=1), decimal.Decimal("1.10"), uuid.UUID(int=1), {1: 2, (3,): None},
    {"$keep": ["tuple", []]}, {"a": {"b": [1, {"c": (2,)}]}}, Payload(encoding="pickle", data=b"\x80"),
)  # fmt: skip

TOO_LONG = "x" * (LONGEST_ID + 1)


class Tier(IntEnum):
    GOLD = 1


def payload(text: str | bytes) -> Payload:
    """Return a payload as a serializer might have made it."""
    return Payload(encoding="raw", data=text.encode() if isinstance(text, str) else text)


def write(value: str, *, task: str = "task", path: str = "", idx: int = 0, channel: str = "c") -> PendingWrite:
    """Return a pending write of ``value``."""
    return PendingWrite(task_id=task, task_path=path, idx=idx, channel=channel, payload=payload(value))


def checkpoint(checkpoint_id: str, *, thread: str = "t", parent: str | None = None, **fields: Any) -> Checkpoint:
    """Return a checkpoint of the thread ``"t"``."""
    return Checkpoint(thread_id=thread, checkpoint_id=checkpoint_id, parent_id=parent, **fields)


async def listed(items: AsyncIterator[ItemT]) -> list[ItemT]:
    """Return the results of a listing."""
    return [item async for item in items]


async def ids(items: AsyncIterator[SavedCheckpoint]) -> list[str]:
    """Return the checkpoint ids of a listing."""
    return [item.checkpoint_id async for item in items]


def values(saved: SavedCheckpoint | None) -> list[str]:
    """Return the values of the pending writes, in the order of reading."""
    assert saved is not None
    return [pending.payload.data.decode() for pending in saved.pending_writes]


class CheckpointContract:
    """Tests of all that :class:`~statekeep.CheckpointRepository` documents.

    See the module for how to use it.

    Each test gets empty repositories. Those that take ``keep`` run with both faces.

    Attributes:
        divisor: tests that need many threads or checkpoints make do with this part of them, for a backend whose calls
            take long.
    """

    pytestmark = pytest.mark.anyio
    divisor: int = 1

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    @pytest.fixture
    def repository(self) -> Iterator[CheckpointRepository]:
        """Yield an empty repository; override it."""
        raise NotImplementedError("override the fixture `repository`")

    @pytest.fixture
    async def arepository(self) -> AsyncIterator[AsyncCheckpointRepository]:
        """Yield an empty repository for asyncio; override it."""
        raise NotImplementedError("override the fixture `arepository`")
        yield

    @pytest.fixture(params=["blocking", "async"])
    def keep(self, request: pytest.FixtureRequest) -> AsyncCheckpointRepository:
        """One face after the other."""
        if request.param == "blocking":
            return awaited(cast(CheckpointRepository, request.getfixturevalue("repository")))
        return cast(AsyncCheckpointRepository, request.getfixturevalue("arepository"))

    def many(self, count: int) -> int:
        """Return how many a test makes that would like to have ``count``."""
        return max(12, count // self.divisor)

    # -- what is missing

    async def test_nothing_stored(self, keep: AsyncCheckpointRepository) -> None:
        assert await keep.get("t") is None
        assert await keep.get("t", checkpoint_id="1") is None
        assert await ids(keep.list()) == []
        assert await ids(keep.list("t")) == []
        assert await listed(keep.list_threads()) == []
        history = await keep.ancestors("t", ["a"])
        assert (history["a"].writes, history["a"].seed) == ((), None)
        await keep.delete_thread("t")
        await keep.delete_runs(["r"])
        await keep.delete_runs([])
        await keep.prune(["t"])
        await keep.prune([])
        await keep.copy_thread("t", "u")
        assert await keep.reindex("t") == 0
        assert await listed(keep.list_threads()) == []

    async def test_other_ids_find_nothing(self, keep: AsyncCheckpointRepository) -> None:
        await keep.put(checkpoint("1"))
        assert await keep.get("T") is None
        assert await keep.get("t", namespace="n") is None
        assert await keep.get("t", checkpoint_id="2") is None

    # -- what is stored is what comes back

    async def test_round_trip(self, keep: AsyncCheckpointRepository) -> None:
        put = Checkpoint(
            thread_id="t",
            namespace="n",
            checkpoint_id="2",
            parent_id="1",
            created_at=dt.datetime(2024, 1, 1, 12, 30, 0, 123456, tzinfo=dt.timezone(dt.timedelta(hours=2))),
            metadata={"step": 1, "source": "loop"},
            header=payload(b"\x00\xff"),
            channels={"a": Channel.of("v", payload(b"")), "b": Channel.empty(3), "c": Channel.replayed(1.5)},
        )
        await keep.put(put)
        await keep.put_writes("t", "2", [write("x")], namespace="n")
        saved = await keep.get("t", namespace="n")
        assert saved is not None
        assert {name: getattr(saved, name) for name in Checkpoint.model_fields} == dict(put)
        assert saved.pending_writes == (write("x"),)
        assert saved == await keep.get("t", namespace="n", checkpoint_id="2")
        assert [saved] == await listed(keep.list("t"))

    @pytest.mark.parametrize("value", EXACT_VALUES, ids=lambda value: ascii(value)[:30])
    async def test_metadata_is_exact(self, keep: AsyncCheckpointRepository, value: Any) -> None:
        await keep.put(checkpoint("1", metadata={"key": value, "$keep": value}))
        saved = await keep.get("t")
        assert saved is not None
        assert canonical(saved.metadata) == canonical({"key": value, "$keep": value})
        [from_list] = await listed(keep.list())
        assert canonical(from_list.metadata) == canonical(saved.metadata)

    async def test_metadata_that_cannot_be_kept_is_refused(self, keep: AsyncCheckpointRepository) -> None:
        circle: list[Any] = []
        circle.append(circle)
        for value in (object(), circle, {"deep": [object()]}):
            with pytest.raises(InvalidInput):
                await keep.put(checkpoint("1", metadata={"key": value}))
        assert await keep.get("t") is None

    async def test_what_is_stored_cannot_be_changed_from_outside(self, keep: AsyncCheckpointRepository) -> None:
        put = checkpoint("1", metadata={"list": [1]}, channels={"a": Channel.empty(1)})
        await keep.put(put)
        for changed in (put, await keep.get("t")):
            assert changed is not None
            changed.metadata["list"].append(2)
            changed.metadata["new"] = 1
            changed.channels["b"] = Channel.empty(1)
        saved = await keep.get("t")
        assert saved is not None
        assert (saved.metadata, set(saved.channels)) == ({"list": [1]}, {"a"})

    @pytest.mark.parametrize("text", NASTY_TEXTS, ids=lambda text: ascii(text)[:20])
    async def test_any_text_is_an_id(self, keep: AsyncCheckpointRepository, text: str) -> None:
        neighbour = checkpoint("1", thread=f"{text}2", channels={"c": Channel.of(1, payload("neighbour"))})
        await keep.put(neighbour)
        nasty = Checkpoint(
            thread_id=text,
            namespace=text,
            checkpoint_id=text,
            parent_id=text + text,
            metadata={text: text, "run_id": text},
            channels={text: Channel.of(text, payload("nasty"))},
        )
        await keep.put(nasty)
        await keep.put_writes(text, text, [write("w", task=text, path=text, channel=text)], namespace=text)
        saved = await keep.get(text, namespace=text)
        assert saved is not None
        assert {name: getattr(saved, name) for name in Checkpoint.model_fields} == dict(nasty)
        assert saved.pending_writes == (write("w", task=text, path=text, channel=text),)
        assert await listed(keep.list(text, namespace=text, checkpoint_id=text, metadata={text: text})) == [saved]
        assert {thread.thread_id for thread in await listed(keep.list_threads(prefix=text))} == {text, f"{text}2"}
        child = Checkpoint(
            thread_id=text,
            namespace=text,
            checkpoint_id=text + "x",
            parent_id=text,
            channels={text: Channel.earlier(text)},
        )
        await keep.put(child)
        history = await keep.ancestors(text, [text], namespace=text)
        assert (values(saved), history[text].seed) == (["w"], payload("nasty"))
        await keep.copy_thread(text, f"copy of {text}")
        await keep.delete_runs([text])
        assert await ids(keep.list(text)) == [text + "x"]
        await keep.prune([text], keep=1)
        await keep.delete_thread(text)
        assert await ids(keep.list(text)) == []
        assert await ids(keep.list(f"copy of {text}")) == [text + "x"]
        untouched = await keep.get(f"{text}2")
        assert untouched is not None
        assert untouched.channels == neighbour.channels

    @pytest.mark.parametrize("disguise", [Disguised, member])
    async def test_an_id_of_a_subclass_of_str_is_the_text_that_it_is(
        self, keep: AsyncCheckpointRepository, disguise: Callable[[str], str]
    ) -> None:
        a, n, c = disguise("a"), disguise("n"), disguise("c")
        for number in ("1", "2", "3"):
            put = checkpoint(
                disguise(number),
                thread=a,
                parent=disguise("1"),
                namespace=n,
                metadata={
                    "run_id": disguise(f"run {number}"),
                    disguise("kind"): c,
                    "tier": Tier.GOLD,
                    "all": [(c, Tier.GOLD)],
                },
                channels={c: Channel.of(c, Payload(encoding=disguise("raw"), data=b"x"))},
            )
            await keep.put(put.model_copy(update={"thread_id": a, "namespace": n, "metadata": put.metadata}))
            await keep.put_writes(a, disguise(number), [write("w", task=a, path=n, channel=c)], namespace=n)
        saved = await keep.get("a", namespace="n", checkpoint_id="2")
        assert saved is not None
        of_mapping = {"run_id": "run 2", "kind": "c", "tier": 1, "all": [("c", 1)]}
        assert canonical(saved.metadata) == canonical(of_mapping)
        assert canonical(saved.channels) == canonical({"c": Channel.of("c", payload("x"))})
        assert saved.pending_writes == (write("w", task="a", path="n", channel="c"),)
        for one in (saved, await keep.get(a, namespace=n, checkpoint_id=disguise("2"))):
            assert one == saved
            named = (one.thread_id, one.namespace, one.checkpoint_id, one.parent_id, one.pending_writes[0].task_id)
            assert canonical(named) == canonical(("a", "n", "2", "1", "a"))
        assert [thread.thread_id for thread in await listed(keep.list_threads(prefix=a))] == ["a"]
        assert await ids(keep.list(a, namespace=n, before=disguise("3"))) == ["2", "1"]
        for condition in ({"kind": c}, {"tier": Tier.GOLD}, {disguise("kind"): "c"}, {"tier": 1, "all": [(c, 1)]}):
            assert await ids(keep.list("a", metadata=condition)) == ["3", "2", "1"]
        assert await keep.ancestors(a, [c], namespace=n) == await keep.ancestors("a", ["c"], namespace="n")
        await keep.delete_runs([disguise("run 1")])
        assert await ids(keep.list("a")) == ["3", "2"]
        await keep.copy_thread(a, disguise("b"))
        assert await ids(keep.list("b")) == ["3", "2"]
        await keep.prune([a])
        assert await ids(keep.list("a")) == ["3"]
        assert await keep.reindex(a) == 1
        await keep.delete_thread(a)
        assert [thread.thread_id for thread in await listed(keep.list_threads())] == ["b"]

    async def test_texts_that_only_look_alike_are_different(self, keep: AsyncCheckpointRepository) -> None:
        pairs = [("a:b", "c"), ("a", "b:c"), ("a%3Ab", "c"), ("A:B", "C"), ("é", "c"), ("e\u0301", "c"), ("{a}:b", "c")]
        for thread_id, namespace in pairs:
            await keep.put(
                checkpoint("1", thread=thread_id, namespace=namespace, metadata={"at": (thread_id, namespace)})
            )
        for thread_id, namespace in pairs:
            saved = await keep.get(thread_id, namespace=namespace)
            assert saved is not None
            assert saved.metadata == {"at": (thread_id, namespace)}
        assert len(await listed(keep.list())) == len(pairs)

    async def test_a_megabyte(self, keep: AsyncCheckpointRepository) -> None:
        big = payload(bytes(range(256)) * 4096)
        await keep.put(checkpoint("1", header=big, channels={"a": Channel.of(1, big)}, metadata={"m": "é" * 500_000}))
        await keep.put_writes("t", "1", [PendingWrite(task_id="task", idx=0, channel="c", payload=big)])
        saved = await keep.get("t")
        assert saved is not None
        assert saved.header == saved.channels["a"].payload == saved.pending_writes[0].payload == big
        assert saved.metadata == {"m": "é" * 500_000}

    async def test_many_channels_and_writes(self, keep: AsyncCheckpointRepository) -> None:
        channels = {f"c{number}": Channel.of(number, payload(f"v{number}" * 50)) for number in range(500)}
        writes = [write(f"w{number:03}", idx=number) for number in range(500)]
        await keep.put(checkpoint("1", channels=channels))
        await keep.put_writes("t", "1", writes)
        saved = await keep.get("t")
        assert saved is not None
        assert saved.channels == channels
        assert saved.pending_writes == tuple(writes)

    # -- bad input

    @pytest.mark.parametrize("bad", ["", 1, None, b"t", "\ud800", pytest.param(TOO_LONG, id="too long")])
    async def test_bad_ids(self, keep: AsyncCheckpointRepository, bad: Any) -> None:
        calls: list[tuple[str, Callable[[], Coroutine[Any, Any, Any]]]] = [
            ("thread_id", lambda: keep.get(bad)),
            ("thread_id", lambda: keep.put_writes(bad, "1", [write("x")])),
            ("checkpoint_id", lambda: keep.put_writes("t", bad, [write("x")])),
            ("thread_id", lambda: keep.ancestors(bad, ["c"])),
            ("thread_id", lambda: keep.delete_thread(bad)),
            ("thread_id", lambda: keep.delete(bad, "1")),
            ("checkpoint_id", lambda: keep.delete("t", bad)),
            ("run_ids", lambda: keep.delete_runs([bad])),
            ("source_id", lambda: keep.copy_thread(bad, "t")),
            ("target_id", lambda: keep.copy_thread("t", bad)),
            ("thread_ids", lambda: keep.prune([bad])),
            ("thread_id", lambda: keep.reindex(bad)),
        ]
        if bad is not None:
            calls += [
                ("checkpoint_id", lambda: keep.get("t", checkpoint_id=bad)),
                ("checkpoint_id", lambda: keep.ancestors("t", ["c"], checkpoint_id=bad)),
                ("thread_id", lambda: listed(keep.list(bad))),
                ("checkpoint_id", lambda: listed(keep.list(checkpoint_id=bad))),
                ("before", lambda: listed(keep.list(before=bad))),
                ("expected_head", lambda: keep.put(checkpoint("1"), expected_head=bad)),
            ]
        if bad != "":
            calls += [
                ("namespace", lambda: keep.get("t", namespace=bad)),
                ("namespace", lambda: keep.delete("t", "1", namespace=bad)),
                ("namespace", lambda: keep.put_writes("t", "1", [write("x")], namespace=bad)),
            ]
        if bad not in ("", TOO_LONG):
            calls += [("prefix", lambda: listed(keep.list_threads(prefix=bad)))]
        if bad == TOO_LONG:
            calls += [
                ("namespace", lambda: listed(keep.list(namespace=bad))),
                ("namespace", lambda: keep.ancestors("t", ["c"], namespace=bad)),
                ("channels", lambda: keep.ancestors("t", [bad])),
            ]
        for field, call in calls:
            with pytest.raises(InvalidInput) as caught:
                await call()
            assert caught.value.field == field
            assert field in str(caught.value)
            assert len(str(caught.value)) < 400
        assert await listed(keep.list_threads()) == []
        assert await listed(keep.list_threads(prefix=TOO_LONG)) == []

    @pytest.mark.parametrize("letter", ["x", "é", ":"])
    async def test_the_longest_ids(self, keep: AsyncCheckpointRepository, letter: str) -> None:
        text = letter * (LONGEST_ID // len(letter.encode()))
        put = Checkpoint(
            thread_id=text,
            namespace=text,
            checkpoint_id=text,
            parent_id=text[1:],
            metadata={"run_id": text},
            channels={text: Channel.of(text, payload("v"))},
        )
        await keep.put(put)
        await keep.put_writes(text, text, [write("w", task=text, path=text, channel=text)], namespace=text)
        saved = await keep.get(text, namespace=text)
        assert saved is not None
        assert {name: getattr(saved, name) for name in Checkpoint.model_fields} == dict(put)
        assert values(saved) == ["w"]
        assert await listed(keep.list()) == [saved]
        assert [thread.thread_id for thread in await listed(keep.list_threads(prefix=text))] == [text]
        await keep.delete_runs([text])
        assert await listed(keep.list(text)) == []

    async def test_a_run_id_that_can_be_no_id_is_metadata_like_any_other(self, keep: AsyncCheckpointRepository) -> None:
        await keep.put(checkpoint("1", metadata={"run_id": TOO_LONG}))
        saved = await keep.get("t")
        assert saved is not None
        assert saved.metadata == {"run_id": TOO_LONG}
        assert await ids(keep.list(metadata={"run_id": TOO_LONG})) == ["1"]

    async def test_bad_arguments(self, keep: AsyncCheckpointRepository) -> None:
        untyped: Any = keep
        await keep.put(checkpoint("1"))
        calls: list[tuple[str, Callable[[], Coroutine[Any, Any, Any]]]] = [
            ("checkpoint", lambda: untyped.put({"thread_id": "t"})),
            ("supply", lambda: untyped.put(checkpoint("1"), supply={})),
            ("writes", lambda: untyped.put_writes("t", "1", [("task", "c", 1)])),
            ("writes", lambda: untyped.put_writes("t", "1", (write("x") for _ in range(1)))),
            ("channels", lambda: untyped.ancestors("t", "c")),
            ("channels", lambda: untyped.ancestors("t", [1])),
            ("run_ids", lambda: untyped.delete_runs("run")),
            ("thread_ids", lambda: untyped.prune("t")),
            ("keep", lambda: untyped.prune(["t"], keep=-1)),
            ("keep", lambda: untyped.prune(["t"], keep=True)),
            ("namespace", lambda: untyped.prune(["t"], namespace=1)),
            ("limit", lambda: listed(untyped.list(limit=-1))),
            ("limit", lambda: listed(untyped.list(limit="1"))),
            ("limit", lambda: listed(untyped.list_threads(limit=-1))),
            ("limit", lambda: listed(untyped.list(limit=math.nan))),
            ("limit", lambda: listed(untyped.list_threads(limit=math.inf))),
            ("after", lambda: listed(untyped.list_threads(after="t"))),
            ("metadata", lambda: listed(untyped.list(metadata=[("a", 1)]))),
        ]
        for field, call in calls:
            with pytest.raises(InvalidInput) as caught:
                await call()
            assert caught.value.field == field
        saved = await keep.get("t")
        assert saved is not None
        assert saved.pending_writes == ()

    async def test_huge_numbers_are_numbers(self, keep: AsyncCheckpointRepository) -> None:
        await keep.put(checkpoint("1"))
        assert await ids(keep.list("t", limit=10**400)) == ["1"]
        assert [thread.thread_id for thread in await listed(keep.list_threads(limit=10**400))] == ["t"]
        await keep.prune(["t"], keep=10**400)
        assert await ids(keep.list()) == ["1"]

    async def test_listings_refuse_bad_input_before_the_first_step(self, keep: AsyncCheckpointRepository) -> None:
        with pytest.raises(InvalidInput):
            keep.list(limit=-1)
        with pytest.raises(InvalidInput):
            keep.list_threads(limit=-1)

    # -- the newest, and replacing

    async def test_newest_is_the_greatest_id_whatever_the_order_of_puts(self, keep: AsyncCheckpointRepository) -> None:
        order = ["2", "10", "1", "\uffff", "😀", "é"]
        for checkpoint_id in order:
            await keep.put(checkpoint(checkpoint_id))
        newest = await keep.get("t")
        assert newest is not None
        assert newest.checkpoint_id == "😀"  # by code point, not by UTF-16 unit
        assert await ids(keep.list("t")) == ["😀", "\uffff", "é", "2", "10", "1"]

    async def test_a_checkpoint_with_an_id_below_its_parents_is_warned_of_once(
        self, keep: AsyncCheckpointRepository, caplog: pytest.LogCaptureFixture
    ) -> None:
        one, other = str(uuid.uuid4()), str(uuid.uuid4())
        await keep.put(checkpoint("2", thread=one))
        await keep.put(checkpoint("3", thread=one, parent="2"))
        assert not [record for record in caplog.records if record.name == "statekeep"]
        for number in ("1", "10", "2"):
            await keep.put(checkpoint(number, thread=one, parent="2"))
        await keep.put(checkpoint("1", thread=other, parent="1"))
        warned = [record.getMessage() for record in caplog.records if record.name == "statekeep"]
        assert [thread for message in warned for thread in (one, other) if thread in message] == [one, other]
        assert await ids(keep.list(one)) == ["3", "2", "10", "1"]

    async def test_putting_again_replaces_all_but_the_writes(self, keep: AsyncCheckpointRepository) -> None:
        first = checkpoint(
            "1", parent="0", metadata={"a": 1}, header=payload("h"), channels={"a": Channel.of(1, payload("x"))}
        )
        second = checkpoint("1", metadata={"b": 2}, channels={"b": Channel.of(1, payload("y"))})
        await keep.put(first)
        await keep.put_writes("t", "1", [write("w")])
        await keep.put(second)
        saved = await keep.get("t")
        assert saved is not None
        assert {name: getattr(saved, name) for name in Checkpoint.model_fields} == dict(second)
        assert values(saved) == ["w"]
        assert await ids(keep.list("t")) == ["1"]

    # -- channels

    async def test_earlier_value_comes_back(self, keep: AsyncCheckpointRepository) -> None:
        big = payload("big" * 5000)
        await keep.put(checkpoint("1", channels={"a": Channel.of(1, payload("x")), "b": Channel.of("v", big)}))
        for parent in range(1, 5):
            channels = {"a": Channel.earlier(1), "b": Channel.earlier("v")}
            await keep.put(checkpoint(str(parent + 1), parent=str(parent), channels=channels))
        expected = {"a": Channel.of(1, payload("x")), "b": Channel.of("v", big)}
        assert all([saved.channels == expected async for saved in keep.list("t")])
        await keep.prune(["t"], keep=1)
        saved = await keep.get("t")
        assert saved is not None
        assert saved.channels == expected
        assert await ids(keep.list("t")) == ["5"]
        # What stored the values first is gone, what uses them is not.
        await keep.put(checkpoint("6", channels={"a": Channel.earlier(1), "b": Channel.earlier("v")}))
        saved = await keep.get("t")
        assert saved is not None
        assert saved.channels == expected

    async def test_earlier_value_without_parent(self, keep: AsyncCheckpointRepository) -> None:
        await keep.put(checkpoint("1", channels={"a": Channel.of(1, payload("x"))}))
        await keep.put(checkpoint("2", parent="not stored", channels={"a": Channel.earlier(1)}))
        await keep.put(checkpoint("3", channels={"a": Channel.earlier(1)}))
        assert all([saved.channels == {"a": Channel.of(1, payload("x"))} async for saved in keep.list("t")])

    async def test_missing_channels_write_nothing(self, keep: AsyncCheckpointRepository) -> None:
        await keep.put(checkpoint("1", channels={"a": Channel.of(1, payload("x"))}))
        channels = {
            "a": Channel.earlier(1),
            "b": Channel.earlier(1),
            "c": Channel.earlier(2),
            "d": Channel.of(1, payload("d")),
        }
        for checkpoint_id in ("1", "2"):
            with pytest.raises(MissingChannels) as caught:
                await keep.put(checkpoint(checkpoint_id, parent="1", channels=channels))
            assert caught.value.channels == {"b", "c"}
            assert caught.value.operation == "put"
        saved = await keep.get("t")
        assert saved is not None
        assert (saved.checkpoint_id, saved.channels) == ("1", {"a": Channel.of(1, payload("x"))})
        with pytest.raises(MissingChannels):
            await keep.put(checkpoint("2", channels={"d": Channel.earlier(1)}))

    async def test_missing_channels_make_no_thread(self, keep: AsyncCheckpointRepository) -> None:
        with pytest.raises(MissingChannels):
            await keep.put(checkpoint("1", channels={"a": Channel.earlier(1)}))
        assert await listed(keep.list_threads()) == []

    async def test_missing_channels_are_no_update_of_the_thread(self, keep: AsyncCheckpointRepository) -> None:
        def supply(names: Any) -> dict[str, Payload]:
            raise LookupError("gone")

        for thread_id in ("a", "b"):
            await keep.put(checkpoint("1", thread=thread_id))
            await anyio.sleep(0.01)
        threads = await listed(keep.list_threads())
        wanting = checkpoint("2", thread="a", channels={"a": Channel.earlier(1)})
        with pytest.raises(MissingChannels):
            await keep.put(wanting)
        with pytest.raises(LookupError):
            await keep.put(wanting, supply=supply)
        assert await listed(keep.list_threads()) == threads

    async def test_values_are_of_one_thread_and_namespace(self, keep: AsyncCheckpointRepository) -> None:
        await keep.put(checkpoint("1", channels={"a": Channel.of(1, payload("x"))}))
        for other in (
            checkpoint("2", parent="1", thread="u", channels={"a": Channel.earlier(1)}),
            checkpoint("2", parent="1", namespace="n", channels={"a": Channel.earlier(1)}),
        ):
            with pytest.raises(MissingChannels):
                await keep.put(other)

    async def test_supply_heals(self, keep: AsyncCheckpointRepository) -> None:
        asked: list[set[str]] = []

        def supply(names: Any) -> dict[str, Payload]:
            asked.append(set(names))
            return {"b": payload("supplied")}

        await keep.put(checkpoint("1", channels={"a": Channel.of(1, payload("x"))}))
        channels = {"a": Channel.earlier(1), "b": Channel.earlier(1), "c": Channel.earlier(2)}
        await keep.put(checkpoint("2", parent="1", channels=channels), supply=supply)
        assert asked == [{"b", "c"}]
        saved = await keep.get("t")
        assert saved is not None
        assert saved.channels == {
            "a": Channel.of(1, payload("x")),
            "b": Channel.of(1, payload("supplied")),
            "c": Channel.empty(2),
        }
        await keep.put(checkpoint("3", parent="2", channels={"a": Channel.earlier(1), "b": Channel.earlier(1)}))
        healed = await keep.get("t")
        assert healed is not None
        assert healed.channels["b"] == Channel.of(1, payload("supplied"))

    async def test_supply_is_not_asked_for_what_is_stored(self, keep: AsyncCheckpointRepository) -> None:
        def supply(names: Any) -> dict[str, Payload]:
            raise AssertionError(f"asked for {names}")

        await keep.put(checkpoint("1", channels={"a": Channel.of(1, payload("x"))}), supply=supply)
        channels = {"a": Channel.earlier(1), "b": Channel.empty(1), "c": Channel.replayed(1)}
        await keep.put(checkpoint("2", parent="1", channels=channels), supply=supply)

    async def test_an_error_of_supply_is_raised_and_nothing_is_written(self, keep: AsyncCheckpointRepository) -> None:
        def supply(names: Any) -> dict[str, Payload]:
            raise LookupError("gone")

        with pytest.raises(LookupError, match="gone"):
            await keep.put(checkpoint("1", channels={"a": Channel.earlier(1)}), supply=supply)
        assert await keep.get("t") is None

    async def test_versions_of_different_types_are_different(self, keep: AsyncCheckpointRepository) -> None:
        versions: list[str | int | float] = [1, "1", 1.0]
        for number, version in enumerate(versions):
            channels = {"a": Channel.of(version, payload(f"{number}"))}
            await keep.put(checkpoint(str(number), channels=channels))
        for number, version in enumerate(versions):
            await keep.put(checkpoint(f"c{number}", channels={"a": Channel.earlier(version)}))
            saved = await keep.get("t", checkpoint_id=f"c{number}")
            assert saved is not None
            assert canonical(saved.channels) == canonical({"a": Channel.of(version, payload(f"{number}"))})
        with pytest.raises(MissingChannels):
            await keep.put(checkpoint("9", parent="2", channels={"a": Channel.earlier("1.0")}))

    async def test_forks_with_the_same_version_keep_their_own_values(self, keep: AsyncCheckpointRepository) -> None:
        await keep.put(checkpoint("1"))
        for fork in ("2a", "2b"):
            await keep.put(checkpoint(fork, parent="1", channels={"a": Channel.of(2, payload(fork))}))
            await keep.put(checkpoint(f"3{fork}", parent=fork, channels={"a": Channel.earlier(2)}))
            await keep.put(checkpoint(f"4{fork}", parent=f"3{fork}", channels={"a": Channel.earlier(2)}))
        async for saved in keep.list("t"):
            if saved.checkpoint_id != "1":
                assert saved.channels == {"a": Channel.of(2, payload(saved.checkpoint_id[-2:]))}

    async def test_a_replaced_value_stays_with_its_children(self, keep: AsyncCheckpointRepository) -> None:
        await keep.put(checkpoint("1", channels={"a": Channel.of(1, payload("old"))}))
        await keep.put(checkpoint("2", parent="1", channels={"a": Channel.earlier(1)}))
        await keep.put(checkpoint("1", channels={"a": Channel.of(1, payload("new"))}))
        old, new = await keep.get("t", checkpoint_id="2"), await keep.get("t", checkpoint_id="1")
        assert old is not None
        assert new is not None
        assert old.channels == {"a": Channel.of(1, payload("old"))}
        assert new.channels == {"a": Channel.of(1, payload("new"))}
        await keep.delete_thread("t")
        with pytest.raises(MissingChannels):
            await keep.put(checkpoint("3", channels={"a": Channel.earlier(1)}))

    async def test_replayed_channel_finds_a_value_at_its_version(self, keep: AsyncCheckpointRepository) -> None:
        await keep.put(checkpoint("1", channels={"a": Channel.of(1, payload("x"))}))
        channels = {"a": Channel.replayed(1), "b": Channel.replayed(1)}
        await keep.put(checkpoint("2", parent="1", channels=channels))
        await keep.put(checkpoint("3", parent="2", channels={"a": Channel.replayed(2)}))
        unchanged, changed = await keep.get("t", checkpoint_id="2"), await keep.get("t")
        assert unchanged is not None
        assert changed is not None
        assert unchanged.channels == {"a": Channel.of(1, payload("x")), "b": Channel.replayed(1)}
        assert changed.channels == {"a": Channel.replayed(2)}

    async def test_earlier_value_that_need_not_be_there(self, keep: AsyncCheckpointRepository) -> None:
        await keep.put(checkpoint("1", channels={"a": Channel.of(1, payload("x"))}))
        channels = {"a": Channel.earlier(1, required=False), "b": Channel.earlier(1, required=False)}
        await keep.put(checkpoint("2", parent="1", channels=channels))
        saved = await keep.get("t")
        assert saved is not None
        assert saved.channels == {"a": Channel.of(1, payload("x")), "b": Channel.empty(1)}

    # -- pending writes

    async def test_writes_are_read_in_order(self, keep: AsyncCheckpointRepository) -> None:
        writes = [
            write("6", task="a", path="~b", idx=1),
            write("5", task="a", path="~b", idx=0),
            write("4", task="b", path="a", idx=10),
            write("3", task="b", path="a", idx=9),
            write("2", task="b", path="a", idx=-1),
            write("1", task="a", path="a", idx=3),
            write("7", task="B", path="😀", idx=0),
        ]
        await keep.put(checkpoint("1"))
        for pending in writes:
            await keep.put_writes("t", "1", [pending])
        assert values(await keep.get("t")) == ["1", "2", "3", "4", "5", "6", "7"]
        assert [values(saved) async for saved in keep.list("t")] == [["1", "2", "3", "4", "5", "6", "7"]]

    async def test_first_write_wins_but_the_last_special_one(self, keep: AsyncCheckpointRepository) -> None:
        await keep.put(checkpoint("1"))
        await keep.put_writes("t", "1", [write("0 first"), write("0 same call"), write("-1 first", idx=-1)])
        await keep.put_writes(
            "t", "1", [write("0 later", path="elsewhere"), write("-1 last", idx=-1), write("1", idx=1)]
        )
        await keep.put_writes("t", "1", [write("-2 a", idx=-2), write("-2 b", idx=-2)])
        assert values(await keep.get("t")) == ["-2 b", "-1 last", "0 first", "1"]

    async def test_writes_before_their_checkpoint(self, keep: AsyncCheckpointRepository) -> None:
        await keep.put_writes("t", "1", [write("x")])
        await keep.put_writes("t", "1", [write("nested")], namespace="n")
        assert await keep.get("t") is None
        assert await ids(keep.list("t")) == []
        assert await listed(keep.list_threads()) == []
        await keep.put(checkpoint("1"))
        assert values(await keep.get("t")) == ["x"]

    async def test_no_writes(self, keep: AsyncCheckpointRepository) -> None:
        await keep.put_writes("t", "1", [])
        await keep.put(checkpoint("1"))
        await keep.put_writes("t", "1", ())
        assert values(await keep.get("t")) == []

    def test_writes_of_sixteen_threads(self, repository: CheckpointRepository) -> None:
        repository.put(checkpoint("1"))
        start = threading.Barrier(16)

        def task(number: int) -> None:
            start.wait()
            for idx in range(5):
                repository.put_writes("t", "1", [write(f"{number} {idx}", task=f"task {number:02}", idx=idx)])
                repository.put_writes("t", "1", [write(f"by {number}", task="all", path="~", idx=idx)])

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(task, range(16)))
        saved = repository.get("t")
        assert values(saved)[:80] == [f"{number} {idx}" for number in range(16) for idx in range(5)]
        assert len(values(saved)) == 85

    async def test_writes_of_sixteen_tasks(self, arepository: AsyncCheckpointRepository) -> None:
        await arepository.put(checkpoint("1"))

        async def task(number: int) -> None:
            for idx in range(5):
                await arepository.put_writes("t", "1", [write(f"{number} {idx}", task=f"task {number:02}", idx=idx)])

        async with anyio.create_task_group() as group:
            for number in range(16):
                group.start_soon(task, number)
        assert values(await arepository.get("t")) == [f"{number} {idx}" for number in range(16) for idx in range(5)]

    # -- listing

    async def test_list_order_and_conditions(self, keep: AsyncCheckpointRepository) -> None:
        for checkpoint_id, namespace, run in [("2", "", 1), ("1", "b", 1), ("1", "a", 2), ("3", "a", 1), ("1", "", 2)]:
            await keep.put(checkpoint(checkpoint_id, namespace=namespace, metadata={"run": run, "id": checkpoint_id}))
        await keep.put(checkpoint("9", thread="u"))

        async def found(**query: Any) -> list[tuple[str, str]]:
            return [(saved.checkpoint_id, saved.namespace) async for saved in keep.list("t", **query)]

        everything = [("3", "a"), ("2", ""), ("1", ""), ("1", "a"), ("1", "b")]
        assert await found() == everything
        assert await found(namespace="") == [("2", ""), ("1", "")]
        assert await found(namespace="none") == []
        assert await found(checkpoint_id="1") == everything[2:]
        assert await found(checkpoint_id="1", namespace="a") == [("1", "a")]
        assert await found(before="2") == everything[2:]
        assert await found(before="25") == everything[1:]  # the id of nothing
        assert await found(before="0") == []
        assert await found(before="2", checkpoint_id="2") == []
        assert await found(metadata={"run": 1}) == [("3", "a"), ("2", ""), ("1", "b")]
        assert await found(metadata={"run": 1, "id": "1"}) == [("1", "b")]
        assert await found(metadata={"run": "1"}) == []
        assert await found(metadata={"absent": None}) == everything
        assert await found(metadata={"run": None}) == []
        assert await found(metadata={}) == everything
        for limit in range(7):
            assert await found(limit=limit) == everything[:limit]
            assert await found(metadata={"run": 2}, limit=limit) == [("1", ""), ("1", "a")][:limit]

    async def test_metadata_filter_with_exact_values(self, keep: AsyncCheckpointRepository) -> None:
        await keep.put(checkpoint("1", metadata={"a": (1, b"x"), "b": {"c": [dt.date(2024, 1, 1)]}}))
        assert await ids(keep.list(metadata={"a": (1, b"x")})) == ["1"]
        assert await ids(keep.list(metadata={"b": {"c": [dt.date(2024, 1, 1)]}})) == ["1"]
        assert await ids(keep.list(metadata={"a": [1, b"x"]})) == []
        assert await ids(keep.list(metadata={"b": {}})) == []

    async def test_long_listings(self, keep: AsyncCheckpointRepository) -> None:
        expected = [f"{number:03}" for number in reversed(range(45))]
        for number in range(45):
            namespace = "even" if number % 2 == 0 else "odd"
            await keep.put(checkpoint(f"{number:03}", namespace=namespace, metadata={"tenth": number % 10 == 0}))
        assert await ids(keep.list("t")) == expected
        assert await ids(keep.list()) == expected
        assert await ids(keep.list("t", namespace="odd")) == expected[1::2]
        for limit in (0, 1, 19, 20, 21, 39, 40, 41, 45, 100):
            assert await ids(keep.list("t", limit=limit)) == expected[:limit]
            assert await ids(keep.list(limit=limit)) == expected[:limit]
        assert await ids(keep.list("t", metadata={"tenth": True})) == ["040", "030", "020", "010", "000"]
        others = [name for name in expected if not name.endswith("0")]
        assert await ids(keep.list("t", metadata={"tenth": False})) == others
        assert await ids(keep.list(metadata={"tenth": False}, limit=33)) == others[:33]
        assert await ids(keep.list("t", metadata={"tenth": True}, limit=1, before="040")) == ["030"]

    async def test_a_page_that_ends_between_namespaces(self, keep: AsyncCheckpointRepository) -> None:
        names = [f"n{number:02}" for number in range(45)]
        for namespace in reversed(names):
            await keep.put(checkpoint("1", namespace=namespace))
        for found in (keep.list("t"), keep.list(), keep.list("t", checkpoint_id="1")):
            assert [saved.namespace async for saved in found] == names

    async def test_list_of_all_threads(self, keep: AsyncCheckpointRepository) -> None:
        for thread_id in ("b", "a", "c"):
            for number in range(15):
                await keep.put(checkpoint(f"{number:02}", thread=thread_id))
            await anyio.sleep(0.01)
        await keep.put(checkpoint("00", thread="b"))
        found = [(saved.thread_id, saved.checkpoint_id) async for saved in keep.list()]
        expected = [(thread_id, f"{number:02}") for thread_id in "bca" for number in reversed(range(15))]
        assert found == expected
        assert await ids(keep.list(limit=17, checkpoint_id="03")) == ["03"] * 3
        assert await ids(keep.list(limit=0)) == []

    async def test_a_listing_that_is_left_early(self, keep: AsyncCheckpointRepository) -> None:
        for number in range(30):
            await keep.put(checkpoint(f"{number:02}"))
        async with aclosing(cast(Any, keep.list("t"))) as items:
            async for saved in items:
                assert saved.checkpoint_id == "29"
                break
        assert len(await ids(keep.list("t"))) == 30

    async def test_changes_while_listing(self, keep: AsyncCheckpointRepository) -> None:
        for number in range(60):
            await keep.put(checkpoint(f"{number:02}", metadata={"run_id": f"{number // 10}"}))
        found = []
        async for saved in keep.list("t"):
            found.append(saved.checkpoint_id)
            if saved.checkpoint_id == "55":
                await keep.put(checkpoint("99"))
                await keep.delete_runs(["0", "1", "5"])
        assert found == sorted(set(found), reverse=True)
        assert {f"{number:02}" for number in range(20, 50)} <= set(found)
        assert "99" not in found
        assert not {f"{number:02}" for number in range(10)} & set(found)

    async def test_what_is_put_meanwhile_keeps_the_order(self, keep: AsyncCheckpointRepository) -> None:
        for number in range(22):
            await keep.put(checkpoint(f"{number:02}"))
        for namespace in ("before", "n"):
            await keep.put(checkpoint("00", namespace=namespace))
        found = []
        async for saved in keep.list("t"):
            found.append((saved.checkpoint_id, saved.namespace))
            if len(found) == 1:
                await keep.put(checkpoint("15", namespace="n"))
        assert found == sorted(found, key=lambda place: (-int(place[0]), place[1]))
        assert len(set(found)) == len(found) >= 24

    async def test_list_while_all_is_deleted(self, keep: AsyncCheckpointRepository) -> None:
        for number in range(45):
            await keep.put(checkpoint(f"{number:02}"))
        found = []
        async for saved in keep.list():
            found.append(saved.checkpoint_id)
            await keep.delete_thread("t")
        assert found == sorted(found, reverse=True)
        assert len(found) < 45

    # -- threads

    async def test_list_threads(self, keep: AsyncCheckpointRepository) -> None:
        before = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=5)
        for thread_id in ("b", "a", "c", "b"):
            await keep.put(checkpoint("1", thread=thread_id, created_at=dt.datetime(2000, 1, 1, tzinfo=dt.UTC)))
            await anyio.sleep(0.01)
        threads = await listed(keep.list_threads())
        assert [thread.thread_id for thread in threads] == ["b", "c", "a"]
        assert all(before < thread.updated_at < before + dt.timedelta(minutes=10) for thread in threads)
        assert sorted(threads, key=lambda thread: thread.updated_at, reverse=True) == threads
        for limit in range(5):
            assert await listed(keep.list_threads(limit=limit)) == threads[:limit]
        assert await listed(keep.list_threads(after=threads[0])) == threads[1:]
        assert await listed(keep.list_threads(after=threads[0], limit=1)) == threads[1:2]
        assert await listed(keep.list_threads(after=threads[2])) == []
        await keep.delete_thread("c")
        assert await listed(keep.list_threads(after=threads[1])) == threads[2:]

    async def test_writes_do_not_update_a_thread(self, keep: AsyncCheckpointRepository) -> None:
        await keep.put(checkpoint("1", thread="a"))
        await anyio.sleep(0.01)
        await keep.put(checkpoint("1", thread="b"))
        await keep.put_writes("a", "1", [write("x")])
        assert [thread.thread_id async for thread in keep.list_threads()] == ["b", "a"]

    async def test_thread_prefixes_are_plain_text(self, keep: AsyncCheckpointRepository) -> None:
        names = [
            "user:1",
            "user:2",
            "user:10",
            "User:1",
            "u*er:1",
            "[u]ser",
            "user?",
            "us\x00er",
            "%75ser",
            "😀a",
            "😀",
        ]
        for thread_id in names:
            await keep.put(checkpoint("1", thread=thread_id))
        for prefix in ["", "user:1", "user:", "u*", "u*er", "[u]", "user?", "*", "?", "us\x00", "%75", "😀", "user:1 "]:
            found = {thread.thread_id async for thread in keep.list_threads(prefix=prefix)}
            assert found == {name for name in names if name.startswith(prefix)}

    async def test_many_threads(self, keep: AsyncCheckpointRepository) -> None:
        count = self.many(120)
        for number in range(count):
            await keep.put(checkpoint("1", thread=f"{'even' if number % 2 == 0 else 'odd'} {number:03}"))
        threads = await listed(keep.list_threads())
        assert len(threads) == len({thread.thread_id for thread in threads}) == count
        order = [(thread.updated_at, thread.thread_id) for thread in threads]
        assert order == sorted(order, reverse=True)
        even = [thread for thread in threads if thread.thread_id.startswith("even")]
        assert await listed(keep.list_threads(prefix="even")) == even
        for limit in (1, count // 2 - 5, count // 2, count // 2 + 1):
            assert await listed(keep.list_threads(prefix="even", limit=limit)) == even[:limit]
        assert await listed(keep.list_threads(prefix="even", after=threads[count // 3])) == [
            t for t in threads[count // 3 + 1 :] if t in even
        ]

    # -- ancestors

    async def test_ancestors(self, keep: AsyncCheckpointRepository) -> None:
        seed, writes = payload("seed"), {}
        channels: dict[str, dict[str, Channel]] = {
            "1": {"a": Channel.of(1, payload("older"))},
            "2": {"a": Channel.of(2, seed)},
            "3": {"a": Channel.replayed(3)},
            "4": {"a": Channel.empty(4)},
            "5": {"a": Channel.replayed(5)},
        }
        for checkpoint_id, of_checkpoint in channels.items():
            parent = str(int(checkpoint_id) - 1)
            await keep.put(checkpoint(checkpoint_id, parent=parent, channels=of_checkpoint))
            writes[checkpoint_id] = [write(f"{checkpoint_id}{idx}", idx=idx, channel="a") for idx in (0, 1)]
            await keep.put_writes(
                "t", checkpoint_id, [*reversed(writes[checkpoint_id]), write("other", idx=2, channel="b")]
            )
        await keep.put(checkpoint("45", parent="1", channels={"a": Channel.of(9, payload("fork"))}))

        found = await keep.ancestors("t", ["a", "b"])
        assert list(found["a"].writes) == [*writes["2"], *writes["3"], *writes["4"]]
        assert found["a"].seed == seed
        assert [pending.payload for pending in found["b"].writes] == [payload("other")] * 4
        assert found["b"].seed is None
        assert await keep.ancestors("t", ["a", "b"], checkpoint_id="5") == found
        assert (await keep.ancestors("t", ["a"], checkpoint_id="2"))["a"].seed == payload("older")
        assert list((await keep.ancestors("t", ["a"], checkpoint_id="3"))["a"].writes) == writes["2"]
        assert (await keep.ancestors("t", ["a"], checkpoint_id="1"))["a"].writes == ()
        assert (await keep.ancestors("t", ["a"], checkpoint_id="none"))["a"].writes == ()
        assert await keep.ancestors("t", []) == {}

    async def test_many_ancestors(self, keep: AsyncCheckpointRepository) -> None:
        count = self.many(120)
        for number in range(count):
            channels = {"a": Channel.of(0, payload("seed")) if number == 0 else Channel.replayed(number)}
            await keep.put(checkpoint(f"{number:03}", parent=f"{number - 1:03}", channels=channels))
            await keep.put_writes("t", f"{number:03}", [write(f"{number}", channel="a")])
        history = (await keep.ancestors("t", ["a"]))["a"]
        assert [pending.payload for pending in history.writes] == [payload(f"{number}") for number in range(count - 1)]
        assert history.seed == payload("seed")

    async def test_parents_in_a_circle(self, keep: AsyncCheckpointRepository) -> None:
        for checkpoint_id, parent in (("1", "3"), ("2", "1"), ("3", "2"), ("4", "4")):
            await keep.put(checkpoint(checkpoint_id, parent=parent, channels={"a": Channel.replayed(1)}))
            await keep.put_writes("t", checkpoint_id, [write(checkpoint_id, channel="a")])
        history = (await keep.ancestors("t", ["a"], checkpoint_id="3"))["a"]
        assert [pending.payload.data for pending in history.writes] == [b"1", b"2"]
        assert (await keep.ancestors("t", ["a"]))["a"].writes == ()
        await keep.prune(["t"], keep=2)
        assert await ids(keep.list("t")) == ["4", "3", "2", "1"]

    # -- deleting

    async def test_delete_thread(self, keep: AsyncCheckpointRepository) -> None:
        for thread_id in ("t", "u"):
            for namespace in ("", "n"):
                await keep.put(
                    checkpoint("1", thread=thread_id, namespace=namespace, channels={"a": Channel.of(1, payload("x"))})
                )
                await keep.put_writes(thread_id, "1", [write("w")], namespace=namespace)
                await keep.put_writes(thread_id, "2", [write("early")], namespace=namespace)
        await keep.put_writes("t", "7", [write("early")], namespace="only writes")
        await keep.delete_thread("t")
        await keep.delete_thread("t")
        assert await ids(keep.list("t")) == []
        assert [thread.thread_id async for thread in keep.list_threads()] == ["u"]
        assert await ids(keep.list("u")) == ["1", "1"]
        for namespace, checkpoint_id in (("", "1"), ("n", "2"), ("only writes", "7")):
            await keep.put(checkpoint(checkpoint_id, namespace=namespace))
            assert values(await keep.get("t", namespace=namespace)) == []
        assert values(await keep.get("u", namespace="n")) == ["w"]

    async def test_delete_runs(self, keep: AsyncCheckpointRepository) -> None:
        for thread_id in ("t", "u"):
            for namespace in ("", "n"):
                for number, run_id in enumerate(["r1", "r2", "r1", None, "r3"]):
                    await keep.put(
                        checkpoint(
                            str(number),
                            thread=thread_id,
                            namespace=namespace,
                            parent=str(number - 1) if number else None,
                            metadata={} if run_id is None else {"run_id": run_id},
                            channels={"a": Channel.earlier(1) if number else Channel.of(1, payload("x"))},
                        )
                    )
                    await keep.put_writes(thread_id, str(number), [write("w")], namespace=namespace)
        await keep.delete_runs(["r1", "unknown"])
        for thread_id in ("t", "u"):
            for namespace in ("", "n"):
                found = await listed(keep.list(thread_id, namespace=namespace))
                assert [(saved.checkpoint_id, saved.parent_id) for saved in found] == [
                    ("4", "3"),
                    ("3", None),
                    ("1", None),
                ]
                assert all(saved.channels == {"a": Channel.of(1, payload("x"))} for saved in found)
        await keep.put(checkpoint("2"))
        saved = await keep.get("t", checkpoint_id="2")
        assert values(saved) == []
        await keep.delete_runs(["r2", "r3"])
        newest = await keep.get("u")
        assert newest is not None
        assert newest.checkpoint_id == "3"

    async def test_delete_runs_forgets_an_emptied_thread(self, keep: AsyncCheckpointRepository) -> None:
        await keep.put(checkpoint("1", metadata={"run_id": "r"}, channels={"a": Channel.of(1, payload("x"))}))
        await keep.delete_runs(["r"])
        assert await keep.get("t") is None
        assert await listed(keep.list_threads()) == []
        assert await ids(keep.list()) == []

    async def test_a_run_id_put_again_under_another_run(self, keep: AsyncCheckpointRepository) -> None:
        await keep.put(checkpoint("1", metadata={"run_id": "r1"}))
        await keep.put(checkpoint("1", metadata={"run_id": "r2"}))
        await keep.put(checkpoint("2", metadata={"run_id": 1}))
        await keep.delete_runs(["r1", "1"])
        assert await ids(keep.list("t")) == ["2", "1"]
        await keep.delete_runs(["r2"])
        assert await ids(keep.list("t")) == ["2"]

    async def _chain(self, keep: AsyncCheckpointRepository) -> None:
        """1 to 6, of the runs r1 to r6; a value for "a" in 2, rebuilt from then on."""
        for number in range(1, 7):
            channels = {"a": Channel.of(number, payload(f"{number}")) if number <= 2 else Channel.replayed(number)}
            parent = str(number - 1) if number > 1 else None
            await keep.put(checkpoint(str(number), parent=parent, metadata={"run_id": f"r{number}"}, channels=channels))
            await keep.put_writes("t", str(number), [write(f"{number}", channel="a")])

    async def test_delete_runs_keeps_what_is_replayed(self, keep: AsyncCheckpointRepository) -> None:
        await self._chain(keep)
        await keep.delete_runs(["r1", "r2", "r3"])
        assert await ids(keep.list("t")) == ["6", "5", "4", "3", "2"]
        history = (await keep.ancestors("t", ["a"]))["a"]
        assert (history.seed, len(history.writes)) == (payload("2"), 4)
        await keep.delete_runs(["r6", "r5"])
        await keep.delete_runs(["r2", "r3", "r4"])
        assert await ids(keep.list("t")) == []

    async def test_prune_keeps_what_is_replayed(self, keep: AsyncCheckpointRepository) -> None:
        await self._chain(keep)
        expected = await keep.ancestors("t", ["a"])
        await keep.prune(["t"], keep=1)
        assert await ids(keep.list("t")) == ["6", "5", "4", "3", "2"]
        assert await keep.ancestors("t", ["a"]) == expected
        await keep.put(checkpoint("7", parent="6", channels={"a": Channel.of(7, payload("7"))}))
        await keep.prune(["t"], keep=1)
        assert await ids(keep.list("t")) == ["7"]

    async def test_delete_one_checkpoint(self, keep: AsyncCheckpointRepository) -> None:
        for namespace in ("", "n"):
            for number in range(4):
                await keep.put(
                    checkpoint(
                        str(number),
                        namespace=namespace,
                        parent=str(number - 1) if number else None,
                        metadata={"run_id": f"r{number}"},
                        channels={"a": Channel.earlier(1) if number else Channel.of(1, payload("x"))},
                    )
                )
                await keep.put_writes("t", str(number), [write("w")], namespace=namespace)
        assert await keep.delete("t", "0") is True
        assert await keep.delete("t", "2") is True
        for thread_id, namespace, checkpoint_id in (("t", "", "2"), ("t", "m", "1"), ("u", "", "1"), ("t", "", "4")):
            assert await keep.delete(thread_id, checkpoint_id, namespace=namespace) is False
        found = await listed(keep.list("t", namespace=""))
        assert [(saved.checkpoint_id, saved.parent_id) for saved in found] == [("3", None), ("1", None)]
        assert all(saved.channels == {"a": Channel.of(1, payload("x"))} for saved in found)
        assert await ids(keep.list("t", namespace="n")) == ["3", "2", "1", "0"]
        await keep.put(checkpoint("2"))
        assert values(await keep.get("t", checkpoint_id="2")) == []
        assert values(await keep.get("t", checkpoint_id="3")) == ["w"]

    async def test_the_newest_one_is_deleted(self, keep: AsyncCheckpointRepository) -> None:
        for number in range(1, 4):
            await keep.put(checkpoint(str(number), channels={"a": Channel.of(number, payload(f"{number}"))}))
        for number in (3, 2):
            assert await keep.delete("t", str(number)) is True
            newest = await keep.get("t")
            assert newest is not None
            assert (newest.checkpoint_id, newest.channels) == (
                str(number - 1),
                {"a": Channel.of(number - 1, payload(f"{number - 1}"))},
            )
        with pytest.raises(MissingChannels):
            await keep.put(checkpoint("4", channels={"a": Channel.earlier(3)}))
        assert await keep.delete("t", "1") is True
        assert await keep.get("t") is None
        assert await listed(keep.list_threads()) == []
        assert await ids(keep.list()) == []

    async def test_one_that_others_are_rebuilt_from_is_not_deleted(self, keep: AsyncCheckpointRepository) -> None:
        await self._chain(keep)
        before = await keep.ancestors("t", ["a"])
        for needed in ("2", "4", "5"):
            with pytest.raises(Conflict) as caught:
                await keep.delete("t", needed)
            assert caught.value.key == needed
        assert await ids(keep.list("t")) == ["6", "5", "4", "3", "2", "1"]
        assert await keep.ancestors("t", ["a"]) == before
        for number in ("1", "6", "5", "4", "3", "2"):
            assert await keep.delete("t", number) is True
        assert await ids(keep.list("t")) == []

    async def test_pending_writes_without_their_checkpoint_stay_when_it_is_to_be_deleted(
        self, keep: AsyncCheckpointRepository
    ) -> None:
        await keep.put_writes("t", "1", [write("early")])
        assert await keep.delete("t", "1") is False
        await keep.put(checkpoint("1"))
        assert values(await keep.get("t")) == ["early"]

    async def test_expected_head(self, keep: AsyncCheckpointRepository) -> None:
        with pytest.raises(Conflict) as caught:
            await keep.put(checkpoint("1"), expected_head="0")
        assert (caught.value.expected, caught.value.actual, caught.value.operation) == ("0", None, "put")
        assert await listed(keep.list_threads()) == []
        await keep.put(checkpoint("1"), expected_head=None)
        await keep.put(checkpoint("2", parent="1"), expected_head="1")
        channels = {"a": Channel.earlier(1)}
        for expected in (None, "1", "3", "\x00{2}"):
            with pytest.raises(Conflict) as caught:
                await keep.put(checkpoint("3", channels=channels), expected_head=expected)
            assert (caught.value.expected, caught.value.actual, caught.value.key) == (expected, "2", "3")
        assert await ids(keep.list("t")) == ["2", "1"]
        await keep.put(checkpoint("1", namespace="n"), expected_head=None)
        with pytest.raises(MissingChannels):
            await keep.put(checkpoint("3", channels=channels), expected_head="2")
        await keep.put(checkpoint("3", channels=channels), supply=lambda names: {"a": payload("x")}, expected_head="2")
        await keep.put(checkpoint("3", metadata={"again": True}, channels=channels), expected_head="2")
        newest = await keep.get("t")
        assert newest is not None
        assert (newest.metadata, newest.channels) == ({"again": True}, {"a": Channel.of(1, payload("x"))})
        await keep.put(checkpoint("0"), expected_head="3")  # one that is put behind the newest stays behind it
        await keep.put(checkpoint("4"), expected_head="3")
        await keep.put(checkpoint("5"), expected_head=ANY)
        assert await ids(keep.list("t", namespace="")) == ["5", "4", "3", "2", "1", "0"]

    async def test_expected_head_that_was_deleted(self, keep: AsyncCheckpointRepository) -> None:
        for number in ("1", "2"):
            await keep.put(checkpoint(number))
        await keep.delete("t", "2")
        with pytest.raises(Conflict) as caught:
            await keep.put(checkpoint("3"), expected_head="2")
        assert caught.value.actual == "1"
        await keep.put(checkpoint("3"), expected_head="1")
        await keep.delete_thread("t")
        with pytest.raises(Conflict):
            await keep.put(checkpoint("4"), expected_head="3")
        await keep.put(checkpoint("4"), expected_head=None)

    async def test_expected_head_that_is_not_there_is_no_update(self, keep: AsyncCheckpointRepository) -> None:
        await keep.put(checkpoint("1"))
        await keep.put(checkpoint("1", thread="u"))
        with pytest.raises(Conflict):
            await keep.put(checkpoint("2"), expected_head=None)
        assert [thread.thread_id async for thread in keep.list_threads()] == ["u", "t"]

    def test_expected_head_lets_one_of_many_puts_win(self, repository: CheckpointRepository) -> None:
        repository.put(checkpoint("0"))

        def race(number: int) -> bool:
            try:
                repository.put(checkpoint(f"1-{number}"), expected_head="0")
            except Conflict:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(race, range(8))) == 1
        assert len(list(repository.list("t"))) == 2

    @pytest.mark.parametrize("operation", ["prune", "delete_runs"])
    async def test_the_parent_stays_with_a_checkpoint_that_needs_it(
        self, keep: AsyncCheckpointRepository, operation: str
    ) -> None:
        for number in range(1, 5):
            await keep.put(
                checkpoint(
                    str(number),
                    parent=str(number - 1) if number > 1 else None,
                    channels={NEEDS_PARENT: Channel.replayed(1)},
                    metadata={"run_id": "newest" if number == 4 else "older"},
                )
            )
            await keep.put_writes("t", str(number), [write(f"of {number}")])
        await (keep.prune(["t"]) if operation == "prune" else keep.delete_runs(["older"]))
        assert [(one.checkpoint_id, values(one)) async for one in keep.list("t")] == [("4", ["of 4"]), ("3", ["of 3"])]

    async def test_what_is_kept_for_one_channel_keeps_what_its_others_need(
        self, keep: AsyncCheckpointRepository
    ) -> None:
        await keep.put(checkpoint("1", channels={"b": Channel.of(1, payload("b"))}))
        await keep.put(
            checkpoint("2", parent="1", channels={"a": Channel.of(2, payload("a")), "b": Channel.replayed(2)})
        )
        await keep.put(checkpoint("3", parent="2", channels={"a": Channel.replayed(3)}))
        await keep.prune(["t"], keep=1)
        assert await ids(keep.list("t")) == ["3", "2", "1"]

    async def test_prune(self, keep: AsyncCheckpointRepository) -> None:
        for thread_id in ("t", "u", "v"):
            for namespace in ("", "n"):
                for number in range(4):
                    channels = {"a": Channel.earlier(1) if number else Channel.of(1, payload("x"))}
                    parent = str(number - 1) if number else None
                    await keep.put(
                        checkpoint(str(number), thread=thread_id, namespace=namespace, parent=parent, channels=channels)
                    )
                    await keep.put_writes(thread_id, str(number), [write(f"{number}")], namespace=namespace)
        await keep.prune(["t", "u", "unknown", "t"], keep=2)
        for thread_id in ("t", "u"):
            for namespace in ("", "n"):
                found = await listed(keep.list(thread_id, namespace=namespace))
                assert [(saved.checkpoint_id, saved.parent_id, values(saved)) for saved in found] == [
                    ("3", "2", ["3"]),
                    ("2", None, ["2"]),
                ]
                assert all(saved.channels == {"a": Channel.of(1, payload("x"))} for saved in found)
        assert len(await ids(keep.list("v"))) == 8
        await keep.put(checkpoint("1"))
        pruned = await keep.get("t", checkpoint_id="1")
        assert values(pruned) == []
        await keep.prune(["u"])
        assert await ids(keep.list("u")) == ["3", "3"]
        await keep.prune(["u"], keep=5)
        assert await ids(keep.list("u")) == ["3", "3"]
        await keep.prune(["u", "v"], keep=0)
        assert [thread.thread_id async for thread in keep.list_threads()] == ["t"]

    async def test_prune_one_namespace(self, keep: AsyncCheckpointRepository) -> None:
        for namespace in ("", "n", "n:1"):
            for number in range(1, 6):
                await keep.put(checkpoint(str(number), namespace=namespace, metadata={"parents": {"": "1"}}))
                await keep.put_writes("t", str(number), [write("w")], namespace=namespace)
            await keep.put_writes("t", "0", [write("late")], namespace=namespace)
        assert await keep.prune(["t", "unknown"], keep=2, namespace="") == 3
        assert await keep.prune(["t"], keep=2, namespace="unknown") == 0
        assert await ids(keep.list("t", namespace="")) == ["5", "4"]
        for namespace in ("n", "n:1"):
            assert await ids(keep.list("t", namespace=namespace)) == ["5", "4", "3", "2", "1"]
        assert await keep.prune(["t", "t"], PrunePolicy(keep=0), namespace="n") == 5
        assert await ids(keep.list("t", namespace="n")) == []
        assert values(await keep.get("t", namespace="n:1")) == ["w"]
        assert await keep.prune(["t"], keep=1) == 5
        assert await keep.prune(["t"], keep=1) == 0
        assert await keep.prune(["t"], keep=0) == 2
        assert await listed(keep.list_threads()) == []

    async def test_prune_of_the_only_namespace_forgets_the_thread(self, keep: AsyncCheckpointRepository) -> None:
        await keep.put(checkpoint("1"))
        assert await keep.prune(["t"], keep=0, namespace="") == 1
        assert await listed(keep.list_threads()) == []
        assert await keep.get("t") is None

    async def test_prune_by_age(self, keep: AsyncCheckpointRepository) -> None:
        now = dt.datetime.now(dt.UTC)

        async def put(thread: str, *ages: int, namespace: str = "", **metadata: Any) -> None:
            for number, days in enumerate(ages):
                made = now - dt.timedelta(days=days)
                await keep.put(
                    checkpoint(str(number), thread=thread, namespace=namespace, created_at=made, metadata=metadata)
                )
                await keep.put_writes(thread, str(number), [write("x")], namespace=namespace)

        async def left(thread: str, namespace: str | None = None) -> list[str]:
            return await ids(keep.list(thread, namespace=namespace))

        month = dt.timedelta(days=30)
        await put("t", 90, 1, 60, 40, 3)  # the times need not be in order
        await keep.prune(["t"], PrunePolicy(keep=2, older_than=month))
        assert await left("t") == ["4", "3", "1"]
        await keep.prune(["t"], PrunePolicy(keep=0, older_than=2 * 86_400))
        assert await left("t") == ["1"]
        assert values(await keep.get("t")) == ["x"]
        await put("old", 90, 80)
        await put("old", 70, namespace="n")
        await keep.prune(["old"], PrunePolicy(older_than=month))
        assert await left("old") == ["1", "0"]
        await keep.prune(["old", "unknown"], PrunePolicy(keep=0, older_than=month))
        assert await left("old") == []
        assert [thread.thread_id async for thread in keep.list_threads()] == ["t"]
        assert await keep.reindex("old") == 0
        # A nested graph goes with its root, and otherwise by its own age.
        await put("n", 90, 1)
        await put("n", 2, namespace="of:0", parents={"": "0"})
        await put("n", 90, 2, namespace="of:1", parents={"": "1"})
        await put("n", 90, 2, namespace="plain", parents={"": "0"})
        await keep.prune(["n"], PrunePolicy(keep=0, older_than=month))
        assert await left("n", "") == ["1"]
        assert await left("n", "of:0") == []
        assert await left("n", "of:1") == await left("n", "plain") == ["1"]
        # What is rebuilt from older ones needs them.
        replayed = {"a": Channel.replayed(1)}
        await keep.put(
            checkpoint("1", thread="r", created_at=now - 9 * month, channels={"a": Channel.of(0, payload("v"))})
        )
        await keep.put(checkpoint("2", thread="r", created_at=now - 8 * month, parent="1", channels=replayed))
        await keep.put(checkpoint("3", thread="r", created_at=now, parent="2", channels=replayed))
        await keep.prune(["r"], PrunePolicy(keep=0, older_than=month))
        assert await left("r") == ["3", "2", "1"]

    @pytest.mark.parametrize(
        "older_than", [-1, -0.5, math.nan, math.inf, True, "30 days", 10**11, dt.timedelta(days=-1)]
    )
    async def test_bad_ages(self, keep: AsyncCheckpointRepository, older_than: Any) -> None:
        with pytest.raises(InvalidInput) as caught:
            PrunePolicy(older_than=older_than)
        assert caught.value.field == "older_than"

    async def test_bad_policies(self, keep: AsyncCheckpointRepository) -> None:
        await keep.put(checkpoint("1"))
        await keep.put(checkpoint("2"))
        for policy, number, field in ((1, None, "policy"), (PrunePolicy(), 1, "keep"), (None, -1, "keep")):
            with pytest.raises(InvalidInput) as caught:
                await keep.prune(["t"], cast(Any, policy), keep=number)
            assert caught.value.field == field
        with pytest.raises(InvalidInput) as caught:
            PrunePolicy(keep=-1)
        assert caught.value.field == "keep"
        assert await ids(keep.list("t")) == ["2", "1"]

    async def test_prune_keeps_writes_that_came_before_their_checkpoint(self, keep: AsyncCheckpointRepository) -> None:
        await keep.put(checkpoint("1"))
        await keep.put(checkpoint("2"))
        await keep.put_writes("t", "3", [write("early")])
        await keep.prune(["t"])
        await keep.put(checkpoint("3", parent="2"))
        assert values(await keep.get("t")) == ["early"]
        await keep.put_writes("t", "4", [write("early")])
        await keep.prune(["t"], keep=0)
        await keep.put(checkpoint("4"))
        assert values(await keep.get("t")) == []

    @pytest.mark.parametrize("operation", ["prune", "reindex"])
    async def test_writes_that_came_too_late_are_deleted(self, keep: AsyncCheckpointRepository, operation: str) -> None:
        for namespace in ("", "n", "of:1"):
            await keep.put(checkpoint("2", namespace=namespace))
            for number in ("1", "2", "3"):
                await keep.put_writes("t", number, [write(f"of {number}")], namespace=namespace)
        await keep.put_writes("t", "1", [write("of 1")], namespace="writes")
        await (keep.prune(["t"]) if operation == "prune" else keep.reindex("t"))
        for namespace in ("", "n", "of:1"):
            for number in ("1", "2", "3"):
                await keep.put(checkpoint(number, namespace=namespace))
            saved = {one.checkpoint_id: values(one) async for one in keep.list("t", namespace=namespace)}
            assert saved == {"1": [], "2": ["of 2"], "3": ["of 3"]}
        await keep.put(checkpoint("1", namespace="writes"))
        assert values(await keep.get("t", namespace="writes")) == ["of 1"]

    async def test_prune_takes_the_calls_of_nested_graphs_along(self, keep: AsyncCheckpointRepository) -> None:
        for number in (1, 2):
            await keep.put(checkpoint(f"r{number}"))
        nested: list[tuple[str, dict[str, Any]]] = [
            ("of:1", {"parents": {"": "r1"}}),
            ("of:2", {"parents": {"": "r2"}}),
            ("of:none", {}),
            ("of:unknown", {"parents": {"": "r0"}}),
            ("of:odd", {"parents": ["r1"]}),
            ("plain", {"parents": {"": "r1"}}),
        ]
        for namespace, metadata in nested:
            await keep.put(checkpoint("1", namespace=namespace, metadata={"parents": {"": "r2"}}))
            await keep.put(checkpoint("2", namespace=namespace, metadata=metadata))
            await keep.put_writes("t", "3", [write("early")], namespace=namespace)
        await keep.prune(["t"])
        found = {(saved.namespace, saved.checkpoint_id) async for saved in keep.list("t")}
        assert found == {("", "r2"), *((namespace, "2") for namespace, _ in nested[1:])}
        for namespace, expected in (("of:1", []), ("of:2", ["early"])):
            await keep.put(checkpoint("3", namespace=namespace))
            assert values(await keep.get("t", namespace=namespace)) == expected

    # -- copying

    async def test_copy_thread(self, keep: AsyncCheckpointRepository) -> None:
        await self._chain(keep)
        await keep.put(
            checkpoint("1", namespace="n", metadata={"m": (1,)}, channels={"x": Channel.of("v", payload("x"))})
        )
        await keep.put_writes("t", "9", [write("early")], namespace="n")
        source = await listed(keep.list("t"))
        await keep.copy_thread("t", "copy")
        copied = await listed(keep.list("copy"))
        assert [saved.model_copy(update={"thread_id": "t"}) for saved in copied] == source
        assert await listed(keep.list("t")) == source
        assert await keep.ancestors("copy", ["a"]) == await keep.ancestors("t", ["a"])
        await keep.delete_thread("t")
        assert await listed(keep.list("copy")) == copied
        assert [thread.thread_id async for thread in keep.list_threads()] == ["copy"]
        await keep.put(checkpoint("9", thread="copy", namespace="n", parent="1", channels={"x": Channel.earlier("v")}))
        newest = await keep.get("copy", namespace="n")
        assert newest is not None
        assert (values(newest), newest.channels) == (["early"], {"x": Channel.of("v", payload("x"))})

    async def test_copy_into_a_thread_that_exists(self, keep: AsyncCheckpointRepository) -> None:
        for thread_id, checkpoint_ids in (("t", ["1", "3"]), ("u", ["1", "2", "4"])):
            for checkpoint_id in checkpoint_ids:
                channels = {"a": Channel.of(1, payload(f"{thread_id}{checkpoint_id}"))}
                await keep.put(
                    checkpoint(checkpoint_id, thread=thread_id, metadata={"of": thread_id}, channels=channels)
                )
                writes = [write(f"{thread_id} first"), write(f"{thread_id} special", idx=-1)]
                await keep.put_writes(thread_id, checkpoint_id, writes)
        await keep.copy_thread("t", "u")
        await keep.copy_thread("t", "u")
        found = [
            (saved.checkpoint_id, saved.metadata["of"], saved.channels["a"].payload, values(saved))
            async for saved in keep.list("u")
        ]
        assert found == [
            ("4", "u", payload("u4"), ["u special", "u first"]),
            ("3", "t", payload("t3"), ["t special", "t first"]),
            ("2", "u", payload("u2"), ["u special", "u first"]),
            ("1", "t", payload("t1"), ["t special", "u first"]),
        ]

    async def test_a_copy_of_a_replayed_channel_finds_no_value_in_the_target(
        self, keep: AsyncCheckpointRepository
    ) -> None:
        await keep.put(checkpoint("1", channels={"a": Channel.replayed(1)}))
        await keep.copy_thread("t", "u")
        await keep.put(checkpoint("2", channels={"a": Channel.of(1, payload("later"))}))
        await keep.copy_thread("u", "t")
        copied = await keep.get("t", checkpoint_id="1")
        assert copied is not None
        assert copied.channels == {"a": Channel.replayed(1)}

    async def test_copied_runs_are_deleted_too(self, keep: AsyncCheckpointRepository) -> None:
        await keep.put(checkpoint("1", metadata={"run_id": "r"}))
        await keep.copy_thread("t", "u")
        await keep.delete_runs(["r"])
        assert await ids(keep.list()) == []

    async def test_copy_onto_itself(self, keep: AsyncCheckpointRepository) -> None:
        await self._chain(keep)
        before = await listed(keep.list("t"))
        threads = await listed(keep.list_threads())
        await keep.copy_thread("t", "t")
        assert await listed(keep.list("t")) == before
        assert await listed(keep.list_threads()) == threads

    async def test_a_copy_is_an_update_of_the_target(self, keep: AsyncCheckpointRepository) -> None:
        for thread_id in ("target", "source"):
            await keep.put(checkpoint("1", thread=thread_id))
            await anyio.sleep(0.01)
        await keep.copy_thread("source", "target")
        assert [thread.thread_id async for thread in keep.list_threads()] == ["target", "source"]

    # -- sizes, and the ends of threads

    async def test_measure_of_nothing(self, keep: AsyncCheckpointRepository) -> None:
        assert await keep.measure([]) == {}
        assert await keep.measure(["t", "u"]) == {}

    async def test_measure_counts(self, keep: AsyncCheckpointRepository) -> None:
        await keep.put(checkpoint("1"))
        await keep.put_writes("t", "1", [write("a"), write("b", idx=1), write("c", idx=-1)])
        await keep.put_writes("t", "1", [write("d", idx=-1)])
        await keep.put(checkpoint("2", parent="1"))
        await keep.put(checkpoint("1", namespace="n:1"))
        await keep.put(checkpoint("1", thread="u"))
        found = await keep.measure(["u", "t", "none", "t"])
        assert list(found) == ["u", "t"]
        assert [type(one) for one in found.values()] == [ThreadMeasure] * 2
        assert (found["t"].thread_id, found["u"].thread_id) == ("t", "u")
        assert (found["t"].checkpoints, found["t"].pending_writes, found["t"].namespaces) == (3, 3, 2)
        assert (found["u"].checkpoints, found["u"].pending_writes, found["u"].namespaces) == (1, 0, 1)
        assert found["t"].basis in ("memory", "lengths")
        assert found["t"].expires_at is None
        await keep.delete_thread("t")
        assert list(await keep.measure(["t", "u"])) == ["u"]

    async def test_measure_of_bytes(self, keep: AsyncCheckpointRepository) -> None:
        large = Channel.of(1, payload(random.Random(1).randbytes(20_000)))
        await keep.put(checkpoint("1", channels={"large": large}))
        first = (await keep.measure(["t"]))["t"].bytes
        assert 20_000 <= first < 45_000
        for name, parent in (("2", "1"), ("3", "2")):
            await keep.put(checkpoint(name, parent=parent, channels={"large": Channel.earlier(1)}))
        shared = (await keep.measure(["t"]))["t"].bytes
        assert 20_000 <= shared < 60_000
        another = Channel.of(2, payload(random.Random(2).randbytes(20_000)))
        await keep.put(checkpoint("4", parent="3", channels={"large": another}))
        more = (await keep.measure(["t"]))["t"].bytes
        assert more >= shared + 19_000
        value = Payload(encoding="raw", data=random.Random(3).randbytes(20_000))
        await keep.put_writes("t", "4", [PendingWrite(task_id="task", idx=0, channel="c", payload=value)])
        assert (await keep.measure(["t"]))["t"].bytes >= more + 19_000

    async def test_measure_of_many(self, keep: AsyncCheckpointRepository) -> None:
        names = [f"t{number}" for number in range(self.many(60))]
        for name in names:
            await keep.put(checkpoint("1", thread=name))
        found = await keep.measure(names)
        assert [(name, one.checkpoints) for name, one in found.items()] == [(name, 1) for name in names]

    async def test_measure_of_a_long_thread(self, keep: AsyncCheckpointRepository) -> None:
        count = self.many(120)
        for number in range(count):
            await keep.put(checkpoint(f"{number:03}"))
        assert (await keep.measure(["t"]))["t"].checkpoints == count

    async def test_measure_with_wrong_ids(self, keep: AsyncCheckpointRepository) -> None:
        for wrong in ("t", None, 1, [""], ["t", None], [TOO_LONG]):
            with pytest.raises(InvalidInput) as caught:
                await keep.measure(cast(Any, wrong))
            assert caught.value.field == "thread_ids"

    async def test_expire(self, keep: AsyncCheckpointRepository) -> None:
        self.needs(keep, "expire")
        assert not await keep.expire("t", 60)
        assert not await keep.expire("t", None)
        for namespace in ("", "n:1"):
            await keep.put(checkpoint("1", namespace=namespace, channels={"c": Channel.of(1, payload("one"))}))
            await keep.put_writes("t", "1", [write("a"), write("b", idx=-1)], namespace=namespace)
        await keep.put(checkpoint("1", thread="u"))
        before = [saved async for saved in keep.list("t")]
        for ttl in (3600.5, 60, None, 7200):
            now = await keep.now()
            assert await keep.expire("t", ttl)
            ends = (await keep.measure(["t"]))["t"].expires_at
            if ttl is None:
                assert ends is None
            else:
                assert ends is not None
                assert abs(ends - now - dt.timedelta(seconds=ttl)) < dt.timedelta(seconds=20)
            assert [saved async for saved in keep.list("t")] == before
            assert (await keep.get("t")) == before[0]
        assert (await keep.measure(["u"]))["u"].expires_at is None
        assert await keep.reindex("t") == 2
        assert (await keep.measure(["t"]))["t"].expires_at is not None

    async def test_a_thread_ends_by_expire(self, keep: AsyncCheckpointRepository) -> None:
        self.needs(keep, "expire")
        for thread in ("t", "u"):
            for name in ("1", "2"):
                value = Channel.of(int(name), payload("one"))
                await keep.put(checkpoint(name, thread=thread, metadata={"run_id": "r"}, channels={"c": value}))
            await keep.put(checkpoint("1", thread=thread, namespace="n:1"))
            await keep.put_writes(thread, "2", [write("a")])
            await keep.put_writes(thread, "9", [write("early")])
        assert await keep.expire("t", 0.5)
        await anyio.sleep(0.7)
        assert await ids(keep.list("t")) == []
        assert await keep.get("t") is None
        assert [thread.thread_id async for thread in keep.list_threads()] == ["u"]
        assert await keep.measure(["t"]) == {}
        assert not await keep.expire("t", None)
        assert len(await ids(keep.list("u"))) == 3
        await keep.put(checkpoint("1", channels={"c": Channel.of(3, payload("new"))}))
        assert await ids(keep.list("t")) == ["1"]
        assert values(await keep.get("t")) == []
        await keep.delete_runs(["r"])
        assert await ids(keep.list("u")) == ["1"]

    async def test_the_last_expire_counts(self, keep: AsyncCheckpointRepository) -> None:
        self.needs(keep, "expire")
        await keep.put(checkpoint("1", channels={"c": Channel.of(1, payload("one"))}))
        await keep.put_writes("t", "1", [write("a")])
        assert await keep.expire("t", 0.5)
        assert await keep.expire("t", None)
        await anyio.sleep(0.7)
        assert values(await keep.get("t")) == ["a"]
        assert await keep.expire("t", 3600)
        assert await keep.expire("t", 0.3)
        await anyio.sleep(0.5)
        assert await keep.get("t") is None

    async def test_what_is_put_after_expire_ends_as_ever(self, keep: AsyncCheckpointRepository) -> None:
        """Keep what a later checkpoint needs, and end what it does not need."""
        self.needs(keep, "expire")
        kept, gone = Channel.of(1, payload("kept")), Channel.of(1, payload("gone"))
        await keep.put(checkpoint("1", channels={"kept": kept, "gone": gone}))
        assert await keep.expire("t", 0.6)
        await keep.put_writes("t", "1", [write("a"), write("b", idx=-1)])
        await keep.put(checkpoint("2", parent="1", channels={"kept": Channel.earlier(1)}))
        await anyio.sleep(0.8)
        [saved] = [saved async for saved in keep.list("t")]
        assert (saved.checkpoint_id, saved.channels) == ("2", {"kept": kept})
        assert (await keep.get("t")) == saved
        measure = (await keep.measure(["t"]))["t"]
        assert (measure.checkpoints, measure.pending_writes, measure.expires_at) == (1, 0, None)
        assert [thread.thread_id async for thread in keep.list_threads()] == ["t"]
        await keep.put(checkpoint("3", parent="2", channels={"kept": Channel.earlier(1)}))
        assert await ids(keep.list("t")) == ["3", "2"]

    async def test_a_long_thread_ends_by_expire(self, keep: AsyncCheckpointRepository) -> None:
        self.needs(keep, "expire")
        count = self.many(450)
        for number in range(count):
            channels = {"c": Channel.of(number, payload(f"{number}")), "d": Channel.earlier(1, required=False)}
            await keep.put(checkpoint(f"{number:03}", channels=channels))
            if number % 3 == 0:
                await keep.put_writes("t", f"{number:03}", [write("a")])
        assert await keep.expire("t", 3600)
        assert (await keep.measure(["t"]))["t"].expires_at is not None
        assert len(await ids(keep.list("t"))) == count
        assert await keep.expire("t", None)
        assert (await keep.measure(["t"]))["t"].expires_at is None
        assert await keep.expire("t", 1)
        await anyio.sleep(1.2)
        assert await ids(keep.list("t")) == []
        assert await keep.measure(["t"]) == {}

    async def test_wrong_ends_of_threads(self, keep: AsyncCheckpointRepository) -> None:
        for wrong in (0, -1, 0.0, math.nan, math.inf, True, "60", 10**11):
            with pytest.raises(InvalidInput) as caught:
                await keep.expire("t", cast(Any, wrong))
            assert caught.value.field == "ttl"
        with pytest.raises(InvalidInput) as caught:
            await keep.expire("", 1)
        assert caught.value.field == "thread_id"

    def needs(self, keep: AsyncCheckpointRepository, method: str) -> None:
        """Skip a test of a method that the backend need not have."""
        if not hasattr(keep.backend, method):
            pytest.skip(f"the backend has no method {method}")

    # -- the rest

    async def test_reindex(self, keep: AsyncCheckpointRepository) -> None:
        await self._chain(keep)
        await keep.put(checkpoint("1", namespace="n"))
        await keep.put_writes("t", "2", [write("early")], namespace="n")
        before = await listed(keep.list())
        assert await keep.reindex("t") == 7
        assert await listed(keep.list()) == before
        assert (await keep.get("t")) == before[0]
        assert await keep.reindex("u") == 0

    async def test_ping(self, keep: AsyncCheckpointRepository) -> None:
        seconds = await keep.ping()
        assert isinstance(seconds, float)
        assert seconds >= 0

    async def test_now(self, keep: AsyncCheckpointRepository) -> None:
        first, second = await keep.now(), await keep.now()
        assert first <= second
        assert first.utcoffset() == dt.timedelta(0)
        await keep.put(checkpoint("1"))
        third = await keep.now()
        [thread] = [thread async for thread in keep.list_threads()]
        assert first.replace(microsecond=0) <= thread.updated_at <= third + dt.timedelta(seconds=1)

    async def test_close_is_idempotent(self, keep: AsyncCheckpointRepository) -> None:
        await keep.put(checkpoint("1"))
        await keep.close()
        await keep.close()

    async def test_repr(self, keep: AsyncCheckpointRepository) -> None:
        assert type(keep.backend).__name__ in repr(keep)
