"""A Valkey server that lives as long as the programs that use it."""
