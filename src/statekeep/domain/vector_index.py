"""The index for search by meaning.

Texts become vectors, which are compared.
"""

from __future__ import annotations

import datetime as dt
import zoneinfo
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, Strict, field_validator

from .errors import InvalidInput
from .json_values import steps
from .model import Model, Name
from .shown import shown

Count = Annotated[int, Strict()]


def time_zone(name: str) -> dt.tzinfo:
    """Return a time zone; ``"UTC"`` needs no database of them.

    Raises:
        ValueError: there is no such zone, or no database of zones.
    """
    if name == "UTC":
        return dt.UTC
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        if zoneinfo.available_timezones():
            raise ValueError("must be an IANA time zone such as 'UTC' or 'Europe/Berlin'") from None
        raise ValueError("must be 'UTC' on a system without time zones; run: pip install tzdata") from None


class VectorIndex(Model):
    """The options of vector search.

    Attributes:
        dims: length of the vectors, 1 to 32768.
        embed: makes vectors of texts: an object with ``embed_documents`` and ``embed_query`` (such as LangChain's
            ``Embeddings``; their async twins are used if there are any), or a function, blocking or async, from a
            list of texts to a list of vectors.
        fields: paths of the texts in a value; each text gets a vector of its own, and the best one counts.
            :func:`~statekeep.domain.json_values.steps` says what a path may be.
        distance_metric: ``"cosine"``, ``"ip"`` (inner product) or ``"l2"`` (Euclidean, squared). Scores are higher for
            nearer ones: the cosine, the inner product, and minus the squared distance.
        index_type: ``"hnsw"`` (approximate, on servers with the search module) or ``"flat"`` (exact).
        hnsw_m: connections per element and layer, 4 to 64.
        hnsw_ef_construction: how many candidates are looked at when an element is added, 100 to 800.
        hnsw_ef_runtime: how many candidates are looked at in a search, 10 to 500.
        collection_name: repositories with different names keep different vectors, of different models perhaps.
        timezone: an IANA name; LangGraph's stores return times in it.
        vector_cache: bytes of vectors that this process keeps for Valkey without the search module, so that a search
            reads what was put since the last one; 0 keeps none, and each search reads all vectors.

    Raises:
        InvalidInput: an option is out of its range.

    Example:
        >>> VectorIndex(dims=2, embed=lambda texts: [[len(text), 1.0] for text in texts], fields=["text"]).index_type
        'hnsw'
    """

    dims: Annotated[Count, Field(ge=1, le=32768)]
    embed: Any
    fields: Annotated[tuple[Name, ...], Field(min_length=1)] = ("$",)
    distance_metric: Literal["cosine", "ip", "l2"] = "cosine"
    index_type: Literal["hnsw", "flat"] = "hnsw"
    hnsw_m: Annotated[Count, Field(ge=4, le=64)] = 16
    hnsw_ef_construction: Annotated[Count, Field(ge=100, le=800)] = 200
    hnsw_ef_runtime: Annotated[Count, Field(ge=10, le=500)] = 10
    collection_name: Name = "default"
    timezone: Name = "UTC"
    vector_cache: Annotated[Count, Field(ge=0)] = 256 * 1024 * 1024

    @field_validator("distance_metric", "index_type", mode="before")
    @classmethod
    def _in_lower_case(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @field_validator("fields")
    @classmethod
    def _are_paths(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for path in value:
            steps(path)
        return value

    @field_validator("timezone")
    @classmethod
    def _is_known(cls, value: str) -> str:
        time_zone(value)
        return value

    @field_validator("embed")
    @classmethod
    def _can_embed(cls, value: Any) -> Any:
        if not callable(value) and not callable(getattr(value, "embed_documents", None)):
            raise ValueError("must be a function from texts to vectors, or an object with embed_documents")
        return value

    @classmethod
    def of(cls, index: Any) -> Self | None:
        """Return the options that ``value`` stands for.

        It is a mapping, another :class:`VectorIndex` or ``None``.

        Raises:
            InvalidInput: an option is unknown or out of its range.
        """
        if index is None or isinstance(index, cls):
            return index
        if not isinstance(index, Mapping) or not all(isinstance(name, str) for name in index):
            raise InvalidInput(
                f"index must be a VectorIndex or a mapping of its options, got {shown(index)}", field="index"
            )
        return cls(**index)


class SearchStatus(Model):
    """The means of searches by meaning, as ``setup()`` found them.

    Attributes:
        engine: the server's module, ``"valkey-search"`` or ``"redisearch"`` (the Redis query engine); ``"exact"``: all
            vectors are compared with the query; ``None``: there is no search by meaning.
        algorithm: of the module's index.
        is_ready: whether the module's index has all vectors already. Until then all are compared.
        reason: why it is not a module.

    Example:
        >>> print(SearchStatus(engine="redisearch", algorithm="hnsw"))
        redisearch (hnsw)
        >>> print(SearchStatus(engine="exact", reason="the server has no search module"))
        exact comparison: the server has no search module
    """

    engine: Literal["valkey-search", "redisearch", "exact"] | None
    algorithm: Literal["hnsw", "flat"] | None = None
    is_ready: bool = True
    reason: str = ""

    def __str__(self) -> str:
        if self.engine in (None, "exact"):
            return f"{'exact comparison' if self.engine else 'no search by meaning'}: {self.reason}"
        return f"{self.engine} ({self.algorithm}{'' if self.is_ready else ', being built'})"


NO_INDEX: Final = SearchStatus(engine=None, reason="there is no index")
"""The status of a repository that has no index."""
