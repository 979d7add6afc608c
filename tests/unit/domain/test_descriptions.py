"""Every field says what it is, in the JSON schema, too."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import pytest
from pydantic import BaseModel

import statekeep
from statekeep import Checkpoint, Item, PutItem, SavedCheckpoint, TypedItem
from statekeep.domain.model import Model, descriptions
from statekeep.repositories.bedrock_sessions.models import CreateSessionRequest

PACKAGES = ["statekeep.domain", "statekeep.repositories"]


def models() -> list[type[Model]]:
    """Return all models that are no base for others alone."""
    found: set[type[Model]] = set()
    for package in map(importlib.import_module, PACKAGES):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if module.name.endswith(".keeper"):  # a program of its own
                continue
            for one in vars(importlib.import_module(module.name)).values():
                if isinstance(one, type) and issubclass(one, Model) and one.__module__ == module.name:
                    found.add(one)
    return sorted((one for one in found if one.model_fields), key=lambda one: one.__qualname__)


def properties(model: type[BaseModel]) -> dict[str, Any]:
    found: dict[str, Any] = model.model_json_schema()["properties"]
    return found


def test_all_are_looked_at() -> None:
    assert {Checkpoint, Item, CreateSessionRequest} <= set(models())
    assert len(models()) > 50


@pytest.mark.parametrize("model", models(), ids=lambda model: model.__name__)
def test_every_field_is_described(model: type[Model]) -> None:
    assert model.model_fields.keys() - descriptions(model).keys() == set()


@pytest.mark.parametrize("model", models(), ids=lambda model: model.__name__)
def test_the_schema_says_the_same(model: type[Model]) -> None:
    shown = properties(model)
    names = {field.alias or name: name for name, field in model.model_fields.items()}
    assert {names[key]: one.get("description") for key, one in shown.items()} == descriptions(model)


def test_what_it_says() -> None:
    schema = Item.model_json_schema()
    assert schema["description"] == "A value under a namespace and a key."
    assert schema["properties"]["value"]["description"] == "what JSON can hold, or a Payload."
    assert schema["properties"]["expires_at"]["description"] == "when it ends, to the millisecond; `None` for never."


def test_of_longer_texts_all_lines_count() -> None:
    told = descriptions(Checkpoint)["thread_id"]
    assert told.startswith(
        "the conversation or run that the checkpoint belongs to; any text but the empty one. It and "
    )
    assert told.endswith("8192 bytes of UTF-8.")


def test_bases_count() -> None:
    assert descriptions(SavedCheckpoint)["thread_id"] == descriptions(Checkpoint)["thread_id"]
    assert "pending_writes" in descriptions(SavedCheckpoint)


def test_models_within_models_are_described() -> None:
    definitions = Checkpoint.model_json_schema()["$defs"]
    assert definitions["Channel"]["properties"]["version"]["description"].startswith(
        "changes whenever the value changes."
    )


def test_generic_models_are_described() -> None:
    assert properties(TypedItem[int])["key"]["description"] == descriptions(TypedItem)["key"]
    assert TypedItem[int].model_json_schema()["properties"]["value"]["type"] == "integer"


def test_what_a_field_says_of_itself_counts_more() -> None:
    from pydantic import Field

    class Own(Model):
        """One of your own.

        Attributes:
            a: said here.
            b: said here, too.
        """

        a: int = Field(description="said there")
        b: int

    assert {name: one["description"] for name, one in properties(Own).items()} == {
        "a": "said there",
        "b": "said here, too.",
    }


def test_aliases_are_described() -> None:
    told = descriptions(CreateSessionRequest)
    assert properties(CreateSessionRequest)["sessionMetadata"]["description"] == told["session_metadata"]
    by_name = CreateSessionRequest.model_json_schema(by_alias=False)["properties"]
    assert by_name["session_metadata"]["description"] == told["session_metadata"]


def test_public_models_are_among_them() -> None:
    public = [getattr(statekeep, name) for name in statekeep.__all__]
    assert {one for one in public if isinstance(one, type) and issubclass(one, BaseModel)} <= set(models())
    assert PutItem in models()
