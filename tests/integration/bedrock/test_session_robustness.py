"""Checkpoints in emulated Bedrock sessions while others write, delete, and run on other clocks."""

from __future__ import annotations

import copy
import itertools
import os
import pickle
import signal
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from botocore.config import Config

import statekeep
from statekeep.domain import (
    Channel,
    Checkpoint,
    Conflict,
    InvalidInput,
    QuotaExceeded,
    SavedCheckpoint,
    StatekeepError,
    ThreadClosed,
    new_checkpoint_id,
)
from statekeep.domain.ids import new_stamp
from statekeep.repositories.aws import open_client
from statekeep.repositories.bedrock_sessions import BedrockSessionCheckpoints, ids, put, steps
from statekeep.repositories.bedrock_sessions.steps import NoSession
from statekeep.repositories.checkpoints import CheckpointRepository
from statekeep.repositories.operation import run
from statekeep.repositories.records import local_cache
from statekeep.testing.aws import (
    AwsEmulator,
    conflict,
    cut_after,
    cut_before,
    refuse,
    server_error,
    session_arn,
    throttle,
)

from .records import backend, letters, write

ONCE = Config(retries={"total_max_attempts": 1})
UNKNOWN = "01234567-89ab-4cde-8f01-23456789abcd"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def aws() -> Iterator[AwsEmulator]:
    with AwsEmulator() as emulator:
        yield emulator


@pytest.fixture(scope="module")
def boto_client(aws: AwsEmulator) -> Any:
    return aws.client("bedrock-agent-runtime", config=ONCE)


Open = Callable[[], CheckpointRepository]


@pytest.fixture
def connect(boto_client: Any) -> Open:
    """Opens a repository that knows nothing yet, as another process would."""

    def connect() -> CheckpointRepository:
        return CheckpointRepository(BedrockSessionCheckpoints(open_client("bedrock-agent-runtime", client=boto_client)))

    return connect


@pytest.fixture
def keep(connect: Open) -> CheckpointRepository:
    return connect()


@pytest.fixture
def thread(keep: CheckpointRepository) -> str:
    return backend(keep).create_thread()


def requests_of(
    keep: CheckpointRepository, monkeypatch: pytest.MonkeyPatch, after: tuple[int, Callable[[], None]] | None = None
) -> list[Any]:
    """Returns a list to which each request is added, of one call or of several side by side.

    ``after`` so many requests something else happens.
    """
    client = backend(keep).client
    requests: list[Any] = []
    answer = client.execute

    def execute(request: Any) -> Any:
        requests.append(request)
        reply = answer(request)
        if after is not None and len(requests) == after[0]:
            after[1]()
        return reply

    monkeypatch.setattr(client, "execute", execute)
    return requests


# -- listings


def test_a_query_over_ids_of_several_orders(keep: CheckpointRepository, connect: Open) -> None:
    uuids = [f"0190a5f0-{number:04}-7000-8000-000000000000" for number in range(5)]
    ids = [*uuids, "00", "zebra", "1efff5f0-0000-6000-8000-000000000000"]
    for _ in range(4):  # the service's order is another one in each session
        thread = backend(keep).create_thread()
        for checkpoint_id in ids:
            keep.put(Checkpoint(thread_id=thread, checkpoint_id=checkpoint_id))
        for bound in ids:
            found = [one.checkpoint_id for one in connect().list(thread, before=bound)]
            assert found == sorted((each for each in ids if each < bound), reverse=True)
            assert [one.checkpoint_id for one in connect().list(thread, checkpoint_id=bound)] == [bound]


def test_a_filter_that_few_fulfil_takes_few_rounds(
    keep: CheckpointRepository, thread: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(100):
        keep.put(Checkpoint(thread_id=thread, checkpoint_id=new_checkpoint_id(), metadata={"step": number}))
    requests = requests_of(keep, monkeypatch)
    [found] = keep.list(thread, metadata={"step": 3}, limit=1)
    assert found.metadata == {"step": 3}
    # The listing; 1, 2, 4, 8, 16, 32 and 32 heads, and the last five.
    assert len(requests) == 9


def test_pages_of_threads_whose_clocks_differ(
    keep: CheckpointRepository, connect: Open, aws: AwsEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws.bedrock_sessions.delete_sessions()
    now = new_stamp
    threads = []
    for number in range(36):
        ahead = 0 if number % 5 else 3600 * 10**9
        monkeypatch.setattr(local_cache, "new_stamp", lambda ahead=ahead: now() + ahead)
        threads.append(backend(keep).create_thread())
        keep.put(Checkpoint(thread_id=threads[-1], checkpoint_id="1"))
    found: list[str] = []
    after = None
    while True:
        page = run(backend(connect()).list_threads("", after, 7), backend(keep).execute)
        found += [one.thread_id for one in page.items]
        if page.cursor is None:
            break
        after = page.cursor
    assert found == threads[::-1]


# -- deletions meanwhile


def test_a_session_that_is_deleted_while_it_is_read(keep: CheckpointRepository, connect: Open) -> None:
    """Whatever comes just before the deletion: all of it is read, or it is said that the session is gone."""

    def put(thread: str) -> list[Checkpoint]:
        made: list[Checkpoint] = []
        for number in range(4):
            one = Checkpoint(
                thread_id=thread,
                checkpoint_id=f"0190a5f0-{number:04}-7000-8000-000000000000",
                parent_id=made[-1].checkpoint_id if made else None,
                channels={"large": Channel.of(1, letters(9_000)) if not made else Channel.earlier(1)},
            )
            keep.put(one)
            keep.put_writes(thread, one.checkpoint_id, [write("x")])
            made.append(one)
        return made

    reads: dict[str, Callable[[CheckpointRepository, str], Any]] = {
        "get": lambda own, thread: own.get(thread),
        "list": lambda own, thread: list(own.list(thread)),
        "ancestors": lambda own, thread: own.ancestors(thread, channels=["c"]),
        "reindex": lambda own, thread: own.reindex(thread),
        "list_threads": lambda own, thread: [one.updated_at for one in own.list_threads(prefix=thread)],
        "continue_thread": lambda own, thread: strip(own.get(backend(own).continue_thread(thread))),
    }
    for name, read in reads.items():
        thread = backend(keep).create_thread()
        put(thread)
        whole = read(connect(), thread)
        for count in range(1, 100):
            thread = backend(keep).create_thread()
            put(thread)
            other = connect()
            with pytest.MonkeyPatch.context() as patch:
                requests = requests_of(other, patch, after=(count, partial(keep.delete_thread, thread)))
                found = None
                with suppress(NoSession):
                    found = read(other, thread)
            if found is None:
                continue
            if name == "list_threads":
                assert len(found) <= 1
            else:
                assert strip(found) == strip(whole), (name, count)
            if len(requests) < count:
                break
        else:
            raise AssertionError(name)


def strip(found: Any) -> Any:
    """What is found, whatever the session's name is."""
    if isinstance(found, list):
        return [strip(one) for one in found]
    return (
        found.model_copy(update={"thread_id": "", "created_at": EPOCH}) if isinstance(found, SavedCheckpoint) else found
    )


# -- what is held in memory


def test_no_more_than_a_few_steps_are_held_whole(keep: CheckpointRepository, thread: str, connect: Open) -> None:
    size = 40_000
    for number in range(400):
        large = {"new": Channel.of(number, letters(size, number))}
        keep.put(Checkpoint(thread_id=thread, checkpoint_id=f"step {number:03}", channels=large))
    other = connect()
    for read in (
        lambda: next(iter(other.list(thread, limit=1))),
        lambda: other.get(thread),
        lambda: other.reindex(thread),
    ):
        tracemalloc.start()
        try:
            assert read() is not None
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        # Of 400 steps 32 at a time, each of them up to six times, as it arrives, is parsed and decoded.
        assert peak < 32 * 8 * size


# -- copies


def test_a_copy_keeps_the_order_of_one_millisecond(
    keep: CheckpointRepository, connect: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    stamps = itertools.count(1_800_000_000_000_000_000)
    monkeypatch.setattr(local_cache, "new_stamp", lambda: next(stamps))
    thread = backend(keep).create_thread()
    for number in range(20):
        keep.put(Checkpoint(thread_id=thread, checkpoint_id="1", metadata={"number": number}))
        keep.put_writes(thread, "1", [write(str(number), idx=0), write(str(number), idx=-1)])
    monkeypatch.undo()
    target = backend(keep).create_thread()
    before = connect().get(thread)
    assert before is not None
    assert before.metadata == {"number": 19}
    assert [(one.idx, one.payload.data) for one in before.pending_writes] == [(-1, b"19"), (0, b"0")]
    keep.copy_thread(thread, target)
    assert connect().get(target) == before.model_copy(update={"thread_id": target})
    again = backend(keep).continue_thread(target)
    assert connect().get(again) == before.model_copy(update={"thread_id": again})


def test_a_copy_that_is_cut_off_and_repeated(aws: AwsEmulator, keep: CheckpointRepository, connect: Open) -> None:
    thread, target = backend(keep).create_thread(), backend(keep).create_thread()
    for number in range(5):
        channels = {"large": Channel.of(1, letters(9_000)) if not number else Channel.earlier(1)}
        parent = f"step {number - 1}" if number else None
        for namespace in ("", "nested"):
            keep.put(
                Checkpoint(
                    thread_id=thread,
                    namespace=namespace,
                    checkpoint_id=f"step {number}",
                    parent_id=parent,
                    channels=channels,
                )
            )
        keep.put_writes(thread, f"step {number}", [write(str(number)), write(str(number), idx=-1)])
    keep.put(Checkpoint(thread_id=target, checkpoint_id="step 3", metadata={"is": "another"}))
    keep.put(Checkpoint(thread_id=target, checkpoint_id="own"))
    wanted = {(one.namespace, one.checkpoint_id): one for one in keep.list(thread)}
    for fault in (cut_before, cut_after, throttle, server_error, conflict):
        for skip in range(6):
            with aws.failing(fault("PutInvocationStep", skip=2 * skip)), pytest.raises(StatekeepError):
                keep.copy_thread(thread, target)
            for one in connect().list(target):
                if one.metadata != {"is": "another"} and one.checkpoint_id != "own":
                    whole = wanted[one.namespace, one.checkpoint_id]
                    assert one.channels == whole.channels
    keep.copy_thread(thread, target)
    found = {(one.namespace, one.checkpoint_id): one for one in connect().list(target)}
    own = found.pop(("", "own"))
    assert own.channels == {}
    assert found == {key: one.model_copy(update={"thread_id": target}) for key, one in wanted.items()}


def test_a_copy_that_does_not_fit_is_not_begun(keep: CheckpointRepository, thread: str, connect: Open) -> None:
    target = backend(keep).create_thread()
    for number in range(500):
        keep.put_writes(thread, "1", [write("x", f"task {number}")])
    keep.put(Checkpoint(thread_id=thread, checkpoint_id="1"))
    keep.copy_thread(thread, target)
    with pytest.raises(QuotaExceeded, match=r"501 steps.*499 left"):
        keep.copy_thread(thread, target)
    assert backend(connect()).steps_left(target) == 499
    found = connect().get(target)
    assert found is not None
    assert len(found.pending_writes) == 500


def test_the_argument_of_a_copy_is_named(keep: CheckpointRepository, thread: str) -> None:
    for source, target, field in ((UNKNOWN, thread, "source_thread_id"), (thread, UNKNOWN, "target_thread_id")):
        with pytest.raises(InvalidInput, match=f"{field}.*no session") as caught:
            keep.copy_thread(source, target)
        assert caught.value.field == field


# -- conflicts


def test_another_step_of_the_same_id_is_a_conflict(
    keep: CheckpointRepository, thread: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step is not taken for stored because one of its id is there."""
    keep.put_writes(thread, "1", [write("x")])
    step = ids.step_of("", "1", ["one"], 10**18)
    monkeypatch.setattr(put, "step_of", lambda *args, **options: step)
    keep.put_writes(thread, "1", [write("x", "one")])
    with pytest.raises(Conflict):
        keep.put_writes(thread, "1", [write("y", "two")])


@pytest.mark.parametrize("status", ["ENDED", "EXPIRED"])
def test_a_closed_session_that_finds_no_new_invocation(
    status: str,
) -> None:
    """The service may look for the invocation first, and for the status of the session then."""
    with AwsEmulator() as aws:
        client = aws.client("bedrock-agent-runtime", config=ONCE)
        keep = CheckpointRepository(BedrockSessionCheckpoints(open_client("bedrock-agent-runtime", client=client)))
        thread = backend(keep).create_thread()
        if status == "ENDED":
            client.end_session(sessionIdentifier=thread)
        else:
            aws.clock.advance(3600)
        with aws.failing(refuse("ResourceNotFoundException", "PutInvocationStep", status=404)):
            with pytest.raises(ThreadClosed, match=status):
                keep.put_writes(thread, "1", [write("x")])


def test_a_session_of_another_region_is_not_taken_for_deleted(keep: CheckpointRepository, thread: str) -> None:
    elsewhere = session_arn(thread, "eu-west-1")
    for delete in (keep.delete_thread, lambda name: keep.prune([name], keep=0)):
        with pytest.raises(InvalidInput, match=f"no session {elsewhere} in this region"):
            delete(elsewhere)
    keep.delete_thread(session_arn(thread))
    keep.delete_thread(session_arn(thread))


# -- processes


@pytest.fixture
def of_url(aws: AwsEmulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[CheckpointRepository]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "EMULATED")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "emulated")
    with statekeep.connect(f"bedrock-sessions://?region=us-east-1&endpoint_url={aws.endpoint_url}") as opened:
        yield opened.checkpoints


def test_a_copy_of_a_repository(of_url: CheckpointRepository) -> None:
    thread = backend(of_url).create_thread()
    of_url.put(Checkpoint(thread_id=thread, checkpoint_id="1"))
    for made in (pickle.loads(pickle.dumps(of_url)), copy.deepcopy(of_url)):
        with made as other:
            assert other.get(thread) == of_url.get(thread)
            other.put(Checkpoint(thread_id=thread, checkpoint_id="2", parent_id="1"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("locked", [lambda found: found.steps.recollection, lambda found: found.recent])
def test_a_fork_while_a_lock_is_held(of_url: CheckpointRepository, locked: Callable[[Any], Any]) -> None:
    thread = backend(of_url).create_thread()
    of_url.put(Checkpoint(thread_id=thread, checkpoint_id="1"))
    with locked(backend(of_url)._settings)._lock:
        child = os.fork()
        if child == 0:
            signal.alarm(30)  # ends the child, if it waits for the lock
            try:
                of_url.put(Checkpoint(thread_id=thread, checkpoint_id="2", parent_id="1"))
                os._exit(0 if of_url.get(thread) else 1)
            finally:
                os._exit(2)
        _, status = os.waitpid(child, 0)
    assert status == 0
    assert len(list(of_url.list(thread))) == 2


def test_the_memory_of_own_steps_is_bounded(
    keep: CheckpointRepository, thread: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(steps, "monotonic", lambda: now[0])
    for number in range(10):
        now[0] = number * steps.LIFE / 2
        keep.put_writes(thread, "1", [write("x", f"task {number}")])
    recollection = backend(keep)._settings.steps.recollection
    assert len(recollection._sessions[thread].own) == 2
    monkeypatch.setattr(steps, "SESSIONS", 5)
    for _ in range(7):
        keep.put_writes(backend(keep).create_thread(), "1", [write("x")])
    assert len(recollection._sessions) == 5


# -- equal digits


def test_equal_digits_mix_nothing(
    keep: CheckpointRepository, thread: str, connect: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ids, "digest", lambda *parts: "0" * 40)
    made = {
        (namespace, checkpoint_id)
        for namespace in ("", "a", "b")
        for checkpoint_id in (
            *(f"0190a5f0-0000-7{number:03}-8000-000000000000" for number in range(3)),
            *(f"0190a5f0-{number:04}-7000-8000-000000000000" for number in range(3)),
            "1efff5f0-0000-6000-8000-000000000000",
            "text",
            "another",
        )
    }
    for namespace, checkpoint_id in made:
        name = f"{namespace} {checkpoint_id}"
        keep.put_writes(thread, checkpoint_id, [write(name)], namespace=namespace)
        keep.put(
            Checkpoint(
                thread_id=thread,
                namespace=namespace,
                checkpoint_id=checkpoint_id,
                parent_id="text" if checkpoint_id == "zebra" else None,
                metadata={"name": name},
                channels={"large": Channel.of(1, letters(5_000, name))},
            )
        )
    other = connect()
    listed = {(one.namespace, one.checkpoint_id): one for one in other.list(thread)}
    assert listed.keys() == made
    for (namespace, checkpoint_id), one in listed.items():
        name = f"{namespace} {checkpoint_id}"
        assert one.metadata == {"name": name}
        assert one.channels["large"].payload == letters(5_000, name)
        assert [each.payload.data for each in one.pending_writes] == [name.encode()]
        assert other.get(thread, namespace=namespace, checkpoint_id=checkpoint_id) == one
    for namespace in ("", "a", "b"):
        newest = other.get(thread, namespace=namespace)
        assert newest == listed[namespace, "text"]
        assert len(list(other.list(thread, namespace=namespace))) == len(made) / 3
    assert other.get(thread, namespace="c") is None
    keep.put(Checkpoint(thread_id=thread, namespace="b", checkpoint_id="zebra", parent_id="text"))
    assert [one.payload.data for one in other.ancestors(thread, namespace="b", channels=["c"])["c"].writes] == [
        b"b text"
    ]
