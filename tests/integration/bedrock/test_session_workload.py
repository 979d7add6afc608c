"""Calls and bytes of a long conversation in emulated sessions of Bedrock, through the saver and without it."""

from __future__ import annotations

import operator
import random
from collections.abc import Iterator
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.graph import END, START, StateGraph

from statekeep.domain import Channel, Checkpoint, Payload, PendingWrite, new_checkpoint_id
from statekeep.langgraph_shim import BedrockSessionSaver
from statekeep.repositories.aws import open_client
from statekeep.repositories.bedrock_sessions import BedrockSessionCheckpoints
from statekeep.repositories.checkpoints import CheckpointRepository
from statekeep.testing.aws import AwsEmulator

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ."


def text(size: int, seed: object) -> str:
    """Random text."""
    return "".join(random.Random(str(seed)).choices(LETTERS, k=size))


@pytest.fixture(scope="module")
def aws() -> Iterator[AwsEmulator]:
    with AwsEmulator() as emulator:
        yield emulator


@pytest.fixture(scope="module")
def boto_client(aws: AwsEmulator) -> Any:
    return aws.client("bedrock-agent-runtime")


def opened(boto_client: Any) -> CheckpointRepository:
    """Open a repository that knows nothing yet, as another process would."""
    client = open_client("bedrock-agent-runtime", client=boto_client)
    return CheckpointRepository(BedrockSessionCheckpoints(client))


def payload(value: str) -> Payload:
    return Payload(encoding="text", data=value.encode())


def converse(keep: CheckpointRepository, thread: str, supersteps: int) -> None:
    """Each superstep puts a checkpoint, and pending writes of two tasks."""
    parent = None
    messages = ""
    for number in range(supersteps):
        said = text(1_000, number)
        messages += said
        document = Channel.earlier(1) if number else Channel.of(1, payload(text(100_000, "document")))
        checkpoint = Checkpoint(
            thread_id=thread,
            checkpoint_id=new_checkpoint_id(),
            parent_id=parent,
            metadata={"step": number},
            channels={"document": document, "messages": Channel.of(number, payload(messages))},
        )
        keep.put(checkpoint)
        parent = checkpoint.checkpoint_id
        for task in ("left", "right"):
            write = PendingWrite(task_id=task, idx=0, channel="messages", payload=payload(said[:500]))
            keep.put_writes(thread, parent, [write])


def test_a_hundred_supersteps(aws: AwsEmulator, boto_client: Any) -> None:
    keep = opened(boto_client)
    thread = boto_client.create_session()["sessionId"]
    with aws.record() as calls:
        converse(keep, thread, 100)
    # One more for the invocation of the namespace, which the first put finds missing.
    assert calls.operations == {"PutInvocationStep": 301, "CreateInvocation": 1}
    assert calls.request_bytes <= 6_000_000
    with aws.record() as calls:
        saved = opened(boto_client).get(thread)
    assert saved is not None
    assert saved.channels["document"].payload == payload(text(100_000, "document"))
    assert saved.channels["messages"].payload == payload("".join(text(1_000, number) for number in range(100)))
    assert len(saved.pending_writes) == 2
    # The checkpoint with its own values, two steps of writes, and the document.
    assert calls.operations == {"ListInvocationSteps": 1, "GetInvocationStep": 4}
    assert calls.response_bytes <= 300_000


def test_a_full_session(aws: AwsEmulator, boto_client: Any) -> None:
    keep = opened(boto_client)
    thread = boto_client.create_session()["sessionId"]
    converse(keep, thread, 100)
    for number in range(700):
        write = PendingWrite(task_id=f"task {number}", idx=0, channel="c", payload=payload("x"))
        keep.put_writes(thread, "another checkpoint", [write])
    listed = boto_client.list_invocation_steps(sessionIdentifier=thread, maxResults=1000)
    assert len(listed["invocationStepSummaries"]) == 1000
    with aws.record() as calls:
        saved = opened(boto_client).get(thread)
    assert saved is not None
    assert saved.metadata == {"step": 99}
    assert calls.operations == {"ListInvocationSteps": 1, "GetInvocationStep": 4}
    assert calls.response_bytes <= 500_000


class State(TypedDict, total=False):
    document: str
    messages: Annotated[list[str], operator.add]


def test_a_graph_with_two_tasks_a_step(aws: AwsEmulator, boto_client: Any) -> None:
    """The same by LangGraph, which lets two tasks run in each superstep but the first."""
    builder: Any = StateGraph(State)
    builder.add_node("a", lambda state: {"messages": [text(500, ("a", len(state["messages"])))]})
    builder.add_node("b", lambda state: {"messages": [text(500, ("b", len(state["messages"])))]})
    builder.add_edge(START, "a").add_edge(START, "b")

    def more(state: State) -> list[str]:
        # It sees what its own node wrote, and not the other one.
        return ["a", "b"] if len(state["messages"]) < 199 else [END]

    builder.add_conditional_edges("a", more, ["a", "b", END])
    with BedrockSessionSaver(boto_client) as saver:
        thread = saver.create_thread()
        graph = builder.compile(checkpointer=saver)
        config: Any = {"configurable": {"thread_id": thread}, "recursion_limit": 200}
        with aws.record() as calls:
            done = graph.invoke({"document": text(100_000, "document"), "messages": []}, config)
        assert len(done["messages"]) == 200
        # Three steps of the input, and three of each superstep with two tasks.
        put = [call for call in calls if call.operation == "PutInvocationStep" and call.error is None]
        assert len(put) == 3 + 100 * 3
        assert saver.steps_left(thread) == 1000 - len(put)
        assert calls.request_bytes <= 6_000_000
        with aws.record() as calls:
            assert graph.get_state(config).values == done
        assert calls.response_bytes <= 300_000
