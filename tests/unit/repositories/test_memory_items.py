"""The memory backend of items: its clock, and when it forgets."""

from __future__ import annotations

import datetime as dt
import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from statekeep.domain import Conflict, DeleteItem, GetItem, InvalidInput, Item, PutItem, VectorIndex
from statekeep.repositories.items import ItemRepository
from statekeep.repositories.memory import MemoryItems
from statekeep.repositories.operation import arun, run
from statekeep.testing.comparison import Clock
from statekeep.testing.embedding import DIMS, letter_counts

N = ("n",)
START = 1_000_000.0


@pytest.fixture
def clock() -> Clock:
    return Clock(START)


@pytest.fixture
def keep(clock: Clock) -> ItemRepository:
    return ItemRepository(MemoryItems(ttl=1.5, clock=clock))


@pytest.fixture
def refreshing(clock: Clock) -> ItemRepository:
    return ItemRepository(MemoryItems(ttl=1.5, refresh_on_read=True, clock=clock))


def at(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(START, dt.UTC) + dt.timedelta(seconds=seconds)


def keys(keep: ItemRepository, namespace: tuple[str, ...] = N) -> list[str]:
    return [item.key for item in keep.list(namespace, refresh=False)]


@pytest.mark.parametrize("ttl", [0, -1, 1e300, math.nan, math.inf, True, "60", b"1"])
def test_bad_ttl(ttl: Any) -> None:
    with pytest.raises(InvalidInput, match="ttl") as caught:
        MemoryItems(ttl=ttl)
    assert caught.value.field == "ttl"


def test_without_ttl_nothing_expires(clock: Clock) -> None:
    keep = ItemRepository(MemoryItems(clock=clock, refresh_on_read=True))
    keep.put(N, "k", 1)
    clock.now += 1e9
    item = keep.get(N, "k")
    assert item is not None
    assert item.expires_at is None


# -- when items end


def test_whose_ttl_an_item_has(keep: ItemRepository, clock: Clock) -> None:
    assert keep.put(N, "default", 1).expires_at == at(1.5)
    assert keep.put(N, "its own", 1, ttl=3).expires_at == at(3)
    assert keep.put(N, "none", 1, ttl=None).expires_at is None
    keep.batch([PutItem(namespace=N, key="of a batch", value=1)])
    [appended] = keep.append(N, [1])
    assert set(keys(keep)) == {"default", "its own", "none", "of a batch", appended}
    clock.now += 1.499
    assert len(keys(keep)) == 5
    clock.now = START + 1.5
    assert keys(keep) == ["its own", "none"]
    clock.now = START + 3
    assert keys(keep) == ["none"]


@pytest.mark.parametrize(
    ("now", "ttl", "ends"),
    [
        (0.0, 1, 1),
        (0.0, 0.0001, 0.001),
        (0.0, 10.05, 10.05),
        (0.0004, 1, 1.001),
        (0.0001, 0.0009, 0.001),
        (0.000999, 0.002, 0.003),
        (0.5, 86400 * 36525, 86400 * 36525 + 0.5),
    ],
)
def test_expiry_is_rounded_up_to_milliseconds(clock: Clock, now: float, ttl: float, ends: float) -> None:
    clock.now = START + now
    item = ItemRepository(MemoryItems(clock=clock)).put(N, "k", 1, ttl=ttl)
    assert item.expires_at == at(ends)


def test_the_expired_vanish_from_every_answer(keep: ItemRepository, clock: Clock) -> None:
    for namespace in (N, ("n", "m"), ("o",)):
        keep.put(namespace, "short", 1)
    keep.put(N, "long", 1, ttl=5)
    clock.now += 2
    assert keep.get(N, "short") is None
    assert keep.batch([GetItem(namespace=("o",), key="short"), DeleteItem(namespace=N, key="short")]) == [None, False]
    assert [item.key for item in keep.search()] == ["long"]
    assert keep.list_namespaces() == [N]
    assert (keep.reindex(N), keep.reindex(("o",))) == (1, 0)
    assert keep.pop(("n", "m")) is None
    assert keep.clear(("o",)) == 0
    clock.now += 4
    assert "items=1" in repr(keep)  # nobody has looked since
    assert keep.clear(N) == 0
    assert "items=0" in repr(keep)


def test_a_life_after_the_end_is_a_new_one(keep: ItemRepository, clock: Clock) -> None:
    first = keep.put(N, "k", 1)
    keep.put(N, "k", 1)
    clock.now += 2
    with pytest.raises(Conflict) as caught:
        keep.put(N, "k", 1, expected=2)
    assert caught.value.actual is None
    second = keep.put(N, "k", 1, expected=None)
    assert second.version == 1
    assert second.created_at == second.updated_at > first.updated_at


def test_a_put_starts_the_time_anew(keep: ItemRepository, clock: Clock) -> None:
    keep.put(N, "again", 1)
    keep.put(N, "once", 1)
    keep.put(N, "for ever now", 1)
    clock.now += 1
    keep.put(N, "again", 2)
    keep.put(N, "for ever now", 2, ttl=None)
    clock.now += 1
    assert keys(keep) == ["again", "for ever now"]
    clock.now += 100
    assert keys(keep) == ["for ever now"]


# -- reading that starts the time anew


def test_a_refresh_goes_by_the_item_s_own_ttl(keep: ItemRepository, clock: Clock) -> None:
    keep.put(N, "k", 1, ttl=3)
    keep.put(N, "for ever", 1, ttl=None)
    clock.now += 2
    refreshed = keep.get(N, "k", refresh=True)
    assert refreshed is not None
    assert refreshed.expires_at == at(5)
    assert (refreshed.version, refreshed.updated_at) == (1, at(0))
    for_ever = keep.get(N, "for ever", refresh=True)
    assert for_ever is not None
    assert for_ever.expires_at is None
    clock.now += 2.9
    assert keep.get(N, "k") is not None
    clock.now += 0.2
    assert keep.get(N, "k") is None


@pytest.mark.parametrize("refresh", [None, True, False])
def test_refresh_on_read(keep: ItemRepository, refreshing: ItemRepository, clock: Clock, refresh: bool | None) -> None:
    for repository in (keep, refreshing):
        for key in ("got", "in a batch", "listed", "found", "unread"):
            repository.put((key,), key, key)
    clock.now += 1
    for repository in (keep, refreshing):
        read = [
            repository.get(("got",), "got", refresh=refresh),
            *repository.batch([GetItem(namespace=("in a batch",), key="in a batch", refresh=refresh)]),
            *repository.list(("listed",), refresh=refresh),
            *repository.search(("found",), refresh=refresh),
        ]
        is_refreshed = repository is refreshing if refresh is None else refresh
        assert [item and item.expires_at for item in read] == [at(2.5 if is_refreshed else 1.5)] * 4
    clock.now += 1
    for repository in (keep, refreshing):
        is_refreshed = repository is refreshing if refresh is None else refresh
        assert len(repository.search(refresh=False)) == (4 if is_refreshed else 0)


def test_a_conflict_refreshes_nothing(refreshing: ItemRepository, clock: Clock) -> None:
    refreshing.put(N, "k", 1)
    clock.now += 1
    with pytest.raises(Conflict):
        refreshing.batch([GetItem(namespace=N, key="k"), PutItem(namespace=N, key="k", value=2, expected=5)])
    clock.now += 1
    assert keys(refreshing) == []


def test_only_pages_that_are_read_are_refreshed(refreshing: ItemRepository, clock: Clock) -> None:
    refreshing.append(N, list(range(150)))
    clock.now += 1
    next(refreshing.list(N))
    clock.now += 1
    assert len(keys(refreshing)) == 100


# -- the clock


def test_a_clock_that_stands_or_goes_back(keep: ItemRepository, clock: Clock) -> None:
    items = [keep.put((f"{number % 2}",), f"{number}", 1, ttl=None) for number in range(3)]
    clock.now -= 100
    items += keep.batch([PutItem(namespace=N, key=f"{number}", value=1, ttl=None) for number in range(3)])
    assert [item.updated_at for item in items] == [at(number / 1e6) for number in range(6)]
    clock.now += 101
    assert keep.put(N, "later", 1).updated_at == at(1)
    assert [item.updated_at for item in keep.search()] == [at(1), *(at(number / 1e6) for number in range(5, -1, -1))]


def test_keys_of_appended_values(keep: ItemRepository, clock: Clock) -> None:
    number = int(START * 1e6)
    assert keep.append(N, [1, 2]) == [f"{number:020}", f"{number + 1:020}"]
    keep.clear(N)
    clock.now -= 100
    keep.put(N, f"{number + 3:020}", "mine")
    assert keep.append(N, [3, 4]) == [f"{number + 2:020}", f"{number + 4:020}"]
    clock.now += 101
    assert keep.append(N, [5]) == [f"{number + 1_000_000:020}"]


# -- the rest


def test_a_vector_of_zeros_is_as_far_as_can_be_without_being_opposite() -> None:
    index = VectorIndex(dims=DIMS, embed=letter_counts, fields=["text"])
    keep = ItemRepository(MemoryItems(index=index))
    for key, text in (("none", "123"), ("other", "b"), ("same", "a")):
        keep.put(N, key, {"text": text})
    assert [(item.key, item.score) for item in keep.search(query="a")] == [("same", 1), ("other", 0), ("none", 0)]
    assert [item.score for item in keep.search(query="?")] == [0, 0, 0]


def test_an_emptied_namespace_is_forgotten() -> None:
    backend = MemoryItems()
    keep = ItemRepository(backend)
    for number in range(10):
        keep.put((f"{number}",), "k", 1)
        keep.delete((f"{number}",), "k")
        keep.get((f"{number}",), "k")
    assert backend._namespaces == {}


def test_threads_take_turns() -> None:
    keep = ItemRepository(MemoryItems())

    def put() -> list[int]:
        return [keep.put(N, "k", number).version for number in range(100)]

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            versions = [version for future in [pool.submit(put) for _ in range(8)] for version in future.result()]
    finally:
        sys.setswitchinterval(interval)
    assert sorted(versions) == list(range(1, 801))


PROGRAM = """
import sys
sys.modules["numpy"] = None
import statekeep
items = statekeep.connect("memory:").items
items.put(("n",), "k", {"text": "a"})
assert len(items.search(query="a")) == 1
try:
    statekeep.connect("memory:", index={"dims": 2, "embed": len})
except statekeep.MissingDependency as error:
    print(error)
"""


def test_numpy_is_needed_for_an_index_alone() -> None:
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.stdout.strip() == "numpy is not installed; run: pip install 'statekeep[search]'", run.stderr


@pytest.mark.anyio
async def test_nothing_is_ever_asked_for() -> None:
    backend = MemoryItems()

    def ask() -> Any:
        return (yield "request")

    with pytest.raises(TypeError, match=r"MemoryItems.*request"):
        run(ask(), backend.execute)
    with pytest.raises(TypeError, match=r"MemoryItems.*request"):
        await arun(ask(), backend.aexecute)


def test_repr() -> None:
    backend = MemoryItems(ttl=60)
    item = ItemRepository(backend).put(N, "k", 1)
    assert isinstance(item, Item)
    assert repr(backend) == "MemoryItems(ttl=60.0, refresh_on_read=False, items=1)"
