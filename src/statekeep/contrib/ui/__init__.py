"""A page to look at agents' memory: ``pip install 'statekeep[ui]'``.

``statekeep ui URL`` serves it on this machine. :func:`app` is the ASGI application, to be mounted into yours.
"""

from ...domain import MissingDependency as _MissingDependency

try:
    import jinja2 as _jinja2  # noqa: F401
    import starlette as _starlette  # noqa: F401
except ImportError as _error:
    raise _MissingDependency((_error.name or "starlette").partition(".")[0], "ui") from _error

from .application import app

__all__ = ["app"]
