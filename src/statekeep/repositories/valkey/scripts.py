"""Lua scripts, loaded from beside the modules that run them.

A script names the shared functions that it calls in lines `-- use: a, b`, and so does a shared function. No others are
sent along: the server makes all that are there anew each time.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

from .requests import Script


@cache
def script(path: str, *, when_full: bool = False) -> Script:
    """Load ``FOLDER/NAME.lua`` with the functions that it uses of both ``common.lua``.

    Args:
        path: ``FOLDER/NAME``.
        when_full: run it on a server whose memory is full, too. The flags in most files say so already.

    Raises:
        LookupError: a ``use`` names no shared function.
    """
    folder, _, name = path.rpartition("/")
    scripts = resources.files(__package__)
    flags, _, body = (scripts / folder / f"{name}.lua").read_text("utf-8").partition("\n")
    if when_full:
        flags = "#!lua flags=allow-oom"
    files = dict.fromkeys((scripts / "common.lua", scripts / folder / "common.lua"))
    shared = "".join(file.read_text("utf-8") for file in files if file.is_file())
    return Script(name, f"{flags}\n{with_used(shared, body)}")


FUNCTION = re.compile(r"^(?:-- use: [^\n]*\n)*local function (?P<name>\w+)\(.*?^end\n", re.MULTILINE | re.DOTALL)
_USE = re.compile(r"^-- use: (.*)\n", re.MULTILINE)
_COMMENT = re.compile(r"^ *--.*\n", re.MULTILINE)


def uses(text: str) -> list[str]:
    """Return the functions that a script, or a function, says it calls."""
    return [name for line in _USE.findall(text) for name in line.split(", ")]


def with_used(shared: str, body: str) -> str:
    """Put the shared functions that a script uses in front of it.

    Raises:
        LookupError: there is no such function.
    """
    functions = {function["name"]: function[0] for function in FUNCTION.finditer(shared)}
    wanted: set[str] = set()
    missing = uses(body)
    while missing:
        name = missing.pop()
        if name not in functions:
            raise LookupError(f"no shared function is called {name!r}")
        if name not in wanted:
            wanted.add(name)
            missing += uses(functions[name])
    kept = FUNCTION.sub(lambda function: function[0] if function["name"] in wanted else "", shared)
    return _COMMENT.sub("", kept) + _USE.sub("", body)
