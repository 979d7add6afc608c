"""What a process remembers of AWS services can be used in its forks, whatever its threads do at that moment."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from statekeep.domain.ids import time_of
from statekeep.repositories.bedrock_sessions.ids import Step
from statekeep.repositories.bedrock_sessions.steps import Recollection
from statekeep.repositories.records.local_cache import Recent

recent, recollection = Recent(), Recollection()
PLACE = (("t",), "", "1")


def use_recent() -> bool:
    recent.keep(*PLACE, {})
    recent.saw(*PLACE, 2**62)
    return recent.next_stamp(*PLACE) == 2**62 + 1 and recent.channels(*PLACE) == {}


def use_recollection() -> bool:
    step = Step("00000000-0000-0000-0000-000000000000", "i", time_of(0))
    recollection.put("s", step)
    return recollection.completed("s", None, []) == [step]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize(("memory", "use"), [(recent, use_recent), (recollection, use_recollection)])
def test_a_fork_while_another_thread_remembers(memory: Recent | Recollection, use: Callable[[], bool]) -> None:
    with memory._lock:
        child = os.fork()
        if child == 0:  # pragma: no cover
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(20)
            status = 1
            try:
                status = 0 if use() else 2
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
    assert use()
