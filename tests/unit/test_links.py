"""Links between pages lead to files, and to headings that are there."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / ".github").rglob("*.md")])
MADE = ROOT / "docs" / "reference" / "api"
"""Pages that `make docs` writes. They may be linked to in toctrees alone, where Sphinx looks for them."""
PAGES = [page for page in PAGES if MADE not in page.parents]

SITE = ("https://statekeep.readthedocs.io/en/latest/", "https://github.com/statekeep/statekeep/blob/main/")


def without_code(text: str) -> str:
    """Return Markdown without code, of which brackets are no links."""
    text = re.sub(r"^( *)(```+|~~~+).*?^\1\2[ ]*$", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    return re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "`", text, flags=re.DOTALL)


def slug(heading: str) -> str:
    """Return the anchor of a heading, as GitHub and MyST make it.

    >>> slug("What it costs, and `why`")
    'what-it-costs-and-why'
    """
    text = re.sub(r"!?\[([^]]*)\]\([^)]*\)", r"\1", heading)
    text = re.sub(r"[`*]", "", text)
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")


@cache
def anchors(page: Path) -> set[str]:
    """Return the anchors of a page."""
    text = page.read_text("utf-8")
    found: set[str] = set()
    bare = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    for heading in re.findall(r"^#{1,6} +(.+?)\s*#*$", bare, re.MULTILINE):
        name, number = slug(heading), 0
        while (anchor := f"{name}-{number}" if number else name) in found:
            number += 1
        found.add(anchor)
    return (
        found
        | set(re.findall(r"""<a (?:name|id)=["']([^"']+)["']""", text))
        | set(re.findall(r"^\(([\w-]+)\)=$", text, re.MULTILINE))
    )


def links(text: str) -> list[str]:
    bare = without_code(text)
    found = re.findall(r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)", bare)
    return found + re.findall(r"^\[[^]]+\]: +(\S+)", bare, re.MULTILINE)


def broken(page: Path, text: str) -> list[str]:
    """Return the links of a page that lead nowhere."""
    found = []
    for link in links(text):
        path, _, anchor = link.partition("#")
        if re.match(r"[a-z][a-z0-9+.-]*:", path):
            continue
        there = page if not path else (page.parent / path).resolve()
        outside = not there.is_relative_to(ROOT)
        if outside or not there.exists() or (anchor and there.suffix == ".md" and anchor not in anchors(there)):
            found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert broken(page, page.read_text("utf-8")) == []


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("[a](README.md)", []),
        ("[a](no-such-file.md)", ["no-such-file.md"]),
        ("[a](README.md#install)", []),
        ("[a](README.md#no-such-heading)", ["README.md#no-such-heading"]),
        ("[a](#install)", []),
        ("[a](#no-such-heading)", ["#no-such-heading"]),
        ("[a]: no-such-file.md", ["no-such-file.md"]),
        ('[a](no-such-file.md "title")', ["no-such-file.md"]),
        ("[a](../outside.md)", ["../outside.md"]),
        ("[a](https://example.com/x.md#y) <!-- [a](no-such-file.md) -->", []),
        ("`[a](no-such-file.md)` and ``b[0](`x`)``", []),
        ("```python\nf[a](b)\n```\n[c](no-such-file.md)", ["no-such-file.md"]),
    ],
)
def test_broken_ones_are_found(text: str, wrong: list[str]) -> None:
    assert broken(ROOT / "README.md", text) == wrong


def test_links_to_our_own_pages_on_the_web_are_relative() -> None:
    """Absolute ones are looked at by nobody, but in the places that need them."""
    needed = {"README.md", "CODE_OF_CONDUCT.md", "SECURITY.md"}
    wrong = [
        f"{page.name}: {link}"
        for page in PAGES
        if page.name not in needed
        for link in links(page.read_text("utf-8"))
        if link.startswith(SITE)
    ]
    assert wrong == []
