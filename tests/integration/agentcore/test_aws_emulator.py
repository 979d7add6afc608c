"""The emulator's protocol: routes, shapes, constraints, errors, signatures, over HTTP with a real boto3 client."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError

from statekeep.domain import InvalidInput
from statekeep.testing.aws import AgentCoreRules, AwsEmulator, Clock, memory_arn
from statekeep.testing.aws.application import service_model
from statekeep.testing.aws.assumptions import AGENTCORE

from .emulated import ONE_ATTEMPT, START, Memory, later, refused


@pytest.fixture(scope="module")
def aws() -> Iterator[AwsEmulator]:
    with AwsEmulator() as emulator:
        yield emulator


@pytest.fixture
def memory(aws: AwsEmulator) -> Memory:
    return Memory(aws, aws.agentcore.create_memory())


UNCHECKED = Config(parameter_validation=False, retries={"total_max_attempts": 1})


def send(aws: AwsEmulator, method: str, path: str, body: bytes = b"{}", **headers: str) -> tuple[int, Any, Any]:
    """Send what boto3 would not."""
    host = aws.endpoint_url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=5)
    credential = "Credential=K/20260101/us-east-1/bedrock-agentcore/aws4_request"
    signed = {
        "Authorization": f"AWS4-HMAC-SHA256 {credential}, SignedHeaders=host, Signature=0",
        "X-Amz-Date": "20260101T000000Z",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    connection.request(method, path, body, {name: value for name, value in signed.items() if value})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, dict(answer.headers.items()), json.loads(content or b"null")


def test_an_event_goes_there_and_back(memory: Memory) -> None:
    document: dict[str, Any] = {"text": "ü ☃ 𝄞 \x00", "list": [1, 2.5, None, True, {}], "": {"deep": [[]]}}
    payload = [
        {"blob": document},
        {"conversational": {"content": {"text": "hi"}, "role": "USER"}},
        {"json": {"content": document}},
    ]
    event = memory.create(
        at=later(1234.567), payload=payload, metadata={"k": {"stringValue": "v w"}, "empty": {"stringValue": ""}}
    )
    assert re.fullmatch(r"0000001767225601234#[0-9a-f]{8}", event["eventId"])
    assert event["payload"] == payload
    assert event["eventTimestamp"] == later(1234)
    assert event["branch"] == {"name": "main"}
    assert event["metadata"] == {"k": {"stringValue": "v w"}, "empty": {"stringValue": ""}}
    assert (event["memoryId"], event["actorId"], event["sessionId"]) == (memory.id, "a", "s")
    where = {"memoryId": memory.id, "actorId": "a", "sessionId": "s", "eventId": event["eventId"]}
    assert memory.client.get_event(**where)["event"] == event
    assert memory.page()["events"] == [event]


@pytest.mark.parametrize("blob", ["text", "", 0, False, [], {}, 1e300, -1, "1", ["a", {"b": None}]])
def test_a_blob_is_any_json_value(memory: Memory, blob: Any) -> None:
    assert memory.create(blob)["payload"] == [{"blob": blob}]
    [found] = memory.blobs()
    assert (found, type(found)) == (blob, type(blob))


def test_labels_may_have_slashes_colons_and_hashes(memory: Memory) -> None:
    actor = "team/a:b/c"
    event = memory.create(actor=actor)
    assert [found["eventId"] for found in memory.events(actor=actor)] == [event["eventId"]]
    memory.delete(event["eventId"], actor=actor)
    assert memory.events(actor=actor) == []


def test_a_memory_has_an_arn(memory: Memory) -> None:
    event = memory.create()
    by_arn = Memory(memory.aws, memory_arn(memory.id))
    assert by_arn.page()["events"] == [event]


@pytest.mark.parametrize(
    ("request_", "place"),
    [
        ({"actorId": "a b"}, "actorId"),
        ({"actorId": ""}, "actorId"),
        ({"actorId": "x" * 256}, "actorId"),
        ({"actorId": "a\n"}, "actorId"),
        ({"sessionId": "user:42"}, "sessionId"),
        ({"sessionId": "x" * 101}, "sessionId"),
        ({"sessionId": "é"}, "sessionId"),
        ({"payload": [{"blob": "x"}] * 101}, "payload"),
        ({"payload": [{"blob": "x", "json": {"content": 1}}]}, "payload.1.member"),
        ({"payload": [{"blob": "x"}, {}]}, "payload.2.member"),
        ({"payload": [{"conversational": {"role": "USER"}}]}, "payload.1.member.conversational.content"),
        (
            {"payload": [{"conversational": {"content": {"text": "x"}, "role": "SYSTEM"}}]},
            "payload.1.member.conversational.role",
        ),
        (
            {"payload": [{"conversational": {"content": {"text": "x" * 100_001}, "role": "USER"}}]},
            "payload.1.member.conversational.content.text",
        ),
        ({"extractionMode": "NEVER"}, "extractionMode"),
        ({"metadata": {f"k{n}": {"stringValue": ""} for n in range(16)}}, "metadata"),
        ({"metadata": {"k": {"stringValue": "x" * 257}}}, "metadata.k.stringValue"),
        ({"metadata": {"k": {"stringValue": "{}"}}}, "metadata.k.stringValue"),
        ({"metadata": {"k": {}}}, "metadata.k"),
        ({"metadata": {"": {"stringValue": ""}}}, "metadata.key"),
        ({"branch": {"name": "-"}}, "branch.name"),
        ({"branch": {}}, "branch.name"),
        ({"eventTimestamp": None}, "eventTimestamp"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_constraints_of_the_model(memory: Memory, request_: dict[str, Any], place: str) -> None:
    client = Memory(memory.aws, config=UNCHECKED).client
    request = {"actorId": "a", "sessionId": "s", "eventTimestamp": START, "payload": [{"blob": "x"}], **request_}
    with refused("ValidationException", 400, "failed to satisfy constraint") as caught:
        client.create_event(memoryId=memory.id, **{name: value for name, value in request.items() if value is not None})
    assert caught.value.response["reason"] == "FieldValidationFailed"
    assert place in [field["name"] for field in caught.value.response["fieldList"]]
    assert memory.actors() == set()


def test_what_is_just_within_the_limits(memory: Memory) -> None:
    memory.create(actor="x" * 255, session="y" * 100, payload=[])
    memory.create(
        payload=[{"conversational": {"content": {"text": "x" * 100_000}, "role": "TOOL"}}] + [{"blob": 1}] * 99,
        metadata={"k" * 128: {"stringValue": "v" * 256}, **{f"k{n}": {"stringValue": "."} for n in range(14)}},
    )
    assert memory.actors() == {"a", "x" * 255}


@pytest.mark.parametrize("size", [0, 101])
def test_the_limits_of_a_page(memory: Memory, size: int) -> None:
    client = Memory(memory.aws, config=UNCHECKED).client
    with refused("ValidationException", 400, "maxResults"):
        client.list_events(memoryId=memory.id, actorId="a", sessionId="s", maxResults=size)


@pytest.mark.parametrize("memory_id", ["memory", "memory-012345678", "memory-01234567890", "1memory-0123456789"])
def test_malformed_memory_ids(aws: AwsEmulator, memory_id: str) -> None:
    with refused("ValidationException", 400, "memoryId"):
        Memory(aws, memory_id, UNCHECKED).page()


def test_unknown_memories_and_events(memory: Memory) -> None:
    stranger = Memory(memory.aws, "stranger-0123456789")
    for call in (stranger.create, stranger.page, stranger.actors, stranger.sessions, stranger.records):
        with refused("ResourceNotFoundException", 404, "stranger-0123456789"):
            call()
    unknown = "0000001767225600000#00000000"
    with refused("ResourceNotFoundException", 404):
        memory.delete(unknown)
    with refused("ResourceNotFoundException", 404):
        memory.client.get_event(memoryId=memory.id, actorId="a", sessionId="s", eventId=unknown)
    assert memory.page()["events"] == []


def test_requests_must_be_signed_for_the_service(memory: Memory) -> None:
    unsigned = Memory(memory.aws, memory.id, Config(signature_version=UNSIGNED))
    with refused("AccessDeniedException", 403, "Missing Authentication Token"):
        unsigned.page()
    path = f"/memories/{memory.id}/actors"
    assert send(memory.aws, "POST", path)[0] == 200
    assert send(memory.aws, "POST", path, X_Amz_Date="")[0] == 403
    other = "AWS4-HMAC-SHA256 Credential=K/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
    assert send(memory.aws, "POST", path, Authorization=other)[0] == 404


def test_permissions() -> None:
    with AwsEmulator(allowed=["bedrock-agentcore:List*"]) as aws:
        memory = Memory(aws)
        assert memory.events() == []
        with refused("AccessDeniedException", 403, "not authorized to perform: bedrock-agentcore:CreateEvent"):
            memory.create()
        assert memory.events() == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "parsed"),
        (b"[]", "object"),
        (b'{"maxResults": NaN}', "NaN"),
        (b'{"maxResults": "5"}', "maxResults"),
        (b'{"maxResults": 1.5}', "maxResults"),
        (b'{"maxResults": true}', "maxResults"),
        (b'{"nextToken": 1}', "nextToken"),
        (b'{"nextToken": "\\ud800"}', "surrogate"),
        (b"\xff", "parsed"),
    ],
)
def test_bodies_that_cannot_be_parsed(memory: Memory, body: bytes, message: str) -> None:
    status, headers, members = send(memory.aws, "POST", f"/memories/{memory.id}/actors", body)
    assert status == 400
    assert headers["x-amzn-ErrorType"].startswith("ValidationException")
    assert members["reason"] == "CannotParse"
    assert message in members["message"]


def test_unknown_members_are_ignored_and_nulls_are_missing(memory: Memory) -> None:
    status, _, members = send(
        memory.aws, "POST", f"/memories/{memory.id}/actors", b'{"more": 1, "maxResults": null, "nextToken": null}'
    )
    assert (status, members) == (200, {"actorSummaries": []})


def test_paths_without_an_operation(memory: Memory) -> None:
    for method, path in [("GET", "/"), ("GET", "/memories"), ("PUT", f"/memories/{memory.id}/actors"), ("POST", "/x")]:
        assert send(memory.aws, method, path)[0] == 404
    # The model's, but not the emulator's; no status that clients try again.
    status, headers, _ = send(memory.aws, "POST", f"/memories/{memory.id}/extractionJobs")
    assert (status, headers["x-amzn-ErrorType"].partition(":")[0]) == (501, "NotEmulated")


def test_the_control_plane_describes_memories(aws: AwsEmulator) -> None:
    memory_id = aws.agentcore.create_memory(event_expiry_days=30)
    control = aws.client("bedrock-agentcore-control")
    found = control.get_memory(memoryId=memory_id)["memory"]
    assert (found["id"], found["eventExpiryDuration"], found["status"]) == (memory_id, 30, "ACTIVE")
    with pytest.raises(ClientError) as caught:
        control.get_memory(memoryId="absent-0123456789")
    assert caught.value.response["Error"]["Code"] == "ResourceNotFoundException"
    with pytest.raises(ClientError) as caught:
        control.list_memories()
    assert caught.value.response["Error"]["Code"] == "NotEmulated"


def test_emulated_operations_are_the_models(aws: AwsEmulator) -> None:
    names = set(service_model("bedrock-agentcore").operation_names)
    assert set(aws.agentcore.operations) <= names
    assert {name for name in names if "MemoryRecord" in name or "Event" in name} <= set(aws.agentcore.operations)


def test_many_threads_at_once(memory: Memory) -> None:
    client = memory.aws.client("bedrock-agentcore", config=Config(max_pool_connections=16))
    several = Memory(memory.aws, memory.id)
    several.client = client
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: several.create(n, at=later(n // 10), session=f"s{n % 3}"), range(300)))
    found = [several.blobs(session=f"s{n}", maxResults=7) for n in range(3)]
    assert sorted(blob for blobs in found for blob in blobs) == list(range(300))


def test_the_same_seed_gives_the_same_ids() -> None:
    ids = []
    for seed in (1, 1, 2):
        with AwsEmulator(seed=seed) as aws:
            ids.append([Memory(aws).create()["eventId"] for _ in range(3)])
    assert ids[0] == ids[1] != ids[2]


def test_a_session_has_clients_of_the_emulator(aws: AwsEmulator) -> None:
    session = aws.session()
    assert isinstance(session, boto3.Session)
    client = session.client("bedrock-agentcore", config=Config(user_agent_extra="x"), endpoint_url=None)
    assert client.meta.endpoint_url == aws.endpoint_url
    assert client.list_actors(memoryId=aws.memory_id)["actorSummaries"] == []


def test_proxies_are_passed_by(aws: AwsEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    assert aws.client("bedrock-agentcore").list_actors(memoryId=aws.memory_id)["actorSummaries"] == []


def test_a_stopped_emulator_does_not_answer() -> None:
    threads = threading.active_count()
    with AwsEmulator() as aws:
        memory = Memory(aws)
        memory.create()
    with pytest.raises(EndpointConnectionError):
        memory.page()
    aws.stop()
    assert threading.active_count() <= threads + 1  # a handler may still notice


def test_calls_and_bytes_are_counted(memory: Memory) -> None:
    before = memory.aws.totals
    with memory.aws.record() as calls:
        memory.create("x" * 1000)
        memory.page()
        with pytest.raises(ClientError):
            memory.page(nextToken="garbage")
    memory.page()
    assert [(call.operation, call.status, call.error) for call in calls] == [
        ("CreateEvent", 201, None),
        ("ListEvents", 200, None),
        ("ListEvents", 400, "ValidationException"),
    ]
    assert calls.operations == {"CreateEvent": 1, "ListEvents": 2}
    assert calls[0].arguments["payload"] == [{"blob": "x" * 1000}]
    assert 1000 < calls[0].request_bytes < 1300
    assert 1000 < calls[1].response_bytes < 1400
    assert calls.request_bytes == sum(call.request_bytes for call in calls)
    assert calls.response_bytes == sum(call.response_bytes for call in calls)
    totals = memory.aws.totals
    assert totals.calls - before.calls == {"CreateEvent": 1, "ListEvents": 3}
    assert totals.errors - before.errors == {"ValidationException": 1}
    assert totals.request_bytes - before.request_bytes > calls.request_bytes
    memory.aws.reset_totals()
    assert memory.aws.totals.calls == {}


def test_its_own_settings_are_checked() -> None:
    for wrong in ({"filter_lag": -1}, {"page_size": 0}, {"event_bytes": 0}):
        with pytest.raises(InvalidInput) as caught:
            AgentCoreRules(**wrong)  # type: ignore[arg-type]
        assert caught.value.field in wrong
    with AwsEmulator() as aws:
        with pytest.raises(InvalidInput, match="already"):
            aws.agentcore.create_memory(memory_id=aws.memory_id)
        with pytest.raises(InvalidInput, match="event_expiry_days"):
            aws.agentcore.create_memory(event_expiry_days=1)
        other = aws.agentcore.create_memory("notes")
        Memory(aws, other).create()
        assert Memory(aws).actors() == set()
        aws.agentcore.delete_memory(other)
        with refused("ResourceNotFoundException", 404):
            Memory(aws, other).page()


def test_a_clock_that_stands_still() -> None:
    clock = Clock(START)
    with AwsEmulator(clock=clock) as aws:
        memory = Memory(aws)
        memory.create()
        clock.advance(5)
        memory.create(session="t")
        listed = memory.client.list_sessions(memoryId=memory.id, actorId="a")["sessionSummaries"]
        assert {one["sessionId"]: one["createdAt"] for one in listed} == {"s": START, "t": later(5000)}


def test_assumptions_have_names_of_their_own() -> None:
    names = [assumption.name for assumption in AGENTCORE]
    assert len(set(names)) == len(names)
    assert all(assumption.claim.endswith(".") for assumption in AGENTCORE)


def test_the_fixture(tmp_path: Path) -> None:
    program = tmp_path / "test_it.py"
    program.write_text(
        "def test_it(aws_emulator):\n    client = aws_emulator.client('bedrock-agentcore')\n"
        "    assert client.list_actors(memoryId=aws_emulator.memory_id)['actorSummaries'] == []\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "statekeep.testing.aws.fixtures", "-p", "no:cacheprovider"]
    run = subprocess.run(
        [*command, f"--rootdir={tmp_path}", "-c", os.devnull, str(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "1 passed" in run.stdout, run.stdout + run.stderr


def test_the_command() -> None:
    command = [sys.executable, "-m", "statekeep.testing.aws", "--memory-id", "notes-0123456789", "--throttle", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(3)]
            [url] = re.findall(r"AWS_ENDPOINT_URL=(\S+)", lines[0])
            settings = dict(re.findall(r"(AWS_\w+)=(\S+)", lines[1]))
            assert "notes-0123456789" in lines[2]
            client = boto3.client(
                "bedrock-agentcore",
                endpoint_url=url,
                region_name=settings["AWS_DEFAULT_REGION"],
                aws_access_key_id=settings["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=settings["AWS_SECRET_ACCESS_KEY"],
                config=Config(proxies={}).merge(ONE_ATTEMPT),
            )
            with refused("ThrottledException", 429):
                client.list_actors(memoryId="notes-0123456789")
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
