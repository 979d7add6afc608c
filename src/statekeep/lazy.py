"""Names of a package that are imported on first use, as PEP 562 has it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, NoReturn


def unknown(module: str) -> Callable[[str], NoReturn]:
    """Make a function that says that a module lacks a name."""

    def find(name: str) -> NoReturn:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return find


def lazily(
    package: str, homes: Mapping[str, str], otherwise: Callable[[str], NoReturn] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Make ``__getattr__`` and ``__dir__`` of a package.

    The submodules that the names come from are found, too, as after an import of all of them.

    Args:
        package: its ``__name__``.
        homes: for each name the module that it comes from, such as ``".checkpoint.base"``.
        otherwise: raises the error for any other name.
    """
    refuse = otherwise or unknown(package)
    attributes = vars(sys.modules[package])
    submodules = {home.split(".")[1] for home in homes.values()} - {""}  # none of "..elsewhere"

    def find(name: str) -> Any:
        if name in submodules:
            return import_module(f".{name}", package)
        if name not in homes:
            refuse(name)
        found = getattr(import_module(homes[name], package), name)
        attributes[name] = found  # from now on nobody asks here
        return found

    def names() -> list[str]:
        return sorted(attributes.keys() | homes.keys() | submodules)

    return find, names
