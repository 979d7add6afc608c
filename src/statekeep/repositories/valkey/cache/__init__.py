"""Cache entries in Valkey."""
