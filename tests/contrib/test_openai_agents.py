"""Sessions of the OpenAI Agents SDK, driven by its own Runner: `make frameworks`, in an environment of its own."""

from __future__ import annotations

import asyncio
import functools
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

pytest.importorskip("agents", reason="openai-agents is not installed: `make frameworks` has it", exc_type=ImportError)

from agents import Agent, ModelResponse, RunConfig, Runner, SQLiteSession, Usage, function_tool
from agents.memory import Session, SessionSettings
from agents.models.interface import Model
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

import statekeep
from statekeep import InvalidInput, Unavailable, Unsupported
from statekeep.contrib.openai_agents import StatekeepSession
from statekeep.testing.servers import ValkeyServer
from tests.fenced import ROOT, run_page
from tests.integration.valkey.counting_proxy import CountingProxy

pytestmark = pytest.mark.anyio

PAGE = ROOT / "docs" / "frameworks" / "openai-agents.md"

SCRIPT = "from tests.contrib.test_openai_agents import converse; converse(*__import__('sys').argv[1:])"


class Fake(Model):  # type: ignore[misc]
    """A model that says what it is told to, and notes what it was asked."""

    def __init__(self, *outputs: Any) -> None:
        self.outputs = list(outputs)
        self.inputs: list[Any] = []
        self.hangs = asyncio.Event()

    async def get_response(self, system_instructions: Any, input: Any, *args: Any, **kwargs: Any) -> ModelResponse:
        self.inputs.append([dict(item) for item in input])
        output = self.outputs.pop(0)
        if output is None:
            self.hangs.set()
            await asyncio.sleep(60)
        if isinstance(output, str):
            content = ResponseOutputText(text=output, type="output_text", annotations=[])
            output = ResponseOutputMessage(
                id=f"m{len(self.inputs)}", type="message", role="assistant", content=[content], status="completed"
            )
        return ModelResponse(output=[output], usage=Usage(), response_id=None)

    def stream_response(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        raise NotImplementedError


def call_of_tool(city: str, number: int) -> ResponseFunctionToolCall:
    arguments = json.dumps({"city": city})
    return ResponseFunctionToolCall(
        id=f"f{number}", call_id=f"c{number}", type="function_call", name="weather", arguments=arguments
    )


@function_tool  # type: ignore[untyped-decorator]
def weather(city: str) -> str:
    """Tell the weather."""
    return f"rain in {city}"


def agent_of(model: Model) -> Agent[Any]:
    return Agent(name="clerk", instructions="Be brief.", model=model, tools=[weather])


CONFIG = RunConfig(tracing_disabled=True)


async def say(model: Model, text: str, session: Session) -> str:
    return str((await Runner.run(agent_of(model), text, session=session, run_config=CONFIG)).final_output)


def converse(url: str, session_id: str, text: str) -> None:
    """One turn in a process of its own; print what the model was asked."""

    async def main() -> None:
        model = Fake(f"you said {text}")
        async with StatekeepSession.from_url(session_id, url) as session:
            await say(model, text, session)
        print(json.dumps(model.inputs))

    asyncio.run(main())


@pytest.fixture
def keep(akeep: statekeep.AsyncConnection) -> statekeep.AsyncConnection:
    return akeep


@pytest.fixture
def served(aserved: statekeep.AsyncConnection) -> statekeep.AsyncConnection:
    return aserved


# -- the page about it


def test_the_page_runs(valkey_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    model = Fake("Good morning to you, too.")
    monkeypatch.setattr("agents.Agent", functools.partial(Agent, model=model))
    monkeypatch.setenv("OPENAI_AGENTS_DISABLE_TRACING", "1")
    run_page(PAGE, valkey_server)
    printed = capsys.readouterr().out
    assert printed.startswith("Good morning to you, too. 2\n('openai-agents', 'ada') 2 ")
    assert "Good morning!" in printed
    with statekeep.connect(valkey_server.url) as keep:
        keep.logs.delete(("openai-agents", "ada"))


# -- as the framework's own session does


async def scenario(session: Session) -> list[Any]:
    """Everything that a session does, and all that is seen of it."""
    seen: list[Any] = [await session.get_items(), await session.pop_item(), await session.get_items(3)]
    model = Fake("hello", call_of_tool("Oslo", 1), "bring an umbrella", "bye")
    for text in ("hi", "what is the weather in Oslo?", "thanks 😀 \ud7ff"):
        seen.append(await say(model, text, session))
        seen.append(await session.get_items())
    seen.append(model.inputs)
    seen += [await session.get_items(limit) for limit in (0, 1, 2, 100)]
    seen += [await session.pop_item(), await session.get_items(2)]
    await session.add_items([])
    await session.add_items([{"role": "user", "content": text} for text in ("", "{}", "\x00", "x" * 100_000)])
    seen.append(await session.get_items())
    assert session.session_settings is not None
    session.session_settings.limit = 2
    seen += [await session.get_items(), await session.get_items(3)]
    model = Fake("with two before")
    seen += [await say(model, "again", session), model.inputs]
    await session.clear_session()
    seen += [await session.get_items(), await session.pop_item()]
    await session.clear_session()
    return seen


async def test_it_does_as_the_sdks_own_session(keep: statekeep.AsyncConnection) -> None:
    mine = StatekeepSession("ada", keep)
    assert isinstance(mine, Session)
    theirs = SQLiteSession("ada")
    assert await scenario(mine) == await scenario(theirs)
    assert [log async for log in keep.logs.list()] == []
    theirs.close()


async def test_conversations_are_apart(keep: statekeep.AsyncConnection) -> None:
    ids = ["ada", "a.da", "ADA", "{}", ":", "*", "é", "\x00", "a\x00b", "openai-agents", " ", "😀" * 1000]
    sessions = [StatekeepSession(session_id, keep) for session_id in ids]
    sessions.append(StatekeepSession("ada", keep, namespace=("other", "tenant")))
    for number, session in enumerate(sessions):
        await session.add_items([{"role": "user", "content": f"{number}"}])
    for number, session in enumerate(sessions):
        assert await session.get_items() == [{"role": "user", "content": f"{number}"}]
    await sessions[0].clear_session()
    assert len([log async for log in keep.logs.list(prefix=("openai-agents",))]) == len(ids) - 1


# -- restarts and processes


async def test_a_restart_and_other_processes(valkey_server: ValkeyServer) -> None:
    session_id = "two processes"

    def run(text: str) -> Any:
        command = [sys.executable, "-c", SCRIPT, valkey_server.url, session_id, text]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    [first] = run("one")
    assert [item["role"] for item in first] == ["user"]
    [second] = run("two")
    assert [item.get("content") for item in second][0::2] == ["one", "two"]
    async with StatekeepSession.from_url(session_id, valkey_server.url) as session:
        model = Fake("here again")
        assert await say(model, "three", session) == "here again"
        assert len(model.inputs[0]) == 5
        await session.clear_session()


async def test_many_add_at_once(served: statekeep.AsyncConnection) -> None:
    """What is added together stays together, and nothing is lost."""
    sessions = [StatekeepSession("busy", served) for _ in range(10)]
    pairs = [[{"role": "user", "content": f"{n}"}, {"role": "assistant", "content": f"{n}"}] for n in range(50)]
    await asyncio.gather(*(sessions[n % 10].add_items(pair) for n, pair in enumerate(pairs)))
    items = await sessions[0].get_items()
    assert len(items) == 100
    assert [item["content"] for item in items[::2]] == [item["content"] for item in items[1::2]]
    popped = await asyncio.gather(*(sessions[n % 10].pop_item() for n in range(120)))
    there = [item for item in popped if item is not None]
    key: Callable[[Any], str] = lambda item: f"{item['role']} {item['content']}"  # noqa: E731
    assert sorted(map(key, there)) == sorted(map(key, items))
    assert await sessions[0].get_items() == []


# -- cancellation and outages


async def test_a_run_that_is_cancelled_can_go_on(keep: statekeep.AsyncConnection) -> None:
    session = StatekeepSession("ada", keep)
    await say(Fake("hello"), "hi", session)
    model = Fake(None)
    run = asyncio.ensure_future(say(model, "are you there?", session))
    await model.hangs.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    before = await session.get_items()
    model = Fake("yes")
    assert await say(model, "again?", session) == "yes"
    assert (await session.get_items())[: len(before)] == before
    assert model.inputs[0][:-1] == before


@pytest.mark.parametrize("delay", [0, 0.001, 0.05])
async def test_a_change_that_is_cancelled_is_done_when_that_is_told(
    served: statekeep.AsyncConnection, delay: float
) -> None:
    session = StatekeepSession("ada", served)
    for number in range(5):
        task = asyncio.ensure_future(session.add_items([{"role": "user", "content": f"{number}"}]))
        await asyncio.sleep(delay)
        was_done = task.done()
        task.cancel()
        task.cancel()
        if not was_done:
            with pytest.raises(asyncio.CancelledError):
                await task
        there = await session.get_items()
        await asyncio.sleep(0.02)
        # Nothing comes later.
        assert await session.get_items() == there
    await session.clear_session()


async def test_an_outage_is_an_error(prefix: str) -> None:
    with ValkeyServer() as server:
        async with StatekeepSession.from_url("ada", server.url, prefix=prefix, deadline=0.3) as session:
            await session.add_items([{"role": "user", "content": "hi"}])
            server.kill()
            for call in (session.get_items, session.pop_item, session.clear_session):
                with pytest.raises(Unavailable):
                    await call()
            with pytest.raises(Unavailable):
                await session.add_items([{"role": "user", "content": "lost"}])


# -- what it costs


@pytest.mark.parametrize("client", ["glide", "valkey-py"])
async def test_round_trips(proxy: CountingProxy, prefix: str, client: Any) -> None:
    url = f"valkey://127.0.0.1:{proxy.port}"
    items = [{"role": "user", "content": f"{number}"} for number in range(300)]
    async with StatekeepSession.from_url("ada", url, prefix=prefix, client=client) as session:

        async def turns(work: Any) -> int:
            proxy.reset()
            await work
            return proxy.turns

        async def all_of_them() -> list[int]:
            return [
                await turns(session.add_items(items)),
                await turns(session.get_items()),
                await turns(session.get_items(100)),
                await turns(session.pop_item()),
                await turns(session.clear_session()),
            ]

        await all_of_them()  # the connection is open then, and the server knows the scripts
        assert await all_of_them() == [1, 1, 1, 1, 1]
        assert await turns(session.add_items([])) == 0
        assert await turns(session.get_items(0)) == 0
        # A turn with a tool reads once and adds as often as the SDK saves.
        await turns(say(Fake("warm"), "hi", session))
        assert await turns(say(Fake("hello"), "hi", session)) == 3
        assert await turns(say(Fake(call_of_tool("Oslo", 1), "wet"), "weather?", session)) == 4


# -- time to live, serializers, bad input


async def test_ttl(served: statekeep.AsyncConnection) -> None:
    session = StatekeepSession("brief", served, ttl=0.5)
    await session.add_items([{"role": "user", "content": "a"}])
    await asyncio.sleep(0.3)
    await session.add_items([{"role": "user", "content": "b"}])
    await asyncio.sleep(0.3)
    assert len(await session.get_items()) == 2
    await asyncio.sleep(0.3)
    assert await session.get_items() == []


class Backwards:
    """A serializer that hides what it serializes, as one that encrypts does."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        return "backwards", json.dumps(obj).encode()[::-1]

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        assert data[0] == "backwards"
        return json.loads(data[1][::-1])


async def test_serializers(served: statekeep.AsyncConnection, valkey_server: ValkeyServer, prefix: str) -> None:
    session = StatekeepSession("ada", served, serializer=Backwards())
    model = Fake("the secret is out", "bye")
    await say(model, "my secret", session)
    await say(model, "thanks", session)
    assert model.inputs[1][0]["content"] == "my secret"
    with valkey_server.client() as client:
        keys = list(client.scan_iter(f"{prefix}:*", _type="list"))
        assert len(keys) == 1
        assert not any(b"secret" in element for element in client.lrange(keys[0], 0, -1))
    with pytest.raises(InvalidInput, match="backwards") as caught:
        await StatekeepSession("ada", served).get_items()
    assert caught.value.field == "serializer"


async def test_bad_input(served: statekeep.AsyncConnection) -> None:
    wrong: list[tuple[str, Callable[[], Any]]] = [
        ("session_id", lambda: StatekeepSession("", served)),
        ("session_id", lambda: StatekeepSession(None, served)),  # type: ignore[arg-type]
        ("namespace", lambda: StatekeepSession("a", served, namespace="text")),
        ("namespace", lambda: StatekeepSession("a", served, namespace=("",))),
        ("ttl", lambda: StatekeepSession("a", served, ttl=0)),
        ("keep", lambda: StatekeepSession("a", statekeep.connect("memory:"))),  # type: ignore[arg-type]
        ("keep", lambda: StatekeepSession("a", statekeep.connect("memory:").logs)),  # type: ignore[arg-type]
        ("keep", lambda: StatekeepSession("a", "memory:")),  # type: ignore[arg-type]
        ("serializer", lambda: StatekeepSession("a", served, serializer=json)),  # type: ignore[arg-type]
        ("session_settings", lambda: StatekeepSession("a", served, session_settings={"limit": "many"})),
        ("session_settings", lambda: StatekeepSession("a", served, session_settings={"limits": 1})),
        ("session_settings", lambda: StatekeepSession("a", served, session_settings=3)),
        ("session_id", lambda: StatekeepSession.from_url("", "memory:")),
        ("namespace", lambda: StatekeepSession.from_url("a", "embedded:", namespace=("",))),
        ("url", lambda: StatekeepSession.from_url("a", "nowhere")),
    ]
    for field, make in wrong:
        with pytest.raises(InvalidInput) as caught:
            make()
        assert caught.value.field == field, field
    session = StatekeepSession("a", served, session_settings={"limit": 1})
    assert session.session_settings == SessionSettings(limit=1)
    with pytest.raises(InvalidInput) as caught:
        await session.add_items([{"role": "user", "content": "a"}, {"score": float("-inf")}])
    assert caught.value.field == "values"
    with pytest.raises(InvalidInput):
        await session.get_items("3")  # type: ignore[arg-type]
    assert await session.get_items() == await session.get_items(-1) == []


async def test_a_service_without_logs() -> None:
    url = "bedrock-sessions://?region=us-west-2"
    with pytest.raises(Unsupported, match="no logs"):
        StatekeepSession.from_url("ada", url)


async def test_close(valkey_server: ValkeyServer, served: statekeep.AsyncConnection) -> None:
    async with StatekeepSession("ada", served) as session:
        await session.clear_session()
    await session.close()
    assert await session.get_items() == []  # the connection is not the session's
    own = StatekeepSession.from_url("ada", valkey_server.url)
    assert await own.get_items() == []
    await own.close()
    await own.close()
    with pytest.raises(statekeep.ClientClosed):
        await own.get_items()
