"""Checks of a connection to Valkey."""
