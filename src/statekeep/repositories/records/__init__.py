"""Records of services that keep texts instead of fields: how they are framed and ordered."""
