"""Commands run in this process, with what they printed and how they ended."""

from __future__ import annotations

import json
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from typing import Any

import pytest
from attrs import frozen

from statekeep.cli import main


@frozen
class Ended:
    """The end of a command."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[list[str]]:
        """The lines of standard output, cut at tabs."""
        return [line.split("\t") for line in self.out.splitlines()]

    @property
    def rows(self) -> list[Any]:
        """The JSON documents, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def document(self) -> Any:
        """The one JSON document."""
        return json.loads(self.out)


def ran(*arguments: str) -> Ended:
    """Run ``statekeep`` with these arguments."""
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert isinstance(ended.value.code, int)
    assert "Traceback" not in err.getvalue()
    return Ended(ended.value.code, out.getvalue(), err.getvalue())
