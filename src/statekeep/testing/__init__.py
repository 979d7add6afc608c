"""For the tests of those who build on Statekeep: servers, contract tests, strategies.

Each part is a module of its own and imports only what it needs; nothing is imported from here.
"""

__all__: list[str] = []
