"""Write the pages of the API: one for each public module that has names of its own.

The public names are those of every ``__all__``, as ``tests/unit/public_names.txt`` lists them. What several modules
offer is described in one place, the shortest: ``statekeep.Checkpoint``, and not ``statekeep.domain.Checkpoint``.
"""

from __future__ import annotations

import importlib
import inspect
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
NAMES = ROOT / "tests" / "unit" / "public_names.txt"
PAGES = ROOT / "docs" / "reference" / "api"

SECTIONS = {
    "statekeep.langgraph_shim": "LangGraph",
    "statekeep.contrib": "Frameworks and redis-om",
    "statekeep.repositories": "Backends and repositories",
    "statekeep.domain": "The domain",
    "statekeep.testing": "Testing",
}
KINDS = ("function", "class", "exception", "data")


def kind_of(thing: object) -> str:
    """Return how autodoc calls a thing.

    >>> kind_of(kind_of), kind_of(Path), kind_of(KeyError), kind_of(KINDS)
    ('function', 'class', 'exception', 'data')
    """
    if inspect.isclass(thing):
        return "exception" if issubclass(thing, BaseException) else "class"
    return "function" if inspect.isroutine(thing) else "data"


def modules(lines: Iterable[str]) -> dict[str, list[str]]:
    """Return the names of each module, those near the root first."""
    found: dict[str, list[str]] = {}
    for line in lines:
        module, _, name = line.strip().partition(": ")
        found.setdefault(module, []).append(name)
    return dict(sorted(found.items(), key=lambda pair: (pair[0].count("."), pair[0])))


def homes(names: dict[str, list[str]]) -> dict[str, dict[str, str]]:
    """Return, for each module, its names and where each is described."""
    described: dict[int, str] = {}
    kept: list[Any] = []  # so that no id comes twice
    found: dict[str, dict[str, str]] = {}
    for module, its in names.items():
        there = importlib.import_module(module)
        for name in its:
            thing = getattr(there, name)
            kept.append(thing)
            # Equal words and numbers may be one object.
            key = hash((module, name)) if isinstance(thing, str | bytes | int | float | tuple | None) else id(thing)
            home = described.setdefault(key, f"{module}.{name}")
            found.setdefault(module, {})[name] = home
    return found


def page(module: str, names: dict[str, str]) -> str | None:
    """Return the page of a module; ``None`` if everything in it is described elsewhere."""
    there = importlib.import_module(module)
    own = [name for name, home in names.items() if home == f"{module}.{name}"]
    if not own:
        return None
    lines = [f"# {module}", "", "```{eval-rst}", f".. automodule:: {module}", "   :no-members:", "", "```", ""]
    for kind in KINDS:
        some = [name for name in own if kind_of(getattr(there, name)) == kind]
        if not some:
            continue
        lines += [f"## {'Classes' if kind == 'class' else kind.capitalize() + 's' * (kind != 'data')}", ""]
        for name in some:
            lines += ["```{eval-rst}", f".. auto{kind}:: {module}.{name}"]
            if kind in ("class", "exception"):
                lines += ["   :members:", "   :show-inheritance:"]
            lines += ["```", ""]
    others = [home for name, home in names.items() if name not in own]
    if others:
        lines += ["## Also here", "", ", ".join(f"{{py:obj}}`{home}`" for home in sorted(others)), ""]
    return "\n".join(lines)


def section_of(module: str) -> str:
    """Return the section of a module, ``""`` for the package itself."""
    return next((section for section in SECTIONS if module.startswith(section)), "")


def index(written: Iterable[str]) -> str:
    """Return the page that leads to the others."""
    written = list(written)
    lines = ["# API", "", "What stands here is public. Everything else is internal, and may change at any time.", ""]
    for section, title in {"": "statekeep", **SECTIONS}.items():
        some = sorted(name for name in written if section_of(name) == section)
        lines += ["```{toctree}", f":caption: {title}", ":maxdepth: 1", "", *some, "```", ""]
    return "\n".join(lines)


def main() -> None:
    pages = homes(modules(NAMES.read_text("utf-8").splitlines()))
    texts = {module: page(module, names) for module, names in pages.items()}
    shutil.rmtree(PAGES, ignore_errors=True)
    PAGES.mkdir(parents=True)
    for module, text in texts.items():
        if text is not None:
            (PAGES / f"{module}.md").write_text(text, "utf-8")
    (PAGES / "index.md").write_text(index(module for module, text in texts.items() if text is not None), "utf-8")


if __name__ == "__main__":
    main()
