"""boto3 is imported when it is needed, and missed by name."""

from __future__ import annotations

import pytest

from ..test_imports import WITHOUT, python

MESSAGE = "boto3 is not installed; run: pip install 'statekeep[aws]'"


@pytest.mark.parametrize("module", ["statekeep.repositories.aws", "statekeep.repositories.agentcore.lanes"])
def test_repositories_do_not_load_boto3(module: str) -> None:
    program = f"import sys, {module}; print(*[name for name in ('boto3', 'botocore') if name in sys.modules])"
    assert python(program) == ""


@pytest.mark.parametrize(
    "statement",
    [
        "import statekeep.testing.aws",
        "from statekeep.repositories.aws import open_client; open_client('bedrock-agentcore', region_name='us-west-2')",
    ],
    ids=["emulator", "client"],
)
def test_a_missing_boto3_is_named(statement: str) -> None:
    assert python(WITHOUT.format(absent=["boto3", "botocore"], statement=statement)) == MESSAGE
