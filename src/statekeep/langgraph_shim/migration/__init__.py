"""Migration of what LangGraph's savers, stores and caches keep to Statekeep."""

from .entry import MigrationSource, MigrationTarget, amigrate, migrate
from .report import MigrationReport, VerificationFailed
from .source import PeerSource
from .urls import migrate_urls, open_source

__all__ = [
    "MigrationReport",
    "MigrationSource",
    "MigrationTarget",
    "PeerSource",
    "VerificationFailed",
    "amigrate",
    "migrate",
    "migrate_urls",
    "open_source",
]
