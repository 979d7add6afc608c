"""The options of vector search."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest

from statekeep.domain import InvalidInput, VectorIndex


def embed(texts: list[str]) -> list[list[float]]:
    return [[0.0] for _ in texts]


class Model:
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return embed(texts)


def test_what_it_is_by_default() -> None:
    index = VectorIndex(dims=3, embed=embed)
    assert index.fields == ("$",)
    assert index.distance_metric == "cosine"
    assert index.index_type == "hnsw"
    assert (index.hnsw_m, index.hnsw_ef_construction, index.hnsw_ef_runtime) == (16, 200, 10)
    assert (index.collection_name, index.timezone) == ("default", "UTC")


@pytest.mark.parametrize(
    ("option", "least", "most"),
    [
        ("dims", 1, 32768),
        ("hnsw_m", 4, 64),
        ("hnsw_ef_construction", 100, 800),
        ("hnsw_ef_runtime", 10, 500),
    ],
)
def test_ranges(option: str, least: int, most: int) -> None:
    for value in (least, most):
        assert getattr(VectorIndex(**{"dims": 3, "embed": embed, option: value}), option) == value
    wrong: list[Any] = [least - 1, most + 1, -1, True, "16", 16.0, 16.5, None]
    for value in wrong:
        with pytest.raises(InvalidInput, match=f"^VectorIndex: {option}: ") as error:
            VectorIndex(**{"dims": 3, "embed": embed, option: value})
        assert error.value.field == option


@pytest.mark.parametrize(
    ("option", "value", "kept"),
    [
        ("distance_metric", "COSINE", "cosine"),
        ("distance_metric", "Ip", "ip"),
        ("distance_metric", "l2", "l2"),
        ("index_type", "FLAT", "flat"),
        ("index_type", "Hnsw", "hnsw"),
        ("fields", ["title", "parts[*].text"], ("title", "parts[*].text")),
        ("fields", ("$",), ("$",)),
        ("collection_name", "a:{b}", "a:{b}"),
        ("timezone", "Europe/Berlin", "Europe/Berlin"),
    ],
)
def test_values(option: str, value: Any, kept: Any) -> None:
    assert getattr(VectorIndex(**{"dims": 3, "embed": embed, option: value}), option) == kept


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("distance_metric", "dot", "Input should be 'cosine', 'ip' or 'l2'"),
        ("distance_metric", None, "Input should be"),
        ("index_type", "svs", "Input should be 'hnsw' or 'flat'"),
        ("fields", [], "at least 1 item"),
        ("fields", "title", "tuple"),
        ("fields", [""], "at least 1 character"),
        ("fields", [3], "valid string"),
        ("fields", ["a", "b["], "'b[' is no path; see position 1"),
        ("collection_name", "", "at least 1 character"),
        ("collection_name", 3, "valid string"),
        ("timezone", "Mars/Olympus", "must be an IANA time zone"),
        ("timezone", "../etc/passwd", "must be an IANA time zone"),
        ("timezone", "Europe", "must be an IANA time zone"),
        ("timezone", "/UTC", "must be an IANA time zone"),
        ("embed", None, "must be a function from texts to vectors, or an object with embed_documents"),
        ("embed", "openai:text-embedding-3-small", "must be a function"),
        ("embed", object(), "must be a function"),
        ("ef", 3, "Extra inputs are not permitted"),
    ],
)
def test_bad_values(option: str, value: Any, message: str) -> None:
    with pytest.raises(InvalidInput) as error:
        VectorIndex(**{"dims": 3, "embed": embed, option: value})
    assert message in str(error.value)
    assert error.value.field == option


@pytest.mark.parametrize("missing", ["dims", "embed"])
def test_what_must_be_given(missing: str) -> None:
    options = {"dims": 3, "embed": embed}
    del options[missing]
    with pytest.raises(InvalidInput, match="Field required") as error:
        VectorIndex(**options)
    assert error.value.field == missing


def test_an_object_that_embeds() -> None:
    model = Model()
    assert VectorIndex(dims=3, embed=model).embed is model


def test_options_of_several_forms() -> None:
    index = VectorIndex(dims=3, embed=embed)
    assert VectorIndex.of(index) is index
    assert VectorIndex.of(None) is None
    assert VectorIndex.of({"dims": 3, "embed": embed}) == index
    assert VectorIndex.of(MappingProxyType({"dims": 3, "embed": embed})) == index
    for wrong in (3, "dims", [("dims", 3)], {3: 4}, {"dims": 3, None: 4}):
        with pytest.raises(InvalidInput, match="index must be a VectorIndex or a mapping of its options") as error:
            VectorIndex.of(wrong)
        assert error.value.field == "index"
    with pytest.raises(InvalidInput, match="dims") as error:
        VectorIndex.of({"dims": 0, "embed": embed})
    assert error.value.field == "dims"


def test_it_does_not_change() -> None:
    index = VectorIndex(dims=3, embed=embed)
    with pytest.raises(ValueError, match="frozen"):
        index.dims = 4  # type: ignore[misc]
