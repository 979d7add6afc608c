"""What the testing kit promises about itself: oracles of their own, strategies for everything."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import typing
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from statekeep import SearchStatus, domain
from statekeep.domain.errors import StatekeepError
from statekeep.domain.model import Model
from statekeep.testing import strategies
from statekeep.testing.oracles import cache as cache_oracle
from statekeep.testing.oracles import checkpoints as oracle
from statekeep.testing.oracles import items as item_oracle
from statekeep.testing.tally import Tallies, Tally, dump, load, table

ORACLES = (oracle, item_oracle, cache_oracle)

VALUES = {domain.ANY, domain.DEFAULT, domain.ValueSource, domain.checkpoints.Version}
"""What an oracle may know of the domain beside its models and errors: words, and no code."""


RULES = ("statekeep.domain.ids", "statekeep.domain.lineage")
"""Rules of the domain that backends apply.

An oracle works them out anew, so it takes nothing from there, not even words.
"""


def shared_code(source: str, package: str = "statekeep.testing") -> list[str]:
    """The names of code that a module of ``package`` imports from what it is compared to."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names if name.name.partition(".")[0] == "statekeep"]
        if not isinstance(node, ast.ImportFrom):
            continue
        origin = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
        if origin.partition(".")[0] != "statekeep":
            continue
        for name in node.names:
            known = getattr(importlib.import_module(origin), name.name, None)
            is_model = isinstance(known, type) and issubclass(known, Model | StatekeepError)
            is_ours = getattr(known, "__module__", "").startswith("statekeep.testing")
            may_be = is_model or is_ours or any(known is value for value in VALUES)
            if origin in RULES or not may_be:
                found.append(f"{origin}.{name.name}")
    return found


@pytest.mark.parametrize("module", ORACLES, ids=lambda module: module.__name__)
def test_oracles_share_no_code_with_what_they_are_compared_to(module: Any) -> None:
    assert shared_code(inspect.getsource(module), module.__package__) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from ..domain.lineage import with_sources", ["statekeep.domain.lineage.with_sources"]),
        ("from statekeep.domain.lineage import run_of as mine", ["statekeep.domain.lineage.run_of"]),
        (
            "from ..domain.lineage import Link, ValueSource",
            ["statekeep.domain.lineage.Link", "statekeep.domain.lineage.ValueSource"],
        ),
        ("from ..domain import ValueSource, lineage", ["statekeep.domain.lineage"]),
        ("def late():\n    from ..domain.ids import new_stamp", ["statekeep.domain.ids.new_stamp"]),
        ("import statekeep.domain.lineage", ["statekeep.domain.lineage"]),
        ("from .. import domain", ["statekeep.domain"]),
        (
            "from ..domain import json_values, tagged_json",
            ["statekeep.domain.json_values", "statekeep.domain.tagged_json"],
        ),
        ("import copy\nfrom ..domain import ValueSource, Checkpoint, MissingChannels", []),
        ("from .differences import Differences", []),
    ],
)
def test_shared_code_is_found(source: str, found: list[str]) -> None:
    assert shared_code(source) == found


@pytest.mark.parametrize("module", ORACLES, ids=lambda module: module.__name__)
def test_oracles_call_no_method_of_a_model(module: Any) -> None:
    """Their attributes are read; what they can do, such as ``matches``, is worked out anew."""
    models = [model for model in vars(domain).values() if isinstance(model, type) and issubclass(model, Model)]
    methods = {
        name
        for model in models
        for name, value in vars(model).items()
        if (inspect.isfunction(value) or isinstance(value, property)) and not name.startswith("_")
    }
    assert {"matches", "holds", "order"} <= methods
    used = {node.attr for node in ast.walk(ast.parse(inspect.getsource(module))) if isinstance(node, ast.Attribute)}
    assert not used & (methods - {"model_post_init"})


def _models(annotation: Any) -> set[type]:
    """The models that are named anywhere in an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return {annotation}
    return {model for part in typing.get_args(annotation) for model in _models(part)}


STRATEGIES = {name: getattr(strategies, name) for name in strategies.__all__ if not name.isupper() and name != "few"}


def test_there_is_a_strategy_for_every_model() -> None:
    made = {model for make in STRATEGIES.values() for model in _models(typing.get_type_hints(make).get("return"))}
    models = {
        value
        for name in domain.__all__
        if isinstance(value := getattr(domain, name), type) and issubclass(value, Model)
    }
    not_stored: set[Any] = {
        SearchStatus,
        domain.CacheNamespace,
        domain.ItemsMeasure,
        domain.LogMeasure,
        domain.ThreadMeasure,
    }
    typed: set[Any] = {
        domain.TypedCheckpoint,
        domain.TypedItem,
        domain.TypedSearchItem,
    }  # those of the user's own types
    assert models - not_stored - typed <= made


@pytest.mark.parametrize("name", STRATEGIES)
def test_each_strategy_makes_what_it_says(name: str) -> None:
    models = _models(typing.get_type_hints(STRATEGIES[name])["return"])
    assert (STRATEGIES[name].__doc__ or "").rstrip(" ").endswith((".", "\n"))

    @settings(max_examples=10, suppress_health_check=list(HealthCheck))
    @given(STRATEGIES[name]())
    def made(value: Any) -> None:
        for one in value if isinstance(value, list) else value.values() if isinstance(value, dict) else [value]:
            if models and not isinstance(one, tuple):
                assert isinstance(one, tuple(models))

    made()


def test_a_handful_is_the_same_throughout_an_example_and_another_one_in_others() -> None:
    seen = set()

    @settings(max_examples=50, derandomize=True, database=None)
    @given(st.lists(strategies.thread_ids(), min_size=20, max_size=30), strategies.thread_ids())
    def made(one: list[str], other: str) -> None:
        assert len({*one, other}) <= 3
        seen.update(one)

    made()
    assert len(seen) > 10
    assert seen <= {"t", *strategies.HOSTILE_TEXTS}


def test_tallies_of_several_processes_add_up() -> None:
    one = Tally(20)
    one.operations.update(get=5, put=2)
    one.divergences["get"] += 1
    total: Tallies = {}
    for _ in range(2):
        load(total, dump({("items", "memory"): one, ("cache", "glide"): Tally(1)}))
    assert total["items", "memory"].operations == {"get": 10, "put": 4}
    assert [line.split() for line in table(total)[1:]] == [
        ["cache", "glide", "2", "0", "0", "0"],
        ["items", "memory", "40", "14", "0", "1"],
    ]
