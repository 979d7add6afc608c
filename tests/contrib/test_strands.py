"""Storage and sessions of Strands Agents, driven by its own Agent: `make frameworks`, in an environment of its own."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("strands", reason="strands-agents is not installed: `make frameworks` has it", exc_type=ImportError)

from strands import Agent, tool
from strands.hooks import BeforeNodeCallEvent
from strands.models import Model
from strands.multiagent import GraphBuilder
from strands.session import (
    FileSessionManager,
    RepositorySessionManager,
    SessionRepository,
    SnapshotSessionManager,
)
from strands.storage import InMemoryStorage, LocalFileStorage, Storage
from strands.storage.search import Bm25SearchStrategy, KeywordSearchStrategy
from strands.types.exceptions import SessionException, StorageError
from strands.types.session import Session, SessionAgent, SessionMessage, SessionType
from strands.vended_memory_stores.file_memory_store import FileMemoryStore

import statekeep
from statekeep import Conflict, InvalidInput, Unavailable, Unsupported
from statekeep.contrib.strands import StatekeepSessionRepository, StatekeepStorage
from statekeep.testing.aws import AwsEmulator
from statekeep.testing.servers import ValkeyServer
from tests.fenced import ROOT, run_page
from tests.integration.valkey.counting_proxy import CountingProxy

pytestmark = pytest.mark.anyio

PAGE = ROOT / "docs" / "frameworks" / "strands.md"

SCRIPT = "from tests.contrib.test_strands import converse; converse(*__import__('sys').argv[1:])"


class Fake(Model):  # type: ignore[misc]
    """A model that says what it is told to, and notes what it was asked."""

    def __init__(self, *outputs: Any) -> None:
        self.outputs = list(outputs)
        self.inputs: list[Any] = []
        self.hangs = asyncio.Event()

    def update_config(self, **config: Any) -> None:
        raise NotImplementedError

    def get_config(self) -> Any:
        return {}

    def structured_output(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    async def stream(self, messages: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        self.inputs.append(plain(messages))
        output = self.outputs.pop(0)
        if output is None:
            self.hangs.set()
            await asyncio.sleep(60)
        yield {"messageStart": {"role": "assistant"}}
        if isinstance(output, Redaction):
            yield {"redactContent": {"redactUserContentMessage": "[redacted]"}}
            output = "I cannot talk about that"
        if isinstance(output, str):
            yield {"contentBlockStart": {"start": {}}}
            yield {"contentBlockDelta": {"delta": {"text": output}}}
            yield {"contentBlockStop": {}}
            yield {"messageStop": {"stopReason": "end_turn"}}
            return
        name, arguments = output
        yield {"contentBlockStart": {"start": {"toolUse": {"name": name, "toolUseId": f"t{len(self.inputs)}"}}}}
        yield {"contentBlockDelta": {"delta": {"toolUse": {"input": json.dumps(arguments)}}}}
        yield {"contentBlockStop": {}}
        yield {"messageStop": {"stopReason": "tool_use"}}


class Redaction:
    """What a model with guardrails says."""


@tool  # type: ignore[untyped-decorator]
def weather(city: str) -> str:
    """Tell the weather.

    Args:
        city: where.
    """
    return f"rain in {city}"


def plain(messages: Any) -> list[Any]:
    """Messages without what differs from run to run."""
    return [{"role": message["role"], "content": list(message["content"])} for message in messages]


def agent_of(model: Model, manager: Any, **options: Any) -> Agent:
    return Agent(
        model=model, agent_id="clerk", tools=[weather], session_manager=manager, callback_handler=None, **options
    )


def converse(url: str, kind: str, session_id: str, text: str) -> None:
    """One turn in a process of its own; print what the model was asked."""
    model = Fake(f"you said {text}")
    with statekeep.connect(url) as keep:
        agent_of(model, manager_of(kind, session_id, keep))(text)
    print(json.dumps(model.inputs))


def manager_of(kind: str, session_id: str, keep: Any) -> Any:
    if kind == "storage":
        return SnapshotSessionManager(session_id, storage=StatekeepStorage(keep))
    return RepositorySessionManager(session_id, StatekeepSessionRepository(keep))


# -- the page about it


def test_the_page_runs(valkey_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    model = Fake("Good morning to you, too.", "Here I am again.", "And here, as well.")
    monkeypatch.setattr("strands.Agent", lambda **options: Agent(model=model, callback_handler=None, **options))
    run_page(PAGE, valkey_server)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "Good morning to you, too."
    assert "('strands', 'storage', 'session', 'ada')" in printed
    assert "('strands', 'sessions', 'ada')" in printed
    assert len(model.inputs[2]) == 3
    with statekeep.connect(valkey_server.url) as keep:
        assert keep.items.clear(("strands",), below=True) > 0


# -- storage: as the framework's own do


async def caught(work: Any) -> Any:
    """What an awaitable returns, or the kind of error that it raises."""
    try:
        return await work
    except Exception as error:
        return type(error)


KEYS = [
    "notes.md",
    "a/b",
    "a/b/c",
    "a/b/c/d",
    "a/bc",
    "a/*/c",
    "*/b/c",
    "a b/é/😀",
    "a.b/c.d/e",
    "a/b/c\x00",
    "A/b",
    "~",
]


async def storage_scenario(storage: Any) -> list[Any]:
    """Everything that a storage does, and all that is seen of it."""
    seen: list[Any] = [await storage.read("nothing"), await storage.list(""), await storage.search("tea")]
    await storage.delete("nothing")
    for number, key in enumerate(KEYS):
        await storage.write(key, f"tea {number}".encode())
    await storage.write("a//b///c/", b"again")
    await storage.write("/empty", b"")
    await storage.write("binary/data", bytes(range(256)) * 1000)
    seen += [await storage.read(key) for key in [*KEYS, "/a/b", "a/b/", "empty", "binary/data", "a", "a/b/c/d/e"]]
    for query in ["", "a", "a/", "a/b", "a/b/", "a/b/c", "a/b/c/", "a/*", "*", "a//b", "/a", "no", "A", "a b/é/", "~"]:
        seen.append(await storage.list(query))
    for query in ["tea", "again", "the", "TEA 3", "notes", "", "Tee"]:
        found = await storage.search(query)
        seen.append(sorted((result.key, result.score, result.data) for result in found))
        seen.append([result.score for result in found])
    for wrong in ["", "/", "//", "a\\b", "..", "a/../b"]:
        seen += [await caught(storage.write(wrong, b"x")), await caught(storage.read(wrong))]
        seen += [await caught(storage.delete(wrong))]
    seen += [await caught(storage.list(wrong)) for wrong in ("a\\b", "../a", "a/..")]
    for folder in ("a", "a/b", "/a//b/", "a/b/c", "a/b/c/d/e", ""):
        part = storage.namespace(folder)
        seen += [await part.list(""), await part.list("b"), await part.read("c")]
        seen.append([result.key for result in await part.search("tea again")])
        inner = part.namespace("inner")
        await inner.write("deep/er/and/deeper", b"biscuit")
        seen += [await part.list("inner/"), await inner.list("deep/er/"), await inner.list("")]
        seen.append([result.key for result in await inner.search("biscuit")])
    seen.append(await storage.list(""))
    for key in await storage.list("a/b/"):
        await storage.delete(key)
    seen.append(await storage.list(""))
    for key in await storage.list(""):
        await storage.delete(key)
    return [*seen, await storage.list("")]


async def test_storage_does_as_the_sdks_own(keep: statekeep.Connection) -> None:
    mine = StatekeepStorage(keep)
    assert isinstance(mine, Storage)
    assert await storage_scenario(mine) == await storage_scenario(InMemoryStorage())
    assert keep.items.list_namespaces() == []


async def snapshot_scenario(storage: Any) -> list[Any]:
    """Conversations with snapshots, restored in new agents."""
    seen: list[Any] = []

    def start(*outputs: Any, **options: Any) -> Agent:
        manager = SnapshotSessionManager("ada", storage=storage, **options)
        return agent_of(Fake(*outputs), manager)

    agent = start("hello", ("weather", {"city": "Oslo"}), "bring an umbrella", snapshot_trigger=lambda **_: True)
    seen += [str(await agent.invoke_async(text)) for text in ("hi 😀", "what is the weather in Oslo?")]
    seen.append(plain(agent.messages))
    again = start("bye", save_latest_on="message")
    seen += [plain(again.messages), str(await again.invoke_async("see you")), again.model.inputs]
    manager: Any = again._session_manager
    ids = await manager.list_snapshot_ids(again)
    seen += [len(ids), await manager.restore_snapshot(again, snapshot_id=ids[0]), plain(again.messages)]
    seen += [await manager.list_snapshot_ids(again, start_after=ids[0]) == ids[1:]]
    other = agent_of(Fake("who?"), SnapshotSessionManager("bob", storage=storage))
    seen += [str(await other.invoke_async("me")), len(await storage.list("session/"))]
    await manager.delete_session()
    seen += [await storage.list("session/ada/"), len(await storage.list("session/bob/"))]
    seen.append(plain(start("nobody").messages))
    await other._session_manager.delete_session()
    return [*seen, await storage.list("")]


async def test_snapshots_are_as_with_the_sdks_own(keep: statekeep.Connection, tmp_path: Path) -> None:
    mine = await snapshot_scenario(StatekeepStorage(keep))
    assert mine == await snapshot_scenario(InMemoryStorage())
    assert mine == await snapshot_scenario(LocalFileStorage(str(tmp_path)))


async def test_memories_are_as_with_the_sdks_own(keep: statekeep.Connection) -> None:
    async def scenario(storage: Any) -> list[Any]:
        memory = FileMemoryStore(name="clerk", storage=storage)
        for text in ("# Tea\nEarl Grey at four", "# Coffee\nnever", "# Tea\nwith milk"):
            await memory.add(text)
        found = await memory.search("when is tea, and with milk?")
        return [[(entry.content, entry.metadata) for entry in found], await storage.list("")]

    assert await scenario(StatekeepStorage(keep)) == await scenario(InMemoryStorage())


async def test_a_search_strategy_is_told_and_asked(served: statekeep.Connection) -> None:
    class Noting(KeywordSearchStrategy):  # type: ignore[misc]
        def __init__(self) -> None:
            self.told: list[Any] = []

        async def index(self, storage: Any, key: str, data: bytes, **kwargs: Any) -> None:
            if key == "bad":
                raise ValueError("no")
            self.told.append((key, data))

    strategy = Noting()
    storage = StatekeepStorage(served, search_strategy=strategy)
    await storage.write("/a//b", b"tea")
    await storage.namespace("c").write("d", b"tea")
    assert strategy.told == [("a/b", b"tea"), ("d", b"tea")]
    assert [found.key for found in await storage.search("tea")] == ["a/b", "c/d"]
    assert [found.key for found in await storage.namespace("c").search("tea")] == ["d"]
    with pytest.raises(StorageError, match="indexing"):
        await storage.write("bad", b"x")
    assert await storage.read("bad") == b"x"
    with pytest.raises(InvalidInput) as wrong:
        StatekeepStorage(served, search_strategy="bm25")
    assert wrong.value.field == "search_strategy"
    assert repr(StatekeepStorage(served, search_strategy=Bm25SearchStrategy())).startswith("StatekeepStorage(")


async def test_a_session_is_in_a_namespace_of_its_own(served: statekeep.Connection) -> None:
    agent = agent_of(Fake("hello"), SnapshotSessionManager("ada", storage=StatekeepStorage(served)))
    await agent.invoke_async("hi")
    assert served.items.list_namespaces() == [("strands", "storage", "session", "ada")]
    [item] = served.items.list(("strands", "storage", "session", "ada"))
    assert item.key == "scopes/agent/clerk/snapshots/snapshot_latest.json"


async def test_what_others_put_there_is_an_error(served: statekeep.Connection) -> None:
    storage = StatekeepStorage(served)
    for number, value in enumerate([{"a": 1}, 3, None, "no base64", "é"]):
        served.items.put(("strands", "storage"), f"key{number}", value)
        with pytest.raises(StorageError, match="stands for no bytes"):
            await storage.read(f"key{number}")
    await storage.write("sound", b"key")
    assert [found.key for found in await storage.search("key sound")] == ["sound"]
    assert len(await storage.list("")) == 6


# -- sessions: as the framework's own do


def repository_scenario(repository: SessionRepository) -> list[Any]:
    """Everything that a repository does, and all that is seen of it."""
    seen: list[Any] = []

    def note(work: Callable[[], Any]) -> None:
        try:
            found = work()
        except Exception as error:
            found = (
                type(error)
                if isinstance(error, SessionException)
                else next(kind for kind in (ValueError, TypeError) if isinstance(error, kind))
            )
        seen.append(found)

    note(lambda: repository.read_session("s"))
    note(lambda: repository.delete_session("s"))
    session = Session("s", SessionType.AGENT, "today", "now")
    note(lambda: repository.create_session(session))
    note(lambda: repository.create_session(session))
    note(lambda: repository.read_session("s"))
    note(lambda: repository.read_agent("s", "a"))
    note(lambda: repository.list_messages("s", "a"))
    agent = SessionAgent(
        "a", {"n": 1, "raw": b"\x00\xff"}, {"kept": [1, {"x": None}]}, {"model_state": {"é": 1.5}}, "today", "now"
    )
    note(lambda: repository.update_agent("s", agent))
    note(lambda: repository.create_agent("s", agent))
    note(lambda: repository.read_agent("s", "a"))
    note(lambda: repository.list_messages("s", "a"))
    later = SessionAgent("a", {"n": 2}, {}, created_at="2030-01-01T00:00:00+00:00", updated_at="later")
    note(lambda: repository.update_agent("s", later))
    seen.append(later.created_at == agent.created_at)
    note(lambda: repository.read_agent("s", "a"))
    note(lambda: repository.read_message("s", "a", 0))
    messages = [
        SessionMessage({"role": "user", "content": [{"text": f"{n} \x00 😀"}]}, n, None, f"{n}", "now")
        for n in range(25)
    ]
    messages[3].message["content"].append({"image": {"format": "png", "source": {"bytes": b"\x89PNG\x00"}}})
    messages[4].message["content"].append({"json": {"score": float("-inf"), "big": 10**30, "deep": [[[]]]}})
    note(lambda: repository.update_message("s", "a", messages[0]))
    for message in [*messages[10:], *messages[:10]]:
        note(lambda message=message: repository.create_message("s", "a", message))  # type: ignore[misc]
    note(lambda: [repository.read_message("s", "a", n) for n in range(26)])
    for limit, offset in [
        (None, 0),
        (None, 7),
        (3, 0),
        (3, 9),
        (0, 0),
        (0, 3),
        (100, 20),
        (1, 24),
        (1, 25),
        (None, 99),
    ]:
        note(lambda limit=limit, offset=offset: repository.list_messages("s", "a", limit, offset))  # type: ignore[misc]
    redaction: Any = {"role": "user", "content": [{"text": "[x]"}]}
    changed = SessionMessage(messages[5].message, 5, redaction, "tomorrow", "later")
    note(lambda: repository.update_message("s", "a", changed))
    note(lambda: repository.read_message("s", "a", 5))
    seen.append(changed.created_at)
    for wrong in ("1", None, 1.5):
        note(lambda wrong=wrong: repository.read_message("s", "a", wrong))  # type: ignore[misc]
    for wrong in ("a/b", "/"):
        note(lambda wrong=wrong: repository.read_agent("s", wrong))  # type: ignore[misc]
    note(lambda: repository.list_messages("s", "nobody"))
    graph = Graph("g")
    note(lambda: repository.read_multi_agent("s", "g"))
    note(lambda: repository.update_multi_agent("s", graph))
    note(lambda: repository.create_multi_agent("s", graph))
    note(lambda: repository.read_multi_agent("s", "g"))
    graph.done.append("b")
    note(lambda: repository.update_multi_agent("s", graph))
    note(lambda: repository.read_multi_agent("s", "g"))
    note(lambda: repository.create_session(Session("other", SessionType.AGENT, "today", "now")))
    note(lambda: repository.delete_session("s"))
    note(lambda: repository.read_session("s"))
    note(lambda: repository.read_agent("s", "a"))
    note(lambda: repository.read_message("s", "a", 1))
    note(lambda: repository.read_multi_agent("s", "g"))
    note(lambda: repository.create_session(session))
    note(lambda: repository.create_agent("s", agent))
    note(lambda: repository.list_messages("s", "a"))
    note(lambda: repository.read_session("other"))
    note(lambda: repository.delete_session("other"))
    note(lambda: repository.delete_session("s"))
    return seen


class Graph:
    """What a repository knows of a multi-agent."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.done = ["a"]

    def serialize_state(self) -> dict[str, Any]:
        return {"id": self.id, "completed_nodes": list(self.done), "score": float("inf")}


def test_sessions_are_as_in_the_sdks_own(keep: statekeep.Connection, tmp_path: Path) -> None:
    mine = StatekeepSessionRepository(keep)
    assert isinstance(mine, SessionRepository)
    theirs = repository_scenario(FileSessionManager("unused", storage_dir=str(tmp_path)))
    assert repository_scenario(mine) == theirs
    assert keep.items.list_namespaces() == []


@pytest.mark.parametrize("service", ["cluster", "agentcore"])
async def test_other_services_do_as_well(
    request: pytest.FixtureRequest, prefix: str, tmp_path: Path, service: str
) -> None:
    with AwsEmulator() if service == "agentcore" else contextlib.nullcontext() as aws:
        if aws is None:
            keep = statekeep.connect(request.getfixturevalue("valkey_cluster").url, prefix=prefix)
        else:
            url = f"agentcore://{aws.agentcore.create_memory()}"
            keep = statekeep.connect(url, client=aws.client("bedrock-agentcore"))
        async with keep.asyncio:
            theirs = repository_scenario(FileSessionManager("unused", storage_dir=str(tmp_path)))
            assert repository_scenario(StatekeepSessionRepository(keep)) == theirs
            assert await storage_scenario(StatekeepStorage(keep)) == await storage_scenario(InMemoryStorage())


def conversation_scenario(repository: Any) -> list[Any]:
    """Conversations of agents and a graph, each restored by a new manager."""
    seen: list[Any] = []

    def start(session_id: str, *outputs: Any, **options: Any) -> Agent:
        return agent_of(Fake(*outputs), RepositorySessionManager(session_id, repository), **options)

    agent = start("ada", "hello", ("weather", {"city": "Oslo"}), "bring an umbrella", state={"mood": "dry"})
    seen += [str(agent(text)) for text in ("hi", "what is the weather in Oslo?")]
    agent.state.set("mood", "wet")
    again = start("ada", Redaction(), "bye")
    seen += [plain(again.messages), again.state.get()]
    seen += [str(again("a secret")), str(again("thanks 😀 \ud7ff"))]
    third = start("ada", "here")
    seen += [plain(third.messages), third.state.get(), str(third("are you there?")), third.model.inputs]
    seen.append(plain(start("bob", "hm", messages=[{"role": "user", "content": [{"text": "first"}]}]).messages))
    seen.append(plain(start("bob", "hm").messages))
    image = {"image": {"format": "png", "source": {"bytes": b"\x89PNG\x00"}}}
    seen.append(str(start("bob", "a picture")([image, {"text": "what is it?"}])))
    seen.append(plain(start("bob").messages))
    seen += [
        str(text) for text in (repository.read_session("ada").session_id, len(repository.list_messages("ada", "clerk")))
    ]
    return seen


def test_conversations_are_as_with_the_sdks_own(keep: statekeep.Connection, tmp_path: Path) -> None:
    mine = conversation_scenario(StatekeepSessionRepository(keep))
    assert mine == conversation_scenario(FileSessionManager("unused", storage_dir=str(tmp_path)))


def graph_of(manager: Any, *outputs: str, fails_at: str = "") -> Any:
    builder = GraphBuilder()
    for name, output in zip(("plan", "write", "check"), outputs, strict=True):
        builder.add_node(Agent(model=Fake(output), callback_handler=None, name=name), name)
    builder.add_edge("plan", "write")
    builder.add_edge("write", "check")
    builder.set_session_manager(manager).set_execution_timeout(60)
    graph = builder.build()

    def stop(event: BeforeNodeCallEvent) -> None:
        if event.node_id == fails_at:
            raise RuntimeError("the process dies")

    graph.hooks.add_callback(BeforeNodeCallEvent, stop)
    return graph


@pytest.mark.parametrize("kind", ["repository", "storage"])
def test_a_graph_goes_on_where_it_was(keep: statekeep.Connection, kind: str) -> None:
    first = graph_of(manager_of(kind, "ada", keep), "a plan", "a text", "fine", fails_at="check")
    with pytest.raises(RuntimeError, match="the process dies"):
        first("write a text")
    second = graph_of(manager_of(kind, "ada", keep), "another plan", "another text", "done")
    result = second("write a text")
    assert [node.node_id for node in result.execution_order] == ["plan", "write", "check"]
    assert [second.nodes[name].executor.model.inputs for name in ("plan", "write")] == [[], []]
    assert len(second.nodes["check"].executor.model.inputs) == 1
    assert str(result.results["check"].result).strip() == "done"


# -- restarts and processes


@pytest.mark.parametrize("kind", ["repository", "storage"])
def test_a_restart_and_other_processes(valkey_server: ValkeyServer, kind: str) -> None:
    session_id = f"two processes {kind}"

    def run(text: str) -> Any:
        command = [sys.executable, "-c", SCRIPT, valkey_server.url, kind, session_id, text]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    [first] = run("one")
    assert [message["role"] for message in first] == ["user"]
    [second] = run("two")
    assert [message["content"] for message in second][0::2] == [[{"text": "one"}], [{"text": "two"}]]
    with statekeep.connect(valkey_server.url) as keep:
        model = Fake("here again")
        manager = manager_of(kind, session_id, keep)
        assert str(agent_of(model, manager)("three")).strip() == "here again"
        assert len(model.inputs[0]) == 5
        keep.items.clear(("strands",), below=True)


# -- stale writers


def test_who_did_not_see_the_last_message_is_refused(served: statekeep.Connection) -> None:
    """The SDK's own repositories lose a message here: both write the same id."""
    repository = StatekeepSessionRepository(served)
    agent_of(Fake("hello"), RepositorySessionManager("ada", repository))("hi")
    first = agent_of(Fake("yes"), RepositorySessionManager("ada", StatekeepSessionRepository(served)))
    second = agent_of(Fake("no"), RepositorySessionManager("ada", StatekeepSessionRepository(served)))
    assert str(first("are you there?")).strip() == "yes"
    with pytest.raises(SessionException, match="already exists") as refused:
        second("hello?")
    assert isinstance(refused.value.__cause__, Conflict)
    texts = [found.message["content"][0]["text"] for found in repository.list_messages("ada", "clerk")]
    assert texts == ["hi", "hello", "are you there?", "yes"]
    # Who begins anew knows all.
    third = agent_of(Fake("fine"), RepositorySessionManager("ada", repository))
    assert str(third("again")).strip() == "fine"
    assert len(third.messages) == 6


def test_of_many_that_create_the_same_one_does(served: statekeep.Connection) -> None:
    def attempt(work: Callable[[], Any]) -> bool:
        try:
            work()
        except SessionException:
            return False
        return True

    def all_at_once(work: Callable[[int], Any]) -> list[bool]:
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(lambda n: attempt(lambda: work(n)), range(24)))

    repositories = [StatekeepSessionRepository(served) for _ in range(24)]
    session = Session("busy", SessionType.AGENT)
    agents = [SessionAgent("a", {"n": n}, {}) for n in range(24)]
    messages = [SessionMessage({"role": "user", "content": [{"text": f"{n}"}]}, 7) for n in range(24)]
    assert sum(all_at_once(lambda n: repositories[n].create_session(session))) == 1
    assert sum(all_at_once(lambda n: repositories[n].create_agent("busy", agents[n]))) == 1
    assert sum(all_at_once(lambda n: repositories[n].create_message("busy", "a", messages[n]))) == 1
    first = repositories[0].read_agent("busy", "a")
    assert first is not None
    assert all(all_at_once(lambda n: repositories[n].update_agent("busy", SessionAgent("a", {"updated": n}, {}))))
    last = repositories[0].read_agent("busy", "a")
    assert last is not None
    assert "updated" in last.state
    assert last.created_at == first.created_at
    [item] = served.items.list(("strands", "sessions", "busy"), prefix="agent/")
    assert item.version == 25


def test_a_deleted_session_takes_no_more(served: statekeep.Connection) -> None:
    repository = StatekeepSessionRepository(served)
    agent = agent_of(Fake("hello", "lost", "lost"), RepositorySessionManager("ada", repository))
    agent("hi")
    repository.delete_session("ada")
    with pytest.raises(SessionException, match="does not exist"):
        agent("are you there?")
    thing = SessionAgent("clerk", {}, {})
    attempts: list[Callable[[], Any]] = [
        lambda: repository.create_agent("ada", thing),
        lambda: repository.update_agent("ada", thing),
        lambda: repository.create_message("ada", "clerk", SessionMessage({"role": "user", "content": []}, 9)),
        lambda: repository.create_multi_agent("ada", Graph("g")),
        lambda: repository.update_multi_agent("ada", Graph("g")),
        lambda: repository.delete_session("ada"),
    ]
    for refused in attempts:
        with pytest.raises(SessionException, match="does not exist"):
            refused()
    assert served.items.list_namespaces() == []
    # What was left behind, say by a program that died, is not the next session's.
    place = ("strands", "sessions", "ada")
    for number in range(3):
        served.items.put(place, f"message/clerk/{number:012}", {"message": {}, "message_id": number})
    again = agent_of(Fake("who are you?"), RepositorySessionManager("ada", repository))
    again("hi")
    assert [found.message_id for found in repository.list_messages("ada", "clerk")] == [0, 1]


# -- cancellation and outages


@pytest.mark.parametrize("kind", ["repository", "storage"])
async def test_a_run_that_is_cancelled_can_go_on(keep: statekeep.Connection, kind: str) -> None:
    await agent_of(Fake("hello"), manager_of(kind, "ada", keep)).invoke_async("hi")
    model = Fake(None)
    run = asyncio.ensure_future(agent_of(model, manager_of(kind, "ada", keep)).invoke_async("are you there?"))
    await model.hangs.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    again = agent_of(Fake("yes"), manager_of(kind, "ada", keep))
    assert plain(again.messages)[0]["content"] == [{"text": "hi"}]
    assert str(await again.invoke_async("again?")).strip() == "yes"


@pytest.mark.parametrize("client", ["glide", "valkey-py"])
async def test_a_change_that_is_cancelled_is_done_when_that_is_told(
    valkey_server: ValkeyServer, prefix: str, client: Any
) -> None:
    async with statekeep.aconnect(valkey_server.url, prefix=prefix) as direct:
        seen = StatekeepStorage(direct)
        with CountingProxy(valkey_server.port, delay=0.1) as slow:
            url = f"valkey://127.0.0.1:{slow.port}"
            async with StatekeepStorage.from_url(url, prefix=prefix, client=client) as storage:
                await storage.write("key", b"0")
                for change, wanted in ((storage.write("key", b"1"), b"1"), (storage.delete("key"), None)):
                    task = asyncio.ensure_future(change)
                    await asyncio.sleep(0.02)
                    task.cancel()
                    await asyncio.sleep(0)
                    task.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await task
                    # It was on its way, and nothing comes later.
                    assert await seen.read("key") == wanted


async def test_an_outage_is_an_error(prefix: str) -> None:
    with ValkeyServer() as server:
        keep = statekeep.connect(server.url, prefix=prefix, deadline=0.3)
        storage, repository = StatekeepStorage(keep), StatekeepSessionRepository(keep)
        await storage.write("key", b"value")
        repository.create_session(Session("ada", SessionType.AGENT))
        server.kill()
        for work in (storage.read("key"), storage.write("key", b""), storage.list(""), storage.delete("key")):
            with pytest.raises(StorageError) as lost:
                await work
            assert isinstance(lost.value.__cause__, Unavailable)
        with pytest.raises(StorageError):
            await storage.search("value")
        for call in (repository.read_session, repository.delete_session, lambda id: repository.read_agent(id, "a")):
            with pytest.raises(SessionException) as gone:
                call("ada")
            assert isinstance(gone.value.__cause__, Unavailable)
        with pytest.raises(SessionException):
            repository.create_session(Session("bob", SessionType.AGENT))
        await keep.asyncio.close()


# -- what it costs


@pytest.mark.parametrize("client", ["glide", "valkey-py"])
async def test_round_trips_of_storage(proxy: CountingProxy, prefix: str, client: Any) -> None:
    url = f"valkey://127.0.0.1:{proxy.port}"
    async with StatekeepStorage.from_url(url, prefix=prefix, client=client) as storage:

        async def turns(work: Any) -> int:
            proxy.reset()
            await work
            return proxy.turns

        async def all_of_them() -> list[int]:
            found = [
                await turns(storage.write("session/ada/key", b"x" * 1000)),
                await turns(storage.read("session/ada/key")),
            ]
            for number in range(50):
                await storage.write(f"session/bob/{number}", b"x")
            await storage.write("notes.md", b"tea")
            return [
                *found,
                await turns(storage.list("session/bob/")),
                await turns(storage.namespace("session/bob").search("tea")),
                await turns(storage.delete("session/ada/key")),
            ]

        await all_of_them()  # the connection is open then, and the server knows the scripts
        assert await all_of_them() == [1, 1, 1, 2, 1]
        for number in range(20):
            await storage.write(f"session/large/{number}", b"x" * 50_000)
        proxy.reset()
        assert len(await storage.list("session/large/")) == 20
        assert proxy.received < 5_000
        # Folders are listed side by side: that is one turn, or several.
        await storage.write("session/ada/key", b"x")
        assert await turns(storage.list("session/")) <= 1 + 4
        assert await turns(storage.list("")) <= 1 + 5
        agent = agent_of(Fake("warm", "hello"), SnapshotSessionManager("cy", storage=storage))
        await agent.invoke_async("hi")
        assert await turns(agent.invoke_async("hi")) == 1


@pytest.mark.parametrize("client", ["glide", "valkey-py"])
def test_round_trips_of_sessions(proxy: CountingProxy, prefix: str, client: Any) -> None:
    url = f"valkey://127.0.0.1:{proxy.port}"

    def turns(work: Callable[[], Any]) -> int:
        proxy.reset()
        work()
        return proxy.turns

    message = SessionMessage({"role": "user", "content": [{"text": "hi"}]}, 0)
    with StatekeepSessionRepository.from_url(url, prefix=prefix, client=client) as repository:

        def all_of_them() -> list[int]:
            found = [
                turns(lambda: repository.create_session(Session("ada", SessionType.AGENT))),
                turns(lambda: repository.read_session("ada")),
                turns(lambda: repository.create_agent("ada", SessionAgent("a", {}, {}))),
                turns(lambda: repository.read_agent("ada", "a")),
                turns(lambda: repository.update_agent("ada", SessionAgent("a", {}, {}))),
                turns(lambda: repository.create_message("ada", "a", message)),
                turns(lambda: repository.read_message("ada", "a", 0)),
                turns(lambda: repository.update_message("ada", "a", message)),
                turns(lambda: repository.create_multi_agent("ada", Graph("g"))),
                turns(lambda: repository.read_multi_agent("ada", "g")),
                turns(lambda: repository.update_multi_agent("ada", Graph("g"))),
            ]
            for number in range(1, 99):
                repository.create_message("ada", "a", SessionMessage(message.message, number))
            found.append(turns(lambda: repository.list_messages("ada", "a")))
            found.append(turns(lambda: repository.list_messages("ada", "a", limit=10, offset=50)))
            return [*found, turns(lambda: repository.delete_session("ada"))]

        all_of_them()
        assert all_of_them() == [1, 1, 1, 1, 2, 1, 1, 2, 1, 1, 2, 2, 2, 4]
        agent = agent_of(
            Fake("warm", "hello", ("weather", {"city": "Oslo"}), "wet"), RepositorySessionManager("cy", repository)
        )
        agent("hi")
        # One for each message; and with tools, the state of the agent changes, too.
        assert turns(lambda: agent("hi")) == 2
        assert turns(lambda: agent("weather?")) == 4 + 2
        agent.state.set("mood", "wet")
        assert turns(lambda: RepositorySessionManager("cy", repository).initialize(agent_of(Fake(), None))) == 4


# -- time to live, bad input


async def test_ttl_of_storage(served: statekeep.Connection) -> None:
    storage = StatekeepStorage(served, ttl=0.4)
    await storage.write("a/b/c", b"1")
    assert await storage.read("a/b/c") == b"1"
    await asyncio.sleep(0.5)
    assert await storage.read("a/b/c") is None
    assert await storage.list("") == []


def test_ttl_of_a_session_is_that_of_its_last_write(served: statekeep.Connection) -> None:
    repository = StatekeepSessionRepository(served, ttl=1.5)
    repository.create_session(Session("ada", SessionType.AGENT))
    repository.create_agent("ada", SessionAgent("a", {}, {}))
    repository.create_multi_agent("ada", Graph("g"))
    for number in range(6):
        time.sleep(0.5)
        repository.create_message("ada", "a", SessionMessage({"role": "user", "content": []}, number))
    # Three seconds later all is there, although most of it was written but once.
    assert repository.read_session("ada") is not None
    assert repository.read_agent("ada", "a") is not None
    assert repository.read_multi_agent("ada", "g") is not None
    assert [found.message_id for found in repository.list_messages("ada", "a")] == list(range(6))
    ends = [item.expires_at for item in served.items.list(("strands", "sessions", "ada")) if item.expires_at]
    assert len(ends) == 9
    assert max(ends) - min(ends) < dt.timedelta(seconds=0.15)
    time.sleep(1.6)
    assert repository.read_session("ada") is None
    assert served.items.list_namespaces() == []


def test_a_session_that_is_written_to_often_is_renewed_seldom(proxy: CountingProxy, prefix: str) -> None:
    url = f"valkey://127.0.0.1:{proxy.port}"
    with StatekeepSessionRepository.from_url(url, prefix=prefix, ttl=3600) as repository:
        repository.create_session(Session("ada", SessionType.AGENT))
        repository.create_message("ada", "a", SessionMessage({"role": "user", "content": []}, 0))
        proxy.reset()
        for number in range(1, 20):
            repository.create_message("ada", "a", SessionMessage({"role": "user", "content": []}, number))
        assert proxy.turns == 19


def test_what_is_damaged_is_an_error(served: statekeep.Connection) -> None:
    repository = StatekeepSessionRepository(served)
    place = ("strands", "sessions", "ada")
    values: list[Any] = [3, "no json", "[1]", [], {"x": 1}, None]
    for value in values:
        served.items.put(place, "session", value)
        served.items.put(place, "message/a/000000000000", value)
        with pytest.raises(SessionException, match="damaged"):
            repository.read_session("ada")
        with pytest.raises(SessionException, match="damaged"):
            repository.list_messages("ada", "a")


async def test_bad_input(served: statekeep.Connection) -> None:
    repository = StatekeepSessionRepository(served)
    repository.create_session(Session("s", SessionType.AGENT))
    message = SessionMessage({"role": "user", "content": []}, 0)
    not_json = SessionMessage({"role": "user", "content": [{"json": object()}]}, 0)
    wrong: list[tuple[str, Callable[[], Any]]] = [
        ("namespace", lambda: StatekeepStorage(served, namespace="text")),
        ("namespace", lambda: StatekeepSessionRepository(served, namespace=("",))),
        ("ttl", lambda: StatekeepStorage(served, ttl=0)),
        ("ttl", lambda: StatekeepSessionRepository(served, ttl=-1)),
        ("keep", lambda: StatekeepStorage("memory:")),  # type: ignore[arg-type]
        ("keep", lambda: StatekeepStorage(served.logs)),  # type: ignore[arg-type]
        ("keep", lambda: StatekeepSessionRepository(None)),  # type: ignore[arg-type]
        ("url", lambda: StatekeepStorage.from_url("nowhere")),
        ("namespace", lambda: StatekeepStorage.from_url("embedded:", namespace=("",))),
        ("url", lambda: StatekeepSessionRepository.from_url("nowhere")),
        ("namespace", lambda: StatekeepSessionRepository.from_url("embedded:", namespace=("",))),
        ("session_id", lambda: repository.read_session("")),
        ("session_id", lambda: repository.read_session(None)),  # type: ignore[arg-type]
        ("session_id", lambda: repository.delete_session("x" * 10_000)),
        ("agent_id", lambda: repository.read_agent("s", "")),
        ("agent_id", lambda: repository.create_message("s", "a/b", message)),
        ("message_id", lambda: repository.read_message("s", "a", -1)),
        ("message_id", lambda: repository.read_message("s", "a", 10**12)),
        ("message_id", lambda: repository.read_message("s", "a", True)),
        ("limit", lambda: repository.list_messages("s", "a", limit=-1)),
        ("offset", lambda: repository.list_messages("s", "a", offset=-1)),
        ("value", lambda: repository.create_message("s", "a", not_json)),
        ("multi_agent_id", lambda: repository.read_multi_agent("s", "")),
    ]
    for field, make in wrong:
        with pytest.raises(InvalidInput) as caught:
            make()
        assert caught.value.field == field, field
    storage = StatekeepStorage(served)
    for call in (
        lambda: storage.write("key", "text"),  # type: ignore[arg-type]
        lambda: storage.write(3, b""),  # type: ignore[arg-type]
        lambda: storage.read(None),  # type: ignore[arg-type]
        lambda: storage.list(3),  # type: ignore[arg-type]
        lambda: storage.read("x" * 10_000),
        lambda: storage.write("\ud800", b""),
    ):
        with pytest.raises(StorageError):
            await call()
    with pytest.raises(StorageError):
        storage.namespace("..")


def test_a_service_without_items() -> None:
    url = "bedrock-sessions://?region=us-west-2"
    for make in (StatekeepStorage.from_url, StatekeepSessionRepository.from_url):
        with pytest.raises(Unsupported, match="no items"):
            make(url)


async def test_both_faces_and_their_items_serve(valkey_server: ValkeyServer, prefix: str) -> None:
    async with statekeep.aconnect(valkey_server.url, prefix=prefix) as keep:
        twin = statekeep.connect(valkey_server.url, prefix=prefix)
        async with twin.asyncio:
            keeps: list[Any] = [keep, keep.items, twin, twin.items]
            for number, each in enumerate(keeps):
                storage, repository = StatekeepStorage(each), StatekeepSessionRepository(each)
                await storage.write("key", f"{number}".encode())
                assert await StatekeepStorage(keep).read("key") == f"{number}".encode()
                repository.create_session(Session(f"{number}", SessionType.AGENT))
                assert StatekeepSessionRepository(twin).read_session(f"{number}") is not None


async def test_close(valkey_server: ValkeyServer, served: statekeep.Connection) -> None:
    async with StatekeepStorage(served) as storage:
        part = storage.namespace("part")
    with StatekeepSessionRepository(served) as repository:
        pass
    assert await part.read("x") is None  # the connection is not theirs
    assert repository.read_session("x") is None
    own = StatekeepStorage.from_url(valkey_server.url)
    await own.namespace("part").close()
    assert await own.read("x") is None
    await own.close()
    await own.close()
    with pytest.raises(StorageError) as late:
        await own.read("x")
    assert isinstance(late.value.__cause__, statekeep.ClientClosed)
    with contextlib.closing(StatekeepSessionRepository.from_url(valkey_server.url)) as mine:
        assert mine.read_session("x") is None
    with pytest.raises(SessionException):
        mine.read_session("x")
