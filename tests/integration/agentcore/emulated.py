"""Shorthands for requests to the emulated AgentCore Memory."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from copy import copy
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from unittest.mock import patch

import pytest
from attrs import evolve
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.retries.standard import ExponentialBackoff

from statekeep.domain import InvalidInput, ids
from statekeep.repositories.aws import AwsClient
from statekeep.repositories.checkpoints import CheckpointRepository
from statekeep.repositories.items import ItemRepository
from statekeep.repositories.records.framing import Record
from statekeep.testing.aws import AgentCoreRules, AwsEmulator, Fault, SessionRules, cut_after, throttle

START = datetime(2026, 1, 1, tzinfo=UTC)

ONE_ATTEMPT = Config(retries={"total_max_attempts": 1})


PATIENT = Config(retries={"total_max_attempts": 12, "mode": "standard"})

WORLDS: dict[str, tuple[AgentCoreRules, list[Fault]]] = {
    "plain": (AgentCoreRules(), []),
    "small pages": (AgentCoreRules(page_size=1, trailing_token=True, filter_lag=60, token_life=1e9), []),
    "faults": (AgentCoreRules(page_bytes=200_000), [throttle(rate=0.1), cut_after(rate=0.05)]),
}
"""Ways in which the service may behave that must make no difference."""

SESSION_WORLDS: dict[str, SessionRules] = {
    "plain": SessionRules(),
    "small pages": SessionRules(page_size=1, trailing_token=True),
    "faults": SessionRules(list_lag=1.0),
}
"""The same for Bedrock's sessions, which are served by the same emulators."""


EXAMPLE = "notes-Ab12Cd34Ef"


class Worlds:
    """An emulator for each of these, started when it is asked for, and one client of each."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._emulators: dict[str, AwsEmulator] = {}
        self._clients: dict[tuple[str, str], Any] = {}

    def emulator(self, name: str) -> AwsEmulator:
        if name not in self._emulators:
            rules, faults = WORLDS[name]
            emulator = AwsEmulator(agentcore=rules, bedrock_sessions=SESSION_WORLDS[name], faults=faults)
            self._emulators[name] = self._stack.enter_context(emulator)
        return self._emulators[name]

    def client(self, name: str, service: str = "bedrock-agentcore") -> Any:
        """Clients take longer to make than most tests to run."""
        if (name, service) not in self._clients:
            self._clients[name, service] = self.emulator(name).client(service, config=PATIENT)
        return self._clients[name, service]

    def set_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let every client of boto3 find an emulator, which has the memory of the documents' examples."""
        aws = self.emulator("plain")
        with suppress(InvalidInput):  # it is there already
            aws.agentcore.create_memory(memory_id=EXAMPLE)
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_AGENTCORE", aws.endpoint_url)
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_AGENT_RUNTIME", aws.endpoint_url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "EMULATED")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "emulated")

    def close(self) -> None:
        self._stack.close()


def later(milliseconds: float = 0) -> datetime:
    return START + timedelta(milliseconds=milliseconds)


_clients: dict[tuple[str, Config], Any] = {}


def _client(url: str, session: Any, config: Config) -> Any:
    """Clients take longer to make than most tests to run."""
    key = (url, config)
    if key not in _clients:
        _clients[key] = session.client("bedrock-agentcore", config=config)
    return _clients[key]


class Memory:
    """One memory of an emulator, through a real client."""

    def __init__(self, aws: AwsEmulator, memory_id: str | None = None, config: Config = ONE_ATTEMPT) -> None:
        self.aws = aws
        self.client = _client(aws.endpoint_url, aws.session(), config)
        self.id = memory_id or aws.memory_id

    def create(self, blob: Any = "x", at: datetime = START, session: str = "s", actor: str = "a", **more: Any) -> Any:
        request = {"eventTimestamp": at, "payload": [{"blob": blob}], "sessionId": session, "actorId": actor, **more}
        return self.client.create_event(memoryId=self.id, **request)["event"]

    def page(self, session: str = "s", actor: str = "a", **more: Any) -> Any:
        return self.client.list_events(memoryId=self.id, sessionId=session, actorId=actor, **more)

    def events(self, session: str = "s", actor: str = "a", **more: Any) -> list[Any]:
        events: list[Any] = []
        token: dict[str, str] = {}
        while True:
            page = self.page(session, actor, **more, **token)
            events += page["events"]
            if "nextToken" not in page:
                return events
            token = {"nextToken": page["nextToken"]}

    def blobs(self, session: str = "s", actor: str = "a", **more: Any) -> list[Any]:
        return [event["payload"][0]["blob"] for event in self.events(session, actor, **more)]

    def delete(self, event_id: str, session: str = "s", actor: str = "a") -> Any:
        return self.client.delete_event(memoryId=self.id, sessionId=session, actorId=actor, eventId=event_id)

    def sessions(self, actor: str = "a", **more: Any) -> set[str]:
        pages = self.client.get_paginator("list_sessions").paginate(memoryId=self.id, actorId=actor, **more)
        return {summary["sessionId"] for page in pages for summary in page["sessionSummaries"]}

    def actors(self) -> set[str]:
        pages = self.client.get_paginator("list_actors").paginate(memoryId=self.id)
        return {summary["actorId"] for page in pages for summary in page["actorSummaries"]}

    def record(self, text: str, namespace: str = "/n", **more: Any) -> Any:
        one = {"requestIdentifier": "r", "namespaces": [namespace], "content": {"text": text}, "timestamp": START}
        spec = {"recordExpirySpecification": more.pop("expiry")} if "expiry" in more else {}
        answer = self.client.batch_create_memory_records(memoryId=self.id, records=[{**one, **more}], **spec)
        return answer["successfulRecords"][0]["memoryRecordId"]

    def records(self, **more: Any) -> list[Any]:
        request = more if {"namespace", "namespacePath"} & set(more) else {"namespace": "/n", **more}
        pages = self.client.get_paginator("list_memory_records").paginate(memoryId=self.id, **request)
        return [summary for page in pages for summary in page["memoryRecordSummaries"]]

    def texts(self, **more: Any) -> set[str]:
        return {record["content"]["text"] for record in self.records(**more)}

    def retrieve(self, query: str, **more: Any) -> list[Any]:
        criteria = {"searchQuery": query, **more.pop("criteria", {})}
        request = {"namespace": "/n", "searchCriteria": criteria, **more}
        pages = self.client.get_paginator("retrieve_memory_records").paginate(memoryId=self.id, **request)
        return [summary for page in pages for summary in page["memoryRecordSummaries"]]


@contextmanager
def clock_ahead(seconds: float) -> Iterator[None]:
    """Be another machine for a while, whose clock is ahead of this one's."""
    real = time.time_ns
    with (
        patch.object(ids, "_uuid_stamps", ids._Stamps(4096)),
        patch.object(ids, "_write_stamps", ids._Stamps(1_000_000)),
        patch.object(ids, "_moments", ids._Stamps(1000)),
        patch.object(time, "time_ns", lambda: real() + round(seconds * 10**9)),
    ):
        yield


def cost(memory: Memory, keep: CheckpointRepository | ItemRepository, call: Callable[[], Any]) -> tuple[int, int]:
    """Return how many calls are made, and in how many rounds of them."""
    rounds = 0
    execute = keep.backend.execute

    def counted(request: Any) -> Any:
        nonlocal rounds
        rounds += 1
        return execute(request)

    with pytest.MonkeyPatch.context() as patch, memory.aws.record() as calls:
        patch.setattr(keep.backend, "execute", counted)
        call()
    return len(calls), rounds


def ahead(keep: ItemRepository, milliseconds: int) -> ItemRepository:
    """Return the same, whose clock is ahead."""
    backend: Any = copy(keep.backend)
    backend._settings = evolve(backend._settings, clock=lambda: time.time_ns() + milliseconds * 1_000_000)
    return ItemRepository(backend)


def hold_the_first(boto_client: Any, client: AwsClient, others: int, actor: str | None = None) -> Callable[[], None]:
    """Send the first CreateEvent (of an actor) not before so many calls wait for it.

    Returns a function that ends this.
    """
    first = iter([True])

    def hold(params: Any, **_: Any) -> None:
        if actor in (None, params["actorId"]) and next(first, False):
            deadline = time.monotonic() + 60
            while client._joiner.waiting < others:
                assert time.monotonic() < deadline, f"{client._joiner.waiting} calls wait, not {others}"
                time.sleep(0.005)

    name = "provide-client-params.bedrock-agentcore.CreateEvent"
    boto_client.meta.events.register(name, hold)
    return lambda: boto_client.meta.events.unregister(name, hold)


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let botocore wait little before it tries again: up to a second, then two, four ... when it was throttled."""
    for scale in ("throttling_base_scale", "non_throttling_base_scale"):
        monkeypatch.setitem(ExponentialBackoff._DEFAULT_BACKOFF_CONFIG, scale, 0.001)


@contextmanager
def refused(code: str, status: int, match: str = ".") -> Iterator[pytest.ExceptionInfo[Any]]:
    """Expect an answer of the service."""
    with pytest.raises(ClientError, match=match) as caught:
        yield caught
    response = caught.value.response
    assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)


def framed(record: Record) -> str:
    """Frame a record as ours are, also one that the package would not write."""
    head = json.dumps(record.head).encode()
    lengths = json.dumps([len(head), *map(len, record.blobs)]).encode()
    content = b"".join([lengths, b"\n", head, *record.blobs])
    return f"statekeep/1 {sha256(content).hexdigest()[:32]} 0 1 raw {b64encode(content).decode()}"
