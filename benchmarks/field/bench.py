"""What one signal costs: creation, emit, reinforce, sense, read; against plain Python doing the same in the same run.

The baseline for creation is a frozen dataclass of the same attributes that hashes the same bytes with hashlib. The
baseline for the field is a dictionary of such objects, with a dictionary of supporters each: no bounds, no expiry, no
lineages, no order-independence. It says what those cost.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import math
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from typing import TYPE_CHECKING

import machine
from smesh_core import DecayCurve, Field, Ref, Signal, SignalType, node_id
from smesh_core.signal import encode_signal

if TYPE_CHECKING:
    from collections.abc import Callable

ADA, BO = node_id("ada"), node_id("bo")
NOW_NS = 10**9


@dataclasses.dataclass(frozen=True, slots=True)
class PlainSignal:
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
    rate_per_s: float = 0.1
    radius: int = 5
    field_id: bytes = bytes(32)


class PlainField:
    """A dictionary of signals with their supporters."""

    def __init__(self) -> None:
        self.signals: dict[bytes, tuple[PlainSignal, dict[bytes, float]]] = {}

    def emit(self, signal: PlainSignal) -> bytes:
        identity = hashed(signal)
        self.signals[identity] = (signal, {})
        return identity

    def reinforce(self, identity: bytes, by: bytes) -> None:
        self.signals[identity][1][by] = 1.0

    def value(self, identity: bytes, now_ns: int) -> float:
        signal, supporters = self.signals[identity]
        age_s = (now_ns - signal.created_at_ns) / 1e9
        confidence = signal.confidence + sum(0.1 / (1 + 0.5 * i) for i in range(1, len(supporters) + 1))
        boost = 1 + min(0.1 * len(supporters), 0.5)
        return min(1.0, signal.intensity * math.exp(-signal.rate_per_s * age_s) * min(1.0, confidence) * boost)

    def sense(self, now_ns: int) -> list[tuple[float, PlainSignal]]:
        felt = [(self.value(identity, now_ns), signal) for identity, (signal, _) in self.signals.items()]
        return sorted((entry for entry in felt if entry[0] >= 0.1), key=lambda entry: -entry[0])


def hashed(signal: PlainSignal) -> bytes:
    """The statement id of a plain signal, over the bytes that smesh_core hashes."""
    said = signal.author + signal.seq.to_bytes(8)
    return hashlib.sha256(b"smesh/statement/1" + signal.field_id + bytes((signal.type, 0)) + said).digest()


def per_item_ns(work: Callable[[], object], items: int, repeats: int) -> float:
    """Median nanoseconds an item over several runs of the whole."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter_ns()
        work()
        times.append((time.perf_counter_ns() - started) / items)
    return statistics.median(times)


def measure(items: int, repeats: int) -> list[tuple[str, float, float]]:
    """Rows of (what, ours in ns an item, the baseline's in ns an item)."""

    def ours() -> list[Signal]:
        return [Signal(author=ADA, seq=n, created_at_ns=0, payload=b"payload") for n in range(items)]

    def plain() -> list[PlainSignal]:
        return [PlainSignal(author=ADA, seq=n, created_at_ns=0, payload=b"payload") for n in range(items)]

    def filled() -> tuple[Field, list[Ref], PlainField, list[bytes]]:
        field, base = Field(), PlainField()
        return field, [field.emit(s) for s in ours()], base, [base.emit(s) for s in plain()]

    rows = [
        ("create, checked, ids not asked for", ours, plain),
        (
            "create, with the statement's id",
            lambda: [s.statement for s in ours()],
            lambda: [hashed(s) for s in plain()],
        ),
        ("create, with the emission's id too", lambda: [(s.statement, s.id) for s in ours()], None),
        ("encode", lambda: [encode_signal(s) for s in said], None),
    ]
    said = ours()
    results = []
    for what, work, base in rows:
        results.append((what, per_item_ns(work, items, repeats), per_item_ns(base, items, repeats) if base else 0.0))

    signals, plains = ours(), plain()
    for signal in signals:
        signal.statement  # noqa: B018 - computed before the clock runs

    def emit_all() -> None:
        field = Field()
        for signal in signals:
            field.emit(signal)

    def emit_plain() -> None:
        base = PlainField()
        for signal in plains:
            base.emit(signal)

    results.append(("emit", per_item_ns(emit_all, items, repeats), per_item_ns(emit_plain, items, repeats)))
    field, refs, base, identities = filled()
    results.append(
        (
            "sense, nobody has taken a stance",
            per_item_ns(lambda: field.sense(NOW_NS), items, repeats),
            per_item_ns(lambda: base.sense(NOW_NS), items, repeats),
        )
    )
    seq = iter(range(1, 10**9))
    results.append(
        (
            "reinforce",
            per_item_ns(
                lambda: [field.reinforce(r, by=BO, now_ns=NOW_NS, seq=next(seq)) for r in refs], items, repeats
            ),
            per_item_ns(lambda: [base.reinforce(i, BO) for i in identities], items, repeats),
        )
    )
    results.append(
        (
            "read value, verdict and positions",
            per_item_ns(lambda: [field.read(r, NOW_NS) for r in refs], items, repeats),
            per_item_ns(lambda: [base.value(i, NOW_NS) for i in identities], items, repeats),
        )
    )
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000], help="signals in the field")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    print(machine.describe())
    print(f"median of {arguments.repeats} runs, ns an operation; ratio: baseline / ours, above 1 is faster than it")
    for size in arguments.sizes:
        print(f"\n{size:,} signals")
        for what, ours, base in measure(size, arguments.repeats):
            against = f"{base:10,.0f}  {base / ours:5.2f}" if base else ""
            print(f"  {what:<38}{ours:10,.0f}{against}")


if __name__ == "__main__":
    main()
