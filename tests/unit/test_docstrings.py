"""Prose rules for docstrings that ruff does not know."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "statekeep"
LONGEST = 80
QUESTIONS = ("What", "Which", "Who", "Whoever", "Whose")


def docstrings(source: str) -> Iterator[tuple[str, str]]:
    """Yield (name, docstring) for a module and everything in it that has one."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text is not None:
                yield getattr(node, "name", "module"), text


def faults(text: str) -> list[str]:
    """Return what is wrong with the first line of a docstring."""
    first = text.partition("\n")[0]
    found = []
    if len(first) > LONGEST:
        found.append(f"{len(first)} characters, at most {LONGEST} are allowed: say the rest below a blank line")
    if first.split()[:1] and first.split()[0].strip(",.:") in QUESTIONS:
        found.append("a question: begin with a verb, or with a noun for a class or a module")
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_first_lines(path: Path) -> None:
    found = [
        f"{name}: {fault}: {text.partition(chr(10))[0]}"
        for name, text in docstrings(path.read_text(encoding="utf-8"))
        for fault in faults(text)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ('"""What it is."""', ["module"]),
        ('def f():\n    """Which: that one."""', ["f"]),
        ('class A:\n    def f(self):\n        """Who."""', ["f"]),
        (f'def f():\n    """Return {"x" * LONGEST}"""', ["f"]),
        (f'def f():\n    """Return.\n\n    {"x" * 100}\n    """', []),
        ('class A:\n    """Whole numbers.\n\n    What else?\n    """', []),
    ],
)
def test_faults_are_found(source: str, names: list[str]) -> None:
    assert [name for name, text in docstrings(source) if faults(text)] == names
