"""The way of a request through the package: how many functions and modules it passes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import Checkpoint, CheckpointMetadata

from statekeep.domain.ids import new_checkpoint_id
from statekeep.langgraph_shim import ValkeySaver
from statekeep.testing.servers import ValkeyServer

PACKAGE = "statekeep"


class Way:
    """The functions of the package that a call entered, in order; one that is resumed counts again.

    Attributes:
        sent: how many of them before the first bytes went into a socket.
    """

    def __init__(self, call: Callable[[], object]) -> None:
        self.functions: list[tuple[str, str]] = []
        self.sent: int | None = None
        sys.setprofile(self._note)
        try:
            call()
        finally:
            sys.setprofile(None)

    def _note(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            module = frame.f_globals.get("__name__", "")
            if module.partition(".")[0] == PACKAGE:
                self.functions.append((module, frame.f_code.co_name))
        elif event == "c_call" and self.sent is None and argument.__name__ == "sendall":
            self.sent = len(self.functions)

    def check(self, functions: list[tuple[str, str]], *, most_modules: int, most_calls: int) -> None:
        modules = {module for module, _ in functions}
        shown = "\n".join(f"{module}: {name}" for module, name in functions)
        assert len(modules) <= most_modules and len(functions) <= most_calls, (  # noqa: PT018
            f"{len(modules)} modules, {len(functions)} calls:\n{shown}"
        )


@pytest.fixture
def saver(valkey_server: ValkeyServer, prefix: str) -> Iterator[ValkeySaver]:
    with ValkeySaver.from_conn_string(valkey_server.url, client="valkey-py", prefix=prefix) as saver:
        yield saver


THREAD: RunnableConfig = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}


def step(config: RunnableConfig, **changed: object) -> tuple[RunnableConfig, Checkpoint, CheckpointMetadata, Any]:
    """Make the arguments of a put: two channels, of which some changed."""
    checkpoint = Checkpoint(
        v=4,
        id=new_checkpoint_id(),
        ts="2026-01-02T03:04:05+00:00",
        channel_values={"messages": ["hello"], "topic": "tea", **changed},
        channel_versions={"messages": "1", "topic": "1", **dict.fromkeys(changed, "2")},
        versions_seen={},
        updated_channels=None,
    )
    versions = dict.fromkeys(changed, "2") or checkpoint["channel_versions"]
    return config, checkpoint, {"source": "loop", "step": 1, "run_id": "r", "parents": {}}, versions


def test_a_put_goes_straight_to_the_socket(saver: ValkeySaver) -> None:
    parent = saver.put(*step(saver.put(*step(THREAD)), topic="milk"))  # connects, and loads what is loaded once
    arguments = step(parent, topic="coffee")
    way = Way(lambda: saver.put(*arguments))
    assert way.sent is not None
    way.check(way.functions[: way.sent], most_modules=27, most_calls=65)


def test_pending_writes_go_straight_to_the_socket(saver: ValkeySaver) -> None:
    config = saver.put(*step(THREAD))
    saver.put_writes(config, [("topic", "milk")], "first")
    way = Way(lambda: saver.put_writes(config, [("topic", "coffee")], "second"))
    assert way.sent is not None
    way.check(way.functions[: way.sent], most_modules=20, most_calls=49)


@pytest.mark.parametrize("newest", [True, False], ids=["the newest", "by its id"])
def test_a_get_goes_straight_to_the_socket_and_back(saver: ValkeySaver, newest: bool) -> None:
    config = saver.put(*step(saver.put(*step(THREAD)), topic="milk"))
    config = THREAD if newest else config
    saver.get_tuple(config)
    way = Way(lambda: saver.get_tuple(config))
    assert way.sent is not None
    way.check(way.functions, most_modules=22, most_calls=70)
