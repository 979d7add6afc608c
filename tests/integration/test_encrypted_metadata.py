"""No stored byte shows metadata that is encrypted, nor what a graph's config had under ``configurable``."""

from __future__ import annotations

import base64
import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.graph import START, StateGraph
from langgraph.types import Command, Send, interrupt

import statekeep
from statekeep import InvalidInput
from statekeep.langgraph_shim import (
    AgentCoreMemorySaver,
    AgentCoreValkeySaver,
    AsyncValkeySaver,
    BedrockSessionSaver,
    RepositorySaver,
    ValkeySaver,
)
from statekeep.testing.aws import AwsEmulator
from statekeep.testing.servers import ValkeyCluster, ValkeyServer

from .bedrock.named import named

pytestmark = pytest.mark.anyio

SECRET = "the-secret-of-ada"


class Cipher:
    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        return "flip", bytes(byte ^ 0xFF for byte in plaintext)

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        return bytes(byte ^ 0xFF for byte in ciphertext)


SERDE: Any = EncryptedSerializer(Cipher())


class State(TypedDict, total=False):
    parts: Annotated[list[str], operator.add]


def _graph(saver: Any) -> Any:
    def part(state: Any) -> State:
        return {"parts": [f"{SECRET} {state}"]}

    def ask(state: State) -> State:
        return {"parts": [interrupt(f"really, {SECRET}?")]}

    def spread(state: State) -> list[Send]:
        return [Send("part", number) for number in range(3)]

    inner = StateGraph(State).add_node("deep", part).add_edge(START, "deep").compile(checkpointer=True)
    builder = StateGraph(State).add_node("part", part).add_node("inner", inner).add_node("ask", ask)
    builder.add_conditional_edges(START, spread).add_edge("part", "inner").add_edge("inner", "ask")
    return builder.compile(checkpointer=saver)


def _config(run: int = 1) -> Any:
    return {
        "configurable": {"thread_id": "t1", "actor_id": "ada", "email": SECRET},
        "metadata": {"user": SECRET, "tenant": "acme", "run_id": f"run-{run}"},
    }


def _spellings(secret: str) -> list[bytes]:
    """As it is, and as a part of base64, which may begin at any byte of three."""
    data = secret.encode()
    return [data, *(base64.b64encode(b"\0" * skip + data)[4:-4] for skip in range(3))]


def _shows(found: bytes) -> bool:
    return any(spelling in found for spelling in _spellings(SECRET))


def _stored(server: ValkeyServer | ValkeyCluster, prefix: str) -> bytes:
    """Return all names and values of keys with a prefix."""
    found: list[bytes] = []
    with server.client() as client:
        scan: dict[str, Any] = {"target_nodes": "primaries"} if isinstance(server, ValkeyCluster) else {}
        for key in client.scan_iter(match=f"{prefix}*", count=1000, **scan):
            kind = client.type(key)
            if kind == b"zset":
                value: Any = client.zrange(key, 0, -1)
            else:
                value = {b"hash": client.hgetall, b"set": client.smembers, b"string": client.get}[kind](key)
            found += [key, repr(value).encode()]
    assert len(found) > 20
    return b"\n".join(found)


class _Sent(list[bytes]):
    """What was sent to AWS."""

    def __call__(self, params: Any, **_: Any) -> None:
        self.append(repr(params).encode())


@contextmanager
def _on_aws(service: str, make: Callable[[AwsEmulator, Any], Any]) -> Iterator[tuple[Any, _Sent]]:
    """Make a saver that compresses nothing, so that what is sent can be looked through."""
    sent = _Sent()
    with AwsEmulator() as aws, pytest.MonkeyPatch.context() as patches:
        patches.setattr("statekeep.repositories.records.framing._PLAIN", 10**9)
        client = aws.client(service)
        client.meta.events.register(f"provide-client-params.{service}.*", sent)
        with make(aws, client) as saver:
            yield saver, sent
        client.close()


def _agentcore(**options: Any) -> Any:
    return _on_aws(
        "bedrock-agentcore", lambda aws, client: AgentCoreMemorySaver(aws.memory_id, client=client, **options)
    )


def _sessions(**options: Any) -> Any:
    return _on_aws("bedrock-agent-runtime", lambda aws, client: named(BedrockSessionSaver(client, **options)))


def _use(saver: Any, *, encrypts: bool = True) -> None:
    graph = _graph(saver)
    graph.invoke({"parts": []}, _config())
    graph.invoke(Command(resume="yes"), _config())
    state = graph.get_state(_config())
    assert len(state.values["parts"]) == 8
    assert state.metadata["user"] == SECRET
    assert state.metadata["email"] == SECRET
    where = {"configurable": {"thread_id": "t1", "actor_id": "ada", "checkpoint_ns": ""}}
    every = list(saver.list(where))
    assert {found.metadata["user"] for found in every} == {SECRET}
    assert [found.metadata["step"] for found in saver.list(where, filter={"tenant": "acme"}, limit=1)] == [
        every[0].metadata["step"]
    ]
    assert list(saver.list(where, filter={"tenant": "other"})) == []
    if not encrypts:
        return
    with pytest.raises(InvalidInput, match="filter: 'user' is encrypted") as caught:
        saver.list(where, filter={"user": SECRET})
    assert caught.value.field == "filter"


OPTIONS: Any = {"serde": SERDE, "encrypt_metadata": ["tenant"]}


@pytest.mark.parametrize("client", ["glide", "valkey-py"])
@pytest.mark.parametrize("where", ["valkey_server", "valkey_cluster"])
@pytest.mark.parametrize("kind", [ValkeySaver, AgentCoreValkeySaver])
def test_on_valkey(request: pytest.FixtureRequest, prefix: str, client: Any, where: str, kind: Any) -> None:
    server: ValkeyServer | ValkeyCluster = request.getfixturevalue(where)
    with kind.from_conn_string(server.url, prefix=prefix, client=client, **OPTIONS) as saver:
        _use(saver)
        assert not _shows(_stored(server, prefix))
        saver.prune(["t1"], **({"actor_id": "ada"} if kind is AgentCoreValkeySaver else {}))
        state = _graph(saver).get_state(_config())
        assert state.metadata["user"] == SECRET
        if kind is ValkeySaver:
            saver.delete_for_runs(["run-1"])
            assert list(saver.list({"configurable": {"thread_id": "t1", "checkpoint_ns": ""}})) == []


def test_without_it_metadata_is_there_to_read(valkey_server: ValkeyServer, prefix: str) -> None:
    """The search for the secret finds it where it is."""
    with ValkeySaver.from_conn_string(valkey_server.url, prefix=prefix, serde=SERDE) as saver:
        _use(saver, encrypts=False)
        assert _shows(_stored(valkey_server, prefix))
    with _agentcore(serde=SERDE) as (saver, sent):
        _graph(saver).invoke({"parts": []}, _config())
        assert _shows(b"".join(sent))


async def test_from_event_loops(valkey_server: ValkeyServer, prefix: str) -> None:
    async with AsyncValkeySaver.from_conn_string(valkey_server.url, prefix=prefix, **OPTIONS) as saver:
        graph = _graph(saver)
        await graph.ainvoke({"parts": []}, _config())
        assert (await graph.aget_state(_config())).metadata["user"] == SECRET
        assert not _shows(_stored(valkey_server, prefix))
        with pytest.raises(InvalidInput):
            saver.alist(None, filter={"user": 1})


def test_on_agentcore() -> None:
    with _agentcore(**OPTIONS) as (saver, sent):
        _use(saver)
        assert len(sent) > 20
        assert not _shows(b"".join(sent))
        saver.delete_for_runs(["run-1"])
        assert list(saver.list({"configurable": {"thread_id": "t1", "actor_id": "ada", "checkpoint_ns": ""}})) == []


def test_in_sessions_of_bedrock() -> None:
    with _sessions(**OPTIONS) as (saver, sent):
        _use(saver)
        assert len(sent) > 20
        assert not _shows(b"".join(sent))
        after = saver.continue_thread("t1")
        found = saver.get_tuple({"configurable": {"thread_id": after}})
        assert found.metadata["user"] == SECRET
        assert not _shows(b"".join(sent))
    with _sessions(serde=SERDE) as (saver, sent):
        _graph(saver).invoke({"parts": []}, _config())
        assert _shows(b"".join(sent))


def test_in_memory() -> None:
    _use(RepositorySaver(statekeep.connect("memory:").checkpoints, **OPTIONS))


def test_threads_with_both_kinds(valkey_server: ValkeyServer, prefix: str) -> None:
    options: Any = {"prefix": prefix, "serde": SERDE}
    with (
        ValkeySaver.from_conn_string(valkey_server.url, **options) as plain,
        ValkeySaver.from_conn_string(valkey_server.url, encrypt_metadata=True, **options) as encrypting,
        ValkeySaver.from_conn_string(valkey_server.url, encrypt_metadata=["tenant"], **options) as naming,
    ):
        for run, saver in enumerate((plain, encrypting, naming)):
            _graph(saver).invoke({"parts": []}, _config(run))
        seen: list[list[Any]] = [
            [found.metadata for found in saver.list(_config())] for saver in (plain, encrypting, naming)
        ]
        assert seen[0] == seen[1] == seen[2]
        assert {metadata["email"] for metadata in seen[0]} == {SECRET}
        # What was encrypted cannot be found by it.
        tenants = len(list(plain.list(_config(), filter={"tenant": "acme"})))
        assert 0 < tenants < len(seen[0])
        assert tenants == len(list(naming.list(_config(), filter={"tenant": "acme"})))


def test_a_serializer_that_does_not_encrypt(valkey_server: ValkeyServer) -> None:
    with pytest.raises(InvalidInput, match="JsonPlusSerializer writes clear text"):
        ValkeySaver.from_conn_string(valkey_server.url, encrypt_metadata=True)


def test_a_name_that_it_needs() -> None:
    saver = RepositorySaver(statekeep.connect("memory:").checkpoints)
    config = {"configurable": {"thread_id": "t"}, "metadata": {"statekeep:encrypted": 1}}
    with pytest.raises(InvalidInput, match="is that of encrypted metadata"):
        _graph(saver).invoke({"parts": []}, config)
