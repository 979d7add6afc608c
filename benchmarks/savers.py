"""The savers that are compared, all on one server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph_checkpoint_aws import ValkeySaver as IncumbentSaver

from statekeep.langgraph_shim import ValkeySaver

INCUMBENT = "langgraph-checkpoint-aws"
NAMES = (INCUMBENT, "Statekeep, valkey-py", "Statekeep, glide")


@contextlib.contextmanager
def savers(url: str) -> Iterator[dict[str, BaseCheckpointSaver[Any]]]:
    """Savers on the server at ``url``, by name, the incumbent first; its default client is valkey-py."""
    with contextlib.ExitStack() as stack:
        yield {
            INCUMBENT: stack.enter_context(IncumbentSaver.from_conn_string(url)),
            "Statekeep, valkey-py": stack.enter_context(
                ValkeySaver.from_conn_string(f"{url}?client=valkey-py", prefix="bench-valkey-py")
            ),
            "Statekeep, glide": stack.enter_context(
                ValkeySaver.from_conn_string(f"{url}?client=glide", prefix="bench-glide")
            ),
        }
