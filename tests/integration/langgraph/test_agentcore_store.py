"""LangGraph's store on the emulated AgentCore Memory: conversations, messages that come back, errors, agents."""

from __future__ import annotations

import asyncio
import operator
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from langgraph.prebuilt import create_react_agent
from langgraph.runtime import Runtime
from langgraph.store.base import BaseStore, InvalidNamespaceError, PutOp, SearchItem
from langgraph.types import Send
from langgraph.warnings import LangGraphDeprecationWarning

from statekeep.domain import AccessDenied, CorruptRecord, InvalidInput, Unavailable
from statekeep.langgraph_shim import AgentCoreMemorySaver, AgentCoreMemoryStore
from statekeep.langgraph_shim.store.messages import MARK
from statekeep.repositories.agentcore import AgentCoreItems
from statekeep.repositories.aws import open_client
from statekeep.repositories.items import ItemRepository
from statekeep.testing.aws import AgentCoreRules, AwsEmulator, cut_before
from tests.fenced import ROOT

from ..agentcore.emulated import Memory, hold_the_first

pytestmark = pytest.mark.anyio

N = ("ada", "session-1")


@pytest.fixture(scope="module")
def aws() -> Iterator[AwsEmulator]:
    with AwsEmulator() as emulator:
        yield emulator


@pytest.fixture
def memory(aws: AwsEmulator) -> Memory:
    return Memory(aws, aws.agentcore.create_memory())


@pytest.fixture
def store(memory: Memory) -> AgentCoreMemoryStore:
    return AgentCoreMemoryStore(memory.id, client=memory.client)


def said(memory: Memory, session: str = N[1], actor: str = N[0]) -> list[tuple[str, str]]:
    """Return who said what in a session, the latest last."""
    whole = [item for event in memory.events(session, actor) for item in event["payload"]]
    said = [item["conversational"] for item in reversed(whole) if "conversational" in item]
    return [(one["role"], one["content"]["text"]) for one in said]


# -- messages


CALL: Any = {"name": "look", "args": {"at": [1, None]}, "id": "call-1"}
USED: Any = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
SAID = [
    (HumanMessage("I like sushi."), "USER"),
    (AIMessage("So do I.", id="x", tool_calls=[CALL], usage_metadata=USED, additional_kwargs={"a": 1.5}), "ASSISTANT"),
    (ToolMessage("found", tool_call_id="call-1", artifact={"rows": [1, 2]}), "TOOL"),
    (SystemMessage("Be brief."), "OTHER"),
    (HumanMessage([{"type": "text", "text": "Look:"}, {"type": "image", "url": "https://x/y.png"}]), "USER"),
    (HumanMessage("x" * 100_000), "USER"),
]
SILENT = [
    ChatMessage(content="hello", role="narrator"),
    AIMessageChunk(content="chunk", tool_call_chunks=[{"name": "look", "args": "{", "id": "c", "index": 0}]),
    RemoveMessage(id="x"),
    HumanMessage(" \n"),
    AIMessage("", tool_calls=[CALL]),
    HumanMessage([{"type": "image", "url": "https://x/y.png"}]),
    HumanMessage("an event already", additional_kwargs={"event_id": "0001#ab"}),
]


@pytest.mark.parametrize(("message", "role"), SAID)
def test_a_message_is_said_and_comes_back(
    message: BaseMessage, role: str, store: AgentCoreMemoryStore, memory: Memory
) -> None:
    store.put(N, "first", {"message": message, "seen": 1})
    assert said(memory) == [(role, message.text)]
    item = store.get(N, "first")
    assert item is not None
    assert item.value == {"message": message, "seen": 1}
    assert type(item.value["message"]) is type(message)
    [hit] = store.search(("ada",), filter={"seen": 1})
    assert (hit.namespace, hit.key, hit.value) == (N, "first", item.value)


@pytest.mark.parametrize("message", SILENT)
def test_a_message_without_role_or_text_is_an_item_only(
    message: BaseMessage, store: AgentCoreMemoryStore, memory: Memory
) -> None:
    store.put(N, "first", {"message": message})
    assert said(memory) == []
    item = store.get(N, "first")
    assert item is not None
    assert item.value == {"message": message}
    assert type(item.value["message"]) is type(message)


async def test_async(store: AgentCoreMemoryStore, memory: Memory) -> None:
    await store.aput(N, "first", {"message": HumanMessage("I like sushi.")})
    await store.aput(("plain",), "a", {"n": 1})
    assert said(memory) == [("USER", "I like sushi.")]
    item = await store.aget(N, "first")
    assert item is not None
    assert item.value == {"message": HumanMessage("I like sushi.")}
    assert await store.alist_namespaces() == [N, ("plain",)]
    await store.adelete(N, "first")
    assert await store.asearch(("ada",)) == []
    with pytest.raises(InvalidInput, match="100000 characters"):
        await store.aput(N, "first", {"message": HumanMessage("x" * 100_001)})


def test_the_event_is_first_and_costs_one_call(store: AgentCoreMemoryStore, memory: Memory) -> None:
    store.put(N, "known", {"n": 1})
    with memory.aws.record() as calls:
        store.put(N, "first", {"message": HumanMessage("I like sushi.")})
    assert len(calls) == 4
    assert "conversational" in calls[0].arguments["payload"][0]
    assert "extractionMode" not in calls[0].arguments


def test_a_batch_keeps_the_order_of_a_conversation(store: AgentCoreMemoryStore, memory: Memory) -> None:
    ops = [PutOp(N, str(number), {"message": HumanMessage(str(number))}) for number in range(40)]
    store.batch([PutOp(N, "7", {"message": HumanMessage("replaced")}), *ops])
    assert said(memory) == [("USER", str(number)) for number in range(40)]


def test_what_is_said_again_is_one_event(store: AgentCoreMemoryStore, memory: Memory) -> None:
    for key, text in [("a", "yes"), ("a", "yes"), ("b", "yes"), ("b", "no")]:
        store.put(N, key, {"message": HumanMessage(text)})
    assert said(memory) == [("USER", "yes"), ("USER", "yes"), ("USER", "no")]
    store.put(N, "b", {"message": AIMessage("no")})
    assert said(memory)[3:] == [("ASSISTANT", "no")]


def test_a_put_that_was_cut_off_is_completed_by_a_repetition(store: AgentCoreMemoryStore, memory: Memory) -> None:
    store.put(N, "known", {"n": 1})
    value = {"message": HumanMessage("I like sushi.")}
    with memory.aws.failing(cut_before("CreateEvent", skip=2)), pytest.raises(Unavailable):
        store.put(N, "first", value)
    assert said(memory) == [("USER", "I like sushi.")]
    assert store.get(N, "first") is None
    store.put(N, "first", value)
    assert said(memory) == [("USER", "I like sushi.")]
    assert store.search(("ada",), filter={"n": {"$ne": 1}})[0].value == value


def test_a_memory_that_honours_no_tokens_has_it_twice() -> None:
    with AwsEmulator(agentcore=AgentCoreRules(honour_tokens=False)) as aws:
        memory = Memory(aws)
        store = AgentCoreMemoryStore(memory.id, client=memory.client)
        for _ in range(2):
            store.put(N, "a", {"message": HumanMessage("yes")})
        assert said(memory) == [("USER", "yes")] * 2


def test_names_that_the_service_does_not_take_are_hashed(store: AgentCoreMemoryStore, memory: Memory) -> None:
    store.put(("Ada Lovelace", "user:42"), "a", {"message": HumanMessage("yes")})
    (actor,) = [name for name in memory.actors() if name.startswith("statekeep-label-")]
    (session,) = memory.sessions(actor)
    assert said(memory, session, actor) == [("USER", "yes")]


class Odd(HumanMessage):
    """A message of a type of one's own."""


@pytest.mark.parametrize(
    ("namespace", "value", "text"),
    [
        (N, {"message": HumanMessage("x" * 100_001)}, "at most 100000 characters.*got 100001"),
        (N, {"message": HumanMessage("\ud800")}, "message must be Unicode text"),
        (("ada",), {"message": HumanMessage("x")}, r"namespace of a message must be \(actor_id, session_id\)"),
        (("a", "b", "c"), {"message": HumanMessage(" ")}, r"namespace of a message must be"),
        (N, {"message": ToolMessage("x", tool_call_id="1", artifact=object())}, r"value.message.artifact: .* not JSON"),
        (N, {"message": Odd(content="x")}, "type Odd cannot be stored: .* come back as HumanMessage"),
        (N, {"message": HumanMessage("x"), "other": {1}}, "value.other: .*set is not JSON"),
        (N, {"message": {MARK: 1, "type": "human", "content": "x"}}, "marks stored messages"),
    ],
)
def test_bad_messages(namespace: Any, value: Any, text: str, store: AgentCoreMemoryStore, memory: Memory) -> None:
    with memory.aws.record() as calls, pytest.raises(InvalidInput, match=text):
        store.batch([PutOp(N, "good", {"message": HumanMessage("good")}), PutOp(namespace, "bad", value)])
    assert len(calls) == 0


def test_other_values_are_plain_items(store: AgentCoreMemoryStore, memory: Memory) -> None:
    values: list[Any] = [{"message": "text"}, {"message": {"type": "human", "content": "x"}}, {"text": "x"}, {}]
    for number, value in enumerate(values):
        store.put(N, str(number), value)
    assert [item.value for item in reversed(store.search(N))] == values
    assert said(memory) == []


def test_a_stored_message_that_cannot_be_made(store: AgentCoreMemoryStore, memory: Memory) -> None:
    with ItemRepository(AgentCoreItems(open_client("bedrock-agentcore", client=memory.client), memory.id)) as items:
        items.put(N, "a", {"message": {MARK: 1, "type": "unheard of", "content": "x"}})
        items.put(N, "b", {"message": {MARK: 2, "type": "human", "content": "x"}})
        for key in ("a", "b"):
            with pytest.raises(CorruptRecord, match="cannot be made"):
                store.get(N, key)


# -- what was extracted


@pytest.fixture
def extracting(aws: AwsEmulator) -> Memory:
    return Memory(aws, aws.agentcore.create_memory(strategies={"likes": "/preferences/{actorId}/"}))


def contents(found: list[SearchItem]) -> list[str]:
    return [item.value["content"] for item in found]


TEXTS = ["I like sushi.", "I like trains.", "sushi sushi"]


def told(memory: Memory, **options: Any) -> AgentCoreMemoryStore:
    store = AgentCoreMemoryStore(memory.id, client=memory.client, **options)
    for number, text in enumerate(TEXTS):
        store.put(N, str(number), {"message": HumanMessage(text)})
    return store


async def test_a_search_finds_what_was_extracted_before_items(extracting: Memory) -> None:
    store = told(extracting)
    store.put(("preferences", "ada", "own"), "k", {"content": "an item"})
    store.put(("preferences", "adam"), "k", {"content": "another one's"})
    with extracting.aws.record() as calls:
        found = store.search(("preferences", "ada"), query="sushi")
    assert calls.operations["RetrieveMemoryRecords"] == 1
    assert contents(found)[0] == "sushi sushi"
    assert sorted(contents(found)[:3]) == sorted(TEXTS)
    assert contents(found)[3:] == ["an item"]
    assert [item.score for item in found[:3]] == sorted((item.score for item in found[:3]), reverse=True)  # type: ignore[type-var]
    assert found[3].score is None
    assert found[0].namespace == ("preferences", "ada")
    assert found[0].value == {
        "content": "sushi sushi",
        "memory_strategy_id": "likes",
        "namespaces": ["/preferences/ada/"],
    }
    assert await store.asearch(("preferences", "ada"), query="sushi") == found
    for limit, offset in [(2, 0), (1, 1), (2, 2), (5, 3), (0, 0)]:
        part = store.search(("preferences", "ada"), query="sushi", limit=limit, offset=offset)
        assert part == found[offset : offset + limit]
    some = store.search(("preferences",), query="sushi", filter={"content": "I like trains."})
    assert contents(some) == ["I like trains."]
    assert contents(store.search(("preferences", "ada"), query="")) == ["an item"]
    assert store.search(("preferences", "nobody"), query="sushi") == []


def test_more_records_than_a_page_has() -> None:
    with AwsEmulator(agentcore=AgentCoreRules(page_size=7, trailing_token=True)) as aws:
        memory = Memory(aws)
        for number in range(30):
            memory.record(f"sushi {number}", "/preferences/ada")
        for number in range(40):
            memory.record(f"sushi sushi {number}", "/preferences/adam")
        store = AgentCoreMemoryStore(memory.id, client=memory.client)
        found = store.search(("preferences",), query="sushi", limit=70)
        assert len({item.key for item in found}) == 70
        wanted = {"namespaces": ["/preferences/ada"]}
        assert len(store.search(("preferences",), query="sushi", filter=wanted, limit=25)) == 25


def test_a_search_of_one_namespace_only(extracting: Memory) -> None:
    store = told(extracting, hierarchical_search=False)
    assert store.hierarchical_search is False
    assert store.search(("preferences",), query="sushi") == []
    assert sorted(contents(store.search(("preferences", "ada"), query="sushi"))) == sorted(TEXTS)


async def test_get_and_delete_by_the_id_of_a_record(extracting: Memory) -> None:
    store = told(extracting)
    first, second, *_ = store.search(("preferences", "ada"), query="sushi")
    within: list[tuple[str, ...]] = [("preferences", "ada"), ("preferences",)]
    for namespace in within:
        item = store.get(namespace, first.key)
        assert item is not None
        assert (item.namespace, item.key, item.value) == (("preferences", "ada"), first.key, first.value)
        assert await store.aget(namespace, first.key) == item
    others: list[tuple[str, ...]] = [("preferences", "adam"), ("preferences", "ada", "own"), ("ada",)]
    for namespace in others:
        assert store.get(namespace, first.key) is None
        store.delete(namespace, first.key)
    assert store.get(("preferences",), "mem-" + "0" * 36) is None
    with extracting.aws.record() as calls:
        assert store.get(("preferences",), "mem-0") is None
    assert calls.operations == {"ListEvents": 1}

    store.put(("preferences",), first.key, {"mine": 1})
    item = store.get(("preferences",), first.key)
    assert item is not None
    assert item.value == {"mine": 1}
    store.delete(("preferences",), first.key)
    assert store.get(("preferences",), first.key) is not None
    store.delete(("preferences",), first.key)
    await store.adelete(("preferences", "ada"), second.key)
    assert len(store.search(("preferences", "ada"), query="sushi")) == 1
    assert len(store.search(("ada",))) == 3


def test_names_that_the_service_does_not_take_are_found_again(extracting: Memory) -> None:
    store = AgentCoreMemoryStore(extracting.id, client=extracting.client)
    for actor in ("Ada Lovelace", "team/ada", "user:42"):
        store.put((actor, "user:42"), "k", {"message": HumanMessage(f"I am {actor}")})
        [found] = store.search(("preferences", actor), query="who?")
        assert (found.namespace, found.value["content"]) == (("preferences", actor), f"I am {actor}")
        assert store.get(("preferences", actor), found.key) is not None


# -- items found by meaning


async def test_items_and_what_was_extracted_are_found_by_one_search(extracting: Memory) -> None:
    store = told(extracting, index={"fields": ["text"]})
    place = ("preferences", "ada")
    store.put(place, "own", {"text": "raw sushi"})
    await store.aput(place, "said", {"message": HumanMessage("sushi for two")}, index=["message.content"])
    store.put(place, "silent", {"text": "sushi"}, index=False)
    store.wait_until_indexed(place, "own", timeout=10)
    await store.await_until_indexed(place, "said", timeout=10)
    found = store.search(place, query="raw sushi")
    scores = [item.score for item in found if item.score is not None]
    assert scores == sorted(scores, reverse=True)
    assert (found[0].key, found[0].value) == ("own", {"text": "raw sushi"})
    assert {item.key for item in found if not item.key.startswith("mem-")} == {"own", "said", "silent"}
    assert [item.key for item in found if item.score is None] == ["silent"]
    assert len(found) == 6
    [two] = [item for item in found if item.key == "said"]
    assert two.value == {"message": HumanMessage("sushi for two")}
    store.put(place, "own", {"text": "fast trains"})
    store.delete(place, "said")
    assert store.search(place, query="fast trains", limit=1)[0].key == "own"
    assert "said" not in {item.key for item in store.search(place, query="sushi for two")}


def test_waiting_for_an_index_that_lags() -> None:
    with AwsEmulator(agentcore=AgentCoreRules(record_lag=87)) as aws:
        memory = Memory(aws)
        store = AgentCoreMemoryStore(memory.id, client=memory.client)
        store.put(N, "a", {"text": "sushi"}, index=["text"])
        with pytest.raises(Unavailable, match=r"1 memory records of the item are not listed after 0\.01 seconds"):
            store.wait_until_indexed(N, "a", timeout=0.01)
        found = store.search(N, query="sushi")
        assert [(item.key, item.score) for item in found] == [("a", None)]
        aws.clock.advance(90)
        store.wait_until_indexed(N, "a", timeout=0.01)
        [item] = store.search(N, query="sushi")
        assert item.score is not None
        store.put(N, "b", {"text": "sushi"})
        for key, text in (("b", "put without texts"), ("none", "there is no item")):
            with pytest.raises(InvalidInput, match=text):
                store.wait_until_indexed(N, key)


def test_a_search_that_is_not_permitted_is_an_error() -> None:
    with AwsEmulator(allowed=[f"bedrock-agentcore:{name}Events" for name in ("Create", "List")]) as aws:
        store = AgentCoreMemoryStore(aws.memory_id, session=aws.session())
        assert store.search(N) == []
        with pytest.raises(AccessDenied, match="bedrock-agentcore:RetrieveMemoryRecords"):
            store.search(N, query="sushi")
        with pytest.raises(AccessDenied, match="bedrock-agentcore:GetMemoryRecord"):
            store.get(N, "mem-" + "0" * 36)


# -- the store itself


def test_the_memory_by_position_and_by_keyword(memory: Memory) -> None:
    assert AgentCoreMemoryStore(memory.id, client=memory.client).memory_id == memory.id
    store = AgentCoreMemoryStore(memory_id=memory.id, session=memory.aws.session(), ttl={"default_ttl": 1.5})
    assert (store.memory_id, store.ttl_config, store.supports_ttl) == (memory.id, {"default_ttl": 1.5}, True)
    store.close()


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"memory_id": "notes"}, "memory_id"),
        ({"ttl": {"default_ttl": -1}}, "default_ttl"),
        ({"renewal": 1e9}, "renewal"),
        ({"hierarchy": True}, "hierarchy"),
        ({"session": "x"}, "session"),
    ],
)
def test_bad_options(options: Any, field: str, memory: Memory) -> None:
    with pytest.raises(InvalidInput) as caught:
        AgentCoreMemoryStore(**{"memory_id": memory.id, "session": memory.aws.session(), **options})
    assert caught.value.field == field


def test_ttl(memory: Memory) -> None:
    store = AgentCoreMemoryStore(memory.id, client=memory.client, ttl={"default_ttl": 1e-6})
    store.put(N, "short", {"message": HumanMessage("yes")})
    store.put(N, "long", {"n": 1}, ttl=None)
    time.sleep(0.01)
    assert store.get(N, "short") is None
    assert [item.key for item in store.search(())] == ["long"]
    assert said(memory) == [("USER", "yes")]


def test_langgraphs_own_rules_hold(store: AgentCoreMemoryStore) -> None:
    for namespace in ((), ("langgraph", "x"), ("a.b", "c"), ("", "x")):
        with pytest.raises(InvalidNamespaceError):
            store.put(namespace, "a", {"message": HumanMessage("x")})


def test_items_conversations_and_checkpoints_leave_each_other_alone(
    store: AgentCoreMemoryStore, memory: Memory
) -> None:
    with AgentCoreMemorySaver(memory.id, client=memory.client) as saver:
        agent = answering(store, saver, "Hello.")
        agent.invoke({"messages": [("human", "I like sushi.")]}, AT)
        store.put(("other", "place"), "a", {"n": 1})
        assert store.clear((), below=True) == 2
        assert said(memory) == [("USER", "I like sushi.")]
        assert len(saver.get_tuple(AT).checkpoint["channel_values"]["messages"]) == 2  # type: ignore[union-attr]
        store.put(N, "again", {"n": 1})
        saver.delete_thread(N[1])
        assert saver.get_tuple(AT) is None
        assert said(memory) == [("USER", "I like sushi.")]
        assert [item.key for item in store.search(())] == ["again"]


# -- agents


AT: RunnableConfig = {"configurable": {"thread_id": N[1], "actor_id": N[0]}}


def answering(store: BaseStore, saver: Any, *answers: str) -> Any:
    """An agent that keeps what it is told."""

    def keep(state: Any, config: RunnableConfig, *, store: BaseStore) -> dict[str, Any]:
        namespace = (config["configurable"]["actor_id"], config["configurable"]["thread_id"])
        store.put(namespace, str(uuid.uuid4()), {"message": state["messages"][-1]})
        return {"llm_input_messages": state["messages"]}

    model = GenericFakeChatModel(messages=iter(map(AIMessage, answers)))
    with pytest.warns(LangGraphDeprecationWarning):
        return create_react_agent(model, tools=[], pre_model_hook=keep, store=store, checkpointer=saver)


@pytest.mark.parametrize("is_async", [False, True])
async def test_the_prebuilt_agent(is_async: bool, store: AgentCoreMemoryStore, memory: Memory) -> None:
    agent = answering(store, None, "Hello.")
    told = {"messages": [("human", "I like sushi.")]}
    answer = await agent.ainvoke(told, AT) if is_async else agent.invoke(told, AT)
    assert answer["messages"][-1].text == "Hello."
    [item] = store.search(("ada",))
    assert item.value["message"].text == "I like sushi."
    assert said(memory) == [("USER", "I like sushi.")]


class State(TypedDict):
    log: Annotated[list[int], operator.add]


def note(number: int, *, store: BaseStore) -> State:
    store.put(("notes", "ada"), str(number), {"n": number})
    return {"log": [number]}


async def anote(number: int, runtime: Runtime[None]) -> State:
    assert runtime.store is not None
    await runtime.store.aput(("notes", "ada"), str(number), {"n": number})
    return {"log": [number]}


@pytest.mark.parametrize("node", [note, anote])
async def test_sixty_tasks_put_at_once_within_the_quotas(node: Any) -> None:
    builder: Any = StateGraph(State)
    builder.add_node("note", node)
    builder.add_conditional_edges(START, lambda state: [Send("note", number) for number in range(60)], ["note"])
    with AwsEmulator(agentcore=AgentCoreRules(quotas=True)) as aws:
        async with AgentCoreMemoryStore(aws.memory_id, session=aws.session()) as store:
            graph = builder.compile(store=store)
            store.put(("notes", "ada"), "0", {"n": 0})
            # The first one waits for all others, so that it does not matter how fast they are.
            items: Any = store._items
            end = hold_the_first(items._client.client, items._client, 59)
            with aws.record() as calls:
                if node is note:
                    answer = await asyncio.to_thread(graph.invoke, {"log": []}, {"max_concurrency": 60})
                else:
                    answer = await graph.ainvoke({"log": []})
            end()
            assert sorted(answer["log"]) == [*range(60)]
            assert {item.value["n"] for item in store.search(("notes",), limit=100)} == {*range(60)}
    stored = [call.arguments["sessionId"] for call in calls if (call.operation, call.status) == ("CreateEvent", 201)]
    assert len([session for session in stored if session.startswith("statekeep-item-")]) == 60
    assert stored.count("statekeep-index") == 2


# -- the programs


PROGRAMS = {
    "agentcore_memory_store.py": [
        "agent: Try the tuna rolls.",
        "kept: I like sushi with tuna. In general seafood is great.",
    ],
    "preferences_agent.py": [
        "session-1: I know of you: nothing yet",
        "session-1: I know of you: I like sushi with tuna.",
        "session-2: I know of you: I like sushi with tuna.",
    ],
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_examples_run(program: str) -> None:
    command = [sys.executable, str(ROOT / "examples" / program)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.splitlines()) == (0, PROGRAMS[program]), done.stderr
