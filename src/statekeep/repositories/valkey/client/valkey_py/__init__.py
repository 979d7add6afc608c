"""valkey-py as a driver."""
