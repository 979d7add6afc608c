"""Clients of AWS services: calls one by one and side by side, blocking and from event loops, and their errors."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import socket
import ssl
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import trustme
from attrs import evolve
from botocore.config import Config

from statekeep.domain import (
    AccessDenied,
    ClientClosed,
    Conflict,
    InvalidInput,
    QuotaExceeded,
    StatekeepError,
    Throttled,
    Unavailable,
    Unsupported,
)
from statekeep.repositories.aws import AwsCall, AwsCalls, AwsClient, Joins, NotFound, Request, open_client
from statekeep.testing.aws import (
    AwsEmulator,
    Fault,
    conflict,
    cut_after,
    cut_before,
    refuse,
    server_error,
    slow,
    throttle,
)
from tests.integration.tls_proxy import TlsProxy

from .emulated import START, hold_the_first

pytestmark = pytest.mark.anyio

AGENTCORE = "bedrock-agentcore"
ONCE = Config(retries={"total_max_attempts": 1}, proxies={})


@pytest.fixture(scope="module")
def aws() -> Iterator[AwsEmulator]:
    with AwsEmulator() as emulator:
        yield emulator


@pytest.fixture(autouse=True)
def healthy(aws: AwsEmulator) -> Iterator[None]:
    yield
    aws.faults = []


def opened(aws: AwsEmulator, config: Config = ONCE, **options: Any) -> AwsClient:
    keys = {"aws_access_key_id": "K", "aws_secret_access_key": "s3cr3t"}
    defaults: dict[str, Any] = {"endpoint_url": aws.endpoint_url, "region_name": "us-east-1", **keys}
    return open_client(AGENTCORE, **{**defaults, "config": config, **options})


@pytest.fixture(scope="module")
def client(aws: AwsEmulator) -> Iterator[AwsClient]:
    made = opened(aws)
    yield made
    made.close()


@pytest.fixture
def memory_id(aws: AwsEmulator) -> str:
    return aws.agentcore.create_memory()


def create(memory_id: str, blob: Any = "x", session: str = "s", **more: Any) -> AwsCall:
    request = {"memoryId": memory_id, "actorId": "a", "sessionId": session, "eventTimestamp": START}
    return AwsCall("CreateEvent", {**request, "payload": [{"blob": blob}], **more})


def read(memory_id: str, session: str = "s") -> AwsCall:
    return AwsCall("ListEvents", {"memoryId": memory_id, "actorId": "a", "sessionId": session})


def blobs(reply: Any) -> list[Any]:
    return [event["payload"][0]["blob"] for event in reply["events"]]


# -- calls


async def test_a_call(client: AwsClient, memory_id: str) -> None:
    client.execute(create(memory_id, "sync", "s"))
    await client.aexecute(create(memory_id, "async", "t"))
    assert blobs(client.execute(read(memory_id, "t"))) == ["async"]
    assert blobs(await client.aexecute(read(memory_id, "s"))) == ["sync"]


@pytest.mark.parametrize("size", [0, 1, 2, 40])
async def test_calls_side_by_side_keep_their_order(client: AwsClient, memory_id: str, size: int) -> None:
    client.execute(AwsCalls([create(memory_id, n, f"s{n}") for n in range(size)]))
    calls = AwsCalls([read(memory_id, f"s{n}") for n in range(size)])
    assert [blobs(reply) for reply in client.execute(calls)] == [[n] for n in range(size)]
    assert [blobs(reply) for reply in await client.aexecute(calls)] == [[n] for n in range(size)]


async def test_calls_side_by_side_are_one_round(aws: AwsEmulator, client: AwsClient, memory_id: str) -> None:
    aws.faults = [slow(0.3)]
    calls = AwsCalls([read(memory_id, f"s{n}") for n in range(8)])
    with aws.record() as recorded:
        client.execute(calls)
        await client.aexecute(calls)
    assert (len(recorded), recorded.rounds) == (16, 2)


async def test_all_calls_run_and_the_first_error_is_raised(aws: AwsEmulator, client: AwsClient, memory_id: str) -> None:
    wrong = AwsCall("DeleteEvent", {**read(memory_id).arguments, "eventId": "1#0"})
    for execute in (client.execute, client.aexecute):
        calls = AwsCalls([create(memory_id), wrong, create("nobody-0123456789"), create(memory_id)])
        with aws.record() as recorded, pytest.raises(NotFound):
            reply = execute(calls)
            if asyncio.iscoroutine(reply):
                await reply
        assert recorded.operations == {"CreateEvent": 3, "DeleteEvent": 1}
    assert len(client.execute(read(memory_id))["events"]) == 4


async def test_event_loops_are_not_blocked(aws: AwsEmulator, client: AwsClient, memory_id: str) -> None:
    aws.faults = [slow(0.3)]
    task = asyncio.create_task(client.aexecute(read(memory_id)))
    ticks = 0
    while not task.done():
        await asyncio.sleep(0.01)
        ticks += 1
    assert ticks > 5


async def test_a_large_fan_out_waits_for_its_turn(aws: AwsEmulator, memory_id: str) -> None:
    client = opened(aws, Config(max_pool_connections=3).merge(ONCE))
    aws.faults = [slow(0.02)]
    most: set[threading.Thread] = set()
    before = set(threading.enumerate())

    async def one(n: int) -> None:
        nonlocal most
        await client.aexecute(create(memory_id, n, f"s{n % 5}"))
        new = {thread for thread in set(threading.enumerate()) - before if thread.name.startswith("statekeep-aws")}
        most = max(most, new, key=len)

    with aws.record() as recorded:
        await asyncio.gather(*(one(n) for n in range(60)))
    assert len(recorded) == 60
    assert 0 < len(most) <= 3
    moments = sorted([(call.began, 1) for call in recorded] + [(call.ended, -1) for call in recorded])
    active = peak = 0
    for _, change in moments:
        active += change
        peak = max(peak, active)
    assert peak <= 3
    client.close()


async def test_context_variables_reach_the_calls(aws: AwsEmulator, memory_id: str) -> None:
    variable = contextvars.ContextVar("variable", default="none")
    seen = []
    boto = aws.client(AGENTCORE)
    boto.meta.events.register("before-send", lambda **_: seen.append(variable.get()))
    client = open_client(AGENTCORE, client=boto)
    variable.set("here")
    await client.aexecute(read(memory_id))
    client.execute(AwsCalls([read(memory_id)] * 2))
    assert seen == ["here"] * 3


async def test_several_event_loops(client: AwsClient, memory_id: str) -> None:
    for _ in range(2):
        thread = threading.Thread(target=lambda: asyncio.run(client.aexecute(create(memory_id))))
        thread.start()
        await asyncio.to_thread(thread.join)
    assert len(client.execute(read(memory_id))["events"]) == 2


async def test_cancelling_leaves_the_call_to_its_end(aws: AwsEmulator, client: AwsClient, memory_id: str) -> None:
    aws.faults = [slow(0.2)]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await client.aexecute(create(memory_id))
    await asyncio.sleep(0.3)
    assert len(client.execute(read(memory_id))["events"]) == 1


def test_an_operation_that_there_is_not(client: AwsClient) -> None:
    with pytest.raises(InvalidInput, match="CreateEvents"):
        client.execute(AwsCall("CreateEvents", {}))


# -- calls that go out as one


def joining(memory_id: str, blob: str, session: str = "s", size: int = 1) -> AwsCall:
    joins = Joins((memory_id, session), "payload", 1, size, most_items=100, most_size=1000)
    return evolve(create(memory_id, blob, session), joins=joins)


@pytest.fixture
def held(aws: AwsEmulator) -> Iterator[Callable[[int], AwsClient]]:
    """Makes a client whose first CreateEvent waits until so many others wait for it."""
    boto = aws.client(AGENTCORE, config=ONCE)
    ends = []

    def held(others: int) -> AwsClient:
        client = open_client(AGENTCORE, client=boto)
        ends.append(hold_the_first(boto, client, others))
        return client

    yield held
    for end in ends:
        end()


def in_threads(client: AwsClient, requests: Sequence[Request]) -> list[Any]:
    with ThreadPoolExecutor(len(requests)) as pool:
        futures = [pool.submit(client.execute, request) for request in requests]
        return [future.exception() or future.result() for future in futures]


async def in_tasks(client: AwsClient, requests: Sequence[Request]) -> list[Any]:
    return await asyncio.gather(*map(client.aexecute, requests), return_exceptions=True)


def payloads(client: AwsClient, memory_id: str, session: str = "s") -> list[list[str]]:
    events = client.execute(read(memory_id, session))["events"]
    return [[item["blob"] for item in event["payload"]] for event in events]


@pytest.mark.parametrize("face", ["threads", "tasks"])
async def test_calls_that_wait_for_each_other_go_out_as_one(
    face: str, aws: AwsEmulator, memory_id: str, held: Callable[[int], AwsClient]
) -> None:
    client = held(49)
    requests: list[Request] = [joining(memory_id, f"{number}") for number in range(49)]
    requests.append(AwsCalls([joining(memory_id, "49"), create(memory_id, "other", "t")]))
    with aws.record() as calls:
        replies = in_threads(client, requests) if face == "threads" else await in_tasks(client, requests)
    assert not [reply for reply in replies if isinstance(reply, BaseException)]
    assert calls.operations == {"CreateEvent": 3}
    found = payloads(client, memory_id)
    assert sorted(map(len, found)) == [1, 49]
    # Each is answered by the event that it is in.
    ids = {blob: event["eventId"] for event in client.execute(read(memory_id))["events"] for blob in texts(event)}
    assert [reply["event"]["eventId"] for reply in replies[:49]] == [ids[f"{number}"] for number in range(49)]
    assert replies[49][0]["event"]["eventId"] == ids["49"]
    # And then the next one goes out at once.
    client.execute(joining(memory_id, "later"))
    assert ["later"] in payloads(client, memory_id)


def texts(event: Any) -> list[str]:
    return [item["blob"] for item in event["payload"]]


async def test_calls_that_are_too_many_or_too_large_for_one(
    aws: AwsEmulator, memory_id: str, held: Callable[[int], AwsClient]
) -> None:
    client = held(209)
    large = [joining(memory_id, f"large {number}", size=600) for number in range(4)]
    requests = [joining(memory_id, "first"), *large, *(joining(memory_id, f"{number}") for number in range(205))]
    with aws.record() as calls:
        await in_tasks(client, requests)
    # The first, three of the large ones, the last of them with 99 others, 100, and 6.
    assert sorted(map(len, payloads(client, memory_id))) == [1, 1, 1, 1, 6, 100, 100]
    assert len(calls) == 7
    assert sum(one.count("7") for one in payloads(client, memory_id)) == 1


@pytest.mark.parametrize("face", ["threads", "tasks"])
async def test_an_error_of_a_joined_call_reaches_each_caller(
    face: str, aws: AwsEmulator, memory_id: str, held: Callable[[int], AwsClient]
) -> None:
    client = held(9)
    aws.faults = [throttle("CreateEvent", skip=1, times=1)]
    requests = [joining(memory_id, f"{number}") for number in range(10)]
    replies = in_threads(client, requests) if face == "threads" else await in_tasks(client, requests)
    errors = [reply for reply in replies if isinstance(reply, Throttled)]
    assert len(errors) == 9
    assert len({id(error) for error in errors}) == 9
    assert len({str(error) for error in errors}) == 1
    assert all(error.__cause__ is not None for error in errors)
    assert [len(one) for one in payloads(client, memory_id)] == [1]
    client.execute(joining(memory_id, "later"))


async def test_who_is_cancelled_while_it_waits_is_left_out(
    aws: AwsEmulator, memory_id: str, held: Callable[[int], AwsClient]
) -> None:
    client = held(3)
    tasks = [asyncio.create_task(client.aexecute(joining(memory_id, f"{number}"))) for number in range(3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[1]
    tasks.append(asyncio.create_task(client.aexecute(joining(memory_id, "3"))))
    await asyncio.gather(tasks[0], tasks[2], tasks[3])
    assert sorted(payloads(client, memory_id)) == [["0"], ["2", "3"]]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_does_not_wait_for_calls_of_its_parent(aws: AwsEmulator, memory_id: str) -> None:
    client = opened(aws)
    aws.faults = [slow(1.0, "CreateEvent", times=1)]
    thread = threading.Thread(target=client.execute, args=[joining(memory_id, "parent")])
    with aws.record() as calls:
        thread.start()
        while not client._joiner._queues:
            time.sleep(0.001)
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            status = 1
            try:
                client.execute(joining(memory_id, "child"))
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        thread.join()
    assert len(calls) == 2
    assert sorted(payloads(client, memory_id)) == [["child"], ["parent"]]
    client.close()


# -- closing and forking


async def test_a_client_of_ours_is_closed_and_one_of_the_user_is_not(aws: AwsEmulator, memory_id: str) -> None:
    boto = aws.client(AGENTCORE)
    for client in (open_client(AGENTCORE, client=boto), opened(aws)):
        client.execute(AwsCalls([read(memory_id)] * 2))
        await client.aclose()
        with pytest.raises(ClientClosed, match="closed"):
            client.execute(read(memory_id))
        with pytest.raises(ClientClosed, match="closed"):
            await client.aexecute(read(memory_id))
    assert boto.list_events(**read(memory_id).arguments)["events"] == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_has_connections_and_threads_of_its_own(aws: AwsEmulator, memory_id: str) -> None:
    client = opened(aws)
    aws.faults = [slow(0.05)]
    client.execute(AwsCalls([create(memory_id, "before", "s")] * 2))
    parents = client._client
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # threads that are not there any more would never answer
        status = 1
        try:
            # No more than there were threads: more would start new ones.
            client.execute(AwsCalls([create(memory_id, "child", f"c{n}") for n in range(2)]))
            status = 0 if client._client is not parents else 2
        finally:
            os._exit(status)
    client.execute(AwsCalls([create(memory_id, "parent", f"p{n}") for n in range(2)]))
    assert os.waitpid(child, 0)[1] == 0
    assert client._client is parents
    for letter, blob in (("c", "child"), ("p", "parent")):
        replies = client.execute(AwsCalls([read(memory_id, f"{letter}{n}") for n in range(2)]))
        assert [blobs(reply) for reply in replies] == [[blob]] * 2
    client.close()


# -- errors


@pytest.mark.parametrize(
    ("fault", "expected", "words"),
    [
        (throttle(), Throttled, ["slow down", "Service Quotas"]),
        (conflict(), Conflict, ["same time"]),
        (server_error(), Unavailable, ["failed"]),
        (cut_before(), Unavailable, ["connection broke"]),
        (cut_after(), Unavailable, ["connection broke"]),
        (refuse("ExpiredTokenException"), AccessDenied, ["expired"]),
        (refuse("UnrecognizedClientException"), AccessDenied, ["does not accept the credentials"]),
        (refuse("ServiceQuotaExceededException", status=402), QuotaExceeded, ["quota"]),
        (refuse("SubscriptionRequired", status=403), AccessDenied, ["bedrock-agentcore:CreateEvent"]),
    ],
    ids=lambda value: value.code or value.kind if isinstance(value, Fault) else "",
)
async def test_what_goes_wrong(
    aws: AwsEmulator, client: AwsClient, memory_id: str, fault: Fault, expected: type[StatekeepError], words: list[str]
) -> None:
    aws.faults = [fault]
    for request in (create(memory_id), AwsCalls([create(memory_id)])):
        with pytest.raises(expected) as caught:
            client.execute(request)
        for word in words:
            assert word in str(caught.value)
        with pytest.raises(expected):
            await client.aexecute(request)


@pytest.mark.parametrize(
    ("arguments", "expected", "field"),
    [
        ({"memoryId": "nobody-0123456789"}, InvalidInput, "memory_id"),
        ({"memoryId": "just-a-name"}, InvalidInput, "memory_id"),
        ({"actorId": "a b"}, InvalidInput, "actorId"),
        ({"payload": [{"blob": "x" * 10_000_001}]}, QuotaExceeded, None),
        ({"payload": [{"blob": "x"}] * 101}, InvalidInput, "payload"),
    ],
    ids=["unknown memory", "a memory's name", "actor", "size", "items"],
)
def test_what_the_service_refuses(
    client: AwsClient, memory_id: str, arguments: dict[str, Any], expected: type[StatekeepError], field: str | None
) -> None:
    with pytest.raises(expected) as caught:
        client.execute(create(memory_id, **arguments))
    assert type(caught.value) is expected
    assert getattr(caught.value, "field", None) == field
    assert caught.value.__cause__ is not None
    assert client.execute(read(memory_id))["events"] == []


def test_no_permission(memory_id: str) -> None:
    with AwsEmulator(allowed=["bedrock-agentcore:List*"]) as aws:
        client = opened(aws)
        client.execute(read(aws.memory_id))
        with pytest.raises(AccessDenied, match="bedrock-agentcore:CreateEvent"):
            client.execute(create(aws.memory_id))


def test_no_credentials(aws: AwsEmulator, memory_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    client = open_client(AGENTCORE, endpoint_url=aws.endpoint_url, region_name="us-east-1", config=ONCE)
    with pytest.raises(AccessDenied, match="AWS_ACCESS_KEY_ID"):
        client.execute(read(memory_id))


def test_secrets_are_in_no_traceback(aws: AwsEmulator, memory_id: str) -> None:
    token = "t0k3n-v4lu3"
    client = opened(aws, aws_session_token=token)
    text = f"The canonical string was: x-amz-security-token:{token}"
    for code in ("InvalidSignatureException", "SignatureDoesNotMatch", "ExpiredTokenException"):
        aws.faults = [refuse(code, message=text)]
        with pytest.raises(AccessDenied) as caught:
            client.execute(read(memory_id))
        shown = "".join(traceback.format_exception(caught.value))
        assert token not in shown
        assert "s3cr3t" not in shown


def test_nobody_answers(aws: AwsEmulator, memory_id: str) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        client = opened(aws, endpoint_url=f"http://127.0.0.1:{bound.getsockname()[1]}")
        with pytest.raises(Unavailable, match="cannot be reached"):
            client.execute(read(memory_id))


def test_an_answer_that_is_too_late(aws: AwsEmulator, memory_id: str) -> None:
    client = opened(aws, Config(read_timeout=0.1).merge(ONCE))
    aws.faults = [slow(1)]
    began = time.monotonic()
    with pytest.raises(Unavailable, match="read_timeout"):
        client.execute(read(memory_id))
    assert time.monotonic() - began < 0.9


def test_something_else_answers(aws: AwsEmulator, memory_id: str) -> None:
    client = opened(aws, endpoint_url=f"{aws.endpoint_url}/elsewhere")
    with pytest.raises(Unsupported, match="endpoint_url"):
        client.execute(read(memory_id))


def test_retries_are_botocores(aws: AwsEmulator, memory_id: str) -> None:
    client = opened(aws, Config(proxies={}))
    aws.faults = [cut_after("CreateEvent", times=3), server_error(skip=1, times=1), conflict(skip=2, times=1)]
    with aws.record() as recorded:
        client.execute(create(memory_id))
    assert 3 < len(recorded) <= 6
    assert len(client.execute(read(memory_id))["events"]) == 1
    aws.faults = [server_error("ListEvents")]
    with aws.record() as recorded, pytest.raises(Unavailable, match="tried 8 times"):
        client.execute(read(memory_id))
    assert len(recorded) == 8


async def test_what_is_missing_may_be_none(client: AwsClient, memory_id: str) -> None:
    event = client.execute(create(memory_id))["event"]
    where = {name: event[name] for name in ("memoryId", "actorId", "sessionId", "eventId")}
    calls = AwsCalls([AwsCall("DeleteEvent", where, missing_ok=True)] * 2)
    for execute in (client.execute, client.aexecute):
        reply = execute(calls)
        answers = await reply if asyncio.iscoroutine(reply) else reply
        assert sorted(answer is None for answer in answers) in ([False, True], [True, True])
    with pytest.raises(NotFound):
        client.execute(AwsCall("DeleteEvent", where))


# -- TLS


def test_a_certificate_that_is_not_trusted_is_not_tried_again(aws: AwsEmulator, memory_id: str) -> None:
    handshakes = []
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(made)
    made.sni_callback = lambda *_: handshakes.append(1)
    options: Any = {"region_name": "us-east-1", "aws_access_key_id": "AKIA", "aws_secret_access_key": "secret"}
    with TlsProxy(int(aws.endpoint_url.rpartition(":")[2]), made) as proxy:
        client = open_client(AGENTCORE, endpoint_url=f"https://127.0.0.1:{proxy.port}", **options)
        for _ in range(2):
            with pytest.raises(
                AccessDenied, match="the TLS certificate of the endpoint is refused: SSLError"
            ) as caught:
                client.execute(read(memory_id))
            assert "verify=" in str(caught.value)
        assert len(handshakes) == 2
        client.close()
        client = open_client(AGENTCORE, endpoint_url=f"https://127.0.0.1:{proxy.port}", verify=False, **options)
        with warnings.catch_warnings(action="ignore"):
            assert client.execute(read(memory_id))["events"] == []
        client.close()
