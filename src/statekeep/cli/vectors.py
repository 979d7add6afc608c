"""Makers of vectors, named on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..domain.errors import InvalidInput

if TYPE_CHECKING:
    from ..repositories.connection import Connection

Embed = Annotated[
    str | None,
    typer.Option(
        "--embed",
        metavar="MODULE:NAME",
        show_default=False,
        help="What made the vectors: a function, or an object with embed_documents, of a module of yours, which is "
        "imported.",
    ),
]
Collection = Annotated[str, typer.Option("--collection", metavar="NAME", help="Collection of vectors.")]


def index_of(keep: Connection, embed: str, collection: str) -> dict[str, Any]:
    """Return the ``index`` for a connection to what ``keep`` has vectors of.

    Args:
        keep: a connection without an index.
        embed: ``--embed``.
        collection: of vectors.

    Raises:
        InvalidInput: there are no such vectors, or nothing of that name can be imported.
    """
    from ..inspection.valkey.collections import stored_definition

    definition = stored_definition(keep, collection)
    if definition is None:
        raise InvalidInput(f"there are no vectors in the collection {collection}", field="collection")
    return {**definition, "embed": imported(embed), "collection_name": collection}


def imported(place: str) -> Any:
    """Import what the user names.

    Args:
        place: ``MODULE:NAME``; the name may have dots.

    Raises:
        InvalidInput: it is none, or there is nothing of that name.

    Example:
        >>> imported("json:dumps").__name__
        'dumps'
    """
    import importlib
    import sys

    module, colon, path = place.partition(":")
    if not colon or not module or not path:
        raise InvalidInput("--embed must be MODULE:NAME, such as my_agent.vectors:embed", field="embed")
    if "" not in sys.path:
        sys.path.insert(0, "")  # a module of the present directory, as `python -m` finds it
    try:
        found: Any = importlib.import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
    except (ImportError, AttributeError) as error:
        raise InvalidInput(f"--embed {place}: {error}", field="embed") from error
    return found
