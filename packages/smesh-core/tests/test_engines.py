"""The compiled engine's own business: threads, room in its tables, scratch, and the arrays that it hands to a kernel.

A kernel is called past numba's dispatch, so an array of another type than declared would not be refused: it would be
read as what it is not.
"""

from __future__ import annotations

import _thread
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import SECOND, World, chain, examples, hyphae, same_as, worlds
from smesh_core import state
from smesh_core.network import Network
from smesh_core.signal import DecayCurve
from smesh_core.topologies import full_mesh, ring, scale_free, small_world

pytest.importorskip("numba")

from smesh_core.kernels import compiled, reference, tick
from smesh_core.kernels.compiled import Compiled

STEP = DecayCurve.STEP


def flooded(engine: Any, *, threads: int = 1, nodes: int = 400, signals: int = 60, ticks: int = 60) -> Network:
    network = Network(small_world(nodes, seed=2), engine=engine, seed=7)
    network.emit_batch(np.arange(signals) * 5 % nodes, confidence=0.9, radius=40, evidence=0.3, decay=STEP)
    network.run(ticks, threads=threads)
    return network


# ---- threads, and room for what comes out


@pytest.fixture(scope="module")
def slow() -> Network:
    return flooded("numpy")


@pytest.mark.parametrize("threads", [1, 2, 3, 4, 61, 1024])
def test_a_flood_is_the_same_on_any_number_of_threads(slow: Network, threads: int) -> None:
    """Its arrivals and copies outgrow what was set aside many times over."""
    fast = flooded("numba", threads=threads)
    assert fast.state.used["arrivals"] > 60 * 400
    same_as(slow, fast)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_room_is_made_however_little_there_is(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    """Claims of one record at a time, of tables that begin with hardly any: all is run again that did not fit."""
    wanted = flooded("numpy", nodes=60, signals=20)
    monkeypatch.setattr(compiled, "_CLAIM", 1)
    for name in ("_TABLE_FIRST", "_RESERVED_PER_SIGNAL", "_RESERVED_MAX"):
        monkeypatch.setattr(state, name, 1)
    same_as(wanted, flooded("numba", threads=threads, nodes=60, signals=20))
    same_as(wanted, flooded("numpy", nodes=60, signals=20))


@pytest.mark.parametrize("threads", [1, 3])
def test_stretches_of_a_table_never_meet(threads: int) -> None:
    network = flooded("numba", threads=threads, ticks=12)
    network.emit_batch(range(30), radius=10, decay=STEP)
    network.run(20, threads=threads)
    signals = network.state.signals
    for table in ("arrivals", "pending"):
        begins, rooms, held = signals[f"{table}_at"], signals[f"{table}_room"], signals[table]
        assert (held <= rooms).all()
        used = sorted((int(at), int(at + room)) for at, room in zip(begins, rooms, strict=True) if room)
        assert all(end <= begin for (_, end), (begin, _) in pairwise(used))
        assert used[-1][1] <= network.state.used[table] <= len(getattr(network.state, table))


@pytest.mark.parametrize("table", ["arrivals", "pending"])
def test_what_is_reserved_is_there_to_the_last_record(table: str) -> None:
    held = Network(ring(3), engine="numpy").state
    unused = len(getattr(held, table)) - held.used[table]
    for wanted in (unused, unused + 1, 1, 10 * unused):
        version, length = held.version, len(getattr(held, table))
        held.reserve(table, wanted)
        assert len(getattr(held, table)) - held.used[table] >= wanted
        assert (held.version > version) == (len(getattr(held, table)) > length)
    begins = held.claim(table, np.array([3, 0, 2]))
    assert (begins - begins[0]).tolist() == [0, 3, 3]
    assert held.used[table] == begins[0] + 5


def test_products_that_do_not_fit_are_made_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = flooded("numpy", nodes=60, signals=20)
    for cells in (tick.BLOCK, 3 * tick.BLOCK, 10 * tick.BLOCK, 1000 * tick.BLOCK):  # whole rows, as 2^20 is
        monkeypatch.setattr(compiled, "_PRODUCTS_MAX", cells)
        same_as(wanted, flooded("numba", nodes=60, signals=20))


def test_products_that_barely_fit_are_not_written_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row for a trust of its own stands at the end of the table; the rows that are shared must end before it."""
    radius, wanted = 4, None
    for engine, rows in (("numpy", 1), ("numba", radius - 1), ("numba", radius), ("numba", radius + 1), ("numba", 99)):
        monkeypatch.setattr(compiled, "_PRODUCTS_MAX", rows * tick.BLOCK)
        network = Network(small_world(60, seed=2), engine=engine, seed=7, trust=0.8)
        network.set_trusts(np.repeat(np.arange(0, 60, 2), 3), np.tile([0, 5, 10], 30), 0.1)
        network.emit_batch([0, 5, 10] * 8, confidence=0.5, radius=radius, decay=STEP)
        network.run(60)
        wanted = network if wanted is None else wanted
        same_as(wanted, network)


def test_a_thread_that_fails_fails_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing:
        def compile(self) -> None:
            pass

        def __call__(self, first: int, *rest: object) -> int:
            raise FloatingPointError("in a thread") if first > 4 else FloatingPointError("or in another")

    network = Network(ring(5), engine="numba")
    network.emit_batch([0] * 40)
    with monkeypatch.context() as patched:
        patched.setattr(tick, "run_signals", Failing())
        with pytest.raises(FloatingPointError, match="in a"):
            network.run(5, threads=4)
    network.run(5, threads=4)


def test_threads_do_not_outlive_a_call() -> None:
    before = _thread._count()
    flooded("numba", threads=4, ticks=5)
    assert _thread._count() == before


# ---- what is handed to a kernel


def handed(network: Network) -> dict[str, np.ndarray]:
    """What the kernel is called with, by the names of its arguments."""
    engine, code = network._engine, tick.run_signals.function.__code__
    assert isinstance(engine, Compiled)
    names = code.co_varnames[3 : code.co_argcount]
    return dict(zip(names, [*engine._shared, *engine._own[0]], strict=True))


def check_signature(network: Network) -> None:
    arrays, signature = handed(network), tick.run_signals.signature[3:]
    for (name, array), wanted in zip(arrays.items(), signature, strict=True):
        assert array.dtype == np.dtype(wanted), name
        assert array.ndim == 1, name
        assert array.flags.c_contiguous, name
    nodes, hyphae = network.node_count, network.topology.hypha_count
    for name in ("sides", "thresholds", "trusts", "here", "slots"):
        assert len(arrays[name]) == nodes, name
    for name in ("strengths", "latencies"):
        assert len(arrays[name]) == (1 if getattr(network.topology, name) is None else hyphae), name
    assert len(arrays["under_way"]) >= hyphae
    assert len(arrays["products"]) % tick.BLOCK == 0
    assert len(arrays["offsets"]) == len(arrays["pair_offsets"]) == nodes + 1
    assert len(arrays["pair_observers"]) == len(arrays["pair_trusts"]) == arrays["pair_offsets"][-1]
    # What a kernel writes to can be written to.
    desk = ("here", "under_way", "slots", "buckets", "products", "is_filled")
    for name in ("signals", "arrivals", "pending", *desk, "room"):
        assert arrays[name].flags.writeable, name


@examples(40)
@given(world=worlds(), threads=st.integers(1, 3))
def test_arrays_are_of_the_types_that_a_kernel_declares(world: World, threads: int) -> None:
    network = world.emitted("numba")
    network.run(max(1, world.ticks), threads=threads)
    check_signature(network)


def test_arrays_that_are_replaced_are_handed_on() -> None:
    """After signals, decays, trusts and room are added the next tick works on the new arrays."""
    network = Network(full_mesh(5), engine="numba")
    for step in range(6):
        network.emit_batch([0] * (10 * step + 1), rate_per_s=0.1 + step)
        network.run(1)
        network.set_trust(1, 0, 0.3)
        network.run(1)
        arrays, held = handed(network), network.state
        assert np.shares_memory(arrays["signals"], held.signals)
        assert len(arrays["signals"]) == network.signal_count
        for name in ("arrivals", "pending", "intensities", "pair_offsets", "pair_observers", "pair_trusts"):
            assert arrays[name] is getattr(held, name), name
        check_signature(network)


def test_what_topologies_hold_is_handed_on_as_it_is() -> None:
    edges = [(0, 1, 0.5, 3), (1, 2, 1.0, 1)]
    for topology in (chain(3), hyphae(edges, 3), ring(1), scale_free(20)):
        network = Network(topology, engine="numba")
        network.emit(0)
        network.run(2)
        check_signature(network)
        assert handed(network)["offsets"] is topology.offsets
        assert handed(network)["targets"] is topology.targets


# ---- scratch is shared by signals, and must not show


@examples(30)
@given(
    order=st.permutations(range(8)),
    parts=st.lists(st.integers(1, 30), min_size=1, max_size=4),
)
def test_a_signal_leaves_nothing_behind_for_the_next(order: list[int], parts: list[int]) -> None:
    """Short and long lives, few and many hops, and trusts of pairs, one after the other on one thread."""
    kinds = [
        {"decay": STEP, "ttl_ns": 200 * SECOND, "radius": 2, "confidence": 0.2},
        {"decay": STEP, "ttl_ns": 3 * SECOND, "radius": 30},
        {"radius": 1},
        {"radius": 0},
        {"rate_per_s": 1.0, "radius": 5},
        {"decay": STEP, "ttl_ns": 200 * SECOND, "radius": 2, "confidence": 0.2},
        {"decay": DecayCurve.LINEAR, "ttl_ns": 64 * SECOND, "radius": 3, "confidence": 0.3},
        {"decay": DecayCurve.LINEAR, "ttl_ns": 65 * SECOND, "radius": 3, "confidence": 0.3},
    ]
    both = []
    for engine in ("numba", "numpy"):
        network = Network(ring(9, reach=2), engine=engine, seed=3, trust=[0.5, 0.9, 0.5, 0.5, 0.3, 0.5, 0.5, 0.5, 0.5])
        network.set_trusts([1, 3, 5], [0, 0, 4], [0.9, 0.1, 0.6])
        for at in order:
            network.emit(at % 5, **kinds[at])
        for part in parts:
            network.run(part)
        both.append(network)
    same_as(*both)


def test_signals_alike_in_all_but_one_thing_are_not_taken_for_each_other() -> None:
    """What the kernel shares among signals, it shares among those that are alike in all that matters."""
    alike: dict[str, Any] = {"node": 0, "confidence": 0.5, "radius": 4, "rate_per_s": 0.05, "ttl_ns": 70 * SECOND}
    variants = [
        alike,
        {**alike, "confidence": 0.9},
        {**alike, "radius": 9},
        {**alike, "rate_per_s": 0.01},
        {**alike, "ttl_ns": 20 * SECOND},
        {**alike, "node": 4},
        {**alike, "intensity": 0.5},
        {**alike, "decay": STEP},
        alike,
    ]
    both = []
    for engine in ("numba", "numpy"):
        network = Network(full_mesh(8), engine=engine, trust=[0.5, 0.5, 0.5, 0.5, 0.05, 0.5, 0.5, 0.5])
        for variant in variants * 3:
            network.emit(**alike)
            network.emit(**variant)
        network.run(90)
        both.append(network)
    same_as(*both)


def test_engines_agree_on_the_ages_in_a_block() -> None:
    assert tick.BLOCK == reference.BLOCK
    assert tick.WINDOW % tick.BLOCK == 0


def test_products_cannot_underflow_within_a_block() -> None:
    """The least a trial leaves is 1 - 0.99, and a block of those is still a normal number."""
    assert np.finfo(np.float64).tiny < 0.01**tick.BLOCK


@given(
    share=st.floats(0.0, 0.99),
    begin=st.integers(0, 149),
    age=st.integers(0, 149),
    step=st.sampled_from([-1, 0, 1]),
)
def test_a_relay_succeeds_at_the_first_age_whose_product_is_not_above_the_draw(
    share: float, begin: int, age: int, step: int
) -> None:
    """The bound itself is a success. Draws here are products, or next to one, which chance would never show."""
    life = 150
    network = Network(ring(2), engine="numpy")
    network.emit(0, decay=DecayCurve.LINEAR, ttl_ns=life * SECOND)
    intensity = network.state.intensities
    life = len(intensity)
    begin, age = min(begin, life - 1), min(max(begin, age), life - 1)
    products, running = np.full(3 * tick.BLOCK, -1.0), 1.0
    for at in range(life):
        running = (1.0 if at % tick.BLOCK == 0 else running) * (1.0 - share * intensity[at])
        products[at] = running
    before = products[begin - 1] if begin % tick.BLOCK else 1.0
    within = age // tick.BLOCK == begin // tick.BLOCK
    unit = float(products[age] / before) if within else 0.5
    unit = min(max(np.nextafter(unit, unit + step), 2.0**-53), 1 - 2.0**-53)
    left, wanted = unit * before, tick.NONE
    for at in range(begin, life):
        if at % tick.BLOCK == 0 and at > begin:
            left /= products[at - 1]
        if products[at] <= left:
            wanted = at
            break
    plain = getattr(tick.first_success, "py_func", tick.first_success)
    assert plain(unit, begin, life, products, 0) == wanted
    rows, one = np.zeros(1, np.int64), np.array([share])
    slow = reference._first_success(network.state, rows, one, np.array([unit]), np.array([begin]))
    assert slow.tolist() == [wanted]


@pytest.mark.parametrize("engine", ["numba", "numpy"])
@pytest.mark.parametrize("begin", [0, 1, 63, 64, 65, 127, 128, 129, 191, 192])
def test_asking_may_begin_anywhere_in_a_block_or_window(engine: Any, begin: int) -> None:
    """Node 1 is down until then; from its recovery on the wait is as short as trust makes it."""
    network = Network(chain(2), engine=engine, trust=0.99, seed=1)
    network.emit_batch([0] * 60, decay=STEP, ttl_ns=400 * SECOND, radius=65_535)
    if begin:
        network.fail([1])
        network.recover([1], at_tick=begin)
    network.run(400)
    ages = network.arrivals()["tick"][network.arrivals()["node"] == 1]
    assert len(ages) == 60
    assert max(1, begin) <= ages.min()
    assert np.mean(ages <= max(1, begin) + 1) > 0.9
    assert ages.max() < begin + 8


@pytest.mark.parametrize("engine", ["numba", "numpy"])
@pytest.mark.parametrize("latency", [62, 63, 64, 65, 126, 127, 128, 129, 130, 256, 257])
def test_latencies_may_reach_past_blocks_and_windows(engine: Any, latency: int) -> None:
    network = Network(chain(3, latency=latency), engine=engine, trust=0.99)
    network.emit_batch([0] * 60, decay=STEP, ttl_ns=600 * SECOND, radius=65_535)
    network.run(600)
    for node in (1, 2):
        ages = network.arrivals()["tick"][network.arrivals()["node"] == node]
        assert len(ages) == 60
        assert ages.min() == node * latency
