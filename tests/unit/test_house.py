"""The house: rooms that one can look over."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

SOURCES = Path(__file__).parents[2] / "src/statekeep"

MODULES = 16
"""Modules of a folder at most, besides its ``__init__``."""

LINES = 500
"""Lines of a module at most."""


def modules() -> list[Path]:
    return [path for path in SOURCES.rglob("*.py") if path.name != "__init__.py"]


def test_no_folder_has_too_many_modules() -> None:
    counts = Counter(path.parent.relative_to(SOURCES) for path in modules())
    assert len(counts) > 20
    assert {str(folder): count for folder, count in counts.items() if count > MODULES} == {}


def test_no_module_is_too_long() -> None:
    """But for the contracts: a contract is one class, which users take as it is."""
    long = {}
    for path in modules():
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > LINES and path.parent.name != "contracts":
            long[str(path.relative_to(SOURCES))] = lines
    assert long == {}
