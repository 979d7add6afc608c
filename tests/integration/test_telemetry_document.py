"""The page on telemetry: its examples run."""

from __future__ import annotations

import io
from typing import Any

import pytest

from statekeep import telemetry
from statekeep.telemetry import hook
from tests.fenced import ROOT, Block, blocks

PAGE = ROOT / "docs" / "telemetry.md"


def test_the_examples_run(capsys: pytest.CaptureFixture[str]) -> None:
    exported = io.StringIO()
    namespace: dict[str, Any] = {"__name__": "a_reader", "exported": exported}
    for block in blocks(PAGE, "python"):
        there = block.text.replace("ConsoleSpanExporter()", "ConsoleSpanExporter(out=exported)")
        exec(Block(block.language, there, block.line).compile(PAGE), namespace)  # type: ignore[arg-type]
        assert hook.observers == ()
    printed = capsys.readouterr().out
    assert "begins: checkpoints.get\nended: checkpoints.get ok\n" in printed
    assert '"name": "put checkpoints"' in exported.getvalue()


def test_the_table_names_all_that_is_recorded() -> None:
    text = PAGE.read_text("utf-8")
    for name in telemetry.Observation.__attrs_attrs__:
        assert f"`{name.name}`" in text
