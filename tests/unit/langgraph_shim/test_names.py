"""The names of langgraph-checkpoint-aws: the table of the docs, what is there, and what says why it is not."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import re
from pathlib import Path

import pytest

import statekeep
from statekeep import langgraph_shim as shim
from statekeep.langgraph_shim.names import ABSENT

# The ``__all__`` of langgraph-checkpoint-aws 1.2.6.
NAMES = {
    "AgentCoreMemorySaver",
    "AgentCoreMemoryStore",
    "AgentCoreValkeySaver",
    "AsyncBatchFlushable",
    "AsyncBedrockAgentRuntimeSessionClient",
    "AsyncBedrockSessionSaver",
    "AsyncValkeySaver",
    "AsyncValkeyStore",
    "BedrockAgentRuntimeSessionClient",
    "BedrockSessionSaver",
    "DeferredCheckpointSaver",
    "DynamoDBSaver",
    "DynamoDBStore",
    "PendingWrite",
    "SDK_USER_AGENT",
    "SyncBatchFlushable",
    "ValkeyCache",
    "ValkeyConnectionError",
    "ValkeyDocumentParsingError",
    "ValkeyEmbeddingGenerationError",
    "ValkeyIndexConfig",
    "ValkeySaver",
    "ValkeySearchIndexError",
    "ValkeyStore",
    "ValkeyStoreError",
    "ValkeyTTLConfigurationError",
    "ValkeyValidationError",
    "valkey_available",
}
PAGE = Path(__file__).parents[3] / "docs/langgraph-checkpoint-aws.md"
TABLE = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", PAGE.read_text("utf-8"), re.MULTILINE))


@pytest.mark.skipif(
    importlib.util.find_spec("langgraph_checkpoint_aws") is None,
    reason="langgraph-checkpoint-aws is in the group bench",
)
def test_the_list_is_that_of_the_package() -> None:
    assert set(importlib.import_module("langgraph_checkpoint_aws").__all__) == NAMES


def test_the_table_has_every_name() -> None:
    assert list(TABLE) == sorted(NAMES)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_name_is_what_the_table_says(name: str) -> None:
    says = TABLE[name]
    if says.startswith("the same name"):
        assert name in shim.__all__
        assert getattr(shim, name).__class__ is bool or getattr(shim, name).__name__ == name
    elif other := re.match(r"`statekeep\.(\w+)`", says):
        assert getattr(shim, name) is getattr(statekeep, other[1])
    else:
        assert says.startswith("no")
        assert name in ABSENT
        for module in (shim, shim.checkpoint, shim.store, shim.cache):
            with pytest.raises(ImportError, match=f"^{name} of .* is not here"):
                getattr(module, name)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("", "ValkeySaver"),
        ("checkpoint", "AgentCoreValkeySaver"),
        ("checkpoint", "AsyncValkeySaver"),
        ("checkpoint.agentcore", "AgentCoreMemorySaver"),
        ("checkpoint.valkey", "ValkeySaver"),
        ("store", "AsyncValkeyStore"),
        ("store", "ValkeyIndexConfig"),
        ("store", "AgentCoreMemoryStore"),
        ("store.agentcore", "AgentCoreMemoryStore"),
        ("store.valkey", "ValkeyStore"),
        ("cache", "ValkeyCache"),
        ("cache.valkey", "ValkeyCache"),
    ],
)
def test_module_paths(module: str, name: str) -> None:
    found = importlib.import_module(f"statekeep.langgraph_shim.{module}".rstrip("."))
    assert getattr(found, name) is getattr(shim, name)


def test_an_import_says_what_to_use() -> None:
    with pytest.raises(ImportError, match="Use ValkeyStore"):
        from statekeep.langgraph_shim import DynamoDBStore  # noqa: F401
    with pytest.raises(AttributeError, match="has no attribute 'ValkeySavor'"):
        getattr(shim, "ValkeySavor")  # noqa: B009 - mypy would find it
    assert shim.valkey_available is True


@pytest.mark.parametrize(
    ("alias", "error"),
    [
        (shim.ValkeyStoreError, statekeep.AccessDenied("x")),
        (shim.ValkeyConnectionError, statekeep.Unavailable("x")),
        (shim.ValkeyValidationError, statekeep.InvalidInput("x")),
    ],
)
def test_an_alias_catches(alias: type[Exception], error: Exception) -> None:
    with pytest.raises(alias):
        raise error


def test_a_search_names_its_prefix() -> None:
    """LangGraph's own stores take it by position only."""
    store = shim.RepositoryStore(statekeep.connect("memory:").items)
    store.put(("notes", "ada"), "a", {"size": 1})
    found = store.search(namespace_prefix=("notes",), filter={"size": 1}, limit=5)
    assert [item.key for item in found] == ["a"]
    assert found == store.search(("notes",)) == asyncio.run(store.asearch(namespace_prefix=("notes",)))
