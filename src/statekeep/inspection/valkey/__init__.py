"""The servers of Valkey, and the keys on them."""
