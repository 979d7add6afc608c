"""Microsoft's Agent Framework, driven by its agents and workflows: `make frameworks`, in an environment of its own."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import random
import subprocess
import sys
import uuid
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip(
    "agent_framework", reason="agent-framework-core is not installed: `make frameworks` has it", exc_type=ImportError
)

from agent_framework import (
    Agent,
    AgentSession,
    BaseChatClient,
    ChatResponse,
    Content,
    Executor,
    FileCheckpointStorage,
    FileHistoryProvider,
    FileSessionStore,
    FunctionInvocationLayer,
    InMemoryCheckpointStorage,
    InMemoryHistoryProvider,
    Message,
    SessionStore,
    Workflow,
    WorkflowBuilder,
    WorkflowCheckpoint,
    WorkflowCheckpointException,
    WorkflowContext,
    handler,
    response_handler,
)
from agent_framework._sessions import filter_new_messages

import statekeep
from statekeep import Conflict, CorruptRecord, InvalidInput, Unavailable, Unsupported
from statekeep.contrib.agent_framework import StatekeepCheckpointStorage, StatekeepHistoryProvider
from statekeep.testing.aws import AwsEmulator
from statekeep.testing.servers import ValkeyServer
from tests.fenced import ROOT, run_page
from tests.integration.valkey.counting_proxy import CountingProxy

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)  # sessions are experimental
    from statekeep.contrib.agent_framework import StatekeepSessionStore

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore:.*is experimental:FutureWarning")]

PAGE = ROOT / "docs" / "frameworks" / "agent-framework.md"


class Fake(FunctionInvocationLayer, BaseChatClient):  # type: ignore[misc]
    """A model that says what it is told to, and notes what it was asked."""

    def __init__(self, *outputs: str | Content | None) -> None:
        super().__init__()
        self.outputs = list(outputs)
        self.inputs: list[list[tuple[str, str]]] = []
        self.hangs = asyncio.Event()

    async def _inner_get_response(self, *, messages: Any, stream: bool, options: Any, **kwargs: Any) -> ChatResponse:
        assert not stream
        self.inputs.append([(str(message.role), message.text) for message in messages])
        output = self.outputs.pop(0)
        if output is None:
            self.hangs.set()
            await asyncio.sleep(60)
        return ChatResponse(messages=[Message("assistant", [output])], response_id=f"r{len(self.inputs)}")


def weather(city: str) -> str:
    """Tell the weather."""
    return f"rain in {city}"


@dataclass
class Question:
    """What a workflow asks a human; of no type that the framework knows."""

    text: str


QUESTION = f"{Question.__module__}:Question"


class Draft(Executor):  # type: ignore[misc]
    """Makes a draft, and counts how often."""

    def __init__(self) -> None:
        super().__init__(id="draft")
        self.count = 0

    @handler  # type: ignore[untyped-decorator]
    async def draft(self, topic: str, ctx: WorkflowContext[str]) -> None:
        self.count += 1
        ctx.set_state("topic", topic)
        ctx.set_state("tried", {"count": self.count, "odd": ("a", {1, 2}, float("-inf"))})
        await ctx.send_message(f"{topic}, draft {self.count}")

    async def on_checkpoint_save(self) -> dict[str, Any]:
        return {"count": self.count, "ballast": "x" * 20_000}

    async def on_checkpoint_restore(self, state: dict[str, Any]) -> None:
        self.count = state["count"]


class Review(Executor):  # type: ignore[misc]
    """Asks whether a draft is good, and has another one made if it is not."""

    def __init__(self) -> None:
        super().__init__(id="review")

    @handler  # type: ignore[untyped-decorator]
    async def review(self, draft: str, ctx: WorkflowContext[str, str]) -> None:
        await ctx.request_info(Question(draft), str)

    @response_handler  # type: ignore[untyped-decorator]
    async def answered(self, asked: Question, answer: str, ctx: WorkflowContext[str, str]) -> None:
        if answer == "good":
            await ctx.yield_output(f"published {asked.text}")
        else:
            await ctx.send_message(answer)


def workflow_of(storage: Any, name: str = "letters") -> Workflow:
    draft, review = Draft(), Review()
    builder = WorkflowBuilder(start_executor=draft, name=name, checkpoint_storage=storage)
    return builder.add_edge(draft, review).add_edge(review, draft).build()


def work(url: str, prefix: str, answer: str) -> None:
    """Go on with a workflow in a process of its own, or begin it; print what it asks or returns."""

    async def main() -> None:
        options: Any = {"prefix": prefix, "allowed_checkpoint_types": [Question]}
        async with StatekeepCheckpointStorage.from_url(url, **options) as storage:
            workflow = workflow_of(storage)
            latest = await storage.get_latest(workflow_name="letters")
            if latest is None:
                result = await workflow.run(answer)
            else:
                (request_id,) = latest.pending_request_info_events
                result = await workflow.run(checkpoint_id=latest.checkpoint_id, responses={request_id: answer})
            asked = [event.data.text for event in result.get_request_info_events()]
            print(json.dumps([asked, result.get_outputs()]))

    asyncio.run(main())


def converse(url: str, prefix: str, session_id: str, text: str) -> None:
    """Take a turn in a process of its own, of which the whole session is kept; print what the model was asked."""

    async def main() -> None:
        model = Fake(f"you said {text}")
        agent = Agent(model, context_providers=[InMemoryHistoryProvider()])
        async with StatekeepSessionStore.from_url(url, prefix=prefix) as store:
            session = await store.get(session_id) or AgentSession(session_id=session_id)
            await agent.run(text, session=session)
            await store.set(session_id, session)
        print(json.dumps(model.inputs))

    asyncio.run(main())


def in_a_process(function: str, *arguments: str) -> Any:
    script = f"from tests.contrib.test_agent_framework import {function}; {function}(*__import__('sys').argv[1:])"
    command = [sys.executable, "-W", "ignore::FutureWarning", "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def keep(akeep: statekeep.AsyncConnection) -> statekeep.AsyncConnection:
    return akeep


@pytest.fixture
def served(aserved: statekeep.AsyncConnection) -> statekeep.AsyncConnection:
    return aserved


def checkpoint_of(number: int = 0, **fields: Any) -> WorkflowCheckpoint:
    fields = {"workflow_name": "letters", "graph_signature_hash": "1", "iteration_count": number, **fields}
    return WorkflowCheckpoint(timestamp=f"2026-01-01T00:00:{number:02}+00:00", **fields)


class Backwards:
    """A serializer that hides what it serializes, as one that encrypts does."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        return "backwards", json.dumps(obj).encode()[::-1]

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        assert data[0] == "backwards"
        return json.loads(data[1][::-1])


class Broken(Backwards):
    """A serializer that fails."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        raise ZeroDivisionError


# -- the page about them


def test_the_page_runs(valkey_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    run_page(PAGE, valkey_server, {"client": Fake("Good morning to you, too.")})
    printed = capsys.readouterr().out.splitlines()
    assert printed == ["Good morning to you, too. 2", "HELLO 2", "HELLO", "fine"]


# -- checkpoints of workflows


async def scenario(storage: Any) -> list[Any]:
    """Everything that a storage does, and all that is seen of it but random ids."""
    seen: list[Any] = [await storage.get_latest(workflow_name="letters")]
    workflow = workflow_of(storage)
    result = await workflow.run("tea")
    for answer in ("coffee", "cocoa", "good"):
        (asked,) = result.get_request_info_events()
        result = await workflow.run(responses={asked.request_id: answer})
        seen.append([asked.data, result.get_outputs()])
    whole = await storage.list_checkpoints(workflow_name="letters")
    ids = [each.checkpoint_id for each in whole]
    assert await storage.list_checkpoint_ids(workflow_name="letters") == ids
    # Events are equal to none but themselves.
    assert list(map(repr, [await storage.load(each) for each in ids])) == list(map(repr, whole))
    assert repr(await storage.get_latest(workflow_name="letters")) == repr(whole[-1])
    # All are of one chain.
    assert [each.previous_checkpoint_id for each in whole] == [None, *ids[:-1]]
    seen.append([(each.iteration_count, each.state, sorted(each.messages), each.metadata) for each in whole])
    seen.append([[event.data for event in each.pending_request_info_events.values()] for each in whole])

    # Back to the first question, with another answer.
    asks = next(each for each in whole if each.pending_request_info_events)
    (request_id,) = asks.pending_request_info_events
    result = await workflow_of(storage).run(checkpoint_id=asks.checkpoint_id, responses={request_id: "good"})
    seen.append(result.get_outputs())

    assert await storage.delete(ids[0])
    seen += [await storage.delete(ids[0]), await storage.delete("nothing")]
    with pytest.raises(WorkflowCheckpointException, match="No checkpoint found"):
        await storage.load(ids[0])
    assert ids[0] not in await storage.list_checkpoint_ids(workflow_name="letters")
    seen += [
        await storage.list_checkpoints(workflow_name="others"),
        await storage.list_checkpoint_ids(workflow_name="x"),
    ]
    return seen


async def test_a_storage_does_as_the_frameworks_own(keep: statekeep.AsyncConnection) -> None:
    mine = StatekeepCheckpointStorage(keep, allowed_checkpoint_types=[Question])
    assert await scenario(mine) == await scenario(InMemoryCheckpointStorage())


async def test_one_is_stored_as_the_frameworks_files_are(keep: statekeep.AsyncConnection, tmp_path: Path) -> None:
    theirs = FileCheckpointStorage(tmp_path, allowed_checkpoint_types=[QUESTION])
    mine = StatekeepCheckpointStorage(keep, allowed_checkpoint_types=[QUESTION])
    result = await workflow_of(theirs).run("tea")
    odd = [
        checkpoint_of(1, state={}, messages={"a": []}),
        checkpoint_of(2, state={"_executor_state": {}, "": 1, "a/b": 2, "a%2Fb": 3, "%": {"/": None}, "😀\x00": "é"}),
        checkpoint_of(3, state={"_executor_state": ("no", "dict"), "last": {1: "a", "1": "b"}}),
        checkpoint_of(
            4, state={"before": 1, "_executor_state": {"": {}, "a/b": {"x": [1.5, float("nan")]}}, "after": 2}
        ),
        checkpoint_of(5, state={"__pickled__": "x", "__type__": "y"}, metadata={"at": {1, 2}, "q": Question("?")}),
        checkpoint_of(6, workflow_name="a/b", previous_checkpoint_id="x"),
    ]
    for checkpoint in odd:
        await theirs.save(checkpoint)
    saved = [
        *(await theirs.list_checkpoints(workflow_name="letters")),
        *(await theirs.list_checkpoints(workflow_name="a/b")),
    ]
    assert len(saved) == len(odd) + 3
    for checkpoint in saved:
        assert await mine.save(checkpoint) == checkpoint.checkpoint_id
    for checkpoint in saved:
        # NaN is not equal to itself.
        assert repr(await mine.load(checkpoint.checkpoint_id)) == repr(await theirs.load(checkpoint.checkpoint_id))
    assert result.get_request_info_events()


async def test_checkpoints_are_snapshots_and_in_the_order_of_their_times(keep: statekeep.AsyncConnection) -> None:
    storage = StatekeepCheckpointStorage(keep)
    late = WorkflowCheckpoint("letters", "1", timestamp="2026-01-01T02:00:00+02:00", state={"n": [1], "lone": "\ud800"})
    early = WorkflowCheckpoint("letters", "1", timestamp="2025-12-31T23:59:59.999999+00:00")
    later = WorkflowCheckpoint("letters", "1", timestamp="2026-01-01T00:00:00.000001Z")
    saving = asyncio.ensure_future(storage.save(late))
    await asyncio.sleep(0)
    late.state["n"].append(2)
    await saving
    for checkpoint in (later, early):
        await storage.save(checkpoint)
    ids = [early.checkpoint_id, late.checkpoint_id, later.checkpoint_id]
    assert await storage.list_checkpoint_ids(workflow_name="letters") == ids
    assert (await storage.load(late.checkpoint_id)).state == {"n": [1], "lone": "\ud800"}
    latest = await storage.get_latest(workflow_name="letters")
    assert latest is not None
    assert latest.checkpoint_id == later.checkpoint_id


async def test_one_that_is_saved_again_is_replaced(keep: statekeep.AsyncConnection) -> None:
    storage, other = StatekeepCheckpointStorage(keep), StatekeepCheckpointStorage(keep)
    first = checkpoint_of(1, state={"n": 1})
    await storage.save(first)
    for again in (
        dataclasses.replace(first, state={"n": 2}),
        dataclasses.replace(first, timestamp="2026-01-01T00:01:00+00:00"),
        dataclasses.replace(first, workflow_name="others"),
    ):
        await other.save(again)
        assert await storage.load(first.checkpoint_id) == again
        assert await storage.list_checkpoints(workflow_name=again.workflow_name) == [again]
    assert await storage.list_checkpoints(workflow_name="letters") == []


async def test_a_restart_and_other_processes(valkey_server: ValkeyServer, prefix: str) -> None:
    def run(answer: str) -> Any:
        return in_a_process("work", valkey_server.url, prefix, answer)

    assert run("tea") == [["tea, draft 1"], []]
    assert run("coffee") == [["coffee, draft 2"], []]
    assert run("good") == [[], ["published coffee, draft 2"]]


async def test_stale_and_simultaneous_writers(served: statekeep.AsyncConnection) -> None:
    """Who goes on from an older checkpoint begins a branch: nothing that others saved is lost."""
    storages = [StatekeepCheckpointStorage(served, allowed_checkpoint_types=[Question]) for _ in range(4)]
    await workflow_of(storages[0]).run("tea")
    asks = await storages[1].get_latest(workflow_name="letters")
    assert asks is not None
    (request_id,) = asks.pending_request_info_events
    before = await storages[0].list_checkpoint_ids(workflow_name="letters")
    await asyncio.gather(
        *(
            workflow_of(storage).run(checkpoint_id=asks.checkpoint_id, responses={request_id: f"drink {n}"})
            for n, storage in enumerate(storages)
        )
    )
    found = await storages[2].list_checkpoints(workflow_name="letters")
    assert {*before} < {each.checkpoint_id for each in found}
    assert repr([await storages[3].load(each.checkpoint_id) for each in found]) == repr(found)
    topics = [each.state["topic"] for each in found if each.state.get("tried", {}).get("count") == 2]
    assert {*topics} == {f"drink {n}" for n in range(4)}
    # Of several that delete one, one did.
    assert sorted(await asyncio.gather(*(each.delete(asks.checkpoint_id) for each in storages))) == [False] * 3 + [True]
    # Of several that save one, one stays.
    again = [dataclasses.replace(asks, state={"n": n}) for n in range(4)]
    await asyncio.gather(*(storage.save(one) for storage, one in zip(storages, again, strict=True)))
    assert repr(await storages[0].load(asks.checkpoint_id)) in map(repr, again)
    ids = await storages[0].list_checkpoint_ids(workflow_name="letters")
    assert ids.count(asks.checkpoint_id) == 1


@pytest.mark.parametrize("delay", [0, 0.0005, 0.002, 0.02])
async def test_a_save_that_is_cancelled_is_done_when_that_is_told(
    served: statekeep.AsyncConnection, delay: float
) -> None:
    storage = StatekeepCheckpointStorage(served)
    for number in range(5):
        checkpoint = checkpoint_of(number, state={"n": "x" * 100_000})
        task = asyncio.ensure_future(storage.save(checkpoint))
        await asyncio.sleep(delay)
        was_done = task.done()
        task.cancel()
        if not was_done:
            with pytest.raises(asyncio.CancelledError):
                await task
        ids = await storage.list_checkpoint_ids(workflow_name="letters")
        await asyncio.sleep(0.02)
        assert await storage.list_checkpoint_ids(workflow_name="letters") == ids
        for each in ids:
            await storage.load(each)
        assert was_done <= (checkpoint.checkpoint_id in ids)


async def test_a_run_that_is_cancelled_can_go_on(keep: statekeep.AsyncConnection) -> None:
    storage = StatekeepCheckpointStorage(keep)

    def chain(model: Fake) -> Workflow:
        clerk, editor = Agent(Fake("a draft"), name="clerk"), Agent(model, name="editor")
        builder = WorkflowBuilder(start_executor=clerk, name="chain", checkpoint_storage=storage)
        return builder.add_edge(clerk, editor).build()

    model = Fake(None)
    run = asyncio.ensure_future(chain(model).run("write"))
    await model.hangs.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    latest = await storage.get_latest(workflow_name="chain")
    assert latest is not None
    model = Fake("done")
    result = await chain(model).run(checkpoint_id=latest.checkpoint_id)
    assert result.get_outputs()
    assert model.inputs == [[("user", "write"), ("assistant", "a draft")]]


async def test_a_program_that_died_while_saving_left_nothing_that_can_be_seen(
    served: statekeep.AsyncConnection,
) -> None:
    storage = StatekeepCheckpointStorage(served)
    checkpoint = checkpoint_of(1)
    await storage.save(checkpoint)
    await served.checkpoints.delete_thread("agent-framework/checkpoints/letters")  # only the place is noted now
    with pytest.raises(WorkflowCheckpointException, match="No checkpoint found"):
        await storage.load(checkpoint.checkpoint_id)
    assert await storage.list_checkpoints(workflow_name="letters") == []
    assert not await storage.delete(checkpoint.checkpoint_id)
    await storage.save(checkpoint)
    assert await storage.load(checkpoint.checkpoint_id) == checkpoint
    assert await storage.delete(checkpoint.checkpoint_id)
    assert [item async for item in served.items.list(("agent-framework", "checkpoints"))] == []


async def test_types_that_are_not_allowed(keep: statekeep.AsyncConnection) -> None:
    asks = checkpoint_of(1, state={"q": Question("?")})
    strict = StatekeepCheckpointStorage(keep)
    with pytest.raises(WorkflowCheckpointException, match="Question"):
        await strict.save(asks)
    assert await strict.list_checkpoint_ids(workflow_name="letters") == []
    for allowed in (Question, QUESTION):
        storage = StatekeepCheckpointStorage(keep, allowed_checkpoint_types=[allowed])
        await storage.save(asks)
        assert await storage.load(asks.checkpoint_id) == asks
    for read in (
        strict.load(asks.checkpoint_id),
        strict.get_latest(workflow_name="letters"),
        strict.list_checkpoints(workflow_name="letters"),
    ):
        with pytest.raises(WorkflowCheckpointException, match="Question"):
            await read
    assert await strict.list_checkpoint_ids(workflow_name="letters") == [asks.checkpoint_id]


@pytest.mark.parametrize("client", ["glide", "valkey-py"])
async def test_round_trips_of_checkpoints(proxy: CountingProxy, prefix: str, client: Any) -> None:
    url = f"valkey://127.0.0.1:{proxy.port}"
    async with StatekeepCheckpointStorage.from_url(url, prefix=prefix, client=client) as storage:

        async def turns(work: Any) -> int:
            proxy.reset()
            await work
            return proxy.turns

        async def all_of_them(number: int) -> list[int]:
            long = checkpoint_of(number, state={"same": "x" * 50_000, "n": number})
            return [
                await turns(storage.save(long)),
                await turns(storage.load(long.checkpoint_id)),
                await turns(storage.get_latest(workflow_name="letters")),
                await turns(storage.list_checkpoints(workflow_name="letters")),
                await turns(storage.list_checkpoint_ids(workflow_name="letters")),
                await turns(storage.delete(long.checkpoint_id)),
                await turns(storage.delete(long.checkpoint_id)),
            ]

        await storage.save(checkpoint_of(0, state={"same": "x" * 50_000}))
        await all_of_them(1)  # the connection is open then, and the server knows the scripts
        save, load, latest, listed, ids, delete, again = await all_of_them(2)
        assert (save, load, latest, ids, delete, again) == (2, 2, 1, 1, 13, 1)
        assert 1 <= listed <= 3  # it reads the ids first, unless they are known


async def test_parts_that_did_not_change_are_not_sent(proxy: CountingProxy, prefix: str) -> None:
    """Ten checkpoints of a workflow that carries 40 KB; each time one member changes."""
    url = f"valkey://127.0.0.1:{proxy.port}"
    state: dict[str, Any] = {
        "_executor_state": {"idle": {"cache": random.Random(1).randbytes(15_000).hex()}, "busy": {"n": 0}},
        "document": "y" * 10_000,
        "tried": 0,
    }
    async with StatekeepCheckpointStorage.from_url(url, prefix=prefix) as storage:
        previous = await storage.save(checkpoint_of(0, state=state))
        for number in range(1, 13):
            if number == 3:  # the server knows the scripts then
                proxy.reset()
            state["tried"] = state["_executor_state"]["busy"]["n"] = number
            checkpoint = checkpoint_of(number, state=state, previous_checkpoint_id=previous)
            previous = await storage.save(checkpoint)
        assert proxy.sent < 40_000  # of 400,000
        assert (await storage.load(previous)).state == state
    # A program that begins anew asks which of the long parts are stored: one round trip more, once.
    async with StatekeepCheckpointStorage.from_url(url, prefix=prefix) as storage:
        await storage.get_latest(workflow_name="others")
        proxy.reset()
        await storage.save(checkpoint_of(13, state=state))
        assert proxy.sent < 10_000


async def test_checkpoints_expire(served: statekeep.AsyncConnection, valkey_server: ValkeyServer, prefix: str) -> None:
    async with StatekeepCheckpointStorage.from_url(valkey_server.url, prefix=prefix, ttl=0.5) as storage:
        checkpoint = checkpoint_of(1)
        await storage.save(checkpoint)
        assert await storage.load(checkpoint.checkpoint_id) == checkpoint
        await asyncio.sleep(0.6)
        assert await storage.get_latest(workflow_name="letters") is None
        assert await storage.list_checkpoints(workflow_name="letters") == []
        with pytest.raises(WorkflowCheckpointException):
            await storage.load(checkpoint.checkpoint_id)


async def test_serializers_of_checkpoints(
    served: statekeep.AsyncConnection, valkey_server: ValkeyServer, prefix: str
) -> None:
    checkpoint = checkpoint_of(1, state={"n": "a secret"}, metadata={"who": "a secret"})
    storage = StatekeepCheckpointStorage(served, serializer=Backwards())
    await storage.save(checkpoint)
    assert await storage.load(checkpoint.checkpoint_id) == checkpoint
    with valkey_server.client() as client:
        keys = list(client.scan_iter(f"{prefix}:*", _type="hash"))
        assert keys
        assert not any(b"secret" in value for key in keys for value in client.hgetall(key).values())
    with pytest.raises(InvalidInput, match="backwards") as caught:
        await StatekeepCheckpointStorage(served).load(checkpoint.checkpoint_id)
    assert caught.value.field == "serializer"


async def test_namespaces_and_names_are_apart(keep: statekeep.AsyncConnection) -> None:
    storages = [
        StatekeepCheckpointStorage(keep, namespace=namespace)
        for namespace in (("a",), ("a", "b"), ("a/b",), ("a%2Fb",), (), ("😀" * 100,))
    ]
    names = ["b", "b/c", "%", "c", " "]
    for place, storage in enumerate(storages):
        for number, name in enumerate(names):
            await storage.save(checkpoint_of(number, workflow_name=name, checkpoint_id="1/2", state={"n": [place]}))
            # One id is one checkpoint.
            assert await storage.list_checkpoint_ids(workflow_name=name) == ["1/2"]
    for place, storage in enumerate(storages):
        assert (await storage.load("1/2")).state == {"n": [place]}
        assert await storage.list_checkpoint_ids(workflow_name=names[0]) == []


# -- histories


async def test_a_history_does_as_the_frameworks_own(keep: statekeep.AsyncConnection, tmp_path: Path) -> None:
    async def turns(history: Any) -> list[Any]:
        call = Content.from_function_call("c1", "weather", arguments={"city": "Oslo"}, id="i1")
        model = Fake("hello", call, "bring an umbrella", "bye", "again")
        agent = Agent(model, context_providers=[history], tools=[weather])
        session = AgentSession(session_id="ada")
        for text in ("hi", "what is the weather?", "thanks 😀", "thanks 😀"):
            await agent.run(text, session=session)
        there = await history.get_messages("ada", state=session.state.get(history.source_id, {}))
        return [model.inputs, [message.to_dict() for message in there]]

    mine = StatekeepHistoryProvider(keep)
    seen = await turns(mine)
    assert seen == await turns(FileHistoryProvider(tmp_path)) == await turns(InMemoryHistoryProvider())
    assert [len(asked) for asked in seen[0]] == [1, 3, 5, 7, 9]
    await mine.clear("ada")
    assert await mine.get_messages("ada") == []
    assert [log async for log in keep.logs.list()] == []


async def test_what_is_replayed_is_not_added_again(keep: statekeep.AsyncConnection) -> None:
    """The end of the history is enough to find out, whatever its length."""
    draw = random.Random(7)

    def message() -> Message:
        role, name = draw.choice(["user", "assistant"]), draw.choice(["x", "y", None])
        return Message(role, [draw.choice("ab")], message_id=name)

    for number in range(60):
        history = StatekeepHistoryProvider(keep, max_messages=draw.choice([None, 3, 8]))
        expected: list[Message] = []
        for _ in range(6):
            batch = [message() for _ in range(draw.randrange(5))]
            if expected and draw.random() < 0.5:
                batch = [*expected[-draw.randrange(1, 7) :], *batch]
            if batch:
                expected += filter_new_messages(expected, batch)
                expected = expected[-(history.max_messages or len(expected)) :]
            await history.save_messages(f"{number}", batch)
            found = await history.get_messages(f"{number}")
            assert [each.to_dict() for each in found] == [each.to_dict() for each in expected]


async def test_histories_are_apart(keep: statekeep.AsyncConnection) -> None:
    ids = ["ada", "a.da", "ADA", "{}", ":", "*", "\x00", " ", "😀" * 1000]
    histories = [(StatekeepHistoryProvider(keep), session_id) for session_id in ids]
    histories.append((StatekeepHistoryProvider(keep, source_id="audit"), "ada"))
    histories.append((StatekeepHistoryProvider(keep, namespace=("tenant",)), "ada"))
    for number, (history, session_id) in enumerate(histories):
        await history.save_messages(session_id, [Message("user", [f"{number}"])])
    for number, (history, session_id) in enumerate(histories):
        assert [message.text for message in await history.get_messages(session_id)] == [f"{number}"]


async def test_messages_of_all_kinds(keep: statekeep.AsyncConnection, tmp_path: Path) -> None:
    contents: list[Any] = [
        "text",
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"a": 1}'},
        {"type": "uri", "uri": "https://example.com/x.png", "media_type": "image/png"},
    ]
    odd: dict[str, Any] = {
        "logprobs": [float("-inf"), float("nan"), -1e-300],
        "at": None,
        "lone": "\ud800",
        "$keep": [1],
    }
    messages = [Message("assistant", contents, message_id="m", author_name="clerk", additional_properties=odd)]
    messages.append(Message("tool", [{"type": "function_result", "call_id": "c", "result": "rain"}]))
    history = StatekeepHistoryProvider(keep)
    await history.save_messages("ada", messages)
    found = await history.get_messages("ada")
    assert repr([message.to_dict() for message in found]) == repr([message.to_dict() for message in messages])
    broken = StatekeepHistoryProvider(keep, serializer=Broken())
    with pytest.raises(ZeroDivisionError):
        await broken.save_messages("ada", messages)
    assert len(await history.get_messages("ada")) == 2


async def test_excluded_messages(keep: statekeep.AsyncConnection) -> None:
    messages = [Message("user", ["a"], additional_properties={"_excluded": True}), Message("assistant", ["b"])]
    history = StatekeepHistoryProvider(keep, skip_excluded=True)
    await history.save_messages("ada", messages)
    assert [message.text for message in await history.get_messages("ada")] == ["b"]
    assert len(await StatekeepHistoryProvider(keep).get_messages("ada")) == 2


async def test_which_messages_are_kept(keep: statekeep.AsyncConnection) -> None:
    history = StatekeepHistoryProvider(keep)
    audit = StatekeepHistoryProvider(
        keep, source_id="audit", load_messages=False, store_inputs=False, store_context_messages=True, max_messages=3
    )
    none = StatekeepHistoryProvider(keep, source_id="none", max_messages=0)
    model = Fake("one", "two", "three")
    agent = Agent(model, context_providers=[history, audit, none])
    session = AgentSession(session_id="ada")
    for text in ("a", "b", "c"):
        await agent.run(text, session=session)
    assert [len(asked) for asked in model.inputs] == [1, 3, 5]
    assert [message.text for message in await audit.get_messages("ada")][-1] == "three"
    assert len(await audit.get_messages("ada")) == 3
    assert await none.get_messages("ada") == []
    assert [log.name[2:] async for log in keep.logs.list()] == [("audit", "ada"), ("statekeep", "ada")]


async def test_many_save_at_once(served: statekeep.AsyncConnection) -> None:
    """What is saved together stays together, and nothing is lost."""
    histories = [StatekeepHistoryProvider(served) for _ in range(5)]
    pairs = [[Message("user", [f"{n}"]), Message("assistant", [f"{n}"])] for n in range(50)]
    await asyncio.gather(*(histories[n % 5].save_messages("busy", pair) for n, pair in enumerate(pairs)))
    texts = [message.text for message in await histories[0].get_messages("busy")]
    assert sorted(texts) == sorted([f"{n}" for n in range(50)] * 2)
    assert texts[::2] == texts[1::2]


@pytest.mark.parametrize("delay", [0, 0.001, 0.05])
async def test_a_change_of_a_history_that_is_cancelled_is_done_when_that_is_told(
    served: statekeep.AsyncConnection, delay: float
) -> None:
    history = StatekeepHistoryProvider(served)
    for number in range(5):
        task = asyncio.ensure_future(history.save_messages("ada", [Message("user", [f"{number}"])]))
        await asyncio.sleep(delay)
        was_done = task.done()
        task.cancel()
        if not was_done:
            with pytest.raises(asyncio.CancelledError):
                await task
        there = len(await history.get_messages("ada"))
        await asyncio.sleep(0.02)
        assert len(await history.get_messages("ada")) == there


async def test_a_turn_that_is_cancelled_can_be_taken_again(keep: statekeep.AsyncConnection) -> None:
    history, session = StatekeepHistoryProvider(keep), AgentSession(session_id="ada")
    await Agent(Fake("hello"), context_providers=[history]).run("hi", session=session)
    model = Fake(None)
    run = asyncio.ensure_future(Agent(model, context_providers=[history]).run("are you there?", session=session))
    await model.hangs.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert len(await history.get_messages("ada")) == 2
    model = Fake("yes")
    await Agent(model, context_providers=[history]).run("are you there?", session=session)
    assert [text for _, text in model.inputs[0]] == ["hi", "hello", "are you there?"]


@pytest.mark.parametrize("client", ["glide", "valkey-py"])
async def test_round_trips_of_histories(proxy: CountingProxy, prefix: str, client: Any) -> None:
    url = f"valkey://127.0.0.1:{proxy.port}"
    async with StatekeepHistoryProvider.from_url(url, prefix=prefix, client=client, max_messages=1000) as history:

        async def turns(work: Any) -> int:
            proxy.reset()
            await work
            return proxy.turns

        async def all_of_them() -> list[int]:
            first = [Message("user", [f"{number}"]) for number in range(900)]
            then = [Message("user", [f"{number}"]) for number in range(900, 1100)]
            model = Fake("hello")
            return [
                await turns(history.save_messages("ada", first)),
                await turns(history.get_messages("ada")),
                await turns(history.save_messages("ada", then)),
                await turns(history.save_messages("ada", then)),
                await turns(history.clear("ada")),
                await turns(Agent(model, context_providers=[history]).run("hi", session=AgentSession(session_id="b"))),
                await turns(history.save_messages("ada", [])),
            ]

        await all_of_them()  # the connection is open then, and the server knows the scripts
        await history.clear("b")
        assert await all_of_them() == [2, 1, 3, 1, 1, 3, 0]


async def test_histories_expire(served: statekeep.AsyncConnection) -> None:
    history = StatekeepHistoryProvider(served, ttl=0.5)
    await history.save_messages("ada", [Message("user", ["a"])])
    await asyncio.sleep(0.3)
    await history.save_messages("ada", [Message("user", ["b"])])
    await asyncio.sleep(0.3)
    assert len(await history.get_messages("ada")) == 2
    await asyncio.sleep(0.3)
    assert await history.get_messages("ada") == []


async def test_serializers_of_histories(
    served: statekeep.AsyncConnection, valkey_server: ValkeyServer, prefix: str
) -> None:
    history = StatekeepHistoryProvider(served, serializer=Backwards())
    await history.save_messages("ada", [Message("user", ["my secret"])])
    assert [message.text for message in await history.get_messages("ada")] == ["my secret"]
    with valkey_server.client() as client:
        (key,) = client.scan_iter(f"{prefix}:*", _type="list")
        assert not any(b"secret" in element for element in client.lrange(key, 0, -1))
    with pytest.raises(InvalidInput, match="backwards") as caught:
        await StatekeepHistoryProvider(served).get_messages("ada")
    assert caught.value.field == "serializer"
    await served.logs.append(("agent-framework", "history", "statekeep", "bob"), ["what others put there"])
    with pytest.raises(InvalidInput, match="no history provider"):
        await history.get_messages("bob")


# -- sessions


async def test_a_store_does_as_the_frameworks_own(keep: statekeep.AsyncConnection, tmp_path: Path) -> None:
    async def visits(store: Any) -> list[Any]:
        seen: list[Any] = [await store.get("ada")]
        model = Fake("hello", "bye", "again")
        agent = Agent(model, context_providers=[InMemoryHistoryProvider()])
        for text in ("hi", "thanks", "again"):
            session = await store.get("ada/1") or AgentSession(session_id="ada")
            session.state["texts"] = [*session.state.get("texts", []), text]
            await agent.run(text, session=session)
            await store.set("ada/1", session)
            session.state["texts"].append("after it was stored")
        first, second = await store.get("ada/1"), await store.get("ada/1")
        assert first is not second
        assert first.state is not second.state
        seen += [model.inputs, first.to_dict(), second.session_id, second.service_session_id]
        second.service_session_id = {"thread": "t", "run": 1}
        await store.set("bob", second)
        seen.append((await store.get("bob")).to_dict())
        for session_id in ("ada/1", "ada/1", "nothing"):
            await store.delete(session_id)
        return [*seen, await store.get("ada/1"), (await store.get("bob")).session_id]

    mine = await visits(StatekeepSessionStore(keep))
    assert mine == await visits(SessionStore()) == await visits(FileSessionStore(tmp_path))
    assert mine[2]["state"]["texts"] == ["hi", "thanks", "again"]


async def test_a_restart_and_other_processes_of_sessions(valkey_server: ValkeyServer, prefix: str) -> None:
    def run(text: str) -> Any:
        return in_a_process("converse", valkey_server.url, prefix, "ada", text)

    assert run("one") == [[["user", "one"]]]
    assert run("two") == [[["user", "one"], ["assistant", "you said one"], ["user", "two"]]]


async def test_stale_sessions(keep: statekeep.AsyncConnection) -> None:
    store, other = (StatekeepSessionStore(keep, detect_conflicts=True) for _ in range(2))
    session = AgentSession(session_id="ada")
    await store.set("ada", session)
    await store.set("ada", session)
    mine, theirs = await store.get("ada"), await other.get("ada")
    assert mine is not None
    assert theirs is not None
    theirs.state["n"] = 1
    await other.set("ada", theirs)
    await other.set("ada", theirs)
    mine.state["n"] = 2
    for stale in (mine, session, AgentSession(session_id="ada")):
        with pytest.raises(Conflict):
            await store.set("ada", stale)
    found = await store.get("ada")
    assert found is not None
    assert found.state == {"n": 1}
    # One that was deleted meanwhile does not come back.
    await other.delete("ada")
    with pytest.raises(Conflict):
        await store.set("ada", found)
    # Under another id it is new.
    await store.set("bob", found)
    # Without it the last one wins, as with the framework's own stores.
    easy = StatekeepSessionStore(keep)
    await easy.set("bob", AgentSession(session_id="b"))
    await easy.set("ada", found)
    assert await store.get("ada") is not None


async def test_sessions_that_cannot_be_stored(keep: statekeep.AsyncConnection) -> None:
    class Mine(AgentSession):  # type: ignore[misc]
        pass

    store = StatekeepSessionStore(keep)
    with pytest.raises(InvalidInput) as caught:
        await store.set("ada", Mine(session_id="ada"))
    assert caught.value.field == "session"
    for value in (object(), float("nan"), {1, 2}):
        session = AgentSession(session_id="ada")
        session.state["odd"] = value
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of the framework: it says the same
            with pytest.raises(InvalidInput, match="odd"):
                await store.set("ada", session)
    assert await store.get("ada") is None


@pytest.mark.parametrize("client", ["glide", "valkey-py"])
async def test_round_trips_of_sessions(proxy: CountingProxy, prefix: str, client: Any) -> None:
    url = f"valkey://127.0.0.1:{proxy.port}"
    session = AgentSession(session_id="ada")
    async with StatekeepSessionStore.from_url(url, prefix=prefix, client=client, detect_conflicts=True) as store:

        async def turns(work: Any) -> int:
            proxy.reset()
            await work
            return proxy.turns

        async def all_of_them() -> list[int]:
            session = AgentSession(session_id="ada")
            calls: list[Callable[[], Any]] = [
                lambda: store.set("ada", session),
                lambda: store.set("ada", session),
                lambda: store.get("ada"),
                lambda: store.delete("ada"),
            ]
            return [await turns(call()) for call in calls]

        await all_of_them()  # the connection is open then, and the server knows the scripts
        assert await all_of_them() == [1, 1, 1, 1]
    assert session.session_id == "ada"


async def test_sessions_expire(served: statekeep.AsyncConnection) -> None:
    store = StatekeepSessionStore(served, ttl=0.3)
    await store.set("ada", AgentSession(session_id="ada"))
    assert await store.get("ada") is not None
    await asyncio.sleep(0.4)
    assert await store.get("ada") is None


# -- outages, bad input, closing


async def test_an_outage_is_an_error(prefix: str) -> None:
    with ValkeyServer() as server:
        async with statekeep.aconnect(server.url, prefix=prefix, deadline=0.3) as keep:
            storage, history = StatekeepCheckpointStorage(keep), StatekeepHistoryProvider(keep)
            store = StatekeepSessionStore(keep)
            checkpoint = checkpoint_of(1)
            await storage.save(checkpoint)
            server.kill()
            for call in (
                storage.save(checkpoint),
                storage.load(checkpoint.checkpoint_id),
                storage.get_latest(workflow_name="letters"),
                storage.list_checkpoints(workflow_name="letters"),
                storage.list_checkpoint_ids(workflow_name="letters"),
                storage.delete(checkpoint.checkpoint_id),
                history.get_messages("ada"),
                history.save_messages("ada", [Message("user", ["lost"])]),
                store.get("ada"),
                store.set("ada", AgentSession()),
                store.delete("ada"),
            ):
                with pytest.raises(Unavailable):
                    await call


async def test_damaged_records(served: statekeep.AsyncConnection) -> None:
    storage = StatekeepCheckpointStorage(served)
    await served.checkpoints.put(statekeep.Checkpoint(thread_id="agent-framework/checkpoints/letters"))
    with pytest.raises(CorruptRecord):
        await storage.get_latest(workflow_name="letters")
    await served.items.put(("agent-framework", "checkpoints"), "x", {"no": "place"})
    for call in (storage.load("x"), storage.delete("x")):
        with pytest.raises(CorruptRecord):
            await call


async def test_bad_input(served: statekeep.AsyncConnection) -> None:
    made: list[tuple[str, Callable[[], Any]]] = [
        ("keep", lambda: StatekeepCheckpointStorage(served.items)),  # type: ignore[arg-type]
        ("keep", lambda: StatekeepCheckpointStorage("memory:")),  # type: ignore[arg-type]
        ("namespace", lambda: StatekeepCheckpointStorage(served, namespace="text")),
        ("namespace", lambda: StatekeepCheckpointStorage(served, namespace=("",))),
        ("serializer", lambda: StatekeepCheckpointStorage(served, serializer=json)),  # type: ignore[arg-type]
        ("allowed_checkpoint_types", lambda: StatekeepCheckpointStorage(served, allowed_checkpoint_types="a:b")),
        ("allowed_checkpoint_types", lambda: StatekeepCheckpointStorage(served, allowed_checkpoint_types=["a.b"])),
        ("url", lambda: StatekeepCheckpointStorage.from_url("nowhere")),
        ("namespace", lambda: StatekeepCheckpointStorage.from_url("embedded:", namespace=("",))),
        ("keep", lambda: StatekeepHistoryProvider(served.items)),  # type: ignore[arg-type]
        ("source_id", lambda: StatekeepHistoryProvider(served, source_id="")),
        ("namespace", lambda: StatekeepHistoryProvider(served, namespace="text")),
        ("ttl", lambda: StatekeepHistoryProvider(served, ttl=0)),
        ("max_messages", lambda: StatekeepHistoryProvider(served, max_messages=-1)),
        ("load_messages", lambda: StatekeepHistoryProvider(served, load_messages="no")),  # type: ignore[arg-type]
        ("max_messages", lambda: StatekeepHistoryProvider.from_url("embedded:", max_messages=-1)),
        ("keep", lambda: StatekeepSessionStore(served.logs)),  # type: ignore[arg-type]
        ("detect_conflicts", lambda: StatekeepSessionStore(served, detect_conflicts=None)),  # type: ignore[arg-type]
        ("ttl", lambda: StatekeepSessionStore.from_url("memory:", ttl=-1)),
    ]
    for field, make in made:
        with pytest.raises(InvalidInput) as caught:
            make()
        assert caught.value.field == field, field
    storage, history = StatekeepCheckpointStorage(served), StatekeepHistoryProvider(served)
    store = StatekeepSessionStore(served)
    awaited: list[tuple[str, Any]] = [
        ("checkpoint", storage.save(None)),
        ("workflow_name", storage.save(checkpoint_of(1, workflow_name=""))),
        ("checkpoint_id", storage.save(checkpoint_of(1, checkpoint_id=uuid.uuid4()))),
        ("checkpoint_id", storage.load("")),
        ("checkpoint_id", storage.delete(None)),  # type: ignore[arg-type]
        ("workflow_name", storage.get_latest(workflow_name="")),
        ("session_id", history.get_messages(None)),
        ("session_id", history.save_messages("", [Message("user", ["a"])])),
        ("session_id", store.get("")),
        ("session_id", store.delete("")),
        ("session", store.set("a", {})),
    ]
    for field, call in awaited:
        with pytest.raises(InvalidInput) as caught:
            await call
        assert caught.value.field == field, field
    for wrong in ("yesterday", None):
        with pytest.raises(WorkflowCheckpointException, match="timestamp"):
            await storage.save(dataclasses.replace(checkpoint_of(1), timestamp=wrong))


async def test_a_service_that_keeps_less() -> None:
    url = "bedrock-sessions://?region=us-west-2"
    for make in (
        StatekeepCheckpointStorage.from_url,
        StatekeepHistoryProvider.from_url,
        StatekeepSessionStore.from_url,
    ):
        with pytest.raises(Unsupported, match=r"no items|no logs"):
            make(url)


async def test_agentcore_keeps_checkpoints_and_sessions() -> None:
    with AwsEmulator() as aws:
        url = f"agentcore://{aws.agentcore.create_memory()}"
        options: Any = {"endpoint_url": aws.endpoint_url, "region_name": "us-west-2"}
        keys: Any = {"aws_access_key_id": "x", "aws_secret_access_key": "y"}
        async with statekeep.aconnect(url, **options, **keys) as keep:
            storage = StatekeepCheckpointStorage(keep, allowed_checkpoint_types=[Question])
            assert await scenario(storage) == await scenario(InMemoryCheckpointStorage())
            store = StatekeepSessionStore(keep, detect_conflicts=True)
            await store.set("ada", AgentSession(session_id="ada"))
            with pytest.raises(Conflict):
                await store.set("ada", AgentSession(session_id="ada"))
            with pytest.raises(Unsupported, match="no logs"):
                StatekeepHistoryProvider(keep)


async def test_a_blocking_connection_serves_too(valkey_server: ValkeyServer, prefix: str) -> None:
    with statekeep.connect(valkey_server.url, prefix=prefix) as keep:
        storage, checkpoint = StatekeepCheckpointStorage(keep), checkpoint_of(1)
        await storage.save(checkpoint)
        assert await storage.load(checkpoint.checkpoint_id) == checkpoint
        histories = StatekeepHistoryProvider(keep), StatekeepHistoryProvider(keep.logs)
        for number, history in enumerate(histories):
            await history.save_messages(f"{number}", [Message("user", ["a"])])
            assert len(await history.get_messages(f"{number}")) == 1
        for store in (StatekeepSessionStore(keep), StatekeepSessionStore(keep.items)):
            await store.set("ada", AgentSession(session_id="ada"))
            assert await store.get("ada") is not None
        await keep.asyncio.close()


@asynccontextmanager
async def closing(bridge: Any) -> AsyncIterator[Any]:
    async with bridge as entered:
        assert entered is bridge
        yield bridge
    await bridge.close()


async def test_close(valkey_server: ValkeyServer, served: statekeep.AsyncConnection, prefix: str) -> None:
    async with closing(StatekeepCheckpointStorage(served)) as storage:
        assert await storage.list_checkpoints(workflow_name="x") == []
    async with closing(StatekeepHistoryProvider(served)) as history:
        assert await history.get_messages("x") == []
    async with closing(StatekeepSessionStore(served)) as store:
        assert await store.get("x") is None
    assert await store.get("x") is None  # the connection is not the store's
    own = StatekeepSessionStore.from_url(valkey_server.url, prefix=prefix)
    assert await own.get("x") is None
    await own.close()
    await own.close()
    with pytest.raises(statekeep.ClientClosed):
        await own.get("x")
