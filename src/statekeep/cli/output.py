"""Printing: tables on a terminal, lines elsewhere, JSON if asked for."""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, TextIO

from attrs import frozen

from .printable import json_printable, printable

Row = Mapping[str, Any]
"""JSON values by name; a time may be a ``datetime``."""

PAGE: Final = 500
"""Rows of a table in memory at once. A longer one gets another head after so many."""


@frozen
class Column:
    """A column of a table.

    Attributes:
        name: of the value in a row, and in JSON.
        title: what stands above it on a terminal; the name by default.
        show: makes text for people of the value, for terminals; as in lines by default.
        right: whether it stands on the right, as numbers do.
        whole: whether it is kept on one line, as what one copies, unless it is long or the terminal narrow.
    """

    name: str
    title: str | None = None
    show: Callable[[Any], str] | None = None
    right: bool = False
    whole: bool = False


_WHOLE: Final = 36
"""Characters of a UUID."""

_WIDE: Final = 110
"""Columns of a terminal in which one finds place beside others."""


class Output:
    """The place where a command prints.

    What it prints does nothing to a terminal but to be shown.

    Args:
        as_json: print JSON.
        stdout: for results.
        stderr: for messages.
        hide: takes secrets out of messages.
    """

    def __init__(
        self,
        *,
        as_json: bool = False,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
        hide: Callable[[str], str] = str,
    ) -> None:
        self.as_json = as_json
        self.stdout = sys.stdout if stdout is None else stdout
        self.stderr = sys.stderr if stderr is None else stderr
        self._hide = hide
        self.is_terminal = not as_json and self.stdout.isatty()

    def rows(self, columns: Sequence[Column], rows: Iterable[Row]) -> int:
        """Print records: as a table, lines with tabs, or JSON lines.

        JSON has all of a row, tables and lines the columns.

        Each is printed as soon as it is there, but for a terminal, where some hundred share a table.

        Args:
            columns: of tables and lines.
            rows: the records.

        Returns:
            How many there were.
        """
        count = 0
        if self.is_terminal:
            left = iter(rows)
            while page := list(islice(left, PAGE)):
                self._table(columns, page)
                count += len(page)
            return count
        for row in rows:
            count += 1
            self._write(_json(row) if self.as_json else "\t".join(_cell(row.get(column.name)) for column in columns))
        return count

    def document(self, document: Row, lines: Callable[[], Iterable[str]] | None = None) -> None:
        """Print one record.

        Args:
            document: what is printed with ``--json``.
            lines: makes text for people; a line for each pair by default.
        """
        if self.as_json:
            self._write(_json(document, indent=2))
            return
        for line in _pairs(document) if lines is None else lines():
            self._write(printable(line))

    def line(self, text: str = "") -> None:
        """Print a line for people; nothing with ``--json``."""
        if not self.as_json:
            self._write(printable(text))

    def note(self, text: str) -> None:
        """Print a message, which is no result, to stderr."""
        self.stderr.write(f"statekeep: {printable(self._hide(text))}\n")
        self.stderr.flush()

    def text(self, text: str) -> None:
        """Print a text of several lines to stderr, such as a traceback."""
        for line in self._hide(text).splitlines():
            self.stderr.write(f"{printable(line)}\n")
        self.stderr.flush()

    def tree(self, tree: Any) -> None:
        """Print a ``rich.tree.Tree`` for people; nothing with ``--json``."""
        if not self.as_json:
            self._console().print(tree)

    def _console(self) -> Any:
        from rich.console import Console

        # A pipe has no width: no line is cut or wrapped there.
        width = None if self.is_terminal else 100_000
        return Console(file=self.stdout, markup=False, highlight=False, emoji=False, soft_wrap=False, width=width)

    def _table(self, columns: Sequence[Column], rows: Sequence[Row]) -> None:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        console = self._console()
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
        cells = [[_shown(column, row.get(column.name)) for row in rows] for column in columns]
        for column, texts in zip(columns, cells, strict=True):
            title = column.name.replace("_", " ") if column.title is None else column.title
            is_wide = console.width >= _WIDE and all(len(text) <= _WHOLE for text in texts)
            fits = column.right or (column.whole and is_wide)
            table.add_column(Text(title), justify="right" if column.right else "left", overflow="fold", no_wrap=fits)
        for line in zip(*cells, strict=True):
            table.add_row(*map(Text, line))
        console.print(table)
        self.stdout.flush()

    def _write(self, line: str) -> None:
        self.stdout.write(line + "\n")
        self.stdout.flush()


def _shown(column: Column, value: Any) -> str:
    if value is None and column.show is None:
        return "-"
    return _cell(value) if column.show is None else printable(column.show(value))


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, dt.datetime):
        return value.isoformat(timespec="milliseconds")
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return printable(",".join(value)) or "-"
    return _json(value)


def _pairs(document: Row) -> Iterator[str]:
    width = max(map(len, document), default=0)
    for name, value in document.items():
        yield f"{name:{width}}  {_cell(value)}"


def _json(value: Any, indent: int | None = None) -> str:
    separators = (",", ":") if indent is None else None
    text = json.dumps(
        value, ensure_ascii=False, allow_nan=False, default=_jsonable, indent=indent, separators=separators
    )
    return json_printable(text)


def _jsonable(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return value.isoformat()
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    dump = getattr(value, "model_dump", None)
    if dump is not None:
        return dump(mode="json")
    raise TypeError(f"{type(value).__name__} is no JSON")
