"""Checkpoints in the emulated AgentCore Memory: what operations cost, where they may be cut off, what stays visible."""

from __future__ import annotations

import asyncio
import random
import string
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from statekeep.domain import (
    Channel,
    Checkpoint,
    CorruptRecord,
    InvalidInput,
    MissingChannels,
    Payload,
    PendingWrite,
    Unavailable,
    new_checkpoint_id,
)
from statekeep.repositories.agentcore import put as putting
from statekeep.repositories.agentcore import registry
from statekeep.repositories.agentcore.backend import AgentCoreCheckpoints
from statekeep.repositories.agentcore.get import Progress
from statekeep.repositories.agentcore.lanes import Lanes
from statekeep.repositories.agentcore.layout import ThreadPlace, actors_lane, run_lane, threads_actor
from statekeep.repositories.agentcore.listed import Listed, ListedReader, namespace_entry, read_on
from statekeep.repositories.agentcore.records import listing_record
from statekeep.repositories.agentcore.registry import note
from statekeep.repositories.aws import open_client
from statekeep.repositories.checkpoints import AsyncCheckpointRepository, CheckpointRepository
from statekeep.repositories.operation import run
from statekeep.repositories.records.framing import Record
from statekeep.testing.aws import AgentCoreRules, AwsEmulator, cut_after, cut_before, slow

from .emulated import ONE_ATTEMPT, Memory, clock_ahead, hold_the_first


@pytest.fixture(autouse=True)
def healthy(aws: AwsEmulator) -> Iterator[None]:
    yield
    aws.faults = []


Open = Callable[..., CheckpointRepository]


@pytest.fixture
def connect(memory: Memory, boto_client: Any) -> Open:
    """Opens a repository that knows nothing yet, as another process would."""

    def connect(**options: Any) -> CheckpointRepository:
        client = open_client("bedrock-agentcore", client=boto_client)
        chosen: dict[str, Any] = {"actor_id": "ada", "grace": 0} | options
        return CheckpointRepository(AgentCoreCheckpoints(client, memory.id, **chosen))

    return connect


@pytest.fixture
def keep(connect: Open) -> CheckpointRepository:
    return connect()


def letters(size: int, seed: object = 0) -> Payload:
    """Text that cannot be compressed much."""
    chance = random.Random(str(seed))
    return Payload(encoding="raw", data="".join(chance.choices(string.ascii_letters + string.digits, k=size)).encode())


def spaced(number: int) -> str:
    """An id of a millisecond of its own."""
    return f"0190a5f0-{number:04x}-7000-8000-000000000000"


def step(number: int, parent: str | None = None, **fields: Any) -> Checkpoint:
    return Checkpoint(
        thread_id="t", checkpoint_id=new_checkpoint_id(), parent_id=parent, metadata={"step": number}, **fields
    )


def write(text: str, task: str = "task", idx: int = 0) -> PendingWrite:
    return PendingWrite(task_id=task, idx=idx, channel="c", payload=Payload(encoding="raw", data=text.encode()))


def sessions(memory: Memory) -> dict[tuple[str, str], int]:
    """How many events each session has."""
    places = [(actor, session) for actor in memory.actors() for session in memory.sessions(actor)]
    found = {(actor, session): len(memory.events(session, actor)) for actor, session in places}
    return {place: count for place, count in found.items() if count}


# -- what it costs


def test_calls_of_writing(aws: AwsEmulator, keep: CheckpointRepository) -> None:
    large = letters(20_000)
    first = step(0, channels={"small": Channel.of(1, letters(100)), "large": Channel.of(1, large)})
    with aws.record() as calls:
        keep.put(first)
    # Of a thread that was not met before, the lists are read and written.
    assert calls.operations == {"ListEvents": 2, "CreateEvent": 6}
    parent = first
    for number, changed in ((1, 0), (2, 1), (3, 2)):
        channels = {
            "small": Channel.earlier(1),
            "large": Channel.earlier(1),
            "empty": Channel.earlier(1, required=False),
        }
        if number == 1:
            channels["empty"] = Channel.empty(1)
        channels |= {f"new {n}": Channel.of(number, letters(20_000, (number, n))) for n in range(changed)}
        child = step(number, parent.checkpoint_id, channels=channels)
        with aws.record() as calls:
            keep.put(child)
        # Whether the thread is still there is asked beside.
        assert calls.operations == {"ListEvents": 1, "CreateEvent": 2 + changed}
        parent = child
    with aws.record() as calls:
        keep.put_writes("t", parent.checkpoint_id, [write("x", idx=n) for n in range(150)])
    assert calls.operations == {"CreateEvent": 1}
    saved = keep.get("t")
    assert saved is not None
    assert (saved.channels["large"].payload, saved.channels["small"].payload) == (large, letters(100))


def test_a_put_after_a_get_reads_no_parent(aws: AwsEmulator, keep: CheckpointRepository, connect: Open) -> None:
    first = step(0, channels={"a": Channel.of(1, letters(100))})
    keep.put(first)
    other = connect()
    other.get("t")
    with aws.record() as calls:
        other.put(step(1, first.checkpoint_id, channels={"a": Channel.earlier(1)}))
    assert calls.operations == {"ListEvents": 1, "CreateEvent": 2}
    with aws.record() as calls:
        connect().put(step(2, first.checkpoint_id, channels={"a": Channel.earlier(1)}))
    # What the lists name, whether there is an index, and the parent.
    assert calls.operations == {"ListEvents": 3, "CreateEvent": 2}


@pytest.mark.parametrize("length", [10, 1000])
def test_calls_of_reading(length: int, aws: AwsEmulator, keep: CheckpointRepository, connect: Open) -> None:
    made = [step(number).model_copy(update={"checkpoint_id": spaced(number)}) for number in range(length)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(keep.put, made[:-1]))
    last = made[-1].model_copy(update={"channels": {"a": Channel.of(1, letters(20_000))}})
    keep.put(last)
    keep.put_writes("t", last.checkpoint_id, [write("x")])
    aws.faults = [slow(0.05)]
    with aws.record() as calls:
        newest = connect().get("t")
    assert newest is not None
    assert (newest.checkpoint_id, newest.channels) == (last.checkpoint_id, last.channels)
    # The index beside what the lists name, the checkpoint, its large value.
    assert (calls.operations, calls.rounds) == ({"ListEvents": 4}, 3)
    with aws.record() as calls:
        assert connect().get("t", checkpoint_id=last.checkpoint_id) == newest
    assert (calls.operations, calls.rounds) == ({"ListEvents": 2}, 2)
    for query in ({}, {"namespace": ""}):
        with aws.record() as calls:
            assert list(connect().list("t", limit=1, **query)) == [newest]  # type: ignore[arg-type]
        assert calls.operations == {"ListEvents": 4}


def test_bytes_of_a_hundred_steps(aws: AwsEmulator, keep: CheckpointRepository, connect: Open) -> None:
    parent: str | None = None
    with aws.record() as calls:
        for number in range(100):
            messages = Channel.of(number, letters(1000 * (number + 1), "messages"))
            document = Channel.earlier(1) if number else Channel.of(1, letters(100_000, "document"))
            put = step(number, parent, channels={"messages": messages, "document": document})
            keep.put(put)
            for task in ("a", "b"):
                keep.put_writes("t", put.checkpoint_id, [write(f"{number}", task)])
            parent = put.checkpoint_id
    # 84 values of the messages are larger than 16 KiB, and the document; three are of the lists.
    assert calls.operations == {"CreateEvent": 400 + 84 + 1 + 3, "ListEvents": 2 + 99}
    assert calls.request_bytes <= 950_000
    with aws.record() as calls:
        saved = connect().get("t")
    assert saved is not None
    assert saved.channels["messages"].payload == letters(100_000, "messages")
    assert calls.response_bytes <= 300_000


def test_the_number_of_namespaces_costs_nothing(
    aws: AwsEmulator, keep: CheckpointRepository, connect: Open, memory: Memory
) -> None:
    newest = step(0)
    for number in range(7):
        newest = step(number)
        keep.put(newest)
    place = ThreadPlace("ada", "t")
    entries = [namespace_entry(place, f"sub:{number}", "uuid7", 0) for number in range(950)]
    backend: Any = keep.backend
    appends = [(entry.lane, entry.record, datetime.now(UTC)) for entry in entries]
    run(Lanes(memory.id).append(appends), backend.execute)
    with aws.record() as calls:
        found = connect().get("t")
    assert found is not None
    assert found.checkpoint_id == newest.checkpoint_id
    assert calls.operations == {"ListEvents": 3}
    assert calls.response_bytes < 10_000
    with aws.record() as calls:
        for number in range(20):
            keep.put(step(0, namespace=f"new:{number}"))
    assert calls.operations == {"ListEvents": 40, "CreateEvent": 80}
    assert calls.response_bytes < 100_000
    with aws.record() as calls:
        connect().put(step(0, namespace="new:0"))
    # The actor's list is not read either: what the root's lane says is enough.
    assert calls.operations == {"ListEvents": 3, "CreateEvent": 2}
    assert len(list(connect().list("t", limit=30))) == 28


def forget_what_is_listed(memory: Memory) -> None:
    """Leave a thread as a former version stored it."""
    actor = ThreadPlace("ada", "t").own_actor
    for session in memory.sessions(actor):
        if session.startswith("statekeep-listed-"):
            for event in memory.events(session, actor):
                memory.delete(event["eventId"], session, actor)


def test_threads_of_a_former_version(
    aws: AwsEmulator, keep: CheckpointRepository, connect: Open, memory: Memory
) -> None:
    greatest = Checkpoint(thread_id="t", checkpoint_id="zz", metadata={"step": -1})
    keep.put(greatest)
    later = [step(number) for number in range(12)]
    for one in later:
        keep.put(one)
    forget_what_is_listed(memory)
    count = sum(sessions(memory).values())

    def newest(keep: CheckpointRepository) -> str:
        found = keep.get("t")
        assert found is not None
        assert [one.checkpoint_id for one in keep.list("t", namespace="", limit=1)] == [found.checkpoint_id]
        return found.checkpoint_id

    # The last of the index are of one order, and the greatest is of another.
    assert newest(connect()) == "zz"
    other = connect()
    other.put(step(12))
    # Checkpoint and index, the note, and the entry of the actor once more: its list is not read.
    assert sum(sessions(memory).values()) == count + 4
    assert newest(connect()) == "zz"
    for number in range(13, 20):
        other.put(step(number))
    assert newest(connect()) == "zz"
    keep.put(Checkpoint(thread_id="t", checkpoint_id="zzz"))
    assert newest(connect()) == "zzz"
    forget_what_is_listed(memory)
    assert connect().reindex("t") == 22
    assert newest(connect()) == "zzz"
    connect().delete_thread("t")
    assert sessions(memory) == {}


def test_what_is_listed_is_said_again_each_day(aws: AwsEmulator, connect: Open, memory: Memory) -> None:
    place, lanes = ThreadPlace("ada", "t"), Lanes(memory.id)
    backend: Any = connect().backend

    def read(calls: int) -> Listed:
        reader = ListedReader(place.listed(""))
        with aws.record() as recorded:
            reader.take(backend.execute(reader.call(lanes)))
            found = run(read_on(lanes, reader), backend.execute)
        assert len(recorded) == calls
        return found

    def append(listed: Listed, order: str, hours: float) -> None:
        one = note(place, "", listed, {order: int(hours)}, 10**18 + int(hours * 3_600_000) * 10**6)
        run(lanes.append([one]), backend.execute)

    append(Listed(), "text", 0)
    birth = read(1).births
    for day in range(1, 40):
        append(read(1), "uuid7", 24 * day)
    assert read(1).orders == {"text": frozenset({0}), "uuid7": frozenset(range(24 * 30, 24 * 40, 24))}
    assert read(1).births == birth
    # Programs that wrote in the same hour may not have seen what the others wrote, so all of these are read.
    seen = read(1)
    append(seen, "uuid6", 24 * 40)
    for number in range(25):
        append(seen, "uuid7", 24 * 40 + number / 100)
    assert read(3).orders.keys() == {"text", "uuid6", "uuid7"}
    # A clock that is behind.
    append(read(3), "uuid7", 1)
    assert read(3).orders["uuid7"] >= {1}


def test_pending_writes_of_parallel_tasks_share_events() -> None:
    """The service takes ten events a second for one session."""
    with AwsEmulator(agentcore=AgentCoreRules(quotas=True)) as aws:
        boto_client = aws.client("bedrock-agentcore", config=ONE_ATTEMPT)
        client = open_client("bedrock-agentcore", client=boto_client)
        backend = AgentCoreCheckpoints(client, aws.memory_id, grace=0)
        keep = CheckpointRepository(backend)
        first, second = step(0), step(1)
        keep.put(first)
        keep.put(second)
        end = hold_the_first(boto_client, client, 59)
        with aws.record() as calls, ThreadPoolExecutor(60) as pool:
            done = [
                pool.submit(keep.put_writes, "t", first.checkpoint_id, [write(f"{number}", f"task {number}", idx=-1)])
                for number in range(60)
            ]
            assert [future.exception() for future in done] == [None] * 60
        assert calls.operations == {"CreateEvent": 2}
        end()

        async def write_side_by_side() -> None:
            async with AsyncCheckpointRepository(backend) as akeep:
                end = hold_the_first(boto_client, client, 59)
                await asyncio.gather(
                    *(akeep.put_writes("t", second.checkpoint_id, [write(f"{n}", f"task {n}")]) for n in range(60))
                )
                end()
                saved = await akeep.get("t")
                assert saved is not None
                assert {one.task_id: one.payload.data for one in saved.pending_writes} == expected

        expected = {f"task {number}": f"{number}".encode() for number in range(60)}
        saved = keep.get("t", checkpoint_id=first.checkpoint_id)
        assert saved is not None
        assert {one.task_id: one.payload.data for one in saved.pending_writes} == expected
        # Later ones of a task replace it as before.
        keep.put_writes("t", first.checkpoint_id, [write("later", "task 7", idx=-1)])
        saved = keep.get("t", checkpoint_id=first.checkpoint_id)
        assert saved is not None
        assert [one.payload.data for one in saved.pending_writes if one.task_id == "task 7"] == [b"later"]
        with aws.record() as calls:
            asyncio.run(write_side_by_side())
        assert calls.operations == {"CreateEvent": 2, "ListEvents": 3}
        assert aws.totals.errors == {}


def test_new_namespaces_of_parallel_tasks_share_events_of_their_list() -> None:
    with AwsEmulator(agentcore=AgentCoreRules(quotas=True)) as aws:
        boto_client = aws.client("bedrock-agentcore", config=ONE_ATTEMPT)
        client = open_client("bedrock-agentcore", client=boto_client)
        backend = AgentCoreCheckpoints(client, aws.memory_id, actor_id="ada")
        keep = CheckpointRepository(backend)
        keep.put(step(0))

        async def put_side_by_side() -> None:
            akeep = AsyncCheckpointRepository(backend)
            await asyncio.gather(*(akeep.put(step(1, namespace=f"sub:{n}")) for n in range(25)))

        hold_the_first(boto_client, client, 24, threads_actor("ada"))
        with aws.record() as calls:
            asyncio.run(put_side_by_side())
        # Index, checkpoint and note of each, and two events of the list.
        assert calls.operations == {"ListEvents": 50, "CreateEvent": 77}
        assert (
            len(list(CheckpointRepository(AgentCoreCheckpoints(client, aws.memory_id, actor_id="ada")).list("t"))) == 26
        )


def test_what_is_put_last_counts_whatever_clocks_say(connect: Open) -> None:
    ahead, behind = connect(), connect()
    with clock_ahead(3600):
        ahead.put(Checkpoint(thread_id="t", checkpoint_id="1", metadata={"by": "ahead"}))
        ahead.put_writes("t", "1", [write("ahead", idx=-1), write("ahead", idx=0)])

    def found(keep: CheckpointRepository) -> Any:
        saved = keep.get("t", checkpoint_id="1")
        assert saved is not None
        return saved.metadata["by"], [one.payload.data.decode() for one in saved.pending_writes]

    assert found(behind) == ("ahead", ["ahead", "ahead"])
    for text in ("behind", "again"):
        behind.put_writes("t", "1", [write(text, idx=-1), write(text, idx=0)])
        # The special one is replaced, the other one stays.
        assert found(connect()) == ("ahead", [text, "ahead"])
    behind.put(Checkpoint(thread_id="t", checkpoint_id="1", metadata={"by": "behind"}))
    assert found(connect()) == ("behind", ["again", "ahead"])


def test_a_checkpoint_of_a_clock_that_is_ahead_loses_its_parent(connect: Open) -> None:
    ahead, behind = connect(), connect()
    first = step(0)
    behind.put(first)
    with clock_ahead(3600):
        ahead.put(step(1, first.checkpoint_id))
    behind.prune(["t"], keep=1)
    [saved] = behind.list("t")
    assert (saved.metadata, saved.parent_id) == ({"step": 1}, None)


@pytest.mark.parametrize("size", range(1000, 1024, 4))
def test_namespaces_that_are_almost_too_long_to_be_remembered(size: int, connect: Open) -> None:
    namespace = "n" * size
    here, there = connect(), connect()
    for number in range(3):
        for keep in (here, there):
            keep.put(step(number, namespace=namespace))
            assert keep.get("t", namespace=namespace) is not None
    assert len(list(connect().list("t"))) == 6


# -- threads that another process deletes


def test_a_thread_that_another_process_deleted_goes_on(aws: AwsEmulator, connect: Open, memory: Memory) -> None:
    large = letters(20_000)
    asked: list[list[str]] = []

    def supply(names: Collection[str]) -> dict[str, Payload]:
        asked.append(sorted(names))
        return dict.fromkeys(names, large)

    def child(parent: Checkpoint, number: int) -> Checkpoint:
        channels = {"large": Channel.earlier(1), "small": Channel.of(number, letters(10))}
        return step(number, parent.checkpoint_id, channels=channels).model_copy(
            update={"metadata": {"run_id": "r", "step": number}}
        )

    here, there = connect(), connect()
    backend: Any = there.backend
    first = step(0, channels={"large": Channel.of(1, large)})
    here.put(first)
    second = child(first, 1)
    here.put(second)
    there.delete_thread("t")
    third = child(second, 2)
    with aws.record() as calls:
        here.put(third, supply=supply)
    assert asked == [["large"]]
    # It is noticed beside the first event, and then all is looked up and stored as for a new thread.
    assert calls.operations["CreateEvent"] <= 1 + 7
    assert [thread.thread_id for thread in there.list_threads()] == ["t"]
    [saved] = there.list("t")
    assert saved.channels["large"].payload == large
    assert run(backend.actors_of_thread("t"), backend.execute) == ["ada"]
    assert run(backend.actors_of_run("r"), backend.execute) == ["ada"]

    # Somebody else puts a thread of the same id, and both go on.
    there.delete_thread("t")
    there.put(step(10))
    here.put(child(third, 3), supply=supply)
    assert asked == [["large"]] * 2
    assert [one.channels["large"].payload for one in connect().list("t") if one.channels] == [large]
    assert run(backend.actors_of_run("r"), backend.execute) == ["ada"]

    there.delete_thread("t")
    assert run(backend.actors_of_thread("t"), backend.execute) == []
    assert sessions(memory) == {}
    # Without a function that has the values, nothing is stored that lacks them.
    with pytest.raises(MissingChannels):
        here.put(child(third, 4))
    assert list(here.list("t")) == []


def test_nothing_found_is_nothing_known(aws: AwsEmulator, connect: Open) -> None:
    here, there = connect(), connect()
    put = step(0, channels={"a": Channel.of(1, letters(20_000))})
    here.put(put)
    there.delete_thread("t")
    assert here.get("t") is None
    with aws.record() as calls:
        here.put(put)
    # As the first put of a thread.
    assert calls.operations == {"ListEvents": 2, "CreateEvent": 6}
    assert [one.thread_id for one in there.list_threads()] == ["t"]


def test_a_thread_that_was_deleted_and_put_again_is_noticed_when_it_is_read(aws: AwsEmulator, connect: Open) -> None:
    here, there = connect(), connect()
    first = step(0, channels={"a": Channel.of(1, letters(20_000))})
    first.metadata["run_id"] = "r"
    here.put(first)
    there.delete_thread("t")
    there.put(step(1))
    assert here.get("t") is not None
    with pytest.raises(MissingChannels):
        here.put(step(2, first.checkpoint_id, channels={"a": Channel.earlier(1)}))
    again = step(3)
    again.metadata["run_id"] = "r"
    here.put(again)
    backend: Any = there.backend
    assert run(backend.actors_of_run("r"), backend.execute) == ["ada"]


# -- where it may be cut off


def seen(keep: CheckpointRepository) -> list[Any]:
    """All that can be read of the thread, in every way."""
    by_list = list(keep.list("t"))
    for one in by_list:
        assert keep.get("t", namespace=one.namespace, checkpoint_id=one.checkpoint_id) == one
    newest = keep.get("t")
    assert newest == next((one for one in by_list if one.namespace == ""), None)
    assert bool(by_list) == bool(list(keep.list_threads()))
    return by_list


@pytest.mark.parametrize("cut", [cut_before, cut_after], ids=["before", "after"])
@pytest.mark.parametrize("kind", ["first", "child", "replaced", "text ids"])
def test_a_put_that_is_cut_off_is_not_seen(
    kind: str, cut: Any, aws: AwsEmulator, connect: Open, memory: Memory
) -> None:
    large = {"a": Channel.of(1, letters(20_000, "a")), "b": Channel.of(1, letters(20_000, "b"))}
    first = step(0, channels={"c": Channel.of(1, letters(20_000, "c")), "d": Channel.of(1, letters(10))})
    earlier = {"c": Channel.earlier(1), "d": Channel.earlier(1)}
    put = step(1, first.checkpoint_id, channels={**large, **earlier})
    if kind == "first":
        put = step(1, channels=large)
    elif kind == "replaced":
        put = put.model_copy(update={"checkpoint_id": first.checkpoint_id, "parent_id": None})
    elif kind == "text ids":
        first, put = (one.model_copy(update={"checkpoint_id": name}) for one, name in ((first, "1"), (put, "2")))
        put = put.model_copy(update={"parent_id": "1"})
    put = put.model_copy(update={"metadata": {"run_id": "r"}})
    cuts = 0
    while True:
        keep = connect()
        keep.delete_thread("t")
        if kind != "first":
            keep.put(first)
        before = seen(keep)
        aws.faults = [cut("CreateEvent", skip=cuts)]
        try:
            keep.put(put)
        except Unavailable:
            aws.faults = []
            got = seen(keep)
            is_committed = cut is cut_after and got != before
            if is_committed:
                assert keep.get("t", checkpoint_id=put.checkpoint_id) is not None
            else:
                assert got == before
            assert seen(connect()) == got
            keep.put(put)
            cuts += 1
        else:
            aws.faults = []
            assert cuts >= 4
            break
        [saved] = [one for one in seen(connect()) if one.checkpoint_id == put.checkpoint_id]
        assert saved.metadata == {"run_id": "r"}
        assert saved.channels["a"] == large["a"]
        if kind != "first":
            assert {"c": saved.channels["c"], "d": saved.channels["d"]} == first.channels
        keep.delete_runs(["r"])
        keep.delete_thread("t")
        assert sessions(memory) == {}


def populated(keep: CheckpointRepository) -> None:
    parent: str | None = None
    for number in range(5):
        channels = {"a": Channel.of(number, letters(20_000, number)), "b": Channel.of(1, letters(20_000, "b"))}
        if number:
            channels["b"] = Channel.earlier(1)
        for namespace in ("", f"sub:{number}"):
            put = step(number, parent if namespace == "" else None, namespace=namespace, channels=channels)
            if namespace:
                put = put.model_copy(update={"channels": {"a": channels["a"]}})
            put.metadata.update(run_id=f"r{number % 2}", parents={"": parent} if namespace and parent else {})
            keep.put(put)
            keep.put_writes("t", put.checkpoint_id, [write("w")], namespace=namespace)
            if namespace == "":
                parent = put.checkpoint_id
    keep.put_writes("t", "later", [write("early")])


DELETIONS: dict[str, Callable[[CheckpointRepository], object]] = {
    "delete_thread": lambda keep: keep.delete_thread("t"),
    "prune": lambda keep: keep.prune(["t"], keep=1),
    "prune one namespace": lambda keep: keep.prune(["t"], keep=1, namespace=""),
    "delete_runs": lambda keep: keep.delete_runs(["r0"]),
}


@pytest.mark.parametrize("name", DELETIONS)
def test_a_deletion_that_is_cut_off_goes_on(name: str, aws: AwsEmulator, connect: Open, memory: Memory) -> None:
    delete = DELETIONS[name]
    keep = connect()
    populated(keep)
    delete(keep)
    expected = [(one.namespace, one.metadata, one.channels, one.pending_writes) for one in seen(keep)]
    expected_parents = [one.parent_id is None for one in seen(keep)]
    left = sum(sessions(memory).values())
    keep.delete_thread("t")
    assert sessions(memory) == {}

    populated(keep)
    kept_ids = None
    for cuts in range(1000):
        # Each attempt deletes eight events at most and is then cut off.
        aws.faults = [cut_after("DeleteEvent", skip=cuts % 9)]
        try:
            delete(connect())
        except Unavailable:
            aws.faults = []
            for one in keep.list("t"):
                assert one.channels["a"].payload is not None
            kept_ids = [one.checkpoint_id for one in keep.list("t")]
        else:
            break
    aws.faults = []
    delete(connect())
    assert kept_ids is not None
    got = seen(connect())
    assert [(one.namespace, one.metadata.keys(), one.channels, one.pending_writes) for one in got] == [
        (namespace, metadata.keys(), channels, writes) for namespace, metadata, channels, writes in expected
    ]
    assert [one.parent_id is None for one in got] == expected_parents
    # Notes of orphans and updates may be there once for each attempt.
    assert left <= sum(sessions(memory).values()) <= left + 60
    keep.delete_thread("t")
    # Only the list of a run may still name the thread, which does no harm.
    assert {actor for actor, _ in sessions(memory)} <= {"statekeep-runs"}


def test_what_a_deletion_of_one_checkpoint_left_goes_when_it_is_repeated(
    aws: AwsEmulator, connect: Open, memory: Memory
) -> None:
    keep = connect(grace=0)
    cuts = 0
    whole = None
    for skip in (None, *range(9)):
        first = step(1, channels={"a": Channel.of(1, letters(20_000, 1))})
        keep.put(first)
        keep.put_writes("t", first.checkpoint_id, [write("w")])
        second = step(2, first.checkpoint_id, channels={"a": Channel.of(2, letters(20_000, 2))})
        keep.put(second)
        if skip is not None:
            aws.faults = [cut_after("DeleteEvent", skip=skip)]
        try:
            assert keep.delete("t", first.checkpoint_id) is True
        except Unavailable:
            cuts += 1
            aws.faults = []
            keep.delete("t", first.checkpoint_id)
        aws.faults = []
        [left] = keep.list("t")
        assert (left.checkpoint_id, left.parent_id, left.channels) == (second.checkpoint_id, None, second.channels)
        values = [session for actor, session in sessions(memory) if "value" in session]
        index = sum(count for (actor, session), count in sessions(memory).items() if session == "t")
        whole = whole or (len(values), index)
        assert (len(values), index) == whole
        keep.delete_thread("t")
    assert cuts >= 3


def test_progress(connect: Open) -> None:
    reports: list[Progress] = []
    keep = connect(progress=reports.append)
    populated(keep)
    assert reports == []
    keep.delete_thread("t")
    assert all(report.thread_id == "t" for report in reports)
    events = [report.events for report in reports]
    assert events == sorted(events)
    assert events[0] > 0
    assert reports[-1].sessions == reports[-1].of_sessions > 20


# -- what is visible, and what is not


def test_the_thread_is_a_session_of_its_actor(keep: CheckpointRepository, memory: Memory) -> None:
    keep.put(step(0))
    keep.put(Checkpoint(thread_id="user:42", namespace="n"))
    assert memory.sessions("ada") == {"t"}
    assert {actor for actor in memory.actors() if not actor.startswith("ada:")} == {"ada", "statekeep-threads"}


def test_a_conversation_in_the_same_session(keep: CheckpointRepository, memory: Memory) -> None:
    message = {"conversational": {"content": {"text": "hi"}, "role": "USER"}}
    first, second = step(0), step(1)
    keep.put(first)
    for _ in range(7):
        memory.create(payload=[message], session="t", actor="ada")
    keep.put(second)
    now = datetime.now(UTC)
    for number in range(7):
        memory.create(payload=[message], session="t", actor="ada", at=now + timedelta(seconds=number))
    assert [one.checkpoint_id for one in keep.list("t")] == [second.checkpoint_id, first.checkpoint_id]
    newest = keep.get("t")
    assert newest is not None
    assert newest.checkpoint_id == second.checkpoint_id
    keep.delete_thread("t")
    assert sessions(memory) == {("ada", "t"): 14}


def talk(memory: Memory) -> None:
    """Add 40 messages of 50 KB to the session of the thread's root index."""
    message = {"conversational": {"content": {"text": "".join(map(str, range(11_000)))[:50_000]}, "role": "USER"}}
    now = datetime.now(UTC)
    for number in range(40):
        memory.create(payload=[message], session="t", actor="ada", at=now + timedelta(seconds=number))


def test_the_newest_behind_a_long_conversation_reads_little(connect: Open, memory: Memory) -> None:
    keep = connect()
    older, newest = step(0), step(1)
    for one in (older, newest):
        keep.put(one)
    talk(memory)
    for other in (keep, connect()):
        with memory.aws.record() as calls:
            saved = other.get("t")
        assert saved is not None
        assert saved.checkpoint_id == newest.checkpoint_id
        assert calls.response_bytes < 400_000
        assert calls.operations == {"ListEvents": 4}  # one more than without the conversation
    assert [one.checkpoint_id for one in connect().list("t", limit=1)] == [newest.checkpoint_id]


@pytest.mark.parametrize("ids", [("a", "é", "b"), ("a", "b", "x" * 300), ("a/b", "a", "a b")])
def test_ids_that_no_mark_can_name_are_found_behind_a_conversation(
    ids: Sequence[str], connect: Open, memory: Memory
) -> None:
    for id_ in ids:
        connect().put(Checkpoint(thread_id="t", checkpoint_id=id_))
    talk(memory)
    saved = connect().get("t")
    assert saved is not None
    assert saved.checkpoint_id == max(ids)


def _unmarked(*given: Any, **more: Any) -> Record:
    head = dict(listing_record(*given, **more).head)
    del head["marked"]
    return Record(head)


def test_what_former_versions_stored_without_marks_is_found(
    connect: Open, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    oldest, older, old = (new_checkpoint_id() for _ in range(3))
    with monkeypatch.context() as patch:
        patch.setattr(putting, "index_mark", lambda *_: None)
        patch.setattr(registry, "listing_record", _unmarked)
        for id_ in (oldest, old):
            connect().put(Checkpoint(thread_id="t", checkpoint_id=id_))
    connect().put(Checkpoint(thread_id="t", checkpoint_id=older))
    talk(memory)
    saved = connect().get("t")
    assert saved is not None
    assert saved.checkpoint_id == old


def test_marks_that_the_service_does_not_show(connect: Open, memory: Memory, boto_client: Any) -> None:
    keep, newest = connect(), step(1)
    keep.put(newest)
    talk(memory)

    def forget(parsed: Any, **_: Any) -> None:
        for event in parsed.get("events", ()):
            event.pop("metadata", None)

    name = "after-call.bedrock-agentcore.ListEvents"
    boto_client.meta.events.register(name, forget)
    try:
        saved = connect().get("t")
    finally:
        boto_client.meta.events.unregister(name, forget)
    assert saved is not None
    assert saved.checkpoint_id == newest.checkpoint_id


def test_actors_keep_apart(connect: Open) -> None:
    ada, bob = connect(), connect(actor_id="Bob the Builder")
    for keep, value in ((ada, "ada"), (bob, "bob")):
        keep.put(Checkpoint(thread_id="t", checkpoint_id="1", metadata={"of": value, "run_id": "r"}))
    for keep, value in ((ada, "ada"), (bob, "bob")):
        [one] = keep.list()
        assert one.metadata["of"] == value
    backend: Any = ada.backend
    assert run(backend.actors_of_thread("t"), backend.execute) == ["Bob the Builder", "ada"]
    assert run(backend.actors_of_run("r"), backend.execute) == ["Bob the Builder", "ada"]
    ada.delete_runs(["r"])
    assert list(ada.list()) == []
    assert len(list(bob.list())) == 1
    ada.delete_thread("t")
    assert run(backend.actors_of_thread("t"), backend.execute) == ["Bob the Builder"]
    assert run(backend.actors_of_run("r"), backend.execute) == ["Bob the Builder"]


def test_ids_of_one_millisecond_and_of_several_orders(keep: CheckpointRepository, connect: Open) -> None:
    ids = [f"0190a5f0-0000-7{number:03x}-8000-000000000000" for number in range(12)]
    for id_ in ids:
        keep.put(Checkpoint(thread_id="t", checkpoint_id=id_))
    newest = connect().get("t")
    assert newest is not None
    assert newest.checkpoint_id == ids[-1]
    others = ["zz", "00", "1ef00000-0000-6000-8000-000000000000"]
    for id_ in others:
        keep.put(Checkpoint(thread_id="t", checkpoint_id=id_))
        assert [one.checkpoint_id for one in connect().list("t", limit=3)] == sorted(
            [*ids, *others[: others.index(id_) + 1]]
        )[::-1][:3]


def test_a_value_that_is_gone_is_noticed(keep: CheckpointRepository, memory: Memory) -> None:
    put = step(0, channels={"a": Channel.of(1, letters(20_000))})
    keep.put(put)
    actor = ThreadPlace("ada", "t").own_actor
    [session] = [name for name in memory.sessions(actor) if name.startswith("statekeep-value-")]
    [event] = memory.events(session, actor)
    memory.delete(event["eventId"], session, actor)
    with pytest.raises(CorruptRecord, match="'a' is gone") as caught:
        keep.get("t")
    assert caught.value.key == f"{actor} {session}"


def test_reindex_finds_what_the_index_lost(keep: CheckpointRepository, connect: Open, memory: Memory) -> None:
    populated(keep)
    before = seen(keep)
    lanes = [("t", "ada"), ("t", threads_actor("ada")), (actors_lane("t").session, actors_lane("t").actor)]
    lanes.append((run_lane("r0").session, run_lane("r0").actor))
    for session, actor in lanes:
        for event in memory.events(session, actor):
            memory.delete(event["eventId"], session, actor)
    other = connect()
    assert list(other.list("t")) == []
    assert other.reindex("t") == len(before) == 10
    assert seen(other) == before
    count = sum(sessions(memory).values())
    assert connect().reindex("t") == 10
    assert sum(sessions(memory).values()) == count


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("actor_id", ""),
        ("actor_id", 1),
        ("inline", -1),
        ("inline", True),
        ("grace", -1),
        ("grace", "1"),
        ("progress", 1),
    ],
)
def test_bad_arguments(field: str, value: Any, connect: Open) -> None:
    with pytest.raises(InvalidInput) as caught:
        connect(**{field: value})
    assert caught.value.field == field


@pytest.mark.parametrize("operation", ["prune", "reindex"])
def test_late_writes_are_deleted_unless_they_are_young(connect: Open, memory: Memory, operation: str) -> None:
    keep = connect()
    for number in ("1", "3"):
        keep.put(Checkpoint(thread_id="t", checkpoint_id=number))
    write = PendingWrite(task_id="task", idx=0, channel="c", payload=Payload(encoding="raw", data=b"x"))
    keep.put_writes("t", "2", [write])
    for grace, expected in ((60, (write,)), (0, ())):
        other = connect(grace=grace)
        (other.prune(["t"], keep=2) if operation == "prune" else other.reindex("t"))
        keep.copy_thread("t", f"copy {grace}")
        keep.put(Checkpoint(thread_id=f"copy {grace}", checkpoint_id="2"))
        assert (saved := keep.get(f"copy {grace}", checkpoint_id="2"))
        assert saved.pending_writes == expected
