"""The clock of AWS services, which their answers tell."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

import statekeep
from statekeep import Unsupported
from statekeep.repositories.aws import AwsCall
from statekeep.repositories.aws.server_clock import server_time
from statekeep.testing.aws import AwsEmulator, Clock

pytestmark = pytest.mark.anyio

MOMENT = dt.datetime(2026, 2, 28, 23, 59, 58, 750_000, tzinfo=dt.UTC)
KEYS: Any = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}


@pytest.mark.parametrize("service", ["agentcore", "bedrock-sessions"])
async def test_it_is_the_services_clock(service: str) -> None:
    with AwsEmulator(clock=Clock(MOMENT)) as aws:
        memory = aws.memory_id if service == "agentcore" else ""
        url = f"{service}://{memory}?region=us-east-1&endpoint_url={aws.endpoint_url}"
        async with statekeep.aconnect(url, **KEYS) as keep:
            assert await keep.now() == MOMENT.replace(microsecond=0)
            aws.clock.advance(1.25)
            with aws.record() as calls:
                assert await keep.now() == dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
            assert len(calls) == 1


@pytest.mark.parametrize("headers", [{}, {"date": "tomorrow"}, {"date": ""}])
def test_an_answer_without_a_time(headers: dict[str, str]) -> None:
    asking = server_time(AwsCall("ListSessions", {}))
    next(asking)
    with pytest.raises(Unsupported, match="ListSessions does not say"):
        asking.send({"ResponseMetadata": {"HTTPHeaders": headers}})


@pytest.mark.parametrize("date", ["Sat, 28 Feb 2026 23:59:58 GMT", "Sun, 01 Mar 2026 00:59:58 +0100"])
def test_times_of_other_zones(date: str) -> None:
    asking = server_time(AwsCall("ListSessions", {}))
    next(asking)
    with pytest.raises(StopIteration) as ended:
        asking.send({"ResponseMetadata": {"HTTPHeaders": {"date": date}}})
    assert ended.value.value == MOMENT.replace(microsecond=0)
