"""Objects whose constructor failed: trackers of errors show them, so their text must not raise."""

from __future__ import annotations

import inspect
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest

import statekeep.langgraph_shim as shim
from statekeep.langgraph_shim.checkpoint import agentcore as shim_agentcore
from statekeep.repositories import cache, checkpoints, connect, items, memory
from statekeep.repositories.agentcore import backend as agentcore
from statekeep.repositories.aws import client as aws

MODULES: tuple[ModuleType, ...] = (
    shim,
    shim_agentcore,
    cache,
    checkpoints,
    connect,
    items,
    memory,
    agentcore,
    aws,
    *(
        import_module(f"statekeep.repositories.valkey.{name}")
        for name in (
            "backend",
            "cache.backend",
            "checkpoints.backend",
            "client.url_client",
            "client.user_client",
            "embedded.server",
            "items.backend",
        )
    ),
)


def _with_text_of_their_own() -> list[type]:
    found = {
        kind
        for module in MODULES
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if kind.__module__.startswith("statekeep.")
        and not inspect.isabstract(kind)
        and not hasattr(kind, "__attrs_attrs__")
        and not hasattr(kind, "model_fields")
        and not issubclass(kind, dict | BaseException)
        and not getattr(kind, "_is_protocol", False)
        and kind.__repr__ is not object.__repr__
    }
    return sorted(found, key=lambda kind: kind.__qualname__)


@pytest.mark.parametrize("kind", _with_text_of_their_own(), ids=lambda kind: kind.__name__)
def test_the_text_of_an_object_that_was_never_made(kind: Any) -> None:
    assert kind.__name__ in repr(kind.__new__(kind))


def test_there_are_many_of_them() -> None:
    names = {kind.__name__ for kind in _with_text_of_their_own()}
    assert {"ValkeySaver", "AsyncValkeyStore", "ValkeyCache", "AgentCoreMemorySaver", "ItemRepository"} <= names
    assert {"Connection", "MemoryItems", "ValkeyCheckpoints", "AgentCoreCheckpoints", "AwsClient"} <= names
