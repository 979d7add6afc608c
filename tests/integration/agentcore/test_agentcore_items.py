"""Items in AgentCore Memory: what they cost, races, crashes, and what is left in the lanes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from statekeep import copy as copy_all
from statekeep.domain import (
    ANY,
    Checkpoint,
    Conflict,
    CorruptRecord,
    GetItem,
    InvalidInput,
    Item,
    ListItems,
    Payload,
    PutItem,
    Unavailable,
    Unsupported,
)
from statekeep.repositories.agentcore import AgentCoreCheckpoints, AgentCoreItems
from statekeep.repositories.agentcore.ids import Lane
from statekeep.repositories.agentcore.items import compact, settings, write
from statekeep.repositories.agentcore.items.index import IndexReader
from statekeep.repositories.agentcore.items.layout import TOKENS, NamespaceLanes
from statekeep.repositories.agentcore.lanes import Lanes
from statekeep.repositories.aws import AwsCalls, open_client
from statekeep.repositories.checkpoints import CheckpointRepository
from statekeep.repositories.items import ItemRepository
from statekeep.repositories.memory import MemoryItems
from statekeep.repositories.operation import run
from statekeep.repositories.records.framing import Record, records
from statekeep.testing.aws import AgentCoreRules, AwsEmulator, cut_after, cut_before, throttle

from .emulated import PATIENT, Memory, ahead, cost, framed, hold_the_first, hurry

QUICK = os.environ.get("HYPOTHESIS_PROFILE", "quick") == "quick"

N = ("users", "ada")


Open = Callable[..., ItemRepository]


@pytest.fixture
def opened(memory: Memory, boto_client: Any) -> Open:
    """Open the same memory, as if by another process."""

    def opened(**options: Any) -> ItemRepository:
        client = open_client("bedrock-agentcore", client=boto_client)
        return ItemRepository(AgentCoreItems(client, memory.id, **options))

    return opened


def events(memory: Memory, lane: Any) -> int:
    return len(memory.events(lane.session, lane.actor))


# -- what it costs


def test_calls_and_rounds(memory: Memory, opened: Open) -> None:
    keep, other = opened(), opened()
    text = {"text": "x" * 1000}
    expected: list[tuple[ItemRepository, Callable[[], Any], tuple[int, int]]] = [
        (keep, lambda: keep.put(N, "k", text), (3 + 2 + 2 * 2, 3)),  # depth 2, two new nodes
        (keep, lambda: keep.put(N, "k2", text), (3, 2)),
        (other, lambda: other.put(N, "k2", text), (3 + 2, 2)),
        (keep, lambda: keep.get(N, "k"), (1, 1)),
        (keep, lambda: keep.get(N, "none"), (1, 1)),
        (keep, lambda: keep.delete(N, "k"), (2 + 1, 3)),
        (keep, lambda: keep.delete(N, "k2"), (2 + 2, 3)),
        (keep, lambda: keep.delete(N, "k2"), (1, 1)),
        (keep, lambda: keep.put(N, "k", text), (4, 3)),  # after a deletion
    ]
    for number, (owner, call, want) in enumerate(expected):
        assert (number, cost(memory, owner, call)) == (number, want)
    with memory.aws.record() as calls:
        keep.batch([PutItem(namespace=("batch",), key=f"{number}", value=number) for number in range(100)])
    # And the tree's three. Entries of the index that wait for each other are one event, two at least.
    assert calls.operations["ListEvents"] == 101
    assert 104 <= calls.operations["CreateEvent"] <= 202
    with memory.aws.record() as calls:
        keep.put(("batch",), "0", "".join(chr(33 + number * 7 % 90) for number in range(1000)))
    assert calls.request_bytes <= 3000


@pytest.mark.parametrize("count", [10, 200])
def test_a_search_reads_what_it_returns(count: int, memory: Memory, opened: Open) -> None:
    keep = opened()
    text = "".join(chr(33 + number * number % 90) for number in range(1000))
    names = [f"{number:04}" for number in range(count)]
    keep.batch([PutItem(namespace=N, key=name, value=text) for name in names[:-20]])
    for name in names[-20:]:  # times of a batch's puts are in one millisecond, and read together
        keep.put(N, name, text)
    found = []
    with memory.aws.record() as calls:
        number, rounds = cost(memory, keep, lambda: found.extend(keep.search(N, limit=10)))
    assert [item.key for item in found] == names[:-11:-1]
    assert number <= 13
    assert rounds <= 3
    assert calls.response_bytes <= 40_000


def test_what_listings_cost(memory: Memory, opened: Open) -> None:
    keep = opened()
    large = "".join(chr(33 + number * number % 90) for number in range(100_000))
    for number in range(40):
        keep.put(N, f"{number:02}", large if number < 4 else number)
    found: list[Any] = []
    with memory.aws.record() as calls:
        query: Any = {"order": "updated", "reverse": True, "limit": 5}
        number, rounds = cost(memory, keep, lambda: found.extend(keep.list(N, **query)))
    assert [item.value for item in found] == [39, 38, 37, 36, 35]
    assert number <= 8
    assert rounds <= 3
    with memory.aws.record() as calls:
        assert list(keep.keys(N)) == [f"{number:02}" for number in range(40)]
    assert calls.operations["ListEvents"] == 41
    assert calls.response_bytes <= 60_000
    with memory.aws.record() as calls:
        assert [item.key for item in keep.list(N, order="updated")] == [f"{number:02}" for number in range(40)]
    assert calls.operations["ListEvents"] == 1 + 2 * 40 + 4


def test_a_batch_that_expects_does_not_list_and_then_write(opened: Open) -> None:
    keep = opened()
    first = keep.put(N, "k", 1)
    write = PutItem(namespace=N, key="k", value=2, expected=first)
    with pytest.raises(Unsupported):
        keep.batch([ListItems(namespace=N), write])
    assert keep.get(N, "k") == first
    second, found = keep.batch([write, ListItems(namespace=N)])
    assert found == [second]


# -- payloads


@pytest.mark.parametrize("size", [10, 100_000])
def test_a_damaged_payload_is_an_error(memory: Memory, opened: Open, size: int) -> None:
    keep = opened()
    payload = Payload(encoding="raw", data=b"\xff" * size)
    keep.put(N, "k", payload)
    lanes = NamespaceLanes(N)
    lane = lanes.item("k")
    if size > 1000:
        [name] = [name for name in memory.sessions(lanes.actor) if "-value-" in name]
        lane = Lane(lanes.actor, name)
    [event] = memory.events(lane.session, lane.actor)
    [[record], _] = records([event["payload"][0]["blob"]], "here")
    assert record.head["encoding"] == "raw"
    assert record.blobs == (payload.data,)
    for wrong in ({"encoding": 1}, {"encoding": ""}, {"encoding": None}):
        memory.delete(event["eventId"], lane.session, lane.actor)
        event = memory.create(
            framed(Record({**record.head, **wrong}, record.blobs)), session=lane.session, actor=lane.actor
        )
        with pytest.raises(CorruptRecord):
            keep.get(N, "k")


# -- compare and set


def test_sixteen_writers_make_every_version_once(opened: Open) -> None:
    keeps = [opened() for _ in range(16)]
    with ThreadPoolExecutor(16) as pool:
        items = list(pool.map(lambda keep: keep.put(N, "k", "x"), keeps))
    assert sorted(item.version for item in items) == list(range(1, 17))
    assert opened().get(N, "k") == max(items, key=lambda item: item.version)
    assert len(opened().search()) == 1


def test_sixteen_writers_who_expect_what_they_read_lose_nothing(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls are throttled, and answers are lost, so that tokens are used again."""
    hurry(monkeypatch)
    patient = memory.aws.client("bedrock-agentcore", config=PATIENT)

    def add(number: int) -> list[int]:
        versions = []
        with ItemRepository(AgentCoreItems(open_client("bedrock-agentcore", client=patient), memory.id)) as keep:
            for mine in (f"{number} a", f"{number} b"):
                while True:
                    item = keep.get(N, "k")
                    try:
                        done = keep.put(N, "k", [*(item.value if item else []), mine], expected=item)
                    except Conflict:
                        continue
                    versions.append(done.version)
                    break
        return versions

    memory.aws.faults = [throttle(rate=0.05), cut_after(rate=0.1)]
    try:
        with ThreadPoolExecutor(16) as pool:
            versions = [version for found in pool.map(add, range(16)) for version in found]
    finally:
        memory.aws.faults = []
    assert sorted(versions) == list(range(1, 33))
    item = ItemRepository(AgentCoreItems(open_client("bedrock-agentcore", client=patient), memory.id)).get(N, "k")
    assert item is not None
    assert item.version == 32
    assert sorted(item.value) == sorted(f"{number} {part}" for number in range(16) for part in "ab")


def test_a_refresh_is_no_conflict(opened: Open) -> None:
    keep, other = opened(), opened()
    item = keep.put(N, "k", 1, ttl=1000)
    assert other.get(N, "k", refresh=True) != item
    assert keep.put(N, "k", 2, expected=item).version == 2


def test_what_is_put_later_counts_whatever_the_clocks_say(opened: Open) -> None:
    keep = opened()
    assert ahead(keep, 3_600_000).put(N, "k", "ahead").version == 1
    for version in (2, 3):
        item = keep.put(N, "k", version)
        assert (item.version, keep.get(N, "k")) == (version, item)
    assert keep.delete(N, "k")
    assert keep.get(N, "k") is None


def test_a_memory_without_client_tokens() -> None:
    with AwsEmulator(agentcore=AgentCoreRules(honour_tokens=False)) as aws:
        client = open_client("bedrock-agentcore", session=aws.session())
        with ItemRepository(AgentCoreItems(client, aws.memory_id)) as keep:
            first = keep.put(N, "k", 1)
            expectations: list[Any] = [None, 1, first]
            for expected in expectations:
                with pytest.raises(Unsupported, match="client tokens"):
                    keep.put(N, "k", 2, expected=expected)
                with pytest.raises(Unsupported, match="client tokens"):
                    keep.delete(N, "k", expected=expected)
            assert keep.get(N, "k") == first
            assert keep.put(N, "k", 2, expected=ANY).version == 2


def test_tokens_are_tried_once(memory: Memory, opened: Open) -> None:
    keep = opened()
    for version in range(3):
        keep.put(N, "k", 1, expected=version or None)
    assert events(memory, TOKENS) == 1
    with pytest.raises(Conflict):
        keep.put(N, "k", 1, expected=2)


# -- crashes


class Crash(Exception):
    """The end of a process."""


def crashing(keep: ItemRepository, calls: int, order: Callable[[Sequence[Any]], Iterable[Any]]) -> None:
    """Let a process end after so many calls; those of a round are made one after the other, in an order."""
    execute = keep.backend.execute
    left = calls

    def crash(request: Any) -> Any:
        nonlocal left
        several = request.calls if isinstance(request, AwsCalls) else [request]
        replies: dict[int, Any] = {}
        for number, call in order(list(enumerate(several))):
            if left == 0:
                raise Crash
            left -= 1
            replies[number] = execute(call)
        found = [replies[number] for number in range(len(several))]
        return found if isinstance(request, AwsCalls) else found[0]

    keep.backend.execute = crash  # type: ignore[method-assign]


LARGE = "".join(chr(33 + number * number % 9000) for number in range(70_000))

CRASHES: dict[str, tuple[list[Any], Any]] = {
    "put": ([], "new"),
    "put large": ([], LARGE),
    "replace": (["older", "old"], "new"),
    "replace by large": (["old"], LARGE),
    "replace large": (["older" + LARGE, "old" + LARGE], "new"),
    "put after a deletion": (["old", None], "new"),
    "delete": (["older", "old"], None),
    "delete large": (["older" + LARGE, "old" + LARGE], None),
    "delete after a deletion": (["older" + LARGE, None, "old"], None),
}
"""Values that are there before, one after the other, and that which is put then; ``None`` for a deletion."""


@pytest.mark.parametrize(
    ("case", "order"),
    [
        pytest.param(case, order, id=f"{case}, {order.__name__}")
        for number, case in enumerate(CRASHES)
        for order in ((iter, reversed) if not QUICK else (reversed, iter)[number % 2 :][:1])
    ],
)
def test_a_crash_leaves_the_old_item_or_the_new_one(
    case: str, order: Callable[[Sequence[Any]], Iterable[Any]], memory: Memory, opened: Open
) -> None:
    history, new = CRASHES[case]
    for calls in range(30):
        namespace = (f"crash {calls}", "n")
        for value in history:
            _do(opened(), namespace, value)
        before = opened().get(namespace, "k")
        keep = opened()
        crashing(keep, calls, order)
        is_over = True
        try:
            _do(keep, namespace, new)
        except Crash:
            is_over = False
        now = _seen(opened, namespace)
        assert now == before or (now is None if new is None else now is not None and now.value == new)
        assert not is_over or (now.value if now else None) == new
        _do(opened(), namespace, new)
        again = _seen(opened, namespace)
        assert (again.value if again else None) == new
        assert again is None or again.version in ((now.version if now else 0), (now.version if now else 0) + 1)
        if new is None and now is not None:
            lanes = NamespaceLanes(namespace)
            assert events(memory, lanes.item("k")) == 1
            assert not [
                name for name in memory.sessions(lanes.actor, filter={"eventFilter": "HAS_EVENTS"}) if "-value-" in name
            ]
        if is_over:
            assert calls > 2
            return
    raise AssertionError("more calls than expected")


def _seen(opened: Open, namespace: tuple[str, ...]) -> Item | None:
    """Return an item, which every way of reading shows, or none does."""
    found = opened().get(namespace, "k")
    alone = [found] if found is not None else []
    assert opened().batch([GetItem(namespace=namespace, key="k")]) == [found]
    for items in (opened().list(namespace), opened().list(namespace, reverse=True, limit=1)):
        assert list(items) == alone
    hits = opened().search(namespace[:1])
    assert [(one.namespace, one.key, one.value, one.version) for one in hits] == [
        (one.namespace, one.key, one.value, one.version) for one in alone
    ]
    assert opened().list_namespaces(prefix=namespace[:1]) == [namespace][: len(alone)]
    return found


def _do(keep: ItemRepository, namespace: tuple[str, ...], value: Any) -> None:
    if value is None:
        keep.delete(namespace, "k")
    else:
        keep.put(namespace, "k", value)


# -- the lanes


def test_large_values_are_in_lanes_of_their_own(memory: Memory, opened: Open) -> None:
    keep = opened()
    large = "".join(chr(33 + number * number % 9000) for number in range(100_000))
    for value in (large, large + "2"):
        keep.put(N, "k", value)
    got = keep.get(N, "k")
    assert got is not None
    assert got.value == large + "2"
    assert [item.value for item in keep.search()] == [large + "2"]
    lanes = NamespaceLanes(N)
    assert len([name for name in memory.sessions(lanes.actor) if "-value-" in name]) == 2
    keep.delete(N, "k")
    left = memory.sessions(lanes.actor, filter={"eventFilter": "HAS_EVENTS"})
    assert left == {lanes.index.session, lanes.item("k").session}
    assert events(memory, lanes.item("k")) == 1


def test_a_value_that_is_gone_is_an_error(memory: Memory, opened: Open) -> None:
    keep = opened()
    keep.put(N, "k", "x" * 100_000)
    [name] = [name for name in memory.sessions(NamespaceLanes(N).actor) if "-value-" in name]
    [event] = memory.events(name, NamespaceLanes(N).actor)
    memory.delete(event["eventId"], name, NamespaceLanes(N).actor)
    with pytest.raises(CorruptRecord, match="value of an item is gone"):
        keep.get(N, "k")


def test_a_foreign_event_is_an_error(memory: Memory, opened: Open) -> None:
    lane = NamespaceLanes(N).item("k")
    memory.create("hello", session=lane.session, actor=lane.actor)
    with pytest.raises(CorruptRecord, match="not a record of Statekeep"):
        opened().get(N, "k")


def test_what_is_cleared_leaves_the_index(memory: Memory, opened: Open) -> None:
    keep = opened()
    keep.put(N, "k", 1)
    keep.put(N, "k", 2)
    assert keep.clear(N) == 1
    assert events(memory, NamespaceLanes(N).index) == 0
    assert events(memory, NamespaceLanes(N).item("k")) == 1
    keep.put(N, "k", 3)
    assert [item.value for item in keep.search()] == [3]


def test_reindex_repairs_and_compacts(memory: Memory, opened: Open) -> None:
    keep, lanes = opened(), NamespaceLanes(N)
    for number in range(3):
        keep.put(N, "k", number)
    keep.put(N, "gone", 1)
    keep.delete(N, "gone")
    for event in memory.events(lanes.index.session, lanes.actor):
        memory.delete(event["eventId"], lanes.index.session, lanes.actor)
    assert keep.search() == []
    assert keep.reindex(N) == 1
    assert [item.value for item in keep.search()] == [2]
    assert keep.reindex(N) == 1
    assert (events(memory, lanes.item("k")), events(memory, lanes.item("gone"))) == (1, 1)
    keep.put(N, "other", 1)
    keep.delete(N, "other")
    assert ahead(keep, 2 * settings.TOKEN_LIFE).reindex(N) == 1
    assert (events(memory, lanes.item("k")), events(memory, lanes.item("other"))) == (1, 0)
    assert events(memory, lanes.index) == 1


def test_puts_that_wait_for_each_other_share_an_event_of_the_index(
    memory: Memory, opened: Open, boto_client: Any
) -> None:
    keep, lanes = opened(), NamespaceLanes(N)
    keep.put(N, "first", 1)
    assert isinstance(keep.backend, AgentCoreItems)
    end = hold_the_first(boto_client, keep.backend._client, 9, lanes.actor)
    with ThreadPoolExecutor(10) as threads:
        list(threads.map(lambda key: keep.put(N, key, 1), map(str, range(10))))
    end()
    assert events(memory, lanes.index) == 3
    assert [item.key for item in keep.search(limit=20)] == [
        item.key for item in sorted(keep.list(N), key=lambda item: item.updated_at, reverse=True)
    ]
    shared = max(memory.events(lanes.index.session, lanes.actor), key=lambda event: len(event["payload"]))
    reader = IndexReader(N)
    reader.take({"events": [shared], "nextToken": "more"})
    assert max(entry.stamp for entry, _ in reader.entries) <= reader.bound
    *others, last = reader.names()
    assert len(others) == 8
    # The event stays as long as one of its keys needs it, and then it goes.
    for key in others:
        keep.delete(N, key)
    assert ahead(keep, 2 * settings.TOKEN_LIFE).reindex(N) == 3
    assert events(memory, lanes.index) == 3
    assert {item.key for item in keep.search(limit=20)} == {*map(str, range(10)), "first"} - {*others}
    keep.delete(N, last)
    assert ahead(keep, 2 * settings.TOKEN_LIFE).reindex(N) == 2
    assert events(memory, lanes.index) == 2
    assert keep.clear(N) == 2
    assert events(memory, lanes.index) == 0


def test_a_deletion_that_was_cut_off_stays_one(memory: Memory, opened: Open) -> None:
    keep, lanes = opened(), NamespaceLanes(N)
    keep.put(N, "k", 1)
    memory.aws.faults = [cut_before("DeleteEvent")]
    try:
        with pytest.raises(Unavailable):
            keep.delete(N, "k")
    finally:
        memory.aws.faults = []
    assert events(memory, lanes.item("k")) == 2
    assert ahead(keep, 2 * settings.TOKEN_LIFE).reindex(N) == 0
    assert events(memory, lanes.item("k")) == 0
    assert keep.get(N, "k") is None


def test_the_newest_is_first_whatever_the_clocks_say(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    keep = opened()
    late = time.time_ns() // 1000 + 3_600_000_000
    for key, moment in (("k", late), ("k", 1), ("k", 1), ("x", late + 1)):
        monkeypatch.setattr(write, "new_moment", lambda moment=moment: moment)
        keep.put(N, key, 1)
    assert [item.key for item in keep.search(limit=1)] == ["k"]
    assert [item.key for item in keep.search()] == ["k", "x"]


def test_what_is_read_is_stored_again(memory: Memory, opened: Open) -> None:
    keep, lanes = opened(renewal=3600), NamespaceLanes(N)
    item = keep.put(N, "k", {"large": "x" * 100_000})
    assert (keep.get(N, "k"), events(memory, lanes.item("k"))) == (item, 1)
    later = ahead(keep, 2 * 3600 * 1000)
    for found in (later.get(N, "k"), next(iter(later.list(N)))):
        assert found == item
        assert events(memory, lanes.item("k")) == 2
    assert len([name for name in memory.sessions(lanes.actor) if "-value-" in name]) == 2
    assert events(memory, lanes.index) == 2
    assert events(memory, NamespaceLanes(()).children) == 2


@pytest.mark.parametrize(
    ("field", "value"),
    [("ttl", 0), ("refresh_on_read", 1), ("renewal", 0), ("renewal", 45 * 86_400 + 1), ("event_expiry_days", -1)],
)
def test_wrong_arguments(field: str, value: Any, opened: Open) -> None:
    with pytest.raises(InvalidInput) as caught:
        opened(**{field: value})
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("now", "ttl", "end"),
    [(5_000_000, 0.0001, 6), (5_000_001, 1, 1006), (5_000_000, 1, 1005), (5_999_999, 1e-9, 6), (5, None, None)],
)
def test_the_end_of_an_item_is_never_too_early(now: int, ttl: float | None, end: int | None) -> None:
    one = settings.Settings(Lanes("m"), None, False, 1, 90, clock=lambda: now)
    assert one.end(ttl) == end


def test_a_put_beside_a_clear_is_in_the_index(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    keep, other = opened(), opened()
    monkeypatch.setattr(compact, "new_moment", lambda: 1)  # the other's clock is behind
    keep.put(N, "k", "old")
    execute = keep.backend.execute
    cleared: list[int] = []

    def interrupted(request: Any) -> Any:
        if cleared:
            return execute(request)
        # The index is written, then all is cleared, and then the item's lane is read.
        replies = {}
        for position, call in sorted(enumerate(request.calls), key=lambda one: one[1].operation):
            if call.operation == "ListEvents" and not cleared:
                cleared.append(other.clear(N))
            replies[position] = execute(call)
        return [replies[position] for position in range(len(request.calls))]

    monkeypatch.setattr(keep.backend, "execute", interrupted)
    item = keep.put(N, "k", "new")
    assert (cleared, item.version) == ([1], 1)
    assert [found.value for found in other.search()] == ["new"]
    assert list(other.list(N)) == [item]


# -- beside other records


def test_checkpoints_and_conversations_are_left_alone(memory: Memory, boto_client: Any, opened: Open) -> None:
    keep = opened()
    client = open_client("bedrock-agentcore", client=boto_client)
    backend = AgentCoreCheckpoints(client, memory.id, actor_id="ada")
    threads = CheckpointRepository(backend)
    memory.create("hello", session="chat", actor="ada")
    threads.put(Checkpoint(thread_id="t", checkpoint_id="1"))
    item = keep.put(N, "k", 1)
    assert [thread.thread_id for _, thread in run(backend.every_thread(), backend.execute)] == ["t"]
    threads.delete_thread("t")
    assert keep.get(N, "k") == item
    threads.put(Checkpoint(thread_id="t", checkpoint_id="2"))
    assert keep.clear((), below=True) == 1
    assert (saved := threads.get("t")) is not None
    assert saved.checkpoint_id == "2"
    assert memory.blobs("chat", "ada") == ["hello"]


def test_what_expires_leaves_the_others_alone() -> None:
    with AwsEmulator() as aws:
        memory = Memory(aws, aws.agentcore.create_memory(event_expiry_days=3))
        client = open_client("bedrock-agentcore", session=aws.session())
        keep = ItemRepository(AgentCoreItems(client, memory.id, event_expiry_days=3, renewal=86_400, ttl=60))
        threads = CheckpointRepository(AgentCoreCheckpoints(client, memory.id))
        memory.create("hello", session="t", at=datetime.now(UTC))
        threads.put(Checkpoint(thread_id="t", checkpoint_id="1"))
        stays = keep.put(("t",), "stays", 1, ttl=None)
        keep.put(("t",), "goes", 2)

        later = ahead(keep, 60_001)
        assert [item.key for item in later.list(("t",))] == ["stays"]
        assert later.reindex(("t",)) == 1  # what expired
        assert threads.get("t") is not None
        assert memory.blobs("t") == ["hello"]

        # What is read in time is stored again; the others' events end.
        days = 2 * 86_400
        aws.clock.advance(days)
        later = ahead(keep, days * 1000)
        assert later.get(("t",), "stays") == stays
        aws.clock.advance(days)
        assert memory.blobs("t") == []
        assert threads.get("t") is None
        later = ahead(keep, 2 * days * 1000)
        assert later.get(("t",), "stays") == stays
        assert [item.key for item in later.search()] == ["stays"]
        client.close()


def test_a_copy_and_back_is_equal(opened: Open) -> None:
    source, target, back = ItemRepository(MemoryItems()), opened(), ItemRepository(MemoryItems())
    for namespace, key, value in [((), "", None), (N, "k", {"a": [1, "é"]}), ((*N, "x"), "\x00", "\ud800")]:
        source.put(namespace, key, value, ttl=3600)
    copy_all(source, target)
    copy_all(target, back)
    found = [[(item.namespace, item.key, item.value) for item in keep.search()] for keep in (source, target, back)]
    assert len(found[0]) == 3
    assert sorted(found[0]) == sorted(found[1]) == sorted(found[2])
