"""Clients of Valkey servers."""
