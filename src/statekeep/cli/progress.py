"""How far long work is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from .output import Output
from .printable import duration, printable

EVERY: Final = 10.0
"""Seconds between two lines."""


class Progress:
    """How far one piece of work is.

    Args:
        output: prints the lines.
        what: is done, such as ``Pruning``.
        total: how much there is; ``None`` if nobody knows.
    """

    def __init__(self, output: Output, what: str, total: int | None) -> None:
        self.done = 0
        self.total = total
        self._output, self._what = output, what
        self._started = self._told = time.monotonic()

    def update(self, done: int, text: str = "", *, total: int | None = None) -> None:
        """Say how much is done.

        Args:
            done: so much, of ``total``.
            text: what is at work now, such as a thread's id.
            total: how much there is, if that is known now.
        """
        self.done = done
        self.total = self.total if total is None else total
        self._show(text)

    def advance(self, text: str = "") -> None:
        """Say that one more is done."""
        self.update(self.done + 1, text)

    def _show(self, text: str) -> None:
        now = time.monotonic()
        if now - self._told >= EVERY:
            self._told = now
            of = "" if self.total is None else f" of {self.total}"
            behind = f": {text}" if text else ""
            self._output.note(f"{self._what}: {self.done}{of} after {duration(now - self._started)}{behind}")


class _Bar(Progress):
    def __init__(self, output: Output, what: str, total: int | None) -> None:
        super().__init__(output, what, total)
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        self.bars = Bars(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[at]}", markup=False),
            console=Console(file=output.stderr, markup=False, highlight=False, emoji=False),
            transient=True,
        )
        self._task = self.bars.add_task(what, total=total, at="")

    def _show(self, text: str) -> None:
        self.bars.update(self._task, completed=self.done, total=self.total, at=printable(text)[:40])


@contextmanager
def showing(output: Output, what: str, total: int | None = None) -> Iterator[Progress]:
    """Show how far a piece of work is until the block ends.

    Args:
        output: whose stderr is used.
        what: is done, such as ``Pruning``.
        total: how much there is; ``None`` if nobody knows yet.
    """
    if not output.stderr.isatty():
        yield Progress(output, what, total)
        return
    bar = _Bar(output, what, total)
    with bar.bars:
        yield bar
