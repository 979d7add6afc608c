"""Print constraints that make pip install the oldest release of each dependency that ``pyproject.toml`` allows.

Those of frameworks are left out: each is tested in an environment of its own. So are tools, of which the newest release
will do.

    python tools/oldest.py > oldest.txt && make test CONSTRAINTS=oldest.txt
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(?:\[[^]]*\])?\s*(?P<bounds>[^;]*)")
EXTRAS = ("valkey", "valkey-py", "msgpack", "search", "aws", "langgraph", "embedded", "redis-om")


def oldest(requirements: list[str]) -> dict[str, str]:
    """Return the oldest release of each, by name; those without a lower bound, or of an exact release, are left out.

    >>> oldest(["pydantic>=2.11,<3", "valkey[libvalkey]>=6.1; sys_platform == 'win32'", "valkey-glide==2.6.*"])
    {'pydantic': '2.11', 'valkey': '6.1'}
    """
    found = {}
    for requirement in requirements:
        parts = REQUIREMENT.match(requirement)
        lower = re.search(r">=\s*([\w.]+)", parts["bounds"]) if parts else None
        if parts and lower:
            found[parts["name"]] = lower[1]
    return found


def main() -> None:
    project = tomllib.loads(PROJECT.read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(one for name in EXTRAS for one in extras[name])]
    for name, release in sorted(oldest(wanted).items()):
        print(f"{name}=={release}")


if __name__ == "__main__":
    main()
