"""Write ``llms.txt``: the pages of the documentation, with what each is about, for programs that read Markdown.

Its form is that of https://llmstxt.org.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

SITE = "https://statekeep.readthedocs.io/en/latest"
TOCTREE = re.compile(r"^```\{toctree\}\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def toctrees(text: str) -> dict[str, list[str]]:
    r"""Return the captions of a page's toctrees, and the pages in each.

    >>> toctrees("```{toctree}\n:caption: Start\n\nstart\nWith title <other>\n```\n")
    {'Start': ['start', 'other']}
    """
    found: dict[str, list[str]] = {}
    for tree in TOCTREE.findall(text):
        caption = re.search(r"^:caption: (.*)$", tree, re.MULTILINE)
        pages = [line.strip() for line in tree.splitlines() if line.strip() and not line.startswith(":")]
        named = [re.sub(r"^.*<(.*)>$", r"\1", one) for one in pages]
        found.setdefault(caption[1] if caption else "More", []).extend(named)
    return found


def title(text: str) -> str:
    """Return the first heading of a page."""
    found = re.search(r"^# +(.*)$", text, re.MULTILINE)
    return found[1].replace("`", "") if found else ""


def about(text: str) -> str:
    r"""Return the first sentence below the first heading, without markup.

    >>> about("# Title\n\nWith [a link](there.md), and `code`. And more.")
    'With a link, and code.'
    """
    body = text.partition("\n# ")[2] if not text.startswith("# ") else text
    for paragraph in re.split(r"\n\s*\n", body)[1:]:
        if re.match(r"[A-Z\[`_]", paragraph) and not paragraph.startswith("```"):
            plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", " ".join(paragraph.split()))
            return re.split(r"(?<=[.]) ", plain.replace("`", "").replace("*", ""), maxsplit=1)[0].rstrip(":")
    return ""


def _named(patterns: Iterable[str], sources: Iterable[str]) -> Iterable[str]:
    """Return the pages that a toctree means, with a ``*`` in it or without. A folder's index is none of its own."""
    for pattern in patterns:
        yield from fnmatch.filter(sorted(one for one in sources if not one.endswith("/index")), pattern)


def llms(index: str, sources: Mapping[str, str]) -> str:
    """Return ``llms.txt``.

    Args:
        index: the first page.
        sources: the text of every page, by its name without ``.md``.
    """
    lines = [f"# {title(index)}", "", f"> {about(index)}", ""]
    for caption, pages in toctrees(index).items():
        lines += [f"## {caption}", ""]
        for name in pages:
            if name not in sources:
                continue
            inner = [one for its in toctrees(sources[name]).values() for one in its]
            folder = name.rpartition("/")[0]
            for one in [name, *_named([f"{folder}/{it}".lstrip("/") for it in inner], sources)]:
                text = sources.get(one, "")
                said = f": {about(text)}" if about(text) else ""
                if title(text):
                    lines.append(f"- [{title(text)}]({SITE}/_sources/{one}.md.txt){said}")
        lines.append("")
    return "\n".join(lines)


def write(docs: Path, out: Path) -> None:
    """Write the file for the pages of a folder into another one."""
    pages = {path.relative_to(docs).with_suffix("").as_posix(): path.read_text("utf-8") for path in docs.rglob("*.md")}
    (out / "llms.txt").write_text(llms(pages["index"], pages), "utf-8")
