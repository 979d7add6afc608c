"""Values that grow are stored in AgentCore in pieces: one event for each version, one lane for many of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from statistics import median
from typing import Any

import pytest

from statekeep.domain import Channel, Checkpoint, CorruptRecord, InvalidInput, Payload, PrunePolicy, Unavailable
from statekeep.langgraph_shim import AgentCoreMemorySaver
from statekeep.repositories.agentcore.backend import AgentCoreCheckpoints
from statekeep.repositories.agentcore.layout import ThreadPlace
from statekeep.repositories.aws import open_client
from statekeep.repositories.checkpoints import CheckpointRepository
from statekeep.testing.aws import AwsEmulator, cut_after, cut_before

from .emulated import Memory, clock_ahead, cost

KB = 1000

Open = Callable[..., CheckpointRepository]

WHOLE: Any = {"value_cache": 0}


@pytest.fixture(autouse=True)
def healthy(aws: AwsEmulator) -> Iterator[None]:
    yield
    aws.faults = []


@pytest.fixture
def connect(memory: Memory, boto_client: Any) -> Open:
    """Opens a repository that knows nothing yet, as another process would."""

    def connect(**options: Any) -> CheckpointRepository:
        client = open_client("bedrock-agentcore", client=boto_client)
        chosen: dict[str, Any] = {"actor_id": "ada", "grace": 0, "inline": 0} | options
        return CheckpointRepository(AgentCoreCheckpoints(client, memory.id, **chosen))

    return connect


def payload(data: bytes) -> Payload:
    return Payload(encoding="raw", data=data)


def id_of(number: int) -> str:
    """An id of a millisecond of its own."""
    return f"0190a5f0-{number:04x}-7000-8000-000000000000"


def chat(steps: int, size: int = 200, start: int = 4 * KB, *, runs: bool = False) -> list[Checkpoint]:
    """Checkpoints of a list of messages that grows, with its length in front; maybe each of a run of its own."""
    source = random.Random(steps)
    messages, made = source.randbytes(start), []
    for number in range(steps):
        messages += source.randbytes(size)
        made.append(
            Checkpoint(
                thread_id="t",
                checkpoint_id=id_of(number),
                parent_id=id_of(number - 1) if number else None,
                metadata={"run_id": f"run {number}"} if runs else {},
                channels={"messages": Channel.of(number, payload(b"%05d" % number + messages))},
            )
        )
    return made


def after(checkpoint: Checkpoint, number: int, channel: Channel) -> Checkpoint:
    return Checkpoint(
        thread_id="t",
        checkpoint_id=id_of(number),
        parent_id=checkpoint.checkpoint_id,
        metadata={"run_id": f"run {number}"} if number < 10 else {},
        channels={"messages": channel},
    )


def value_of(keep: CheckpointRepository, checkpoint: Checkpoint, thread_id: str = "t") -> Channel:
    saved = keep.get(thread_id, checkpoint_id=checkpoint.checkpoint_id)
    assert saved
    return saved.channels["messages"]


def given(checkpoint: Checkpoint) -> Channel:
    return checkpoint.channels["messages"]


def data_of(checkpoint: Checkpoint) -> bytes:
    found = given(checkpoint).payload
    assert found
    return found.data


def lanes(memory: Memory, thread_id: str = "t") -> dict[str, list[Any]]:
    """The events of each lane of values."""
    actor = ThreadPlace("ada", thread_id).own_actor
    names = [name for name in memory.sessions(actor) if name.startswith("statekeep-value-")]
    found = {name: memory.events(name, actor) for name in names}
    return {name: events for name, events in found.items() if events}


def stored(memory: Memory) -> int:
    """How many characters the lanes of values have."""
    return sum(len(item["blob"]) for events in lanes(memory).values() for event in events for item in event["payload"])


def put_all(aws: AwsEmulator, keep: CheckpointRepository, checkpoints: list[Checkpoint]) -> list[Any]:
    """Put checkpoints; returns the calls of each put."""
    found = []
    for checkpoint in checkpoints:
        with aws.record() as calls:
            keep.put(checkpoint)
        found.append(calls)
    return found


# -- what it costs


def test_what_is_new_is_sent_and_stored_for_no_more_calls(aws: AwsEmulator, connect: Open, memory: Memory) -> None:
    checkpoints = chat(24, start=20 * KB)
    whole = Memory(aws, aws.agentcore.create_memory())
    client = open_client("bedrock-agentcore", client=memory.client)
    old = CheckpointRepository(AgentCoreCheckpoints(client, whole.id, actor_id="ada", inline=0, **WHOLE))
    before, now = put_all(aws, old, checkpoints), put_all(aws, connect(), checkpoints)
    assert [calls.operations for calls in now] == [calls.operations for calls in before]
    assert sum(calls.request_bytes for calls in now) < 0.3 * sum(calls.request_bytes for calls in before)
    assert median(calls.request_bytes for calls in now[15:]) < 5 * KB
    assert stored(memory) < 0.2 * stored(whole)

    reading: list[Callable[[CheckpointRepository], Any]] = [
        lambda keep: keep.get("t"),
        lambda keep: keep.get("t", checkpoint_id=id_of(15)),
        lambda keep: next(keep.list("t", limit=1)),
    ]
    new = connect()
    for read in reading:
        assert cost(memory, new, partial(read, new)) == cost(whole, old, partial(read, old))
        with aws.record() as calls_before:
            expected = read(old)
        with aws.record() as calls:
            assert read(new).channels == expected.channels
        assert calls.response_bytes < 2.3 * calls_before.response_bytes
    listed = cost(whole, old, lambda: list(old.list("t", limit=15)))
    fewer = cost(memory, new, lambda: list(new.list("t", limit=15)))
    assert fewer[0] < listed[0] - 10
    assert fewer[1] <= listed[1]


def test_every_version_is_read(connect: Open) -> None:
    keep, checkpoints = connect(), chat(12)
    for checkpoint in checkpoints:
        keep.put(checkpoint)
    assert [saved.channels for saved in connect().list("t")] == [one.channels for one in reversed(checkpoints)]
    history = connect().ancestors("t", ["messages"], checkpoint_id=id_of(9))["messages"]
    assert history.seed == given(checkpoints[8]).payload


def test_two_programs_take_turns(aws: AwsEmulator, connect: Open, memory: Memory) -> None:
    keeps, sent = (connect(), connect()), []
    for number, checkpoint in enumerate(chat(16)):
        keep = keeps[number % 2]
        keep.get("t")
        [calls] = put_all(aws, keep, [checkpoint])
        sent.append(calls.request_bytes)
        assert value_of(connect(), checkpoint) == given(checkpoint)
    assert median(sent[4:]) < 4 * KB
    assert len(lanes(memory)) < 8


def test_forks_share_a_lane(connect: Open, memory: Memory) -> None:
    first, second, third, *_ = chat(5)
    keep = connect()
    for checkpoint in (first, second, third):
        keep.put(checkpoint)
    forks = [
        after(second, 10 + number, Channel.of(9, payload(data_of(second) + b"x%d" % number))) for number in range(3)
    ]
    for fork in forks:
        keep.get("t", checkpoint_id=second.checkpoint_id)
        keep.put(fork)
    assert [value_of(connect(), one) for one in (second, third, *forks)] == [
        given(one) for one in (second, third, *forks)
    ]
    assert len(lanes(memory)) == 2  # the first value was stored whole


def test_values_of_nothing_known_are_whole(connect: Open, memory: Memory) -> None:
    checkpoints = chat(4)
    for checkpoint in checkpoints:
        connect(**WHOLE).put(checkpoint)
    assert {len(events) for events in lanes(memory).values()} == {1}
    assert len(lanes(memory)) == 4
    # What was stored whole is read, and goes on in pieces.
    keep = connect()
    assert keep.get("t")
    more = chat(8)[4:]
    for checkpoint in more:
        keep.put(checkpoint)
    assert len(lanes(memory)) == 5 + 1
    for checkpoint in [*checkpoints, *more]:
        assert value_of(connect(), checkpoint).payload
    with pytest.raises(InvalidInput, match="value_cache"):
        connect(value_cache=-1)


def test_encrypted_values_stay_whole(connect: Open, memory: Memory) -> None:
    keep, source = connect(), random.Random(0)
    for number in range(5):
        channels = {"messages": Channel.of(number, payload(source.randbytes(5 * KB)))}
        keep.put(Checkpoint(thread_id="t", checkpoint_id=id_of(number), channels=channels))
    assert [len(events) for events in lanes(memory).values()] == [1] * 5


# -- what others delete


def by_thread(keep: CheckpointRepository) -> None:
    keep.delete_thread("t")


def by_thread_and_another(keep: CheckpointRepository) -> None:
    keep.delete_thread("t")
    keep.put(after(chat(1)[0], 2, Channel.of(1, payload(b"another"))))


def by_runs(keep: CheckpointRepository) -> None:
    keep.delete_runs([f"run {number}" for number in range(1, 10)])


def by_prune(keep: CheckpointRepository) -> None:
    # Only what is new stays, and the lane of the others goes.
    keep.put(after(chat(1)[0], 50, Channel.of(99, payload(b"short"))))
    keep.prune(["t"], PrunePolicy(keep=1))


@pytest.mark.parametrize("delete", [by_thread, by_thread_and_another, by_runs, by_prune])
def test_pieces_that_others_deleted_are_sent_again(
    delete: Callable[[CheckpointRepository], None], aws: AwsEmulator, connect: Open
) -> None:
    *before, last = chat(11, runs=True)
    last = last.model_copy(update={"metadata": {}})
    keep = connect()
    for checkpoint in before:
        keep.put(checkpoint)
    delete(connect())
    with aws.record() as calls:
        keep.put(last)
    if delete in (by_runs, by_prune):
        # Only the round with the value is made twice.
        assert calls.operations == {"ListEvents": 2, "CreateEvent": 2 + 3}
    assert value_of(connect(), last) == given(last)
    assert all(one.channels["messages"].payload for one in connect().list("t"))
    # It goes on from there.
    [calls] = put_all(aws, keep, [after(last, 60, Channel.of(60, payload(data_of(last) + b"more")))])
    assert calls.operations == {"ListEvents": 1, "CreateEvent": 3}
    assert value_of(connect(), last) == given(last)


def test_inherited_values_that_others_deleted_are_asked_for(connect: Open) -> None:
    first, second = (after(chat(1)[0], number, Channel.of(1, payload(b"x" * 100))) for number in (1, 2))
    keep = connect()
    keep.put(first)
    keep.put(second)
    connect().delete_runs(["run 1", "run 2"])
    third = after(second, 3, Channel.earlier(1))
    keep.put(third, supply=lambda names: dict.fromkeys(names, payload(b"y" * 100)))
    assert value_of(connect(), third).payload == payload(b"y" * 100)


def test_deletions_take_what_nobody_needs(connect: Open, memory: Memory) -> None:
    keep, checkpoints = connect(), chat(12, runs=True)
    for checkpoint in checkpoints:
        keep.put(checkpoint)
    [lane] = [events for events in lanes(memory).values() if len(events) > 1]
    assert len(lane) == 11
    # Nobody but the deleted ones has these pieces.
    connect().delete_runs([f"run {number}" for number in (9, 10, 11)])
    [lane] = [events for events in lanes(memory).values() if len(events) > 1]
    assert len(lane) == 8
    assert [one.channels for one in connect().list("t")] == [one.channels for one in reversed(checkpoints[:9])]
    # Those between are needed by what came after them.
    connect().delete_runs(["run 4"])
    [lane] = [events for events in lanes(memory).values() if len(events) > 1]
    assert len(lane) == 8
    connect().prune(["t"], PrunePolicy(keep=1))
    assert value_of(connect(), checkpoints[8]) == given(checkpoints[8])
    connect().delete_runs(["run 8"])
    assert lanes(memory) == {}
    connect().delete_thread("t")
    assert {actor for actor in memory.actors() if memory.sessions(actor, filter={"eventFilter": "HAS_EVENTS"})} <= {
        "statekeep-runs"
    }


def test_who_deletes_goes_on_in_pieces(aws: AwsEmulator, connect: Open, memory: Memory) -> None:
    keep, sent = connect(), []
    for number, checkpoint in enumerate(chat(25)):
        [calls] = put_all(aws, keep, [checkpoint])
        sent.append(calls.request_bytes)
        if number % 5 == 4:
            keep.prune(["t"], PrunePolicy(keep=2))
    assert sum(size > 8 * KB for size in sent) < 8
    assert sum(map(len, lanes(memory).values())) < 25
    assert len(list(connect().list("t"))) == 2
    # Notes of deletions do not add up.
    actor = ThreadPlace("ada", "t").own_actor
    [listed] = [name for name in memory.sessions(actor) if name.startswith("statekeep-listed-")]
    assert len(memory.events(listed, actor)) == 2


def test_young_versions_of_others_stay(connect: Open, memory: Memory, aws: AwsEmulator) -> None:
    keep, checkpoints = connect(), chat(6, runs=True)
    for checkpoint in checkpoints[:5]:
        keep.put(checkpoint)
    # The put of the last one is under way: its value is there, and no checkpoint.
    aws.faults = [cut_before("CreateEvent", skip=3)]
    with pytest.raises(Unavailable):
        keep.put(checkpoints[5])
    aws.faults = []
    count = sum(map(len, lanes(memory).values()))
    connect(grace=60).delete_runs([f"run {number}" for number in range(5)])
    left = sum(map(len, lanes(memory).values()))
    assert left == count - 1  # that of the first, which was whole
    connect().delete_thread("t")
    assert lanes(memory) == {}


def test_a_copy_has_all_versions(aws: AwsEmulator, connect: Open, memory: Memory) -> None:
    keep, checkpoints = connect(), chat(12)
    for checkpoint in checkpoints:
        keep.put(checkpoint)
    with aws.record() as calls:
        connect().copy_thread("t", "copy")
    assert sum(map(len, lanes(memory, "copy").values())) == 12
    assert calls.operations["CreateEvent"] <= 2 * 12 + 12 + 20
    keep.delete_thread("t")
    assert [one.channels for one in connect().list("copy")] == [one.channels for one in reversed(checkpoints)]


# -- what is gone, or old


def test_what_is_gone_is_an_error_and_stored_again(connect: Open, memory: Memory) -> None:
    *before, last = chat(12)
    keep = connect()
    for checkpoint in before:
        keep.put(checkpoint)
    actor = ThreadPlace("ada", "t").own_actor
    [(session, events)] = [(name, events) for name, events in lanes(memory).items() if len(events) > 1]
    memory.delete(events[3]["eventId"], session, actor)
    with pytest.raises(CorruptRecord, match="'messages' is gone") as caught:
        keep.get("t")
    assert caught.value.key == f"{actor} {session}"
    keep.put(last)
    assert value_of(connect(), last) == given(last)


def test_no_checkpoint_outlives_its_pieces(boto_client: Any, aws: AwsEmulator) -> None:
    """Each day's first version has all of them, so that what is three days old is not needed."""
    memory = Memory(aws, aws.agentcore.create_memory(event_expiry_days=3))
    hours, checkpoints = 6, chat(30)
    client = open_client("bedrock-agentcore", client=boto_client)
    keep = CheckpointRepository(AgentCoreCheckpoints(client, memory.id, actor_id="ada", inline=0, grace=0))
    start = aws.clock.now()
    for number, checkpoint in enumerate(checkpoints):
        with clock_ahead(number * hours * 3600):
            keep.put(checkpoint)
        aws.clock.advance(hours * 3600)
    assert aws.clock.now() - start >= timedelta(days=7)
    # Of those of the last two days nothing is gone.
    for checkpoint in checkpoints[-8:]:
        assert value_of(keep, checkpoint) == given(checkpoint)
    assert len(lanes(memory)) >= 3


@pytest.mark.parametrize("cut", [cut_before, cut_after], ids=["before", "after"])
def test_a_put_that_is_cut_off_is_not_seen(cut: Any, aws: AwsEmulator, connect: Open) -> None:
    *before, last = chat(8)
    keep = connect()
    for checkpoint in before:
        keep.put(checkpoint)
    for skip in range(3):
        aws.faults = [cut("CreateEvent", skip=skip)]
        with pytest.raises(Unavailable):
            keep.put(last)
        aws.faults = []
        found = [one.channels for one in connect().list("t")]
        expected = [one.channels for one in reversed(before)]
        assert found in (expected, [last.channels, *expected])
    keep.put(last)
    assert value_of(connect(), last) == given(last)
    assert value_of(keep, last) == given(last)


# -- savers


def test_actors_share_one_cache(aws: AwsEmulator) -> None:
    with AgentCoreMemorySaver(aws.memory_id, session=aws.session(), value_cache=7) as saver:
        ada, bob = (saver._backend_of(name)._settings.known_values for name in ("ada", "bob"))
        assert ada is bob
        assert ada._limit == 7
