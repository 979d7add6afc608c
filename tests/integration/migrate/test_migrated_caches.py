"""Cache entries: what hit before hits after."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import Any

import pytest
from langgraph.cache.base import BaseCache
from langgraph.graph import END, START, StateGraph
from langgraph.types import CachePolicy

import statekeep
from statekeep.domain import Unsupported
from statekeep.langgraph_shim import RepositoryCache, amigrate, migrate

from .graphs import State
from .peers import CACHES, Peers

# LangGraph's own cache calls a method of redis-py that is to go.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")


@pytest.fixture(params=CACHES)
def old(request: pytest.FixtureRequest, peers: Peers) -> BaseCache[Any]:
    return peers.cache(request.param)


def costly(ran: Counter[str], cache: Any) -> Any:
    def work(state: State) -> State:
        ran["work"] += 1
        return {"log": ["worked"]}

    builder = StateGraph(State).add_node("work", work, cache_policy=CachePolicy(ttl=600))
    return builder.add_edge(START, "work").add_edge("work", END).compile(cache=cache)


def test_hits(old: BaseCache[Any]) -> None:
    ran: Counter[str] = Counter()
    # Blocking methods of the package for Valkey start an event loop of their own.
    costly(ran, old).invoke({"data": 1})
    assert ran["work"] == 1
    with statekeep.connect("memory:") as keep:
        report = migrate(old, keep.cache, verify="all")
        assert (report.cache_entries, report.cache_entries_put, report.verified) == (1, 1, 1)
        assert costly(ran, RepositoryCache(keep.cache)).invoke({"data": 1})["log"] == ["worked"]
        assert ran["work"] == 1
        assert migrate(old, keep).written == 0


def test_ends_and_namespaces(old: BaseCache[Any]) -> None:
    old.set({(("a", "b"), "k"): ({"v": 1}, 600), ((), "alone"): ([2], None)})
    with statekeep.connect("memory:", ttl=5) as keep:
        migrate(old, RepositoryCache(keep.cache), verify="all")
        found = keep.cache.get([(("a", "b"), "k"), ((), "alone")])
        ends = found[("a", "b"), "k"].expires_at
        assert ends is not None
        assert dt.timedelta(seconds=590) < ends - dt.datetime.now(dt.UTC) <= dt.timedelta(seconds=601)
        assert found[(), "alone"].expires_at is None
        assert RepositoryCache(keep.cache).get([(("a", "b"), "k")]) == {(("a", "b"), "k"): {"v": 1}}


@pytest.mark.anyio
async def test_in_an_event_loop(peers: Peers) -> None:
    old = peers.cache("sqlite")
    await old.aset({(("a",), str(number)): (number, None) for number in range(250)})
    async with statekeep.aconnect("memory:") as keep:
        report = await amigrate(old, keep, verify="all")
        assert (report.cache_entries_put, report.verified) == (250, 250)
        assert (await amigrate(old, keep)).written == 0


class Hidden(BaseCache[Any]):
    def get(self, keys: Any) -> Any:
        return {}

    async def aget(self, keys: Any) -> Any:
        return {}

    def set(self, pairs: Any) -> None: ...

    async def aset(self, pairs: Any) -> None: ...

    def clear(self, namespaces: Any = None) -> None: ...

    async def aclear(self, namespaces: Any = None) -> None: ...


def test_a_cache_that_cannot_be_listed() -> None:
    with statekeep.connect("memory:") as keep, pytest.raises(Unsupported, match="cannot be listed"):
        migrate(Hidden(), keep.cache)
