"""Code blocks of Markdown files, and programs made of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from statekeep.testing.servers import ValkeyServer

ROOT = Path(__file__).resolve().parent.parent
FENCE = re.compile(r"^```([\w-]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@frozen
class Block:
    """A fenced block: its language, its text, and the line on which the text begins."""

    language: str
    text: str
    line: int

    def compile(self, path: Path) -> object:
        """Compile Python so that a traceback shows the place in the Markdown file."""
        return compile("\n" * (self.line - 1) + self.text, str(path), "exec", dont_inherit=True)


def blocks(path: Path, language: str | None = None) -> list[Block]:
    """Return the fenced blocks of a file, those of one language or all."""
    text = path.read_text("utf-8")
    return [
        Block(found[1], found[2], text.count("\n", 0, found.start(2)) + 1)
        for found in FENCE.finditer(text)
        if language in (None, found[1])
    ]


def on_server(text: str, server: ValkeyServer) -> str:
    """Return a program of a page for a server of tests, in the place of the one at ``localhost:6379``."""
    port = str(server.port)
    there = text.replace("localhost:6379", f"127.0.0.1:{port}").replace('"localhost"', '"127.0.0.1"')
    there = there.replace("port=6379", f"port={port}")
    assert "6379" not in there.replace(port, ""), "the page names a server in another way"
    return there


def run_block(block: Block, page: Path, server: ValkeyServer, names: dict[str, Any]) -> None:
    """Run a block, and leave in ``names`` what it makes."""
    exec(evolve(block, text=on_server(block.text, server)).compile(page), names)  # type: ignore[arg-type]


def run_page(page: Path, server: ValkeyServer, names: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Run the Python of a page from top to bottom, as a reader would who tries one block after the other.

    Args:
        page: the Markdown file.
        server: stands for the one at ``localhost:6379``.
        names: what a reader is expected to have already.

    Returns:
        All names that there are in the end.
    """
    found = blocks(page, "python")
    assert found, f"{page.name} has no Python"
    known = {"__name__": "a_reader", **(names or {})}
    for block in found:
        run_block(block, page, server, known)
    return known
