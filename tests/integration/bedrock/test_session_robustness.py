"""Checkpoints in emulated Bedrock sessions while others write, delete, and run on other clocks."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.config import Config

from statekeep.domain import Checkpoint, Payload, PendingWrite, new_checkpoint_id
from statekeep.repositories.aws import open_client
from statekeep.repositories.bedrock_sessions import BedrockSessionCheckpoints
from statekeep.repositories.checkpoints import CheckpointRepository
from statekeep.testing.aws import AwsEmulator

ONCE = Config(retries={"total_max_attempts": 1})
UNKNOWN = "01234567-89ab-4cde-8f01-23456789abcd"


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


def backend(keep: CheckpointRepository) -> BedrockSessionCheckpoints:
    assert isinstance(keep.backend, BedrockSessionCheckpoints)
    return keep.backend


def letters(size: int, seed: object = 0) -> Payload:
    """A value that does not get smaller."""
    return Payload(encoding="bytes", data=random.Random(str(seed)).randbytes(size))


def write(value: str, task: str = "task", idx: int = 0) -> PendingWrite:
    return PendingWrite(task_id=task, idx=idx, channel="c", payload=Payload(encoding="json", data=value.encode()))


def requests_of(keep: CheckpointRepository, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Returns a list to which each request is added, of one call or of several side by side."""
    client = backend(keep).client
    requests: list[Any] = []
    answer = client.execute

    def execute(request: Any) -> Any:
        requests.append(request)
        return answer(request)

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
