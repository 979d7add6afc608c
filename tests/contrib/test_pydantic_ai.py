"""Conversations of Pydantic AI, driven by its own agents: `make frameworks`, in an environment of its own."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import math
import random
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

pytest.importorskip(
    "pydantic_ai", reason="pydantic-ai is not installed: `make frameworks` has it", exc_type=ImportError
)

from pydantic_ai import Agent, BinaryContent, DeferredToolRequests, ModelRequest, ModelResponse, RunContext
from pydantic_ai.conversation import Conversation
from pydantic_ai.conversation_store import (
    ConversationConflict,
    ConversationEntry,
    ConversationRecord,
    ConversationStore,
    InMemoryConversationStore,
)
from pydantic_ai.exceptions import ApprovalRequired, UserError
from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel

import statekeep
from statekeep import CorruptRecord, InvalidInput, Unavailable, Unsupported
from statekeep.contrib.pydantic_ai import StatekeepConversationStore
from statekeep.testing.servers import ValkeyCluster, ValkeyServer
from tests.fenced import ROOT, run_page
from tests.integration.valkey.counting_proxy import CountingProxy

pytestmark = pytest.mark.anyio

PAGE = ROOT / "docs" / "frameworks" / "pydantic-ai.md"

SCRIPT = "from tests.contrib.test_pydantic_ai import converse; converse(*__import__('sys').argv[1:])"

NAMESPACE = ("pydantic-ai",)


class Fake:
    """A model that says what it is told to, and notes what it was asked."""

    def __init__(self, *outputs: Any) -> None:
        self.outputs = list(outputs)
        self.inputs: list[Any] = []
        self.hangs = asyncio.Event()

    async def __call__(self, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        self.inputs.append(plain(messages))
        output = self.outputs.pop(0)
        if output is None:
            self.hangs.set()
            await asyncio.sleep(60)
        return ModelResponse(parts=[TextPart(output) if isinstance(output, str) else output])


def agent_of(model: Fake, **more: Any) -> Agent[Any, Any]:
    agent = Agent(FunctionModel(model), instructions="Be brief.", **more)

    @agent.tool_plain  # type: ignore[untyped-decorator]
    def weather(city: str) -> str:
        return f"rain in {city}"

    return agent


async def say(store: ConversationStore, name: str, text: str, model: Fake, **more: Any) -> Any:
    """A turn: load, run, save."""
    conversation = await store.load(name) or Conversation(conversation_id=name)
    result = await agent_of(model).run(text, conversation=conversation)
    await store.save(result, **more)
    return result.output


def plain(messages: Sequence[ModelMessage]) -> Any:
    """Messages as JSON, without what differs from run to run."""

    def without(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: without(each) for key, each in value.items() if key not in ("timestamp", "run_id")}
        return [without(each) for each in value] if isinstance(value, list) else value

    return without(ModelMessagesTypeAdapter.dump_python(list(messages), mode="json"))


def texts(conversation: Conversation | None) -> list[str] | None:
    return None if conversation is None else [str(message.parts[0].content) for message in conversation.messages]


def user(text: str) -> ModelRequest:
    return ModelRequest(parts=[UserPromptPart(text)])


def chat(name: str, count: int, text: str = "") -> Conversation:
    return Conversation(conversation_id=name, messages=[user(f"{text}{number}") for number in range(count)])


def converse(url: str, name: str, text: str) -> None:
    """One turn in a process of its own; print what the model was asked."""

    async def main() -> None:
        model = Fake(f"you said {text}")
        async with StatekeepConversationStore.from_url(url) as store:
            await say(store, name, text, model)
        print(json.dumps(model.inputs))

    asyncio.run(main())


@pytest.fixture
def keep(akeep: statekeep.AsyncConnection) -> statekeep.AsyncConnection:
    return akeep


@pytest.fixture
def served(aserved: statekeep.AsyncConnection) -> statekeep.AsyncConnection:
    return aserved


async def keys(keep: statekeep.AsyncConnection, prefix: str = "") -> list[str]:
    return [item.key async for item in keep.items.list(NAMESPACE, prefix=prefix)]


# -- the page about it


def test_the_page_runs(valkey_server: ValkeyServer, capsys: Any) -> None:
    run_page(PAGE, valkey_server)
    assert capsys.readouterr().out.startswith("2 messages, ada\n")
    with statekeep.connect(valkey_server.url) as keep:
        keep.items.clear(NAMESPACE)


# -- as the framework's own store does


async def scenario(store: ConversationStore) -> list[Any]:
    """Everything that a store does, and all that is seen of it."""
    seen: list[Any] = [await store.load("chat"), await store.list_conversations(), await store.load_entries("chat")]
    model = Fake("hello", ToolCallPart("weather", {"city": "Oslo"}, "c1"), "bring an umbrella", "bye")
    for text in ("hi", "what is the weather in Oslo?", "thanks 😀 \ud7ff"):
        seen.append(await say(store, "chat", text, model, scope="ada"))  # noqa: PERF401 - it is asynchronous
    seen.append(model.inputs)
    conversation = await store.load("chat", scope="ada")
    assert conversation is not None
    seen += [plain(conversation.messages), conversation.usage, await store.load("chat", scope="bob")]
    for limit in (0, 1, 3, 100):
        part = await store.load("chat", limit=limit)
        assert part is not None
        seen.append(plain(part.messages))
    # A window is continued, and saved behind all.
    part = await store.load("chat", limit=2)
    assert part is not None
    result = await agent_of(Fake("with two before")).run("more", conversation=part)
    seen.append(len(await store.save(result)))
    # Branches, and back again.
    entries = await store.load_entries("chat")
    assert entries is not None
    seen.append(plain([entry.message for entry in entries]))
    assert [entry.parent_id for entry in entries] == [None, *(entry.id for entry in entries[:-1])]
    for entry in entries:
        assert await store.read_entry(entry.id) == entry
    loaded = await store.load("chat")
    assert loaded is not None
    branched = await store.branch("chat", at=2, expected_revision=loaded.revision)
    result = await agent_of(Fake("another way")).run("again", conversation=branched)
    await store.save(result)
    seen.append(plain((await store.load("chat")).messages))
    record = await store.read_record("chat")
    assert record is not None
    assert record.branches == [entries[-1].id]
    back = await store.branch("chat", from_entry=record.branches[0], expected_revision=record.revision)
    seen.append(plain(back.messages))
    # Forks, of all and of a part.
    for number, more in enumerate([{}, {"at": 2}, {"from_entry": entries[0].id}, {"at": 0}]):
        fork = await store.fork("chat", new_conversation_id=f"fork {number}", scope="bob", **more)
        seen += [plain(fork.messages), fork.usage]
        seen.append(await say(store, f"fork {number}", "mine", Fake("yours")))
    seen.append([record.conversation_id for record in await store.list_conversations()])
    for more in ({"scope": "ada"}, {"scope": "bob"}, {"scope": "bob", "limit": 2}, {"limit": 3}, {"limit": 0}):
        seen.append([record.conversation_id for record in await store.list_conversations(**more)])
    # A history that was rewritten.
    loaded = await store.load("fork 0")
    assert loaded is not None
    rewritten = Conversation(conversation_id="fork 0", messages=[user("summary")], revision=loaded.revision)
    seen.append(len(await store.save(rewritten)))
    seen += [texts(await store.load("fork 0")), len((await store.read_record("fork 0")).branches)]
    # Who is late is refused.
    late: list[Callable[[], Awaitable[Any]]] = [
        lambda: store.save(loaded),
        lambda: store.save(chat("fork 0", 1)),
        lambda: store.fork("chat", new_conversation_id="fork 1"),
        lambda: store.fork("nothing"),
        lambda: store.branch("chat", at=1, expected_revision="old"),
        lambda: store.delete_record("chat", expected_revision="old"),
        lambda: store.delete_record("nothing", expected_revision="old"),
        lambda: store.load("chat", limit=-1),
        lambda: store.read_entry("nothing"),
        lambda: store.read_history("nothing"),
        lambda: store.write_record(
            ConversationRecord(conversation_id="of nothing", head_id="nothing"), expected_revision=None
        ),
    ]
    for call in late:
        with pytest.raises((UserError, LookupError)) as caught:
            await call()
        seen.append(LookupError if isinstance(caught.value, LookupError) else type(caught.value))
    await store.delete("chat", scope="bob")
    seen.append(await store.load("chat") is not None)
    await store.delete("chat")
    seen += [await store.load("chat"), [texts(await store.load(f"fork {number}")) for number in range(4)]]
    await store.delete("chat")
    for number in range(4):
        await store.delete(f"fork {number}")
    seen.append(await store.list_conversations())
    return seen


async def test_it_does_as_the_frameworks_own_store(keep: statekeep.AsyncConnection) -> None:
    assert await scenario(StatekeepConversationStore(keep)) == await scenario(InMemoryConversationStore())
    assert await keys(keep) == []


async def test_in_a_cluster(valkey_cluster: ValkeyCluster, prefix: str) -> None:
    async with statekeep.aconnect(valkey_cluster.url, prefix=prefix) as keep:
        assert await scenario(StatekeepConversationStore(keep)) == await scenario(InMemoryConversationStore())
        assert await keys(keep) == []


class Both:
    """The framework's own store and ours, under the same calls."""

    def __init__(self, keep: statekeep.AsyncConnection) -> None:
        self.ours = StatekeepConversationStore(keep)
        self.theirs = InMemoryConversationStore()
        self.loaded: dict[str, tuple[Conversation, Conversation]] = {}

    async def do(self, call: Callable[[ConversationStore], Awaitable[Any]]) -> Any:
        """Return both results, or `None` if both refuse for the same reason."""
        results: list[Any] = []
        for store in (self.ours, self.theirs):
            try:
                results.append(await call(store))
            except UserError as error:
                results.append(type(error))
        if isinstance(results[0], type) or isinstance(results[1], type):
            assert results[0] is results[1]
            return None
        return results

    async def load(self, name: str) -> None:
        both = await self.do(lambda store: store.load(name))
        assert texts(both[0]) == texts(both[1])
        if both[0] is not None:
            self.loaded[name] = (both[0], both[1])

    async def save(self, name: str, change: Callable[[Conversation], None]) -> None:
        pair = self.loaded.get(name) or (Conversation(conversation_id=name), Conversation(conversation_id=name))
        conversations = dict(zip((self.ours, self.theirs), pair, strict=True))
        for conversation in pair:
            change(conversation)
        await self.do(lambda store: store.save(conversations[store]))


@pytest.mark.parametrize("seed", range(4))
async def test_it_keeps_what_the_frameworks_own_store_keeps(keep: statekeep.AsyncConnection, seed: int) -> None:
    """Conversations, forks and branches at random: the same histories, and the same entries that are left."""
    rng = random.Random(seed)
    both = Both(keep)
    names = [f"c{number}" for number in range(5)]
    for step in range(60):
        name, other = rng.sample(names, 2)
        match rng.randrange(8):
            case 0 | 1:
                await both.load(name)
                await both.save(name, lambda it, step=step: it.messages.extend([user(f"{step}a"), user(f"{step}b")]))  # type: ignore[misc]
            case 2:  # from something older, perhaps
                await both.save(name, lambda it, step=step: it.messages.append(user(f"{step}")))  # type: ignore[misc]
            case 3:
                await both.load(name)
                at = rng.randrange(3)

                def rewrite(it: Conversation, at: int = at, step: int = step) -> None:
                    it.messages[at : at + 1] = [user(f"{step} new")]
                    it.new_message_index = None

                await both.save(name, rewrite)
            case 4:
                at = rng.randrange(4)
                await both.do(lambda store, a=name, b=other, at=at: store.fork(a, at=at, new_conversation_id=b))  # type: ignore[misc]
            case 5:
                at = rng.randrange(4)

                async def branch(store: ConversationStore, name: str = name, at: int = at) -> Any:
                    record = await store.read_record(name)
                    return await store.branch(name, at=at, expected_revision=record and record.revision)

                await both.do(branch)
            case 6:
                chosen = rng.random()

                async def back(store: ConversationStore, name: str = name, chosen: float = chosen) -> Any:
                    record = await store.read_record(name)
                    if record is not None and record.branches:
                        tip = record.branches[int(chosen * len(record.branches))]
                        await store.branch(name, from_entry=tip, expected_revision=record.revision)

                await both.do(back)
            case 7:
                await both.do(lambda store, name=name: store.delete(name))  # type: ignore[misc]
                assert len(await keys(keep, "entry:")) == len(both.theirs._entries)
        for each in names:
            ours, theirs = await both.do(lambda store, each=each: store.load(each))  # type: ignore[misc]
            assert texts(ours) == texts(theirs), (step, each)
        ours, theirs = await both.do(lambda store: store.list_conversations())
        assert [record.conversation_id for record in ours] == [record.conversation_id for record in theirs]
    for name in names:
        await both.do(lambda store, name=name: store.delete(name))  # type: ignore[misc]
    assert await keys(keep) == []


async def test_messages_come_back_as_they_were(keep: statekeep.AsyncConnection) -> None:
    store = StatekeepConversationStore(keep)
    binary = BinaryContent(bytes(range(256)), media_type="image/png")
    messages: list[ModelMessage] = [
        ModelRequest(parts=[UserPromptPart(["look", binary]), UserPromptPart('"quotes" \x00 😀')]),
        ModelResponse(
            parts=[TextPart("x"), ToolCallPart("f", '{"a": 1}', "c1")],
            provider_details={"logprobs": [-math.inf, -0.25, 1e300], "none": None},
            timestamp=dt.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=dt.UTC),
        ),
        ModelRequest(parts=[ToolReturnPart("f", {"deep": [None, True, {"n": 2**70}]}, "c1", metadata={"a": (1, 2)})]),
    ]
    await store.save(Conversation(conversation_id="c", messages=messages))
    loaded = await store.load("c")
    assert loaded is not None
    # Images come back as such, and tuples as lists, as from the framework's own JSON; that has null for infinities.
    theirs = ModelMessagesTypeAdapter.validate_json(ModelMessagesTypeAdapter.dump_json(messages))
    assert [loaded.messages[0], loaded.messages[2]] == [theirs[0], theirs[2]]
    assert loaded.messages[1] == messages[1]


async def test_a_run_that_waits_for_approval(keep: statekeep.AsyncConnection) -> None:
    store = StatekeepConversationStore(keep)
    agent = Agent(
        FunctionModel(Fake(ToolCallPart("remove", {"path": "/tmp/x"}, "c1"), "removed")),
        output_type=[str, DeferredToolRequests],
    )

    @agent.tool  # type: ignore[untyped-decorator]
    def remove(ctx: RunContext[None], path: str) -> str:
        if not ctx.tool_call_approved:
            raise ApprovalRequired(metadata={"risk": -math.inf})
        return path

    result = await agent.run("clean up", conversation=Conversation(conversation_id="c"))
    await store.save(result)
    conversation = await StatekeepConversationStore(keep).load("c")
    assert conversation is not None
    requests = conversation.deferred_tool_requests
    assert requests is not None
    assert requests.metadata == {"c1": {"risk": -math.inf}}
    done = await agent.run(conversation=conversation, deferred_tool_results=requests.build_results(approve_all=True))
    assert done.output == "removed"
    await store.save(done)
    assert (await store.load("c")).deferred_tool_requests is None


async def test_names_may_be_any_text(keep: statekeep.AsyncConnection) -> None:
    store = StatekeepConversationStore(keep)
    names = ["", "a", "a:b", "{}", "*", "é", "\x00", "😀" * 100, "record:a", "all:"]
    for scope, name in enumerate(names):
        await store.save(chat(name, 1, name), scope=names[scope])
    for scope, name in enumerate(names):
        assert texts(await store.load(name)) == [f"{name}0"]
        found = await store.list_conversations(scope=names[scope])
        assert [record.conversation_id for record in found] == [name]
    other = StatekeepConversationStore(keep, namespace=("tenant", "b"))
    assert await other.load("a") is None
    assert len(await store.list_conversations()) == len(names)


# -- restarts, processes, and others at the same time


async def test_a_restart_and_other_processes(valkey_server: ValkeyServer) -> None:
    name = "two processes"

    def run(text: str) -> Any:
        command = [sys.executable, "-c", SCRIPT, valkey_server.url, name, text]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert [len(messages) for messages in run("one")] == [1]
    [second] = run("two")
    assert [message["parts"][0]["content"] for message in second] == ["one", "you said one", "two"]
    async with StatekeepConversationStore.from_url(valkey_server.url) as store:
        model = Fake("here again")
        assert await say(store, name, "three", model) == "here again"
        assert len(model.inputs[0]) == 5
        await store.delete(name)


async def test_of_many_savers_one_wins(served: statekeep.AsyncConnection) -> None:
    stores = [StatekeepConversationStore(served) for _ in range(8)]
    await stores[0].save(chat("busy", 2))
    for turn in range(5):
        loaded = [await store.load("busy") for store in stores]
        for number, conversation in enumerate(loaded):
            assert conversation is not None
            conversation.messages.append(user(f"{turn} {number}"))
        results = await asyncio.gather(
            *(store.save(each) for store, each in zip(stores, loaded, strict=True) if each), return_exceptions=True
        )
        assert sum(isinstance(result, ConversationConflict) for result in results) == 7
        assert [len(result) for result in results if not isinstance(result, BaseException)] == [1]
        assert len(texts(await stores[0].load("busy")) or ()) == turn + 3
    assert len(await keys(served, "entry:")) == 7


async def test_who_read_a_conversation_before_it_was_deleted_is_late(keep: statekeep.AsyncConnection) -> None:
    first, second = StatekeepConversationStore(keep), StatekeepConversationStore(keep)
    await first.save(chat("c", 1, "old"))
    old = await second.load("c")
    assert old is not None
    await first.delete("c")
    await first.save(chat("c", 1, "new"))
    old.messages.append(user("late"))
    with pytest.raises(ConversationConflict):
        await second.save(old)
    with pytest.raises(ConversationConflict):
        await second.delete_record("c", expected_revision=str(old.revision))
    assert texts(await second.load("c")) == ["new0"]
    # What it remembers is no more than a guess.
    assert (await second.read_record("c")).revision == (await first.read_record("c")).revision  # type: ignore[union-attr]


async def test_a_fork_never_points_at_what_is_deleted(served: statekeep.AsyncConnection) -> None:
    forked = lost = 0
    for turn in range(25):
        one, other = StatekeepConversationStore(served), StatekeepConversationStore(served)
        name = f"c{turn}"
        await one.save(chat(name, 6))

        async def fork(store: ConversationStore = other, name: str = name, turn: int = turn) -> Conversation:
            await asyncio.sleep(0.0002 * (turn % 10))
            return await store.fork(name, at=3, new_conversation_id=f"{name} fork")

        results = await asyncio.gather(fork(), one.delete(name), fork(one, name, turn + 3), return_exceptions=True)
        assert results[1] is None
        assert await one.load(name) is None
        there = await other.load(f"{name} fork")
        if there is None:
            lost += 1
            assert all(isinstance(result, UserError) for result in (results[0], results[2]))
            assert await keys(served) == []
        else:
            forked += 1
            assert texts(there) == ["0", "1", "2"]
            assert len(await keys(served, "entry:")) == 3
            await other.delete(f"{name} fork")
    assert forked + lost == 25
    assert await keys(served) == []


async def test_a_fork_just_before_a_deletion_keeps_its_part(
    keep: statekeep.AsyncConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = StatekeepConversationStore(keep), StatekeepConversationStore(keep)
    await store.save(chat("c", 6))
    gather, forks = store._table.gather, iter(["fork"])

    async def read_and_be_overtaken(*args: Any, **kwargs: Any) -> None:
        await gather(*args, **kwargs)
        for name in forks:
            await other.fork("c", at=3, new_conversation_id=name)

    monkeypatch.setattr(store._table, "gather", read_and_be_overtaken)
    await store.delete("c")
    assert await other.load("c") is None
    assert texts(await other.load("fork")) == ["0", "1", "2"]
    assert len(await keys(keep, "entry:")) == 3


async def test_a_fork_just_after_a_deletion_is_refused(
    keep: statekeep.AsyncConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = StatekeepConversationStore(keep), StatekeepConversationStore(keep)
    await store.save(chat("c", 6))
    read, names = other._table.read_entries, iter(["c"])

    async def read_and_be_overtaken(*args: Any, **kwargs: Any) -> Any:
        found = await read(*args, **kwargs)
        if len(args[0]) == 1:  # the entry to fork at, after the history
            for name in names:
                await store.delete(name)
        return found

    monkeypatch.setattr(other._table, "read_entries", read_and_be_overtaken)
    with pytest.raises(ConversationConflict):
        await other.fork("c", at=3, new_conversation_id="fork")
    assert await keys(keep) == []


async def test_many_fork_at_once(served: statekeep.AsyncConnection) -> None:
    store = StatekeepConversationStore(served)
    await store.save(chat("c", 3))
    stores = [StatekeepConversationStore(served) for _ in range(6)]
    await asyncio.gather(*(each.fork("c", at=2, new_conversation_id=f"f{n}") for n, each in enumerate(stores)))
    await store.delete("c")
    for number in range(6):
        assert texts(await store.load(f"f{number}")) == ["0", "1"]
    assert len(await keys(served, "entry:")) == 2
    await asyncio.gather(*(each.delete(f"f{n}") for n, each in enumerate(stores)))
    assert await keys(served) == []


# -- long histories


async def test_a_long_history(keep: statekeep.AsyncConnection) -> None:
    store = StatekeepConversationStore(keep)
    conversation = chat("long", 1100)
    assert len(await store.save(conversation)) == 1100
    conversation.messages.append(user("last"))
    await store.save(conversation)
    other = StatekeepConversationStore(keep)
    wanted = [*(str(number) for number in range(1100)), "last"]
    assert texts(await other.load("long")) == wanted
    for limit in (1, 31, 33, 64, 500, 1024, 1099, 1101, 5000):
        assert texts(await other.load("long", limit=limit)) == wanted[-limit:]
    # Cold, from any entry.
    entries = await other.load_entries("long")
    assert entries is not None
    for position in (0, 30, 31, 32, 33, 63, 64, 500, 1022, 1023, 1024, 1100):
        cold = StatekeepConversationStore(keep)
        assert await cold.read_history(entries[position].id) == entries[: position + 1]
        assert await cold.read_history(entries[position].id, limit=7) == entries[max(0, position - 6) : position + 1]
    # From its end, in several units; a fork keeps its part.
    await other.fork("long", at=40, new_conversation_id="fork")
    await other.delete("long")
    assert await other.load("long") is None
    assert len(await keys(keep, "entry:")) == 40
    assert texts(await store.load("fork")) == wanted[:40]
    await store.delete("fork")
    assert await keys(keep) == []


async def test_a_long_history_that_comes_too_late_leaves_nothing(keep: statekeep.AsyncConnection) -> None:
    store = StatekeepConversationStore(keep)
    await store.save(chat("long", 1))
    record = await store.read_record("long")
    assert record is not None
    before = await keys(keep)
    late = [
        ConversationEntry(id=str(number), parent_id=str(number - 1) if number else None, message=user("x"))
        for number in range(1200)
    ]
    with pytest.raises(ConversationConflict):
        await store.write_record(
            ConversationRecord(conversation_id="long", head_id="1199"), new_entries=late, expected_revision=None
        )
    assert await keys(keep) == before


async def test_a_deletion_that_is_cut_off_can_be_repeated(served: statekeep.AsyncConnection) -> None:
    """Until its last unit is done a conversation is there, and whole up to its new end."""
    store, other = StatekeepConversationStore(served), StatekeepConversationStore(served)
    await store.save(chat("long", 1100))
    deletion = asyncio.ensure_future(store.delete("long"))
    lengths = []
    while not deletion.done():
        there = await other.load("long", limit=2000)
        if there is not None:
            assert texts(there) == [str(number) for number in range(len(there.messages))]
            lengths.append(len(there.messages))
    await deletion
    assert lengths == sorted(lengths, reverse=True)
    assert await keys(served) == []


# -- cancellation and outages


async def test_a_run_that_is_cancelled_can_go_on(keep: statekeep.AsyncConnection) -> None:
    store = StatekeepConversationStore(keep)
    await say(store, "c", "hi", Fake("hello"))
    model = Fake(None)
    run = asyncio.ensure_future(say(store, "c", "are you there?", model))
    await model.hangs.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert await say(store, "c", "again?", Fake("yes")) == "yes"
    assert texts(await store.load("c")) == ["hi", "hello", "again?", "yes"]


@pytest.mark.parametrize("delay", [0, 0.001, 0.05])
async def test_a_change_that_is_cancelled_is_done_when_that_is_told(
    served: statekeep.AsyncConnection, delay: float
) -> None:
    store, other = StatekeepConversationStore(served), StatekeepConversationStore(served)
    for number in range(5):
        conversation = await store.load("c") or Conversation(conversation_id="c")
        conversation.messages.append(user(f"{number}"))
        task = asyncio.ensure_future(store.save(conversation))
        await asyncio.sleep(delay)
        was_done = task.done()
        task.cancel()
        task.cancel()
        if not was_done:
            with pytest.raises(asyncio.CancelledError):
                await task
        there = texts(await other.load("c"))
        await asyncio.sleep(0.02)
        # Nothing comes later.
        assert texts(await other.load("c")) == there


async def test_an_outage_is_an_error(prefix: str) -> None:
    with ValkeyServer() as server:
        async with StatekeepConversationStore.from_url(server.url, prefix=prefix, deadline=0.3) as store:
            await store.save(chat("c", 1))
            server.kill()
            for call in (store.load, store.delete, store.load_entries, store.fork):
                with pytest.raises(Unavailable):
                    await call("c")
            with pytest.raises(Unavailable):
                await store.save(chat("d", 1))
            with pytest.raises(Unavailable):
                await store.list_conversations()


# -- what it costs


@pytest.mark.parametrize("client", ["glide", "valkey-py"])
async def test_round_trips(proxy: CountingProxy, prefix: str, client: Any) -> None:
    url = f"valkey://127.0.0.1:{proxy.port}"
    async with StatekeepConversationStore.from_url(url, prefix=prefix, client=client) as store:

        async def turns(work: Any) -> int:
            proxy.reset()
            await work
            return proxy.turns

        async def all_of_them() -> dict[str, int]:
            found: dict[str, int] = {}
            conversation = chat("c", 20)
            found["first save"] = await turns(store.save(conversation, scope="ada"))
            found["load"] = await turns(store.load("c"))
            loaded = await store.load("c")
            assert loaded is not None
            loaded.messages += [user("more"), user("and more")]
            found["save"] = await turns(store.save(loaded))
            found["list"] = await turns(store.list_conversations(scope="ada", limit=20))
            found["list again"] = await turns(store.list_conversations(scope="ada", limit=20))
            found["branch"] = await turns(store.branch("c", at=3, expected_revision=loaded.revision))
            found["fork"] = await turns(store.fork("c", at=2, new_conversation_id="d"))
            found["delete what has branches"] = await turns(store.delete("c"))
            found["delete"] = await turns(store.delete("d"))
            long = chat("long", 700)
            await store.save(long)
            found["load of 700"] = await turns(store.load("long"))
            found["load of the last 10"] = await turns(store.load("long", limit=10))
            found["delete of 700"] = await turns(store.delete("long"))
            return found

        await all_of_them()  # the connection is open then, and the server knows the scripts
        found = await all_of_them()
        assert found == {
            "first save": 2,
            "load": 2,
            "save": 2,
            "list": 3,
            "list again": 2,
            "branch": 4,
            "fork": 4,
            "delete what has branches": 4,
            "delete": 3,
            "load of 700": 4,
            "load of the last 10": 2,
            "delete of 700": 6,
        }
        await say(store, "turn", "hi", Fake("hello"))
        assert await turns(say(store, "turn", "again", Fake("hello"))) == 4


# -- time to live, damage, bad input


async def test_ttl(served: statekeep.AsyncConnection) -> None:
    """It lives from its last save on, with all of its messages, however old."""
    store = StatekeepConversationStore(served, ttl=0.6)
    await store.save(chat("c", 3))
    await store.fork("c", new_conversation_id="left alone")
    for number in range(12):
        await asyncio.sleep(0.3)
        conversation = await store.load("c")
        assert conversation is not None
        conversation.messages.append(user(f"more {number}"))
        await store.save(conversation)
        if number == 6:
            await store.fork("c", at=3, new_conversation_id="late fork")
    assert len((await store.load("c")).messages) == 15
    assert [record.conversation_id for record in await store.list_conversations()] == ["c"]
    await asyncio.sleep(0.7)
    assert await store.load("c") is None
    assert await store.list_conversations() == []
    await asyncio.sleep(2.0)
    assert await keys(served) == []


async def test_the_ttl_of_the_connection(valkey_server: ValkeyServer, prefix: str) -> None:
    async with statekeep.aconnect(valkey_server.url, prefix=prefix, ttl=60, refresh_on_read=True) as keep:
        await StatekeepConversationStore(keep).save(chat("c", 1))
        await StatekeepConversationStore(keep, ttl=None).save(chat("d", 1))
        lives = {item.key[:8]: item.expires_at async for item in keep.items.list(NAMESPACE, refresh=False)}
        assert lives["record:d"] is None
        record = await keep.items.get(NAMESPACE, "record:c", refresh=False)
        assert record is not None
        assert record.expires_at is not None
        assert 59 < (record.expires_at - record.updated_at).total_seconds() <= 60.1
        # Reading starts nothing anew.
        await asyncio.sleep(0.05)
        await StatekeepConversationStore(keep).load("c")
        assert (await keep.items.get(NAMESPACE, "record:c", refresh=False)).expires_at == record.expires_at  # type: ignore[union-attr]


@pytest.mark.parametrize("value", [None, {}, {"depth": 2, "line": [], "message": "[]", "record": "{}", "revision": ""}])
async def test_damage_is_an_error(served: statekeep.AsyncConnection, value: Any) -> None:
    store = StatekeepConversationStore(served)
    [entry] = await store.save(chat("c", 1))
    await served.items.put(NAMESPACE, f"entry:{entry.id}", value)
    with pytest.raises(CorruptRecord) as caught:
        await store.load("c")
    assert caught.value.key == f"entry:{entry.id}"
    await served.items.put(NAMESPACE, "record:c", value)
    with pytest.raises(CorruptRecord) as caught:
        await store.load("c")
    assert caught.value.key == "record:c"


async def test_an_entry_that_was_evicted_is_an_error(served: statekeep.AsyncConnection) -> None:
    store = StatekeepConversationStore(served)
    entries = await store.save(chat("c", 3))
    await served.items.delete(NAMESPACE, f"entry:{entries[1].id}")
    with pytest.raises(LookupError):
        await store.load("c")
    await store.delete("c")
    # What was before the gap is nobody's any more, and cannot be found.
    assert await keys(served) == [f"entry:{entries[0].id}"]


async def test_bad_input(served: statekeep.AsyncConnection) -> None:
    wrong: list[tuple[str, Callable[[], Any]]] = [
        ("namespace", lambda: StatekeepConversationStore(served, namespace="text")),
        ("namespace", lambda: StatekeepConversationStore(served, namespace=("",))),
        ("ttl", lambda: StatekeepConversationStore(served, ttl=0)),
        ("keep", lambda: StatekeepConversationStore("memory:")),  # type: ignore[arg-type]
        ("keep", lambda: StatekeepConversationStore(served.logs)),  # type: ignore[arg-type]
        ("namespace", lambda: StatekeepConversationStore.from_url("embedded:", namespace=("",))),
        ("url", lambda: StatekeepConversationStore.from_url("nowhere")),
    ]
    for field, make in wrong:
        with pytest.raises(InvalidInput) as caught:
            make()
        assert caught.value.field == field, field
    store = StatekeepConversationStore(served)
    message = ModelRequest(parts=[ToolReturnPart("f", object(), "c1")])
    circle = [
        ConversationEntry(id="a", parent_id="b", message=user("a")),
        ConversationEntry(id="b", parent_id="a", message=user("b")),
    ]
    calls: list[tuple[str, Callable[[], Awaitable[Any]]]] = [
        ("conversation_id", lambda: store.load("\ud800")),
        ("conversation_id", lambda: store.save(chat("x" * 9000, 1))),
        ("scope", lambda: store.save(chat("c", 1), scope="\ud800")),
        ("new_entries", lambda: store.save(Conversation(conversation_id="c", messages=[message]))),
        (
            "new_entries",
            lambda: store.write_record(
                ConversationRecord(conversation_id="c", head_id="b"), new_entries=circle, expected_revision=None
            ),
        ),
    ]
    for field, call in calls:
        with pytest.raises(InvalidInput) as caught:
            await call()
        assert caught.value.field == field, field
    assert await keys(served) == []


async def test_a_service_without_items() -> None:
    with pytest.raises(Unsupported, match="no items"):
        StatekeepConversationStore.from_url("bedrock-sessions://?region=us-west-2")


async def test_close(valkey_server: ValkeyServer, served: statekeep.AsyncConnection) -> None:
    async with StatekeepConversationStore(served) as store:
        await store.load("c")
    assert await store.load("c") is None  # the connection is not the store's
    assert await StatekeepConversationStore(statekeep.connect("memory:").items).load("c") is None
    own = StatekeepConversationStore.from_url(valkey_server.url)
    assert await own.load("c") is None
    await own.close()
    await own.close()
    with pytest.raises(statekeep.ClientClosed):
        await own.load("c")
