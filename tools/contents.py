"""Look at what the sdist and the wheel hold: all that git has and they need, and nothing else.

python -m tools.contents dist
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]

MADE = ("PKG-INFO",)
"""What the build adds to an sdist."""

LEFT_OUT = (".ci/",)
"""What git has and an sdist does not: of use in this repository alone."""


def tracked() -> set[str]:
    """Return the files that git knows."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(filter(None, done.stdout.split("\0")))


def differences(found: Iterable[str], wanted: Iterable[str]) -> list[str]:
    """Return what is too much, and what is missing.

    >>> differences(["a", "b"], ["b", "c"])
    ['+ a', '- c']
    """
    has, needs = set(found), set(wanted)
    return [f"+ {name}" for name in sorted(has - needs)] + [f"- {name}" for name in sorted(needs - has)]


def of_sdist(path: Path, known: set[str]) -> list[str]:
    with tarfile.open(path) as archive:
        names = [member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()]
    return differences(
        (name for name in names if name not in MADE), (name for name in known if not name.startswith(LEFT_OUT))
    )


def of_wheel(path: Path, known: set[str]) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
    return differences(names, (name.removeprefix("src/") for name in known if name.startswith("src/")))


def main() -> None:
    known, wrong = tracked(), []
    for path in sorted(Path(sys.argv[1]).iterdir()):
        found = of_wheel(path, known) if path.suffix == ".whl" else of_sdist(path, known)
        wrong += [f"{path.name}: {line}" for line in found]
        print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB")
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
