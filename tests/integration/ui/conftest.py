"""Applications over what tests put, and a browser that is not one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

import statekeep
from statekeep.contrib.ui import app
from statekeep.repositories.connection import Connection
from tools.ui_demo import fill

Visit = Callable[..., TestClient]


def client(application: Any, **options: Any) -> TestClient:
    """Visit an application as a browser of this machine does."""
    options.setdefault("base_url", "http://localhost:8000")
    return TestClient(application, follow_redirects=False, **options)


@pytest.fixture
def keep() -> Iterator[Connection]:
    with statekeep.connect("memory:") as keep:
        yield keep


@pytest.fixture
def visit(keep: Connection) -> TestClient:
    """Visit what is in ``keep``."""
    return client(app(keep))


@pytest.fixture(scope="module")
def demo() -> Iterator[Connection]:
    """Read only: tests share it."""
    with statekeep.connect("memory:") as keep:
        fill(keep, others=3)
        yield keep
