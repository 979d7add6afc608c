"""All workloads by their names on the command line, in the order in which a run does them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from . import agentcore, caches, cold, concurrency, costs, growth, network, stored, stores
from .comparison import compare
from .conversations import Shape
from .scripts import conversation, fan_out, large
from .suite import Suite


def chat(suite: Suite) -> None:
    """A chat of 10 steps, messages of 200 bytes."""
    shape = Shape(steps=10, message=200)
    compare(
        suite, "chat", "Short chat", lambda name: conversation(name, shape), rounds=150, seconds=60, with_floor=True
    )


def document(suite: Suite) -> None:
    """10 and 100 steps beside a constant document of 100 KB, messages of 1 KB."""
    # With 100 messages, LangGraph's serializer takes longer than all that comes from the server.
    for key, steps, rounds, seconds in (
        ("document", 10, 60, 50),
        ("long document", 20 if suite.quick else 100, 30, 70),
    ):
        compare(
            suite,
            key,
            f"100 KB document, {steps} steps",
            partial(conversation, shape=Shape(steps, message=1000, constant=100_000)),
            rounds=rounds,
            seconds=seconds,
            with_floor=True,
        )


def parallel(suite: Suite) -> None:
    """30 tasks of one step store their writes, one after the other and side by side."""
    compare(suite, "fan-out", "30 tasks in one step", fan_out, rounds=100, seconds=40, with_floor=True)
    concurrency.fan_out_at_once(suite)


def mebibyte(suite: Suite) -> None:
    """A channel of 1 MiB."""
    compare(suite, "large", "1 MiB channel", lambda name: large(name, 1 << 20), rounds=30, seconds=40, with_floor=True)


WORKLOADS: dict[str, Callable[[Suite], None]] = {
    "chat": chat,
    "document": document,
    "fan-out": parallel,
    "large": mebibyte,
    "growth": growth.growth,
    "threads": concurrency.threads,
    "runs": concurrency.runs,
    "network": network.network,
    "costs": costs.costs,
    "stored": stored.stored,
    "cold": cold.cold,
    "store": stores.store,
    "cache": caches.cache,
    "agentcore": agentcore.agentcore,
}
