"""Lua scripts, loaded from beside the modules that run them."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

from .requests import Script


@cache
def script(path: str, *, when_full: bool = False) -> Script:
    """Load ``FOLDER/NAME.lua`` behind what it uses of what all scripts share, and what those of its folder do.

    Args:
        path: ``FOLDER/NAME``.
        when_full: run it on a server whose memory is full, too. The flags in most files say so already.
    """
    folder, _, name = path.rpartition("/")
    scripts = resources.files(__package__)
    flags, _, body = (scripts / folder / f"{name}.lua").read_text("utf-8").partition("\n")
    if when_full:
        flags = "#!lua flags=allow-oom"
    for file in dict.fromkeys((scripts / folder / "common.lua", scripts / "common.lua")):
        if file.is_file():
            body = _with_shared(_COMMENT.sub("", file.read_text("utf-8")), body)
    return Script(name, f"{flags}\n{body}")


_COMMENT = re.compile(r"^ *--.*\n", re.MULTILINE)
_FUNCTION = re.compile(r"^local function (\w+)\(.*?^end\n", re.MULTILINE | re.DOTALL)


def _with_shared(shared: str, body: str) -> str:
    """Put what a script uses of the shared functions in front of it: the server makes all that are there anew each time."""
    pieces: list[str] = []
    end = len(shared)
    for function in reversed(list(_FUNCTION.finditer(shared))):
        pieces.append(shared[function.end() : end])
        if re.search(rf"\b{function[1]}\b", "".join([*pieces, body])):
            pieces.append(function[0])
        end = function.start()
    return "".join([shared[:end], *reversed(pieces), body])
