"""Lua scripts, read from beside the modules that run them.

They are read when this module is imported: an event loop must not wait for disks.


A script names the shared functions that it calls in lines `-- use: a, b`, and so does a shared function. No others are
sent along, and they stand in the place of these lines: the server makes each function anew whenever it comes to it.
"""

from __future__ import annotations

import pkgutil
import re
from functools import cache
from typing import Final

from .requests import Script

FILES: Final = {
    "": "common read",
    "cache": "adopt common delete get restore set",
    "checkpoints": (
        "add_run adopt clear_parent collect common contents erase expect_head extend_values fields find_unindexed "
        "forget get ids lineage mark_empty members namespaces_and_ids page put put_next put_writes rebuild_head "
        "records refresh set_ends settle_ends settle_metadata settle_thread_end steps survey_ends touch_thread "
        "unindex_threads writes"
    ),
    "items": (
        "adopt announce apply begin below by_time common count delete erase_vectors forget live names "
        "plan put recent renew rows sizes sweep"
    ),
    "logs": "append common forget pop read restore trim",
}
"""Names of the files in each folder: to list a folder takes what event loops must not do, and imports may be in one."""


def _read(path: str) -> str:
    data = pkgutil.get_data(__package__, f"{path}.lua")
    assert data is not None
    return data.decode()


_TEXTS: Final = {
    path: _read(path)
    for folder, names in FILES.items()
    for path in (f"{folder}/{name}".lstrip("/") for name in names.split())
}


@cache
def script(path: str, *, when_full: bool = False, first: str = "", behind: str | None = None) -> Script:
    """Load ``FOLDER/NAME.lua`` with the functions that it uses of both ``common.lua``.

    Args:
        path: ``FOLDER/NAME``.
        when_full: run it on a server whose memory is full, too. The flags in most files say so already.
        first: another file in that folder, whose text comes before the functions that the script uses: to make them
            takes time, and it may have the answer already.
        behind: the name of a script of the same folder that runs in front of it, as a part of it.

    Raises:
        LookupError: a ``use`` names no shared function, or :data:`FILES` not this script.
    """
    folder, _, name = path.rpartition("/")
    flags, _, body = _TEXTS[path].partition("\n")
    if when_full:
        flags = "#!lua flags=allow-oom"
    if behind is not None:
        name = f"{name}_behind_{behind}"
        body = _TEXTS[f"{folder}/{behind}"].partition("\n")[2] + body
    shared = _TEXTS["common"] + (_TEXTS[f"{folder}/common"] if folder else "")
    before = f"local call = redis.call\n{_COMMENT.sub('', _TEXTS[f'{folder}/{first}'])}" if first else ""
    return Script(name, f"{flags}\n{before}{with_used(shared, body)}")


FUNCTION = re.compile(r"^(?:-- use: [^\n]*\n)*local function (?P<name>\w+)\(.*?^end\n", re.MULTILINE | re.DOTALL)
_USE = re.compile(r"^ *-- use: (.*)\n", re.MULTILINE)
_USES = re.compile(r"(?:^ *-- use: .*\n)+", re.MULTILINE)
_COMMENT = re.compile(r"^ *--.*\n", re.MULTILINE)


def uses(text: str) -> list[str]:
    """Return the functions that a script, or a function, says it calls."""
    return [name for line in _USE.findall(text) for name in line.split(", ")]


def with_used(shared: str, body: str) -> str:
    """Put the shared functions that a script uses where it names them.

    What a script does before such a line is done without them: the server makes each anew where the script comes to it.

    Raises:
        LookupError: there is no such function.
    """
    functions = {function["name"]: function[0] for function in FUNCTION.finditer(shared)}
    there: set[str] = set()

    def made(line: re.Match[str]) -> str:
        wanted: set[str] = set()
        missing = uses(line[0])
        while missing:
            name = missing.pop()
            if name not in functions:
                raise LookupError(f"no shared function is called {name!r}")
            if name not in wanted | there:
                wanted.add(name)
                missing += uses(functions[name])
        there.update(wanted)
        return _COMMENT.sub("", "".join(text for name, text in functions.items() if name in wanted))

    return _COMMENT.sub("", FUNCTION.sub("", shared)) + _USES.sub(made, body)
