"""The public API: the names in every ``__all__``, held by a list."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SOURCES = Path(__file__).parents[2] / "src"
LIST = Path(__file__).with_name("public_names.txt")

HOW = """
{changes}

Is this what you want? Then change {path} in the same way, and add a line for users to CHANGELOG.md.
"""


def public_modules() -> Iterator[str]:
    """Yield the names of all modules that have an ``__all__``."""
    for path in sorted(SOURCES.rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
                parts = path.relative_to(SOURCES).with_suffix("").parts
                yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def public_names() -> list[str]:
    """Return the lines that the list must have."""
    modules = ((name, importlib.import_module(name)) for name in public_modules())
    return sorted(f"{name}: {public}" for name, module in modules for public in module.__all__)


def listed() -> list[str]:
    return LIST.read_text(encoding="utf-8").splitlines()


def described() -> list[tuple[str, Any]]:
    """Return the public classes and functions, with their places."""
    places = (line.split(": ") for line in listed())
    found = [(f"{module}.{name}", getattr(importlib.import_module(module), name)) for module, name in places]
    return [(place, thing) for place, thing in found if inspect.isclass(thing) or inspect.isroutine(thing)]


def methods(cls: type) -> Iterator[tuple[str, Any]]:
    """Yield the public methods and properties that a class defines itself."""
    for name, member in vars(cls).items():
        if not name.startswith("_") and isinstance(member, staticmethod | classmethod | property) | inspect.isfunction(
            member
        ):
            yield name, getattr(cls, name)


def test_names_are_as_listed() -> None:
    found, wanted = set(public_names()), set(listed())
    changes = [f"- {line}" for line in sorted(wanted - found)] + [f"+ {line}" for line in sorted(found - wanted)]
    assert not changes, HOW.format(changes="\n".join(changes), path=LIST.relative_to(SOURCES.parent))


def test_the_list_is_sorted() -> None:
    assert listed() == sorted(set(listed()))


@pytest.mark.parametrize("module", sorted({line.partition(":")[0] for line in listed()}))
def test_modules_are_documented(module: str) -> None:
    assert importlib.import_module(module).__doc__


def test_classes_and_functions_are_documented() -> None:
    assert [place for place, thing in described() if not thing.__doc__] == []


def test_methods_are_documented() -> None:
    """Here, in a base class, or where a public class has a method of this name: backends say nothing twice."""
    classes = [(place, thing) for place, thing in described() if inspect.isclass(thing)]
    told = {name for _, cls in classes for name, method in methods(cls) if method.__doc__}
    lacking = [
        f"{place}.{name}"
        for place, cls in classes
        for name, method in methods(cls)
        if not inspect.getdoc(method) and name not in told and not name.startswith("test_")
    ]
    assert lacking == []
