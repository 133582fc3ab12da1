"""What is compared with: plain Python that does the same, with the bounds, the order and the proofs left out.

A signal is a frozen dataclass that checks nothing. A field is a dictionary of them, each with a dictionary of its
supporters: no expiry, no capacity, no lineages, no independence of order. A network is dictionaries and lists, and
draws from Python's own generator.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import random  # noqa: TID251 - as somebody would who needs no reproducible draws
from typing import TYPE_CHECKING, Final

from smesh_core import DecayCurve, SignalType
from smesh_core.limits import (
    DAMPENING_DISTRUSTED,
    DAMPENING_TRUSTED,
    INTENSITY_MIN,
    REINFORCE_MIN,
    SENSE_THRESHOLD,
    TRUST_DEFAULT,
    TRUST_IN_SELF,
)

if TYPE_CHECKING:
    from smesh_core.topology import Topology

__all__ = ["PlainField", "PlainNetwork", "PlainSignal", "hashed"]

_RATE_PER_S: Final = 0.1


@dataclasses.dataclass(frozen=True, slots=True)
class PlainSignal:
    """The attributes of a signal, unchecked."""

    author: bytes
    seq: int
    created_at_ns: int
    payload: bytes = b""
    type: SignalType = SignalType.DATA
    subject: bytes | None = None
    ttl_ns: int = 60 * 10**9
    intensity: float = 1.0
    confidence: float = 1.0
    decay: DecayCurve = DecayCurve.EXPONENTIAL
    rate_per_s: float = _RATE_PER_S
    radius: int = 5
    field_id: bytes = bytes(32)


def hashed(signal: PlainSignal) -> bytes:
    """Its statement's id, over the bytes that smesh-core hashes."""
    said = signal.author + signal.seq.to_bytes(8, "big")
    return hashlib.sha256(b"smesh/statement/1" + signal.field_id + bytes((signal.type, 0)) + said).digest()


class PlainField:
    """A dictionary of signals with their supporters."""

    def __init__(self) -> None:
        self.signals: dict[bytes, tuple[PlainSignal, dict[bytes, float]]] = {}

    def emit(self, signal: PlainSignal) -> bytes:
        """Keep a signal; gives its id."""
        identity = hashed(signal)
        self.signals[identity] = (signal, {})
        return identity

    def reinforce(self, identity: bytes, by: bytes) -> None:
        """Note a supporter."""
        self.signals[identity][1][by] = 1.0

    def value(self, identity: bytes, now_ns: int) -> float:
        """How strong a signal is now."""
        signal, supporters = self.signals[identity]
        age_s = (now_ns - signal.created_at_ns) / 1e9
        confidence = signal.confidence + sum(0.1 / (1 + 0.5 * i) for i in range(1, len(supporters) + 1))
        boost = 1 + min(0.1 * len(supporters), 0.5)
        return min(1.0, signal.intensity * math.exp(-signal.rate_per_s * age_s) * min(1.0, confidence) * boost)

    def sense(self, now_ns: int) -> list[tuple[float, PlainSignal]]:
        """What is strong enough, the strongest first."""
        felt = [(self.value(identity, now_ns), signal) for identity, (signal, _) in self.signals.items()]
        return sorted((entry for entry in felt if entry[0] >= SENSE_THRESHOLD), key=lambda entry: -entry[0])


@dataclasses.dataclass(slots=True)
class _Spreading:
    """A signal of a plain network: who holds it, with hop, attenuation and whom it still asks."""

    age: int
    holders: dict[int, tuple[int, float, list[int]]]
    coming: list[tuple[int, int]]
    supporters: int = 0
    opposers: int = 0


class PlainNetwork:
    """Nodes that relay, sense and take stances, as `smesh_core.kernels.tick` says, where all trust alike."""

    def __init__(
        self, topology: Topology, *, radius: int, confidence: float, evidence: float, counter_evidence: float
    ) -> None:
        self.near = [topology.neighbours(node).tolist() for node in range(topology.node_count)]
        self.radius, self.confidence = radius, confidence
        self.evidence, self.counter_evidence = evidence, counter_evidence
        self.draw = random.Random(0).random  # noqa: S311 - a simulation
        self.signals: list[_Spreading] = []
        self.arrivals = 0

    def emit(self, node: int) -> None:
        """Emit a signal."""
        self.signals.append(_Spreading(0, {node: (0, 1.0, list(self.near[node]))}, []))

    def run(self, ticks: int) -> None:
        """Let time pass."""
        for _ in range(ticks):
            for signal in self.signals:
                self._tick(signal)
            self.signals = [s for s in self.signals if math.exp(-_RATE_PER_S * s.age) >= INTENSITY_MIN]

    def _tick(self, signal: _Spreading) -> None:
        intensity = math.exp(-_RATE_PER_S * signal.age)
        for source, target in signal.coming:
            if target in signal.holders:
                continue
            hop, attenuation, _ = signal.holders[source]
            attenuation *= DAMPENING_DISTRUSTED if hop else DAMPENING_TRUSTED
            asked = [node for node in self.near[target] if node != source] if hop + 1 < self.radius else []
            signal.holders[target] = (hop + 1, attenuation, asked)
            self.arrivals += 1
            if intensity * attenuation >= SENSE_THRESHOLD:
                self._stand(signal)
        signal.coming = []
        for node, (hop, _, asked) in signal.holders.items():
            if not asked:
                continue
            trust = TRUST_DEFAULT if hop else TRUST_IN_SELF
            chance = self.confidence * intensity * trust * (self.radius - hop) / self.radius
            kept = []
            for target in asked:
                if self.draw() < chance:
                    signal.coming.append((node, target))
                else:
                    kept.append(target)
            asked[:] = kept
        signal.age += 1

    def _stand(self, signal: _Spreading) -> None:
        """Let a node that senses a signal take a stance, where it holds evidence."""
        drawn, strength = self.draw(), self.draw()
        if drawn < self.evidence:
            signal.supporters += strength + TRUST_DEFAULT * self.confidence >= REINFORCE_MIN
        elif drawn < self.evidence + self.counter_evidence:
            signal.opposers += strength + (1 - TRUST_DEFAULT) * self.confidence >= REINFORCE_MIN
