"""Sessions of openai-agents."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

from .suite import Suite, connection, fresh

COMPACTION = "tests/memory/test_openai_responses_compaction_session.py"


def replacements() -> Mapping[str, type]:
    from statekeep.contrib.openai_agents import StatekeepSession

    class AsyncSQLiteSession(StatekeepSession):
        """Those of one file are one."""

        def __init__(self, session_id: str, db_path: str | PathLike[str] = ":memory:", **options: Any) -> None:
            place = fresh() if str(db_path) == ":memory:" else str(db_path)
            super().__init__(session_id, connection().asyncio, namespace=("sqlite", place), **options)

    class SQLiteSession(AsyncSQLiteSession):
        """As these, but for ``close``, which is no coroutine."""

        def close(self) -> None:  # type: ignore[override]
            """Close nothing."""

    return {
        "agents.SQLiteSession": SQLiteSession,
        "agents.memory.SQLiteSession": SQLiteSession,
        "agents.extensions.memory.AsyncSQLiteSession": AsyncSQLiteSession,
        "agents.extensions.memory.async_sqlite_session.AsyncSQLiteSession": AsyncSQLiteSession,
    }


SUITE = Suite(
    distribution="openai-agents",
    modules=[
        "tests/memory/test_session.py",
        "tests/memory/test_session_limit.py",
        COMPACTION,
    ],
    replacements=replacements,
    cannot={
        **{
            f"tests/memory/test_session.py::test_sqlite_session_{name}": reason
            for reason, names in {
                "looks at connections of SQLite, or makes them fail": [
                    "close_closes_worker_thread_connections",
                    "reaps_connections_from_exited_worker_threads",
                    "closes_retired_connections_before_the_next_allocation",
                    "keeps_connections_of_live_worker_threads",
                    "failed_add_items_releases_write_lock",
                    "failed_clear_session_rolls_back",
                    "failed_pop_item_releases_write_lock",
                    "rollback_failure_evicts_connection",
                    "close_retries_quarantined_connection",
                    "post_commit_cancellation_propagates_after_known_outcome",
                ],
                "looks at locks of files": ["file_lock_is_shared_across_instances"],
                "writes damaged rows into SQLite": [
                    "pop_item_skips_corrupt_most_recent",
                    "pop_item_returns_none_after_dropping_only_corrupt_rows",
                    "get_items_limit_skips_corrupt_newest_rows",
                    "get_items_session_settings_limit_skips_corrupt_rows",
                ],
                "ours goes on with the connection, which its owner closes": ["closed_rejects_empty_add_items"],
            }.items()
            for name in names
        },
        "tests/memory/test_session.py::test_session_settings_rejects_unknown_dictionary_fields": (
            "InvalidInput is a ValueError, not a TypeError"
        ),
        **{
            f"{COMPACTION}::TestOpenAIResponsesCompactionSession::{name}": reason
            for name, reason in {
                "test_automatic_compaction_rollback_budget[True]": "replaces the history by a private interface",
                "test_settled_pop_failure_invalidates_response_chain": "makes connections of SQLite fail",
                "test_settled_clear_failure_invalidates_response_chain": "makes connections of SQLite fail",
            }.items()
        },
    },
)
