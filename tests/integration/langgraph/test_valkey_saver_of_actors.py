"""AgentCoreValkeySaver: threads of different actors are different threads."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from langgraph.graph import START, StateGraph

from statekeep import InvalidInput
from statekeep.langgraph_shim import AgentCoreValkeySaver
from statekeep.testing.servers import ValkeyServer


def _config(actor_id: str, thread_id: str = "session-1") -> Any:
    return {"configurable": {"thread_id": thread_id, "actor_id": actor_id}}


@pytest.fixture
def saver(valkey_server: ValkeyServer, prefix: str) -> Iterator[AgentCoreValkeySaver]:
    with AgentCoreValkeySaver.from_conn_string(valkey_server.url, prefix=prefix) as saver:
        yield saver


STATE: Any = int


def _graph(saver: Any) -> Any:
    inner = StateGraph(STATE).add_node("double", lambda x: 2 * x).set_entry_point("double").compile(checkpointer=True)
    builder = StateGraph(STATE).add_node("inner", inner).add_node("add_one", lambda x: x + 1)
    return builder.add_edge(START, "inner").add_edge("inner", "add_one").compile(checkpointer=saver)


def test_actors_do_not_meet(saver: AgentCoreValkeySaver) -> None:
    graph = _graph(saver)
    for number, actor in enumerate(("ada", "grace:{x}", "Zoë")):
        graph.invoke(number, _config(actor))
    assert [graph.get_state(_config(actor)).values for actor in ("ada", "grace:{x}", "Zoë", "nobody")] == [1, 3, 5, {}]
    config = graph.get_state(_config("ada")).config
    assert config["configurable"]["actor_id"] == "ada"
    assert graph.get_state(config).values == 1
    assert graph.get_state(_config("ada"), subgraphs=True).values == 1

    saver.delete_thread("session-1", "ada")
    assert graph.get_state(_config("ada")).values == {}
    assert graph.get_state(_config("Zoë")).values == 5


def test_maintenance_is_of_one_actor(saver: AgentCoreValkeySaver) -> None:
    graph = _graph(saver)
    for actor in ("ada", "grace"):
        graph.invoke(1, {**_config(actor), "metadata": {"run_id": "run-1"}})
    whole = len(list(saver.list(_config("ada"))))
    saver.copy_thread("session-1", "session-2", "ada")
    assert len(list(saver.list(_config("ada", "session-2")))) == whole
    assert list(saver.list(_config("grace", "session-2"))) == []
    saver.prune(["session-2"], actor_id="ada")
    assert 0 < len(list(saver.list(_config("ada", "session-2")))) < whole
    known = graph.get_state(_config("grace")).config["configurable"]["thread_id"]
    saver.delete_thread(known)  # which knows its actor
    assert list(saver.list(_config("grace"))) == []
    saver.delete_for_runs(["run-1"], "ada")


def test_from_an_event_loop(valkey_server: ValkeyServer, prefix: str) -> None:
    async def main() -> None:
        async with AgentCoreValkeySaver.afrom_conn_string(valkey_server.url, prefix=prefix, ttl_seconds=60) as saver:
            assert type(saver) is AgentCoreValkeySaver
            graph = _graph(saver)
            assert await graph.ainvoke(1, _config("ada")) == 3
            assert await graph.ainvoke(2, _config("grace")) == 5
            assert (await graph.aget_state(_config("ada"))).values == 3
            await saver.acopy_thread("session-1", "session-2", "ada")
            await saver.aprune(["session-2"], strategy="delete", actor_id="ada")
            await saver.adelete_for_runs(["run-1"], "ada")
            await saver.adelete_thread("session-1", "ada")
            assert [found async for found in saver.alist(_config("ada"))] == []
            assert (await graph.aget_state(_config("grace"))).values == 5

    asyncio.run(main())


def test_nobody_is_taken_for_somebody(saver: AgentCoreValkeySaver) -> None:
    nobody: Any = {"configurable": {"thread_id": "session-1"}}
    for call in (
        lambda: saver.get_tuple(nobody),
        lambda: list(saver.list(nobody)),
        lambda: list(saver.list(None)),
        lambda: saver.delete_thread("session-1"),
        lambda: saver.delete_for_runs(["run-1"]),
        lambda: saver.copy_thread("a", "b"),
        lambda: saver.prune(["a"]),
    ):
        with pytest.raises(InvalidInput, match="actor_id is required: threads belong to actors"):
            call()


@pytest.mark.parametrize("name", ["max_retries", "retry_delay", "nonsense"])
def test_what_it_does_not_take(name: str) -> None:
    options: Any = {name: 1}
    with pytest.raises(InvalidInput, match=name) as caught:
        AgentCoreValkeySaver(object(), **options)
    assert caught.value.field == name
