"""docs/bedrock-sessions.md says what is stored where, what it costs and what a program must be allowed to do."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt

from statekeep.domain import AccessDenied, Checkpoint, PendingWrite, new_checkpoint_id
from statekeep.domain.payload import Payload
from statekeep.langgraph_shim import BedrockSessionSaver
from statekeep.repositories.bedrock_sessions.backend import INLINE
from statekeep.repositories.bedrock_sessions.steps import FEW, STEPS
from statekeep.repositories.checkpoints import CheckpointRepository
from statekeep.testing.aws import AwsEmulator, SessionRules
from tests.fenced import ROOT, blocks

DOCUMENT = ROOT / "docs" / "bedrock-sessions.md"
TEXT = DOCUMENT.read_text("utf-8")


def policies() -> list[Any]:
    return [json.loads(block.text)["Statement"][0] for block in blocks(DOCUMENT, "json")]


def actions() -> list[str]:
    """What the policy allows."""
    found: list[str] = policies()[0]["Action"]
    return found


def adding(saver: BedrockSessionSaver) -> Any:
    builder: Any = StateGraph(int)
    builder.add_node("add", lambda x: x + 1).set_entry_point("add").set_finish_point("add")
    return builder.compile(checkpointer=saver)


def use_all(aws: AwsEmulator) -> None:
    """Do what a saver and its client can do."""
    with BedrockSessionSaver(session=aws.session(), inline=0) as saver:
        thread = saver.create_thread()
        adding(saver).invoke(1, {"configurable": {"thread_id": thread}})
        other = saver.continue_thread(thread)
        assert list(saver.list(None))
        saver.session_client.update_session(session_identifier=other, session_metadata={"k": "v"})
        assert saver.session_client.list_invocations(session_identifier=other).invocation_summaries
        saver.delete_thread(thread)


def test_the_policy_suffices_and_has_nothing_that_is_not_needed() -> None:
    with AwsEmulator(allowed=actions()) as aws:
        use_all(aws)
    assert len(actions()) == 11
    for action in actions():
        with AwsEmulator(allowed=[one for one in actions() if one != action]) as aws:
            with pytest.raises(AccessDenied, match=f"allow the IAM action {action}"):
                use_all(aws)


def test_the_policy_of_the_key_stands_alone() -> None:
    assert [{action.partition(":")[0] for action in policy["Action"]} for policy in policies()] == [
        {"bedrock"},
        {"kms"},
    ]
    assert all(policy["Effect"] == "Allow" for policy in policies())


def test_what_graphs_need() -> None:
    sentence = re.search(r"Graphs need (.*?),\s`create_thread`", TEXT, re.DOTALL)
    assert sentence
    allowed = [f"bedrock:{name}" for name in re.findall(r"`(\w+)`", sentence[1])]
    assert len(allowed) == 5
    with AwsEmulator() as everything:
        thread = everything.client("bedrock-agent-runtime").create_session()["sessionId"]
        everything.application._allowed = tuple(allowed)
        with BedrockSessionSaver(session=everything.session()) as saver:
            graph = adding(saver)
            assert graph.invoke(1, {"configurable": {"thread_id": thread}}) == 2
            assert len(list(graph.get_state_history({"configurable": {"thread_id": thread}}))) == 3
            with pytest.raises(AccessDenied):
                saver.create_thread()


# -- costs


def costs() -> dict[str, dict[str, int]]:
    """The first numbers of calls of each operation in the table."""
    rows = re.findall(r"^\| ([^|]+) \| (\d [^|]+) \|", TEXT, re.MULTILINE)
    return {
        operation: {name: int(count) for count, name in re.findall(r"(\d+) `(\w+)`", calls)}
        for operation, calls in rows
    }


def test_the_table_of_costs_is_right() -> None:
    table = costs()
    with AwsEmulator() as aws, BedrockSessionSaver(session=aws.session()) as saver:
        keep = CheckpointRepository(saver._plain)

        def counted(operation: str, call: Callable[[], Any]) -> Any:
            with aws.record() as calls:
                result = call()
            assert calls.operations == table.pop(operation), operation
            return result

        thread = counted("`create_thread`", saver.create_thread)
        first = Checkpoint(thread_id=thread, checkpoint_id=new_checkpoint_id())
        counted("the first `put` of a namespace", lambda: keep.put(first))
        second = Checkpoint(thread_id=thread, checkpoint_id=new_checkpoint_id(), parent_id=first.checkpoint_id)
        counted("`put`", lambda: keep.put(second))
        counted("`get`, the newest or by id", lambda: keep.get(thread))
        write = PendingWrite(task_id="t", idx=0, channel="c", payload=Payload(encoding="x", data=b"y"))
        counted("`put_writes`, any number", lambda: keep.put_writes(thread, first.checkpoint_id, [write] * 1))
        counted("`delete_thread`", lambda: saver.delete_thread(thread))
    assert table == {}


def test_supersteps_of_a_session() -> None:
    found = re.search(
        r"Each input takes (\d), .*?(\d+) supersteps\s+of one task, (\d+) of two, (\d+) of ten", TEXT, re.DOTALL
    )
    assert found
    given, *supersteps = map(int, found.groups())
    assert supersteps == [(STEPS - given) // (tasks + 1) for tasks in (1, 2, 10)]
    assert f"warns once when {FEW} are left" in TEXT
    assert f"`inline` bytes ({INLINE // 1024} KiB)" in TEXT
    with AwsEmulator() as aws, BedrockSessionSaver(session=aws.session()) as saver:
        thread = saver.create_thread()
        adding(saver).invoke(1, {"configurable": {"thread_id": thread}})
        assert saver.steps_left(thread) == STEPS - given - 2


# -- what is stored


def test_the_digits_of_ids() -> None:
    rows = re.findall(r"^\| (\d+) \| (\w+)", TEXT, re.MULTILINE)
    assert [word for _, word in rows] == ["kind", "hash", "milliseconds", "hash"]
    kind, own, put_at, content = (int(count) for count, _ in rows)
    assert kind + own + put_at + content == 32
    letters = dict(re.findall(r"`([a-d])` (pending writes|a UUID of version 6|of version 7|any other text)", TEXT))
    with AwsEmulator() as aws, BedrockSessionSaver(session=aws.session()) as saver:
        thread = saver.create_thread()
        adding(saver).invoke(1, {"configurable": {"thread_id": thread}})
        keep = CheckpointRepository(saver._plain)
        for name in ("a name", new_checkpoint_id()):
            keep.put(Checkpoint(thread_id=thread, checkpoint_id=name))
        steps = saver.session_client.list_invocation_steps(session_identifier=thread, max_results=1000)
        ids = [one.invocation_step_id.replace("-", "") for one in steps.invocation_step_summaries]
        step = steps.invocation_step_summaries[0]
        read = saver.session_client.get_invocation_step(
            session_identifier=thread,
            invocation_identifier=step.invocation_id,
            invocation_step_id=step.invocation_step_id,
        )
        now = aws.clock.now().timestamp() * 1000
    assert {one[0] for one in ids} == set(letters)
    assert all(abs(int(one[kind + own :][:put_at], 16) - now) < 600_000 for one in ids)
    shape = re.search(r"`(statekeep/1 HASH [A-Z ]+)`", TEXT)
    assert shape
    [block] = read.invocation_step.payload.content_blocks or ()
    assert len((block.text or "").split(" ")) == len(shape[1].split(" "))


def test_the_example_goes_on_after_the_hour() -> None:
    [block] = [block for block in blocks(DOCUMENT, "python") if "def answer(" in block.text]
    names: dict[str, Any] = {}
    exec(block.compile(DOCUMENT), names)  # type: ignore[arg-type]
    builder: Any = StateGraph(str)
    builder.add_node("ask", lambda state: f"{state} {interrupt('?')}").add_edge(START, "ask")
    with AwsEmulator(bedrock_sessions=SessionRules()) as aws, BedrockSessionSaver(session=aws.session()) as saver:
        graph = builder.compile(checkpointer=saver)
        for pause in (0, 3600):
            thread = saver.create_thread()
            graph.invoke("hello", {"configurable": {"thread_id": thread}})
            aws.clock.advance(pause)
            after = names["answer"](graph, saver, thread, "Ada")
            assert (after == thread) is (pause == 0)
            assert graph.get_state({"configurable": {"thread_id": after}}).values == "hello Ada"


def test_the_commands_exist() -> None:
    text = "\n".join(block.text for block in blocks(DOCUMENT, "sh"))
    assert "python -m statekeep.testing.aws" in text
    assert "statekeep[aws,langgraph]" in text


# -- the programs of langgraph-checkpoint-aws's README


@pytest.mark.parametrize("program", ["bedrock_sessions.py", "async_bedrock_sessions.py"])
def test_the_examples_run(program: str, tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.write_text("[default]\naws_access_key_id = EMULATED\naws_secret_access_key = emulated\n", "utf-8")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with AwsEmulator() as aws:
        environment = {
            **kept,
            "AWS_SHARED_CREDENTIALS_FILE": str(credentials),
            "AWS_CONFIG_FILE": str(tmp_path / "none"),
            "AWS_ENDPOINT_URL_BEDROCK_AGENT_RUNTIME": aws.endpoint_url,
            "NO_PROXY": "127.0.0.1",
        }
        command = [sys.executable, str(ROOT / "examples" / program)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120, env=environment)
        assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr
        # Input, its task's writes, the node's, and two checkpoints; then they clean up.
        assert aws.totals.calls["CreateSession"] == aws.totals.calls["DeleteSession"] == 1
        assert aws.client("bedrock-agent-runtime").list_sessions()["sessionSummaries"] == []
