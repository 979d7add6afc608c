"""The query of a URL of an AWS service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

from ...domain import InvalidInput
from ...domain.shown import shown

PARAMETERS: Final[Mapping[str, str]] = {
    "region": "region_name",
    "region_name": "region_name",
    "profile": "credentials_profile_name",
    "credentials_profile_name": "credentials_profile_name",
    "endpoint_url": "endpoint_url",
}
"""Parameters that each service takes, and their keywords."""


def with_query(
    scheme: str, query: str, options: Mapping[str, Any], parameters: Mapping[str, str] = PARAMETERS
) -> dict[str, Any]:
    """Return options with those of a URL's query.

    Args:
        scheme: of the URL, for errors.
        query: the part behind the question mark.
        options: given as keywords.
        parameters: those that the query may have, and their keywords.

    Raises:
        InvalidInput: the query is malformed, it has an unknown parameter, or something is given twice.

    Example:
        >>> with_query("agentcore://", "region=us-west-2", {"actor_id": "ada"})
        {'actor_id': 'ada', 'region_name': 'us-west-2'}
    """
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        raise InvalidInput("url: its query must look like ?region=us-west-2&profile=me", field="url") from None
    found = dict(options)
    for name, value in pairs:
        keyword = parameters.get(name)
        if keyword is None:
            raise InvalidInput(f"url: {scheme} takes {', '.join(parameters)}; not {shown(name)}", field=name)
        if keyword in found:
            raise InvalidInput(f"{keyword} is given twice", field=keyword)
        found[keyword] = value
    return found
