"""Code blocks of Markdown files."""

from __future__ import annotations

import re
from pathlib import Path

from attrs import frozen

ROOT = Path(__file__).resolve().parent.parent
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


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
