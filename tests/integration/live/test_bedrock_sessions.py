"""What the emulator assumes of Bedrock's sessions, checked against the real service.

These tests need an account, and make a few hundred calls. They run when STATEKEEP_LIVE_BEDROCK_SESSIONS is set, and
boto3 finds credentials and a region:

    STATEKEEP_LIVE_BEDROCK_SESSIONS=1 AWS_PROFILE=me python -m pytest tests/integration/live/test_bedrock_sessions.py

With AWS_ENDPOINT_URL they run against an emulator. Each test is named after an assumption of
``statekeep.testing.aws.assumptions``. All sessions that they make they end and delete.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from statekeep.testing.aws.assumptions import BEDROCK_SESSIONS

IS_LIVE = bool(os.environ.get("STATEKEEP_LIVE_BEDROCK_SESSIONS", ""))
live = pytest.mark.skipif(not IS_LIVE, reason="STATEKEEP_LIVE_BEDROCK_SESSIONS is not set")

NOW = datetime.now(UTC).replace(microsecond=0)

INCONSISTENCIES = 20
"""How often it is tried whether something is seen at once."""


class Live:
    """One session of its own."""

    def __init__(self) -> None:
        import boto3
        from botocore.config import Config

        config = Config(parameter_validation=False, retries={"mode": "standard", "total_max_attempts": 8})
        self.client = boto3.client("bedrock-agent-runtime", config=config)
        self.made: list[str] = []
        self.session = self.create()["sessionId"]

    def create(self, **more: Any) -> Any:
        made = self.client.create_session(**more)
        self.made.append(made["sessionId"])
        return made

    def get(self, session: str | None = None) -> Any:
        return self.client.get_session(sessionIdentifier=session or self.session)

    def invoke(self, **more: Any) -> str:
        name: str = self.client.create_invocation(**{"sessionIdentifier": self.session, **more})["invocationId"]
        return name

    def put(self, invocation: str, text: str = "x", **more: Any) -> str:
        request = {
            "sessionIdentifier": self.session,
            "invocationIdentifier": invocation,
            "invocationStepTime": NOW,
            "payload": {"contentBlocks": [{"text": text}]},
            **more,
        }
        name: str = self.client.put_invocation_step(**request)["invocationStepId"]
        return name

    def step(self, invocation: str, step: str, **more: Any) -> Any:
        where = {
            "sessionIdentifier": self.session,
            "invocationIdentifier": invocation,
            "invocationStepId": step,
            **more,
        }
        return self.client.get_invocation_step(**where)["invocationStep"]

    def page(self, **more: Any) -> Any:
        return self.client.list_invocation_steps(**{"sessionIdentifier": self.session, **more})

    def steps(self, **more: Any) -> list[str]:
        return [one["invocationStepId"] for one in self.page(maxResults=1000, **more)["invocationStepSummaries"]]

    def end(self, session: str | None = None) -> Any:
        return self.client.end_session(sessionIdentifier=session or self.session)

    def delete(self, session: str | None = None) -> Any:
        return self.client.delete_session(sessionIdentifier=session or self.session)

    def refused(self, call: Callable[[], Any], code: str, status: int) -> None:
        with pytest.raises(self.client.exceptions.ClientError) as caught:
            call()
        response = caught.value.response
        assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)

    def not_found(self, call: Callable[[], Any]) -> None:
        self.refused(call, "ResourceNotFoundException", 404)

    def conflicts(self, call: Callable[[], Any]) -> None:
        self.refused(call, "ConflictException", 409)

    def clean(self) -> None:
        for session in self.made:
            for call in (self.end, self.delete):
                try:
                    call(session)
                except (self.client.exceptions.ConflictException, self.client.exceptions.ResourceNotFoundException):
                    pass  # it is ended or deleted already


@pytest.fixture
def aws() -> Iterator[Live]:
    one = Live()
    yield one
    one.clean()


def test_every_assumption_that_can_be_checked_is() -> None:
    tests = {name.removeprefix("test_").replace("_", "-") for name, value in globals().items() if name[:5] == "test_"}
    assert {assumption.name for assumption in BEDROCK_SESSIONS if assumption.live} <= tests


@live
def test_constraints(aws: Live) -> None:
    wrong: list[Callable[[], Any]] = [
        lambda: aws.create(sessionMetadata={"k": "x" * 5001}),
        lambda: aws.create(sessionMetadata={f"k{number}": "x" for number in range(51)}),
        lambda: aws.create(tags={"k": "{}"}),
        lambda: aws.invoke(invocationId="not a UUID"),
        lambda: aws.invoke(invocationId=str(uuid.uuid4()).upper()),
        lambda: aws.put(aws.invoke(), text=""),
        lambda: aws.put(aws.invoke(), payload={"contentBlocks": []}),
        lambda: aws.page(maxResults=1001),
        lambda: aws.page(maxResults=0),
    ]
    for call in wrong:
        aws.refused(call, "ValidationException", 400)
    assert aws.steps() == []


@live
def test_service_ids(aws: Live) -> None:
    wanted = str(uuid.uuid4())
    members = aws.client.meta.service_model.operation_model("CreateSession").input_shape.members
    assert [name for name in members if name.lower().endswith("id")] == []
    made = aws.create(sessionMetadata={"wanted": wanted})
    assert str(uuid.UUID(made["sessionId"])) == made["sessionId"] != wanted
    assert made["sessionStatus"] == "ACTIVE"


@live
def test_session_arn(aws: Live) -> None:
    arn = aws.get()["sessionArn"]
    assert aws.get(arn)["sessionId"] == aws.session
    invocation = aws.invoke(sessionIdentifier=arn)
    step = aws.put(invocation, sessionIdentifier=arn)
    assert aws.step(invocation, step, sessionIdentifier=arn)["sessionId"] == aws.session
    assert aws.steps(sessionIdentifier=arn) == aws.steps() == [step]


@live
def test_unknown_session(aws: Live) -> None:
    unknown = str(uuid.uuid4())
    invocation = aws.invoke()
    step = aws.put(invocation)
    for call in (
        partial(aws.get, unknown),
        partial(aws.client.update_session, sessionIdentifier=unknown, sessionMetadata={"k": "v"}),
        partial(aws.end, unknown),
        partial(aws.delete, unknown),
        partial(aws.invoke, sessionIdentifier=unknown),
        partial(aws.client.list_invocations, sessionIdentifier=unknown),
        partial(aws.put, invocation, sessionIdentifier=unknown),
        partial(aws.step, invocation, step, sessionIdentifier=unknown),
        partial(aws.page, sessionIdentifier=unknown),
    ):
        aws.not_found(call)


@live
def test_unknown_invocation(aws: Live) -> None:
    unknown = str(uuid.uuid4())
    aws.not_found(lambda: aws.put(unknown))
    aws.not_found(lambda: aws.page(invocationIdentifier=unknown))
    assert aws.steps() == []


@live
def test_unknown_step(aws: Live) -> None:
    first, second = aws.invoke(), aws.invoke()
    step = aws.put(first)
    aws.not_found(lambda: aws.step(first, str(uuid.uuid4())))
    aws.not_found(lambda: aws.step(second, step))


@live
def test_client_ids(aws: Live) -> None:
    # No version of UUID: the digits say what a step has.
    invocation, step = "ba768b33-1fd8-6cec-803b-e04e56ab2b3d", "c0123456-789a-bcde-f012-3456789abcde"
    assert aws.invoke(invocationId=invocation) == invocation
    aws.conflicts(lambda: aws.invoke(invocationId=invocation))
    assert aws.put(invocation, invocationStepId=step) == step
    aws.conflicts(lambda: aws.put(invocation, invocationStepId=step))
    aws.conflicts(lambda: aws.put(invocation, "other", invocationStepId=step))
    other = aws.invoke()
    aws.conflicts(lambda: aws.put(other, invocationStepId=step))
    assert aws.step(invocation, step)["payload"]["contentBlocks"] == [{"text": "x"}]
    # Another session may have both.
    aws.session = aws.create()["sessionId"]
    aws.invoke(invocationId=invocation)
    assert aws.put(invocation, invocationStepId=step) == step


@live
def test_closed_session(aws: Live) -> None:
    invocation = aws.invoke()
    aws.end()
    for call in (
        partial(aws.put, invocation),
        aws.invoke,
        partial(aws.client.update_session, sessionIdentifier=aws.session, sessionMetadata={"k": "v"}),
    ):
        aws.conflicts(call)


@live
def test_ended_readable(aws: Live) -> None:
    invocation = aws.invoke()
    step = aws.put(invocation, "kept")
    assert aws.end()["sessionStatus"] == "ENDED"
    assert aws.get()["sessionStatus"] == "ENDED"
    assert aws.steps() == [step]
    assert aws.step(invocation, step)["payload"]["contentBlocks"] == [{"text": "kept"}]


@live
def test_end_twice(aws: Live) -> None:
    aws.end()
    aws.conflicts(aws.end)


@live
def test_delete_active(aws: Live) -> None:
    aws.conflicts(aws.delete)
    assert aws.get()["sessionStatus"] == "ACTIVE"


@live
def test_default_page(aws: Live) -> None:
    invocation = aws.invoke()
    names = {aws.put(invocation) for _ in range(11)}
    page = aws.page()
    assert len(page["invocationStepSummaries"]) == 10
    assert page["nextToken"]
    assert set(aws.steps()) == names


@live
def test_page_tokens(aws: Live) -> None:
    invocation = aws.invoke()
    names = [aws.put(invocation) for _ in range(6)]
    found: list[str] = []
    token: dict[str, str] = {}
    while True:
        page = aws.page(maxResults=2, **token)
        found += [one["invocationStepId"] for one in page["invocationStepSummaries"]]
        if not page.get("nextToken"):
            break
        token = {"nextToken": page["nextToken"]}
    assert sorted(found) == sorted(names)


@live
def test_listed_at_once(aws: Live) -> None:
    invocation = aws.invoke()
    names: list[str] = []
    for _ in range(INCONSISTENCIES):
        names.append(aws.put(invocation))
        assert sorted(aws.steps()) == sorted(aws.steps(invocationIdentifier=invocation)) == sorted(names)


@live
def test_found_at_once(aws: Live) -> None:
    invocation = aws.invoke()
    for number in range(INCONSISTENCIES):
        step = aws.put(invocation, f"text {number} ü ☃")
        assert aws.step(invocation, step)["payload"]["contentBlocks"] == [{"text": f"text {number} ü ☃"}]


@live
def test_milliseconds(aws: Live) -> None:
    invocation = aws.invoke()
    step = aws.put(invocation, invocationStepTime=NOW + timedelta(microseconds=123_987))
    [listed] = aws.page()["invocationStepSummaries"]
    wanted = NOW + timedelta(milliseconds=123)
    assert aws.step(invocation, step)["invocationStepTime"] == listed["invocationStepTime"] == wanted


@live
def test_metadata_replaced(aws: Live) -> None:
    session = aws.create(sessionMetadata={"a": "1", "b": "2"})["sessionId"]
    aws.client.update_session(sessionIdentifier=session, sessionMetadata={"b": "3"})
    assert aws.get(session)["sessionMetadata"] == {"b": "3"}
