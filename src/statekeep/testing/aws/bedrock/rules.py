"""Rules of the emulated Bedrock sessions.

They can be configured, or are not known exactly.
"""

from __future__ import annotations

from attrs import field, frozen

from ..bounds import not_negative, positive


@frozen(kw_only=True)
class SessionRules:
    """Rules of the emulated sessions of ``bedrock-agent-runtime``.

    :mod:`~statekeep.testing.aws.assumptions` says what they rest on.

    Attributes:
        idle: seconds without a write after which a session is EXPIRED.
        life: seconds from its creation after which a session is gone, whatever its status.
        steps: steps that a session may have, over all its invocations.
        step_bytes: bytes of the texts and images of one step.
        tags: tags that a session may have.
        list_lag: seconds after which a new step is listed; it is found by its id at once.
        page_size: a listing has at most so many results on a page, whatever ``maxResults`` says.
        trailing_token: a full last page has a token too, of an empty page.
    """

    idle: float = field(default=3600.0, validator=not_negative)
    life: float = field(default=30 * 86_400.0, validator=not_negative)
    steps: int = field(default=1000, validator=positive)
    step_bytes: int = field(default=50_000_000, validator=positive)
    tags: int = field(default=200, validator=positive)
    list_lag: float = field(default=0.0, validator=not_negative)
    page_size: int | None = field(default=None, validator=positive)
    trailing_token: bool = False

    def page(self, asked: int | None) -> int:
        """Return how many results a page has.

        It is as many as the request asks for; 10 unless it does.
        """
        return min(asked or 10, self.page_size or 1000)
