"""What the emulator assumes of AgentCore Memory, checked against the real service.

These tests need an account, and cost a few cents. They run when STATEKEEP_LIVE_MEMORY_ID is the id of an ACTIVE memory
without strategies, and boto3 finds credentials and a region:

    STATEKEEP_LIVE_MEMORY_ID=notes-Ab12Cd34Ef AWS_PROFILE=me python -m pytest tests/live

Each test is named after an assumption of ``statekeep.testing.aws.assumptions``. All that they create they delete.
"""

from __future__ import annotations

import os
import re
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from statekeep.testing.aws.assumptions import AGENTCORE

MEMORY_ID = os.environ.get("STATEKEEP_LIVE_MEMORY_ID", "")
live = pytest.mark.skipif(not MEMORY_ID, reason="STATEKEEP_LIVE_MEMORY_ID is not set")

CONSISTENT = 300.0
"""Seconds to wait for what is eventually consistent."""

NOW = datetime.now(UTC).replace(microsecond=0)


class Live:
    """One actor of its own in the real memory."""

    def __init__(self) -> None:
        import boto3
        from botocore.config import Config

        config = Config(parameter_validation=False, retries={"mode": "standard", "total_max_attempts": 8})
        self.client = boto3.client("bedrock-agentcore", config=config)
        self.actor = f"statekeep-live-{uuid.uuid4().hex[:12]}"
        self.session = f"s-{uuid.uuid4().hex[:12]}"
        self.records: list[str] = []

    def create(self, blob: Any = "x", at: datetime = NOW, **more: Any) -> Any:
        request = {"actorId": self.actor, "sessionId": self.session, "extractionMode": "SKIP", **more}
        payload = more.get("payload", [{"blob": blob}])
        return self.client.create_event(**{"memoryId": MEMORY_ID, **request, "eventTimestamp": at, "payload": payload})[
            "event"
        ]

    def page(self, **more: Any) -> Any:
        request = {"memoryId": MEMORY_ID, "actorId": self.actor, "sessionId": self.session, **more}
        return self.client.list_events(**request)

    def blobs(self, **more: Any) -> list[Any]:
        return [event["payload"][0]["blob"] for event in self.page(**more)["events"]]

    def delete(self, event_id: str, session: str | None = None) -> None:
        where = {"memoryId": MEMORY_ID, "actorId": self.actor, "sessionId": session or self.session}
        self.client.delete_event(**where, eventId=event_id)

    def sessions(self) -> list[str]:
        pages = self.client.get_paginator("list_sessions").paginate(memoryId=MEMORY_ID, actorId=self.actor)
        return [one["sessionId"] for page in pages for one in page["sessionSummaries"]]

    def record(self, record_id: str) -> Any:
        """Return a record, which may be found by its id after some seconds only."""
        until = time.monotonic() + CONSISTENT
        while True:
            try:
                return self.client.get_memory_record(memoryId=MEMORY_ID, memoryRecordId=record_id)["memoryRecord"]
            except self.client.exceptions.ResourceNotFoundException:
                assert time.monotonic() < until
                time.sleep(2)

    def refused(self, call: Callable[[], Any]) -> Any:
        with pytest.raises(self.client.exceptions.ClientError) as caught:
            call()
        return caught.value.response

    def clean(self) -> None:
        for session in {*self.sessions(), self.session}:
            pages = self.client.get_paginator("list_events").paginate(
                memoryId=MEMORY_ID, actorId=self.actor, sessionId=session, includePayloads=False
            )
            for event in [event for page in pages for event in page["events"]]:
                self.delete(event["eventId"], session)
        if self.records:
            records = [{"memoryRecordId": name} for name in self.records]
            self.client.batch_delete_memory_records(memoryId=MEMORY_ID, records=records)


@pytest.fixture
def aws() -> Iterator[Live]:
    one = Live()
    yield one
    one.clean()


def test_every_assumption_that_can_be_checked_is() -> None:
    tests = {name.removeprefix("test_").replace("_", "-") for name, value in globals().items() if name[:5] == "test_"}
    assert {assumption.name for assumption in AGENTCORE if assumption.live} <= tests


@live
def test_constraints(aws: Live) -> None:
    wrong: list[dict[str, Any]] = [
        {"actorId": "a b"},
        {"sessionId": "user:42"},
        {"payload": [{"blob": "x"}] * 101},
        {"metadata": {"k": {"stringValue": "{}"}}},
        {"metadata": {f"k{n}": {"stringValue": ""} for n in range(16)}},
    ]
    for request in wrong:
        response = aws.refused(partial(aws.create, **request))
        assert response["Error"]["Code"] == "ValidationException"
    response = aws.refused(lambda: aws.page(maxResults=101))
    assert response["Error"]["Code"] == "ValidationException"
    assert aws.page()["events"] == []


@live
def test_malformed_memory_id(aws: Live) -> None:
    response = aws.refused(lambda: aws.page(memoryId="malformed-1"))
    assert response["Error"]["Code"] == "ValidationException"


@live
def test_unknown_memory(aws: Live) -> None:
    unknown: dict[str, Any] = {"memoryId": "statekeepunknown-0123456789"}
    for call in (lambda: aws.page(**unknown), lambda: aws.create(**unknown)):
        response = aws.refused(call)
        assert response["Error"]["Code"] == "ResourceNotFoundException"
        assert response["ResponseMetadata"]["HTTPStatusCode"] == 404


@live
def test_documents(aws: Live) -> None:
    for number, blob in enumerate(["text ü ☃", "", {"a": [1, 2.5, None, True]}, [], 0]):
        aws.create(blob, at=NOW + timedelta(seconds=number))
        assert aws.blobs(maxResults=1) == [blob]


@live
def test_session_generated(aws: Live) -> None:
    event = aws.client.create_event(
        memoryId=MEMORY_ID, actorId=aws.actor, eventTimestamp=NOW, payload=[{"blob": "x"}], extractionMode="SKIP"
    )["event"]
    assert event["sessionId"]
    aws.session = event["sessionId"]
    assert aws.blobs() == ["x"]


@live
def test_event_id(aws: Live) -> None:
    at = NOW + timedelta(milliseconds=123)
    name = aws.create(at=at)["eventId"]
    assert re.fullmatch(rf"{round(at.timestamp() * 1000):019d}#[0-9a-fA-F]{{8}}", name)


@live
def test_milliseconds(aws: Live) -> None:
    event = aws.create(at=NOW + timedelta(microseconds=123_987))
    [found] = aws.page()["events"]
    assert event["eventTimestamp"] == found["eventTimestamp"] == NOW + timedelta(milliseconds=123)


@live
def test_newest_first(aws: Live) -> None:
    for n in (2, 0, 3, 1):
        aws.create(n, at=NOW + timedelta(milliseconds=n))
    assert aws.blobs() == [3, 2, 1, 0]
    for _ in range(4):
        aws.create("tie", at=NOW + timedelta(seconds=1))
    names = [event["eventId"] for event in aws.page()["events"]]
    assert names == sorted(names, reverse=True)


@live
def test_empty_session(aws: Live) -> None:
    assert aws.page()["events"] == []
    assert aws.page(actorId="statekeep-nobody", sessionId="nothing")["events"] == []


@live
def test_unknown_event(aws: Live) -> None:
    name = aws.create()["eventId"]
    aws.delete(name)
    where = {"memoryId": MEMORY_ID, "actorId": aws.actor, "sessionId": aws.session, "eventId": name}
    for call in (lambda: aws.delete(name), lambda: aws.client.get_event(**where)):
        assert aws.refused(call)["Error"]["Code"] == "ResourceNotFoundException"


@live
def test_payloads_left_out(aws: Live) -> None:
    aws.create()
    assert "payload" not in aws.page(includePayloads=False)["events"][0]
    assert "payload" in aws.page()["events"][0]


@live
def test_default_page(aws: Live) -> None:
    for n in range(21):
        aws.create(n, at=NOW + timedelta(milliseconds=n))
        time.sleep(0.1)  # 10 events a second in a session
    page = aws.page()
    assert len(page["events"]) == 20
    assert [event["payload"][0]["blob"] for event in aws.page(nextToken=page["nextToken"])["events"]] == [0]
    assert len(aws.page(maxResults=100)["events"]) == 21


@live
def test_filter_after_scan(aws: Live) -> None:
    aws.create("wanted", metadata={"k": {"stringValue": "v"}})
    for n in range(1, 5):
        aws.create(n, at=NOW + timedelta(milliseconds=n))
    chosen = {"eventMetadata": [{"left": {"metadataKey": "k"}, "operator": "EXISTS"}]}
    until = time.monotonic() + CONSISTENT
    while not aws.page(filter=chosen, maxResults=100)["events"]:
        assert time.monotonic() < until
        time.sleep(1)
    page = aws.page(filter=chosen, maxResults=2)
    assert page["events"] == []
    assert page["nextToken"]


@live
def test_read_your_writes(aws: Live) -> None:
    names: list[str] = []
    for n in range(15):
        names.insert(0, aws.create(n, at=NOW + timedelta(milliseconds=n))["eventId"])
        assert [event["eventId"] for event in aws.page()["events"]] == names
    for _ in range(5):
        aws.delete(names.pop())
        assert [event["eventId"] for event in aws.page()["events"]] == names


@live
def test_page_tokens(aws: Live) -> None:
    names = [aws.create(n, at=NOW + timedelta(milliseconds=n))["eventId"] for n in range(6)]
    token = aws.page(maxResults=2)["nextToken"]
    for name in names[4:]:
        aws.delete(name)
    assert aws.blobs(maxResults=100, nextToken=token) == [3, 2, 1, 0]


@live
def test_client_token(aws: Live) -> None:
    token = str(uuid.uuid4())
    first = aws.create("x", clientToken=token)
    assert aws.create("x", clientToken=token)["eventId"] == first["eventId"]
    assert aws.blobs() == ["x"]
    aws.delete(first["eventId"])
    aws.create("x", clientToken=token)
    assert aws.blobs() == []


@live
def test_client_token_mismatch(aws: Live) -> None:
    token = str(uuid.uuid4())
    aws.create("x", clientToken=token)
    response = aws.refused(lambda: aws.create("y", clientToken=token))
    assert response["Error"]["Code"] == "ValidationException"
    assert response["reason"] == "IdempotentParameterMismatchException"


@live
def test_any_timestamp(aws: Live) -> None:
    moments = [NOW - timedelta(days=4000), NOW - timedelta(days=1), NOW + timedelta(days=4000)]
    for n, at in enumerate(moments):
        aws.create(n, at=at)
    assert aws.blobs() == [2, 1, 0]


@live
def test_sessions_seen(aws: Live) -> None:
    for n in range(5):
        aws.create(sessionId=f"s{n}")
        assert f"s{n}" in aws.sessions()


@live
def test_batches(aws: Live) -> None:
    missing = f"mem-{uuid.uuid4()}"
    answer = aws.client.batch_delete_memory_records(memoryId=MEMORY_ID, records=[{"memoryRecordId": missing}])
    assert answer["successfulRecords"] == []
    [failed] = answer["failedRecords"]
    assert (failed["memoryRecordId"], failed["status"]) == (missing, "FAILED")


@live
def test_namespaces(aws: Live) -> None:
    root = f"/{aws.actor}"
    records = [
        {"requestIdentifier": f"r{n}", "namespaces": [namespace], "content": {"text": namespace}, "timestamp": NOW}
        for n, namespace in enumerate((root, f"{root}/a", f"{root}/a/b", f"{root}ab"))
    ]
    created = aws.client.batch_create_memory_records(memoryId=MEMORY_ID, records=records)["successfulRecords"]
    aws.records += [one["memoryRecordId"] for one in created]

    def found(**where: str) -> set[str]:
        answer = aws.client.list_memory_records(memoryId=MEMORY_ID, maxResults=100, **where)
        return {one["content"]["text"] for one in answer["memoryRecordSummaries"]}

    until = time.monotonic() + CONSISTENT
    while len(found(namespacePath=root)) < 3 or not found(namespace=f"{root}ab"):
        assert time.monotonic() < until
        time.sleep(5)
    assert found(namespace=root) == {root}
    assert found(namespacePath=root) == {root, f"{root}/a", f"{root}/a/b"}
    assert aws.refused(found)["Error"]["Code"] == "ValidationException"


@live
def test_namespace_slash(aws: Live) -> None:
    root = f"/{aws.actor}"
    records = [
        {"requestIdentifier": f"r{n}", "namespaces": [namespace], "content": {"text": namespace}, "timestamp": NOW}
        for n, namespace in enumerate((f"{root}/a", f"{root}/a/", f"{root}/a/b/"))
    ]
    created = aws.client.batch_create_memory_records(memoryId=MEMORY_ID, records=records)["successfulRecords"]
    aws.records += [one["memoryRecordId"] for one in created]

    def found(path: str) -> set[str]:
        answer = aws.client.list_memory_records(memoryId=MEMORY_ID, maxResults=100, namespacePath=path)
        return {one["content"]["text"] for one in answer["memoryRecordSummaries"]}

    until = time.monotonic() + CONSISTENT
    while len(found(root)) < 3:
        assert time.monotonic() < until
        time.sleep(5)
    assert found(f"{root}/a") == found(f"{root}/a/") == {f"{root}/a", f"{root}/a/", f"{root}/a/b/"}


@live
def test_batch_identifiers(aws: Live) -> None:
    texts = {f"r{n}": f"text {n}" for n in range(3)}
    records = [
        {"requestIdentifier": name, "namespaces": [f"/{aws.actor}/"], "content": {"text": text}, "timestamp": NOW}
        for name, text in texts.items()
    ]
    created = aws.client.batch_create_memory_records(memoryId=MEMORY_ID, records=records)["successfulRecords"]
    ids = {one["requestIdentifier"]: one["memoryRecordId"] for one in created}
    aws.records += ids.values()
    assert ids.keys() == texts.keys()
    for name, record_id in ids.items():
        assert aws.record(record_id)["content"]["text"] == texts[name]


@live
def test_record_metadata(aws: Live) -> None:
    metadata = {"statekeep": {"stringValue": f"{'0' * 40}:{'f' * 40}"}, "version": {"stringValue": "1"}}
    record = {"requestIdentifier": "r", "namespaces": [f"/{aws.actor}/"], "content": {"text": "tuna"}, "timestamp": NOW}
    answer = aws.client.batch_create_memory_records(memoryId=MEMORY_ID, records=[{**record, "metadata": metadata}])
    [created] = answer["successfulRecords"]
    aws.records.append(created["memoryRecordId"])
    assert aws.record(created["memoryRecordId"])["metadata"] == metadata

    def found() -> list[Any]:
        criteria = {"searchQuery": "tuna", "topK": 10}
        answer = aws.client.retrieve_memory_records(
            memoryId=MEMORY_ID, namespacePath=f"/{aws.actor}/", searchCriteria=criteria
        )
        return [one["metadata"] for one in answer["memoryRecordSummaries"]]

    until = time.monotonic() + CONSISTENT
    while not found():
        assert time.monotonic() < until
        time.sleep(5)
    assert found() == [metadata]


def repository(aws: Live, index: Any) -> Any:
    """Open the items of the real memory."""
    from statekeep.repositories.agentcore import AgentCoreItems
    from statekeep.repositories.aws import open_client
    from statekeep.repositories.items import ItemRepository

    client = open_client("bedrock-agentcore", client=aws.client)
    return ItemRepository(AgentCoreItems(client, MEMORY_ID, index=index))


@live
def test_items(aws: Live) -> None:
    """Not an assumption, but what rests on them."""
    keep, namespace = repository(aws, None), ("statekeep-live", aws.actor)
    try:
        first = keep.put(namespace, "k", {"text": "tuna"}, expected=None)
        second = keep.put(namespace, "k", {"text": "salmon"}, expected=first)
        assert (keep.get(namespace, "k"), second.version) == (second, 2)
        assert [item.key for item in keep.search(namespace)] == ["k"]
        assert keep.list_namespaces(prefix=namespace) == [namespace]
        assert keep.delete(namespace, "k")
        assert keep.get(namespace, "k") is None
    finally:
        keep.clear(namespace)


@live
def test_records_of_items(aws: Live) -> None:
    """An item is found at once, ranked after a while, and never when it is gone."""
    keep, namespace = repository(aws, {"fields": ["text"]}), ("statekeep-live", aws.actor)
    try:
        for text in ("tuna", "salmon"):
            item = keep.put(namespace, "k", {"text": text})
            assert [one.value for one in keep.search(namespace, query="fish")] == [item.value]
            until = time.monotonic() + CONSISTENT
            while keep.search(namespace, query="fish")[0].score is None:
                assert time.monotonic() < until
                time.sleep(5)
        assert keep.delete(namespace, "k")
        assert keep.search(namespace, query="fish") == []
    finally:
        keep.clear(namespace)
