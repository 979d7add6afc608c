"""Items in Valkey."""
