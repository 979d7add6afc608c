"""The page on migration: its code runs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import statekeep
from statekeep.testing.servers import ValkeyServer
from tests.fenced import ROOT, blocks

from .graphs import questions, thread
from .peers import URLS, Peers

PAGE = ROOT / "docs/migrating.md"


def test_python_runs(
    peers: Peers, valkey_server: ValkeyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One block behind the other, as a reader would type them."""
    monkeypatch.chdir(tmp_path)
    for kind in URLS:
        graph = questions(Counter()).compile(checkpointer=peers.saver(kind))
        graph.invoke({"log": ["in"]}, thread(f"{kind} thread"))
        peers.store(kind).put(("notes", kind), "k", {"v": kind})
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(PAGE, "python"):
        there = block.text.replace("postgresql://app@localhost/app", peers.url("postgres"))
        there = there.replace("redis://localhost:6380", peers.url("redis"))
        there = there.replace("valkey://localhost:6380", peers.url("aws"))
        there = there.replace("valkey://localhost:6379", valkey_server.url)
        assert "localhost" not in there
        exec(type(block)(block.language, there, block.line).compile(PAGE), names)  # type: ignore[arg-type]
    with statekeep.connect(valkey_server.url) as keep:
        assert {found.thread_id for found in keep.checkpoints.list_threads()} == {f"{kind} thread" for kind in URLS}
        for kind in URLS:
            assert keep.items.get(("notes", kind), "k") is not None
