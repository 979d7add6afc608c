"""Storages and sessions of strands-agents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .suite import Suite, connection, fresh


def replacements() -> Mapping[str, type]:
    from strands.session import RepositorySessionManager

    from statekeep.contrib.strands import StatekeepSessionRepository, StatekeepStorage

    class InMemoryStorage(StatekeepStorage):
        """Each begins empty."""

        def __init__(self, **options: Any) -> None:
            super().__init__(connection(), namespace=("memory", fresh()), **options)

    class LocalFileStorage(StatekeepStorage):
        """Those of one folder are one."""

        def __init__(self, base_dir: str = "./", **options: Any) -> None:
            super().__init__(connection(), namespace=("files", base_dir), **options)

    class MockedSessionRepository(StatekeepSessionRepository):
        """Each begins empty."""

        def __init__(self) -> None:
            super().__init__(connection(), namespace=("sessions", fresh()))

    class FileSessionManager(RepositorySessionManager, StatekeepSessionRepository):  # type: ignore[misc]
        """Those of one folder are one."""

        def __init__(self, session_id: str, storage_dir: str | None = None, **options: Any) -> None:
            StatekeepSessionRepository.__init__(self, connection(), namespace=("sessions", storage_dir or "default"))
            RepositorySessionManager.__init__(self, session_id=session_id, session_repository=self, **options)

    return {
        "strands.storage.InMemoryStorage": InMemoryStorage,
        "strands.storage.in_memory_storage.InMemoryStorage": InMemoryStorage,
        "strands.storage.LocalFileStorage": LocalFileStorage,
        "strands.session.file_session_manager.FileSessionManager": FileSessionManager,
        "tests.fixtures.mock_session_repository.MockedSessionRepository": MockedSessionRepository,
    }


SUITE = Suite(
    distribution="strands-agents",
    modules=[
        "tests/strands/storage/test_in_memory_storage.py",
        "tests/strands/storage/test_storage.py",
        "tests/strands/storage/search",
        "tests/strands/session/test_repository_session_manager.py",
        "tests/strands/session/test_file_session_manager.py",
        "tests/strands/session/test_snapshot_session_manager.py",
        "tests/strands/agent/test_agent_storage.py",
        "tests/strands/_context_manager/test_context_manager.py",
        "tests/strands/_context_manager/test_retrieval_tool.py",
        "tests/strands/_context_manager/test_stash.py",
        "tests/strands/_context_manager/test_stash_integration.py",
        "tests/strands/vended_plugins/context_offloader/test_plugin.py",
        "tests/strands/vended_memory_stores/file_memory_store/test_store.py",
    ],
    replacements=replacements,
    cannot={
        **{
            f"tests/strands/{name}": reason
            for reason, names in {
                "clear is of storages in memory alone": [
                    "storage/test_in_memory_storage.py::TestInMemoryStorage::test_clear",
                    "storage/test_in_memory_storage.py::TestInMemoryStorage::test_namespace_clear_only_clears_prefix",
                ],
                "looks into the storage in memory": [
                    "storage/search/test_keyword.py::TestKeywordSearch::test_skips_keys_where_read_returns_none",
                ],
                "ours survives the program, so the stash is no part of the snapshot": [
                    *(
                        f"session/test_snapshot_session_manager.py::TestSnapshotStashIntegration::{name}"
                        for name in (
                            "test_save_includes_inline_stash_for_ephemeral_storage",
                            "test_save_omits_stash_when_empty",
                            "test_immutable_snapshot_includes_stash",
                            "test_ephemeral_detection_survives_namespacing",
                        )
                    ),
                    "_context_manager/test_context_manager.py::TestStashIsDurable::test_false_with_namespaced_in_memory_storage",
                ],
                "looks at files and their paths": [
                    f"session/test_file_session_manager.py::{name}"
                    for name in (
                        "test_create_session",
                        "test_delete_session",
                        "test_create_agent",
                        "test_create_message",
                        "test_message_durable_id_persists",
                        "test_corrupted_json_file",
                        "test__get_session_path_invalid_session_id",
                        "test__get_agent_path_invalid_agent_id",
                        "test__get_message_path_invalid_message_id",
                        "test_create_multi_agent",
                        "test_create_session_multi_agent_directory_structure",
                    )
                ],
            }.items()
            for name in names
        }
    },
)
