"""The similarity of two texts: cosine of TF-IDF vectors.

They are made of words and their trigrams. No model and no network.

>>> ranked = similarities("sushi with tuna", ["the sky is blue", "I love tuna and sushis"])
>>> ranked[1] > ranked[0] >= 0
True
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

_WORD = re.compile(r"\w+")


def _features(text: str) -> Counter[str]:
    words = _WORD.findall(text.casefold()) or list(text.strip())
    # Trigrams make "sushi" and "sushis" neighbours, as an embedding does.
    trigrams = [f"~{padded[n : n + 3]}" for padded in (f" {word} " for word in words) for n in range(len(padded) - 2)]
    return Counter(words + trigrams)


def similarities(query: str, texts: Sequence[str]) -> list[float]:
    """Return how alike each text is to ``query``.

    1.0 for the same words, 0.0 for nothing in common.
    """
    counted = [_features(text) for text in texts]
    spread = Counter(feature for features in counted for feature in features)
    rarity = {feature: math.log((1 + len(texts)) / (1 + count)) + 1 for feature, count in spread.items()}
    unseen = math.log(1 + len(texts)) + 1

    def vector(features: Counter[str]) -> dict[str, float]:
        weights = {name: (1 + math.log(count)) * rarity.get(name, unseen) for name, count in features.items()}
        length = math.sqrt(sum(weight * weight for weight in weights.values()))
        return {name: weight / length for name, weight in weights.items()} if length else {}

    asked = vector(_features(query))
    return [
        min(1.0, sum(weight * asked.get(name, 0.0) for name, weight in vector(features).items()))
        for features in counted
    ]
