"""LangGraph's checkpointer on the emulated AgentCore Memory: actors, clients, errors, quotas, long threads."""

from __future__ import annotations

import copy
import operator
import os
import pickle
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Annotated, Any, TypedDict

import pytest
from botocore.config import Config
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Send, interrupt
from pydantic import SecretStr

import statekeep
from statekeep.domain import (
    AccessDenied,
    ClientClosed,
    CorruptRecord,
    InvalidInput,
    QuotaExceeded,
    StatekeepError,
    Throttled,
    Unavailable,
)
from statekeep.langgraph_shim import AgentCoreMemorySaver
from statekeep.langgraph_shim.checkpoint import of_actors
from statekeep.langgraph_shim.checkpoint.actors import OwnedThread
from statekeep.repositories.agentcore import AgentCoreCheckpoints, Progress
from statekeep.testing.aws import AgentCoreRules, AwsEmulator, cut_before, refuse, throttle
from tests.notices import all_notices

from ..agentcore.emulated import Memory, Worlds, hurry

pytestmark = pytest.mark.anyio


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


def at(thread_id: str = "t", actor_id: str | None = None, **more: Any) -> Any:
    actor = {} if actor_id is None else {"actor_id": actor_id}
    return {"configurable": {"thread_id": thread_id, **actor, **more}}


def noting(saver: BaseCheckpointSaver[str], name: str = "note") -> Any:
    """A graph of one node that adds to the log."""
    builder = StateGraph(State).add_node("node", lambda state: {"log": [name]})
    return builder.add_edge(START, "node").add_edge("node", END).compile(checkpointer=saver)


def asking(saver: BaseCheckpointSaver[str]) -> Any:
    """A graph with a nested one that asks twice, beside a node that does not."""

    def ask(state: State) -> State:
        name = interrupt("name?")
        return {"log": [f"{name}, {interrupt('age?')}"]}

    inner = StateGraph(State).add_node("ask", ask).add_edge(START, "ask").add_edge("ask", END).compile()
    builder = StateGraph(State).add_node("inner", inner).add_node("beside", lambda state: {"log": ["beside"]})
    builder.add_edge(START, "inner").add_edge(START, "beside").add_edge(["inner", "beside"], END)
    return builder.compile(checkpointer=saver)


Open = Callable[..., AgentCoreMemorySaver]


@pytest.fixture
def memory(worlds: Worlds) -> Memory:
    aws = worlds.emulator("plain")
    return Memory(aws, aws.agentcore.create_memory())


@pytest.fixture
def opened(worlds: Worlds, memory: Memory) -> Iterator[Open]:
    """Opens a saver that knows nothing yet, as another process would."""
    with ExitStack() as stack:
        client = worlds.client("plain")
        yield lambda **options: stack.enter_context(AgentCoreMemorySaver(memory.id, client=client, **options))


@pytest.fixture
def saver(opened: Open) -> AgentCoreMemorySaver:
    return opened()


# -- actors


async def test_threads_of_different_actors_are_different_threads(saver: AgentCoreMemorySaver) -> None:
    graph = noting(saver)
    graph.invoke({"log": ["ada"]}, at(actor_id="ada"))
    await graph.ainvoke({"log": ["bob"]}, at(actor_id="bob"))
    graph.invoke({"log": ["nobody"]}, at())
    for actor, log in (("ada", "ada"), ("bob", "bob"), (None, "nobody"), ("default", "nobody")):
        assert graph.get_state(at(actor_id=actor)).values == {"log": [log, "note"]}
        assert (await graph.aget_state(at(actor_id=actor))).values == {"log": [log, "note"]}
    assert saver.get_tuple(at(actor_id="eve")) is None
    assert list(saver.list(at(actor_id="eve"))) == []


def test_an_actor_may_be_any_text(saver: AgentCoreMemorySaver) -> None:
    actors = ["a b", "ada:x", "ada", "☃", "statekeep-threads", "x" * 300, "*", "{}", "%2F", "\x00", "a|b"]
    for actor in actors:
        noting(saver, actor).invoke({"log": []}, at(actor_id=actor))
    for actor in actors:
        found = saver.get_tuple(at(actor_id=actor))
        assert found is not None
        assert found.checkpoint["channel_values"]["log"] == [actor]
    assert {found.config["configurable"]["actor_id"] for found in saver.list(None)} == set(actors)


async def test_configs_say_whose_thread_it_is(saver: AgentCoreMemorySaver) -> None:
    graph = noting(saver)
    graph.invoke({"log": []}, at(actor_id="ada"))
    history = list(graph.get_state_history(at(actor_id="ada")))
    assert history == [state async for state in graph.aget_state_history(at(actor_id="ada"))]
    for state in history:
        assert state.config["configurable"]["actor_id"] == "ada"
        assert graph.get_state(state.config).values == state.values
    assert history[1].config == history[0].parent_config
    forked = graph.update_state(history[1].config, {"log": ["forked"]})
    assert graph.get_state(forked).values == {"log": ["forked"]}
    assert graph.get_state(at()).values == {}
    found = saver.get_tuple(at(actor_id="ada"))
    assert found is not None
    assert saver.put(found.config, found.checkpoint, found.metadata, {}) == found.config
    plain = noting(saver).invoke({"log": []}, at("other"))
    assert plain == {"log": ["note"]}
    other = saver.get_tuple(at("other"))
    assert other is not None
    assert other.config["configurable"].keys() == {"thread_id", "checkpoint_ns", "checkpoint_id"}


async def test_states_of_nested_graphs_are_those_of_the_actor(saver: AgentCoreMemorySaver) -> None:
    graph = asking(saver)
    for actor, name in (("ada", "Ada"), ("bob", "Bob"), (None, "Nobody")):
        graph.invoke({"log": []}, at(actor_id=actor))
        graph.invoke(Command(resume=name), at(actor_id=actor))
    for actor in ("ada", "bob", None):
        for state in (
            graph.get_state(at(actor_id=actor), subgraphs=True),
            await graph.aget_state(at(actor_id=actor), subgraphs=True),
        ):
            [task] = [task for task in state.tasks if task.name == "inner"]
            assert task.state.next == ("ask",)
            assert [asked.value for asked in task.interrupts] == ["age?"]
            found = task.state.config["configurable"]
            assert found.get("actor_id") == actor
        [task] = [task for task in graph.get_state(at(actor_id=actor)).tasks if task.name == "inner"]
        # LangGraph takes the thread id of our config, and nothing else.
        assert "actor_id" not in task.state["configurable"]
        assert graph.get_state(task.state).next == ("ask",)
    done = graph.invoke(Command(resume=36), at(actor_id="ada"))
    assert sorted(done["log"]) == ["Ada, 36", "beside"]
    assert graph.get_state(at(actor_id="bob")).next == ("inner",)


def test_a_thread_id_that_knows_its_actor_is_the_text_that_it_is() -> None:
    thread = OwnedThread("t", "ada")
    assert (thread, hash(thread)) == ("t", hash("t"))
    for same in (copy.copy(thread), copy.deepcopy(thread), pickle.loads(pickle.dumps(thread))):
        assert (same, same.actor_id) == ("t", "ada")


@pytest.mark.parametrize("actor", ["", 5.0, True, None, b"ada"])
def test_a_wrong_actor_is_refused(actor: Any, saver: AgentCoreMemorySaver) -> None:
    with pytest.raises(InvalidInput, match="actor_id") as caught:
        saver.get_tuple({"configurable": {"thread_id": "t", "actor_id": actor}})
    assert caught.value.field == "config.configurable.actor_id"


def states(saver: AgentCoreMemorySaver) -> dict[tuple[str, str], int]:
    """How many checkpoints each thread of each actor has."""
    counts: dict[tuple[str, str], int] = {}
    for found in saver.list(None):
        place = found.config["configurable"]["actor_id"], found.config["configurable"]["thread_id"]
        counts[place] = counts.get(place, 0) + 1
    return counts


async def test_savers_of_actors_are_made_once(saver: AgentCoreMemorySaver, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    of_actor = AgentCoreCheckpoints.of_actor

    def count(backend: AgentCoreCheckpoints, actor_id: str) -> AgentCoreCheckpoints:
        made.append(actor_id)
        return of_actor(backend, actor_id)

    monkeypatch.setattr(AgentCoreCheckpoints, "of_actor", count)
    graph = noting(saver)
    for actor in ("ada", "bob", "ada"):
        await graph.ainvoke({"log": [actor]}, at(actor_id=actor))
        assert graph.get_state(at(actor_id=actor)).values["log"][-2:] == [actor, "note"]
    assert made == ["ada", "bob"]

    monkeypatch.setattr(of_actors, "ACTORS", 3)
    for number in range(8):
        assert saver.get_tuple(at(actor_id=f"actor {number}")) is None
        assert len(saver._savers) <= 3


def test_a_saver_of_an_actor_has_the_serializer_of_its_maker(saver: AgentCoreMemorySaver) -> None:
    """Also when a saver was copied, as LangGraph does to add types, or got another one."""
    noting(saver).invoke({"log": ["x"]}, at(actor_id="ada"))
    assert [len(list(saver.list(at(actor_id="ada")))), len(saver._savers)] == [3, 1]
    copied = copy.copy(saver)
    assert copied._savers == {}
    for changed in (copied, saver):
        changed.serde = Refusing()
        with pytest.raises(CorruptRecord, match="I read nothing"):
            list(changed.list(at(actor_id="ada")))
        with pytest.raises(CorruptRecord, match="I read nothing"):
            changed.get_tuple(at(actor_id="ada"))


class Refusing(JsonPlusSerializer):
    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        raise ValueError("I read nothing")


def test_savers_of_actors_live_no_longer_than_their_maker(worlds: Worlds, memory: Memory) -> None:
    saver = AgentCoreMemorySaver(memory.id, client=worlds.client("plain"))
    saver.get_tuple(at(actor_id="ada"))
    of_ada = weakref.ref(saver._savers["ada"])
    saver.close()
    with pytest.raises(ClientClosed, match="closed"):
        saver.get_tuple(at(actor_id="ada"))
    del saver
    assert of_ada() is None


async def test_deleting_a_thread_of_which_nobody_says_whose(saver: AgentCoreMemorySaver, opened: Open) -> None:
    for actor, thread in (("ada", "one"), ("ada", "both"), ("bob", "both"), ("bob", "two"), (None, "mine")):
        noting(saver).invoke({"log": []}, at(thread, actor))
    other = opened()
    other.delete_thread("one")
    await other.adelete_thread("mine")
    await other.adelete_thread("unknown")
    left = {("ada", "both"): 3, ("bob", "both"): 3, ("bob", "two"): 3}
    assert states(other) == left
    with pytest.raises(InvalidInput, match="thread of 2 actors \\('ada', 'bob'\\); say whose with actor_id=") as caught:
        other.delete_thread("both")
    assert caught.value.field == "actor_id"
    with pytest.raises(InvalidInput, match="thread of 2 actors"):
        await other.aprune(["two", "both"], strategy="delete")
    with pytest.raises(InvalidInput, match="thread of 2 actors"):
        other.copy_thread("both", "copy")
    assert states(other) == left
    other.delete_thread("both", actor_id="ada")
    found = other.get_tuple(at("two", "bob"))
    assert found is not None
    other.delete_thread(found.config["configurable"]["thread_id"])
    assert states(other) == {("bob", "both"): 3}
    await other.adelete_thread("both")
    assert states(other) == {}


async def test_copies_and_pruned_threads_stay_with_their_actor(saver: AgentCoreMemorySaver, opened: Open) -> None:
    noting(saver).invoke({"log": []}, at("one", "ada"))
    noting(saver).invoke({"log": []}, at("two", "bob"))
    other = opened()
    other.copy_thread("one", "copy")
    await other.acopy_thread("copy", "again")
    assert states(other) == {("ada", "one"): 3, ("ada", "copy"): 3, ("ada", "again"): 3, ("bob", "two"): 3}
    other.prune(["one", "two"])
    await other.aprune(["again"], strategy="delete")
    assert states(other) == {("ada", "one"): 1, ("ada", "copy"): 3, ("bob", "two"): 1}
    with pytest.raises(InvalidInput, match="keep_latest"):
        other.prune(["one"], strategy="all")
    with pytest.raises(InvalidInput, match="thread_ids"):
        other.prune("one")
    with pytest.raises(InvalidInput, match="target_thread_id"):
        other.copy_thread("one", "")


async def test_runs_are_deleted_whosesoever_they_are(saver: AgentCoreMemorySaver, opened: Open) -> None:
    for actor in ("ada", "bob"):
        for run in ("r1", "r2"):
            noting(saver).invoke({"log": []}, {**at(actor_id=actor), "metadata": {"run_id": run}})
    opened().delete_for_runs(["r1"])
    assert states(saver) == {("ada", "t"): 3, ("bob", "t"): 3}
    await opened().adelete_for_runs(["r2", "unknown"])
    assert states(saver) == {}
    with pytest.raises(InvalidInput, match="run_ids"):
        saver.delete_for_runs("r1")


def test_a_thread_id_of_a_returned_config_knows_its_actor(saver: AgentCoreMemorySaver, opened: Open) -> None:
    for actor in ("ada", "bob"):
        noting(saver).invoke({"log": []}, at(actor_id=actor))
    found = saver.get_tuple(at(actor_id="bob"))
    assert found is not None
    thread = found.config["configurable"]["thread_id"]
    opened().prune([thread])
    assert states(saver) == {("ada", "t"): 3, ("bob", "t"): 1}
    opened().copy_thread(thread, "copy")
    opened().delete_thread(thread)
    assert states(saver) == {("ada", "t"): 3, ("bob", "copy"): 1}


async def test_listing_everything(saver: AgentCoreMemorySaver) -> None:
    for number, (actor, thread) in enumerate((("ada", "a"), ("bob", "b"), ("ada", "c"), (None, "d"))):
        noting(saver).invoke({"log": []}, {**at(thread, actor), "metadata": {"number": number}})
    owners = [("default", "d"), ("ada", "c"), ("bob", "b"), ("ada", "a")]

    async def listed(config: Any, **conditions: Any) -> list[tuple[str, str]]:
        found = list(saver.list(config, **conditions))
        assert found == [one async for one in saver.alist(config, **conditions)]
        places = [one.config["configurable"] for one in found]
        return [(place["actor_id"], place["thread_id"]) for place in places]

    everything = [place for place in owners for _ in range(3)]
    assert await listed(None) == await listed({}) == everything
    assert await listed(None, limit=4) == everything[:4]
    assert await listed(None, limit=0) == []
    assert await listed(None, filter={"number": 1}) == [("bob", "b")] * 3
    assert await listed(None, before=at(checkpoint_id="0")) == []
    assert await listed({"configurable": {"actor_id": "ada"}}) == [("ada", "c")] * 3 + [("ada", "a")] * 3
    assert await listed({"configurable": {"actor_id": "ada"}}, limit=4) == [("ada", "c")] * 3 + [("ada", "a")]
    with pytest.raises(InvalidInput, match="limit"):
        saver.list(None, limit=-1)
    with pytest.raises(InvalidInput, match="thread_id"):
        saver.list({"configurable": {}})


def test_calls(saver: AgentCoreMemorySaver, memory: Memory, opened: Open) -> None:
    graph = noting(saver)
    graph.invoke({"log": []}, at(actor_id="ada"))
    with memory.aws.record() as calls:
        graph.invoke({"log": []}, at(actor_id="ada"))
    # Get the newest; three checkpoints, each with a look at the thread, and the writes of two tasks.
    assert calls.operations == {"ListEvents": 3 + 3, "CreateEvent": 3 * 2 + 2}
    found = saver.get_tuple(at(actor_id="ada"))
    assert found is not None
    for config, count in ((at(actor_id="ada"), 3), (found.config, 1)):
        with memory.aws.record() as calls:
            assert opened().get_tuple(config) == found
        assert calls.operations == {"ListEvents": count}
    with memory.aws.record() as calls:
        assert list(opened().list(at(actor_id="ada"), limit=1)) == [found]
    assert calls.operations == {"ListEvents": 3}


def test_progress_of_a_deletion(opened: Open) -> None:
    reports: list[Progress] = []
    saver = opened(progress=reports.append)
    noting(saver).invoke({"log": []}, at(actor_id="ada"))
    assert reports == []
    saver.delete_thread("t")
    assert (reports[-1].sessions, reports[-1].thread_id) == (reports[-1].of_sessions, "t")


# -- the same as in memory


class Loop(TypedDict, total=False):
    count: int
    log: Annotated[list[int], operator.add]


def loop(saver: BaseCheckpointSaver[str], steps: int) -> Any:
    builder = StateGraph(Loop).add_node("step", lambda state: {"count": state["count"] + 1, "log": [state["count"]]})
    builder.add_edge(START, "step")
    builder.add_conditional_edges("step", lambda state: END if state["count"] >= steps else "step", ["step", END])
    return builder.compile(checkpointer=saver)


def test_a_thread_of_300_steps_is_that_of_memory(worlds: Worlds, saver: AgentCoreMemorySaver) -> None:
    config = {**at(actor_id="ada"), "recursion_limit": 400}
    seen = []
    for each in (InMemorySaver(), saver):
        graph = loop(each, 300)
        assert graph.invoke({"count": 0, "log": []}, config)["count"] == 300
        history = list(graph.get_state_history(config))
        middle = history[150]
        replayed = loop(each, 200).invoke(None, middle.config)
        seen.append(
            (
                [(state.values, state.next, state.metadata, [task.name for task in state.tasks]) for state in history],
                replayed,
                len(list(graph.get_state_history(config))),
            )
        )
    assert len(seen[0][0]) == 302
    assert seen[0] == seen[1]


def parallel(saver: BaseCheckpointSaver[str], runs: list[str]) -> Any:
    """Five tasks, of which two ask something."""

    def work(number: int) -> State:
        runs.append(f"{number}")
        if number % 2:
            return {"log": [f"{number}: {interrupt(f'{number}?')}"]}
        return {"log": [f"{number}"]}

    builder: Any = StateGraph(State)
    builder.add_node("work", work).add_node("end", lambda state: {"log": ["end"]})
    builder.add_conditional_edges(START, lambda state: [Send("work", number) for number in range(5)], ["work"])
    return builder.add_edge("work", "end").compile(checkpointer=saver)


@pytest.mark.parametrize("world", ["plain", "small pages", "faults"])
def test_parallel_tasks_with_interrupts_are_as_in_memory(
    world: str, worlds: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch)
    client = worlds.client(world)
    ours = AgentCoreMemorySaver(worlds.emulator(world).agentcore.create_memory(), client=client, inline=10)
    seen = []
    for saver in (InMemorySaver(), ours):
        runs: list[str] = []
        graph = parallel(saver, runs)
        asked = sorted(graph.invoke({"log": []}, at())["__interrupt__"], key=lambda one: str(one.value))
        answers = {one.id: one.value.removesuffix("?") * 2 for one in asked}
        once = graph.invoke(Command(resume=dict(list(answers.items())[:1])), at())
        done = graph.invoke(Command(resume=dict(list(answers.items())[1:])), at())
        history = [(state.values, state.next, state.metadata) for state in graph.get_state_history(at())]
        seen.append(([one.value for one in asked], len(once["__interrupt__"]), done, history, sorted(runs)))
    assert seen[0] == seen[1]
    # Those that were done are not run again; the first of the two that ask runs twice, the other three times.
    assert len(seen[1][4]) == 5 + 2 + 1


def test_large_values_are_cut_into_events(saver: AgentCoreMemorySaver, memory: Memory) -> None:
    data = os.urandom(20_000_000)

    class Large(TypedDict, total=False):
        data: bytes
        echo: bytes

    builder = StateGraph(Large).add_node("node", lambda state: {"echo": state["data"]})
    graph = builder.add_edge(START, "node").compile(checkpointer=saver)
    with memory.aws.record() as calls:
        graph.invoke({"data": data}, at())
    # The input, then twice a pending write and a value, in three events each, of less than 10 MB.
    assert max(call.request_bytes for call in calls) < 10_000_000
    assert calls.request_bytes < 5.1 * 4 / 3 * len(data)
    assert graph.get_state(at()).values == {"data": data, "echo": data}


# -- clients


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No credentials, no region, no files."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return monkeypatch


def test_a_saver_made_as_users_do(environment: pytest.MonkeyPatch, memory: Memory) -> None:
    environment.setenv("AWS_ENDPOINT_URL_BEDROCK_AGENTCORE", memory.aws.endpoint_url)
    keys: dict[str, Any] = {"aws_access_key_id": "AKIA", "aws_secret_access_key": SecretStr("secret")}
    with AgentCoreMemorySaver(memory.id, region_name="us-west-2", **keys) as saver:
        assert noting(saver).invoke({"log": []}, at(actor_id="ada")) == {"log": ["note"]}
        assert "secret" not in repr(saver)
        assert (saver.memory_id, saver.actor_id) == (memory.id, "default")
    with pytest.raises(ClientClosed, match="closed"):
        saver.get_tuple(at())
    url = f"agentcore://{memory.id}?region=us-west-2&actor_id=ada"
    with statekeep.connect(url, **keys) as keep:
        assert [thread.thread_id for thread in keep.checkpoints.list_threads()] == ["t"]
    arn = f"arn:aws:bedrock-agentcore:us-west-2:123456789012:memory/{memory.id}"
    with statekeep.connect(f"agentcore://{arn}", region_name="us-west-2", actor_id="ada", **keys) as keep:
        assert keep.checkpoints.get("t") is not None


async def test_a_url_for_asyncio(memory: Memory) -> None:
    url = f"agentcore://{memory.id}"
    async with statekeep.aconnect(url, session=memory.aws.session(), actor_id="ada") as keep:
        await keep.checkpoints.put(statekeep.Checkpoint(thread_id="t"))
        assert await keep.checkpoints.get("t") is not None
        put = await keep.items.put(("users", "ada"), "theme", "dark", ttl=3600)
        assert not keep.has_logs
        with pytest.raises(
            statekeep.Unsupported, match=r"^AgentCoreCheckpoints keeps checkpoints and items, and no logs"
        ):
            _ = keep.logs
        with pytest.raises(
            statekeep.Unsupported, match=r"^AgentCoreCheckpoints keeps checkpoints and items, and no cache entries"
        ):
            _ = keep.cache
    with statekeep.connect(url, session=memory.aws.session(), ttl=60) as blocking:
        assert blocking.checkpoints.get("t") is None
        assert blocking.items.get(("users", "ada"), "theme") == put
        assert blocking.items.put(("n",), "k", 1).expires_at is not None


def test_a_client_of_the_user_stays_open(worlds: Worlds, memory: Memory) -> None:
    client = worlds.client("plain")
    with AgentCoreMemorySaver(memory.id, client=client) as saver:
        noting(saver).invoke({"log": []}, at())
    assert client.list_actors(memoryId=memory.id)["actorSummaries"]


@pytest.mark.parametrize(
    ("field", "value", "match"),
    [
        ("inline", -1, "integer"),
        ("actor_id", "", "empty"),
        ("serde", 5, "serde"),
        ("progress", 1, "function"),
        ("regionname", "x", "regionname"),
        ("endpoint_url", "localhost", "http"),
    ],
)
def test_wrong_arguments(field: str, value: Any, match: str, memory: Memory) -> None:
    with pytest.raises(InvalidInput, match=match) as caught:
        AgentCoreMemorySaver(memory.id, **{"region_name": "us-west-2", field: value})
    assert caught.value.field == field


def test_arguments_of_before_are_accepted(memory: Memory, caplog: pytest.LogCaptureFixture) -> None:
    with all_notices():
        AgentCoreMemorySaver(
            memory.id,
            region_name="us-west-2",
            limit=10,
            max_results=100,
            max_retries=3,
            initial_backoff=0.1,
            max_backoff=2.0,
            checkpoint_format="snapshot",
        ).close()
        AgentCoreMemorySaver(memory.id, region_name="us-west-2", limit=10).close()
    said = sorted(record.message.partition(":")[0] for record in caplog.records if record.name == "statekeep.aws")
    names = ("checkpoint_format", "initial_backoff", "limit", "max_backoff", "max_results", "max_retries")
    assert said == [f"{name} has no effect" for name in names]


@pytest.mark.parametrize("memory_id", ["", "notes", "notes-Ab12Cd34E", "1notes-Ab12Cd34Ef", "arn:aws:s3:::x", 5, None])
def test_a_malformed_memory_id(memory_id: Any) -> None:
    with pytest.raises(InvalidInput, match="memory_id") as caught:
        AgentCoreMemorySaver(memory_id, region_name="us-west-2")
    assert caught.value.field == "memory_id"


@pytest.mark.parametrize(
    ("url", "options", "field"),
    [
        ("agentcore://notes-Ab12Cd34Ef?regoin=x", {}, "regoin"),
        ("agentcore://notes-Ab12Cd34Ef?region", {}, "url"),
        ("agentcore://notes-Ab12Cd34Ef?region=a&region_name=b", {}, "region_name"),
        ("agentcore://notes-Ab12Cd34Ef?region=a", {"region_name": "b"}, "region_name"),
        ("agentcore://", {}, "memory_id"),
        ("agentcore:notes-Ab12Cd34Ef", {}, "url"),
        ("agentcore://notes-Ab12Cd34Ef", {"pool_size": 0}, "pool_size"),
    ],
)
def test_wrong_urls(url: str, options: dict[str, Any], field: str, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("AWS_DEFAULT_REGION", "us-west-2")
    with pytest.raises(InvalidInput) as caught:
        statekeep.connect(url, **options)
    assert caught.value.field == field


# -- what goes wrong


def test_no_region(environment: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match="pass region_name=") as caught:
        AgentCoreMemorySaver("notes-Ab12Cd34Ef")
    assert caught.value.field == "region_name"


def test_no_credentials(environment: pytest.MonkeyPatch, memory: Memory) -> None:
    with AgentCoreMemorySaver(memory.id, region_name="us-west-2", endpoint_url=memory.aws.endpoint_url) as saver:
        with pytest.raises(AccessDenied, match="set AWS_ACCESS_KEY_ID"):
            noting(saver).invoke({"log": []}, at())


def test_a_memory_that_does_not_exist(worlds: Worlds) -> None:
    saver = AgentCoreMemorySaver("unknown-0123456789", client=worlds.client("plain"))
    for call in (lambda: saver.get_tuple(at()), lambda: saver.delete_thread("t"), lambda: list(saver.list(None))):
        with pytest.raises(InvalidInput, match="no such memory in the region us-east-1") as caught:
            call()
        assert caught.value.field == "memory_id"


ERRORS: dict[str, tuple[Any, type[StatekeepError], str]] = {
    "expired token": (refuse("ExpiredTokenException"), AccessDenied, "have expired; renew them"),
    "wrong keys": (refuse("UnrecognizedClientException"), AccessDenied, "check the access key"),
    "throttled": (throttle("CreateEvent"), Throttled, "let fewer threads write"),
    "over a quota": (refuse("ServiceQuotaExceededException", status=402), QuotaExceeded, "Service Quotas"),
    "too large": (refuse("RequestEntityTooLargeException", status=413), QuotaExceeded, "store less in one value"),
    "away": (cut_before(), Unavailable, "connection broke"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_say_what_to_do_and_leave_nothing(name: str) -> None:
    fault, kind, advice = ERRORS[name]
    with AwsEmulator() as aws:
        client = aws.client("bedrock-agentcore", config=Config(retries={"total_max_attempts": 1}))
        saver = AgentCoreMemorySaver(aws.memory_id, client=client)
        graph = noting(saver)
        graph.invoke({"log": []}, at())
        before = list(saver.list(at()))
        for skip in range(4):
            with aws.failing(fault.__class__(**{**_fields(fault), "skip": skip})):
                with pytest.raises(kind, match=advice):
                    graph.invoke({"log": ["more"]}, at(), durability="sync")
            after = list(saver.list(at()))
            # What was acknowledged before is there, and no more than what is whole.
            assert after[-len(before) :] == before
            assert all(graph.get_state(found.config).values is not None for found in after)
        with aws.failing(fault.__class__(**{**_fields(fault), "operations": None})), pytest.raises(kind):
            saver.get_tuple(at())


def _fields(fault: Any) -> dict[str, Any]:
    return {name: getattr(fault, name) for name in fault.__slots__ if name != "__weakref__"}


def test_quotas() -> None:
    """A fan-out and a deletion that exceed what the service takes in a second share events, or wait."""
    with AwsEmulator(agentcore=AgentCoreRules(quotas=True)) as aws:
        with AgentCoreMemorySaver(aws.memory_id, session=aws.session()) as saver:
            builder: Any = StateGraph(State).add_node("work", lambda number: {"log": [f"{number}"]})
            builder.add_conditional_edges(START, lambda state: [Send("work", number) for number in range(25)], ["work"])
            graph = builder.compile(checkpointer=saver)
            with aws.record() as calls:
                done = graph.invoke({"log": []}, at(actor_id="ada"))
            assert done["log"] == [f"{number}" for number in range(25)]
            assert {call.status for call in calls} <= {200, 201, 429}
            found = saver.get_tuple(at(actor_id="ada"))
            assert found is not None
            assert found.checkpoint["channel_values"]["log"] == done["log"]
            saver.delete_thread("t")
            assert saver.get_tuple(at(actor_id="ada")) is None


def test_a_run_goes_on_when_another_process_deletes_its_thread(opened: Open) -> None:
    class Chat(TypedDict, total=False):
        document: str
        log: Annotated[list[str], operator.add]

    here, there = opened(), opened()

    def delete(state: Chat) -> Chat:
        there.delete_thread("t")
        return {"log": ["two"]}

    builder: Any = StateGraph(Chat).add_node("one", lambda state: {"log": ["one"]})
    builder.add_node("two", delete)
    builder.add_node("three", lambda state: {"log": ["three"]})
    graph = builder.add_sequence([("four", lambda state: {"log": ["four"]})])
    graph.add_edge(START, "one").add_edge("one", "two").add_edge("two", "three").add_edge("three", "four")
    document = "x" * 50_000
    done = graph.compile(checkpointer=here).invoke(
        {"document": document, "log": []}, at(actor_id="ada"), durability="sync"
    )
    assert done["log"] == ["one", "two", "three", "four"]
    # All that was put since the deletion is whole, and found without knowing the actor.
    states = list(opened().list(at(actor_id="ada")))
    assert len(states) == 3
    assert all(state.checkpoint["channel_values"]["document"] == document for state in states)
    there.delete_thread("t")
    assert list(opened().list(None)) == []


@pytest.fixture
def short_lived() -> Iterator[tuple[AwsEmulator, str]]:
    with AwsEmulator() as aws:
        yield aws, aws.agentcore.create_memory(event_expiry_days=7)


def test_a_thread_in_use_outlives_its_events(short_lived: tuple[AwsEmulator, str], worlds: Worlds) -> None:
    """Values that do not change, and what the lists say, are stored again before they expire."""
    aws, memory_id = short_lived
    document = "x" * 50_000

    class Chat(TypedDict, total=False):
        document: str
        messages: Annotated[list[str], operator.add]

    client = aws.client("bedrock-agentcore")
    for day in range(0, 20, 2):
        # The clock of the service is set, and not ours: here a day is over at once.
        saver = AgentCoreMemorySaver(memory_id, client=client, inline=1000, renewal=1e-9)
        builder = StateGraph(Chat).add_node("node", lambda state: {"messages": ["hello"]})
        graph = builder.add_edge(START, "node").compile(checkpointer=saver)
        given: Any = {"document": document, "messages": []} if day == 0 else {"messages": [f"day {day}"]}
        graph.invoke(given, at(actor_id="ada"))
        aws.clock.advance(2 * 86_400)
        state = graph.get_state(at(actor_id="ada"))
        assert state.values["document"] == document
        assert len(state.values["messages"]) == day + 1
    fresh = AgentCoreMemorySaver(memory_id, client=client)
    [newest, *older] = list(fresh.list({"configurable": {"thread_id": "t", "actor_id": "ada"}}))
    assert newest.checkpoint["channel_values"]["document"] == document
    assert 5 < len(older) < 15
    fresh.delete_thread("t")
    assert list(fresh.list(None)) == []
