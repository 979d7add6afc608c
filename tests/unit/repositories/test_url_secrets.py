"""No error about a URL shows a part of it that may be a secret, however the URL is spoilt."""

from __future__ import annotations

import traceback
from collections.abc import Callable

import pytest

import statekeep
from statekeep import StatekeepError
from statekeep.langgraph_shim import AgentCoreMemorySaver, ValkeyCache, ValkeySaver, ValkeyStore

SECRET = "hunter2secret"
SCHEMES = (
    "valkey", "valkeys", "valkey+cluster", "unix", "redis", "rediss", "agentcore", "agentcor", "memory", "http",
    "bedrock-sessions", "",
)  # fmt: skip
RESTS = (
    f"://u:{SECRET}@m:99999", f"://{SECRET}@h:x", f"://u:a/{SECRET}@h", f"://u:a?{SECRET}@h", f"://u:1?{SECRET}=1@h",
    f"://u:a#{SECRET}@h", f"://u:[{SECRET}@h", f"://h:1?password={SECRET}&x=1", f"://h:1?passwrd={SECRET}",
    f"://h?password={SECRET}&deadline=x", f":u:{SECRET}@h", f"{SECRET}@h:6379", f"://u:{SECRET}@h/x", f":{SECRET}",
    f"://u:{SECRET}@h:1,b:x", f"://abc-1234567890?region=us-west-2&endpoint_url=http://u:{SECRET}@x",
    f"://u:{SECRET}@abc-1234567890?x=1", f"://u:{SECRET}@m",
)  # fmt: skip
OPENERS: tuple[Callable[[str], object], ...] = (
    statekeep.connect,
    statekeep.aconnect,
    ValkeySaver.from_conn_string,
    ValkeyStore.from_conn_string,
    ValkeyCache.from_conn_string,
    AgentCoreMemorySaver,
)


def _told(open_url: Callable[[str], object], url: str) -> str:
    """All that the error says."""
    try:
        open_url(url)
    except StatekeepError as error:
        return "".join(traceback.format_exception_only(error)) + repr(error)
    return ""


@pytest.mark.parametrize("open_url", OPENERS, ids=lambda opener: opener.__qualname__)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_errors_about_urls_show_no_secrets(open_url: Callable[[str], object], scheme: str) -> None:
    told = [_told(open_url, scheme + rest) for rest in RESTS]
    assert not [text for text in told if SECRET in text]
    assert any(told)
