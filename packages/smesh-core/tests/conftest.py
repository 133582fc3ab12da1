"""Shared by the tests of smesh-core: the hypothesis profile, and a slow oracle written from the reference pages.

The oracle reads plain lists of elements. It follows `docs/reference/signal-identity.md` ("Derived") and the plan's
"Signals" word for word and knows nothing of columns, chains or caches.
"""

from __future__ import annotations

import math
import sys
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from smesh_core import EVERYONE, DecayCurve, Observer, Signal, Stance, StanceKind

if TYPE_CHECKING:
    from collections.abc import Iterable

sys.path.insert(0, str(Path(__file__).parent))  # for `networks`, which tests share

settings.register_profile(
    "smesh",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("smesh")

UNKNOWN = "the unknown together"


class Oracle:
    """What the reference says is derived, computed from the whole set of elements each time."""

    def intensity(self, signal: Signal, now_ns: int) -> float:
        age_s, ttl_s = (now_ns - signal.created_at_ns) / 1e9, signal.ttl_ns / 1e9
        if now_ns - signal.created_at_ns >= signal.ttl_ns:
            return 0.0
        if age_s < 0 or signal.decay is DecayCurve.STEP:
            return signal.intensity
        if signal.decay is DecayCurve.EXPONENTIAL:
            return signal.intensity * math.exp(-signal.rate_per_s * age_s)
        if signal.decay is DecayCurve.LINEAR:
            return signal.intensity * (1 - age_s / ttl_s)
        return signal.intensity / (1 + math.exp(min(709.0, (age_s - ttl_s / 2) * signal.rate_per_s)))

    def is_live(self, element: Signal | Stance, now_ns: int) -> bool:
        if isinstance(element, Stance):
            return now_ns < element.created_at_ns + element.ttl_ns
        return self.intensity(element, now_ns) >= 0.01

    def emissions(self, elements: Iterable[Signal | Stance], now_ns: int) -> list[Signal]:
        """Live emissions, strongest first, then by id."""
        live = [e for e in elements if isinstance(e, Signal) and self.is_live(e, now_ns)]
        return sorted(live, key=lambda e: (-self.intensity(e, now_ns) * e.confidence, e.id))

    def positions(self, elements: Iterable[Signal | Stance], now_ns: int) -> dict[bytes, Signal | Stance]:
        """Each node's newest live element."""
        live = [e for e in elements if self.is_live(e, now_ns)]
        return {e.author: e for e in sorted(live, key=lambda e: (e.seq, e.id))}

    def lineage(self, node: bytes, observer: Observer) -> str:
        if observer.roster is None:
            return f"node:{node.hex()}"
        if node in observer.roster:
            return observer.roster[node] or f"node:{node.hex()}"
        if node in observer.trust:
            return observer.declared.get(node, f"node:{node.hex()}")
        return UNKNOWN

    def votes(
        self, elements: Iterable[Signal | Stance], now_ns: int, observer: Observer = EVERYONE
    ) -> dict[str, tuple[Fraction, Fraction]]:
        """Lineage to its weight for and against, exactly; nodes that declare nothing or are trusted."""
        sides: dict[str, list[tuple[bytes, bool]]] = {}
        for node, element in self.positions(elements, now_ns).items():
            kind = element.kind if isinstance(element, Stance) else StanceKind.SUPPORT
            if kind is not StanceKind.WITHDRAW:
                sides.setdefault(self.lineage(node, observer), []).append((node, kind is StanceKind.SUPPORT))
        return {lineage: self._vote(lineage, members, observer) for lineage, members in sides.items()}

    def _vote(self, lineage: str, members: list[tuple[bytes, bool]], observer: Observer) -> tuple[Fraction, Fraction]:
        def weight(node: bytes) -> Fraction:
            if observer.roster is None or node in observer.roster:
                return Fraction(1)
            return max(Fraction(0), 2 * Fraction(observer.trust[node]) - 1)

        if lineage == UNKNOWN:
            most, shares = Fraction(observer.unknown_vote), [(Fraction(1), side) for _, side in members]
            heaviest = {True: most, False: most}
        else:
            if observer.roster is not None:
                members = [m for m in members if m[0] in observer.roster] or members
            shares = [(weight(node), side) for node, side in members]
            heaviest = {on: max((w for w, side in shares if side is on), default=Fraction(0)) for on in (True, False)}
        total = sum((share for share, _ in shares), Fraction(0))
        behind = sum((share for share, side in shares if side), Fraction(0))
        if not total:
            return Fraction(0), Fraction(0)
        return heaviest[True] * behind / total, heaviest[False] * (total - behind) / total

    def value(self, elements: Iterable[Signal | Stance], now_ns: int, observer: Observer = EVERYONE) -> float:
        elements = list(elements)
        emissions = self.emissions(elements, now_ns)
        positions = self.positions(elements, now_ns).values()
        if not emissions or not any(isinstance(p, Signal) or p.kind is StanceKind.SUPPORT for p in positions):
            return 0.0
        strongest, votes = emissions[0], self.votes(elements, now_ns, observer)
        mine = self.lineage(strongest.author, observer)
        weights = sorted((float(s) for lineage, (s, _) in votes.items() if lineage != mine and s), reverse=True)
        support, oppose = (float(sum(vote[side] for vote in votes.values())) for side in (0, 1))
        confidence = min(1.0, strongest.confidence + sum(w * 0.1 / (1 + 0.5 * i) for i, w in enumerate(weights, 1)))
        boost = 1 + min(0.1 * sum(weights), 0.5)
        agreement = support / (support + oppose) if oppose else 1.0
        return min(1.0, self.intensity(strongest, now_ns) * confidence * boost * agreement)

    def state(self, elements: Iterable[Signal | Stance], now_ns: int, observer: Observer = EVERYONE) -> str:
        """The default quorum: at least two votes from at least two lineages, more than against."""
        votes = list(self.votes(elements, now_ns, observer).values())
        support, oppose = sum(s for s, _ in votes), sum(o for _, o in votes)
        if support > oppose and support >= 2 and sum(s > o for s, o in votes) >= 2:
            return "reached"
        if oppose > support and oppose >= 2 and sum(o > s for s, o in votes) >= 2:
            return "rejected"
        return "open"


@pytest.fixture(scope="session")
def oracle() -> Oracle:
    return Oracle()
