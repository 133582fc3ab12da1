"""What snapshots take: time and bytes, against pickle of the same values as plain data, and against a plain copy.

The baseline for a field pickles a list of tuples, one for each emission and each stance, with all attributes as Python
numbers and bytes; for a network a dictionary of the same arrays. A baseline keeps no names of statements, verifies
nothing when it loads, has no checksum, and executes what it reads; loading it gives plain data, not a field. Copying
the snapshot's bytes, hashing them and compressing them say what memory, the checksum and `zlib` alone cost.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import pickle
import sys
import time
import zlib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from typing import TYPE_CHECKING, Any

import machine
import numpy as np
from smesh_core import Field, Network, SignalBatch, node_id, topologies
from smesh_core.signal import DecayCurve
from smesh_core.snapshot import dump_field, dump_network, load_field, load_network
from smesh_core.snapshot_network import network_sections

if TYPE_CHECKING:
    from collections.abc import Callable

ADA, BO, CY = node_id("ada"), node_id("bo"), node_id("cy")


class Timing:
    """The fastest of several runs of each; they take turns, so that whatever else the machine does meets all."""

    def __init__(self, repeats: int) -> None:
        self.repeats = repeats

    def fastest_ms(self, *works: Callable[[], object]) -> list[float]:
        times: list[list[float]] = [[] for _ in works]
        for _ in range(self.repeats):
            for work, taken in zip(works, times, strict=True):
                gc.collect()
                started = time.perf_counter_ns()
                work()
                taken.append((time.perf_counter_ns() - started) / 1e6)
        return [min(taken) for taken in times]


def a_field(signals: int, payload_bytes: int) -> Field:
    """Signals by one author with payloads of their own, a fifth with a subject, and a stance each by one other."""
    field = Field()
    payloads = [b"%0*d" % (payload_bytes, number) for number in range(signals)]
    subjects = [b"CWE-78 app.py:%d" % number if number % 5 == 0 else None for number in range(signals)]
    batch = SignalBatch(
        author=ADA,
        seq=range(1, signals + 1),
        created_at_ns=np.arange(signals) * 1000,
        payload=payloads,
        subject=subjects,
        confidence=0.5 + np.arange(signals) % 7 / 20,
    )
    refs = field.emit_batch(batch)
    field.reinforce_batch(refs, by=BO, now_ns=10**9)
    return field


def plain_field(field: Field) -> list[Any]:
    """Every attribute of every emission and stance."""
    felt = field.query(10**9)
    signals = [signal for sensed in felt for signal in field.emissions(sensed.ref, 10**9)]
    stances = [stance for sensed in felt for stance in field.stances(sensed.ref, 10**9)]
    return [tuple(getattr(one, name) for name in one.__struct_fields__) for one in [*signals, *stances]]


def fields(sizes: list[int], timing: Timing) -> None:
    print("fields: a stance on each signal, payloads of 64 bytes; ms, and bytes a signal with its stance")
    print("  the checks when loading are in the time; ratio: pickle / ours, above 1 is faster or smaller than it\n")
    print("  signals        dump  ratio      load  ratio     bytes  ratio    copied   hashed    zlib (bytes)")
    for size in sizes:
        field, snapshot = a_field(size, 64), dump_field(a_field(size, 64))
        plain = plain_field(a_field(size, 64))
        pickled = pickle.dumps(plain, protocol=5)
        row(timing, size, field, snapshot, plain, pickled, dump_field, load_field)
    print()


def a_network(nodes: int, signals: int) -> Network:
    network = Network(topologies.small_world(nodes, degree=4, seed=7), seed=7, trust=0.8, engine="numpy")
    origins = np.arange(signals) * (nodes // signals)
    network.emit_batch(origins, radius=20, confidence=0.9, evidence=0.3, decay=DecayCurve.STEP)
    network.run(12)
    return network


def networks(sizes: list[int], timing: Timing) -> None:
    print("networks: small world of degree 4, 10 signals after 12 ticks; ms, and bytes a node")
    print("  nodes          dump  ratio      load  ratio     bytes  ratio    copied   hashed    zlib (bytes)")
    for size in sizes:
        network = a_network(size, 10)
        snapshot = dump_network(network)
        plain = {name: np.array(array) for name, array in network_sections(network).items()}
        pickled = pickle.dumps(plain, protocol=5)
        row(timing, size, network, snapshot, plain, pickled, dump_network, load_network)
    print("  here pickle has the very arrays that the snapshot has, in order: its time is that of a copy")


def row(
    timing: Timing,
    size: int,
    held: Any,
    snapshot: bytes,
    plain: Any,
    pickled: bytes,
    dump: Callable[[Any], bytes],
    load: Callable[[bytes], Any],
) -> None:
    ours, theirs, back, theirs_back, copied, hashed = timing.fastest_ms(
        lambda: dump(held),
        lambda: pickle.dumps(plain, protocol=5),
        lambda: load(snapshot),
        lambda: pickle.loads(pickled),  # noqa: S301 - what this very run has pickled
        lambda: bytearray(snapshot),
        lambda: hashlib.sha256(snapshot).digest(),
    )
    started = time.perf_counter_ns()
    packed = len(zlib.compress(snapshot, 6))
    zipped = (time.perf_counter_ns() - started) / 1e6
    print(
        f"  {size:>9,}{ours:10.2f}{theirs / ours:7.2f}{back:10.2f}{theirs_back / back:7.2f}"
        f"{len(snapshot) / size:10.1f}{len(pickled) / len(snapshot):7.2f}"
        f"{copied:10.3f}{hashed:9.2f}{zipped:9.1f} ({packed / size:.1f})",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--signals", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    parser.add_argument("--nodes", type=int, nargs="*", default=[1_000, 100_000, 1_000_000])
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    print(machine.describe())
    print(f"fastest of {arguments.repeats} runs\n")
    timing = Timing(arguments.repeats)
    fields(arguments.signals, timing)
    networks(arguments.nodes, timing)


if __name__ == "__main__":
    main()
