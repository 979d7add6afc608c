"""Tables of the documentation that are written by hand name everything that there is, and are right.

Those that `make tables` writes have a test of their own, `tests/unit/test_tools.py`.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import statekeep
from statekeep import VectorIndex
from statekeep.repositories.valkey.client.url import SCHEMES, target
from tests.fenced import ROOT

DOCS = ROOT / "docs"
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]


def rows(page: Path, heading: str) -> list[list[str]]:
    """Return the cells of the last table of a page that has this first column."""
    text = page.read_text("utf-8")
    lines = text[text.rindex(f"| {heading} |") :].splitlines()[2:]
    table = []
    for line in lines:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in line.strip("|").split("|")])
    return table


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_the_table_of_extras_is_complete() -> None:
    table = {names(first)[0]: brings for first, brings, _ in rows(DOCS / "start.md", "Extra")}
    assert table.keys() == EXTRAS.keys()
    for extra, brings in table.items():
        required = {re.split(r"[\[><=; ]", package)[0] for package in EXTRAS[extra]}
        if extra == "valkey":
            required -= {"valkey"}  # in its place where there is no glide
        for package in required - {"statekeep"}:
            assert package in brings, extra


def test_the_table_of_urls_is_complete_and_right() -> None:
    shown = [url for first, _ in rows(DOCS / "reference" / "urls.md", "URL") for url in names(first)]
    assert {url.partition(":")[0] for url in shown} >= {name for name in SCHEMES if not name.endswith("+unix")}
    for url in shown:
        if url.startswith("agentcore:"):
            with statekeep.connect(url.replace("MEMORY_ID", "notes-Ab12Cd34Ef").replace("REGION", "us-west-2")) as keep:
                assert "actor_id='ACTOR'" in repr(keep)
        elif url.startswith("bedrock-sessions:"):
            with statekeep.connect(url.replace("REGION", "us-west-2")) as keep:
                assert "region='us-west-2'" in repr(keep)
        elif "://" in url:
            real = url.replace("host:port/db", "host:6379/1").replace(":port", ":6379").replace("=N", "=2")
            real = real.replace("/SERVICE/db", "/main/1").replace("+sentinel://...", "+sentinel://host/main")
            real = real.removesuffix("...") + ("host" if real.endswith(("://", "://...")) else "")
            assert target(real).tls is real.startswith(("valkeys", "rediss"))


def test_the_table_of_errors_is_complete_and_right() -> None:
    errors = {
        name: kind
        for name in statekeep.__all__
        if isinstance(kind := getattr(statekeep, name), type) and issubclass(kind, statekeep.StatekeepError)
    }
    shown = rows(DOCS / "reference" / "errors.md", "Error")
    assert {name for first, _ in shown for name in names(first) if name in errors} == errors.keys() - {"StatekeepError"}
    for first, _ in shown:
        if base := re.search(r"\(an? `(\w+)`\)", first):
            assert base[1] in {kind.__name__ for kind in errors[names(first)[0]].__mro__}


def test_the_table_of_options_of_an_index_is_complete_and_its_defaults_are_right() -> None:
    table = rows(DOCS / "how-to" / "search.md", "Option")
    assert {name for first, *_ in table for name in names(first)} == VectorIndex.model_fields.keys()
    for first, _, default in table:
        field = VectorIndex.model_fields[names(first)[0]]
        said = {"`$`": ("$",), '`["$"]`': ("$",), "256 MiB": 256 * 1024**2}.get(default, default.strip("`"))
        assert said == "required" if field.is_required() else str(said) == str(field.default), first


def test_the_table_of_frameworks_names_what_there_is() -> None:
    public = (ROOT / "tests" / "unit" / "public_names.txt").read_text("utf-8")
    listed = rows(DOCS / "frameworks" / "index.md", "Framework")
    pages = {page.stem for page in (DOCS / "frameworks").glob("*.md")} - {"index"}
    assert {link for first, *_ in listed for link in re.findall(r"\(([\w-]+)\.md\)", first)} == pages
    for _, brings, extra in listed:
        module = names(extra)[0].replace("-", "_")
        assert [name for name in names(brings) if f"statekeep.contrib.{module}: {name}\n" not in public] == []


def test_strangers_find_what_they_ask_first() -> None:
    """In one click from the first page: an answer is on the page itself, or one more away."""
    index = (DOCS / "index.md").read_text("utf-8")
    for question, page in {
        "resume an interrupt": "how-to/interrupts.md",
        "set a TTL": "how-to/ttl.md",
        "know what happens when the server dies": "guarantees.md",
        "know what it costs": "backends.md",
        "test your agent": "how-to/testing.md",
    }.items():
        [row] = [line for line in index.splitlines() if line.startswith("|") and question in line]
        assert f"({page})" in row


@pytest.mark.parametrize("name", ["valkey", "elasticache", "embedded", "agentcore", "bedrock-sessions", "memory"])
def test_a_backends_page_says_what_one_needs_to_choose_it(name: str) -> None:
    text = (DOCS / f"{name}.md").read_text("utf-8")
    assert re.search(r"^\*\*Choose (it|them)\*\*", text, re.MULTILINE)
    for topic in ("set", "rights|log in", "costs?", "limits|1,000 steps", "consistency", "ttl"):
        # Headings, rows and points begin with what they are about.
        assert re.search(rf"^(##+ |\| |- \*\*)[^|.]*\b({topic})", text, re.MULTILINE | re.IGNORECASE), topic
