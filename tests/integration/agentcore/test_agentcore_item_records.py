"""Memory records of AgentCore Memory, through the backend of items."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from statekeep import connect
from statekeep import copy as copy_all
from statekeep.domain import (
    ANY,
    AccessDenied,
    InvalidInput,
    PutItem,
    QuotaExceeded,
    StatekeepError,
    Throttled,
    Unavailable,
    VectorIndex,
)
from statekeep.repositories.agentcore import AgentCoreItems
from statekeep.repositories.agentcore.items.memory_records import namespace_path
from statekeep.repositories.aws import open_client
from statekeep.repositories.items import AsyncItemRepository, ItemRepository
from statekeep.repositories.memory import MemoryItems
from statekeep.repositories.operation import arun, run
from statekeep.testing.aws import AgentCoreRules, AwsEmulator, cut_before, refuse

from .emulated import ONE_ATTEMPT, START, Memory, ahead, cost

UNKNOWN = "mem-00000000-0000-4000-8000-000000000000"
N = ("users", "ada")
INDEX = {"fields": ["text"]}
PARTS = {"fields": ["[*]"]}


@pytest.fixture
def backend(memory: Memory, boto_client: Any) -> AgentCoreItems:
    return AgentCoreItems(open_client("bedrock-agentcore", client=boto_client), memory.id)


# -- one by one


def test_a_record_is_read_listed_and_deleted_by_its_id(memory: Memory, backend: AgentCoreItems) -> None:
    ids = {memory.record(f"text {number}", f"/users/{'ada' if number % 2 else 'bob'}/") for number in range(101)}
    chosen = memory.record("likes tuna", "/users/ada/", metadata={"topic": {"stringValue": "food"}})
    found = run(backend.record(chosen), backend.execute)
    assert found is not None
    assert (found.text, found.namespace(), found.metadata) == (
        "likes tuna",
        ("users", "ada"),
        {"topic": {"stringValue": "food"}},
    )
    assert found.value() == {
        "content": "likes tuna",
        "memory_strategy_id": "default",
        "namespaces": ["/users/ada/"],
    }
    page = run(backend.records("/users/"), backend.execute)
    rest = run(backend.records("/users/", page.cursor), backend.execute)
    assert (len(page.items), rest.cursor) == (100, None)
    assert {one.id for one in [*page.items, *rest.items]} == {*ids, chosen}
    assert run(backend.delete_record(chosen), backend.execute)
    assert not run(backend.delete_record(chosen), backend.execute)
    assert run(backend.record(chosen), backend.execute) is None


@pytest.mark.anyio
async def test_records_are_read_from_event_loops(memory: Memory, backend: AgentCoreItems) -> None:
    chosen = memory.record("likes tuna", "/users/ada/")
    found = await arun(backend.record(chosen), backend.aexecute)
    assert found is not None
    page = await arun(backend.records("/users/ada/"), backend.aexecute)
    assert [one.id for one in page.items] == [found.id]
    assert await arun(backend.delete_record(chosen), backend.aexecute)


def test_a_missing_memory_is_no_missing_record(boto_client: Any) -> None:
    backend = AgentCoreItems(open_client("bedrock-agentcore", client=boto_client), "unknown-0123456789")
    for operation in (backend.record(UNKNOWN), backend.delete_record(UNKNOWN), backend.records("/")):
        with pytest.raises(InvalidInput, match="no such memory"):
            run(operation, backend.execute)


def test_wrong_ids_and_paths_are_refused(backend: AgentCoreItems) -> None:
    wrong: Any
    for wrong in ("", "tuna", "mem-1", UNKNOWN + "/" * 10, 7):
        for method in (backend.record, backend.delete_record):
            with pytest.raises(InvalidInput, match="record_id must be") as caught:
                run(method(wrong), backend.execute)
            assert caught.value.field == "record_id"
    for wrong in ("", "ada lovelace", "a::b", "/" * 1025, None):
        with pytest.raises(InvalidInput, match="namespace_path must be"):
            run(backend.records(wrong), backend.execute)


def test_labels_become_paths_and_no_two_meet(memory: Memory, backend: AgentCoreItems) -> None:
    labels = ["a", "a:b", "a:", ":", "a::b", "a/b", "*", "ä", "a b", "statekeep-label-x", "-", "_", "x" * 900]
    paths = [namespace_path((label,)) for label in labels]
    assert len(set(paths)) == len(labels)
    assert (paths[0], paths[1]) == ("/a/", "/a:b/")
    for path in paths:
        memory.record("x", path)
        assert [one.namespaces for one in run(backend.records(path), backend.execute).items] == [[path]]


# -- what items cost with records


Open = Callable[..., ItemRepository]


@pytest.fixture
def opened(memory: Memory, boto_client: Any) -> Open:
    """Open the same memory with an index, as if by another process."""

    def opened(**options: Any) -> ItemRepository:
        client = open_client("bedrock-agentcore", client=boto_client)
        return ItemRepository(AgentCoreItems(client, memory.id, **{"index": INDEX, **options}))

    return opened


def found(items: Any) -> list[tuple[str, bool]]:
    """Return the key of each item, and whether it has a score."""
    return [(item.key, item.score is not None) for item in items]


def test_calls_and_rounds(memory: Memory, opened: Open) -> None:
    keep = opened()
    keep.put(N, "first", {"other": 1})
    expected: list[tuple[Callable[[], Any], tuple[int, int]]] = [
        (lambda: keep.put(N, "k", {"text": "tuna"}), (4, 3)),
        (lambda: keep.put(N, "k", {"text": "salmon"}), (4, 3)),
        (lambda: keep.put(N, "plain", {"text": "tuna"}, index=False), (3, 2)),
        (lambda: keep.get(N, "k"), (1, 1)),
        (lambda: keep.delete(N, "k"), (2 + 2 + 1, 3)),
    ]
    for number, (call, want) in enumerate(expected):
        assert (number, cost(memory, keep, call)) == (number, want)
    with memory.aws.record() as calls:
        keep.batch([PutItem(namespace=N, key=f"{number}", value={"text": f"dish {number}"}) for number in range(100)])
    # Entries of the index that wait for each other are one event.
    assert 100 < calls.operations["CreateEvent"] <= 200
    assert calls.operations - Counter(CreateEvent=200) == Counter(ListEvents=100, BatchCreateMemoryRecords=1)
    results: list[Any] = []
    number, rounds = cost(memory, keep, lambda: results.extend(keep.search(N, query="dish", limit=10)))
    assert found(results) == [(item.key, True) for item in results]
    assert (len(results), rounds) == (10, 2)
    assert number <= 12


def test_without_an_index_nothing_is_asked_of_records(memory: Memory, opened: Open) -> None:
    keep = opened(index=None)
    with memory.aws.record() as calls:
        keep.put(N, "k", {"text": "tuna"}, index=["text"])
        assert found(keep.search(query="tuna")) == [("k", False)]
    assert set(calls.operations) == {"CreateEvent", "ListEvents"}


# -- what is in the records


def records(memory: Memory) -> list[Any]:
    return memory.records(namespacePath="/")


def test_a_new_version_updates_its_records_and_a_deletion_deletes_them(memory: Memory, opened: Open) -> None:
    keep = opened(index={"fields": ["parts[*]"]})
    keep.put(N, "k", {"parts": ["a", "b", "a"]})
    before = {one["memoryRecordId"] for one in records(memory)}
    assert sorted(one["content"]["text"] for one in records(memory)) == ["a", "b"]
    keep.put(N, "k", {"parts": ["c", "d", "e"]})
    assert sorted(one["content"]["text"] for one in records(memory)) == ["c", "d", "e"]
    assert before < {one["memoryRecordId"] for one in records(memory)}
    keep.put(N, "k", {"parts": ["f"]})
    [record] = records(memory)
    assert record["namespaces"] == ["/users/ada/"]
    assert record["metadata"]["version"] == {"stringValue": "3"}
    keep.put(N, "k", {"parts": ["g"]}, index=False)
    assert records(memory) == []
    assert found(keep.search(query="g")) == [("k", False)]
    keep.put(N, "k", {"parts": ["h"]}, expected=4)
    keep.put(N, "k", {"parts": ["i"]}, expected=5)
    assert [one["content"]["text"] for one in records(memory)] == ["i"]
    assert keep.delete(N, "k")
    assert records(memory) == []
    keep.put(N, "k", {"parts": ["j"]})
    assert found(keep.search(query="j")) == [("k", True)]
    assert len(records(memory)) == 1


def test_long_texts_become_pieces(memory: Memory, opened: Open) -> None:
    keep = opened()
    keep.put(N, "k", {"text": "x" * 16_001 + "tuna"})
    assert sorted(len(one["content"]["text"]) for one in records(memory)) == [5, 16_000]
    keep.put(N, "k", {"text": "é\ud800😀" * 8000})
    assert sorted(len(one["content"]["text"]) for one in records(memory)) == [8000] * 3
    with memory.aws.record() as calls, pytest.raises(InvalidInput, match="at most 10 memory records") as caught:
        keep.put(N, "k", {"text": "".join(chr(33 + number % 7919) for number in range(160_001))})
    assert caught.value.field == "index"
    assert len(calls) == 0
    with pytest.raises(InvalidInput, match="1024 characters"):
        keep.put(("x" * 1000, "y" * 100), "k", {"text": "x"})
    keep.put(("x" * 1000, "y" * 100), "k", {"text": "x"}, index=False)
    assert found(keep.search(("x" * 1000, "y" * 100), query="x")) == [("k", False)]


def test_a_record_that_was_deleted_by_hand_is_no_error(memory: Memory, opened: Open) -> None:
    keep = opened()
    for call in (
        lambda: keep.put(N, "k", {"text": "salmon"}),
        lambda: keep.delete(N, "k"),
    ):
        item = keep.put(N, "k", {"text": "tuna"})
        [record] = records(memory)
        memory.client.delete_memory_record(memoryId=memory.id, memoryRecordId=record["memoryRecordId"])
        assert found(keep.search(query="tuna")) == [("k", False)]
        assert keep.get(N, "k") == item
        assert call()
    assert records(memory) == []


def test_records_end_with_their_items(memory: Memory, opened: Open) -> None:
    def days(keep: ItemRepository, **options: Any) -> float:
        item = keep.put(N, "k", {"text": "tuna"}, **options)
        [record] = records(memory)
        shown = memory.client.get_memory_record(memoryId=memory.id, memoryRecordId=record["memoryRecordId"])
        seconds: float = (shown["memoryRecord"]["expiresAt"] - item.updated_at).total_seconds()
        return round(seconds / 86_400)

    keep = opened()
    assert days(keep) == 91
    assert days(keep, ttl=60) == 31
    assert days(keep, ttl=40 * 86_400) == 42
    keep.put(N, "k", {"text": "tuna"}, ttl=0.001)
    deadline = time.monotonic() + 5
    while keep.get(N, "k") is not None:
        assert time.monotonic() < deadline
    assert keep.search(query="tuna") == []
    assert keep.reindex(N) == 0
    assert records(memory) == []


def test_what_is_stored_again_keeps_its_records(memory: Memory, opened: Open) -> None:
    keep = opened(renewal=3600)
    keep.put(N, "k", {"text": "tuna"})
    keep.put(N, "gone", {"text": "salmon"})
    gone = next(one["memoryRecordId"] for one in records(memory) if one["content"]["text"] == "salmon")
    memory.client.delete_memory_record(memoryId=memory.id, memoryRecordId=gone)
    later = ahead(keep, 2 * 3_600_000)
    with memory.aws.record() as calls:
        assert found(later.search(query="tuna")) == [("k", True), ("gone", False)]
    assert calls.operations["BatchUpdateMemoryRecords"] == 1
    assert calls.operations["BatchCreateMemoryRecords"] == 0
    assert found(keep.search(query="tuna")) == [("k", True), ("gone", False)]


def test_clear_deletes_records(memory: Memory, opened: Open) -> None:
    keep = opened()
    for number in range(40):
        keep.put(N, f"{number}", {"text": f"dish {number}"})
    keep.put(("other",), "k", {"text": "dish"})
    assert keep.clear((), below=False) == 0
    assert keep.clear(N) == 40
    assert [one["namespaces"] for one in records(memory)] == [["/other/"]]


def test_a_copy_makes_records(memory: Memory, opened: Open) -> None:
    source, keep = ItemRepository(MemoryItems()), opened()
    source.put(N, "k", {"text": "tuna"})
    copy_all(source, keep)
    assert found(keep.search(query="tuna")) == [("k", True)]


# -- errors


REFUSALS: dict[int, type[StatekeepError]] = {
    429: Throttled,
    409: Throttled,
    402: QuotaExceeded,
    413: QuotaExceeded,
    400: InvalidInput,
    403: AccessDenied,
    500: Unavailable,
    418: StatekeepError,
}


def test_a_record_that_is_refused() -> None:
    codes = {f"poison {code}": code for code in REFUSALS}
    with AwsEmulator(agentcore=AgentCoreRules(record_errors=codes)) as aws:
        client = aws.client("bedrock-agentcore", config=ONE_ATTEMPT)
        backend = AgentCoreItems(open_client("bedrock-agentcore", client=client), aws.memory_id, index=PARTS)
        with ItemRepository(backend) as keep:
            old = keep.put(N, "old", ["fine"])
            for code, error in REFUSALS.items():
                for key in ("old", "new"):
                    with pytest.raises(error, match=f"code {code}") as caught:
                        keep.put(N, key, ["healthy", f"poison {code}"])
                    assert type(caught.value) is error
                assert (keep.get(N, "old"), keep.get(N, "new")) == (old, None)
                assert len(Memory(aws).records(namespacePath="/")) == 1
            assert keep.put(N, "old", ["healthy"]).version == 2


@pytest.mark.parametrize(
    ("action", "call"),
    [
        ("BatchCreateMemoryRecords", lambda keep: keep.put(N, "new", {"text": "tuna"})),
        ("BatchUpdateMemoryRecords", lambda keep: keep.put(N, "k", {"text": "salmon"})),
        ("BatchDeleteMemoryRecords", lambda keep: keep.delete(N, "k")),
        ("RetrieveMemoryRecords", lambda keep: keep.search(query="tuna")),
        ("GetMemoryRecord", lambda keep: run(keep.backend.record(UNKNOWN), keep.backend.execute)),
        ("ListMemoryRecords", lambda keep: run(keep.backend.records("/"), keep.backend.execute)),
        ("DeleteMemoryRecord", lambda keep: run(keep.backend.delete_record(UNKNOWN), keep.backend.execute)),
    ],
)
def test_a_missing_permission_is_named(action: str, call: Any, memory: Memory, opened: Open) -> None:
    keep = opened()
    keep.put(N, "k", {"text": "tuna"})
    memory.aws.faults = [refuse("AccessDeniedException", action)]
    try:
        with pytest.raises(AccessDenied, match=f"bedrock-agentcore:{action}"):
            call(keep)
    finally:
        memory.aws.faults = []
    assert keep.get(N, "new") is None


@pytest.mark.parametrize(
    ("index", "match"),
    [
        ("text", "must be a mapping"),
        ({"dims": 3}, "embeds by itself"),
        ({"fields": "text"}, "sequence of texts"),
        ({"fields": ["a[x"]}, "index"),
    ],
)
def test_wrong_indexes(index: Any, match: str, opened: Open) -> None:
    with pytest.raises(InvalidInput, match=match):
        opened(index=index)


def test_a_query_that_is_too_long(opened: Open) -> None:
    with pytest.raises(InvalidInput, match="query must have at most") as caught:
        opened().search(query="x" * 10_001)
    assert caught.value.field == "query"


@pytest.mark.parametrize("operation", ["put", "replace", "expected", "shorter", "delete"])
def test_a_crash_leaves_the_old_item_or_the_new_one(operation: str, memory: Memory, opened: Open) -> None:
    def do(keep: ItemRepository, namespace: tuple[str, ...], version: int | None) -> Any:
        if operation == "delete":
            return keep.delete(namespace, "k")
        expected = version if operation == "expected" else ANY
        return keep.put(namespace, "k", ["new", *([] if operation == "shorter" else ["more"])], expected=expected)

    for crash in range(20):
        namespace = ("crash", operation, f"{crash}")
        before = None
        if operation != "put":
            before = opened(index=PARTS).put(namespace, "k", ["old", "older"])
        memory.aws.faults = [cut_before(skip=crash)]
        try:
            ended = do(opened(index=PARTS), namespace, None if before is None else before.version)
        except Unavailable:
            ended = None
        finally:
            memory.aws.faults = []
        now = opened(index=PARTS).get(namespace, "k")
        assert now == before or (now is None if operation == "delete" else now is not None and now.value[0] == "new")
        for query in (None, "old", "new"):
            some = opened(index=PARTS).search(namespace, query=query)
            assert [item.value for item in some] == [item.value for item in [now] if item is not None]
        do(opened(index=PARTS), namespace, None if now is None else now.version)
        again = opened(index=PARTS).search(namespace, query="new")
        assert found(again) == ([] if operation == "delete" else [("k", True)])
        if ended is not None:
            return
    raise AssertionError("more calls than expected")


def test_writers_at_once_leave_one_item_that_is_found(memory: Memory, opened: Open) -> None:
    keeps = [opened() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        items = list(pool.map(lambda pair: pair[1].put(N, "k", {"text": f"tuna {pair[0]}"}), enumerate(keeps)))
    assert sorted(item.version for item in items) == list(range(1, 9))
    newest = max(items, key=lambda item: item.version)
    assert opened().get(N, "k") == newest
    [one] = opened().search(query="tuna")
    assert (one.value, one.score is not None) == (newest.value, True)
    opened().put(N, "k", {"text": "salmon"})
    assert [one["content"]["text"] for one in records(memory)] == ["salmon"]


# -- searching


def test_the_nearest_come_first_then_the_newest(memory: Memory, opened: Open) -> None:
    keep = opened()
    for key, value in {"0": {"text": "sushi with tuna"}, "1": 5, "2": {"text": "the tuna swims"}, "3": {}}.items():
        keep.put(N, key, value)
    keep.put(("users", "bob"), "4", {"text": "tuna"})
    every = keep.search(query="sushi")
    assert found(every)[0] == ("0", True)
    assert found(every)[-2:] == [("3", False), ("1", False)]
    scores = [item.score for item in every if item.score is not None]
    assert scores == sorted(scores, reverse=True)
    for offset in range(6):
        for limit in (1, 2, 5, 200):
            assert keep.search(query="sushi", offset=offset, limit=limit) == every[offset : offset + limit]
    assert {item.key for item in keep.search(N, query="tuna")} == {"0", "1", "2", "3"}
    assert found(keep.search(query="")) == found(keep.search()) == [(key, False) for key in "43210"]
    assert found(keep.search(query="tuna", filter={"text": "tuna"})) == [("4", True)]
    assert keep.search(query="tuna", limit=0) == []


def test_more_than_the_service_finds(opened: Open) -> None:
    keep = opened()
    keep.batch([PutItem(namespace=N, key=f"{number}", value={"text": f"dish {number}"}) for number in range(130)])
    some = keep.search(query="dish", limit=200)
    assert [item.score is not None for item in some] == [True] * 100 + [False] * 30
    assert len({item.key for item in some}) == 130


def test_candidates_that_are_gone_are_made_up_for(memory: Memory, opened: Open) -> None:
    keep = opened()
    for number in range(30):
        keep.put(N, f"{number:02}", {"text": "tuna " * (1 + number % 2) + "x" * (number % 2)})
    stale = [
        {"requestIdentifier": "r", "namespaces": ["/users/ada/"], "content": {"text": "tuna"}, "timestamp": START,
         "metadata": one["metadata"]}
        for one in records(memory)
    ]  # fmt: skip
    memory.client.batch_create_memory_records(memoryId=memory.id, records=stale)
    some = keep.search(query="tuna", limit=10)
    assert len({item.key for item in some}) == 10
    assert all(item.score is not None for item in some)


def test_what_the_service_extracted_becomes_items(memory: Memory, opened: Open) -> None:
    keep = opened()
    keep.put(N, "k", {"text": "ada eats salmon"})
    record = memory.record("ada likes tuna", "/users/ada", memoryStrategyId="facts")
    memory.record("bob likes tuna", "/users/bob")
    extracted, ours = keep.search(N, query="likes tuna")
    assert (extracted.key, extracted.namespace, ours.key) == (record, N, "k")
    assert extracted.value == {
        "content": "ada likes tuna",
        "memory_strategy_id": "facts",
        "namespaces": ["/users/ada"],
    }
    assert found(keep.search(N, query="tuna", filter={"memory_strategy_id": "facts"})) == [(record, True)]
    assert found(keep.search(N)) == [("k", False)]
    assert keep.get(N, record) is None


def test_foreign_records_do_not_pass_for_items(memory: Memory, opened: Open) -> None:
    keep = opened()
    keep.put(("secret",), "k", {"text": "tuna"})
    [ours] = records(memory)
    memory.record("tuna", "/users/ada/", metadata=ours["metadata"])
    assert keep.search(N, query="tuna") == []
    memory.record("tuna", "/users/ada/", metadata={"statekeep": {"stringValue": "x:y"}})
    [item] = keep.search(N, query="tuna")
    assert item.value == {"content": "tuna", "memory_strategy_id": "default", "namespaces": ["/users/ada/"]}


@pytest.mark.anyio
async def test_items_are_found_from_event_loops(backend: AgentCoreItems, boto_client: Any) -> None:
    client = open_client("bedrock-agentcore", client=boto_client)
    async with AsyncItemRepository(AgentCoreItems(client, backend.memory_id, index=INDEX)) as keep:
        await keep.put(N, "k", {"text": "tuna"})
        await keep.put(N, "k", {"text": "salmon"})
        item = await keep.put(N, "other", {"text": "tuna"})
        assert found(await keep.search(N, query="tuna", limit=1)) == [("other", True)]
        assert await keep.delete(N, "other", expected=item)
        assert found(await keep.search(N, query="tuna")) == [("k", True)]


def test_an_index_by_the_url(aws: AwsEmulator, memory: Memory) -> None:
    for index in ({"fields": ["text"]}, VectorIndex(dims=2, embed=lambda texts: [[1.0, 0.0]] * len(texts))):
        with connect(f"agentcore://{memory.id}", client=memory.client, index=index) as keep:
            keep.items.put(N, "k", {"text": "tuna"})
            assert found(keep.items.search(query="tuna")) == [("k", True)]
    with pytest.raises(InvalidInput, match="embeds by itself"):
        connect(f"agentcore://{memory.id}", client=memory.client, index={"dims": 2})
    with pytest.raises(InvalidInput):
        connect("memory:", index={"fields": ["text"]})


def test_paths_whose_last_slash_counts() -> None:
    with AwsEmulator(agentcore=AgentCoreRules(exact_paths=True, page_size=1, trailing_token=True)) as aws:
        backend = AgentCoreItems(open_client("bedrock-agentcore", session=aws.session()), aws.memory_id, index=INDEX)
        with ItemRepository(backend) as keep:
            for namespace in (N, (*N, "deep"), ("users",), ("users", "ad")):
                keep.put(namespace, "k", {"text": "tuna"})
            assert {item.namespace for item in keep.search(N, query="tuna")} == {N, (*N, "deep")}
            assert len([item for item in keep.search(query="tuna") if item.score is not None]) == 4


def test_a_record_that_lags_behind_does_not_rank_its_item() -> None:
    with AwsEmulator(agentcore=AgentCoreRules(record_lag=87, record_id_lag=10)) as aws:
        backend = AgentCoreItems(open_client("bedrock-agentcore", session=aws.session()), aws.memory_id, index=INDEX)
        with ItemRepository(backend) as keep:
            for text in ("tuna", "salmon"):
                item = keep.put(N, "k", {"text": text})
                for seconds, is_ranked in ((80, False), (10, True)):
                    aws.agentcore.clock.advance(seconds)
                    [one] = keep.search(query="fish")
                    assert (one.value, one.score is not None) == (item.value, is_ranked)
            keep.put(N, "k", {"text": "sushi"})
            keep.put(N, "new", {"text": "tuna"})
            assert keep.delete(N, "new")  # its record is not found by its id yet
            aws.agentcore.clock.advance(100)
            assert found(keep.search(query="tuna")) == [("k", True)]
            assert len(Memory(aws).records(namespacePath="/")) == 2
            keep.put(N, "new", {"text": "salmon"})
            aws.agentcore.clock.advance(100)
            assert len(Memory(aws).records(namespacePath="/")) == 2
