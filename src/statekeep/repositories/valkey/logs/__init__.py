"""Logs in Valkey: a list for each, and indexes of their names."""
