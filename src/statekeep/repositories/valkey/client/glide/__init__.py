"""Valkey GLIDE: its drivers, and the clients that are made for URLs."""
