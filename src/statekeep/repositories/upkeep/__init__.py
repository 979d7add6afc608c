"""The bodies of methods for those who look after what is stored, and copy it."""
