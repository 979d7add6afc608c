"""Values as HTML: text only, whatever they hold."""

from __future__ import annotations

import json
from typing import Any, Final

from markupsafe import Markup, escape

from ...inspection.limits import CUT, TYPE
from ...inspection.printable import INVISIBLE, visible

LONG: Final = 120
"""Characters of a text that stands in one line."""

OPEN: Final = 2
"""Levels of a tree that are open at first."""


def shown(text: Any) -> Markup:
    r"""Return a text as HTML, with marks for what cannot be seen.

    Args:
        text: any text, or a number.

    Example:
        >>> shown("a<b>")
        Markup('a&lt;b&gt;')
        >>> shown("a\x00")
        Markup('a<span class="mark">\\x00</span>')
    """
    raw = str(text)
    parts: list[Markup] = []
    end = 0
    for match in INVISIBLE.finditer(raw):
        parts += [escape(raw[end : match.start()]), Markup('<span class="mark">{}</span>').format(visible(match[0]))]
        end = match.end()
    return Markup("").join([*parts, escape(raw[end:])])


def tree(value: Any, opened: int = OPEN) -> Markup:
    """Return a JSON-like value as nested lists that can be folded.

    Args:
        value: as :func:`~statekeep.inspection.decode` returns it.
        opened: how many levels are open at first.

    Example:
        >>> tree([1])
        Markup('<ul class="tree"><li><details open><summary><span class="kind">list of 1</span></summary>...')
    """
    parts: list[str] = ['<ul class="tree">']
    _node(parts, None, value, opened)
    parts.append("</ul>")
    return Markup("".join(parts))  # noqa: S704 - each part of it is a tag of ours or was escaped


def _node(parts: list[str], key: Any, value: Any, opened: int) -> None:
    parts.append("<li>")
    name = "" if key is None else f'<span class="key">{shown(key)}</span> '
    if isinstance(value, dict) and CUT in value and set(value) <= {CUT, "begins"}:
        parts.append(f'{name}<span class="cut">left out: {shown(value[CUT])}</span>')
        if "begins" in value:
            parts.append(" begins with ")
            _leaf(parts, value["begins"]) if not isinstance(value["begins"], dict | list) else _branch(
                parts, "", value["begins"], opened
            )
    elif isinstance(value, dict | list | tuple) and value:
        _branch(parts, name, value, opened)
    else:
        parts.append(name)
        _leaf(parts, value)
    parts.append("</li>")


def _branch(parts: list[str], name: str, value: Any, opened: int) -> None:
    kind = _kind(value)
    is_open = " open" if opened > 0 else ""
    parts.append(f'<details{is_open}><summary>{name}<span class="kind">{kind}</span></summary><ul>')
    if isinstance(value, dict):
        for inner, item in value.items():
            if inner != TYPE:
                _node(parts, inner, item, opened - 1)
    else:
        for position, item in enumerate(value):
            _node(parts, position, item, opened - 1)
    parts.append("</ul></details>")


def _kind(value: Any) -> Markup:
    if isinstance(value, dict):
        if TYPE in value:
            return shown(value[TYPE])
        return Markup("object of {}").format(len(value))
    return Markup("list of {}").format(len(value))


def _leaf(parts: list[str], value: Any) -> None:
    if isinstance(value, str):
        if len(value) > LONG or "\n" in value:
            parts.append(f'<pre class="text">{shown(value)}</pre>')
        else:
            parts.append(
                f'<span class="text">{shown(value)}</span>' if value else '<span class="kind">empty text</span>'
            )
    elif value is None or isinstance(value, bool):
        parts.append(f'<span class="word">{ {None: "null", True: "true", False: "false"}[value] }</span>')
    elif isinstance(value, int | float):
        parts.append(f'<span class="number">{shown(_number(value))}</span>')
    else:
        parts.append(f'<span class="kind">{"empty object" if isinstance(value, dict) else "empty list"}</span>')


def _number(value: float) -> str:
    if isinstance(value, int) and value.bit_length() > 10_000:  # Python makes no text of longer ones
        return f"an integer of {value.bit_length():,} bits"
    return repr(value)


def brief(value: Any, most: int = 100) -> Markup:
    """Return a value in one line.

    >>> brief({"a": [1, None]})
    Markup('{&#34;a&#34;: [1, null]}')
    """
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return shown((text if len(text) <= most else f"{text[: most - 1]}…").replace("\n", " "))
