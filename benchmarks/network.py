"""The same with a millisecond of network in between, where round trips decide."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial

from .comparison import compare
from .conversations import Shape
from .latency import delayed
from .savers import SAVERS
from .scripts import conversation
from .servers import NotHere
from .suite import Suite

ROUND_TRIP = 0.001  # seconds


def network(suite: Suite) -> None:
    """Let those that have a server talk to it from further away."""
    with ExitStack() as stack:
        valkey = stack.enter_context(delayed(suite.servers.valkey.port, ROUND_TRIP))
        try:
            postgres = stack.enter_context(delayed(suite.servers.port_of_postgres, ROUND_TRIP))
        except NotHere:
            postgres = None
        for key, title, shape in (
            ("network", "Short chat, 1 ms away", Shape(steps=10, message=200)),
            ("network document", "100 KB document, 10 steps, 1 ms away", Shape(10, message=1000, constant=100_000)),
        ):
            compare(
                suite,
                key,
                title,
                partial(conversation, shape=shape),
                rounds=20,
                seconds=25,
                contenders=[contender for contender in SAVERS if contender.server],
                servers=suite.servers.behind(valkey, postgres),
            )
