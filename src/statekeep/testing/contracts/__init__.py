"""Contract tests of backends."""
