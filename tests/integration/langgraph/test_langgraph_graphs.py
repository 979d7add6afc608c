"""Real graphs on our savers: interrupts, fan-out, failures, subgraphs, time travel, delta channels."""

from __future__ import annotations

import asyncio
import operator
import threading
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from typing import Annotated, Any, Literal, TypedDict

import pytest
from langgraph.channels.delta import DeltaChannel
from langgraph.channels.untracked_value import UntrackedValue
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Overwrite, Send, interrupt

from statekeep.domain import WrongEventLoop
from statekeep.langgraph_shim import AgentCoreMemorySaver, RepositorySaver
from statekeep.langgraph_shim.checkpoint.base import Saver

from .savers import Backends

PRUNING = ("memory", "glide", "valkey-py", "glide-cluster", "agentcore, plain")
"""Those that delete single checkpoints."""

BACKENDS = (*PRUNING, "sessions, plain")
Durability = Literal["sync", "async", "exit"]
DURABILITIES: tuple[Durability, ...] = ("sync", "async", "exit")


@pytest.fixture
def backends(request: pytest.FixtureRequest, prefix: str) -> Backends:
    return Backends(request, prefix)


@pytest.fixture(params=BACKENDS)
def saver(request: pytest.FixtureRequest, backends: Backends) -> Iterator[RepositorySaver]:
    with backends.sync(request.param) as saver:
        yield saver


@pytest.fixture(params=PRUNING)
def pruning_saver(request: pytest.FixtureRequest, backends: Backends) -> Iterator[RepositorySaver]:
    with backends.sync(request.param) as saver:
        yield saver


@pytest.fixture(params=BACKENDS)
async def async_saver(request: pytest.FixtureRequest, backends: Backends) -> AsyncGenerator[Saver, None]:
    async with backends.asynchronous(request.param) as saver:
        yield saver


def thread(name: str = "t", **more: Any) -> Any:
    return {"configurable": {"thread_id": name, **more}}


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    text: str


class Runs:
    """Counts how often each node ran."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def count(self, name: str) -> None:
        with self._lock:
            self.counts[name] += 1


def questions(runs: Runs) -> Any:
    """A graph whose node asks two questions, one after the other."""

    def ask(state: State) -> State:
        runs.count("ask")
        name = interrupt("name?")
        age = interrupt("age?")
        return {"log": [f"{name} is {age}"]}

    def before(state: State) -> State:
        runs.count("before")
        return {"log": ["before"]}

    builder = StateGraph(State)
    builder.add_node("before", before)
    builder.add_node("ask", ask)
    builder.add_edge(START, "before")
    builder.add_edge("before", "ask")
    builder.add_edge("ask", END)
    return builder


@pytest.mark.parametrize("durability", DURABILITIES)
def test_two_interrupts_in_one_node(saver: RepositorySaver, durability: Durability) -> None:
    runs = Runs()
    graph = questions(runs).compile(checkpointer=saver)
    first = graph.invoke({"log": []}, thread(), durability=durability)
    assert [item.value for item in first["__interrupt__"]] == ["name?"]
    second = graph.invoke(Command(resume="Ada"), thread(), durability=durability)
    assert [item.value for item in second["__interrupt__"]] == ["age?"]
    assert graph.get_state(thread()).next == ("ask",)
    done = graph.invoke(Command(resume=36), thread(), durability=durability)
    assert done["log"] == ["before", "Ada is 36"]
    assert runs.counts == {"before": 1, "ask": 3}


@pytest.mark.anyio
@pytest.mark.parametrize("durability", DURABILITIES)
async def test_two_interrupts_in_one_node_async(async_saver: Saver, durability: Durability) -> None:
    runs = Runs()
    graph = questions(runs).compile(checkpointer=async_saver)
    await graph.ainvoke({"log": []}, thread(), durability=durability)
    await graph.ainvoke(Command(resume="Ada"), thread(), durability=durability)
    done = await graph.ainvoke(Command(resume=36), thread(), durability=durability)
    assert done["log"] == ["before", "Ada is 36"]
    assert runs.counts == {"before": 1, "ask": 3}


def fan_out(runs: Runs, width: int, broken: set[int]) -> Any:
    """A graph with one task per number; those in ``broken`` fail, and stay broken until they are mended."""

    def spread(state: State) -> list[Send]:
        return [Send("work", number) for number in range(width)]

    def work(number: int) -> State:
        if number in broken:
            raise OSError(f"{number} is broken")
        runs.count(str(number))
        return {"log": [str(number)]}

    def reduce(state: State) -> State:
        runs.count("reduce")
        return {"text": ",".join(state["log"])}

    builder: Any = StateGraph(State)
    builder.add_node("work", work)
    builder.add_node("reduce", reduce)
    builder.add_conditional_edges(START, spread, ["work"])
    builder.add_edge("work", "reduce")
    return builder


EXPECTED = ",".join(map(str, range(30)))


def test_fan_out_with_a_failing_task(saver: RepositorySaver) -> None:
    runs, broken = Runs(), {7}
    graph = fan_out(runs, 30, broken).compile(checkpointer=saver)
    with pytest.raises(OSError, match="7 is broken"):
        graph.invoke({"log": []}, {**thread(), "max_concurrency": 40})
    # LangGraph stores nothing of a task that ends after the failure; but what it stored is not run again.
    finished = {value[0] for _, _, value in _pending(saver)}
    broken.clear()
    done = graph.invoke(None, {**thread(), "max_concurrency": 40})
    assert done["text"] == EXPECTED
    assert runs.counts["reduce"] == 1
    assert {name for name in finished if runs.counts[name] != 1} == set()


@pytest.mark.anyio
async def test_fan_out_with_a_failing_task_async(async_saver: Saver) -> None:
    runs, broken = Runs(), {29}
    graph = fan_out(runs, 30, broken).compile(checkpointer=async_saver)
    with pytest.raises(OSError, match="29 is broken"):
        await graph.ainvoke({"log": []}, thread())
    finished = {value[0] for _, _, value in await asyncio.to_thread(_pending, async_saver)}
    assert finished
    broken.clear()
    done = await graph.ainvoke(None, thread())
    assert done["text"] == EXPECTED
    assert {name for name in finished if runs.counts[name] != 1} == set()


def test_the_finished_siblings_of_a_failed_task_are_not_run_again(saver: RepositorySaver) -> None:
    """Here every sibling is known to be stored, because the failing task waits until they are."""
    runs, broken = Runs(), {"c"}

    def node(name: str) -> Any:
        def run(state: State) -> State:
            if name in broken:
                while len({task for task, *_ in _pending(saver)}) < 2:
                    threading.Event().wait(0.01)
                raise OSError("broken")
            runs.count(name)
            return {"log": [name]}

        return run

    builder = StateGraph(State)
    for name in "abc":
        builder.add_node(name, node(name))
        builder.add_edge(START, name)
    graph = builder.compile(checkpointer=saver)
    with pytest.raises(OSError, match="broken"):
        graph.invoke({"log": []}, thread())
    broken.clear()
    assert graph.invoke(None, thread())["log"] == ["a", "b", "c"]
    assert runs.counts == {"a": 1, "b": 1, "c": 1}


def _pending(saver: BaseCheckpointSaver[str]) -> list[Any]:
    saved = saver.get_tuple(thread())
    return [write for write in (saved.pending_writes or [] if saved else []) if write[1] == "log"]


def nested(saver: Any, inner_saver: bool | None = None) -> Any:
    """A graph in a graph; the inner one asks a question."""

    def inner_ask(state: State) -> State:
        return {"text": interrupt("inner?")}

    inner = StateGraph(State)
    inner.add_node("first", lambda state: {"log": ["inner"]})
    inner.add_node("inner_ask", inner_ask)
    inner.add_edge(START, "first")
    inner.add_edge("first", "inner_ask")
    outer = StateGraph(State)
    outer.add_node("start", lambda state: {"log": ["outer"]})
    outer.add_node("nested", inner.compile(checkpointer=inner_saver))
    outer.add_edge(START, "start")
    outer.add_edge("start", "nested")
    return outer.compile(checkpointer=saver)


@pytest.mark.parametrize("durability", DURABILITIES)
def test_a_subgraph_with_an_interrupt(saver: RepositorySaver, durability: Durability) -> None:
    graph = nested(saver)
    graph.invoke({"log": []}, thread(), durability=durability)
    state = graph.get_state(thread(), subgraphs=True)
    [task] = state.tasks
    assert task.state.values["log"] == ["outer", "inner"]
    assert task.state.next == ("inner_ask",)
    done = graph.invoke(Command(resume="yes"), thread(), durability=durability)
    assert done["text"] == "yes"
    namespaces = {item.config["configurable"]["checkpoint_ns"] for item in saver.list(thread())}
    assert "" in namespaces
    assert any(name.startswith("nested:") for name in namespaces)


@pytest.mark.anyio
async def test_a_subgraph_with_an_interrupt_async(async_saver: Saver) -> None:
    graph = nested(async_saver)
    await graph.ainvoke({"log": []}, thread())
    state = await graph.aget_state(thread(), subgraphs=True)
    assert state.tasks[0].state.next == ("inner_ask",)
    done = await graph.ainvoke(Command(resume="yes"), thread())
    assert done["text"] == "yes"


def test_a_subgraph_that_keeps_its_own_state(pruning_saver: RepositorySaver) -> None:
    oracle = InMemorySaver()
    graph, other = nested(pruning_saver, inner_saver=True), nested(oracle, inner_saver=True)
    for each in (graph, other) * 2:
        each.invoke({"log": []}, thread())
        each.invoke(Command(resume="yes"), thread())
    head, expected_head = pruning_saver.get(thread(checkpoint_ns="nested")), oracle.get(thread(checkpoint_ns="nested"))
    assert head is not None
    assert expected_head is not None
    assert head["channel_values"]["log"] == expected_head["channel_values"]["log"]
    assert head["channel_values"]["log"].count("inner") > 1
    pruning_saver.prune(["t"])
    assert len(list(pruning_saver.list(thread(checkpoint_ns="nested")))) == 1
    graph.invoke({"log": []}, thread())
    assert graph.invoke(Command(resume="still"), thread())["text"] == "still"


def counting() -> Any:
    """Three nodes in a row."""
    builder = StateGraph(State)
    for name, after in (("a", START), ("b", "a"), ("c", "b")):
        builder.add_node(name, lambda state, name=name: {"log": [name], "text": state.get("text", "") + name})
        builder.add_edge(after, name)
    return builder


def test_time_travel(saver: RepositorySaver) -> None:
    graph = counting().compile(checkpointer=saver)
    graph.invoke({"log": ["in"]}, thread())
    history = list(graph.get_state_history(thread()))
    assert [state.next for state in history] == [(), ("c",), ("b",), ("a",), ("__start__",)]
    assert [len(state.values.get("log", [])) for state in history] == [4, 3, 2, 1, 0]

    replayed = graph.invoke(None, history[2].config)
    assert replayed["log"] == ["in", "a", "b", "c"]

    fork = graph.update_state(history[2].config, {"log": ["forked"], "text": "F"})
    assert graph.get_state(fork).values["log"] == ["in", "a", "forked"]
    assert graph.invoke(None, fork) == {"log": ["in", "a", "forked", "b", "c"], "text": "Fbc"}
    assert graph.get_state(history[0].config).values == {"log": ["in", "a", "b", "c"], "text": "abc"}

    copy = graph.update_state(history[1].config, None, as_node="__copy__")
    assert graph.get_state(copy).values == history[1].values
    assert graph.invoke(None, copy)["text"] == "abc"
    sources = {state.metadata["source"] for state in graph.get_state_history(thread()) if state.metadata}
    assert sources == {"input", "loop", "update", "fork"}


@pytest.mark.anyio
async def test_time_travel_async(async_saver: Saver) -> None:
    graph = counting().compile(checkpointer=async_saver)
    await graph.ainvoke({"log": ["in"]}, thread())
    history = [state async for state in graph.aget_state_history(thread())]
    fork = await graph.aupdate_state(history[2].config, {"log": ["forked"], "text": "F"})
    assert (await graph.ainvoke(None, fork))["text"] == "Fbc"
    assert (await graph.aget_state(history[0].config)).values["text"] == "abc"
    latest = [state async for state in graph.aget_state_history(thread(), limit=1, filter={"source": "update"})]
    assert [state.values["text"] for state in latest] == ["F"]


def test_time_travel_into_a_subgraph(saver: RepositorySaver) -> None:
    """A replay looks the nested checkpoint up by the id of the outer one, which does not exist in there."""
    graph = nested(saver)
    graph.invoke({"log": []}, thread())
    graph.invoke(Command(resume="first"), thread())
    [before] = [state for state in graph.get_state_history(thread()) if state.next == ("nested",)]
    again = graph.invoke(None, before.config)
    assert [item.value for item in again["__interrupt__"]] == ["inner?"]
    assert graph.invoke(Command(resume="second"), thread())["text"] == "second"


@pytest.mark.parametrize("durability", DURABILITIES)
def test_an_int_as_state(saver: RepositorySaver, durability: Durability) -> None:
    builder: Any = StateGraph(int)
    builder.add_node("add_one", lambda x: x + 1)
    builder.set_entry_point("add_one")
    builder.set_finish_point("add_one")
    graph = builder.compile(checkpointer=saver)
    assert graph.invoke(1, thread(), durability=durability) == 2
    assert graph.invoke(5, thread(), durability=durability) == 6
    assert saver.get_tuple(thread()) is not None


def test_a_rolled_back_graph_finds_its_channel_again(pruning_saver: RepositorySaver) -> None:
    class Wide(State):
        extra: str

    def build(state: Any) -> Any:
        builder = StateGraph(state)
        builder.add_node("a", lambda state: {"log": ["a"]})
        builder.add_edge(START, "a")
        return builder.compile(checkpointer=pruning_saver)

    build(Wide).invoke({"log": [], "extra": "precious"}, thread())
    build(State).invoke({"log": []}, thread())
    build(State).invoke({"log": []}, thread())
    pruning_saver.prune(["t"])
    assert build(Wide).get_state(thread()).values == {"log": ["a", "a", "a"], "extra": "precious"}


def test_an_untracked_channel_does_not_keep_old_checkpoints(pruning_saver: RepositorySaver) -> None:
    class Untracked(State):
        secret: Annotated[str, UntrackedValue]

    builder: Any = StateGraph(Untracked)
    builder.add_node("a", lambda state: {"log": ["a"], "secret": "s"})
    builder.add_node("b", lambda state: {"log": [state["secret"]]})
    builder.add_edge(START, "a")
    builder.add_edge("a", "b")
    graph = builder.compile(checkpointer=pruning_saver)
    graph.invoke({"log": []}, thread())
    graph.invoke({"log": []}, thread())
    assert graph.get_state(thread()).values == {"log": ["a", "s", "a", "s"]}
    pruning_saver.prune(["t"])
    assert len(list(pruning_saver.list(thread()))) == 1


def test_consumed_channels_do_not_keep_old_checkpoints(pruning_saver: RepositorySaver) -> None:
    graph = fan_out(Runs(), 3, set()).compile(checkpointer=pruning_saver)
    graph.invoke({"log": []}, thread())
    before = graph.get_state(thread())
    pruning_saver.prune(["t"])
    [kept] = pruning_saver.list(thread())
    assert kept.parent_config is None
    assert graph.get_state(thread()).values == before.values
    assert graph.invoke({"log": []}, thread())["log"] == ["0", "1", "2"] * 2


@pytest.mark.parametrize("name", PRUNING)
def test_a_saver_that_keeps_few_checkpoints(backends: Backends, name: str) -> None:
    with backends.sync(name, max_checkpoints=3) as saver:
        graph, other = counting().compile(checkpointer=saver), counting().compile(checkpointer=InMemorySaver())
        for _ in range(6):
            assert graph.invoke({"log": []}, thread()) == other.invoke({"log": []}, thread())
        kept = list(saver.list(thread()))
        assert 3 <= len(kept) < 3 + 10  # of 30
        assert kept[-1].parent_config is None
        assert graph.get_state(thread()).values == other.get_state(thread()).values
        stops = counting().compile(checkpointer=saver, interrupt_before=["c"])
        for _ in range(6):
            stops.invoke({"log": []}, thread("stops"))
            assert stops.invoke(None, thread("stops"))["text"].endswith("abc")
        assert len(list(saver.list(thread("stops")))) < 3 + 10


# Delta channels


def append(state: list[Any], writes: list[list[Any]]) -> list[Any]:
    return [*state, *(item for write in writes for item in write)]


class Delta(TypedDict, total=False):
    often: Annotated[list[Any], DeltaChannel(append, snapshot_frequency=3)]
    seldom: Annotated[list[Any], DeltaChannel(append, snapshot_frequency=1000)]
    count: int


def delta_graph(saver: Any, loops: int = 5) -> Any:
    def step(state: Delta) -> Delta:
        count = state.get("count", 0) + 1
        return {"often": [count], "seldom": [-count] if count % 2 else [], "count": count}

    def parallel(name: str) -> Any:
        return lambda state: {"often": [name]}

    builder = StateGraph(Delta)
    builder.add_node("step", step)
    builder.add_node("x", parallel("x"))
    builder.add_node("y", parallel("y"))
    builder.add_edge(START, "step")
    builder.add_edge("step", "x")
    builder.add_edge("step", "y")
    builder.add_conditional_edges("x", lambda state: "step" if state["count"] % loops else END, ["step", END])
    return builder.compile(checkpointer=saver)


def expected(loops: int) -> tuple[list[Any], list[Any]]:
    often: list[Any] = ["in"]
    seldom: list[Any] = ["in"]
    for count in range(1, loops + 1):
        often += [count, "x", "y"]
        seldom += [-count] if count % 2 else []
    return often, seldom


@pytest.mark.parametrize("durability", DURABILITIES)
def test_delta_channels(saver: RepositorySaver, durability: Durability) -> None:
    graph = delta_graph(saver)
    oracle = delta_graph(InMemorySaver())
    for each in (graph, oracle):
        each.invoke({"often": ["in"], "seldom": ["in"]}, thread(), durability=durability)
        each.invoke({"often": ["again"]}, thread(), durability=durability)
    values = graph.get_state(thread()).values
    assert values == oracle.get_state(thread()).values
    often, seldom = expected(5)
    assert values["often"][: len(often)] == often
    assert values["seldom"][: len(seldom)] == seldom
    ours = [state.values for state in graph.get_state_history(thread())]
    assert ours == [state.values for state in oracle.get_state_history(thread())]


@pytest.mark.anyio
@pytest.mark.parametrize("durability", DURABILITIES)
async def test_delta_channels_async(async_saver: Saver, durability: Durability) -> None:
    graph = delta_graph(async_saver)
    await graph.ainvoke({"often": ["in"], "seldom": ["in"]}, thread(), durability=durability)
    values = (await graph.aget_state(thread())).values
    assert (values["often"], values["seldom"]) == expected(5)


@pytest.mark.parametrize("durability", DURABILITIES)
def test_delta_channels_survive_pruning(pruning_saver: RepositorySaver, durability: Durability) -> None:
    graph = delta_graph(pruning_saver)
    values: Any = {}
    for text in ("in", "again"):
        graph.invoke({"often": [text], "seldom": [text]}, thread(), durability=durability)
        values = graph.get_state(thread()).values
        pruning_saver.prune(["t"])
        assert graph.get_state(thread()).values == values
    pruning_saver.copy_thread("t", "copy")
    assert graph.get_state(thread("copy")).values == values
    graph.update_state(thread("copy"), {"seldom": ["updated"]}, as_node="x")
    assert graph.get_state(thread("copy")).values["seldom"] == [*values["seldom"], "updated"]
    assert graph.get_state(thread()).values == values
    pruning_saver.prune(["copy"], strategy="delete")
    assert graph.get_state(thread("copy")).values == {}


def test_an_overwrite_lets_pruning_forget(pruning_saver: RepositorySaver) -> None:
    graph = delta_graph(pruning_saver)
    graph.invoke({"often": ["in"], "seldom": ["in"]}, thread())
    graph.update_state(thread(), {"often": Overwrite(["o"]), "seldom": Overwrite(["s"])}, as_node="x")
    before = len(list(pruning_saver.list(thread())))
    pruning_saver.prune(["t"])
    assert len(list(pruning_saver.list(thread()))) == 1 < before
    values = graph.get_state(thread()).values
    assert (values["often"], values["seldom"]) == (["o"], ["s"])


def test_delta_channels_survive_the_deletion_of_a_run(pruning_saver: RepositorySaver) -> None:
    graph = delta_graph(pruning_saver)
    for run in ("first", "second"):
        graph.invoke({"often": [run], "seldom": [run]}, thread(run_id=run))
    values = graph.get_state(thread()).values
    pruning_saver.delete_for_runs(["first"])
    assert graph.get_state(thread()).values == values
    pruning_saver.delete_for_runs(["second"])
    assert {item.metadata.get("run_id") for item in pruning_saver.list(thread())} <= {"first"}


def test_delta_channels_in_forks(saver: RepositorySaver) -> None:
    graph = delta_graph(saver)
    graph.invoke({"often": ["in"], "seldom": ["in"]}, thread())
    main = graph.get_state(thread()).values
    history = list(graph.get_state_history(thread()))
    middle = history[len(history) // 2]
    left = graph.update_state(middle.config, {"seldom": ["left"]}, as_node="step")
    right = graph.update_state(middle.config, {"seldom": ["right"]}, as_node="step")
    assert graph.get_state(left).values["seldom"] == [*middle.values["seldom"], "left"]
    assert graph.get_state(right).values["seldom"] == [*middle.values["seldom"], "right"]
    assert graph.get_state(history[0].config).values == main


# Who may call


def mixed(saver: Any) -> Any:
    """A sync node of a graph that asks the saver itself."""

    def node(state: State) -> State:
        found = saver.get_tuple(thread())
        listed = len(list(saver.list(thread(), limit=3)))
        return {"log": [f"{found is not None} {listed > 0}"]}

    builder = StateGraph(State)
    builder.add_node("before", lambda state: {"log": ["before"]})
    builder.add_node("node", node)
    builder.add_edge(START, "before")
    builder.add_edge("before", "node")
    return builder.compile(checkpointer=saver)


@pytest.mark.anyio
async def test_sync_nodes_of_an_async_graph_call_the_async_saver(async_saver: Saver) -> None:
    done = await mixed(async_saver).ainvoke({"log": []}, thread(), durability="sync")
    assert done["log"] == ["before", "True True"]


@pytest.mark.anyio
async def test_invoke_on_the_async_saver(async_saver: Saver) -> None:
    graph = counting().compile(checkpointer=async_saver)
    done = await asyncio.to_thread(graph.invoke, {"log": []}, thread())
    assert done["text"] == "abc"
    if isinstance(async_saver, AgentCoreMemorySaver):  # it serves both
        assert graph.get_state(thread()).values["text"] == "abc"
        return
    with pytest.raises(WrongEventLoop, match=r"graph\.ainvoke"):
        graph.invoke({"log": []}, thread())
    with pytest.raises(WrongEventLoop, match=r"graph\.aget_state"):
        graph.get_state(thread())


@pytest.mark.anyio
@pytest.mark.parametrize("backend", BACKENDS)
async def test_ainvoke_on_the_sync_saver(backends: Backends, backend: str) -> None:
    async with backends.sync(backend) as saver:
        graph = counting().compile(checkpointer=saver)
        assert (await graph.ainvoke({"log": []}, thread()))["text"] == "abc"
        assert [state.next async for state in graph.aget_state_history(thread(), limit=1)] == [()]
        assert (await asyncio.to_thread(graph.get_state, thread())).values["text"] == "abc"


def test_many_threads_on_one_saver(saver: RepositorySaver) -> None:
    graph = fan_out(Runs(), 5, set()).compile(checkpointer=saver)
    results: dict[int, str] = {}

    def work(number: int) -> None:
        results[number] = graph.invoke({"log": []}, thread(f"t{number}"))["text"]

    workers = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert results == dict.fromkeys(range(16), "0,1,2,3,4")


@pytest.mark.anyio
async def test_many_tasks_on_one_saver(async_saver: Saver) -> None:
    graph = fan_out(Runs(), 5, set()).compile(checkpointer=async_saver)
    done = await asyncio.gather(*(graph.ainvoke({"log": []}, thread(f"t{number}")) for number in range(50)))
    assert [state["text"] for state in done] == ["0,1,2,3,4"] * 50
