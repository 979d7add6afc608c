"""Checkpoints in emulated Bedrock sessions: what operations cost, what closes a session, what errors say."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from attrs import evolve
from botocore.config import Config

import statekeep
from statekeep.domain import (
    AccessDenied,
    Channel,
    Checkpoint,
    CorruptRecord,
    InvalidInput,
    QuotaExceeded,
    StatekeepError,
    ThreadClosed,
    Unavailable,
    new_checkpoint_id,
)
from statekeep.repositories.aws import open_client
from statekeep.repositories.bedrock_sessions import BedrockSessionCheckpoints
from statekeep.repositories.bedrock_sessions.ids import invocation_of, session_of
from statekeep.repositories.checkpoints import CheckpointRepository
from statekeep.repositories.records.framing import records
from statekeep.testing.aws import AwsEmulator, SessionRules, conflict, cut_after, cut_before, refuse, session_arn, slow
from tests.notices import all_notices

from ..agentcore.emulated import clock_ahead, framed
from .records import backend, letters, write

ONCE = Config(retries={"total_max_attempts": 1})
UNKNOWN = "01234567-89ab-4cde-8f01-23456789abcd"
HOUR = 3600


@pytest.fixture(scope="module")
def aws() -> Iterator[AwsEmulator]:
    with AwsEmulator() as emulator:
        yield emulator


@pytest.fixture(autouse=True)
def healthy(aws: AwsEmulator) -> Iterator[None]:
    yield
    aws.faults = []


@pytest.fixture(scope="module")
def boto_client(aws: AwsEmulator) -> Any:
    return aws.client("bedrock-agent-runtime", config=ONCE)


Open = Callable[..., CheckpointRepository]


@pytest.fixture
def connect(boto_client: Any) -> Open:
    """Opens a repository that knows nothing yet, as another process would."""

    def connect(**options: Any) -> CheckpointRepository:
        client = open_client("bedrock-agent-runtime", client=boto_client)
        return CheckpointRepository(BedrockSessionCheckpoints(client, **options))

    return connect


@pytest.fixture
def keep(connect: Open) -> CheckpointRepository:
    return connect()


@pytest.fixture
def thread(keep: CheckpointRepository) -> str:
    return backend(keep).create_thread()


def chain(
    keep: CheckpointRepository, thread: str, length: int, *, namespace: str = "", size: int = 10_000
) -> list[Checkpoint]:
    """Put checkpoints, each with one large value that is new and one that stays."""
    made: list[Checkpoint] = []
    for number in range(length):
        steady = Channel.earlier(1) if made else Channel.of(1, letters(size, "steady"))
        made.append(
            Checkpoint(
                thread_id=thread,
                namespace=namespace,
                checkpoint_id=new_checkpoint_id(),
                parent_id=made[-1].checkpoint_id if made else None,
                metadata={"step": number},
                channels={"new": Channel.of(number, letters(size, number)), "steady": steady},
            )
        )
        keep.put(made[-1])
    return made


def operations(calls: Any) -> list[str]:
    return [call.operation for call in calls]


# -- costs


def test_calls_of_writing(aws: AwsEmulator, keep: CheckpointRepository, thread: str, connect: Open) -> None:
    with aws.record() as calls:
        [first] = chain(keep, thread, 1)
    assert operations(calls) == ["PutInvocationStep", "CreateInvocation", "PutInvocationStep"]
    second = first.model_copy(
        update={
            "checkpoint_id": new_checkpoint_id(),
            "parent_id": first.checkpoint_id,
            "channels": {"new": Channel.earlier(0), "steady": Channel.earlier(1)},
        }
    )
    with aws.record() as calls:
        keep.put(second)
    assert operations(calls) == ["PutInvocationStep"]
    # Values that did not change are not sent.
    assert calls[0].request_bytes < 2_000
    with aws.record() as calls:
        keep.put_writes(thread, second.checkpoint_id, [write(str(n), idx=n) for n in range(50)])
        keep.put_writes(thread, "another", [write("x")])
        keep.put_writes(thread, second.checkpoint_id, [])
    assert operations(calls) == ["PutInvocationStep"] * 2
    third = second.model_copy(update={"checkpoint_id": new_checkpoint_id(), "parent_id": second.checkpoint_id})
    with aws.record() as calls:
        connect().put(third)
    assert operations(calls) == ["ListInvocationSteps", "GetInvocationStep", "PutInvocationStep"]
    found = connect().get(thread)
    assert found is not None
    assert found.channels["new"].payload == letters(10_000, 0)
    assert found.channels["steady"].payload == letters(10_000, "steady")


@pytest.mark.parametrize("length", [3, 120])
def test_calls_of_reading(
    length: int, aws: AwsEmulator, keep: CheckpointRepository, thread: str, connect: Open
) -> None:
    made = chain(keep, thread, length)
    for task in range(3):
        keep.put_writes(thread, made[-1].checkpoint_id, [write("x", f"task {task}")])
    for checkpoint_id in (None, made[-1].checkpoint_id):
        with aws.failing(slow(0.1)), aws.record() as calls:
            found = connect().get(thread, checkpoint_id=checkpoint_id)
        assert found is not None
        assert len(found.pending_writes) == 3
        assert found.channels["new"].payload == letters(10_000, length - 1)
        assert found.channels["steady"].payload == letters(10_000, "steady")
        # The listing; the checkpoint; three steps of writes and one with the value that stayed, side by side.
        assert operations(calls) == ["ListInvocationSteps"] + ["GetInvocationStep"] * 5
        assert calls.rounds == 3
    with aws.failing(slow(0.1)), aws.record() as calls:
        assert len(list(connect().list(thread, limit=3))) == 3
    # Three checkpoints, three steps of writes, and the step with the value that stayed.
    assert operations(calls) == ["ListInvocationSteps"] + ["GetInvocationStep"] * (7 if length > 3 else 6)
    assert calls.rounds == 3


def test_a_listing_reads_no_more_than_it_gives(aws: AwsEmulator, keep: CheckpointRepository, thread: str) -> None:
    made = chain(keep, thread, 60, size=10)
    with aws.record() as calls:
        found = list(keep.list(thread, limit=10))
    assert [one.checkpoint_id for one in found] == [one.checkpoint_id for one in reversed(made[50:])]
    assert operations(calls) == ["ListInvocationSteps"] + ["GetInvocationStep"] * 10
    with aws.record() as calls:
        found = list(keep.list(thread, before=made[5].checkpoint_id))
    assert [one.checkpoint_id for one in found] == [one.checkpoint_id for one in reversed(made[:5])]
    assert operations(calls).count("GetInvocationStep") <= 6
    with aws.record() as calls:
        [one] = keep.list(thread, checkpoint_id=made[7].checkpoint_id)
    assert one.metadata == {"step": 7}
    assert operations(calls).count("GetInvocationStep") == 1
    assert [one.metadata["step"] for one in keep.list(thread, metadata={"step": 31})] == [31]


def test_deleting_takes_two_calls(aws: AwsEmulator, keep: CheckpointRepository, thread: str) -> None:
    chain(keep, thread, 5, size=10)
    with aws.record() as calls:
        keep.delete_thread(thread)
    assert operations(calls) == ["EndSession", "DeleteSession"]
    keep.delete_thread(thread)  # it is gone already
    keep.delete_thread(session_arn(UNKNOWN))


def test_many_ancestors_are_read_side_by_side(aws: AwsEmulator, keep: CheckpointRepository, thread: str) -> None:
    made = chain(keep, thread, 40, size=10)
    for number, one in enumerate(made):
        keep.put_writes(thread, one.checkpoint_id, [write(f'"{number}"')])
    with aws.record() as calls:
        found = keep.ancestors(thread, channels=["c"])
    assert [one.payload.data for one in found["c"].writes] == [b'"%d"' % number for number in range(39)]
    assert operations(calls).count("ListInvocationSteps") == 1
    assert operations(calls).count("GetInvocationStep") == 1 + 39 * 2


# -- order


def test_ids_of_one_millisecond_and_of_several_orders(keep: CheckpointRepository, thread: str, connect: Open) -> None:
    one = "0190a5f0-0000-7{:03x}-8000-000000000000"
    for number in (3, 1, 5, 2, 4):
        keep.put(Checkpoint(thread_id=thread, checkpoint_id=one.format(number)))
    found = connect().get(thread)
    assert found is not None
    assert found.checkpoint_id == one.format(5)
    assert [each.checkpoint_id for each in connect().list(thread)] == [one.format(n) for n in (5, 4, 3, 2, 1)]
    for other in ("zebra", "00", "1efff5f0-0000-6000-8000-000000000000"):
        keep.put(Checkpoint(thread_id=thread, checkpoint_id=other))
        ids = [each.checkpoint_id for each in connect().list(thread)]
        assert ids == sorted(ids, reverse=True)
        found = connect().get(thread)
        assert found is not None
        assert found.checkpoint_id == max(ids)


def test_a_session_is_one_thread_under_both_names(keep: CheckpointRepository, thread: str) -> None:
    arn = session_arn(thread)
    assert session_of(arn) == session_of(thread) == thread
    keep.put(Checkpoint(thread_id=arn, checkpoint_id="1"))
    keep.put_writes(thread, "1", [write("x")])
    for name in (thread, arn):
        found = keep.get(name)
        assert found is not None
        assert (found.thread_id, len(found.pending_writes)) == (name, 1)


def test_steps_of_other_programs_are_left_alone(keep: CheckpointRepository, thread: str, boto_client: Any) -> None:
    made = chain(keep, thread, 2, size=10)
    other = boto_client.create_invocation(sessionIdentifier=thread)["invocationId"]
    for invocation in (other, invocation_of("")):
        for kind in "abcd":
            boto_client.put_invocation_step(
                sessionIdentifier=thread,
                invocationIdentifier=invocation,
                invocationStepId=kind + str(uuid.uuid4())[1:],
                invocationStepTime=datetime.now(UTC),
                payload={"contentBlocks": [{"text": "hello"}, {"image": {"format": "png", "source": {"bytes": b"x"}}}]},
            )
    found = keep.get(thread)
    assert found is not None
    assert found.checkpoint_id == made[-1].checkpoint_id
    assert len(list(keep.list(thread))) == 2
    assert keep.reindex(thread) == 2


def with_head(**fields: Any) -> Callable[[list[str]], list[str]]:
    """Change fields of a checkpoint's record, whose hash stays right."""

    def change(texts: list[str]) -> list[str]:
        found, _ = records(texts, "here")
        return [
            framed(evolve(one, head={**one.head, **fields})) if "channels" in one.head else framed(one) for one in found
        ]

    return change


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (with_head(checkpoint_id="\ud800"), "damaged"),
        (with_head(checkpoint_id=["1"]), "damaged"),
        (with_head(namespace=5), "damaged"),
        (with_head(parent_id={"a": 1}), "damaged"),
        (with_head(metadata=1.5), "damaged"),
        (with_head(metadata="[1]"), "metadata is no object"),
        (with_head(created_at="2024-01-01T00:00:00"), "without a zone"),
        (with_head(channels=[["c", True, "empty", None]]), "not a version"),
        (with_head(channels=[["c", 1, "value", None]]), "has no value"),
        (with_head(channels=[["c", 1, "value", ["raw", -1]]]), "damaged"),
        (lambda texts: [texts[0], texts[1][:-4]], "step"),
        (lambda texts: [texts[0].replace("/1 ", "/9 "), texts[1]], "step"),
        (lambda texts: [texts[0]], "channel 'c' is gone"),
        (lambda texts: [texts[1]], "a part of the step is missing"),
        (lambda texts: [texts[0], texts[0].replace(" raw ", " zlib ").replace(" zlib ", " raw "), texts[1]], "step"),
    ],
)
def test_a_damaged_step_is_noticed(
    change: Callable[[list[str]], list[str]], match: str, keep: CheckpointRepository, boto_client: Any
) -> None:
    source, target = backend(keep).create_thread(), backend(keep).create_thread()
    keep.put(Checkpoint(thread_id=source, checkpoint_id="1", channels={"c": Channel.of(1, letters(5000))}))
    where = {"sessionIdentifier": source, "invocationIdentifier": invocation_of("")}
    [listed] = boto_client.list_invocation_steps(**where)["invocationStepSummaries"]
    step = boto_client.get_invocation_step(**where, invocationStepId=listed["invocationStepId"])["invocationStep"]
    texts = change([block["text"] for block in step["payload"]["contentBlocks"]])
    boto_client.create_invocation(sessionIdentifier=target, invocationId=invocation_of(""))
    boto_client.put_invocation_step(
        sessionIdentifier=target,
        invocationIdentifier=invocation_of(""),
        invocationStepId=listed["invocationStepId"],
        invocationStepTime=listed["invocationStepTime"],
        payload={"contentBlocks": [{"text": text} for text in texts]},
    )
    for checkpoint_id in ("1", None):
        with pytest.raises(CorruptRecord, match=match) as caught:
            keep.get(target, checkpoint_id=checkpoint_id)
        assert caught.value.key is not None
        assert listed["invocationStepId"] in caught.value.key


# -- what may be cut off


def test_a_put_that_is_sent_again_is_stored_once(
    aws: AwsEmulator, keep: CheckpointRepository, thread: str, boto_client: Any
) -> None:
    made = chain(keep, thread, 1)
    patient = aws.client("bedrock-agent-runtime", config=Config(retries={"total_max_attempts": 3, "mode": "standard"}))
    again = CheckpointRepository(BedrockSessionCheckpoints(open_client("bedrock-agent-runtime", client=patient)))
    aws.faults = [cut_after("PutInvocationStep", times=1)]
    with aws.record() as calls:
        again.put_writes(thread, made[0].checkpoint_id, [write("x")])
    assert operations(calls) == ["PutInvocationStep", "PutInvocationStep", "GetInvocationStep"]
    aws.faults = []
    found = keep.get(thread)
    assert found is not None
    assert [one.payload.data for one in found.pending_writes] == [b"x"]


def test_a_conflict_for_no_reason_is_an_error(aws: AwsEmulator, keep: CheckpointRepository, thread: str) -> None:
    chain(keep, thread, 1)
    aws.faults = [conflict("PutInvocationStep")]
    with pytest.raises(statekeep.Conflict):
        keep.put_writes(thread, "1", [write("x")])


@pytest.mark.parametrize("fault", [cut_before, cut_after])
def test_a_put_that_is_cut_off_leaves_the_former_checkpoint(
    fault: Any, aws: AwsEmulator, keep: CheckpointRepository, thread: str, connect: Open
) -> None:
    [first] = chain(keep, thread, 1)
    aws.faults = [fault("PutInvocationStep")]
    second = first.model_copy(
        update={
            "checkpoint_id": new_checkpoint_id(),
            "parent_id": first.checkpoint_id,
            "channels": {"new": Channel.of(7, letters(9_000, "b")), "steady": Channel.earlier(1)},
        }
    )
    with pytest.raises(Unavailable):
        keep.put(second)
    aws.faults = []
    found = connect().get(thread)
    assert found is not None
    assert found.checkpoint_id == (first if fault is cut_before else second).checkpoint_id
    assert found.channels["steady"].payload == letters(10_000, "steady")
    keep.put(second)
    found = connect().get(thread)
    assert found is not None
    assert found.checkpoint_id == second.checkpoint_id


def test_sixteen_threads_lose_no_write(keep: CheckpointRepository, thread: str, connect: Open) -> None:
    def work(number: int) -> None:
        own = keep if number % 2 else connect()
        for turn in range(5):
            own.put_writes(thread, "1", [write(f'"{number} {turn}"', f"task {number}", turn)])

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(16)))
    keep.put(Checkpoint(thread_id=thread, checkpoint_id="1"))
    found = connect().get(thread)
    assert found is not None
    assert len({one.payload.data for one in found.pending_writes}) == 80


# -- sessions that take no more


@pytest.mark.parametrize("status", ["ENDED", "EXPIRED"])
def test_a_closed_session_is_read_and_goes_on_in_another(status: str) -> None:
    with AwsEmulator() as aws:
        client = aws.client("bedrock-agent-runtime", config=ONCE)
        keep = CheckpointRepository(BedrockSessionCheckpoints(open_client("bedrock-agent-runtime", client=client)))
        thread = backend(keep).create_thread(metadata={"user": "ada"})
        made = chain(keep, thread, 4)
        nested = chain(keep, thread, 2, namespace="child:1")
        keep.put_writes(thread, made[-1].checkpoint_id, [write("x")])
        before = keep.get(thread)
        if status == "ENDED":
            client.end_session(sessionIdentifier=thread)
        else:
            aws.clock.advance(HOUR)
        writes: list[Callable[[], Any]] = [
            lambda: keep.put(made[0]),
            lambda: keep.put(Checkpoint(thread_id=thread, namespace="new")),
            lambda: keep.put_writes(thread, "1", [write("y")]),
        ]
        for call in writes:
            with pytest.raises(ThreadClosed, match=f"{status}.*continue_thread"):
                call()
        source = backend(keep).create_thread()
        with pytest.raises(ThreadClosed, match=status):
            keep.copy_thread(source, thread)
        assert keep.get(thread) == before
        assert len(list(keep.list(thread))) == 6
        assert keep.ancestors(thread, channels=["new"])["new"].seed is not None
        new = backend(keep).continue_thread(thread)
        assert client.get_session(sessionIdentifier=new)["sessionMetadata"] == {"user": "ada"}
        listed = list(keep.list(new))
        assert {one.checkpoint_id for one in listed} == {made[-1].checkpoint_id, nested[-1].checkpoint_id}
        after = keep.get(new)
        assert before is not None
        assert after == before.model_copy(update={"thread_id": new, "parent_id": None})
        keep.put(made[0].model_copy(update={"thread_id": new, "checkpoint_id": new_checkpoint_id()}))
        keep.delete_thread(thread)
        with pytest.raises(InvalidInput, match="no session"):
            keep.get(thread)


def test_what_is_replayed_goes_along(keep: CheckpointRepository, thread: str) -> None:
    ids = [new_checkpoint_id() for _ in range(5)]
    for number, checkpoint_id in enumerate(ids):
        keep.put(
            Checkpoint(
                thread_id=thread,
                checkpoint_id=checkpoint_id,
                parent_id=ids[number - 1] if number else None,
                channels={"c": Channel.of(number, letters(9_000, number)) if number == 2 else Channel.replayed(number)},
            )
        )
        keep.put_writes(thread, checkpoint_id, [write(f'"{number}"')])
    new = backend(keep).continue_thread(thread)
    assert sorted(one.checkpoint_id for one in keep.list(new)) == ids[2:]
    assert keep.ancestors(new, channels=["c"]) == keep.ancestors(thread, channels=["c"])


def test_a_copy_points_to_its_own_steps(keep: CheckpointRepository, thread: str, connect: Open) -> None:
    made = chain(keep, thread, 3)
    chain(keep, thread, 2, namespace="n")
    keep.put_writes(thread, made[-1].checkpoint_id, [write("x")])
    keep.put_writes(thread, "unknown", [write("y")], namespace="other")
    target = backend(keep).create_thread()
    keep.copy_thread(thread, target)
    wanted = [one.model_copy(update={"thread_id": target}) for one in keep.list(thread)]
    keep.delete_thread(thread)
    assert list(connect().list(target)) == wanted
    keep.put(Checkpoint(thread_id=target, namespace="other", checkpoint_id="unknown"))
    found = keep.get(target, namespace="other")
    assert found is not None
    assert len(found.pending_writes) == 1
    with pytest.raises(InvalidInput, match=r"target_thread_id.*no session"):
        keep.copy_thread(target, UNKNOWN)


def test_a_full_session(caplog: pytest.LogCaptureFixture) -> None:
    with AwsEmulator(bedrock_sessions=SessionRules(steps=20)) as aws, caplog.at_level(logging.WARNING, "statekeep"):
        client = aws.client("bedrock-agent-runtime", config=ONCE)
        keep = CheckpointRepository(BedrockSessionCheckpoints(open_client("bedrock-agent-runtime", client=client)))
        thread = backend(keep).create_thread()
        made = chain(keep, thread, 10)

        def fan_out(number: int) -> StatekeepError | None:
            try:
                keep.put_writes(thread, made[-1].checkpoint_id, [write("x", f"task {number}")])
            except QuotaExceeded as error:
                return error
            return None

        with ThreadPoolExecutor(8) as pool:
            errors = [error for error in pool.map(fan_out, range(15)) if error is not None]
        assert len(errors) == 5
        assert all("continue_thread" in str(error) for error in errors)
        found = keep.get(thread)
        assert found is not None
        assert len(found.pending_writes) == 10
        new = backend(keep).continue_thread(thread)
        keep.put_writes(new, made[-1].checkpoint_id, [write("x", "another task")])
        found = keep.get(new)
        assert found is not None
        assert len(found.pending_writes) == 11


def test_a_warning_comes_once_with_a_hundred_steps_left(
    keep: CheckpointRepository, thread: str, connect: Open, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "statekeep"):
        for number in range(899):
            keep.put_writes(thread, "1", [write("x", f"task {number}")])
        assert backend(keep).steps_left(thread) == 101
        assert caplog.records == []
        for number in range(3):
            keep.put_writes(thread, "1", [write("y", f"task {number}")])
        other = connect()
        other.put(Checkpoint(thread_id=thread, checkpoint_id="1"))
        found = other.get(thread)
    assert found is not None
    assert len(found.pending_writes) == 899
    mine, others = caplog.records
    for record in (mine, others):
        assert thread in record.getMessage()
        assert "continue_thread" in record.getMessage()


# -- errors


@pytest.mark.parametrize("name", ["thread 1", UNKNOWN[:-1], "arn:aws:bedrock:us-east-1:123456789012:agent/x", "x" * 99])
def test_a_thread_must_be_a_session(name: str, keep: CheckpointRepository) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: keep.get(name),
        lambda: keep.put(Checkpoint(thread_id=name)),
        lambda: keep.put_writes(name, "1", [write("x")]),
        lambda: keep.put_writes(name, "1", []),
        lambda: list(keep.list(name)),
        lambda: keep.ancestors(name, channels=["c"]),
        lambda: keep.delete_thread(name),
        lambda: keep.reindex(name),
        lambda: keep.copy_thread(name, UNKNOWN),
        lambda: keep.copy_thread(UNKNOWN, name),
        lambda: backend(keep).continue_thread(name),
        lambda: backend(keep).steps_left(name),
    ]
    for call in calls:
        with pytest.raises(InvalidInput, match=r"create_thread\(\)") as caught:
            call()
        assert caught.value.field in ("thread_id", "source_thread_id", "target_thread_id")


def test_an_id_in_upper_case_is_explained(keep: CheckpointRepository) -> None:
    with pytest.raises(InvalidInput, match="lower case"):
        keep.get(UNKNOWN.upper())


@pytest.mark.parametrize("name", [UNKNOWN, session_arn(UNKNOWN), session_arn(UNKNOWN, "eu-west-1")])
def test_a_session_that_is_not_there(name: str, keep: CheckpointRepository) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: keep.get(name),
        lambda: keep.put(Checkpoint(thread_id=name)),
        lambda: keep.put_writes(name, "1", [write("x")]),
        lambda: list(keep.list(name)),
        lambda: keep.ancestors(name, channels=["c"]),
        lambda: keep.reindex(name),
        lambda: backend(keep).continue_thread(name),
        lambda: backend(keep).steps_left(name),
    ]
    for call in calls:
        with pytest.raises(InvalidInput, match=f"no session {name}") as caught:
            call()
        assert caught.value.field == "thread_id"


def test_a_namespace_without_checkpoints_is_empty(keep: CheckpointRepository, thread: str) -> None:
    assert keep.get(thread) is None
    assert list(keep.list(thread, namespace="n")) == []
    assert keep.reindex(thread) == 0


def test_a_step_that_is_too_large(keep: CheckpointRepository, thread: str) -> None:
    with pytest.raises(QuotaExceeded, match="50,000,000"):
        keep.put(Checkpoint(thread_id=thread, channels={"c": Channel.of(1, letters(38_000_000))}))
    assert list(keep.list(thread)) == []
    keep.put(Checkpoint(thread_id=thread, channels={"c": Channel.of(1, letters(10_000_000))}))
    found = keep.get(thread)
    assert found is not None
    assert found.channels["c"].payload == letters(10_000_000)


def test_permissions_and_keys(aws: AwsEmulator, boto_client: Any, thread: str) -> None:
    with AwsEmulator(allowed=("bedrock:CreateSession", "bedrock:GetSession")) as strict:
        client = strict.client("bedrock-agent-runtime", config=ONCE)
        keep = CheckpointRepository(BedrockSessionCheckpoints(open_client("bedrock-agent-runtime", client=client)))
        session = backend(keep).create_thread()
        with pytest.raises(AccessDenied, match="bedrock:PutInvocationStep"):
            keep.put(Checkpoint(thread_id=session))
        with pytest.raises(AccessDenied, match="bedrock:ListInvocationSteps"):
            keep.get(session)
    keep = CheckpointRepository(BedrockSessionCheckpoints(open_client("bedrock-agent-runtime", client=boto_client)))
    for code, match in (("ExpiredTokenException", "expired"), ("AccessDeniedException", "kms:Decrypt")):
        aws.faults = [refuse(code, "PutInvocationStep", message="not authorized to perform: kms:Decrypt")]
        with pytest.raises(AccessDenied, match=match):
            keep.put_writes(thread, "1", [write("x")])


def test_no_region(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(InvalidInput, match="region"):
        statekeep.connect("bedrock-sessions://")


def test_a_client_of_another_service(aws: AwsEmulator) -> None:
    with pytest.raises(InvalidInput, match="bedrock-agent-runtime"):
        statekeep.connect("bedrock-sessions://", client=aws.client("bedrock-agentcore"))


@pytest.mark.parametrize(
    ("url", "field"),
    [
        ("bedrock-sessions://host?region=x", "url"),
        ("bedrock-sessions:", "url"),
        ("bedrock-sessions://?actor_id=x", "actor_id"),
        ("bedrock-sessions://?region", "url"),
    ],
)
def test_bad_urls(url: str, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        statekeep.connect(url)
    assert caught.value.field == field


@pytest.mark.parametrize("option", [{"ttl": 5}, {"prefix": "x"}, {"refresh_on_read": True}])
def test_options_without_a_use(option: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    with all_notices(), statekeep.connect("bedrock-sessions://?region=us-west-2", **option):
        pass
    [record] = [record for record in caplog.records if record.name == "statekeep.aws"]
    assert record.message.startswith(f"{next(iter(option))} has no effect with bedrock-sessions://: ")


def test_a_url(aws: AwsEmulator, boto_client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "EMULATED")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "emulated")
    with statekeep.connect(f"bedrock-sessions://?region=us-east-1&endpoint_url={aws.endpoint_url}") as keep:
        thread = backend(keep.checkpoints).create_thread(metadata={"a": "b"}, tags={"c": "d"})
        keep.checkpoints.put(Checkpoint(thread_id=thread, checkpoint_id="1"))
        assert [one.thread_id for one in keep.checkpoints.list_threads(prefix=thread)] == [thread]
    assert boto_client.get_session(sessionIdentifier=thread)["sessionMetadata"] == {"a": "b"}
    assert boto_client.list_tags_for_resource(resourceArn=session_arn(thread))["tags"] == {"c": "d"}


# -- threads


def test_threads_are_found_among_sessions_of_others(boto_client: Any, connect: Open, aws: AwsEmulator) -> None:
    aws.bedrock_sessions.delete_sessions()
    keep = connect()
    for _ in range(3):
        boto_client.create_session()
    threads = [backend(keep).create_thread() for _ in range(5)]
    for thread in (*threads, threads[0]):
        keep.put(Checkpoint(thread_id=thread, checkpoint_id=new_checkpoint_id()))
    empty = backend(keep).create_thread()
    keep.put_writes(empty, "1", [write("x")])
    wanted = [threads[0], *reversed(threads[1:])]
    assert [one.thread_id for one in connect().list_threads()] == wanted
    assert [one.thread_id for one in connect().list_threads(limit=2)] == wanted[:2]
    assert [one.thread_id for one in connect().list()] == [threads[0], *wanted]


def test_what_is_put_last_counts_whatever_clocks_say(connect: Open, thread: str) -> None:
    ahead, behind = connect(), connect()
    with clock_ahead(3600):
        ahead.put(Checkpoint(thread_id=thread, checkpoint_id="1", metadata={"by": "ahead"}))
        ahead.put_writes(thread, "1", [write("ahead", idx=-1), write("ahead", idx=0)])

    def found(keep: CheckpointRepository) -> Any:
        saved = keep.get(thread, checkpoint_id="1")
        assert saved is not None
        return saved.metadata["by"], [one.payload.data.decode() for one in saved.pending_writes]

    assert found(behind) == ("ahead", ["ahead", "ahead"])
    for text in ("behind", "again"):
        behind.put_writes(thread, "1", [write(text, idx=-1), write(text, idx=0)])
        # The special one is replaced, the other one stays.
        assert found(connect()) == ("ahead", [text, "ahead"])
    behind.put(Checkpoint(thread_id=thread, checkpoint_id="1", metadata={"by": "behind"}))
    assert found(connect()) == ("behind", ["again", "ahead"])
