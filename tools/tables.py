"""Write the tables of the reference that come from the code, between their marks: `make tables`.

A table is between ``<!-- table: NAME -->`` and ``<!-- /table -->``. A test says when one is not up to date.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import statekeep
from statekeep.domain.model import attributes, summary
from statekeep.repositories.aws import AwsSettings
from statekeep.repositories.aws.url import PARAMETERS as OF_AWS
from statekeep.repositories.valkey.client.url import PARAMETERS, SCHEMES, Target

DOCS = Path(__file__).parents[1] / "docs"
MARK = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- /table -->)", re.DOTALL)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    r"""Return a table of Markdown.

    >>> print(table(["a", "b"], [["1", "x|y"]]))
    | a | b |
    | --- | --- |
    | 1 | x\|y |
    """
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _default(value: object) -> str:
    if value is None:
        return ""
    if value == math.inf:
        return "as long as others are answered"
    return f"`{str(value).lower() if isinstance(value, bool) else f'{value:g}' if isinstance(value, float) else value}`"


def url_parameters() -> str:
    """Of servers: each parameter of ours, with the names that valkey-py has for it."""
    told, defaults = attributes(Target.__doc__), Target()
    names: dict[str, list[str]] = {}
    for name, (attribute, _) in PARAMETERS.items():
        names.setdefault(attribute, []).append(name)
    rows = []
    for attribute, (first, *others) in names.items():
        default = _default(getattr(defaults, attribute))
        rows.append([f"`{first}`", told[attribute].rstrip("."), default, ", ".join(f"`{other}`" for other in others)])
    return table(["Parameter", "Meaning", "Default", "Also"], rows)


def aws_parameters() -> str:
    """Of ``agentcore://`` and ``bedrock-sessions://``."""
    told = attributes(AwsSettings.__doc__)
    names: dict[str, list[str]] = {}
    for name, keyword in OF_AWS.items():
        names.setdefault(keyword, []).append(f"`{name}`")
    rows = ([", ".join(some), told[keyword].rstrip(".")] for keyword, some in names.items())
    return table(["Parameter", "Meaning"], rows)


def schemes() -> str:
    """Of URLs of servers."""
    there = {"server": "one server", "cluster": "a cluster", "sentinel": "the primary that sentinels name"}
    there["unix"] = "one server, through a unix socket"
    return table(
        ["Scheme", "Where", "TLS"],
        ([f"`{name}://`", there[kind], "yes" if tls else "no"] for name, (tls, kind) in SCHEMES.items()),
    )


def _errors() -> list[type[statekeep.StatekeepError]]:
    found = [getattr(statekeep, name) for name in statekeep.__all__]
    return [one for one in found if isinstance(one, type) and issubclass(one, statekeep.StatekeepError)]


def errors() -> str:
    """All errors: what else each one is, what it says, and what it has."""
    rows = []
    for kind in sorted(_errors(), key=lambda kind: (kind is not statekeep.StatekeepError, kind.__name__)):
        others = [base.__name__ for base in kind.__bases__ if base.__name__ != "Portable"]
        has = ", ".join(f"`{name}`" for name in attributes(kind.__doc__))
        rows.append([f"`{kind.__name__}`", ", ".join(f"`{name}`" for name in others), summary(kind.__doc__), has])
    return table(["Error", "Is also", "Says", "Has"], rows)


TABLES: dict[str, Callable[[], str]] = {
    "aws-parameters": aws_parameters,
    "errors": errors,
    "schemes": schemes,
    "url-parameters": url_parameters,
}


def filled(text: str) -> str:
    """Return a page with its tables as they should be."""
    return MARK.sub(lambda mark: f"{mark[1]}\n{TABLES[mark[2]]()}\n\n{mark[3]}", text)


def main() -> None:
    for page in sorted(DOCS.rglob("*.md")):
        text = page.read_text("utf-8")
        if filled(text) != text:
            page.write_text(filled(text), "utf-8")
            print(page.relative_to(DOCS.parent))


if __name__ == "__main__":
    main()
