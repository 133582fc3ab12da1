"""What networks cost: ticks at several sizes, decay of columns, growth, memory, start.

Every tick row runs the engine itself with all that it does: decay, diffusion with attenuation, sensing, stances on
evidence, consensus, per-arrival records. Baselines are taken in the same run: the same rules in plain Python, the
NumPy engine, a simpler process on networkx and, where it is installed, in NDlib, and a plain copy for decay.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent))

import machine
import numpy as np
from core import plain
from smesh_core import Network, intensities, rng, warmup
from smesh_core.kernels.decay import decay_columns
from smesh_core.topologies import small_world
from smesh_core.topology_edges import to_networkx

if TYPE_CHECKING:
    from collections.abc import Callable

    from smesh_core import Topology

DEGREE, REWIRED = 4, 0.1
ABOUT = {"evidence": 0.3, "counter_evidence": 0.1}
CURVES = 4


class Case(NamedTuple):
    """One row of the table of ticks."""

    nodes: int
    signals: int
    radius: int
    ticks: int
    trust: float = 0.5
    confidence: float = 0.8

    @property
    def title(self) -> str:
        size = f"{self.ticks:,} ticks, {self.nodes:,} nodes x {self.signals:,} signals"
        return f"{size}, radius {self.radius:,}, trust {self.trust}, confidence {self.confidence}"


CASES = [
    Case(1_000, 1_000, 5, 100),
    Case(10_000, 1_000, 5, 100),
    Case(1_000_000, 100, 5, 100),
    Case(1_000, 20, 50, 50, 0.9, 1.0),
    Case(10_000, 20, 1_000, 100, 0.9, 1.0),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="small sizes only, to see that everything runs")
    parser.add_argument("--only", choices=["start", "ticks", "decay", "growth", "memory"], help="one part")
    parser.add_argument("--memory-of", type=int, nargs=2, metavar=("NODES", "SIGNALS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of:
        run_alone(*arguments.memory_of)
        return
    print(machine.describe())
    print(f"median of {arguments.repeats} runs; small world of degree {DEGREE}, rewired {REWIRED}")
    parts = {"start": start, "ticks": ticks, "decay": decay, "growth": growth, "memory": memory}
    for name, part in parts.items():
        if arguments.only in {None, name}:
            part(arguments.repeats, quick=arguments.quick)


# ---- start


def start(repeats: int, *, quick: bool) -> None:
    print("\nstart, in a process of its own, s")
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"NUMBA_CACHE_DIR": cache, "PYTHONWARNINGS": "ignore"}
        first = "from smesh_core import warmup; warmup()"
        cold = seconds(first, environment)
        warm = statistics.median(seconds(first, environment) for _ in range(1 if quick else 3))
    bare = statistics.median(seconds("import numpy", None) for _ in range(1 if quick else 3))
    ours = statistics.median(seconds("import smesh_core", None) for _ in range(1 if quick else 3))
    print(f"  {'import numpy, the baseline':<52}{bare:8.2f}")
    print(f"  {'import smesh_core':<52}{ours:8.2f}  ratio {ours / bare:.1f}")
    print(f"  {'first tick ever: numba loaded, kernels compiled':<52}{cold:8.2f}")
    print(f"  {'first tick of a process: kernels from the cache':<52}{warm:8.2f}")
    del repeats


def seconds(code: str, environment: dict[str, str] | None) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, stderr=subprocess.DEVNULL)  # noqa: S603
    return time.perf_counter() - began


# ---- ticks


def ticks(repeats: int, *, quick: bool) -> None:
    warmup()
    threads = len(os.sched_getaffinity(0))
    print("\nticks; ratio: baseline / ours on one thread")
    steady(repeats, quick=quick)
    for case in CASES[3:4] if quick else CASES:
        topology = small_world(case.nodes, degree=DEGREE, rewired=REWIRED, seed=1)
        alone, reached = timed(case, topology, 1, repeats)
        shared, _ = timed(case, topology, threads, repeats)
        slow, _ = timed(case, topology, 1, 1, "numpy")
        print(f"  {case.title}")
        print(f"    1 thread {ms(alone)}, {threads} threads {ms(shared)}, numpy engine {ms(slow)}", end="")
        print(f" (ratio {slow / alone:,.0f})")
        print(f"    {reached / case.signals / case.nodes:.2%} of nodes reached by a signal, ", end="")
        print(f"{reached:,} arrivals, {alone * 1e9 / reached:,.0f} ns each; {threads} threads: ", end="")
        print(f"{shared * 1e9 / reached:,.0f} ns")
        against_python(case, topology, alone / reached)


def timed(case: Case, topology: Topology, threads: int, repeats: int, engine: str = "numba") -> tuple[float, int]:
    """Median seconds of one run on a network that is new each time, and how many nodes were reached in the last."""
    times, reached = [], 0
    for repeat in range(repeats):
        network = Network(topology, seed=repeat, trust=case.trust, engine=engine)
        network.emit_batch(origins(case, repeat), radius=case.radius, confidence=case.confidence, **ABOUT)
        network.run(0, threads=threads)
        began = time.perf_counter()
        network.run(case.ticks, threads=threads)
        times.append(time.perf_counter() - began)
        reached = int(network.state.signals["arrivals"].sum())
    return statistics.median(times), reached


def origins(case: Case, repeat: int) -> list[int]:
    key = rng.key(repeat, rng.Stream.SCENARIO)
    return (rng.draw_unit(key, np.arange(case.signals)) * case.nodes).astype(np.int64).tolist()


def steady(repeats: int, *, quick: bool) -> None:
    """A network that goes on: fresh signals, not timed, before each repeat."""
    topology = small_world(100, degree=DEGREE, rewired=REWIRED, seed=1)
    one_call, one_run, reached = [], [], 0
    network = Network(topology, seed=1)
    for repeat in range(repeats * (2 if quick else 40)):
        network.emit_batch(origins(Case(100, 5, 5, 100), repeat), confidence=0.8, **ABOUT)
        before = int(network.state.signals["arrivals"].sum())
        network.run(1)
        began = time.perf_counter()
        if repeat % 2:
            network.run(99)
            one_run.append((time.perf_counter() - began) / 99)
        else:
            for _ in range(99):
                network.run(1)
            one_call.append((time.perf_counter() - began) / 99)
        reached = int(network.state.signals["arrivals"].sum()) - before
    print("  100 nodes x 5 signals, radius 5, one thread")
    print(f"    one call a tick {statistics.median(one_call) * 1e6:.2f} us; ", end="")
    print(f"all ticks in one run {statistics.median(one_run) * 1e6:.2f} us a tick, about {reached} nodes reached")


def against_python(case: Case, topology: Topology, ours_s: float) -> None:
    """The same rules in plain Python, and simpler processes by others, for as many signals as take about a second."""
    few = max(1, min(case.signals, 20_000 // max(case.radius, 50)))
    if case.nodes > 10_000:
        return
    neighbours = [topology.neighbours(node).tolist() for node in range(case.nodes)]
    some = origins(case, 0)[:few]
    began = time.perf_counter()
    reached = plain.spread(neighbours, some, case.radius, case.ticks, case.trust, case.confidence)
    took = (time.perf_counter() - began) / reached
    print(f"    the same rules in plain Python: {took * 1e9:,.0f} ns a node reached (ratio {took / ours_s:,.0f})")
    if case.radius < case.nodes.bit_length():
        return  # the simpler process knows no radius
    graph = to_networkx(topology)
    for name, spread in (("networkx", plain.spread_networkx), ("NDlib", plain.spread_ndlib)):
        began = time.perf_counter()
        try:
            reached = spread(graph, some[:5], case.ticks, 0)
        except ImportError:
            print(f"    {name}: not installed")
            continue
        took = (time.perf_counter() - began) / reached
        print(f"    susceptible-infected, simpler, on {name}: {took * 1e9:,.0f} ns (ratio {took / ours_s:,.0f})")


# ---- decay


def decay(repeats: int, *, quick: bool) -> None:
    print(
        f"\ndecay of columns, {CURVES} curves, f64, ns a signal; ratio to a copy of as many numbers, and of all columns"
    )
    for count in (10_000, 100_000) if quick else (10_000, 100_000, 1_000_000):
        print(f"  {count:>9,} signals: " + decay_of(count, repeats))


def decay_of(count: int, repeats: int) -> str:
    key = rng.key(1, rng.Stream.SCENARIO)
    unit = [rng.draw_unit(key, np.arange(count) + count * column) for column in range(5)]
    now_ns = 10**11
    columns = (
        (unit[0] * CURVES).astype(np.uint8),
        unit[1],
        unit[2] * 0.5,
        (unit[3] * now_ns).astype(np.int64),
        (unit[4] * 2 * now_ns).astype(np.int64) + 1,
    )
    left, copies = np.empty(count), [column.copy() for column in columns]
    ours = per_item(lambda: decay_columns(*columns, now_ns, left), count, repeats)
    one = per_item(lambda: np.copyto(left, columns[1]), count, repeats)
    every = per_item(lambda: [np.copyto(a, b) for a, b in zip(copies, columns, strict=True)], count, repeats)
    slow = per_item(lambda: intensities(*columns, now_ns), count, max(1, repeats // 3))
    against = (
        f"copy of one column {one:.2f}, ratio {ours / one:.1f}; of all columns {every:.2f}, ratio {ours / every:.1f}"
    )
    return f"kernel {ours:.2f} (NumPy {slow:.2f}); {against}"


def per_item(work: Callable[[], object], items: int, repeats: int) -> float:
    work()
    times = []
    for _ in range(repeats):
        began = time.perf_counter_ns()
        work()
        times.append((time.perf_counter_ns() - began) / items)
    return statistics.median(times)


# ---- growth, memory


def growth(repeats: int, *, quick: bool) -> None:
    warmup()
    print("\ngrowth, 100 ticks, radius 5, one thread; ns a node reached")
    by_nodes = [Case(nodes, 100, 5, 100) for nodes in (1_000, 10_000, 100_000)]
    by_signals = [Case(10_000, signals, 5, 100) for signals in (100, 1_000, 10_000)]
    full = [Case(nodes, 5, 60_000, 60, 0.9, 1.0) for nodes in (1_000, 10_000, 100_000)]
    for title, cases in (("more nodes", by_nodes), ("more signals", by_signals), ("full coverage, more nodes", full)):
        row = []
        for case in cases[:2] if quick else cases:
            topology = small_world(case.nodes, degree=DEGREE, rewired=REWIRED, seed=1)
            took, reached = timed(case, topology, 1, max(1, repeats // 3))
            row.append(
                f"{case.nodes:,} x {case.signals:,}: {ms(took)}, {reached:,} reached, {took * 1e9 / reached:,.0f} ns"
            )
        print(f"  {title}: " + "; ".join(row))


def memory(repeats: int, *, quick: bool) -> None:
    print("\nmemory and time from start to report, in a process of its own, kernels from the cache")
    for nodes, signals in [(1_000, 100), (10_000, 100)] if quick else [(10_000, 100), (100_000, 100), (1_000_000, 100)]:
        command = [sys.executable, str(Path(__file__).resolve()), "--memory-of", str(nodes), str(signals)]
        print(subprocess.run(command, check=True, capture_output=True, text=True).stdout, end="")  # noqa: S603
    del repeats


def run_alone(nodes: int, signals: int) -> None:
    """Make a network, run it, read it; says how long and how much at most."""
    began = time.perf_counter()
    base = peak_mb()
    warmup()
    loaded = time.perf_counter()
    topology = small_world(nodes, degree=DEGREE, rewired=REWIRED, seed=1)
    made = time.perf_counter()
    network = Network(topology, seed=1)
    network.emit_batch(origins(Case(nodes, signals, 5, 100), 0), confidence=0.8, **ABOUT)
    network.run(100)
    ran = time.perf_counter()
    reached = len(network.arrivals())
    ended = time.perf_counter()
    print(
        f"  {nodes:>9,} nodes x {signals} signals: load {loaded - began:.2f} s, topology {made - loaded:.2f} s, ",
        end="",
    )
    print(f"run {ms(ran - made)}, read {reached:,} arrivals {ms(ended - ran)}; peak {peak_mb():,.0f} MB ", end="")
    print(f"({base:,.0f} MB before numba is loaded)")


def peak_mb() -> float:
    """The most memory that this process had so far; not that of its parent, which `getrusage` would start from."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def ms(seconds_: float) -> str:
    return f"{seconds_ * 1e3:,.2f} ms"


if __name__ == "__main__":
    main()
