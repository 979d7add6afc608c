"""The page on typed items and threads: its examples run."""

from __future__ import annotations

from typing import Any

from statekeep.testing.servers import ValkeyServer
from tests.fenced import ROOT, Block, blocks

PAGE = ROOT / "docs" / "typed.md"


def test_the_examples_run(valkey_server: ValkeyServer) -> None:
    found = blocks(PAGE)
    assert {block.language for block in found} == {"python"}
    namespace: dict[str, Any] = {"__name__": "a_reader"}
    for block in found:
        there = block.text.replace("valkey://localhost:6379", valkey_server.url)
        exec(Block(block.language, there, block.line).compile(PAGE), namespace)  # type: ignore[arg-type]
