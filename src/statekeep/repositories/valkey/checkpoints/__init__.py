"""Checkpoints and pending writes in Valkey."""
