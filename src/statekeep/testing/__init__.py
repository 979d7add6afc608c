"""Tools to test your backends and programs.

There are contracts, state machines, strategies and servers.

Each part is a module of its own and imports only what it needs; nothing is imported from here.
docs/writing-a-backend.md shows how to use them.

- ``contracts``: the contracts of repositories, as tests to inherit.
- ``machines``: state machines that compare a backend with an oracle. ``differences``: what a backend declares to do
  otherwise. ``pairs``: one history on two backends.
- ``oracles``: the models, which share no code with any backend.
- ``strategies``: hypothesis strategies of every model.
- ``tally``, ``pytest_plugin``: counts of what the machines did, and their table at the end of a run.
- ``servers``, ``aws``: real Valkey servers and clusters, an emulator of AWS services.
- ``embedding``: vectors that can be worked out by hand; ``faces``: one face of a repository behind the other.
"""

__all__: list[str] = []
