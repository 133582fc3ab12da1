"""What reading consensus costs, from a field and from bare positions; and how fast and how right a swarm decides.

The baseline of the same run is the least that anybody could do: a dict of node to side, kept up to date by whoever
changes it, whose sides are counted in a plain loop. It has no emissions, expiry, weights, lineages, names or ids.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parent.parent))

import machine
from smesh_core import EVERYONE, DecayCurve, Field, Observer, Quorum, Signal, node_id, tally
from smesh_core.consensus import LogOdds, Majority
from smesh_core.explanation import explain
from smesh_core.house_hunting import Swarm, hunt_many

if TYPE_CHECKING:
    from collections.abc import Callable

    from smesh_core import ConsensusPolicy, Ref

SIZES = [10, 1_000, 100_000]
MEMBERS = 10
SECOND_NS = 10**9
FOR = 1
POLICIES: dict[str, ConsensusPolicy] = {"Quorum": Quorum(), "LogOdds": LogOdds(), "Majority": Majority()}
QUORUMS = [0.05, 0.1, 0.2, 0.3, 0.5, 0.7]
STRENGTHS = [0.0, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--seeds", type=int, default=100, help="hunts for each row")
    parser.add_argument("--quick", action="store_true", help="small sizes only, to see that everything runs")
    parser.add_argument("--only", choices=["reading", "hunting"], help="one part")
    arguments = parser.parse_args()
    print(machine.describe())
    if arguments.only in {None, "reading"}:
        for size in SIZES[:2] if arguments.quick else SIZES:
            reading(size, arguments.repeats)
    if arguments.only in {None, "hunting"}:
        hunting(6 if arguments.quick else arguments.seeds, quick=arguments.quick)


# ---- reading


def reading(size: int, repeats: int) -> None:
    nodes = [node_id(f"node {number}") for number in range(size)]
    field, ref = said_by(nodes)
    sides = dict.fromkeys(nodes, FOR)
    roster = {node: f"lineage {number // MEMBERS}" for number, node in enumerate(nodes)}
    print(f"\none statement, {size:,} supporters; fastest of {repeats}, ns a supporter; ratio to the baseline above")
    base = per_supporter(lambda: count(sides), size, repeats)
    print(f"  {'a dict of node to side, counted: the baseline':<58}{base:9.1f}")
    read("everyone", field, ref, EVERYONE, (size, repeats, base))
    base = per_supporter(lambda: count_lineages(sides, roster), size, repeats)
    print(f"  {'the same, counted by lineage: the baseline':<58}{base:9.1f}")
    read(f"roster, lineages of {MEMBERS}", field, ref, Observer(roster=roster), (size, repeats, base))


def read(title: str, field: Field, ref: Ref, observer: Observer, run: tuple[int, int, float]) -> None:
    size, repeats, base = run

    def row(what: str, work: Callable[[], object]) -> None:
        ns = per_supporter(work, size, repeats)
        print(f"  {title + ': ' + what:<58}{ns:9.1f}  {ns / base:8.1f}", flush=True)

    positions = [(position.author, position.kind) for position in field.positions(ref, 0)]
    votes = tally(positions, observer)
    assert len(positions) == size
    row("tally of bare positions", lambda: tally(positions, observer))
    for name, policy in POLICIES.items():
        assert policy.read(votes).state.value == "reached" or size // MEMBERS < 2
        row(f"{name} of a tally", partial(policy.read, votes))
        row(f"{name} explained", partial(explain, votes, policy))
        row(f"{name} by Field.verdict", partial(field.verdict, ref, 0, observer, policy))
    row("Quorum by Field.read", lambda: field.read(ref, 0, observer))


def said_by(nodes: list[bytes]) -> tuple[Field, Ref]:
    """A statement that the first says and all others support."""
    field = Field()
    ref = field.emit(
        Signal(author=nodes[0], seq=1, created_at_ns=0, subject=b"x", ttl_ns=60 * SECOND_NS, decay=DecayCurve.STEP)
    )
    for node in nodes[1:]:
        field.reinforce(ref, by=node, now_ns=0)
    return field, ref


def count(sides: dict[bytes, int]) -> bool:
    support = oppose = 0
    for side in sides.values():
        if side == FOR:
            support += 1
        else:
            oppose += 1
    return support > oppose and support >= 2


def count_lineages(sides: dict[bytes, int], roster: dict[bytes, str]) -> bool:
    """One lineage, one vote, for the side of most of its members."""
    lean: dict[str, int] = {}
    for node, side in sides.items():
        lineage = roster[node]
        lean[lineage] = lean.get(lineage, 0) + side
    support = sum([1 for side in lean.values() if side > 0])
    return support >= 2 and 2 * support > len(lean)


def per_supporter(work: Callable[[], object], size: int, repeats: int) -> float:
    """Ns a supporter in the fastest run; small statements are read many times over."""
    rounds = max(1, 2_000 // size)
    work()
    times = []
    for _ in range(repeats):
        gc.collect()
        began = time.perf_counter_ns()
        for _ in range(rounds):
            work()
        times.append((time.perf_counter_ns() - began) / rounds / size)
    return min(times)


# ---- hunting


def hunting(seeds: int, *, quick: bool) -> None:
    print(f"\nhouse hunting: 100 scouts, at most 200 ticks, {seeds} seeds a row; 95% intervals")
    print("sites of quality 0.7 and 0.8, cross-inhibition 1: speed against accuracy by quorum")
    for quorum in QUORUMS[::3] if quick else QUORUMS:
        hunted(f"quorum {quorum:.0%}", Swarm(qualities=(0.7, 0.8), quorum=quorum), seeds)
    print("the same, quorum 70%: by strength of cross-inhibition")
    for strength in STRENGTHS[::3] if quick else STRENGTHS:
        hunted(f"cross-inhibition {strength:g}", Swarm(qualities=(0.7, 0.8), cross_inhibition=strength), seeds)
    print("two sites of quality 0.8, quorum 70%: by strength of cross-inhibition")
    for strength in STRENGTHS[::3] if quick else STRENGTHS:
        hunted(f"cross-inhibition {strength:g}", Swarm(qualities=(0.8, 0.8), cross_inhibition=strength), seeds)


def hunted(title: str, swarm: Swarm, seeds: int) -> None:
    began = time.perf_counter()
    runs = hunt_many(swarm, range(seeds))
    took = (time.perf_counter() - began) / seeds
    right = runs.accuracy
    accuracy = (
        "none decided         "
        if right is None
        else f"best {right.estimate:4.0%} [{right.low:4.0%}, {right.high:4.0%}]"
    )
    mean, median = runs.ticks_mean, runs.ticks_median
    ticks = "" if mean is None else f"ticks mean {mean.estimate:5.1f} [{mean.low:5.1f}, {mean.high:5.1f}], "
    print(f"  {title:<22}decided {runs.decided.estimate:4.0%} ", end="")
    print(f"[{runs.decided.low:4.0%}, {runs.decided.high:4.0%}], {accuracy}, ", end="")
    print(f"median {'none' if median is None else f'{median:.1f}':>5}, {ticks}{took * 1e3:.0f} ms a hunt", flush=True)


if __name__ == "__main__":
    main()
