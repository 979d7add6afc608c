"""The emulated sessions of Bedrock: life, ids, conflicts, listings, limits, over HTTP with a real boto3 client."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest
from botocore.config import Config

from statekeep.domain import InvalidInput
from statekeep.testing.aws import AwsEmulator, Clock, SessionRules, session_arn
from statekeep.testing.aws.assumptions import BEDROCK_SESSIONS

from ..agentcore.emulated import ONE_ATTEMPT, START, later, refused

UNCHECKED = Config(parameter_validation=False, retries={"total_max_attempts": 1})
UNKNOWN = "01234567-89ab-4cde-8f01-23456789abcd"


class Sessions:
    """One session of an emulator, through a real client."""

    def __init__(self, aws: AwsEmulator) -> None:
        self.aws = aws
        self.client = aws.client("bedrock-agent-runtime", config=UNCHECKED)
        self.id = self.create()["sessionId"]

    def create(self, **more: Any) -> Any:
        return self.client.create_session(**more)

    def get(self, session: str | None = None) -> Any:
        return self.client.get_session(sessionIdentifier=session or self.id)

    def invoke(self, invocation: str | None = None, session: str | None = None, **more: Any) -> str:
        chosen = {"invocationId": invocation} if invocation else {}
        request = {"sessionIdentifier": session or self.id, **chosen, **more}
        answer: str = self.client.create_invocation(**request)["invocationId"]
        return answer

    def put(self, invocation: str, step: str | None = None, text: str = "x", **more: Any) -> str:
        request = {
            "sessionIdentifier": self.id,
            "invocationIdentifier": invocation,
            "invocationStepTime": START,
            "payload": {"contentBlocks": [{"text": text}]},
            **({"invocationStepId": step} if step else {}),
            **more,
        }
        answer: str = self.client.put_invocation_step(**request)["invocationStepId"]
        return answer

    def step(self, invocation: str, step: str, session: str | None = None) -> Any:
        return self.client.get_invocation_step(
            sessionIdentifier=session or self.id, invocationIdentifier=invocation, invocationStepId=step
        )["invocationStep"]

    def page(self, invocation: str | None = None, **more: Any) -> Any:
        chosen = {"invocationIdentifier": invocation} if invocation else {}
        return self.client.list_invocation_steps(sessionIdentifier=self.id, **chosen, **more)

    def steps(self, invocation: str | None = None, **more: Any) -> list[str]:
        found: list[str] = []
        token: dict[str, str] = {}
        while True:
            page = self.page(invocation, **more, **token)
            found += [one["invocationStepId"] for one in page["invocationStepSummaries"]]
            if "nextToken" not in page:
                return found
            token = {"nextToken": page["nextToken"]}


Opened = Callable[..., Sessions]


@pytest.fixture
def opened() -> Iterator[Opened]:
    """Sessions of emulators whose clocks stand still, with rules of their own."""
    with ExitStack() as stack:

        def sessions(seed: int = 0, **rules: Any) -> Sessions:
            emulator = AwsEmulator(bedrock_sessions=SessionRules(**rules), clock=Clock(START), seed=seed)
            return Sessions(stack.enter_context(emulator))

        yield sessions


@pytest.fixture
def sessions(opened: Opened) -> Sessions:
    return opened()


def test_a_session_has_an_id_an_arn_metadata_and_a_key(sessions: Sessions) -> None:
    key = "arn:aws:kms:us-east-1:123456789012:key/" + UNKNOWN
    made = sessions.create(sessionMetadata={"a": "", "b": "ü"}, encryptionKeyArn=key)
    assert made["sessionStatus"] == "ACTIVE"
    assert made["createdAt"] == START
    assert made["sessionArn"] == session_arn(made["sessionId"])
    for name in (made["sessionId"], made["sessionArn"]):
        found = sessions.get(name)
        assert found["sessionId"] == made["sessionId"]
        assert found["sessionMetadata"] == {"a": "", "b": "ü"}
        assert found["encryptionKeyArn"] == key
        assert found["lastUpdatedAt"] == START
    assert "encryptionKeyArn" not in sessions.get()


def test_updating_replaces_the_metadata(sessions: Sessions) -> None:
    session = sessions.create(sessionMetadata={"a": "1", "b": "2"})["sessionId"]
    sessions.aws.clock.advance(5)
    updated = sessions.client.update_session(sessionIdentifier=session, sessionMetadata={"b": "3"})
    assert updated["lastUpdatedAt"] == later(5000)
    assert sessions.get(session)["sessionMetadata"] == {"b": "3"}


@pytest.mark.parametrize("name", [UNKNOWN, session_arn(UNKNOWN)])
def test_an_unknown_session_is_not_found(sessions: Sessions, name: str) -> None:
    client = sessions.client
    calls: list[Callable[[], Any]] = [
        lambda: client.get_session(sessionIdentifier=name),
        lambda: client.update_session(sessionIdentifier=name),
        lambda: client.end_session(sessionIdentifier=name),
        lambda: client.delete_session(sessionIdentifier=name),
        lambda: sessions.invoke(session=name),
        lambda: client.list_invocations(sessionIdentifier=name),
        lambda: sessions.put(UNKNOWN, sessionIdentifier=name),
        lambda: sessions.step(UNKNOWN, UNKNOWN, session=name),
        lambda: client.list_invocation_steps(sessionIdentifier=name),
        lambda: client.list_tags_for_resource(resourceArn=session_arn(UNKNOWN)),
    ]
    for call in calls:
        with refused("ResourceNotFoundException", 404):
            call()


def test_an_arn_of_another_region_is_not_found(sessions: Sessions) -> None:
    with refused("ResourceNotFoundException", 404):
        sessions.get(session_arn(sessions.id, "eu-west-1"))


@pytest.mark.parametrize("name", ["thread-1", UNKNOWN.upper(), "arn:aws:s3:::bucket", UNKNOWN + "0"])
def test_text_that_is_no_id_is_invalid(sessions: Sessions, name: str) -> None:
    with refused("ValidationException", 400):
        sessions.get(name)


def test_steps_go_there_and_back(sessions: Sessions) -> None:
    invocation = sessions.invoke(description="one")
    blocks = [{"text": "ü ☃ 𝄞 \x00"}, {"image": {"format": "png", "source": {"bytes": b"\x00\xff"}}}]
    step = sessions.put(
        invocation, payload={"contentBlocks": blocks}, invocationStepTime=START + timedelta(microseconds=1999)
    )
    found = sessions.step(invocation, step)
    assert found["payload"] == {"contentBlocks": blocks}
    assert (found["sessionId"], found["invocationId"], found["invocationStepId"]) == (sessions.id, invocation, step)
    assert found["invocationStepTime"] == later(1)
    [listed] = sessions.page()["invocationStepSummaries"]
    assert listed == {name: value for name, value in found.items() if name != "payload"}


def test_ids_of_the_client_conflict_when_used_again(sessions: Sessions) -> None:
    invocation, step = str(uuid.uuid4()), str(uuid.uuid4())
    assert sessions.invoke(invocation) == invocation
    with refused("ConflictException", 409):
        sessions.invoke(invocation)
    assert sessions.put(invocation, step, "first") == step
    other = sessions.invoke()
    for each in (invocation, other):
        with refused("ConflictException", 409):
            sessions.put(each, step, "second")
    assert sessions.step(invocation, step)["payload"]["contentBlocks"] == [{"text": "first"}]


def test_invocations_and_steps_must_be_there(sessions: Sessions) -> None:
    invocation, other = sessions.invoke(), sessions.invoke()
    step = sessions.put(invocation)
    calls: list[Callable[[], Any]] = [
        lambda: sessions.put(UNKNOWN),
        lambda: sessions.steps(UNKNOWN),
        lambda: sessions.step(invocation, UNKNOWN),
        lambda: sessions.step(other, step),
    ]
    for call in calls:
        with refused("ResourceNotFoundException", 404):
            call()


def test_an_ended_session_is_read_and_deleted_but_not_written(sessions: Sessions) -> None:
    invocation = sessions.invoke()
    step = sessions.put(invocation)
    with refused("ConflictException", 409, "end it"):
        sessions.client.delete_session(sessionIdentifier=sessions.id)
    assert sessions.client.end_session(sessionIdentifier=sessions.id)["sessionStatus"] == "ENDED"
    assert sessions.get()["sessionStatus"] == "ENDED"
    assert sessions.steps() == [step]
    assert sessions.step(invocation, step)["invocationStepId"] == step
    calls: list[Callable[[], Any]] = [
        lambda: sessions.put(invocation),
        sessions.invoke,
        lambda: sessions.client.update_session(sessionIdentifier=sessions.id, sessionMetadata={}),
        lambda: sessions.client.end_session(sessionIdentifier=sessions.id),
    ]
    for call in calls:
        with refused("ConflictException", 409, "ENDED"):
            call()
    sessions.client.delete_session(sessionIdentifier=sessions.id)
    with refused("ResourceNotFoundException", 404):
        sessions.get()


def test_a_session_expires_an_hour_after_the_last_write(sessions: Sessions) -> None:
    clock = sessions.aws.clock
    invocation = sessions.invoke()
    clock.advance(3599)
    step = sessions.put(invocation)
    clock.advance(3599)
    assert sessions.steps() == [step]
    assert sessions.get()["sessionStatus"] == "ACTIVE"
    clock.advance(1)
    assert sessions.get()["sessionStatus"] == "EXPIRED"
    with refused("ConflictException", 409, "EXPIRED"):
        sessions.put(invocation)
    assert sessions.steps() == [step]
    sessions.client.delete_session(sessionIdentifier=sessions.id)


def test_a_session_is_gone_after_thirty_days(sessions: Sessions) -> None:
    sessions.aws.clock.advance(30 * 86_400 - 1)
    assert sessions.get()["sessionStatus"] == "EXPIRED"
    assert len(sessions.client.list_sessions()["sessionSummaries"]) == 1
    sessions.aws.clock.advance(1)
    assert sessions.client.list_sessions()["sessionSummaries"] == []
    with refused("ResourceNotFoundException", 404):
        sessions.get()


def test_listings_have_pages_and_an_order_of_their_own(opened: Opened) -> None:
    orders = set()
    for seed in range(3):
        sessions = opened(seed)
        invocation = sessions.invoke()
        put = [sessions.put(invocation, str(uuid.UUID(int=n))) for n in range(25)]
        assert len(sessions.page()["invocationStepSummaries"]) == 10
        assert len(sessions.page(maxResults=1000)["invocationStepSummaries"]) == 25
        listed = sessions.steps()
        assert listed == sessions.steps(invocation, maxResults=1)
        assert sorted(listed) == put
        orders.add(tuple(listed))
    assert len(orders) == 3


def test_a_page_is_small_and_the_last_one_empty_where_the_rules_say_so(opened: Opened) -> None:
    sessions = opened(page_size=2, trailing_token=True)
    invocation = sessions.invoke()
    for _ in range(4):
        sessions.put(invocation)
    page = sessions.page(maxResults=1000)
    assert len(page["invocationStepSummaries"]) == 2
    page = sessions.page(maxResults=1000, nextToken=page["nextToken"])
    page = sessions.page(maxResults=1000, nextToken=page["nextToken"])
    assert page["invocationStepSummaries"] == []
    with refused("ValidationException", 400, "another request"):
        sessions.client.list_sessions(nextToken=sessions.page()["nextToken"])


def test_sessions_and_invocations_are_listed(sessions: Sessions) -> None:
    others = {sessions.create()["sessionId"] for _ in range(12)}
    pages = sessions.client.get_paginator("list_sessions").paginate()
    listed = {one["sessionId"]: one for page in pages for one in page["sessionSummaries"]}
    assert set(listed) == others | {sessions.id}
    assert listed[sessions.id]["sessionStatus"] == "ACTIVE"
    invocations = {sessions.invoke() for _ in range(3)}
    found = sessions.client.list_invocations(sessionIdentifier=sessions.id)["invocationSummaries"]
    assert {one["invocationId"] for one in found} == invocations


def test_a_step_is_listed_after_a_while(opened: Opened) -> None:
    sessions = opened(list_lag=2.0)
    invocation = sessions.invoke()
    step = sessions.put(invocation)
    assert sessions.steps() == []
    assert sessions.step(invocation, step)["invocationStepId"] == step
    sessions.aws.clock.advance(2)
    assert sessions.steps() == [step]


def test_a_full_session_takes_no_step_but_knows_those_it_has(opened: Opened) -> None:
    sessions = opened(steps=3)
    invocations = [sessions.invoke(), sessions.invoke()]
    step = str(uuid.uuid4())
    sessions.put(invocations[0], step)
    for invocation in invocations:
        sessions.put(invocation)
    with refused("ServiceQuotaExceededException", 400):
        sessions.put(invocations[0])
    with refused("ConflictException", 409):
        sessions.put(invocations[0], step)
    assert len(sessions.steps()) == 3


def test_a_step_has_a_size(opened: Opened) -> None:
    sessions = opened(step_bytes=10)
    invocation = sessions.invoke()
    sessions.put(invocation, text="ü" * 5)
    for blocks in ([{"text": "ü" * 6}], [{"text": "x" * 9}, {"image": {"format": "png", "source": {"bytes": b"xx"}}}]):
        with refused("ValidationException", 400, "11|12"):
            sessions.put(invocation, payload={"contentBlocks": blocks})
    assert len(sessions.steps()) == 1


@pytest.mark.parametrize(
    "metadata", [{str(n): "" for n in range(51)}, {"k": "x" * 5001}, {"": "x"}, {"k" * 101: ""}], ids=range(4)
)
def test_metadata_has_limits(sessions: Sessions, metadata: dict[str, str]) -> None:
    with refused("ValidationException", 400, "sessionMetadata"):
        sessions.create(sessionMetadata=metadata)


def test_tags(opened: Opened) -> None:
    sessions = opened(tags=2)
    arn = sessions.create(tags={"a": "1"})["sessionArn"]
    sessions.client.tag_resource(resourceArn=arn, tags={"a": "2", "b": ""})
    with refused("ServiceQuotaExceededException", 400):
        sessions.client.tag_resource(resourceArn=arn, tags={"c": ""})
    assert sessions.client.list_tags_for_resource(resourceArn=arn)["tags"] == {"a": "2", "b": ""}
    sessions.client.untag_resource(resourceArn=arn, tagKeys=["a", "z"])
    assert sessions.client.list_tags_for_resource(resourceArn=arn)["tags"] == {"b": ""}


def test_both_services_side_by_side(sessions: Sessions) -> None:
    memory = sessions.aws.client("bedrock-agentcore", config=ONE_ATTEMPT)
    assert memory.list_actors(memoryId=sessions.aws.memory_id)["actorSummaries"] == []
    # Both have ListSessions, at paths and with signatures of their own.
    with sessions.aws.record() as calls:
        sessions.client.list_sessions()
        memory.list_sessions(memoryId=sessions.aws.memory_id, actorId="a")
    assert [(call.service, call.operation) for call in calls] == [
        ("bedrock-agent-runtime", "ListSessions"),
        ("bedrock-agentcore", "ListSessions"),
    ]


def test_permissions_have_the_names_of_bedrock() -> None:
    with AwsEmulator(allowed=("bedrock:CreateSession",)) as aws:
        client = aws.client("bedrock-agent-runtime", config=ONE_ATTEMPT)
        session = client.create_session()["sessionId"]
        with refused("AccessDeniedException", 403, "bedrock:GetSession"):
            client.get_session(sessionIdentifier=session)


def test_other_operations_are_not_emulated(sessions: Sessions) -> None:
    with refused("NotEmulated", 501):
        sessions.client.delete_agent_memory(agentId="A" * 10, agentAliasId="B" * 10)


@pytest.mark.parametrize("rules", [{"idle": -1}, {"steps": 0}, {"page_size": 0}, {"list_lag": float("nan")}], ids=str)
def test_rules_have_bounds(rules: dict[str, Any]) -> None:
    [name] = rules
    with pytest.raises(InvalidInput, match=name):
        SessionRules(**rules)


def test_assumptions_have_names_of_their_own() -> None:
    names = [assumption.name for assumption in BEDROCK_SESSIONS]
    assert len(set(names)) == len(names)
    assert all(assumption.claim.endswith(".") for assumption in BEDROCK_SESSIONS)
