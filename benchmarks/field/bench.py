"""What signals cost, one at a time and in batches, against plain Python doing the same in the same run.

The baseline for creation is a frozen dataclass of the same attributes that hashes the same bytes with hashlib, and
checks nothing. The baseline for the field is a dictionary of such objects, with a dictionary of supporters each: no
bounds, no expiry, no lineages, no order-independence (`smesh_agent.workflows.bench.baseline`). It says what those cost.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
import tracemalloc
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from typing import TYPE_CHECKING, Any, TypeAlias

import machine
import numpy as np
from smesh_agent.workflows.bench.baseline import PlainField, PlainSignal, hashed
from smesh_core import Field, Ref, Refs, Signal, SignalBatch, node_id, subject
from smesh_core.signal import encode_signal

if TYPE_CHECKING:
    from collections.abc import Callable

    Work: TypeAlias = tuple[Callable[[], Any], Callable[[Any], object]]

ADA, BO = node_id("ada"), node_id("bo")
NOW_NS = 10**9


class Timing:
    """Prints rows: what, ours in ns an item, the baseline's, and their ratio; the fastest of several runs of each.

    The two take turns, so that whatever else the machine does meets both.
    """

    def __init__(self, items: int, repeats: int) -> None:
        self.items = items
        self.repeats = repeats

    def row(self, what: str, ours: Work, base: Work | None = None) -> None:
        times: list[float] = []
        base_times: list[float] = []
        for _ in range(self.repeats):
            times.append(self.run_ns(*ours))
            if base:
                base_times.append(self.run_ns(*base))
        ns, base_ns = min(times), min(base_times, default=0.0)
        print(f"  {what:<44}{ns:10,.0f}" + (f"{base_ns:10,.0f}  {base_ns / ns:6.2f}" if base else ""), flush=True)

    def run_ns(self, prepare: Callable[[], Any], work: Callable[[Any], object]) -> float:
        """Nanoseconds an item; what `prepare` does is not counted."""
        prepared = prepare()
        gc.collect()
        started = time.perf_counter_ns()
        kept = work(prepared)
        ns = (time.perf_counter_ns() - started) / self.items
        del kept, prepared
        return ns


def ours(items: int) -> list[Signal]:
    return [Signal(author=ADA, seq=n, created_at_ns=0, payload=b"payload") for n in range(items)]


def plain(items: int) -> list[PlainSignal]:
    return [PlainSignal(author=ADA, seq=n, created_at_ns=0, payload=b"payload") for n in range(items)]


def filled(items: int) -> tuple[Field, list[Ref]]:
    field = Field()
    return field, [field.emit(signal) for signal in ours(items)]


def filled_plain(items: int) -> tuple[PlainField, list[bytes]]:
    field = PlainField()
    return field, [field.emit(signal) for signal in plain(items)]


def creation(timing: Timing) -> None:
    n = timing.items
    nothing = lambda: None  # noqa: E731
    hashed_plain = (nothing, lambda _: [hashed(s) for s in plain(n)])
    timing.row("create, checked, id not asked for", (nothing, lambda _: ours(n)), (nothing, lambda _: plain(n)))
    timing.row("  the same against a baseline that hashes", (nothing, lambda _: ours(n)), hashed_plain)
    timing.row("create, with the statement's id", (nothing, lambda _: [s.statement for s in ours(n)]), hashed_plain)
    timing.row("create, with the emission's id too", (nothing, lambda _: [(s.statement, s.id) for s in ours(n)]))
    timing.row("encode", (lambda: ours(n), lambda signals: [encode_signal(s) for s in signals]))


def one_at_a_time(timing: Timing) -> None:
    n = timing.items

    def emit(field: Any, signals: Any) -> None:
        for signal in signals:
            field.emit(signal)

    timing.row(
        "emit",
        (lambda: (Field(), ours(n)), lambda given: emit(*given)),
        (lambda: (PlainField(), plain(n)), lambda given: emit(*given)),
    )
    shared = [subject("finding", b"%d" % number) for number in range(n)]

    def findings() -> list[Signal]:
        return [Signal(author=BO, seq=s, created_at_ns=0, subject=about) for s, about in enumerate(shared)]

    timing.row("emit, correlatable", (lambda: (Field(), findings()), lambda given: emit(*given)))
    field, refs = filled(n)
    base, identities = filled_plain(n)
    timing.row(
        "sense, first time, ids of equal values too",
        (lambda: filled(n)[0], lambda field: field.sense(NOW_NS)),
    )
    timing.row(
        "sense, nobody has taken a stance",
        (lambda: field, lambda field: field.sense(NOW_NS)),
        (lambda: base, lambda base: base.sense(NOW_NS)),
    )

    def reinforce(field: Field, refs: list[Ref], by: bytes) -> None:
        for ref in refs:
            field.reinforce(ref, by=by, now_ns=NOW_NS)

    def reinforce_plain(base: PlainField, identities: list[bytes]) -> None:
        for identity in identities:
            base.reinforce(identity, BO)

    timing.row(
        "reinforce, first time, statement's id too",
        (lambda: filled(n), lambda given: reinforce(*given, BO)),
        (lambda: filled_plain(n), lambda given: reinforce_plain(*given)),
    )
    fresh = iter(range(10**9))
    timing.row(
        "reinforce, one more node",
        (lambda: node_id(f"node {next(fresh)}"), lambda node: reinforce(field, refs, node)),
        (lambda: None, lambda _: reinforce_plain(base, identities)),
    )
    timing.row("reinforce, a node's second word", (lambda: None, lambda _: reinforce(field, refs, node_id("node 0"))))
    field, refs = filled(n)
    base, identities = filled_plain(n)
    reinforce(field, refs, BO)
    reinforce_plain(base, identities)

    def values(base: PlainField) -> list[float]:
        return [base.value(identity, NOW_NS) for identity in identities]

    for what, read in (("value", field.value), ("verdict", field.verdict), ("positions", field.positions)):
        work = (lambda: None, lambda _, read=read: [read(ref, NOW_NS) for ref in refs])
        timing.row(f"{what}, one supporter", work, (lambda: base, values) if what == "value" else None)
    timing.row(
        "read all of it, one supporter",
        (lambda: None, lambda _: [field.read(ref, NOW_NS) for ref in refs]),
        (lambda: base, values),
    )
    timing.row(
        "sense, one supporter each",
        (lambda: field, lambda field: field.sense(NOW_NS)),
        (lambda: base, lambda base: base.sense(NOW_NS)),
    )
    timing.row(
        "expire",
        (lambda: filled(n)[0], lambda field: field.expire(10**12)),
    )


def batches(timing: Timing) -> None:
    n = timing.items
    payloads = [b"payload %d" % number for number in range(n)]
    subjects = [subject("finding", b"%d" % number) for number in range(n)]
    authors = [node_id(f"author {number % 50}") for number in range(n)]

    def batch(**changes: Any) -> SignalBatch:
        return SignalBatch(author=ADA, seq=np.arange(n), created_at_ns=0, payload=payloads, **changes)

    def plain_batch(base: PlainField) -> None:
        for number, payload in enumerate(payloads):
            base.emit(PlainSignal(author=ADA, seq=number, created_at_ns=0, payload=payload))

    def merged() -> tuple[Field, Any]:
        field = Field(capacity=10**7)
        return field, field.emit_batch(batch())

    def empty() -> Field:
        return Field(capacity=10**7)

    base = (PlainField, plain_batch)
    timing.row("batch: create, checked", (lambda: None, lambda _: batch()))
    timing.row("batch: create + merge, ids not asked for", (empty, lambda field: field.emit_batch(batch())), base)
    timing.row(
        "batch: create + merge, then every id",
        (empty, lambda field: [field.statement(ref) for ref in field.emit_batch(batch())]),
        base,
    )
    many = {"author": authors, "seq": np.arange(n), "created_at_ns": np.arange(n), "confidence": np.full(n, 0.5)}
    timing.row(
        "batch: the same by 50 authors, arrays",
        (empty, lambda field: field.emit_batch(SignalBatch(payload=payloads, **many))),
    )
    timing.row("batch: the same, correlatable", (empty, lambda field: field.emit_batch(batch(subject=subjects))))
    timing.row("batch: merge again what is held", (merged, lambda given: given[0].emit_batch(batch())))
    timing.row("batch: each becomes a Signal", (merged, lambda given: [given[0].emissions(r, 0) for r in given[1]]))

    def reinforced() -> tuple[Field, Any]:
        field, refs = merged()
        field.reinforce_batch(refs, by=BO, now_ns=NOW_NS)
        return field, refs

    def shuffled(given: tuple[Field, Any]) -> tuple[Field, Any]:
        order = np.argsort(np.arange(n, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
        return given[0], Refs(given[1].slots[order], given[1].generations[order])

    def reinforce(given: tuple[Field, Any]) -> object:
        return given[0].reinforce_batch(given[1], by=BO, now_ns=NOW_NS)

    def reinforce_plain(given: tuple[PlainField, list[bytes]]) -> None:
        for identity in given[1]:
            given[0].reinforce(identity, BO)

    base = (lambda: filled_plain(n), reinforce_plain)
    timing.row("batch: reinforce, in order", (merged, reinforce), base)
    timing.row("batch: reinforce, at random", (lambda: shuffled(merged()), reinforce), base)
    timing.row("batch: reinforce a second time, in order", (reinforced, reinforce))
    timing.row("batch: reinforce a second time, at random", (lambda: shuffled(reinforced()), reinforce))


def memory(items: int) -> None:
    """Bytes a live element, whatever it is held with included; payloads, which the caller has anyway, are not."""
    payloads = [b"payload %d" % number for number in range(items)]

    def emitted() -> tuple[Field, list[Ref]]:
        field = Field()
        signals = (Signal(author=ADA, seq=n, created_at_ns=0, payload=payload) for n, payload in enumerate(payloads))
        return field, [field.emit(signal) for signal in signals]

    def merged() -> tuple[Field, Refs]:
        field = Field()
        return field, field.emit_batch(SignalBatch(author=ADA, seq=range(items), created_at_ns=0, payload=payloads))

    def stand(given: tuple[Field, list[Ref]]) -> None:
        for ref in given[1]:
            given[0].reinforce(ref, by=BO, now_ns=0)

    def stand_plain(given: tuple[PlainField, list[bytes]]) -> None:
        for identity in given[1]:
            given[0].reinforce(identity, BO)

    one, many, plain_field = emitted(), merged(), filled_plain(items)
    for ref in one[1]:
        one[0].statement(ref)
    rows: list[tuple[str, Callable[[], object]]] = [
        ("emission, one at a time, no id asked for", lambda: emitted()[0]),
        ("emission, in a batch", lambda: merged()[0]),
        ("emission, plain", lambda: filled_plain(items)[0]),
        ("stance, one at a time", lambda: stand(one)),
        ("stance, in a batch", lambda: len(many[0].reinforce_batch(many[1], by=BO, now_ns=0))),
        ("stance, plain", lambda: stand_plain(plain_field)),
    ]
    for what, work in rows:
        print(f"  {what:<44}{held_bytes(work) / items:10,.0f}")


def held_bytes(work: Callable[[], object]) -> int:
    """Bytes allocated by `work` and still held while its result is."""
    gc.collect()
    tracemalloc.start()
    kept = work()
    gc.collect()
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    del kept
    return held


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", help="signals in the field")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    print(machine.describe())
    print(f"fastest of {arguments.repeats} runs, ns an item; ratio: baseline / ours, above 1 is faster than it")
    sizes = arguments.sizes or [1_000, 10_000, 100_000]
    for size in sizes:
        print(f"\n{size:,} signals")
        timing = Timing(size, arguments.repeats)
        creation(timing)
        one_at_a_time(timing)
        batches(timing)
    if not arguments.sizes:
        print(f"\n{1_000_000:,} signals")
        batches(Timing(1_000_000, min(3, arguments.repeats)))
    print(f"\nbytes, at {max(sizes):,} signals")
    memory(max(sizes))


if __name__ == "__main__":
    main()
