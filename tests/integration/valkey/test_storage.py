"""How much is stored and sent for a long thread with a large document that never changes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
import valkey
from langgraph.checkpoint.base import Checkpoint, empty_checkpoint

from statekeep.langgraph_shim import ValkeySaver
from statekeep.testing.servers import ValkeyServer

from .counting_proxy import CountingProxy
from .valkey_audit import audit

STEPS = 100
DOCUMENT = 100_000
MESSAGE = 1_000


@pytest.fixture
def proxy(valkey_server: ValkeyServer) -> Iterator[CountingProxy]:
    with CountingProxy(valkey_server.port) as proxy:
        yield proxy


def stored(client: Any, prefix: str) -> int:
    """Bytes of memory that all keys under a prefix take, counted over all their elements."""
    return sum(client.memory_usage(key, samples=0) for key in client.scan_iter(f"{prefix}:*"))


def test_a_long_thread_is_stored_and_sent_once(
    valkey_server: ValkeyServer, proxy: CountingProxy, prefix: str, record_property: Any
) -> None:
    source = random.Random(1)

    def text(size: int) -> str:
        return "".join(source.choices("abcdefghijklmnopqrstuvwxyz     ", k=size))

    client: Any
    with valkey.Valkey(port=proxy.port) as through, valkey_server.client() as client:
        saver = ValkeySaver(through, prefix=prefix)
        config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
        document, messages = text(DOCUMENT), list[str]()
        versions: dict[str, str] = {}
        sent_by_put, sent_by_writes = [], []
        # A server that does not know a script yet makes the client send the request a second time.
        warm: Any = {"configurable": {"thread_id": "warm", "checkpoint_ns": ""}}
        saver.put_writes(saver.put(warm, empty_checkpoint(), {}, {}), [("c", 1)], "task")
        saver.delete_thread("warm")
        before = client.info("memory")["used_memory"]
        for step in range(STEPS):
            messages = [*messages, text(MESSAGE)]
            new = {"messages": saver.get_next_version(versions.get("messages"), None)}
            if step == 0:
                new["document"] = saver.get_next_version(None, None)
            versions |= new
            checkpoint: Checkpoint = {
                **empty_checkpoint(),
                "channel_values": {"document": document, "messages": messages},
                "channel_versions": {**versions},
            }
            proxy.reset()
            config = saver.put(config, checkpoint, {"source": "loop", "step": step}, {**new})
            sent_by_put.append(proxy.sent)
            proxy.reset()
            for task in range(2):
                saver.put_writes(config, [("messages", text(MESSAGE))], f"task {task}")
            sent_by_writes.append(proxy.sent)
        grown = client.info("memory")["used_memory"] - before
        total = stored(client, prefix)
        record_property("stored bytes", total)
        record_property("bytes sent by the first put, the second, the last", (*sent_by_put[:2], sent_by_put[-1]))
        print(f"stored {total}, used_memory +{grown}, puts {sent_by_put[:2]} ... {sent_by_put[-1]}")

        saved = saver.get_tuple(config)
        assert saved
        assert saved.checkpoint["channel_values"] == {"document": document, "messages": messages}
        assert len(list(saver.list({"configurable": {"thread_id": "t"}}))) == STEPS
        found = audit(client, prefix)
        assert not found.problems
        assert not found.unused
        assert total <= 7_000_000
        # The document goes over the wire with the first put; afterwards what changed, and little more.
        assert DOCUMENT < sent_by_put[0] < DOCUMENT + MESSAGE + 2_500
        for step, sent in enumerate(sent_by_put[1:], 1):
            assert sent < (step + 1) * (MESSAGE + 10) + 2_500, step
        for sent in sent_by_writes[1:]:
            assert sent < 2 * (MESSAGE * 4 / 3 + 1_200)
