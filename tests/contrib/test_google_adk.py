"""Sessions and memory of Google's ADK, driven by its own Runner: `make frameworks`, in an environment of its own."""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("google.adk", reason="google-adk is not installed: `make frameworks` has it", exc_type=ImportError)

from google.adk.agents import LlmAgent
from google.adk.cli.service_registry import get_service_registry, load_services_module
from google.adk.cli.utils.service_factory import create_session_service_from_options
from google.adk.errors import StaleSessionError
from google.adk.errors.already_exists_error import AlreadyExistsError
from google.adk.errors.session_not_found_error import SessionNotFoundError
from google.adk.events.event import Event
from google.adk.events.event_actions import EventActions
from google.adk.memory import InMemoryMemoryService
from google.adk.memory.base_memory_service import BaseMemoryService
from google.adk.memory.memory_entry import MemoryEntry
from google.adk.models.base_llm import BaseLlm
from google.adk.models.llm_response import LlmResponse
from google.adk.runners import Runner
from google.adk.sessions import InMemorySessionService, Session
from google.adk.sessions.base_session_service import BaseSessionService, GetSessionConfig
from google.adk.tools import ToolContext, load_memory
from google.genai import types
from pydantic import PrivateAttr

import statekeep
from statekeep import CorruptRecord, InvalidInput, Unavailable, Unsupported, VectorIndex
from statekeep.contrib.google_adk import StatekeepMemoryService, StatekeepSessionService
from statekeep.testing.embedding import DIMS, letter_counts
from statekeep.testing.servers import ValkeyCluster, ValkeyServer
from tests.fenced import ROOT, run_page
from tests.integration.valkey.counting_proxy import CountingProxy

pytestmark = pytest.mark.anyio

PAGE = ROOT / "docs" / "frameworks" / "google-adk.md"

SCRIPT = "from tests.contrib.test_google_adk import converse; converse(*__import__('sys').argv[1:])"

APP = "clerks"
SPACE = ("google-adk", APP)
WHO: dict[str, Any] = {"app_name": APP, "user_id": "ada"}
CHAT: dict[str, Any] = {**WHO, "session_id": "chat"}


class Fake(BaseLlm):  # type: ignore[misc]
    """A model that says what it is told to, and notes what it was asked."""

    model: str = "fake"
    _outputs: list[Any] = PrivateAttr(default_factory=list)
    _inputs: list[Any] = PrivateAttr(default_factory=list)
    _hangs: asyncio.Event = PrivateAttr(default_factory=asyncio.Event)

    def __init__(self, *outputs: Any) -> None:
        super().__init__()
        self._outputs = list(outputs)

    async def generate_content_async(self, request: Any, stream: bool = False) -> AsyncGenerator[LlmResponse, None]:
        self._inputs.append([content.model_dump(mode="json", exclude_none=True) for content in request.contents])
        output = self._outputs.pop(0)
        if output is None:
            self._hangs.set()
            await asyncio.sleep(60)
        part = types.Part(text=output) if isinstance(output, str) else output
        yield LlmResponse(content=types.Content(role="model", parts=[part]))


def call_of(name: str, **args: Any) -> types.Part:
    return types.Part(function_call=types.FunctionCall(id="c1", name=name, args=args))


def remember_city(city: str, tool_context: ToolContext) -> str:
    """Note where the user lives."""
    tool_context.state["user:city"] = city
    tool_context.state["app:cities"] = [*tool_context.state.get("app:cities", []), city]
    tool_context.state["temp:asked"] = True
    tool_context.state["count"] = tool_context.state.get("count", 0) + 1
    return f"it rains in {city}"


def runner_of(model: Fake, sessions: BaseSessionService, memory: BaseMemoryService | None = None) -> Runner:
    tools: list[Any] = [remember_city] if memory is None else [remember_city, load_memory]
    agent = LlmAgent(name="clerk", model=model, instruction="Be brief.", tools=tools, output_key="said")
    return Runner(app_name=APP, agent=agent, session_service=sessions, memory_service=memory)


async def say(
    model: Fake, text: str, sessions: BaseSessionService, memory: BaseMemoryService | None = None, name: str = "chat"
) -> str:
    message = types.Content(role="user", parts=[types.Part(text=text)])
    said = ""
    async for event in runner_of(model, sessions, memory).run_async(
        user_id="ada", session_id=name, new_message=message
    ):
        if event.content and event.content.parts and event.content.parts[0].text:
            said = event.content.parts[0].text
    return said


def event_of(text: str = "hi", name: str = "", /, **state: Any) -> Event:
    return Event(
        id=name or Event.new_id(),
        author="user",
        invocation_id="i",
        content=types.Content(role="user", parts=[types.Part(text=text)]),
        actions=EventActions(state_delta=state),
    )


def texts(session: Session | None) -> list[str] | None:
    if session is None:
        return None
    return [event.content.parts[0].text for event in session.events if event.content and event.content.parts]


def plain(session: Session | None) -> Any:
    """A session as JSON, without what differs from run to run."""

    def without(value: Any) -> Any:
        if isinstance(value, dict):
            ignored = ("id", "invocation_id", "timestamp", "last_update_time")
            return {key: without(each) for key, each in value.items() if key not in ignored}
        return [without(each) for each in value] if isinstance(value, list) else value

    return None if session is None else (session.id, without(session.model_dump(mode="json", exclude_none=True)))


def converse(uri: str, name: str, text: str) -> None:
    """One turn in a process of its own; print what the model was asked."""

    async def main() -> None:
        model = Fake(f"you said {text}")
        async with StatekeepSessionService(uri=uri) as sessions:
            if await sessions.get_session(**WHO, session_id=name) is None:
                await sessions.create_session(**WHO, session_id=name)
            await say(model, text, sessions, name=name)
        print(json.dumps(model._inputs))

    asyncio.run(main())


@pytest.fixture
def keep(akeep: statekeep.AsyncConnection) -> statekeep.AsyncConnection:
    return akeep


@pytest.fixture
def served(aserved: statekeep.AsyncConnection) -> statekeep.AsyncConnection:
    return aserved


async def keys(keep: statekeep.AsyncConnection, prefix: str = "") -> list[str]:
    return [item.key async for item in keep.items.list(SPACE, prefix=prefix)]


# -- the page about it


def test_the_page_runs(valkey_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    model = Fake("Good morning to you, too.")
    monkeypatch.setattr("google.adk.agents.LlmAgent", lambda **more: LlmAgent(**{**more, "model": model}))
    run_page(PAGE, valkey_server)
    assert capsys.readouterr().out.startswith("2 events, {'said': 'Good morning to you, too.'}\n")
    with statekeep.connect(valkey_server.url) as keep:
        keep.items.clear(("google-adk",), below=True)


# -- as the framework's own services do


async def scenario(sessions: BaseSessionService) -> list[Any]:
    """Everything that the service does, and all that is seen of it."""
    seen: list[Any] = [await sessions.get_session(**CHAT), (await sessions.list_sessions(**WHO)).sessions]
    seen.append(await sessions.get_user_state(**WHO))
    state = {"app:name": "Clerks", "user:name": "Ada", "mood": {"good": True}, "temp:no": 1, "none": None}
    seen.append(plain(await sessions.create_session(**CHAT, state=state)))
    model = Fake("hello", call_of("remember_city", city="Oslo"), "bring an umbrella", "bye")
    for text in ("hi", "I live in Oslo", "thanks 😀 \ud7ff"):
        seen.append(await say(model, text, sessions))  # noqa: PERF401 - it is asynchronous
    seen += [model._inputs, plain(await sessions.get_session(**CHAT)), await sessions.get_user_state(**WHO)]
    whole = await sessions.get_session(**CHAT)
    assert whole is not None
    times = [event.timestamp for event in whole.events]
    for number in (0, 1, 3, 100):
        seen.append(plain(await sessions.get_session(**CHAT, config=GetSessionConfig(num_recent_events=number))))
    for time in (times[0], times[2], times[-1], times[-1] + 1, 0.0):
        seen.append(plain(await sessions.get_session(**CHAT, config=GetSessionConfig(after_timestamp=time))))
    both = GetSessionConfig(num_recent_events=3, after_timestamp=times[1])
    seen.append(plain(await sessions.get_session(**CHAT, config=both)))
    # Other sessions, users and apps: each has its own states.
    for more in (
        {**WHO, "session_id": " padded ", "state": {"user:name": "Ada L."}},
        {"app_name": APP, "user_id": "bob", "session_id": "chat"},
        {"app_name": "other", "user_id": "ada", "session_id": "chat"},
    ):
        seen.append(plain(await sessions.create_session(**more)))
    named = await sessions.create_session(**WHO, session_id="  ")
    assert named.id.strip()
    await sessions.delete_session(**WHO, session_id=named.id)
    later = await sessions.get_session(**CHAT)
    assert later is not None
    event = event_of("more", **{"app:name": "Clerks Ltd", "temp:x": 1, "mood": None})
    returned = await sessions.append_event(later, event)
    assert returned is event
    seen += [plain(later), dict(event.actions.state_delta)]
    assert later.last_update_time == event.timestamp
    # Once more, and a part of an answer: neither is stored.
    await sessions.append_event(later, event)
    await sessions.append_event(later, Event(author="clerk", partial=True))
    seen.append(plain(await sessions.get_session(**CHAT)))
    for where in ({}, {"user_id": "ada"}, {"user_id": "bob"}, {"user_id": "carl"}):
        found = await sessions.list_sessions(app_name=APP, **where)
        seen.append([plain(session) for session in found.sessions])
    calls: list[Callable[[], Awaitable[Any]]] = [
        lambda: sessions.create_session(**CHAT),
        lambda: sessions.append_event(Session(id="none", **WHO), event_of()),
    ]
    for call in calls:
        with pytest.raises((AlreadyExistsError, SessionNotFoundError)) as caught:
            await call()
        seen.append((type(caught.value), str(caught.value)))
    await sessions.delete_session(**CHAT)
    await sessions.delete_session(**CHAT)
    seen += [await sessions.get_session(**CHAT), await sessions.get_user_state(**WHO)]
    again = await sessions.create_session(**CHAT)
    seen.append(plain(again))
    await sessions.append_event(again, event_of("anew"))
    seen.append(plain(await sessions.get_session(**CHAT)))
    await sessions.flush()
    return seen


async def test_it_does_as_the_frameworks_own_service(keep: statekeep.AsyncConnection) -> None:
    assert await scenario(StatekeepSessionService(keep)) == await scenario(InMemorySessionService())


async def test_in_a_cluster(valkey_cluster: ValkeyCluster, prefix: str) -> None:
    async with statekeep.aconnect(valkey_cluster.url, prefix=prefix) as keep:
        assert await scenario(StatekeepSessionService(keep)) == await scenario(InMemorySessionService())


async def test_nothing_is_left_of_a_deleted_session(keep: statekeep.AsyncConnection) -> None:
    sessions = StatekeepSessionService(keep)
    session = await sessions.create_session(**CHAT)
    for number in range(3):
        await sessions.append_event(session, event_of(f"{number}"))
    await sessions.delete_session(**CHAT)
    assert await keys(keep) == []


async def test_events_come_back_as_they_were(keep: statekeep.AsyncConnection) -> None:
    sessions = StatekeepSessionService(keep)
    state = {
        "deep": {"none": None, "list": [1, None, {"n": 2**70}]},
        "least": -math.inf,
        "empty": None,
        "text": '"\x00😀',
    }
    session = await sessions.create_session(**CHAT, state=state)
    assert session.state == state
    event = Event(
        author="clerk",
        invocation_id="i",
        content=types.Content(
            role="model",
            parts=[
                types.Part(inline_data=types.Blob(data=bytes(range(256)), mime_type="image/png")),
                types.Part(function_call=types.FunctionCall(name="f", args={"a": None, "b": [1.5]})),
            ],
        ),
        avg_logprobs=-math.inf,
        long_running_tool_ids={"b", "a"},
        custom_metadata={"none": None, "least": -math.inf},
        actions=EventActions(state_delta={"new": {"none": None}, "empty": None, "least": -math.inf}),
    )
    await sessions.append_event(session, event)
    there = await StatekeepSessionService(keep).get_session(**CHAT)
    assert there is not None
    assert there.events == [event]
    assert there.state == session.state == {**state, "new": {"none": None}}


async def test_names_may_be_any_text(keep: statekeep.AsyncConnection) -> None:
    sessions = StatekeepSessionService(keep)
    names = ["a", "a:b", "a%3Ab", "{}", "*", "é", "\x00", "😀" * 100, "state", "user:a"]
    for user in names:
        session = await sessions.create_session(app_name=APP, user_id=user, session_id="s:s", state={"user:me": user})
        await sessions.append_event(session, event_of(user))
    for user in names:
        session = await sessions.get_session(app_name=APP, user_id=user, session_id="s:s")
        assert texts(session) == [user]
        assert session is not None
        assert session.state == {"user:me": user}
        assert len((await sessions.list_sessions(app_name=APP, user_id=user)).sessions) == 1
    everybody = (await sessions.list_sessions(app_name=APP)).sessions
    assert sorted((session.user_id, session.state["user:me"]) for session in everybody) == sorted(
        zip(names, names, strict=True)
    )


async def test_memory_does_as_the_frameworks_own_service(keep: statekeep.AsyncConnection) -> None:
    """Found by shared words, as no vectors are made here."""

    async def scenario(memory: BaseMemoryService) -> list[Any]:
        async def search(query: str, **more: Any) -> list[Any]:
            found = await memory.search_memory(**{**WHO, **more}, query=query)
            return [(entry.id, entry.author, entry.content.parts[0].text) for entry in found.memories]

        seen: list[Any] = [await search("tea")]
        session = Session(id="chat", **WHO)
        session.events = [
            event_of("Ada likes green tea", "e1"),
            event_of("Bob likes coffee, not TEA", "e2"),
            Event(id="e3", author="clerk"),
            event_of("größer, 日本語 text", "e4"),
        ]
        await memory.add_session_to_memory(session)
        await memory.add_session_to_memory(session)
        await memory.add_events_to_memory(**WHO, events=session.events[:1], session_id="chat")
        await memory.add_events_to_memory(**WHO, events=[event_of("green fields", "e5")], session_id="other")
        for query in ("tea", "likes green TEA?", "GRÖSSER größer", "本", "gr", "nothing", "", "green"):
            seen.append(await search(query))  # noqa: PERF401 - it is asynchronous
        seen += [await search("tea", user_id="bob"), await search("tea", app_name="other")]
        await memory.delete_memory(**WHO, memory_id="e1")
        await memory.delete_memory(**WHO, memory_id="e1")
        await memory.delete_memory(**WHO)
        seen.append(await search("green tea"))
        await memory.add_session_to_memory(session)
        seen.append(await search("green tea"))
        many = [event_of(f"tea {number}", f"m{number:03}") for number in range(300)]
        await memory.add_events_to_memory(**WHO, events=many, session_id="many")
        seen.append(len(await search("tea")))
        return seen

    assert await scenario(StatekeepMemoryService(keep)) == await scenario(InMemoryMemoryService())


async def test_a_memory_that_is_deleted_while_it_is_added_stays_away(
    keep: statekeep.AsyncConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, other = StatekeepMemoryService(keep), StatekeepMemoryService(keep)
    batch, names = memory._items.batch, iter(["e1"])

    async def read_and_be_overtaken(operations: Any) -> Any:
        found = await batch(operations)
        for name in names:
            await other.delete_memory(**WHO, memory_id=name)
        return found

    monkeypatch.setattr(memory._items, "batch", read_and_be_overtaken)
    await memory.add_events_to_memory(**WHO, events=[event_of("tea", "e1"), event_of("tea", "e2")])
    found = await other.search_memory(**WHO, query="tea")
    assert [entry.id for entry in found.memories] == ["e2"]


async def test_an_agent_looks_into_its_memory(keep: statekeep.AsyncConnection) -> None:
    sessions, memory = StatekeepSessionService(keep), StatekeepMemoryService(keep)
    first = await sessions.create_session(**CHAT)
    await say(Fake("noted"), "My bicycle is red", sessions)
    first = await sessions.get_session(**CHAT)
    await memory.add_session_to_memory(first)
    await sessions.create_session(**WHO, session_id="later")
    model = Fake(call_of("load_memory", query="which colour is my bicycle"), "red")
    assert await say(model, "Which colour is my bicycle?", sessions, memory, "later") == "red"
    assert "My bicycle is red" in json.dumps(model._inputs[1])


async def test_memory_by_meaning(valkey_server: ValkeyServer, prefix: str) -> None:
    index = VectorIndex(dims=DIMS, embed=letter_counts, fields=["text"])
    async with statekeep.aconnect(valkey_server.url, prefix=prefix, index=index) as keep:
        memory = StatekeepMemoryService(keep, limit=2)
        words = ("zzzz zzz", "aaaa aaab", "aaaa aaaa", "zyzy")
        entries = [MemoryEntry(id=word, content=types.Content(parts=[types.Part(text=word)])) for word in words]
        await memory.add_memory(**WHO, memories=entries, custom_metadata={"least": -math.inf})
        found = (await memory.search_memory(**WHO, query="aaaaaa")).memories
        assert [entry.id for entry in found] == ["aaaa aaaa", "aaaa aaab"]
        assert found[0].custom_metadata == {"least": -math.inf}
        await memory.delete_memory(**WHO, memory_id="aaaa aaaa")
        found = (await memory.search_memory(**WHO, query="aaaaaa")).memories
        assert next(entry.id for entry in found) == "aaaa aaab"
        assert "aaaa aaaa" not in [entry.id for entry in found]


# -- restarts, processes, and others at the same time


async def test_a_restart_and_other_processes(valkey_server: ValkeyServer) -> None:
    name = "two processes"

    def run(text: str) -> Any:
        command = [sys.executable, "-c", SCRIPT, valkey_server.url, name, text]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert [len(contents) for contents in run("one")] == [1]
    [second] = run("two")
    assert [content["parts"][0]["text"] for content in second] == ["one", "you said one", "two"]
    async with StatekeepSessionService(uri=valkey_server.url) as sessions:
        model = Fake("here again")
        assert await say(model, "three", sessions, name=name) == "here again"
        assert len(model._inputs[0]) == 5
        await sessions.delete_session(**WHO, session_id=name)


@pytest.mark.parametrize("name", ["last", "user:last", "app:last"])
async def test_of_many_writers_one_wins(served: statekeep.AsyncConnection, name: str) -> None:
    services = [StatekeepSessionService(served) for _ in range(8)]
    await services[0].create_session(**CHAT)
    for turn in range(5):
        loaded = [await service.get_session(**CHAT) for service in services]
        appends = [
            service.append_event(session, event_of(f"{turn}", count=turn, **{name: number}))
            for number, (service, session) in enumerate(zip(services, loaded, strict=True))
            if session is not None
        ]
        results = await asyncio.gather(*appends, return_exceptions=True)
        assert sum(isinstance(result, StaleSessionError) for result in results) == 7
        assert sum(isinstance(result, Event) for result in results) == 1
        winner = [isinstance(result, Event) for result in results].index(True)
        there = await services[0].get_session(**CHAT)
        assert texts(there) == [str(number) for number in range(turn + 1)]
        assert there is not None
        # The states are the winner's: they are one unit with its event.
        assert there.state == {"count": turn, name: winner}
        # Who lost loads the session again, and goes on.
        assert [session.events for session in loaded if session is not None].count(there.events) == 1


async def test_states_of_apps_lose_no_change(served: statekeep.AsyncConnection) -> None:
    """Sessions that change the state of their app at once do not disturb each other."""
    services = [StatekeepSessionService(served) for _ in range(6)]
    sessions = [
        await service.create_session(app_name=APP, user_id=f"u{number}", state={f"app:s{number}": 0})
        for number, service in enumerate(services)
    ]
    for turn in range(1, 4):
        await asyncio.gather(
            *(
                service.append_event(session, event_of(**{f"app:s{number}": turn}))
                for number, (service, session) in enumerate(zip(services, sessions, strict=True))
            )
        )
    there = await services[0].get_session(app_name=APP, user_id="u0", session_id=sessions[0].id)
    assert there is not None
    assert there.state == {f"app:s{number}": 3 for number in range(6)}


async def test_who_read_a_session_before_it_was_deleted_is_late(keep: statekeep.AsyncConnection) -> None:
    first, second = StatekeepSessionService(keep), StatekeepSessionService(keep)
    await first.create_session(**CHAT)
    old = await second.get_session(**CHAT)
    assert old is not None
    await first.delete_session(**CHAT)
    with pytest.raises(SessionNotFoundError):
        await second.append_event(old, event_of("late"))
    await first.create_session(**CHAT)
    event = event_of("late", **{"temp:x": 1, "y": 2})
    with pytest.raises(StaleSessionError):
        await second.append_event(old, event)
    # Nothing happened to the session, nor to the event.
    assert (old.events, old.state, event.actions.state_delta) == ([], {}, {"temp:x": 1, "y": 2})
    fresh = await second.get_session(**CHAT)
    assert fresh is not None
    await second.append_event(fresh, event)
    assert texts(await first.get_session(**CHAT)) == ["late"]


async def test_sessions_without_a_marker(keep: statekeep.AsyncConnection) -> None:
    """Those that were sent as JSON, or made by hand."""
    sessions = StatekeepSessionService(keep)
    session = await sessions.create_session(**CHAT)
    await sessions.append_event(session, event_of("one"))
    sent = Session.model_validate_json(session.model_dump_json())
    assert sent._storage_update_marker is None
    await sessions.append_event(sent, event_of("two"))
    late = Session.model_validate_json(session.model_dump_json())
    with pytest.raises(StaleSessionError):
        await sessions.append_event(late, event_of("three"))
    by_hand = Session(id="chat", **WHO)
    with pytest.raises(StaleSessionError):
        await sessions.append_event(by_hand, event_of("three"))
    assert texts(await sessions.get_session(**CHAT)) == ["one", "two"]


async def test_of_many_creators_one_wins(served: statekeep.AsyncConnection) -> None:
    services = [StatekeepSessionService(served) for _ in range(6)]
    results = await asyncio.gather(
        *(service.create_session(**CHAT, state={"user:n": n}) for n, service in enumerate(services)),
        return_exceptions=True,
    )
    assert sum(isinstance(result, AlreadyExistsError) for result in results) == 5
    [winner] = [result for result in results if isinstance(result, Session)]
    assert await services[0].get_user_state(**WHO) == {"n": winner.state["user:n"]}


async def test_many_events(keep: statekeep.AsyncConnection) -> None:
    sessions = StatekeepSessionService(keep)
    session = await sessions.create_session(**CHAT)
    for number in range(1050):
        event = event_of(f"{number}", f"e{number}")
        event.timestamp = float(number)
        await sessions.append_event(session, event)
    other = StatekeepSessionService(keep)
    wanted = [str(number) for number in range(1050)]
    assert texts(await other.get_session(**CHAT)) == wanted
    for config, first in (
        (GetSessionConfig(num_recent_events=700), 350),
        (GetSessionConfig(after_timestamp=799.5), 800),
        (GetSessionConfig(after_timestamp=0, num_recent_events=3), 1047),
    ):
        assert texts(await other.get_session(**CHAT, config=config)) == wanted[first:]
    deletion = asyncio.ensure_future(sessions.delete_session(**CHAT))
    first = 0
    while not deletion.done():
        await asyncio.sleep(0)  # reading in memory never waits
        there = texts(await other.get_session(**CHAT))
        if there is not None:
            assert there == wanted[-len(there) :]
            assert 1050 - len(there) >= first
            first = 1050 - len(there)
    await deletion
    assert await keys(keep) == []


# -- cancellation and outages


async def test_a_run_that_is_cancelled_can_go_on(keep: statekeep.AsyncConnection) -> None:
    sessions = StatekeepSessionService(keep)
    await sessions.create_session(**CHAT)
    await say(Fake("hello"), "hi", sessions)
    model = Fake(None)
    run = asyncio.ensure_future(say(model, "are you there?", sessions))
    await model._hangs.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert await say(Fake("yes"), "again?", sessions) == "yes"
    assert texts(await sessions.get_session(**CHAT)) == ["hi", "hello", "are you there?", "again?", "yes"]


@pytest.mark.parametrize("delay", [0, 0.001, 0.05])
async def test_an_event_that_is_cancelled_is_done_when_that_is_told(
    served: statekeep.AsyncConnection, delay: float
) -> None:
    sessions, other = StatekeepSessionService(served), StatekeepSessionService(served)
    session = await sessions.create_session(**CHAT)
    for number in range(5):
        task = asyncio.ensure_future(sessions.append_event(session, event_of(f"{number}")))
        await asyncio.sleep(delay)
        was_done = task.done()
        task.cancel()
        task.cancel()
        if not was_done:
            with pytest.raises(asyncio.CancelledError):
                await task
        there = texts(await other.get_session(**CHAT))
        await asyncio.sleep(0.02)
        # Nothing comes later, and the session has what is stored.
        assert texts(await other.get_session(**CHAT)) == there == texts(session)


async def test_an_outage_is_an_error(prefix: str) -> None:
    with ValkeyServer() as server:
        async with StatekeepSessionService(uri=server.url, prefix=prefix, deadline=0.3) as sessions:
            session = await sessions.create_session(**CHAT)
            server.kill()
            event = event_of("lost")
            calls: list[Callable[[], Awaitable[Any]]] = [
                lambda: sessions.get_session(**CHAT),
                lambda: sessions.list_sessions(**WHO),
                lambda: sessions.delete_session(**CHAT),
                lambda: sessions.create_session(**WHO),
                lambda: sessions.get_user_state(**WHO),
                lambda: sessions.append_event(session, event),
            ]
            for call in calls:
                with pytest.raises(Unavailable):
                    await call()
            assert session.events == []


# -- what it costs


@pytest.mark.parametrize("client", ["glide", "valkey-py"])
async def test_round_trips(proxy: CountingProxy, prefix: str, client: Any) -> None:
    uri = f"valkey://127.0.0.1:{proxy.port}"
    async with (
        StatekeepSessionService(uri=uri, prefix=prefix, client=client) as sessions,
        StatekeepMemoryService(uri=uri, prefix=prefix, client=client) as memory,
    ):

        async def turns(work: Any) -> int:
            proxy.reset()
            await work
            return proxy.turns

        async def all_of_them(name: str) -> dict[str, int]:
            who: dict[str, Any] = {"app_name": name, "user_id": "ada"}
            chat = {**who, "session_id": "chat"}
            found = {"create": await turns(sessions.create_session(**chat))}
            found["create with states"] = await turns(sessions.create_session(**who, state={"user:a": 1, "app:b": 2}))
            session = await sessions.get_session(**chat)
            assert session is not None
            for number in range(20):
                await sessions.append_event(session, event_of(f"{number}"))
            found["append"] = await turns(sessions.append_event(session, event_of("more", x=1)))
            found["append with states"] = await turns(
                sessions.append_event(session, event_of("more", **{"user:a": 1, "app:b": 2}))
            )
            found["get"] = await turns(sessions.get_session(**chat))
            fresh = StatekeepSessionService(sessions._items)
            found["get what others wrote"] = await turns(fresh.get_session(**chat))
            read = await fresh.get_session(**chat)
            assert read is not None
            await sessions.append_event(session, event_of("others"))
            found["get with one more"] = await turns(fresh.get_session(**chat))
            assert [*(texts(read) or []), "others"] == texts(await fresh.get_session(**chat))
            found["get without events"] = await turns(
                sessions.get_session(**chat, config=GetSessionConfig(num_recent_events=0))
            )
            found["list"] = await turns(sessions.list_sessions(**who))
            found["list again"] = await turns(sessions.list_sessions(**who))
            found["list all"] = await turns(sessions.list_sessions(app_name=name))
            found["user state"] = await turns(sessions.get_user_state(**who))
            found["remember"] = await turns(memory.add_session_to_memory(session))
            found["remember again"] = await turns(memory.add_session_to_memory(session))
            found["search"] = await turns(memory.search_memory(**who, query="more"))
            found["search again"] = await turns(memory.search_memory(**who, query="tea"))
            found["forget"] = await turns(memory.delete_memory(**who, memory_id=session.events[0].id))
            found["delete"] = await turns(sessions.delete_session(**chat))
            return found

        await all_of_them("warm")  # the connections are open then, and the server knows the scripts
        found = await all_of_them("app")
        assert found == {
            "create": 1,
            "create with states": 2,
            "append": 1,
            "append with states": 1,
            "get": 1,
            "get what others wrote": 2,
            "get with one more": 2,
            "get without events": 1,
            "list": 2,
            "list again": 1,
            "list all": 2,
            "user state": 1,
            "remember": 2,
            "remember again": 1,
            "search": 2,
            "search again": 1,
            "forget": 1,
            "delete": 2,
        }
        await sessions.create_session(**CHAT)
        await say(Fake("warm"), "hi", sessions)
        # It is read once, and two events are appended.
        assert await turns(say(Fake("hello"), "hi", sessions)) == 3


# -- URIs, time to live, damage, bad input


async def test_uris_of_the_command_line(valkey_server: ValkeyServer, tmp_path: Path) -> None:
    kinds = {"session": StatekeepSessionService, "memory": StatekeepMemoryService}
    lines = ["services:"]
    for kind, cls in kinds.items():
        lines += [f"  - scheme: valkey\n    type: {kind}\n    class: statekeep.contrib.google_adk.{cls.__name__}"]
    (tmp_path / "services.yaml").write_text("\n".join(lines))
    load_services_module(str(tmp_path))
    sessions = create_session_service_from_options(
        base_dir=tmp_path, session_service_uri=valkey_server.url, session_db_kwargs={"pool_size": 3}
    )
    assert isinstance(sessions, StatekeepSessionService)
    memory = get_service_registry().create_memory_service(valkey_server.url, agents_dir=str(tmp_path))
    assert isinstance(memory, StatekeepMemoryService)
    session = await sessions.create_session(**CHAT)
    await sessions.append_event(session, event_of("by a URI"))
    await memory.add_session_to_memory(session)
    assert len((await memory.search_memory(**WHO, query="URI")).memories) == 1
    await sessions.delete_session(**CHAT)
    await memory.delete_memory(**WHO, memory_id=session.events[0].id)
    await sessions.close()
    await memory.close()


async def test_ttl(served: statekeep.AsyncConnection) -> None:
    """It lives from its last event on, with all of its events, however old. States stay."""
    sessions = StatekeepSessionService(served, ttl=0.6)
    session = await sessions.create_session(**CHAT, state={"user:name": "Ada"})
    for number in range(12):
        await sessions.append_event(session, event_of(f"{number}"))
        await asyncio.sleep(0.3)
    assert texts(await sessions.get_session(**CHAT)) == [str(number) for number in range(12)]
    await asyncio.sleep(0.5)
    assert await sessions.get_session(**CHAT) is None
    assert await sessions.get_user_state(**WHO) == {"name": "Ada"}
    # One of the same name has none of the old one's events.
    session = await sessions.create_session(**CHAT)
    await sessions.append_event(session, event_of("new"))
    assert texts(await sessions.get_session(**CHAT)) == ["new"]
    await asyncio.sleep(2.6)
    assert await keys(served) == ["state:user:ada"]


async def test_damage_is_an_error(served: statekeep.AsyncConnection) -> None:
    sessions = StatekeepSessionService(served)
    session = await sessions.create_session(**CHAT, state={"app:a": 1, "user:b": 2})
    await sessions.append_event(session, event_of("one"))
    await sessions.append_event(session, event_of("two"))
    for key in await keys(served):
        item = await served.items.get(SPACE, key)
        assert item is not None
        for value in (None, "{", "[]", {"id": 1}):
            await served.items.put(SPACE, key, value)
            with pytest.raises(CorruptRecord) as caught:
                await sessions.get_session(**CHAT)
            assert caught.value.key == key
        await served.items.put(SPACE, key, item.value)
    [first, _] = await keys(served, "event:")
    await served.items.delete(SPACE, first)
    with pytest.raises(CorruptRecord) as caught:
        await sessions.get_session(**CHAT)
    assert caught.value.key == first
    await sessions.delete_session(**CHAT)
    memory = StatekeepMemoryService(served)
    await memory.add_events_to_memory(**WHO, events=[event_of("tea", "e1")])
    space = ("google-adk-memory", APP, "ada")
    await served.items.put(space, "memory:e1", {"text": "tea"})
    with pytest.raises(CorruptRecord):
        await memory.search_memory(**WHO, query="tea")


async def test_bad_input(served: statekeep.AsyncConnection) -> None:
    for cls in (StatekeepSessionService, StatekeepMemoryService):
        wrong: list[tuple[str, Callable[[], Any]]] = [
            ("keep", lambda cls=cls: cls()),  # type: ignore[misc]
            ("keep", lambda cls=cls: cls(served, uri="memory:")),  # type: ignore[misc]
            ("keep", lambda cls=cls: cls("memory:")),  # type: ignore[misc]
            ("namespace", lambda cls=cls: cls(served, namespace="text")),  # type: ignore[misc]
            ("namespace", lambda cls=cls: cls(uri="embedded:", namespace=("",))),  # type: ignore[misc]
            ("ttl", lambda cls=cls: cls(served, ttl=0)),  # type: ignore[misc]
            ("uri", lambda cls=cls: cls(uri=3)),  # type: ignore[misc]
            ("pool_size", lambda cls=cls: cls(served, pool_size=3)),  # type: ignore[misc]
        ]
        for field, make in wrong:
            with pytest.raises(InvalidInput) as caught:
                make()
            assert caught.value.field in (field, "url") if field == "uri" else caught.value.field == field, field
    with pytest.raises(InvalidInput):
        StatekeepMemoryService(served, limit=-1)
    sessions = StatekeepSessionService(served)
    session = await sessions.create_session(**CHAT)
    calls: list[tuple[str, Callable[[], Awaitable[Any]]]] = [
        ("app_name", lambda: sessions.create_session(app_name="", user_id="ada")),
        ("user_id", lambda: sessions.create_session(app_name=APP, user_id="\ud800")),
        ("session_id", lambda: sessions.get_session(**WHO, session_id="\ud800")),
        ("state", lambda: sessions.create_session(**WHO, state={"x": object()})),
        ("event", lambda: sessions.append_event(session, Event(author="clerk", output=object()))),
    ]
    for field, call in calls:
        with pytest.raises(InvalidInput) as caught:
            await call()
        assert caught.value.field == field, field
    assert await keys(served) == ["session:ada:chat"]


async def test_services_without_items() -> None:
    for cls in (StatekeepSessionService, StatekeepMemoryService):
        with pytest.raises(Unsupported, match="no items"):
            cls(uri="bedrock-sessions://?region=us-west-2")


async def test_close(valkey_server: ValkeyServer, served: statekeep.AsyncConnection) -> None:
    async with StatekeepSessionService(served) as sessions:
        await sessions.get_session(**CHAT)
    assert await sessions.get_session(**CHAT) is None  # the connection is not the service's
    own = StatekeepSessionService.from_url(valkey_server.url, namespace=("other",))
    assert await own.get_session(**CHAT) is None
    await own.close()
    await own.close()
    with pytest.raises(statekeep.ClientClosed):
        await own.get_session(**CHAT)
