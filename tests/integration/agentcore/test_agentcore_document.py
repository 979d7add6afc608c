"""docs/agentcore.md says what is stored where, and what a program must be allowed to do."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.graph import StateGraph

from statekeep.domain import AccessDenied
from statekeep.langgraph_shim import AgentCoreMemorySaver, AgentCoreMemoryStore
from statekeep.repositories.agentcore import AgentCoreItems
from statekeep.repositories.aws import open_client
from statekeep.repositories.items import ItemRepository
from statekeep.repositories.operation import run
from statekeep.testing.aws import AwsEmulator
from tests.fenced import ROOT, blocks

DOCUMENT = ROOT / "docs" / "agentcore.md"
TEXT = DOCUMENT.read_text("utf-8")


def actions() -> list[str]:
    """What the policy allows."""
    [block] = blocks(DOCUMENT, "json")
    statements = json.loads(block.text)["Statement"]
    assert [one["Sid"] for one in statements] == ["StatekeepCheckpoints", "StatekeepRecords"]
    assert {one["Effect"] for one in statements} == {"Allow"}
    return [action for one in statements for action in one["Action"]]


def use_records(aws: AwsEmulator) -> None:
    """Do what items with an index can do."""
    client = open_client("bedrock-agentcore", session=aws.session())
    with ItemRepository(AgentCoreItems(client, aws.memory_id, index={"fields": ["$"]})) as items:
        backend: Any = items.backend
        items.put(("users", "ada"), "liked", "tuna")
        items.put(("users", "ada"), "liked", "salmon")
        assert [item.key for item in items.search(query="salmon") if item.score is not None] == ["liked"]
        [record] = run(backend.records("/users/"), backend.execute).items
        assert run(backend.record(record.id), backend.execute) == record
        assert run(backend.delete_record(record.id), backend.execute)
        items.delete(("users", "ada"), "liked")
    memory_id = aws.agentcore.create_memory(strategies={"likes": "/likes/{actorId}"})
    with AgentCoreMemoryStore(memory_id, session=aws.session()) as store:
        store.put(("ada", "one"), "k", {"message": HumanMessage("I like sushi.")})
        [found] = store.search(("likes", "ada"), query="sushi")
        assert store.get(("likes", "ada"), found.key) is not None
        store.delete(("likes", "ada"), found.key)
        assert store.search(("likes", "ada"), query="sushi") == []


def use_all(aws: AwsEmulator) -> None:
    """Do what a saver can do."""
    builder: Any = StateGraph(int)
    builder.add_node("add", lambda x: x + 1).set_entry_point("add").set_finish_point("add")
    nested: Any = StateGraph(int)
    nested.add_node("inner", builder.compile(checkpointer=True)).set_entry_point("inner").set_finish_point("inner")
    with AgentCoreMemorySaver(aws.memory_id, session=aws.session(), inline=0) as saver:
        graph = nested.compile(checkpointer=saver)
        for actor, thread in (("ada", "one"), ("ada", "two"), ("Ada Lovelace", "user:42"), ("Ada Lovelace", "three")):
            graph.invoke(1, {"configurable": {"thread_id": thread, "actor_id": actor}, "metadata": {"run_id": "r"}})
        saver.copy_thread("one", "copy")
        saver.prune(["one"])
        saver.delete_thread("three")
        saver.delete_for_runs(["unknown"])
        assert list(saver.list(None))
    client = open_client("bedrock-agentcore", session=aws.session())
    with ItemRepository(AgentCoreItems(client, aws.memory_id)) as items:
        items.put(("users", "ada"), "theme", "x" * 100_000, expected=None)
        items.put(("users", "ada"), "gone", "dark")
        items.delete(("users", "ada"), "gone")
        items.reindex(("users", "ada"))
        assert items.list_namespaces() == [("users", "ada")]


def test_the_policy_suffices_and_has_nothing_that_is_not_needed() -> None:
    of_records = [action for action in actions() if "Record" in action]
    with AwsEmulator(allowed=actions()) as aws, aws.record() as calls:
        use_records(aws)
    used = {f"bedrock-agentcore:{name}" for name in calls.operations if "Record" in name}
    assert used == set(of_records)
    others = [action for action in actions() if action not in of_records]
    with AwsEmulator(allowed=others) as aws:
        use_all(aws)
    for action in others:
        with AwsEmulator(allowed=[one for one in others if one != action]) as aws:
            with pytest.raises(AccessDenied, match=f"allow the IAM action {action}"):
                use_all(aws)


def lanes() -> dict[str, re.Pattern[str]]:
    """Patterns of actor and session, by the rows of the table."""
    rows = re.findall(r"^\| `(ACTOR\S*|statekeep-\S+)` \| `(\S+)` \|", TEXT, re.MULTILINE)
    digits = {"T": 40, "NS": 40, "ID": 40, "VALUE": 40, "RUN": 40, "N": 24, "H": 40, "KEY": 40, "LABEL": 40, "V": 16}
    parts: Any = {
        "ACTOR": r"(ada|statekeep-actor-[0-9a-f]{40})",
        "THREAD": r"(one|two|copy|statekeep-thread-[0-9a-f]{40})",
        **{name: f"[0-9a-f]{{{count}}}" for name, count in digits.items()},
    }
    return {
        f"{actor} {session}": re.compile(re.sub("[A-Z]+", lambda found: parts[found[0]], f"{actor} {session}"))
        for actor, session in rows
    }


def test_each_session_is_one_of_the_table() -> None:
    with AwsEmulator() as aws:
        use_all(aws)
        client = aws.client("bedrock-agentcore")
        found = []
        for actor in client.list_actors(memoryId=aws.memory_id, maxResults=100)["actorSummaries"]:
            pages = client.get_paginator("list_sessions").paginate(
                memoryId=aws.memory_id, actorId=actor["actorId"], filter={"eventFilter": "HAS_EVENTS"}
            )
            found += [f"{one['actorId']} {one['sessionId']}" for page in pages for one in page["sessionSummaries"]]
    patterns = lanes()
    assert len(patterns) == 14
    for place in found:
        assert sum(bool(pattern.fullmatch(place)) for pattern in patterns.values()) == 1, place
    for name, pattern in patterns.items():
        assert any(pattern.fullmatch(place) for place in found), name


def test_the_example_of_an_event_is_one() -> None:
    with AwsEmulator() as aws:
        use_all(aws)
        client = aws.client("bedrock-agentcore")
        [event, *_] = client.list_events(memoryId=aws.memory_id, actorId="ada", sessionId="two")["events"]
    shape = re.search(r"`(statekeep/1 HASH [A-Z ]+)`", TEXT)
    assert shape
    assert len(event["payload"][0]["blob"].split(" ")) == len(shape[1].split(" "))


def test_the_commands_exist() -> None:
    text = "\n".join(block.text for block in blocks(DOCUMENT, "sh"))
    assert "python -m statekeep.testing.aws" in text
    assert "statekeep[aws,langgraph]" in text
