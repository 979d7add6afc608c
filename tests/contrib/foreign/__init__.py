"""Suites of frameworks, run with our classes in the place of theirs; none of their code is kept here.

``make check-<framework>`` runs ``python -m foreign <framework>`` in the framework's environment, with ``tests/contrib``
as PYTHONPATH: the suites themselves have packages of the name ``tests``.
"""
