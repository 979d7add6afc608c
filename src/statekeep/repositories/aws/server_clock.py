"""The clock of a service."""

from __future__ import annotations

import datetime as dt
from email.utils import parsedate_to_datetime

from ...domain import Unsupported
from ..operation import Operation
from .calls import AwsCall


def server_time(call: AwsCall) -> Operation[dt.datetime]:
    """Make a call, and return the time of its answer, in whole seconds.

    Raises:
        Unsupported: the answer does not say.
    """
    reply = yield call
    date = reply.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
    try:
        # The form that HTTP asks for is in UTC; others name their time zone.
        return parsedate_to_datetime(date).astimezone(dt.UTC)
    except ValueError:
        raise Unsupported(f"the answer to {call.operation} does not say at what time it was given") from None
