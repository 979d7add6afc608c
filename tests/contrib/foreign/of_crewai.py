"""States of crewai's flows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .suite import Suite, connection


def replacements() -> Mapping[str, type]:
    from statekeep.contrib.crewai import StatekeepFlowPersistence

    class SQLiteFlowPersistence(StatekeepFlowPersistence):
        """Those of one file are one."""

        def __init__(self, db_path: str | None = None, **fields: Any) -> None:
            super().__init__(connection(), namespace=("sqlite", db_path or "default"), **fields)

    return {
        "crewai.flow.persistence.SQLiteFlowPersistence": SQLiteFlowPersistence,
        "crewai.flow.persistence.sqlite.SQLiteFlowPersistence": SQLiteFlowPersistence,
    }


SUITE = Suite(
    distribution="crewai",
    modules=[
        "tests/test_flow_persistence.py",
        "tests/test_flow_persistence_factory.py",
        "tests/test_flow_resumability_regression.py",
        "tests/test_flow_turns.py",
        "tests/test_flow_conversation.py",
        "tests/test_async_human_feedback.py",
    ],
    replacements=replacements,
    environment={"CREWAI_DISABLE_TELEMETRY": "true", "OTEL_SDK_DISABLED": "true"},
)
