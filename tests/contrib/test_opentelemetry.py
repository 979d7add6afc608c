"""Spans and metrics of OpenTelemetry, read from the SDK's own exporters."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langgraph.graph import END, START, StateGraph
from opentelemetry import context, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

import statekeep
from statekeep import Checkpoint, Conflict, PutItem
from statekeep.contrib.opentelemetry import BUCKETS, instrument
from statekeep.langgraph_shim import AgentCoreMemorySaver, RepositorySaver, ValkeySaver
from statekeep.testing.aws import AwsEmulator, throttle
from statekeep.testing.servers import ValkeyServer


def _scope(span: ReadableSpan) -> Any:
    return span.instrumentation_scope


class World:
    """Providers of one program, and what they exported."""

    def __init__(self) -> None:
        self.spans_of = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.spans_of))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader])
        self.tracer = self.tracers.get_tracer("the program")

    def instrument(self, **options: Any) -> Any:
        return instrument(self.tracers, self.meters, **options)

    @property
    def spans(self) -> list[ReadableSpan]:
        """Those of Statekeep, in the order in which they ended."""
        return [one for one in self.spans_of.get_finished_spans() if _scope(one).name == "statekeep"]

    def one(self, name: str) -> ReadableSpan:
        [found] = [one for one in self.spans if one.name == name]
        return found

    def points(self, metric: str) -> list[Any]:
        data = self.reader.get_metrics_data()
        metrics = [
            one
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for one in scope.metrics
        ]
        return [point for one in metrics if one.name == metric for point in one.data.data_points]


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.tracers.shutdown()
    world.meters.shutdown()


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


@pytest.mark.parametrize("client", ["glide", "valkey-py"])
@pytest.mark.parametrize("awaits", [False, True])
def test_spans_of_valkey(world: World, valkey_server: ValkeyServer, prefix: str, client: Any, awaits: bool) -> None:
    """All that the conventions ask for, and nothing of what users named."""

    async def main() -> None:
        async with statekeep.aconnect(valkey_server.url, client=client, prefix=prefix) as keep:
            await keep.checkpoints.put(Checkpoint(thread_id="chat-of-ada"))
            await keep.ping()

    with world.instrument():
        if awaits:
            asyncio.run(main())
        else:
            with statekeep.connect(valkey_server.url, client=client, prefix=prefix) as keep:
                keep.checkpoints.put(Checkpoint(thread_id="chat-of-ada"))
                keep.ping()
    put, ping = world.spans
    assert (put.name, put.kind, put.status.status_code) == ("put checkpoints", SpanKind.CLIENT, StatusCode.UNSET)
    found = attributes(put)
    assert found.pop("statekeep.round_trips") >= 1
    assert found.pop("statekeep.bytes_sent") > 10
    assert found.pop("statekeep.bytes_received") > 0
    assert found == {
        "db.system.name": "valkey",
        "db.operation.name": "put",
        "db.collection.name": "checkpoints",
        "db.namespace": "0",
        "server.address": "127.0.0.1",
        "server.port": valkey_server.port,
        "statekeep.retries": 0,
    }
    assert ping.name == f"ping 127.0.0.1:{valkey_server.port}"
    assert "db.collection.name" not in attributes(ping)
    assert "chat-of-ada" not in put.to_json() + ping.to_json()
    assert _scope(put).version == statekeep.version.VERSION


def test_batches_and_errors(world: World) -> None:
    with statekeep.connect("memory:") as keep, world.instrument():
        keep.items.batch([PutItem(namespace=("n",), key=key, value=1) for key in "ab"])
        keep.items.batch([PutItem(namespace=("n",), key="c", value=1)])
        with pytest.raises(Conflict):
            keep.items.put(("n",), "key-of-ada", 2, expected=7)
    two, one, failed = world.spans
    assert attributes(two)["db.operation.batch.size"] == 2
    assert "db.operation.batch.size" not in attributes(one)
    assert (one.kind, attributes(one)["db.system.name"]) == (SpanKind.INTERNAL, "memory")
    assert failed.status.status_code is StatusCode.ERROR
    assert attributes(failed)["error.type"] == "Conflict"
    assert "key-of-ada" not in failed.to_json()
    assert failed.events == ()


def test_places_are_there_if_asked_for(world: World) -> None:
    with statekeep.connect("memory:") as keep, world.instrument(places=True):
        keep.checkpoints.get("chat-1")
        keep.items.list_namespaces()
        keep.items.get(("users", "ada"), "key")
        keep.logs.read(("l",))
    got, listed, item, log = map(attributes, world.spans)
    assert got["statekeep.thread_id"] == "chat-1"
    assert item["statekeep.namespace"] == ("users", "ada")
    assert log["statekeep.log"] == ("l",)
    assert not {"statekeep.thread_id", "statekeep.namespace"} & listed.keys()
    assert "key" not in item.values()


def test_parents_are_the_callers_spans(world: World) -> None:
    """Blocking, awaited, with tasks side by side, and in threads."""
    with statekeep.connect("memory:") as keep, world.instrument():

        def of(number: int) -> None:
            with world.tracer.start_as_current_span(f"parent {number}"):
                keep.items.put(("n",), str(number), 1)

        async def aof(number: int) -> None:
            with world.tracer.start_as_current_span(f"parent {number}"):
                await asyncio.sleep(0)
                await keep.asyncio.items.put(("n",), str(number), 1)
                await asyncio.sleep(0)

        async def main() -> None:
            await asyncio.gather(*map(aof, range(1, 10)))
            await asyncio.to_thread(of, 10)

        of(0)
        asyncio.run(main())
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(of, range(11, 20)))
        keep.checkpoints.get("t")
    parents = {one.context.span_id: one.name for one in world.spans_of.get_finished_spans() if one.name != "put items"}
    puts = [one for one in world.spans if one.name == "put items"]
    assert sorted(parents[one.parent.span_id] for one in puts if one.parent) == sorted(
        f"parent {number}" for number in range(20)
    )
    assert world.one("get checkpoints").parent is None
    assert trace.get_current_span() is trace.INVALID_SPAN


@pytest.mark.parametrize("awaits", [False, True])
def test_the_span_is_current_while_the_operation_runs(world: World, awaits: bool) -> None:
    inside: list[Any] = []

    def change(number: int) -> int:
        inside.append(trace.get_current_span().get_span_context().span_id)
        return number

    with statekeep.connect("memory:") as keep, world.instrument(), world.tracer.start_as_current_span("parent") as span:
        if awaits:
            asyncio.run(keep.asyncio.items.of(int, ("n",)).update("k", change, default=0))
        else:
            keep.items.of(int, ("n",)).update("k", change, default=0)
        assert trace.get_current_span() is span
    assert inside == [world.one("update items").context.span_id]


def test_spans_below_it_of_boto3(world: World) -> None:
    """They are children of the operation for which boto3 is called, in whatever thread."""

    def note(**_: Any) -> None:
        with lock, world.tracer.start_as_current_span("call"):
            pass

    lock = threading.Lock()
    with AwsEmulator() as aws, world.instrument():
        client = aws.client("bedrock-agentcore")
        client.meta.events.register("before-send.bedrock-agentcore", note)
        with statekeep.connect(f"agentcore://{aws.memory_id}?actor_id=ada", client=client) as keep:
            keep.items.put(("n",), "k", {"a": 1})
            asyncio.run(_write_side_by_side(keep.asyncio))
        client.close()
    calls = [one for one in world.spans_of.get_finished_spans() if one.name == "call"]
    operations = {one.context.span_id: one for one in world.spans}
    counted = dict.fromkeys(operations, 0)
    for call in calls:
        assert call.parent is not None
        counted[call.parent.span_id] += 1
    assert counted == {id_: attributes(one)["statekeep.round_trips"] for id_, one in operations.items()}
    [address] = {attributes(one)["server.address"] for one in world.spans}
    assert address == "127.0.0.1"
    assert {attributes(one)["db.namespace"] for one in world.spans} == {aws.memory_id}
    assert {attributes(one)["db.system.name"] for one in world.spans} == {"aws.bedrock_agentcore"}


async def _write_side_by_side(keep: statekeep.AsyncConnection) -> None:
    puts = (keep.items.put(("n",), str(number), {"a": number}) for number in range(8))
    await asyncio.gather(*puts)


def test_retries_of_agentcore(world: World) -> None:
    with AwsEmulator() as aws, world.instrument(), AgentCoreMemorySaver(aws.memory_id, session=aws.session()) as saver:
        with aws.failing(throttle(times=1)):
            saver.get_tuple({"configurable": {"thread_id": "t", "actor_id": "ada"}})
    assert attributes(world.one("get checkpoints"))["statekeep.retries"] == 1
    [point] = world.points("statekeep.client.retries")
    assert point.value == 1


def test_graphs_of_langgraph(world: World, valkey_server: ValkeyServer, prefix: str) -> None:
    with world.instrument(), ValkeySaver.from_conn_string(valkey_server.url, prefix=prefix) as saver:
        builder: Any = StateGraph(int)
        builder.add_node("add_one", lambda x: x + 1).add_edge(START, "add_one")
        graph = builder.add_edge("add_one", END).compile(checkpointer=saver)
        config: Any = {"configurable": {"thread_id": "chat-of-ada"}}
        with world.tracer.start_as_current_span("invoke") as span:
            assert graph.invoke(1, config) == 2
        with world.tracer.start_as_current_span("ainvoke") as other:
            assert asyncio.run(graph.ainvoke(1, config)) == 2
    parents = {one.parent.span_id for one in world.spans if one.parent}
    assert parents == {span.get_span_context().span_id, other.get_span_context().span_id}
    assert {one.name for one in world.spans} >= {"get checkpoints", "put checkpoints", "put_writes checkpoints"}
    assert not any("chat-of-ada" in one.to_json() for one in world.spans)


def test_metrics(world: World) -> None:
    with statekeep.connect("memory:") as keep, world.instrument(spans=False):
        for _ in range(3):
            keep.items.put(("n",), "k", 1)
        with pytest.raises(Conflict):
            keep.items.put(("n",), "k", 2, expected=7)
    assert world.spans == []
    good, bad = sorted(world.points("db.client.operation.duration"), key=lambda point: -point.count)
    common = {"db.system.name": "memory", "db.operation.name": "put", "db.collection.name": "items"}
    assert dict(good.attributes) == common
    assert dict(bad.attributes) == {**common, "error.type": "Conflict"}
    assert (good.count, bad.count) == (3, 1)
    assert tuple(good.explicit_bounds) == BUCKETS == (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)
    assert 0 < good.sum < 1


def test_metrics_of_bytes(world: World, valkey_server: ValkeyServer, prefix: str) -> None:
    with statekeep.connect(valkey_server.url, prefix=prefix) as keep, world.instrument():
        keep.items.put(("n",), "k", "x" * 1000)
        keep.items.get(("n",), "k")
    io = {
        (point.attributes["db.operation.name"], point.attributes["network.io.direction"]): point.value
        for point in world.points("statekeep.client.io")
    }
    assert io["put", "transmit"] > 1000
    assert io["get", "receive"] > 1000
    assert io["get", "transmit"] < 1000
    durations = {
        point.attributes["db.operation.name"]: point.sum for point in world.points("db.client.operation.duration")
    }
    for span in world.spans:
        assert span.end_time is not None
        assert span.start_time is not None
        took = (span.end_time - span.start_time) / 1e9
        assert durations[attributes(span)["db.operation.name"]] == pytest.approx(took, abs=1e-6)


def test_two_programs_in_one(world: World) -> None:
    """Each has its own spans, and ends on its own."""
    other = World()
    with statekeep.connect("memory:") as keep:
        first, second = world.instrument(), other.instrument(metrics=False)
        keep.checkpoints.get("a")
        first.end()
        keep.checkpoints.get("b")
        second.end()
        keep.checkpoints.get("c")
    assert (len(world.spans), len(other.spans)) == (1, 2)
    assert len(world.points("db.client.operation.duration")) == 1
    assert other.points("db.client.operation.duration") == []
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_instrumentation_may_be_suppressed(world: World) -> None:
    with statekeep.connect("memory:") as keep, world.instrument():
        token = context.attach(context.set_value("suppress_instrumentation", True))
        keep.checkpoints.get("a")
        context.detach(token)
        keep.checkpoints.get("b")
    assert len(world.spans) == 1


def test_spans_that_are_not_sampled(world: World) -> None:
    tracers = TracerProvider(sampler=ALWAYS_OFF)
    tracers.add_span_processor(SimpleSpanProcessor(world.spans_of))
    with statekeep.connect("memory:") as keep, instrument(tracers, world.meters):
        keep.checkpoints.get("a")
    assert world.spans == []
    assert [point.count for point in world.points("db.client.operation.duration")] == [1]


def test_without_an_sdk_operations_go_on() -> None:
    with statekeep.connect("memory:") as keep, instrument():
        assert keep.checkpoints.get("a") is None
        assert RepositorySaver(keep.checkpoints).get_tuple({"configurable": {"thread_id": "t"}}) is None
