"""Keys of indexes of metadata, and the tags in them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from attrs import field, frozen

from ....validation import indexed_names
from ...keys import encode_part

TAG_SIZE: Final = 20
"""Characters of a tag."""

_DIGITS: Final = 320
"""Numbers with more decimal digits share one tag: to write them out may take long."""

_HUGE: Final = 10**_DIGITS


@frozen
class MetadataKeys:
    """The indexes of one name.

    Attributes:
        name: of metadata.
        by_value: tag and thread id of each value of a thread.
        by_thread: the same, by thread.
        whole: threads of which all is in the index, with the time of their last update then.
        rest: other threads, as far as readers found them.
        until: of all names, the time up to which readers looked for those.
    """

    prefix: str
    name: str
    by_value: str = field(init=False)
    by_thread: str = field(init=False)
    whole: str = field(init=False)
    rest: str = field(init=False)
    until: str = field(init=False)

    def __attrs_post_init__(self) -> None:
        start = f"{self.prefix}:metadata-index:{{threads}}"
        for part, kind in (("by_value", "value"), ("by_thread", "thread"), ("whole", "whole"), ("rest", "rest")):
            object.__setattr__(self, part, f"{start}:{encode_part(self.name)}:{kind}")
        object.__setattr__(self, "until", f"{start}:until")

    @property
    def written(self) -> tuple[str, str, str]:
        """The keys of which a put writes to."""
        return self.by_value, self.by_thread, self.whole


def metadata_keys(prefix: str, names: Any) -> tuple[MetadataKeys, ...]:
    """Return the keys of the names that are to be indexed.

    Raises:
        InvalidInput: they are no sequence of texts, or too many; ``field`` is ``index_metadata``.
    """
    return tuple(MetadataKeys(prefix, name) for name in indexed_names(names))


def tag_of(value: Any) -> str:
    """Return the tag of a value, ``""`` if it has none; equal values share it.

    >>> tag_of(1) == tag_of(1.0) == tag_of(True) == tag_of(Decimal(1)) != tag_of("1")
    True
    >>> tag_of([1])
    ''
    """
    if isinstance(value, str):
        text = f"s{value}"
    elif isinstance(value, int | float | Decimal):
        text = _text_of_number(value)
    else:
        return ""
    data = text.encode(errors="surrogatepass")
    return hashlib.blake2b(data, digest_size=TAG_SIZE // 2).hexdigest()


def _text_of_number(number: int | float | Decimal) -> str:
    if isinstance(number, Decimal):
        if number.is_nan():
            return "nan"
        if number.is_finite() and number.adjusted() >= _DIGITS:
            return "huge"
        if not number.is_finite() or number != number.to_integral_value():
            return f"f{float(number)!r}"  # no other float can be equal to it
    elif isinstance(number, float) and not number.is_integer():
        return f"f{number!r}"  # infinity, too
    whole = int(number)
    return "huge" if abs(whole) >= _HUGE else f"i{whole:x}"


def query_tag(value: Any) -> str:
    """Return the tag that every value has that equals one, ``""`` if nothing says so."""
    # What others have made may equal anything.
    return tag_of(value) if type(value) in (str, int, float, bool) else ""


def tags_of(indexes: Sequence[MetadataKeys], metadata: Mapping[str, Any]) -> list[str]:
    """Return the tag of each indexed name."""
    return [tag_of(metadata.get(keys.name)) for keys in indexes]
