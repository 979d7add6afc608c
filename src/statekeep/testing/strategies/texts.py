"""Texts that have broken something somewhere.

There is also a way to draw a few of them for a whole example.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, TypeVar

from hypothesis import strategies as st

ValueT = TypeVar("ValueT")

NASTY_TEXTS = (
    "{}", "{t}", "}{", ":", "a:b", "*", "[x]", "?", "|", "%", "%7B", "a b", " ", "\n", "\x00", "a\x00b", "..", "/",
    "\\", "'", '"', "$keep", "é", "e\u0301", "😀", "\uffff", "\U0010ffff", "x" * 1000,
)  # fmt: skip
"""Legal ids that have broken something somewhere."""

LOOK_ALIKES = (
    "t ", "T", "%74", "t*", "t\x00", "{t}:*", "a%3Ab", "a%253Ab", "A:B", "%25", "%2F", "a/b", "a.b", "a|b", "{a}:b",
    "x" * 999 + "y",
)  # fmt: skip
"""Ids that a careless encoding takes for one another, for a pattern, or for one of ``NASTY_TEXTS``."""

HOSTILE_TEXTS = (*NASTY_TEXTS, *LOOK_ALIKES)


class Disguised(str):
    """A text that writes itself as another one, as members of enumerations do."""

    __slots__ = ()

    def __str__(self) -> str:
        return "disguised"

    def __repr__(self) -> str:
        return f"Disguised({str.__repr__(self)})"

    def __format__(self, form: str) -> str:
        return format("disguised", form)


def member(text: str) -> str:
    """Return the member of an enumeration whose value is a text.

    >>> member("a") == "a", str(member("a"))
    (True, 'Kind.MEMBER')
    """
    made: Any = Enum
    return _of(made("Kind", {"MEMBER": text}, type=str).MEMBER)


def _of(text: str) -> str:
    return text


_DISGUISES: tuple[Callable[[str], str], ...] = (_of, _of, _of, Disguised, member)


def disguised(texts: st.SearchStrategy[str] | None = None) -> st.SearchStrategy[str]:
    """Draw some of these texts as objects of subclasses of ``str``.

    They write themselves as other texts.

    Args:
        texts: of which; ``HOSTILE_TEXTS`` if there are none.

    Example:
        >>> from hypothesis import given, strategies as st
        >>> @given(disguised(st.just("a")))
        ... def test(text):
        ...     assert text == "a" and hash(text) == hash("a")
        >>> test()
    """
    found = st.sampled_from(HOSTILE_TEXTS) if texts is None else texts
    return st.builds(lambda disguise, text: disguise(text), st.sampled_from(_DISGUISES), found)


def disguised_labels(namespaces: st.SearchStrategy[tuple[str, ...]]) -> st.SearchStrategy[tuple[str, ...]]:
    """Draw some of these namespaces with labels as of :func:`disguised`."""
    return st.builds(lambda disguise, labels: tuple(map(disguise, labels)), st.sampled_from(_DISGUISES), namespaces)


def few(name: str, always: Sequence[ValueT], others: Sequence[ValueT], more: int = 2) -> st.SearchStrategy[ValueT]:
    """Draw from a handful of values that stays the same throughout an example.

    So what is made of them meets.

    Each example, that is each run of a test function or of a state machine, has a handful of its own.

    Args:
        name: equal names share one handful.
        always: values that are in each handful, the simplest one first.
        others: where the rest of the handful comes from.
        more: how many of ``others`` are in a handful.

    Example:
        >>> from hypothesis import given, strategies as st
        >>> @given(st.lists(few("fruit", ["apple"], ["fig", "kiwi", "plum"], more=1)))
        ... def test(fruits):
        ...     assert len(set(fruits)) <= 2
        >>> test()
    """
    rest = st.lists(st.sampled_from(others), min_size=more, max_size=more, unique=True)
    return st.shared(rest, key=f"statekeep {name}").flatmap(lambda found: st.sampled_from([*always, *found]))
