"""Reinforcement: what support and opposition make of an emission's strength.

The formula is the original's effective intensity, with each supporter weighed by its observer:

    c'    = min(1, c + Σ_{i=1..n} w_i · 0.1 / (1 + 0.5 i))
    value = min(1, I(t) · c' · (1 + min(0.1 Σ w_i, 0.5)) · S / (S + O))

over the n supporting lineages other than the author's, heaviest first, then by name. Each further supporter adds
less to the confidence, and the boost ends at one half, so no crowd outweighs what was said.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from smesh_core.weights import Tally

__all__ = ["EQUALS_MAX", "effective_confidence", "reinforced_by_equals", "reinforced_by_many", "reinforced_value"]


def effective_confidence(confidence: float, weights: list[float]) -> float:
    """Confidence in [0, 1] after support by lineages of these weights, heaviest first."""
    return min(1.0, confidence + math.fsum(w * 0.1 / (1.0 + 0.5 * i) for i, w in enumerate(weights, start=1)))


def reinforced_value(intensity: float, confidence: float, author_lineage: str, votes: Tally) -> float:
    """Value in [0, 1] of a statement whose strongest emission has this present intensity and confidence.

    0 when every supporter, the author included, has withdrawn.
    """
    if not any(vote.supporters for vote in votes.votes):
        return 0.0
    others = (vote for vote in votes.votes if vote.lineage != author_lineage and vote.support > 0.0)
    weights = [vote.support for vote in sorted(others, key=lambda vote: (-vote.support, vote.lineage))]
    agreement = votes.support / (votes.support + votes.oppose) if votes.oppose > 0.0 else 1.0
    boost = 1.0 + min(0.1 * math.fsum(weights), 0.5)
    return min(1.0, intensity * effective_confidence(confidence, weights) * boost * agreement)


def reinforced_by_equals(intensity: float, confidence: float, others: int, support: int, oppose: int) -> float:
    """`reinforced_value` where every node weighs 1 and has a lineage of its own, from how many stand where.

    Args:
        intensity: present intensity of the strongest emission.
        confidence: its confidence.
        others: supporters other than its author.
        support: all supporters.
        oppose: opposers.

    Returns:
        What `reinforced_value` returns for the votes of these nodes, bit for bit.
    """
    if not support:
        return 0.0
    confidence += _GAINS[others] if others <= EQUALS_MAX else _gain(others)
    value = intensity * min(1.0, confidence)
    value *= 1.0 + (0.1 * others if others < 5 else 0.5)
    if oppose:
        value *= support / (support + oppose)
    return min(1.0, value)


def reinforced_by_many(
    intensity: NDArray[np.float64],
    confidence: NDArray[np.float64],
    others: NDArray[np.int64],
    oppose: NDArray[np.int64],
) -> NDArray[np.float64]:
    """`reinforced_by_equals` for n statements whose authors support them, bit for bit; all of shape (n,).

    At most `EQUALS_MAX` others support each.
    """
    value = intensity * np.minimum(1.0, confidence + np.array(_GAINS)[others])
    value *= 1.0 + np.minimum(0.1 * others, 0.5)
    support = others + 1
    reinforced: NDArray[np.float64] = np.minimum(1.0, value * (support / (support + oppose)))
    return reinforced


def _gain(supporters: int) -> float:
    """What this many equal supporters add to a confidence."""
    return math.fsum(0.1 / (1.0 + 0.5 * i) for i in range(1, supporters + 1))


EQUALS_MAX: Final = 63
_GAINS: Final = [_gain(supporters) for supporters in range(EQUALS_MAX + 1)]
