"""A Valkey server that lives as long as the programs that use it."""

from .server import EmbeddedServer

__all__ = ["EmbeddedServer"]
