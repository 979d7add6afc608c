"""LangGraph's checkpointers in emulated sessions of Bedrock: real ids, closed sessions, writers side by side."""

from __future__ import annotations

import asyncio
import copy
import inspect
import operator
import os
import pickle
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, TypedDict

import pytest
from botocore.config import Config
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Send, interrupt
from pydantic import SecretStr

import statekeep
from statekeep import langgraph_shim
from statekeep.domain import (
    ClientClosed,
    CorruptRecord,
    InvalidInput,
    QuotaExceeded,
    ThreadClosed,
    Unsupported,
    WrongEventLoop,
)
from statekeep.langgraph_shim import AsyncBedrockSessionSaver, BedrockSessionSaver
from statekeep.repositories.bedrock_sessions import (
    AsyncBedrockAgentRuntimeSessionClient,
    BedrockAgentRuntimeSessionClient,
)
from statekeep.testing.aws import AwsEmulator, SessionRules, session_arn

pytestmark = pytest.mark.anyio

HOUR = 3600
UNKNOWN = "01234567-89ab-4cde-8f01-23456789abcd"
ONCE = Config(retries={"total_max_attempts": 1})


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


def at(thread_id: Any, **more: Any) -> Any:
    return {"configurable": {"thread_id": thread_id, **more}}


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


def fan_out(saver: BaseCheckpointSaver[str], width: int, runs: list[int] | None = None) -> Any:
    """Parallel tasks, each with a write of its own; the odd ones of ``runs`` ask something."""

    def work(number: int) -> State:
        if runs is not None:
            runs.append(number)
            if number % 2:
                return {"log": [f"{number}: {interrupt(f'{number}?')}"]}
        return {"log": [str(number)]}

    builder: Any = StateGraph(State)
    builder.add_node("work", work).add_node("end", lambda state: {"log": ["end"]})
    builder.add_conditional_edges(START, lambda state: [Send("work", number) for number in range(width)], ["work"])
    return builder.add_edge("work", "end").compile(checkpointer=saver)


Open = Callable[..., BedrockSessionSaver]


@pytest.fixture(scope="module")
def aws() -> Iterator[AwsEmulator]:
    with AwsEmulator() as emulator:
        yield emulator


@pytest.fixture(scope="module")
def boto_client(aws: AwsEmulator) -> Any:
    return aws.client("bedrock-agent-runtime", config=ONCE)


@pytest.fixture
def opened(boto_client: Any) -> Iterator[Open]:
    """Opens a saver that knows nothing yet, as another process would."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(BedrockSessionSaver(boto_client, **options))


@pytest.fixture
def saver(opened: Open) -> BedrockSessionSaver:
    return opened()


@pytest.fixture
def thread(saver: BedrockSessionSaver) -> str:
    return saver.create_thread()


# -- constructors


def test_where_langgraph_checkpoint_aws_has_them() -> None:
    from statekeep.langgraph_shim.async_saver import AsyncBedrockSessionSaver as Async
    from statekeep.langgraph_shim.async_session import AsyncBedrockAgentRuntimeSessionClient as AsyncClient
    from statekeep.langgraph_shim.saver import BedrockSessionSaver as Sync
    from statekeep.langgraph_shim.session import BedrockAgentRuntimeSessionClient as Client

    assert (Sync, Async) == (langgraph_shim.BedrockSessionSaver, langgraph_shim.AsyncBedrockSessionSaver)
    assert (Client, AsyncClient) == (
        langgraph_shim.BedrockAgentRuntimeSessionClient,
        langgraph_shim.AsyncBedrockAgentRuntimeSessionClient,
    )


ARGUMENTS = [
    "client",
    "session",
    "region_name",
    "credentials_profile_name",
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
    "endpoint_url",
    "config",
]


@pytest.mark.parametrize(
    "kind",
    [
        BedrockSessionSaver,
        AsyncBedrockSessionSaver,
        BedrockAgentRuntimeSessionClient,
        AsyncBedrockAgentRuntimeSessionClient,
    ],
)
def test_the_order_of_arguments_is_that_of_langgraph_checkpoint_aws(kind: Any) -> None:
    parameters = inspect.signature(kind).parameters.values()
    assert [one.name for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD] == ARGUMENTS
    assert all(one.default is None for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD)


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


@pytest.mark.parametrize("secret", ["secret", SecretStr("secret")])
def test_savers_with_keys(environment: pytest.MonkeyPatch, aws: AwsEmulator, secret: Any) -> None:
    with BedrockSessionSaver(None, None, "us-east-1", None, "AKIA", secret, None, aws.endpoint_url, ONCE) as saver:
        thread = saver.session_client.create_session().session_id
        assert noting(saver).invoke({"log": []}, at(thread)) == {"log": ["note"]}
        assert saver.session_client.client.meta.region_name == "us-east-1"
        assert "secret" not in repr(saver) + repr(saver.session_client)
    for call in (lambda: saver.get_tuple(at(thread)), saver.create_thread, saver.session_client.create_session):
        with pytest.raises(ClientClosed, match="closed"):
            call()


async def test_an_async_saver_with_keys(environment: pytest.MonkeyPatch, aws: AwsEmulator) -> None:
    environment.setenv("AWS_ENDPOINT_URL_BEDROCK_AGENT_RUNTIME", aws.endpoint_url)
    keys: Any = {"aws_access_key_id": SecretStr("AKIA"), "aws_secret_access_key": SecretStr("secret")}
    async with AsyncBedrockSessionSaver(region_name="us-east-1", **keys) as saver:
        thread = (await saver.session_client.create_session()).session_id
        assert await noting(saver).ainvoke({"log": []}, at(thread)) == {"log": ["note"]}
    with pytest.raises(ClientClosed, match="closed"):
        await saver.aget_tuple(at(thread))
    with AsyncBedrockSessionSaver(region_name="us-east-1", **keys) as blocking:
        found = await blocking.aget_tuple(at(thread))
        assert found is not None
    await blocking.aclose()
    blocking.close()


def test_no_region(environment: pytest.MonkeyPatch) -> None:
    for kind in (BedrockSessionSaver, AsyncBedrockSessionSaver):
        with pytest.raises(InvalidInput, match="pass region_name=") as caught:
            kind()
        assert caught.value.field == "region_name"


@pytest.mark.parametrize("kind", [BedrockSessionSaver, AsyncBedrockSessionSaver])
def test_a_client_of_another_service(kind: Any, aws: AwsEmulator) -> None:
    with pytest.raises(InvalidInput, match='got one of "bedrock-agentcore"') as caught:
        kind(aws.client("bedrock-agentcore"))
    assert caught.value.field == "client"


async def test_a_client_of_the_user_stays_open(boto_client: Any) -> None:
    with BedrockSessionSaver(boto_client) as saver:
        assert saver.session_client.client is boto_client
        saver.create_thread()
    async with AsyncBedrockSessionSaver(client=boto_client) as awaited:
        assert awaited.session_client.client is boto_client
    assert boto_client.list_sessions(maxResults=1)["sessionSummaries"]


@pytest.mark.parametrize(
    ("field", "value", "match"),
    [
        ("inline", -1, "integer"),
        ("serde", 5, "serde"),
        ("strict", 5, "strict"),
        ("endpoint_url", "localhost", "http"),
        ("config", 5, "botocore.config.Config"),
        ("aws_session_token", "x", "aws_access_key_id"),
        ("aws_access_key_id", "x", "aws_secret_access_key"),
    ],
)
@pytest.mark.parametrize("kind", [BedrockSessionSaver, AsyncBedrockSessionSaver])
def test_wrong_arguments(kind: Any, field: str, value: Any, match: str) -> None:
    with pytest.raises(InvalidInput, match=match) as caught:
        kind(**{"region_name": "us-west-2", field: value})
    assert caught.value.field in (field, match)


@dataclass
class Basket:
    """A type that no strict saver knows."""

    items: list[str]


def test_a_strict_saver(opened: Open, thread: str) -> None:
    class Shop(TypedDict, total=False):
        basket: Basket

    builder = StateGraph(Shop).add_node("node", lambda state: {"basket": Basket(["tea"])}).add_edge(START, "node")
    builder.compile(checkpointer=opened()).invoke({}, at(thread))
    for kind in (BedrockSessionSaver, AsyncBedrockSessionSaver):
        client = opened().session_client.client
        with pytest.raises(CorruptRecord, match="Basket"):
            kind(client, strict=True).get_tuple(at(thread))
        found = kind(client, strict=[Basket]).get_tuple(at(thread))
        assert found is not None
        assert found.checkpoint["channel_values"]["basket"] == Basket(["tea"])


# -- threads


async def test_a_thread_is_a_session(saver: BedrockSessionSaver, boto_client: Any) -> None:
    made = saver.create_thread({"user": "ada"}, tags={"team": "x"})
    other = await saver.acreate_thread(metadata={"user": "bob"})
    for thread, user in ((made, "ada"), (other, "bob")):
        assert boto_client.get_session(sessionIdentifier=thread)["sessionMetadata"] == {"user": user}
    noting(saver).invoke({"log": []}, at(session_arn(made)))
    assert noting(saver).get_state(at(made)).values == {"log": ["note"]}
    assert noting(saver).get_state(at(uuid.UUID(made))).values == {"log": ["note"]}
    # The input with the writes of its task, the node's, and the last one.
    assert saver.steps_left(made) == await saver.asteps_left(made) == 1000 - 5
    assert (await saver.aget_tuple(at(other))) is None


@pytest.mark.parametrize(
    "argument",
    [{"metadata": {"k": 5}}, {"metadata": "x"}, {"metadata": {"k": "x" * 5001}}, {"tags": {}}, {"encryption_key": ""}],
)
async def test_wrong_arguments_of_a_new_thread(saver: BedrockSessionSaver, aws: AwsEmulator, argument: Any) -> None:
    [name] = argument
    with aws.record() as calls:
        for call in (lambda: saver.create_thread(**argument), lambda: asyncio.run(saver.acreate_thread(**argument))):
            with pytest.raises(InvalidInput, match=f"^{name}: ") as caught:
                await asyncio.to_thread(call)
            assert (caught.value.field, caught.value.operation) == (name, "create_thread")
    assert len(calls) == 0


async def test_a_thread_that_is_no_session(saver: BedrockSessionSaver) -> None:
    graph = noting(saver)
    for config, match in ((at("user-42"), "create_thread\\(\\)"), (at(UNKNOWN), "there is no session")):
        for call in (partial(graph.invoke, {"log": []}, config), partial(saver.get_tuple, config)):
            with pytest.raises(InvalidInput, match=match) as caught:
                call()
            assert caught.value.field == "thread_id"
        with pytest.raises(InvalidInput, match=match):
            await graph.ainvoke({"log": []}, config)
    for method in ("continue_thread", "steps_left"):
        for thread in ("user-42", UNKNOWN, "", None):
            with pytest.raises(InvalidInput, match="thread_id"):
                getattr(saver, method)(thread)
            with pytest.raises(InvalidInput, match="thread_id"):
                await getattr(saver, f"a{method}")(thread)


async def test_deleting_a_thread(saver: BedrockSessionSaver, opened: Open) -> None:
    threads = [saver.create_thread() for _ in range(4)]
    for thread in threads:
        noting(saver).invoke({"log": []}, at(thread))
    saver.delete_thread(threads[0])
    await opened().adelete_thread(threads[1])
    saver.prune([threads[2]], strategy="delete")
    await saver.aprune([threads[3]], strategy="delete")
    for thread in threads:
        with pytest.raises(InvalidInput, match="there is no session"):
            saver.get_tuple(at(thread))
        saver.delete_thread(thread)


async def test_single_checkpoints_are_not_deleted(saver: BedrockSessionSaver, thread: str) -> None:
    noting(saver).invoke({"log": []}, at(thread, run_id="r"))
    for call in (
        lambda: saver.delete_for_runs(["r"]),
        lambda: saver.prune([thread]),
        lambda: asyncio.run(saver.adelete_for_runs(["r"])),
        lambda: asyncio.run(saver.aprune([thread])),
    ):
        with pytest.raises(Unsupported, match="deletes no steps"):
            await asyncio.to_thread(call)
    with pytest.raises(InvalidInput, match="strategy"):
        saver.prune([thread], strategy="all")
    assert len(list(saver.list(at(thread)))) == 3
    # By this LangGraph's servers and the conformance suite tell that they are not there.
    for name in ("delete_for_runs", "prune", "adelete_for_runs", "aprune"):
        for kind in (BedrockSessionSaver, AsyncBedrockSessionSaver):
            assert getattr(kind, name) is getattr(BaseCheckpointSaver, name)


def test_copying_a_thread(saver: BedrockSessionSaver, thread: str, opened: Open) -> None:
    noting(saver).invoke({"log": []}, at(thread))
    target = saver.create_thread()
    saver.copy_thread(thread, target)
    saver.delete_thread(thread)
    assert noting(opened()).invoke({"log": []}, at(target)) == {"log": ["note", "note"]}


def test_listing_everything() -> None:
    with AwsEmulator() as aws, BedrockSessionSaver(session=aws.session()) as saver:
        threads = [saver.create_thread() for _ in range(3)]
        for thread in threads:
            noting(saver).invoke({"log": []}, at(thread))
        found = [one.config["configurable"]["thread_id"] for one in saver.list(None)]
        assert found == [thread for thread in reversed(threads) for _ in range(3)]


async def test_configs_name_parents_and_travel(saver: BedrockSessionSaver, thread: str, opened: Open) -> None:
    graph = noting(saver)
    graph.invoke({"log": []}, at(thread))
    history = list(graph.get_state_history(at(thread)))
    assert history == [state async for state in graph.aget_state_history(at(thread))]
    assert [state.parent_config for state in history] == [*(state.config for state in history[1:]), None]
    other = noting(opened())
    for config in (
        history[1].config,
        copy.deepcopy(history[1].config),
        pickle.loads(pickle.dumps(history[1].config)),
    ):
        assert config["configurable"].keys() == {"thread_id", "checkpoint_ns", "checkpoint_id"}
        assert other.get_state(config).values == history[1].values
        forked = other.update_state(config, {"log": ["forked"]})
        assert other.get_state(forked).values == {"log": ["forked"]}
        assert other.get_state(forked).parent_config == history[1].config


# -- the same as in memory


class Loop(TypedDict, total=False):
    count: int
    log: Annotated[list[int], operator.add]


def loop(saver: BaseCheckpointSaver[str], steps: int) -> Any:
    builder = StateGraph(Loop).add_node("step", lambda state: {"count": state["count"] + 1, "log": [state["count"]]})
    builder.add_edge(START, "step")
    builder.add_conditional_edges("step", lambda state: END if state["count"] >= steps else "step", ["step", END])
    return builder.compile(checkpointer=saver)


def test_a_thread_of_300_steps_is_that_of_memory(saver: BedrockSessionSaver, thread: str) -> None:
    config = {**at(thread), "recursion_limit": 400}
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


def test_parallel_tasks_with_interrupts_are_as_in_memory(opened: Open, thread: str) -> None:
    seen = []
    for saver in (InMemorySaver(), opened(inline=10)):
        runs: list[int] = []
        graph = fan_out(saver, 5, runs)
        asked = sorted(graph.invoke({"log": []}, at(thread))["__interrupt__"], key=lambda one: str(one.value))
        answers = {one.id: one.value.removesuffix("?") * 2 for one in asked}
        once = graph.invoke(Command(resume=dict(list(answers.items())[:1])), at(thread))
        done = graph.invoke(Command(resume=dict(list(answers.items())[1:])), at(thread))
        history = [(state.values, state.next, state.metadata) for state in graph.get_state_history(at(thread))]
        seen.append(([one.value for one in asked], len(once["__interrupt__"]), done, history, sorted(runs)))
    assert seen[0] == seen[1]
    # Those that were done are not run again; the first of the two that ask runs twice, the other three times.
    assert len(seen[1][4]) == 5 + 2 + 1


# -- sessions that are closed or full


def lives(seconds: float = HOUR, steps: int = 1000) -> AwsEmulator:
    return AwsEmulator(bedrock_sessions=SessionRules(idle=seconds, steps=steps))


def test_an_answer_after_the_hour() -> None:
    with lives() as aws:
        with BedrockSessionSaver(session=aws.session()) as saver:
            thread = saver.create_thread({"user": "ada"})
            graph = asking(saver)
            graph.invoke({"log": []}, at(thread))
            graph.invoke(Command(resume="Ada"), at(thread))
            aws.clock.advance(HOUR)
        with BedrockSessionSaver(session=aws.session()) as saver:
            graph = asking(saver)
            asked = graph.get_state(at(thread), subgraphs=True)
            with pytest.raises(ThreadClosed, match=r"EXPIRED: nobody wrote to it for an hour.*continue_thread"):
                graph.invoke(Command(resume=36), at(thread))
            after = saver.continue_thread(thread)
            state = graph.get_state(at(after), subgraphs=True)
            assert [one.value for one in state.interrupts] == [one.value for one in asked.interrupts] == ["age?"]
            assert (state.values, state.next) == (asked.values, asked.next)
            done = graph.invoke(Command(resume=36), at(after))
            assert sorted(done["log"]) == ["Ada, 36", "beside"]
            # The former one stays as it was, to be read or deleted.
            assert graph.get_state(at(thread)).next == ("inner",)
            assert saver.session_client.get_session(session_identifier=after).session_metadata == {"user": "ada"}
            saver.delete_thread(thread)
            assert graph.get_state(at(after)).values == done


async def test_an_answer_after_the_hour_async() -> None:
    with lives() as aws:
        async with AsyncBedrockSessionSaver(session=aws.session()) as saver:
            thread = await saver.acreate_thread()
            graph = asking(saver)
            await graph.ainvoke({"log": []}, at(thread))
            await graph.ainvoke(Command(resume="Ada"), at(thread))
            aws.clock.advance(HOUR)
            with pytest.raises(ThreadClosed, match="EXPIRED"):
                await graph.ainvoke(Command(resume=36), at(thread))
            after = await saver.acontinue_thread(thread)
            done = await graph.ainvoke(Command(resume=36), at(after))
            assert sorted(done["log"]) == ["Ada, 36", "beside"]


def test_parallel_tasks_with_interrupts_go_on_after_the_hour() -> None:
    with lives() as aws, BedrockSessionSaver(session=aws.session()) as saver:
        runs: list[int] = []
        graph = fan_out(saver, 5, runs)
        thread = saver.create_thread()
        asked = graph.invoke({"log": []}, at(thread))["__interrupt__"]
        aws.clock.advance(HOUR)
        after = saver.continue_thread(thread)
        done = graph.invoke(Command(resume={one.id: "yes" for one in asked}), at(after))
        assert done["log"] == ["0", "1: yes", "2", "3: yes", "4", "end"]
        assert sorted(runs) == [0, 1, 1, 2, 3, 3, 4]


def test_an_ended_session() -> None:
    with lives() as aws, BedrockSessionSaver(session=aws.session()) as saver:
        thread = saver.create_thread()
        noting(saver).invoke({"log": []}, at(thread))
        saver.session_client.end_session(session_identifier=thread)
        with pytest.raises(ThreadClosed, match="ENDED: it was ended"):
            noting(saver).invoke({"log": []}, at(thread))
        assert noting(saver).get_state(at(thread)).values == {"log": ["note"]}
        assert noting(saver).invoke({"log": []}, at(saver.continue_thread(thread))) == {"log": ["note", "note"]}


def test_a_full_session_goes_on_in_another() -> None:
    with lives(steps=30) as aws, BedrockSessionSaver(session=aws.session()) as saver:
        thread = saver.create_thread()
        graph = loop(saver, 100)
        config: Any = {**at(thread), "recursion_limit": 400}
        used = 0
        given: Any = {"count": 0, "log": []}
        done: Any = None
        while done is None:
            try:
                done = graph.invoke(given, config, durability="sync")
            except QuotaExceeded as error:
                assert "continue_thread" in str(error)  # noqa: PT017
                used += 1
                config = {**at(saver.continue_thread(config["configurable"]["thread_id"])), "recursion_limit": 400}
                given = None
        assert done["log"] == list(range(100))
        # LangGraph stores pending writes in another thread: the last step of a session is one of them, or it is not.
        assert used in (6, 7)


def test_nested_graphs_of_former_turns_do_not_go_along() -> None:
    """With them a thread could go on a few times only, as each turn has a nested graph of its own."""
    with lives() as aws, BedrockSessionSaver(session=aws.session()) as saver:
        inner = StateGraph(State).add_node("deep", lambda state: {"log": ["deep"]}).add_edge(START, "deep").compile()
        builder = StateGraph(State).add_node("inner", inner).add_edge(START, "inner")
        graph = builder.compile(checkpointer=saver)
        thread = saver.create_thread()
        for _ in range(5):
            graph.invoke({"log": []}, at(thread))
        namespaces = {found.config["configurable"]["checkpoint_ns"] for found in saver.list(at(thread))}
        after = saver.continue_thread(thread)
        assert len(namespaces) == 1 + 5
        assert [found.config["configurable"]["checkpoint_ns"] for found in saver.list(at(after))] == [""]
        assert saver.steps_left(after) == 1000 - 1
        assert graph.get_state(at(after)).values == graph.get_state(at(thread)).values


# -- writers side by side


def test_sixteen_threads_lose_no_write(saver: BedrockSessionSaver, thread: str) -> None:
    noting(saver).invoke({"log": []}, at(thread))
    found = saver.get_tuple(at(thread))
    assert found is not None
    config = found.config

    def write(number: int) -> None:
        saver.put_writes(config, [("log", [f"{number}.{n}"]) for n in range(3)], f"task {number:02}")

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(write, range(64)))
    after = saver.get_tuple(config)
    assert after is not None
    assert sorted((task, *value) for task, _, value in after.pending_writes or []) == [
        (f"task {number:02}", f"{number}.{n}") for number in range(64) for n in range(3)
    ]


async def test_sixteen_tasks_lose_no_write(boto_client: Any, thread: str) -> None:
    async with AsyncBedrockSessionSaver(boto_client) as saver:
        done = await fan_out(saver, 16).ainvoke({"log": []}, at(thread))
        assert done["log"] == [*map(str, range(16)), "end"]
        history = [found async for found in saver.alist(at(thread))]
        writes = [value for found in history for _, channel, value in found.pending_writes or [] if channel == "log"]
        assert sorted(value[0] for value in writes if value) == sorted([*map(str, range(16)), "end"])


def test_two_programs_write_to_one_session(opened: Open, thread: str) -> None:
    both = opened(), opened()
    start = threading.Barrier(2)

    def run(number: int) -> Any:
        start.wait(60)
        graph = fan_out(both[number], 8)
        return graph.invoke({"log": [f"program {number}"]}, at(thread))

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(run, range(2)))
    work = [*map(str, range(8)), "end"]
    for number, done in enumerate(results):
        assert done["log"][-9:] == work
        assert f"program {number}" in done["log"]
    # All that both stored is there, whichever is the newest.
    for each in (*both, opened()):
        logs = [found.checkpoint["channel_values"].get("log") for found in each.list(at(thread))]
        assert all(done["log"] in logs for done in results)


async def test_no_call_is_made_in_the_loops_thread(boto_client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []
    send = type(boto_client)._make_api_call

    def noted(self: Any, *args: Any) -> Any:
        threads.append(threading.current_thread())
        return send(self, *args)

    monkeypatch.setattr(type(boto_client), "_make_api_call", noted)
    for kind in (AsyncBedrockSessionSaver, BedrockSessionSaver):
        async with kind(boto_client) as saver:
            thread = await saver.acreate_thread()
            await fan_out(saver, 3).ainvoke({"log": []}, at(thread))
            assert len([one async for one in saver.alist(at(thread))]) == 4
            other = await saver.acontinue_thread(thread)
            await saver.asteps_left(other)
            await saver.adelete_thread(thread)
    assert threading.current_thread() not in threads
    assert len(threads) > 40


async def test_blocking_calls_of_an_async_saver(boto_client: Any, thread: str) -> None:
    async with AsyncBedrockSessionSaver(boto_client) as saver:
        for call in (saver.create_thread, lambda: saver.get_tuple(at(thread)), lambda: saver.steps_left(thread)):
            with pytest.raises(WrongEventLoop, match=r"graph\.ainvoke"):
                call()
        assert await asyncio.to_thread(saver.steps_left, thread) == 1000
        found = await asyncio.to_thread(lambda: noting(saver).invoke({"log": []}, at(thread)))
        assert found == {"log": ["note"]}


def test_a_url_sees_the_same(aws: AwsEmulator, saver: BedrockSessionSaver, thread: str) -> None:
    noting(saver).invoke({"log": []}, at(thread))
    with statekeep.connect("bedrock-sessions://", session=aws.session()) as keep:
        saved = keep.checkpoints.get(thread)
        assert saved is not None
        assert "log" in saved.channels
