"""The operations of Bedrock's sessions with typed requests and answers, blocking and from event loops."""

from __future__ import annotations

import asyncio
import inspect
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.config import Config
from pydantic import SecretStr

from statekeep.domain import (
    AccessDenied,
    ClientClosed,
    Conflict,
    InvalidInput,
    QuotaExceeded,
    StatekeepError,
    Throttled,
    Unavailable,
)
from statekeep.langgraph_shim.async_session import AsyncBedrockAgentRuntimeSessionClient
from statekeep.langgraph_shim.session import BedrockAgentRuntimeSessionClient
from statekeep.repositories.bedrock_sessions import models
from statekeep.repositories.bedrock_sessions.models import (
    BedrockSessionContentBlock,
    CreateInvocationRequest,
    CreateSessionRequest,
    DeleteSessionRequest,
    EndSessionRequest,
    GetInvocationStepRequest,
    GetSessionRequest,
    ImageBlock,
    ImageSource,
    InvocationStepPayload,
    ListInvocationsRequest,
    ListInvocationStepsRequest,
    ListSessionsRequest,
    PutInvocationStepRequest,
    S3Location,
    UpdateSessionRequest,
)
from statekeep.repositories.faces import Repository
from statekeep.testing.aws import AwsEmulator, SessionRules, cut_before, refuse, throttle

UNKNOWN = "01234567-89ab-4cde-8f01-23456789abcd"
NOW = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
ONCE = Config(retries={"total_max_attempts": 1})

OPERATIONS = {
    "create_session",
    "get_session",
    "update_session",
    "end_session",
    "delete_session",
    "list_sessions",
    "create_invocation",
    "list_invocations",
    "put_invocation_step",
    "get_invocation_step",
    "list_invocation_steps",
}


class Face:
    """The methods of a client of either kind, called in the same way."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.loop = asyncio.Runner()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.client, name)

        def call(*args: Any, **fields: Any) -> Any:
            result = method(*args, **fields)
            return self.loop.run(result) if inspect.iscoroutine(result) else result

        return call


@pytest.fixture(scope="module")
def aws() -> Iterator[AwsEmulator]:
    with AwsEmulator(bedrock_sessions=SessionRules(steps=20)) as emulator:
        yield emulator


@pytest.fixture(autouse=True)
def healthy(aws: AwsEmulator) -> Iterator[None]:
    yield
    aws.faults = []


@pytest.fixture(scope="module")
def boto_client(aws: AwsEmulator) -> Any:
    return aws.client("bedrock-agent-runtime", config=ONCE)


@pytest.fixture(params=[BedrockAgentRuntimeSessionClient, AsyncBedrockAgentRuntimeSessionClient])
def sessions(request: pytest.FixtureRequest, boto_client: Any) -> Iterator[Any]:
    face = Face(request.param(boto_client))
    yield face
    face.loop.close()


@pytest.fixture
def session(sessions: Any) -> str:
    found: str = sessions.create_session().session_id
    return found


def test_both_kinds_have_all_operations() -> None:
    for kind in (BedrockAgentRuntimeSessionClient, AsyncBedrockAgentRuntimeSessionClient):
        assert {name for name in dir(kind) if name.partition("_")[2] and not name.startswith("_")} == OPERATIONS
        for name in OPERATIONS:
            assert inspect.iscoroutinefunction(getattr(kind, name)) is kind.__name__.startswith("Async")
            assert inspect.getdoc(getattr(kind, name))


def test_a_session_from_its_beginning_to_its_end(sessions: Any) -> None:
    made = sessions.create_session(CreateSessionRequest(session_metadata={"user": "ada"}, tags={"team": "x"}))
    assert made.session_arn.endswith(made.session_id)
    assert made.session_status == "ACTIVE"
    found = sessions.get_session(GetSessionRequest(session_identifier=made.session_arn))
    assert (found.session_id, found.created_at, found.session_metadata) == (
        made.session_id,
        made.created_at,
        {"user": "ada"},
    )
    assert found.created_at.tzinfo is not None
    updated = sessions.update_session(
        UpdateSessionRequest(session_identifier=made.session_id, session_metadata={"user": "bob"})
    )
    assert updated.last_updated_at >= found.last_updated_at
    assert sessions.get_session(session_identifier=made.session_id).session_metadata == {"user": "bob"}
    assert made.session_id in {one.session_id for one in pages(sessions.list_sessions, "session_summaries")}

    invocation = str(uuid.uuid4())
    request = CreateInvocationRequest(session_identifier=made.session_id, invocation_id=invocation, description="d")
    assert sessions.create_invocation(request).invocation_id == invocation
    listed = sessions.list_invocations(ListInvocationsRequest(session_identifier=made.session_id)).invocation_summaries
    assert [(one.session_id, one.invocation_id) for one in listed] == [(made.session_id, invocation)]

    blocks = [
        BedrockSessionContentBlock(text="hello"),
        BedrockSessionContentBlock(image=ImageBlock(format="png", source=ImageSource(bytes=b"\x89PNG"))),
        BedrockSessionContentBlock(
            image=ImageBlock(format="webp", source=ImageSource(s3_location=S3Location(uri="s3://bucket/key")))
        ),
    ]
    payload = InvocationStepPayload(content_blocks=blocks)
    put = PutInvocationStepRequest(
        session_identifier=made.session_id, invocation_identifier=invocation, invocation_step_time=NOW, payload=payload
    )
    step = sessions.put_invocation_step(put).invocation_step_id
    where = {"session_identifier": made.session_id, "invocation_identifier": invocation}
    found_step = sessions.get_invocation_step(
        GetInvocationStepRequest(**where, invocation_step_id=step)
    ).invocation_step
    assert (found_step.payload, found_step.invocation_step_time) == (payload, NOW)
    assert (found_step.session_id, found_step.invocation_id, found_step.invocation_step_id) == (
        made.session_id,
        invocation,
        step,
    )
    summaries = sessions.list_invocation_steps(ListInvocationStepsRequest(**where)).invocation_step_summaries
    assert [one.invocation_step_id for one in summaries] == [step]

    with pytest.raises(Conflict, match="ended first"):
        sessions.delete_session(DeleteSessionRequest(session_identifier=made.session_id))
    assert sessions.end_session(EndSessionRequest(session_identifier=made.session_id)).session_status == "ENDED"
    with pytest.raises(Conflict, match="ENDED"):
        sessions.put_invocation_step(put)
    assert sessions.delete_session(session_identifier=made.session_id) is None
    with pytest.raises(InvalidInput, match="no such session") as caught:
        sessions.get_session(session_identifier=made.session_id)
    assert (caught.value.field, caught.value.operation) == ("session_identifier", "get_session")


def pages(method: Any, name: str, **fields: Any) -> list[Any]:
    found: list[Any] = []
    token: dict[str, str] = {}
    while True:
        page = method(**fields, **token)
        found += getattr(page, name)
        if page.next_token is None:
            return found
        token = {"next_token": page.next_token}


def test_listings_have_pages(sessions: Any, session: str) -> None:
    for _ in range(3):
        sessions.create_invocation(session_identifier=session)
    page = sessions.list_invocations(session_identifier=session, max_results=2)
    assert len(page.invocation_summaries) == 2
    rest = sessions.list_invocations(session_identifier=session, max_results=2, next_token=page.next_token)
    assert len({one.invocation_id for one in (*page.invocation_summaries, *rest.invocation_summaries)}) == 3
    assert rest.next_token is None
    assert len(sessions.list_sessions(ListSessionsRequest(max_results=1)).session_summaries) == 1


def test_fields_have_both_names_and_are_frozen(sessions: Any, session: str) -> None:
    aliased: Any = {"sessionIdentifier": session}
    request = GetSessionRequest(**aliased)
    assert request == GetSessionRequest(session_identifier=session)
    assert request.model_dump(by_alias=True) == {"sessionIdentifier": session}
    answer = sessions.get_session(request)
    assert answer == sessions.get_session(sessionIdentifier=session)
    assert answer.model_dump(by_alias=True)["sessionStatus"] == "ACTIVE"
    for model, field in ((request, "session_identifier"), (answer, "session_status")):
        with pytest.raises(ValueError, match="frozen"):
            setattr(model, field, "x")


def test_every_model_is_public() -> None:
    kinds = {
        name
        for name, kind in vars(models).items()
        if isinstance(kind, type) and issubclass(kind, models.Part) and kind.__module__ == models.__name__
    }
    assert {*models.__all__} == kinds - {"OfSession", "Part", "Request", "Session"}


def test_what_the_service_may_add_is_ignored(session: str) -> None:
    known = {"sessionId": session, "sessionArn": "a", "sessionStatus": "DREAMING", "createdAt": NOW}
    assert models.CreateSessionResponse(**known, colour="red").session_status == "DREAMING"
    assert models.BedrockSessionContentBlock(SDK_UNKNOWN_MEMBER={"name": "video"}).text is None


@pytest.mark.parametrize(
    ("name", "fields", "field", "match"),
    [
        ("get_session", {}, "session_identifier", "Field required"),
        ("get_session", {"session_identifier": "user:42"}, "session_identifier", "CreateSession return them"),
        ("get_session", {"session_identifier": UNKNOWN.upper()}, "session_identifier", "lower case"),
        ("get_session", {"session_identifier": 5}, "session_identifier", "valid string"),
        ("get_session", {"session_identifier": UNKNOWN, "sesion": "x"}, "sesion", "not permitted"),
        ("create_session", {"session_metadata": {"k": 5}}, "session_metadata", "valid string"),
        ("create_session", {"tags": {}}, "tags", "at least 1"),
        ("list_sessions", {"max_results": 0}, "max_results", "greater than or equal to 1"),
        ("list_sessions", {"max_results": 1001}, "max_results", "less than or equal to 1000"),
        ("create_invocation", {"session_identifier": UNKNOWN, "invocation_id": "x"}, "invocation_id", "must be a UUID"),
        ("create_invocation", {"session_identifier": UNKNOWN, "description": ""}, "description", "at least 1"),
        (
            "put_invocation_step",
            {"session_identifier": UNKNOWN, "invocation_identifier": UNKNOWN, "invocation_step_time": NOW},
            "payload",
            "Field required",
        ),
        (
            "get_invocation_step",
            {"session_identifier": UNKNOWN, "invocation_identifier": UNKNOWN, "invocation_step_id": UNKNOWN + "0"},
            "invocation_step_id",
            "must be a UUID",
        ),
    ],
)
def test_wrong_fields(sessions: Any, aws: AwsEmulator, name: str, fields: Any, field: str, match: str) -> None:
    with aws.record() as calls:
        with pytest.raises(InvalidInput, match=match) as caught:
            getattr(sessions, name)(**fields)
    assert caught.value.field == field
    assert len(calls) == 0


def test_wrong_requests(sessions: Any, session: str) -> None:
    with pytest.raises(InvalidInput, match="must be a GetSessionRequest, got EndSessionRequest") as caught:
        sessions.get_session(EndSessionRequest(session_identifier=session))
    assert caught.value.field == "request"
    with pytest.raises(InvalidInput, match="cannot be given too") as caught:
        sessions.get_session(GetSessionRequest(session_identifier=session), session_identifier=session)
    assert caught.value.field == "session_identifier"


@pytest.mark.parametrize(
    "content",
    [
        {"text": "x", "image": {"format": "png", "source": {"bytes": b"x"}}},
        {"image": {"format": "png", "source": {"bytes": b"x", "s3_location": {"uri": "s3://b/k"}}}},
        {"image": {"format": "bmp", "source": {"bytes": b"x"}}},
        {"text": ""},
    ],
)
def test_wrong_blocks(content: Any) -> None:
    with pytest.raises(InvalidInput):
        BedrockSessionContentBlock(**content)


def test_a_block_without_content_is_refused(sessions: Any, session: str) -> None:
    invocation = sessions.create_invocation(session_identifier=session).invocation_id
    where = {"session_identifier": session, "invocation_identifier": invocation, "invocation_step_time": NOW}
    with pytest.raises(InvalidInput):
        sessions.put_invocation_step(**where, payload={"content_blocks": [{}]})


def test_what_is_not_there_is_named(sessions: Any, session: str) -> None:
    made = sessions.create_invocation(session_identifier=session).invocation_id
    for fields, field in (
        ({"session_identifier": UNKNOWN, "invocation_identifier": made}, "session_identifier"),
        ({"session_identifier": session, "invocation_identifier": UNKNOWN}, "invocation_identifier"),
    ):
        with pytest.raises(InvalidInput, match=UNKNOWN) as caught:
            sessions.list_invocation_steps(**fields)
        assert caught.value.field == field
    with pytest.raises(InvalidInput, match=UNKNOWN) as caught:
        sessions.get_invocation_step(session_identifier=session, invocation_identifier=made, invocation_step_id=UNKNOWN)
    assert caught.value.field == "invocation_step_id"


ERRORS: dict[str, tuple[Any, type[StatekeepError], str]] = {
    "denied": (refuse("AccessDeniedException", status=403), AccessDenied, "IAM action bedrock:CreateSession"),
    "throttled": (throttle(), Throttled, "slow down"),
    "over a quota": (refuse("ServiceQuotaExceededException", status=400), QuotaExceeded, "quota"),
    "away": (cut_before(), Unavailable, "connection broke"),
}


@pytest.mark.parametrize("error", ERRORS)
def test_errors_are_translated(sessions: Any, aws: AwsEmulator, error: str) -> None:
    fault, kind, match = ERRORS[error]
    with aws.failing(fault):
        with pytest.raises(kind, match=match) as caught:
            sessions.create_session()
    assert caught.value.operation == "create_session"


def test_a_full_session(sessions: Any, session: str) -> None:
    where = {
        "session_identifier": session,
        "invocation_identifier": sessions.create_invocation(session_identifier=session).invocation_id,
        "invocation_step_time": NOW,
        "payload": {"content_blocks": [{"text": "x"}]},
    }
    for _ in range(20):
        sessions.put_invocation_step(**where)
    with pytest.raises(QuotaExceeded):
        sessions.put_invocation_step(**where)


def test_an_answer_that_is_not_the_services() -> None:
    class Elsewhere:
        def execute(self, request: Any) -> Any:
            return {"hello": "world", "ResponseMetadata": {}}

    client = BedrockAgentRuntimeSessionClient.__new__(BedrockAgentRuntimeSessionClient)
    elsewhere: Any = Elsewhere()
    Repository.__init__(client, elsewhere)
    with pytest.raises(Unavailable, match="check endpoint_url"):
        client.create_session()


def test_the_clients_constructor(aws: AwsEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    url = aws.endpoint_url
    made = BedrockAgentRuntimeSessionClient(None, None, "us-east-1", None, SecretStr("a"), "s", None, url, ONCE)
    with made as client:
        assert client.create_session().session_status == "ACTIVE"
        assert client.client.meta.service_model.service_name == "bedrock-agent-runtime"
        assert client.client.meta.region_name == "us-east-1"
    with pytest.raises(ClientClosed, match="closed"):
        client.create_session()


def test_a_client_of_the_user_stays_open(boto_client: Any) -> None:
    with BedrockAgentRuntimeSessionClient(boto_client) as client:
        assert client.client is boto_client
    assert boto_client.list_sessions()["sessionSummaries"] is not None
    with pytest.raises(InvalidInput, match="region_name cannot be given too"):
        BedrockAgentRuntimeSessionClient(boto_client, region_name="us-east-1")


@pytest.mark.anyio
async def test_no_call_is_made_in_the_loops_thread(boto_client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []
    send = type(boto_client)._make_api_call

    def noted(self: Any, *args: Any) -> Any:
        threads.append(threading.current_thread())
        return send(self, *args)

    monkeypatch.setattr(type(boto_client), "_make_api_call", noted)
    async with AsyncBedrockAgentRuntimeSessionClient(boto_client) as client:
        made = await asyncio.gather(*(client.create_session() for _ in range(20)))
    assert len({one.session_id for one in made}) == 20
    assert len(threads) == 20
    assert threading.current_thread() not in threads
