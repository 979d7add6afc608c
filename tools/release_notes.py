"""Print what the changelog says of a release, and refuse a tag that does not fit the code.

python tools/release_notes.py v0.2.0
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


class Disagreement(Exception):
    """The tag, the version and the changelog do not say the same."""


def notes(tag: str, version: str, changelog: str) -> str:
    r"""Return the section of a tag.

    Raises:
        Disagreement: the tag is not the version's, or the changelog has no dated section of it, or one without text.

    >>> notes("v1.2.0", "1.2.0", "# Changelog\n\n## [1.2.0] - 2030-01-31\n\nMuch.\n\n## [1.1.0] - 2029-01-31\n")
    'Much.'
    """
    if tag != f"v{version}":
        raise Disagreement(f"the tag is {tag}, but the version in src/statekeep/version.py is {version}")
    heading = rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$"
    found = re.search(rf"{heading}\n(.*?)(?=^## |^\[[^]]+\]: |\Z)", changelog, re.MULTILINE | re.DOTALL)
    if found is None:
        raise Disagreement(f"CHANGELOG.md has no section '## [{version}] - YYYY-MM-DD'")
    text = found[1].strip()
    if not text:
        raise Disagreement(f"the section of {version} in CHANGELOG.md is empty")
    return text


def main() -> None:
    code = (ROOT / "src/statekeep/version.py").read_text("utf-8")
    version = re.search(r'VERSION: Final = "([^"]+)"', code)
    assert version, "version.py has no VERSION"
    try:
        print(notes(sys.argv[1], version[1], (ROOT / "CHANGELOG.md").read_text("utf-8")))
    except Disagreement as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
