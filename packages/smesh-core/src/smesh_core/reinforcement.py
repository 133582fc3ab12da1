"""Reinforcement: what support and opposition make of an emission's strength.

The formula is the original's effective intensity, with each supporter weighed by its observer:

    c'    = min(1, c + Σ_{i=1..n} w_i · 0.1 / (1 + 0.5 i))
    value = min(1, I(t) · c' · (1 + min(0.1 Σ w_i, 0.5)) · S / (S + O))

over the n supporting lineages other than the author's, heaviest first, then by name. Each further supporter adds
less to the confidence, and the boost ends at one half, so no crowd outweighs what was said.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smesh_core.weights import Tally

__all__ = ["effective_confidence", "reinforced_value"]


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
