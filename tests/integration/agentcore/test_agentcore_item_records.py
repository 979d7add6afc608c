"""Memory records of AgentCore Memory, through the backend of items."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from statekeep.domain import InvalidInput
from statekeep.repositories.agentcore import AgentCoreItems
from statekeep.repositories.agentcore.items.memory_records import namespace_path
from statekeep.repositories.aws import open_client
from statekeep.repositories.operation import arun, run
from statekeep.testing.aws import AwsEmulator

from .emulated import ONE_ATTEMPT, Memory

UNKNOWN = "mem-00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def aws() -> Iterator[AwsEmulator]:
    with AwsEmulator() as emulator:
        yield emulator


@pytest.fixture(scope="module")
def boto_client(aws: AwsEmulator) -> Any:
    return aws.client("bedrock-agentcore", config=ONE_ATTEMPT)


@pytest.fixture
def memory(aws: AwsEmulator) -> Memory:
    return Memory(aws, aws.agentcore.create_memory())


@pytest.fixture
def backend(memory: Memory, boto_client: Any) -> AgentCoreItems:
    return AgentCoreItems(open_client("bedrock-agentcore", client=boto_client), memory.id)


# -- one by one


def test_a_record_is_read_listed_and_deleted_by_its_id(memory: Memory, backend: AgentCoreItems) -> None:
    ids = {memory.record(f"text {number}", f"/users/{'ada' if number % 2 else 'bob'}/") for number in range(101)}
    chosen = memory.record("likes tuna", "/users/ada/", metadata={"topic": {"stringValue": "food"}})
    found = run(backend.record(chosen), backend.execute)
    assert found is not None
    assert (found.text, found.namespace(), found.metadata) == (
        "likes tuna",
        ("users", "ada"),
        {"topic": {"stringValue": "food"}},
    )
    assert found.value() == {
        "content": "likes tuna",
        "memory_strategy_id": "default",
        "namespaces": ["/users/ada/"],
    }
    page = run(backend.records("/users/"), backend.execute)
    rest = run(backend.records("/users/", page.cursor), backend.execute)
    assert (len(page.items), rest.cursor) == (100, None)
    assert {one.id for one in [*page.items, *rest.items]} == {*ids, chosen}
    assert run(backend.delete_record(chosen), backend.execute)
    assert not run(backend.delete_record(chosen), backend.execute)
    assert run(backend.record(chosen), backend.execute) is None


@pytest.mark.anyio
async def test_records_are_read_from_event_loops(memory: Memory, backend: AgentCoreItems) -> None:
    chosen = memory.record("likes tuna", "/users/ada/")
    found = await arun(backend.record(chosen), backend.aexecute)
    assert found is not None
    page = await arun(backend.records("/users/ada/"), backend.aexecute)
    assert [one.id for one in page.items] == [found.id]
    assert await arun(backend.delete_record(chosen), backend.aexecute)


def test_a_missing_memory_is_no_missing_record(boto_client: Any) -> None:
    backend = AgentCoreItems(open_client("bedrock-agentcore", client=boto_client), "unknown-0123456789")
    for operation in (backend.record(UNKNOWN), backend.delete_record(UNKNOWN), backend.records("/")):
        with pytest.raises(InvalidInput, match="no such memory"):
            run(operation, backend.execute)


def test_wrong_ids_and_paths_are_refused(backend: AgentCoreItems) -> None:
    for wrong in ("", "tuna", "mem-1", UNKNOWN + "/" * 10, 7):
        for method in (backend.record, backend.delete_record):
            with pytest.raises(InvalidInput, match="record_id must be") as caught:
                run(method(wrong), backend.execute)  # type: ignore[operator]
            assert caught.value.field == "record_id"
    for wrong in ("", "ada lovelace", "a::b", "/" * 1025, None):
        with pytest.raises(InvalidInput, match="namespace_path must be"):
            run(backend.records(wrong), backend.execute)  # type: ignore[arg-type]


def test_labels_become_paths_and_no_two_meet(memory: Memory, backend: AgentCoreItems) -> None:
    labels = ["a", "a:b", "a:", ":", "a::b", "a/b", "*", "ä", "a b", "statekeep-label-x", "-", "_", "x" * 900]
    paths = [namespace_path((label,)) for label in labels]
    assert len(set(paths)) == len(labels)
    assert (paths[0], paths[1]) == ("/a/", "/a:b/")
    for path in paths:
        memory.record("x", path)
        assert [one.namespaces for one in run(backend.records(path), backend.execute).items] == [[path]]
