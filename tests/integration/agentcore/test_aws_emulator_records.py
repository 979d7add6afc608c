"""Memory records of the emulated AgentCore Memory: batches, namespaces, filters, similarity, lags, extraction."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest

from statekeep.testing.aws import AgentCoreRules, AwsEmulator, Clock
from statekeep.testing.aws.agentcore.similarity import similarities

from .emulated import START, Memory, later, refused

Opened = Callable[..., Memory]
INDEXED = {"topic": "STRING", "tags": "STRINGLIST", "size": "NUMBER", "day": "STRING"}
NOBODY = "mem-00000000-0000-4000-8000-000000000000"


@pytest.fixture
def opened() -> Iterator[Opened]:
    with ExitStack() as stack:

        def memory(strategies: dict[str, str] | None = None, **rules: Any) -> Memory:
            aws = stack.enter_context(AwsEmulator(agentcore=AgentCoreRules(**rules), clock=Clock(START)))
            made = aws.agentcore.create_memory(indexed_keys=INDEXED, strategies=strategies)  # type: ignore[arg-type]
            return Memory(aws, made)

        yield memory


@pytest.fixture
def memory(opened: Opened) -> Memory:
    return opened()


def get(memory: Memory, record_id: str) -> Any:
    return memory.client.get_memory_record(memoryId=memory.id, memoryRecordId=record_id)["memoryRecord"]


def update(memory: Memory, record_id: str, expiry: Any = None, **changes: Any) -> Any:
    spec = {"recordExpirySpecification": expiry} if expiry else {}
    record = {"memoryRecordId": record_id, "timestamp": later(1), **changes}
    return memory.client.batch_update_memory_records(memoryId=memory.id, records=[record], **spec)


def test_a_record_goes_there_and_back(memory: Memory) -> None:
    metadata = {
        "topic": {"stringValue": "food"},
        "tags": {"stringListValue": ["a", "b"]},
        "size": {"numberValue": 1.5},
        "day": {"dateTimeValue": later(1500)},
    }
    record_id = memory.record("likes tuna", metadata=metadata, memoryStrategyId="facts")
    expected = {
        "memoryRecordId": record_id,
        "content": {"text": "likes tuna"},
        "namespaces": ["/n"],
        "memoryStrategyId": "facts",
        "createdAt": START,
        "timestamp": START,
        "metadata": metadata,
    }
    assert get(memory, record_id) == expected
    assert memory.records() == [expected]
    [found] = memory.retrieve("tuna")
    assert {**found, "score": 0} == {**expected, "score": 0}


def test_records_are_changed_by_id(memory: Memory) -> None:
    record_id = memory.record("a", metadata={"topic": {"stringValue": "x"}})
    answer = update(memory, record_id, content={"text": "b"}, namespaces=["/m"])
    assert [one["memoryRecordId"] for one in answer["successfulRecords"]] == [record_id]
    record = get(memory, record_id)
    assert (record["content"]["text"], record["namespaces"], record["timestamp"]) == ("b", ["/m"], later(1))
    assert record["metadata"] == {"topic": {"stringValue": "x"}}
    assert (memory.texts(), memory.texts(namespace="/m")) == (set(), {"b"})


def test_batches_succeed_in_part(memory: Memory) -> None:
    record_id = memory.record("a")
    for operation, more in (("update", {"timestamp": START}), ("delete", {})):
        records = [{"memoryRecordId": name, **more} for name in (NOBODY, record_id)]
        call = getattr(memory.client, f"batch_{operation}_memory_records")
        answer = call(memoryId=memory.id, records=records)
        assert [one["memoryRecordId"] for one in answer["successfulRecords"]] == [record_id]
        [failed] = answer["failedRecords"]
        assert (failed["memoryRecordId"], failed["status"], failed["errorCode"]) == (NOBODY, "FAILED", 404)
    assert memory.records() == []
    for operation in ("get", "delete"):
        with refused("ResourceNotFoundException", 404):
            getattr(memory.client, f"{operation}_memory_record")(memoryId=memory.id, memoryRecordId=record_id)


def test_one_record_is_deleted(memory: Memory) -> None:
    record_id, other = memory.record("a"), memory.record("b")
    memory.client.delete_memory_record(memoryId=memory.id, memoryRecordId=record_id)
    assert [record["memoryRecordId"] for record in memory.records()] == [other]


def test_a_batch_with_a_client_token_is_created_once(memory: Memory) -> None:
    records = [
        {"requestIdentifier": f"r{n}", "namespaces": ["/n"], "content": {"text": "x"}, "timestamp": START}
        for n in range(3)
    ]
    request = {"memoryId": memory.id, "clientToken": "t"}
    first = memory.client.batch_create_memory_records(records=records, **request)["successfulRecords"]
    again = memory.client.batch_create_memory_records(records=records, **request)["successfulRecords"]
    assert first == again
    assert [one["requestIdentifier"] for one in first] == ["r0", "r1", "r2"]
    assert len(memory.records()) == 3
    with refused("ValidationException", 400, "token"):
        memory.client.batch_create_memory_records(records=records[:1], **request)


def test_namespaces(memory: Memory) -> None:
    for namespace in ("/a", "/a/", "/a/b", "/a/b/c", "/ab"):
        memory.record(namespace, namespace)
    assert memory.texts(namespace="/a") == {"/a"}
    assert memory.texts(namespace="/a/") == {"/a/"}
    assert memory.texts(namespacePath="/a") == {"/a", "/a/", "/a/b", "/a/b/c"}
    assert memory.texts(namespacePath="/a/") == {"/a", "/a/", "/a/b", "/a/b/c"}
    assert memory.texts(namespacePath="/a/b/") == {"/a/b", "/a/b/c"}
    assert memory.texts(namespacePath="/") == {"/a", "/a/", "/a/b", "/a/b/c", "/ab"}
    for wrong in ({}, {"namespace": "/a", "namespacePath": "/a"}):
        with refused("ValidationException", 400, "namespacePath is required"):
            memory.client.list_memory_records(memoryId=memory.id, **wrong)


def test_namespaces_whose_last_slash_counts() -> None:
    with AwsEmulator(agentcore=AgentCoreRules(exact_paths=True)) as aws:
        memory = Memory(aws)
        for namespace in ("/a", "/a/", "/a/b", "/ab"):
            memory.record(namespace, namespace)
        assert memory.texts(namespacePath="/a") == {"/a", "/a/b"}
        assert memory.texts(namespacePath="/a/") == {"/a/", "/a/b"}
        assert memory.texts(namespacePath="/a/b") == {"/a/b"}
        assert memory.texts(namespacePath="/a/b/") == set()


def test_strategies_and_pages(memory: Memory) -> None:
    for n in range(25):
        memory.record(f"text {n}", memoryStrategyId="even" if n % 2 == 0 else "odd")
    assert len(memory.texts(memoryStrategyId="even")) == 13
    assert memory.texts(maxResults=3) == {f"text {n}" for n in range(25)}
    assert len(memory.client.list_memory_records(memoryId=memory.id, namespace="/n")["memoryRecordSummaries"]) == 20


def expression(key: str, operator: str, **value: Any) -> dict[str, Any]:
    right = {"right": {"metadataValue": value}} if value else {}
    return {"left": {"metadataKey": key}, "operator": operator, **right}


@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        (expression("topic", "EQUALS_TO", stringValue="t1"), {1}),
        (expression("topic", "CONTAINS", stringValue="t"), {0, 1, 2}),
        (expression("topic", "EXISTS"), {0, 1, 2}),
        (expression("topic", "NOT_EXISTS"), {3}),
        (expression("tags", "CONTAINS", stringValue="x1"), {1, 2}),
        (expression("tags", "EQUALS_TO", stringListValue=["x0"]), {0}),
        (expression("size", "EQUALS_TO", numberValue=1), {1}),
        (expression("size", "GREATER_THAN", numberValue=1), {2}),
        (expression("size", "GREATER_THAN_OR_EQUALS", numberValue=1), {1, 2}),
        (expression("size", "LESS_THAN", numberValue=1), {0}),
        (expression("size", "LESS_THAN_OR_EQUALS", numberValue=1), {0, 1}),
        (expression("size", "EQUALS_TO", stringValue="1"), set()),
        (expression("day", "BEFORE", dateTimeValue=later(1)), {0}),
        (expression("day", "AFTER", dateTimeValue=later(1)), {2}),
    ],
    ids=lambda value: f"{value['left']['metadataKey']}-{value['operator']}" if isinstance(value, dict) else "",
)
def test_filters(memory: Memory, chosen: Any, found: set[int]) -> None:
    for n in range(3):
        metadata = {
            "topic": {"stringValue": f"t{n}"},
            "tags": {"stringListValue": [f"x{m}" for m in range(n + 1)]},
            "size": {"numberValue": n},
            "day": {"dateTimeValue": later(n)},
        }
        memory.record(f"number {n}", metadata=metadata)
    memory.record("number 3")
    assert memory.texts(metadataFilters=[chosen]) == {f"number {n}" for n in found}
    retrieved = memory.retrieve("number", criteria={"metadataFilters": [chosen]})
    assert {record["content"]["text"] for record in retrieved} == {f"number {n}" for n in found}


@pytest.mark.parametrize(
    "chosen",
    [
        expression("other", "EXISTS"),
        expression("topic", "EQUALS_TO"),
        expression("topic", "EXISTS", stringValue="x"),
        expression("topic", "BEFORE", stringValue="x"),
        expression("size", "CONTAINS", numberValue=1),
    ],
    ids=lambda value: f"{value['left']['metadataKey']}-{value['operator']}",
)
def test_filters_that_are_wrong(memory: Memory, chosen: Any) -> None:
    with refused("ValidationException", 400):
        memory.records(metadataFilters=[chosen])


def test_retrieval_ranks_by_likeness(memory: Memory) -> None:
    texts = ["She likes sushi with tuna", "The weather in Oslo is cold", "Tuna is a fish", "He owns two dogs"]
    for text in texts:
        memory.record(text)
    found = memory.retrieve("what sushis does she like?")
    assert found[0]["content"]["text"] == texts[0]
    scores = [record["score"] for record in found]
    assert scores == sorted(scores, reverse=True)
    assert len(found) == 4  # the least alike is still a result
    assert all(0 <= score <= 1 for score in scores)
    assert memory.retrieve("dogs", criteria={"topK": 1})[0]["content"]["text"] == texts[3]
    assert len(memory.retrieve("dogs", criteria={"topK": 3}, maxResults=2)) == 3
    assert memory.retrieve("cold weather", maxResults=1)[0]["content"]["text"] == texts[1]


def test_similarity() -> None:
    assert similarities("a b", ["a b", "b a", "c"]) == [pytest.approx(1), pytest.approx(1), 0]
    assert similarities("x", []) == []
    assert similarities("", ["", "x"]) == [0, 0]
    assert similarities("☃", ["☃☃", "☂"])[0] > similarities("☃", ["☃☃", "☂"])[1] == 0
    rare, *common = similarities("abc xyz", ["abc", "xyz", "xyz", "xyz"])
    assert rare > max(common) > 0
    assert not any(math.isnan(score) for score in similarities("a", ["", " ", "a"]))


def test_listings_lag_and_ids_do_not(opened: Opened) -> None:
    memory = opened(record_lag=87)
    record_id = memory.record("a")
    assert get(memory, record_id)["content"]["text"] == "a"
    assert memory.records() == memory.retrieve("a") == []
    memory.aws.clock.advance(87)
    assert memory.texts() == {"a"}
    update(memory, record_id, content={"text": "b"})
    assert (get(memory, record_id)["content"]["text"], memory.texts()) == ("b", {"a"})
    memory.aws.clock.advance(87)
    assert memory.texts() == {"b"}
    memory.client.delete_memory_record(memoryId=memory.id, memoryRecordId=record_id)
    assert [record["content"]["text"] for record in memory.retrieve("b")] == ["b"]
    with refused("ResourceNotFoundException", 404):
        get(memory, record_id)
    memory.aws.clock.advance(87)
    assert memory.records() == []


def test_ids_may_lag_too(opened: Opened) -> None:
    memory = opened(record_id_lag=2)
    record_id = memory.record("a")
    with refused("ResourceNotFoundException", 404):
        get(memory, record_id)
    assert update(memory, record_id)["failedRecords"]
    memory.aws.clock.advance(2)
    assert get(memory, record_id)


def test_records_expire(memory: Memory) -> None:
    days = {"recordExpiryDurationDays": 31}
    kept, gone, renewed, freed = (memory.record(name, expiry=days if n else None) if n else memory.record(name)
                                  for n, name in enumerate(["kept", "gone", "renewed", "freed"]))  # fmt: skip
    assert "expiresAt" not in get(memory, kept)
    assert get(memory, gone)["expiresAt"] == START + timedelta(days=31)
    memory.aws.clock.advance(30 * 86_400)
    update(memory, renewed)
    update(memory, freed, expiry={"action": "REMOVE"})
    assert get(memory, renewed)["expiresAt"] == START + timedelta(days=61)
    memory.aws.clock.advance(86_400)
    assert memory.texts() == {"kept", "renewed", "freed"}
    with refused("ResourceNotFoundException", 404):
        get(memory, gone)
    memory.aws.clock.advance(30 * 86_400)
    assert memory.texts() == {"kept", "freed"}


STRATEGIES = {"facts": "/users/{actorId}/facts/", "talks": "/{memoryStrategyId}/{sessionId}/{topic}"}


def say(text: str) -> dict[str, Any]:
    return {"conversational": {"content": {"text": text}, "role": "USER"}}


def test_events_become_records_unless_they_are_skipped(opened: Opened) -> None:
    memory = opened(STRATEGIES, extraction_lag=20)
    config = {"namespaceVariables": {"topic": "food"}}
    memory.create(payload=[say("I like tuna"), {"json": {"content": {"n": 1}}}], extractionConfig=config)
    memory.create(payload=[say("secret state")], extractionMode="SKIP")
    memory.create("a blob")
    assert memory.texts(namespacePath="/") == set()
    memory.aws.clock.advance(20)
    assert memory.texts(namespace="/users/a/facts/") == {"I like tuna", "{'n': 1}"}
    assert memory.texts(namespace="/talks/s/food") == {"I like tuna", "{'n': 1}"}
    assert memory.texts(namespacePath="/", memoryStrategyId="facts") == {"I like tuna", "{'n': 1}"}


def test_ingested_data_becomes_records_and_no_event(opened: Opened) -> None:
    memory = opened(STRATEGIES)
    request = {"memoryId": memory.id, "actorId": "a", "contentTimestamp": START, "clientToken": "t"}
    source = {"inline": {"payload": [say("I like tuna")]}}
    answers = [memory.client.ingest_data(source=source, **request) for _ in range(2)]
    assert answers[0]["sessionId"] == answers[1]["sessionId"]
    assert answers[0]["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert [record["content"]["text"] for record in memory.records(namespace="/users/a/facts/")] == ["I like tuna"]
    assert memory.actors() == set()
    with refused("ValidationException", 400, "size of the payload"):
        memory.client.ingest_data(
            source={"inline": {"payload": [say("x" * 60_000)] * 2}}, **{**request, "clientToken": "u"}
        )
