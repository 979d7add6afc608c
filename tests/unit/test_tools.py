"""The programs in tools, and what they keep true."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

import statekeep
from statekeep.version import VERSION
from tools import llms, oldest, reference, release_notes, tables

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
PAGES = sorted((ROOT / "docs").rglob("*.md"))


def test_the_version_is_there() -> None:
    assert statekeep.__version__ == VERSION
    assert re.fullmatch(r"\d+\.\d+\.\d+", VERSION)


# -- tables


@pytest.mark.parametrize(
    "page", [page for page in PAGES if tables.MARK.search(page.read_text("utf-8"))], ids=lambda page: page.name
)
def test_tables_are_up_to_date(page: Path) -> None:
    text = page.read_text("utf-8")
    assert tables.filled(text) == text, "run `make tables`"


def test_every_table_is_somewhere() -> None:
    shown = {name for page in PAGES for _, name, _ in tables.MARK.findall(page.read_text("utf-8"))}
    assert shown == tables.TABLES.keys()


def test_tables_are_made_of_the_code() -> None:
    assert (
        "| `deadline` | seconds for which a request is tried again while the server is away | `10` |"
        in tables.url_parameters()
    )
    assert "| `Conflict` | `StatekeepError` |" in tables.errors()
    assert tables.filled("<!-- table: schemes -->\nold\n<!-- /table -->").count("`valkeys://`") == 1
    with pytest.raises(KeyError):
        tables.filled("<!-- table: no-such-table -->\n<!-- /table -->")


# -- reference


def test_every_public_name_is_described_once() -> None:
    names = reference.modules(reference.NAMES.read_text("utf-8").splitlines())
    homes = reference.homes(names)
    pages = {module: text for module in names if (text := reference.page(module, homes[module]))}
    for module, its in homes.items():
        for home in its.values():
            described = [
                text for text in pages.values() if re.search(rf"^\.\. auto\w+:: {re.escape(home)}$", text, re.MULTILINE)
            ]
            assert len(described) == 1, (module, home)
    assert homes["statekeep.domain"]["Checkpoint"] == "statekeep.Checkpoint"
    listed = re.findall(r"^(statekeep[\w.]*)$", reference.index(pages), re.MULTILINE)
    assert sorted(listed) == sorted(pages)


# -- llms.txt


def test_llms_txt_names_every_page_of_the_toctrees() -> None:
    sources = {path.relative_to(ROOT / "docs").with_suffix("").as_posix(): path.read_text("utf-8") for path in PAGES}
    text = llms.llms(sources["index"], sources)
    assert text.startswith("# Statekeep\n\n> Statekeep keeps the state of AI agents:")
    for pages in llms.toctrees(sources["index"]).values():
        for name in pages:
            if name in sources:
                assert f"/_sources/{name}.md.txt)" in text
    for page in ("frameworks/index", "frameworks/burr", "decisions/0003-declared-keys", "how-to/interrupts"):
        assert text.count(f"/_sources/{page}.md.txt)") == 1


def test_all_pages_are_in_a_toctree() -> None:
    """Sphinx says so, too, but only in `make docs`."""
    trees = [tree for page in PAGES for tree in llms.TOCTREE.findall(page.read_text("utf-8"))]
    globbed = {page for page in PAGES for tree in llms.TOCTREE.findall(page.read_text("utf-8")) if ":glob:" in tree}
    folders = {page.parent for page in globbed}
    named = {line.strip() for tree in trees for line in tree.splitlines()}
    lost = [
        page
        for page in PAGES
        if page.parent not in folders
        and reference.PAGES not in page.parents
        and page.relative_to(ROOT / "docs").with_suffix("").as_posix() not in named | {"index"}
    ]
    assert lost == []


# -- releases


CHANGES = """# Changelog

## [Unreleased]

## [1.2.0] - 2030-01-31

### Added

- Much.

## [1.1.0] - 2029-01-01

[Unreleased]: x
"""


def test_notes_of_a_release() -> None:
    assert release_notes.notes("v1.2.0", "1.2.0", CHANGES) == "### Added\n\n- Much."


@pytest.mark.parametrize(
    ("tag", "version", "message"),
    [
        ("v1.2.1", "1.2.0", "the version in src/statekeep/version.py is 1.2.0"),
        ("1.2.0", "1.2.0", "the tag is 1.2.0"),
        ("v1.3.0", "1.3.0", "has no section"),
        ("v1.1.0", "1.1.0", "is empty"),
    ],
)
def test_a_release_that_does_not_fit(tag: str, version: str, message: str) -> None:
    with pytest.raises(release_notes.Disagreement, match=message):
        release_notes.notes(tag, version, CHANGES)


def test_the_changelog_is_one_that_is_kept() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert "## [Unreleased]" in text
    assert {*re.findall(r"^### (.*)$", text, re.MULTILINE)} <= {
        "Added",
        "Changed",
        "Deprecated",
        "Removed",
        "Fixed",
        "Security",
    }
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        heads = re.findall(r"^### (.*)$", section, re.MULTILINE)
        assert len(heads) == len(set(heads)), section.partition("\n")[0]


def test_oldest_releases_have_all_lower_bounds() -> None:
    wanted = [
        *PROJECT["dependencies"],
        *(one for name in oldest.EXTRAS for one in PROJECT["optional-dependencies"][name]),
    ]
    found = oldest.oldest(wanted)
    assert {"pydantic", "attrs", "valkey", "boto3", "langgraph-checkpoint", "numpy"} <= found.keys()
    assert set(oldest.EXTRAS) <= PROJECT["optional-dependencies"].keys()
