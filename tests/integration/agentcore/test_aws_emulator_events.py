"""Events of the emulated AgentCore Memory: order, pages, filters, lags, client tokens, limits, expiry, branches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from statekeep.testing.aws import AgentCoreRules, AwsEmulator, Clock

from .emulated import START, Memory, later, refused

Opened = Callable[..., Memory]


@pytest.fixture
def opened() -> Iterator[Opened]:
    """Memories of emulators whose clocks stand still, with rules of their own."""
    with ExitStack() as stack:

        def memory(expiry_days: int = 90, seed: int = 0, **rules: Any) -> Memory:
            emulator = AwsEmulator(agentcore=AgentCoreRules(**rules), clock=Clock(START), seed=seed)
            aws = stack.enter_context(emulator)
            return Memory(aws, aws.agentcore.create_memory(event_expiry_days=expiry_days))

        yield memory


@pytest.fixture
def memory(opened: Opened) -> Memory:
    return opened()


def ids(events: list[Any]) -> list[str]:
    return [event["eventId"] for event in events]


# -- order


def test_the_newest_event_is_first_by_its_own_timestamp(memory: Memory) -> None:
    for n in (3, 1, 2, 0, 4):
        memory.create(n, at=later(n))
    assert memory.blobs() == [4, 3, 2, 1, 0]
    assert ids(memory.events()) == sorted(ids(memory.events()), reverse=True)


def test_events_of_one_millisecond_come_in_random_but_lasting_order(opened: Opened) -> None:
    orders = set()
    for seed in range(3):
        memory = opened(seed=seed)
        for n in range(12):
            memory.create(n, at=later(0.05 * n))
        orders.add(tuple(memory.blobs()))
        assert memory.blobs() == memory.blobs(maxResults=1)
        assert sorted(memory.blobs()) == list(range(12))
    assert len(orders) == 3
    assert tuple(range(12)) not in orders


def test_timestamps_may_be_far_away_but_not_before_1970(memory: Memory) -> None:
    far = [START + timedelta(days=days) for days in (-20000, 0, 200000)]
    for at in far:
        memory.create(at=at)
    assert [event["eventTimestamp"] for event in memory.events()] == far[::-1]
    with refused("ValidationException", 400, "1970"):
        memory.create(at=START - timedelta(days=365 * 70))


# -- what is read


def test_sessions_and_actors_are_apart(memory: Memory) -> None:
    for actor in ("a", "b"):
        for session in ("s", "t"):
            memory.create(f"{actor}{session}", actor=actor, session=session)
    assert memory.blobs("s", "a") == ["as"]
    assert memory.blobs("t", "b") == ["bt"]
    assert memory.blobs("u", "a") == memory.blobs("s", "c") == []


def test_payloads_can_be_left_out(memory: Memory) -> None:
    event = memory.create()
    [bare] = memory.page(includePayloads=False)["events"]
    assert bare == {name: value for name, value in event.items() if name != "payload"}
    assert memory.page(includePayloads=True)["events"] == memory.page()["events"] == [event]


def test_a_session_is_made_up(memory: Memory) -> None:
    answers = [
        memory.client.create_event(memoryId=memory.id, actorId="a", eventTimestamp=START, payload=[])["event"]
        for _ in range(2)
    ]
    assert memory.sessions() == {answer["sessionId"] for answer in answers}
    assert len(memory.sessions()) == 2


# -- pages


def test_a_page_has_20_events_unless_it_is_told(memory: Memory) -> None:
    for n in range(45):
        memory.create(n, at=later(n))
    assert len(memory.page()["events"]) == 20
    assert len(memory.page(maxResults=45)["events"]) == 45
    assert "nextToken" not in memory.page(maxResults=45)
    assert "nextToken" in memory.page(maxResults=44)
    assert memory.blobs() == memory.blobs(maxResults=1) == memory.blobs(maxResults=7) == list(range(44, -1, -1))


def test_tokens_are_keys_so_deletions_and_additions_shift_nothing(memory: Memory) -> None:
    events = [memory.create(n, at=later(n)) for n in range(10)]
    page = memory.page(maxResults=4)
    for event in events[4:]:  # the last of the page too
        memory.delete(event["eventId"])
    memory.create(99, at=later(99))
    rest = memory.page(maxResults=10, nextToken=page["nextToken"])
    assert [event["payload"][0]["blob"] for event in rest["events"]] == [3, 2, 1, 0]


@pytest.mark.parametrize("token", ["", "x", "bnVsbA==", "WzEsMl0=", "é"])
def test_tokens_that_are_none(memory: Memory, token: str) -> None:
    for call in (memory.page, memory.sessions, memory.records):
        with refused("ValidationException", 400, "nextToken"):
            if call == memory.page:
                call(nextToken=token)
            elif call == memory.sessions:
                memory.client.list_sessions(memoryId=memory.id, actorId="a", nextToken=token)
            else:
                memory.client.list_memory_records(memoryId=memory.id, namespace="/n", nextToken=token)


def test_tokens_belong_to_one_request(memory: Memory) -> None:
    for session in ("s", "t"):
        for n in range(3):
            memory.create(n, at=later(n), session=session)
    token = memory.page(maxResults=1)["nextToken"]
    with refused("ValidationException", 400, "nextToken"):
        memory.page("t", nextToken=token)
    with refused("ValidationException", 400, "nextToken"):
        memory.page(nextToken=token, filter={"branch": {"name": "main"}})
    assert len(memory.page(maxResults=2, nextToken=token, includePayloads=False)["events"]) == 2


def test_smaller_pages_than_asked_for(opened: Opened) -> None:
    memory = opened(page_size=2)
    for n in range(5):
        memory.create(n, at=later(n), session=f"s{n}")
        memory.create(n, at=later(n))
    assert len(memory.page(maxResults=100)["events"]) == 2
    assert memory.blobs(maxResults=100) == [4, 3, 2, 1, 0]
    assert memory.sessions() == {"s", "s0", "s1", "s2", "s3", "s4"}


def test_pages_of_few_bytes(opened: Opened) -> None:
    memory = opened(page_bytes=2000)
    for n, size in enumerate([100, 3000, 900, 900, 900]):
        memory.create("x" * size, at=later(n))
    sizes: list[list[int]] = []
    token: dict[str, str] = {}
    while True:
        page = memory.page(maxResults=100, **token)
        sizes.append([len(event["payload"][0]["blob"]) for event in page["events"]])
        if "nextToken" not in page:
            break
        token = {"nextToken": page["nextToken"]}
    assert sizes == [[900, 900], [900], [3000], [100]]


def test_full_last_pages_with_a_token(opened: Opened) -> None:
    memory = opened(trailing_token=True)
    for n in range(4):
        memory.create(n, at=later(n))
    page = memory.page(maxResults=4)
    assert memory.page(maxResults=4, nextToken=page["nextToken"]) | {"ResponseMetadata": 0} == {
        "events": [],
        "ResponseMetadata": 0,
    }
    assert "nextToken" not in memory.page(maxResults=5)


# -- filters


def tagged(key: str, operator: str, value: str | None = None) -> dict[str, Any]:
    right = {} if value is None else {"right": {"metadataValue": {"stringValue": value}}}
    return {"left": {"metadataKey": key}, "operator": operator, **right}


@pytest.mark.parametrize(
    ("expressions", "found"),
    [
        ([tagged("k", "EQUALS_TO", "1")], [4, 1]),
        ([tagged("k", "EQUALS_TO", "9")], []),
        ([tagged("k", "EXISTS")], [5, 4, 2, 1]),
        ([tagged("k", "NOT_EXISTS")], [3, 0]),
        ([tagged("k", "EQUALS_TO", "1"), tagged("even", "EXISTS")], [4]),
    ],
)
def test_filters_by_metadata(memory: Memory, expressions: list[Any], found: list[int]) -> None:
    for n in range(6):
        metadata = {"k": {"stringValue": str(n % 3)}} if n % 3 else {}
        metadata |= {"even": {"stringValue": ""}} if n % 2 == 0 else {}
        memory.create(n, at=later(n), metadata=metadata)
    assert memory.blobs(filter={"eventMetadata": expressions}) == found
    assert memory.blobs(filter={"eventMetadata": expressions}, maxResults=1) == found


def test_equals_to_needs_a_value(memory: Memory) -> None:
    memory.create(metadata={"k": {"stringValue": ""}})
    with refused("ValidationException", 400, "EQUALS_TO"):
        memory.page(filter={"eventMetadata": [tagged("k", "EQUALS_TO")]})


def test_a_filter_is_applied_to_what_was_scanned(memory: Memory) -> None:
    memory.create("wanted", metadata={"k": {"stringValue": "v"}})
    for n in range(1, 10):
        memory.create(n, at=later(n))
    wanted: dict[str, Any] = {"filter": {"eventMetadata": [tagged("k", "EXISTS")]}, "maxResults": 4}
    page = memory.page(**wanted)
    assert page["events"] == []
    assert page["nextToken"]
    with memory.aws.record() as calls:
        assert memory.blobs(**wanted) == ["wanted"]
    assert calls.operations == {"ListEvents": 3}


def test_filtered_reads_lag_and_others_do_not(opened: Opened) -> None:
    memory = opened(filter_lag=10)
    memory.create("x", metadata={"k": {"stringValue": "v"}})
    for chosen in ({"eventMetadata": [tagged("k", "EXISTS")]}, {"branch": {"name": "main"}}):
        assert memory.blobs(filter=chosen) == []
    assert memory.blobs() == ["x"]
    memory.aws.clock.advance(9.9)
    assert memory.blobs(filter={"eventMetadata": [tagged("k", "EXISTS")]}) == []
    memory.aws.clock.advance(0.1)
    assert memory.blobs(filter={"eventMetadata": [tagged("k", "EXISTS")]}) == ["x"]


# -- branches


def test_branches(memory: Memory) -> None:
    events = [memory.create(f"m{n}", at=later(n)) for n in range(3)]
    fork = {"name": "fork", "rootEventId": events[1]["eventId"]}
    assert memory.create("f0", at=later(3), branch=fork)["branch"] == fork
    root = memory.create("f1", at=later(4), branch={"name": "fork"})
    assert root["branch"] == fork
    memory.create("f2", at=later(5), branch=fork)
    memory.create("g0", at=later(6), branch={"name": "twig", "rootEventId": root["eventId"]})

    def on(name: str, **more: Any) -> list[str]:
        return memory.blobs(filter={"branch": {"name": name, **more}})

    assert on("main") == ["m2", "m1", "m0"]
    assert on("fork") == ["f2", "f1", "f0"]
    assert on("fork", includeParentBranches=True) == ["f2", "f1", "f0", "m1", "m0"]
    assert on("twig", includeParentBranches=True) == ["g0", "f1", "f0", "m1", "m0"]
    assert on("none") == []
    assert len(memory.blobs()) == 7


def test_branches_need_a_root_of_the_session(memory: Memory) -> None:
    here, there = memory.create(), memory.create(session="t")
    with refused("ValidationException", 400, "needs a root"):
        memory.create(branch={"name": "fork"})
    with refused("ValidationException", 400) as caught:
        memory.create(branch={"name": "fork", "rootEventId": there["eventId"]})
    assert caught.value.response["reason"] == "EventInOtherSession"
    with refused("ResourceNotFoundException", 404):
        memory.create(branch={"name": "fork", "rootEventId": "1#0"})
    memory.create(branch={"name": "fork", "rootEventId": here["eventId"]})
    other = memory.create()
    with refused("ValidationException", 400) as caught:
        memory.create(branch={"name": "fork", "rootEventId": other["eventId"]})
    assert caught.value.response["reason"] == "ResourceConflict"


# -- deletion, sessions, actors


def test_deleted_events_are_gone_at_once(memory: Memory) -> None:
    events = [memory.create(n, at=later(n)) for n in range(3)]
    assert memory.delete(events[1]["eventId"])["eventId"] == events[1]["eventId"]
    assert memory.blobs() == [2, 0]
    with refused("ResourceNotFoundException", 404):
        memory.delete(events[1]["eventId"])
    with refused("ResourceNotFoundException", 404):
        memory.delete(events[0]["eventId"], session="t")


def test_empty_sessions_are_listed_for_a_day(memory: Memory) -> None:
    event = memory.create()
    memory.create(session="t")
    memory.delete(event["eventId"])
    assert memory.sessions() == {"s", "t"}
    assert memory.sessions(filter={"eventFilter": "HAS_EVENTS"}) == {"t"}
    memory.aws.clock.advance(86_399)
    assert memory.sessions() == {"s", "t"}
    memory.aws.clock.advance(1)
    assert memory.sessions() == {"t"}


def test_actors_go_with_their_last_session(memory: Memory) -> None:
    event = memory.create(actor="a")
    memory.create(actor="b")
    assert memory.actors() == {"a", "b"}
    memory.delete(event["eventId"])
    memory.aws.clock.advance(86_400)
    assert memory.actors() == {"b"}


def test_a_session_lives_again(memory: Memory) -> None:
    memory.delete(memory.create()["eventId"])
    memory.aws.clock.advance(80_000)
    memory.create("again")
    memory.aws.clock.advance(80_000)
    assert memory.sessions() == {"s"}
    assert memory.blobs() == ["again"]


def test_listings_are_paged_in_no_order(memory: Memory) -> None:
    for n in range(25):
        memory.create(session=f"s{n:02d}", actor="many")
        memory.create(actor=f"a{n:02d}")
    names: list[str] = []
    token: dict[str, str] = {}
    while True:
        page = memory.client.list_sessions(memoryId=memory.id, actorId="many", maxResults=10, **token)
        names += [one["sessionId"] for one in page["sessionSummaries"]]
        if "nextToken" not in page:
            break
        token = {"nextToken": page["nextToken"]}
    assert sorted(names) == [f"s{n:02d}" for n in range(25)] != names
    assert len(memory.client.list_sessions(memoryId=memory.id, actorId="many")["sessionSummaries"]) == 20
    assert len(memory.actors()) == 26


def test_sessions_may_be_seen_late(opened: Opened) -> None:
    memory = opened(session_lag=3)
    memory.create("x")
    assert (memory.sessions(), memory.actors(), memory.blobs()) == (set(), set(), ["x"])
    memory.aws.clock.advance(3)
    assert (memory.sessions(), memory.actors()) == ({"s"}, {"a"})


# -- client tokens


def test_a_client_token_is_good_for_one_event(memory: Memory) -> None:
    first = memory.create("x", clientToken="t")
    memory.aws.clock.advance(86_399)
    assert memory.create("x", clientToken="t") == first
    assert memory.blobs() == ["x"]
    changes: list[dict[str, Any]] = [{"blob": "y"}, {"session": "t"}, {"at": later(1)}, {"extractionMode": "SKIP"}]
    for change in changes:
        with refused("ValidationException", 400, "token") as caught:
            memory.create(**{"blob": "x", "clientToken": "t", **change})
        assert caught.value.response["reason"] == "IdempotentParameterMismatchException"
    memory.aws.clock.advance(1)
    assert memory.create("x", clientToken="t") != first
    assert memory.blobs() == ["x", "x"]


def test_a_client_token_outlives_its_event(memory: Memory) -> None:
    first = memory.create("x", clientToken="t")
    memory.delete(first["eventId"])
    assert memory.create("x", clientToken="t") == first
    assert memory.blobs() == []


def test_client_tokens_belong_to_a_memory(memory: Memory) -> None:
    memory.create("x", clientToken="t")
    other = Memory(memory.aws, memory.aws.agentcore.create_memory())
    other.create("y", clientToken="t")
    assert other.blobs() == ["y"]


def test_what_was_refused_leaves_no_token(opened: Opened) -> None:
    memory = opened(event_bytes=100)
    with refused("ValidationException", 400):
        memory.create("x" * 200, clientToken="t")
    memory.create("x", clientToken="t")
    assert memory.blobs() == ["x"]


# -- limits


def test_the_size_of_an_event(memory: Memory) -> None:
    around = len('[{"blob":""}]')
    memory.create("x" * (10_000_000 - around))
    with refused("ValidationException", 400, "size of the event"):
        memory.create("x" * (10_000_001 - around))
    with refused("ValidationException", 400, "size of the event"):
        memory.create("é" * (5_000_001))
    assert len(memory.events(includePayloads=False)) == 1


def test_the_size_of_json(memory: Memory) -> None:
    memory.create(payload=[{"json": {"content": "x" * 99_998}}])
    with refused("ValidationException", 400, "json"):
        memory.create(payload=[{"json": {"content": "x" * 99_999}}])


def test_events_of_one_session_at_the_same_time(opened: Opened) -> None:
    memory = opened(conflict_window=0.01)
    memory.create()
    with refused("RetryableConflictException", 409):
        memory.create()
    memory.create(session="t")
    memory.aws.clock.advance(0.01)
    memory.create()
    assert len(memory.events()) == 2


@pytest.mark.parametrize(("expire_from", "days"), [("arrival", 7), ("timestamp", 2)])
def test_events_expire(opened: Opened, expire_from: str, days: int) -> None:
    memory = opened(expiry_days=7, expire_from=expire_from)
    memory.create("old", at=START - timedelta(days=5))
    memory.aws.clock.advance(days * 86_400 - 1)
    event = memory.create("new", at=START + timedelta(days=days))
    assert memory.blobs() == ["new", "old"]
    memory.aws.clock.advance(1)
    assert memory.blobs() == ["new"]
    memory.aws.clock.advance(8 * 86_400)
    with refused("ResourceNotFoundException", 404):
        memory.delete(event["eventId"])
    assert memory.sessions() == memory.sessions(filter={"eventFilter": "HAS_EVENTS"}) == set()


# -- quotas


def allowed(call: Callable[[], Any]) -> int:
    """Count how often a call is answered before it is throttled."""
    for n in range(1000):
        try:
            call()
        except ClientError as error:
            if error.response["Error"]["Code"] != "ThrottledException":
                raise
            return n
    raise AssertionError("never throttled")


def test_quotas(opened: Opened) -> None:
    memory = opened(quotas=True)
    talk = [{"conversational": {"content": {"text": "x"}, "role": "USER"}}]
    assert allowed(lambda: memory.create("x", session="s")) == 10
    assert allowed(lambda: memory.create(payload=talk, session="t")) == 5
    assert allowed(lambda: memory.create(session="t")) == 10
    assert allowed(memory.page) == 20
    assert allowed(memory.actors) == 20
    assert allowed(memory.records) == 30
    assert allowed(lambda: memory.retrieve("x")) == 30
    memory.aws.clock.advance(0.5)
    assert allowed(lambda: memory.create("x", session="s")) == 5
    memory.aws.clock.advance(60)
    assert allowed(lambda: memory.create("x", session="s")) == 10
    found = memory.page(maxResults=100)["events"]
    assert len(found) == 25
    assert allowed(lambda: memory.delete(found.pop()["eventId"])) == 5


def test_quotas_of_an_account(opened: Opened) -> None:
    memory = opened(quotas=True)
    names = iter(range(1000))
    assert allowed(lambda: memory.create(session=f"s{next(names)}")) == 200
    other = Memory(memory.aws, memory.aws.agentcore.create_memory())
    with refused("ThrottledException", 429):
        other.create()


def test_without_quotas_nothing_is_throttled(memory: Memory) -> None:
    for _ in range(25):
        memory.actors()
