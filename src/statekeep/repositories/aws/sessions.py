"""Sessions of boto3 that share what they read of botocore."""

from __future__ import annotations

from functools import cache
from typing import Any


def new_session(**options: Any) -> Any:
    """Return a new ``boto3.Session`` that reads files of botocore once a process.

    The models of services take longer to parse than anything else when a client is made, and never change.

    Args:
        options: as of ``boto3.Session``.

    Example:
        >>> new_session(region_name="us-west-2")
        Session(region_name='us-west-2')
    """
    import boto3
    from botocore.session import get_session

    session = get_session()
    made = boto3.Session(botocore_session=session, **options)
    share_files(session)  # not before it knows its profile, which may name another folder of data
    return made


def share_files(session: Any) -> None:
    """Have a session of botocore read each file once for all sessions that share.

    Args:
        session: of botocore, not of boto3.
    """
    session.get_component("data_loader").file_loader = _files()


@cache
def _files() -> Any:
    from botocore.loaders import JSONFileLoader

    class Files(JSONFileLoader):  # type: ignore[misc]
        load_file = cache(JSONFileLoader.load_file)

    return Files()
