"""Any small network is the same on both engines, on any number of threads, and however its ticks are divided.

A failing example prints the `World`, seed and all: paste it into a test. ``SMESH_TEST_DEPTH=20`` runs deep.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import World, ages_of, examples, said_by, same_as, swap_engine, totals, worlds
from smesh_core.consensus import Quorum
from smesh_core.network import Network
from smesh_core.survey import ARRIVALS
from smesh_core.topologies import full_mesh

pytest.importorskip("numba")

ticks_of_parts = st.lists(st.integers(0, 15), max_size=8)


def in_parts(network: Network, parts: list[int], ticks: int, **run: object) -> Network:
    for part in parts:
        network.run(min(part, ticks - network.tick), **run)
    network.run(ticks - network.tick, **run)
    return network


# ---- engines


@examples(120)
@given(world=worlds())
def test_engines_agree(world: World) -> None:
    one, other = world.ran("numba"), world.ran("numpy")
    same_as(one, other)
    assert totals(one) == totals(other)


@examples(40)
@given(world=worlds(is_bounded=False, has_lineages=False, events_max=2, nodes_max=6, signals_max=12))
def test_engines_agree_on_many_signals_that_share_products(world: World) -> None:
    """Signals alike in confidence, radius and decay share what the kernel has worked out of them."""
    same = {"confidence": 0.9, "radius": 5, "rate_per_s": 0.01, "ttl_ns": 90 * 10**9}
    alike = tuple({**emission, **same} if at % 3 else emission for at, emission in enumerate(world.emissions))
    world = World(**{**vars(world), "emissions": alike})
    same_as(world.ran("numba"), world.ran("numpy"))


@examples(50)
@given(world=worlds(), parts=ticks_of_parts, starts_compiled=st.booleans())
def test_engines_take_over_from_each_other(world: World, parts: list[int], starts_compiled: bool) -> None:
    whole, mixed = world.ran("numba"), world.emitted("numba" if starts_compiled else "numpy")
    for part in parts:
        mixed.run(min(part, world.ticks - mixed.tick))
        swap_engine(mixed, "numpy" if mixed.engine == "numba" else "numba")
    mixed.run(world.ticks - mixed.tick)
    same_as(whole, mixed)


@pytest.mark.parametrize("lineages", [None, [0, 1]])
@pytest.mark.parametrize("engine", ["numba", "numpy"])
def test_where_one_is_a_quorum_it_is_reached_at_birth(engine: str, lineages: list[int] | None) -> None:
    network = Network(full_mesh(2), engine=engine, lineages=lineages, quorum=Quorum(weight=1.0, lineages=1))
    network.emit_batch([0] * 5, at_tick=[0, 2, 4, 6, 8])
    network.run(7)
    assert network.verdicts().reached_tick.tolist() == [0, 2, 4, 6, -1]


def test_what_is_too_faint_ever_to_be_live_is_read_alike() -> None:
    ticks = []
    for lineages in (None, [0, 1]):
        network = Network(full_mesh(2), lineages=lineages, quorum=Quorum(weight=1.0, lineages=1))
        network.emit(0, intensity=0.001)
        network.run(3)
        ticks.append(network.verdicts().reached_tick.tolist())
    assert ticks[0] == ticks[1]


# ---- how ticks are divided


@examples(60)
@given(world=worlds(), parts=ticks_of_parts)
@pytest.mark.parametrize("engine", ["numba", "numpy"])
def test_any_division_of_the_ticks_gives_the_same(engine: str, world: World, parts: list[int]) -> None:
    same_as(world.ran(engine), in_parts(world.emitted(engine), parts, world.ticks))


@examples(40)
@given(world=worlds(), parts=ticks_of_parts)
@pytest.mark.parametrize("engine", ["numba", "numpy"])
def test_a_hook_changes_nothing_and_sees_every_tick(engine: str, world: World, parts: list[int]) -> None:
    seen: list[int] = []
    hooked = in_parts(world.emitted(engine), parts, world.ticks, on_tick=lambda network: seen.append(network.tick))
    same_as(world.ran(engine), hooked)
    assert seen == list(range(1, world.ticks + 1))


@examples(40)
@given(world=worlds(), parts=ticks_of_parts)
@pytest.mark.parametrize("engine", ["numba", "numpy"])
def test_what_is_read_on_the_way_changes_nothing(engine: str, world: World, parts: list[int]) -> None:
    read = in_parts(world.emitted(engine), parts, world.ticks, on_tick=said_by)
    same_as(world.ran(engine), read)


# ---- threads


@examples(40)
@given(world=worlds(signals_max=12), threads=st.sampled_from([2, 3, 4, 64]))
def test_any_number_of_threads_gives_the_same(world: World, threads: int) -> None:
    same_as(world.ran("numba"), world.ran("numba", threads=threads))


@examples(20)
@given(world=worlds(signals_max=12), parts=ticks_of_parts, threads=st.lists(st.integers(1, 5), min_size=9, max_size=9))
def test_threads_may_come_and_go(world: World, parts: list[int], threads: list[int]) -> None:
    network = world.emitted("numba")
    for part, count in zip(parts, threads, strict=False):
        network.run(min(part, world.ticks - network.tick), threads=count)
    network.run(world.ticks - network.tick, threads=threads[-1])
    same_as(world.ran("numba"), network)


# ---- how signals are emitted


@examples(50)
@given(world=worlds(signals_max=8))
@pytest.mark.parametrize("engine", ["numba", "numpy"])
def test_a_batch_is_what_its_signals_are_one_by_one(engine: str, world: World) -> None:
    decays = sorted({emission["decay"] for emission in world.emissions})
    ordered = [e for decay in decays for e in world.emissions if e["decay"] == decay]
    one_by_one = World(**{**vars(world), "emissions": tuple(ordered)}).emitted(engine)
    batched, first = world.network(engine), 0
    world.schedule(batched)
    for decay in decays:
        same = [emission for emission in ordered if emission["decay"] == decay]
        columns = {name: [e[name] for e in same] for name in same[0] if name not in {"node", "decay"}}
        numbers = batched.emit_batch([e["node"] for e in same], decay=decay, **columns)
        assert numbers.tolist() == list(range(first, first + len(same)))
        first += len(same)
    one_by_one.run(world.ticks)
    batched.run(world.ticks)
    same_as(one_by_one, batched)


@examples(50)
@given(world=worlds(signals_max=8))
@pytest.mark.parametrize("engine", ["numba", "numpy"])
def test_a_signal_may_be_emitted_when_its_tick_comes(engine: str, world: World) -> None:
    """Emitted ahead of time, or in its own tick: the same, for signals that keep their numbers."""
    ordered = tuple(sorted(world.emissions, key=lambda emission: emission["at_tick"]))
    world = World(**{**vars(world), "emissions": ordered})
    ahead, in_time = world.ran(engine), world.network(engine)
    world.schedule(in_time)
    for emission in ordered:
        in_time.run(emission["at_tick"] - in_time.tick)
        in_time.emit(**{**emission, "at_tick": None})
    in_time.run(world.ticks - in_time.tick)
    same_as(ahead, in_time)


@examples(40)
@given(world=worlds(is_bounded=False), others=worlds(nodes_max=4, signals_max=6))
@pytest.mark.parametrize("engine", ["numba", "numpy"])
def test_signals_do_not_touch_each_other(engine: str, world: World, others: World) -> None:
    """With unbounded attention a signal fares alike whatever is emitted after it, and after however many."""
    alone = world.ran(engine)
    crowd = tuple({**emission, "node": emission["node"] % world.nodes} for emission in others.emissions)
    among = World(**{**vars(world), "emissions": world.emissions + crowd}).ran(engine)
    kept = among.arrivals()
    kept = kept[kept["signal"] < alone.signal_count]
    assert kept.tolist() == alone.arrivals().tolist()
    count = alone.signal_count
    for name in ("copies", "lost", "sensed", "supporters", "opposers", "reached_tick", "rejected_tick"):
        assert among.state.signals[name][:count].tolist() == alone.state.signals[name].tolist(), name


@examples(30)
@given(world=worlds(is_bounded=False, signals_max=5), data=st.data())
@pytest.mark.parametrize("engine", ["numba", "numpy"])
def test_rows_of_the_table_are_of_no_account(engine: str, world: World, data: st.DataObject) -> None:
    """A signal that keeps its number may stand in any row: the order of emission names signals and does no more."""
    count = len(world.emissions)
    order = data.draw(st.permutations(range(count)))
    straight = world.ran(engine)
    shuffled = World(**{**vars(world), "emissions": tuple(world.emissions[at] for at in order)}).emitted(engine)
    shuffled.state.signals["number"] = order
    shuffled.run(world.ticks)
    found, wanted = shuffled.arrivals(), straight.arrivals()
    for row, number in enumerate(order):
        mine, theirs = found[found["signal"] == row], wanted[wanted["signal"] == number]
        mine["signal"] = number
        assert mine.tolist() == theirs.tolist()


# ---- lineages


@examples(50)
@given(world=worlds(has_lineages=False))
@pytest.mark.parametrize("engine", ["numba", "numpy"])
def test_a_lineage_each_is_what_no_lineages_are(engine: str, world: World) -> None:
    """Consensus is the engine's to read without lineages, and the survey's with them; they read alike."""
    lively = tuple({**emission, "intensity": 1.0} for emission in world.emissions)
    world = World(**{**vars(world), "emissions": lively})
    same_as(world.ran(engine), world.ran(engine, lineages=list(range(world.nodes))))


# ---- invariants


@examples(120)
@given(world=worlds())
@pytest.mark.parametrize("engine", ["numba", "numpy"])
def test_books_balance(engine: str, world: World) -> None:
    network = world.ran(engine)
    found, signals, topology = network.arrivals(), network.state.signals, world.topology()
    assert found.dtype == ARRIVALS
    counters = network.counters()
    begun = signals["born"] < network.tick
    assert int(counters.emitted.sum()) == int(begun.sum())
    assert int(counters.relayed.sum()) == int(signals["copies"].sum())
    assert int(counters.sensed.sum()) == int(signals["sensed"].sum()) == int(found["is_sensed"].sum())
    assert int(counters.reinforced.sum()) == int(signals["supporters"].sum())
    assert int(counters.inhibited.sum()) == int(signals["opposers"].sum())
    onward = found[found["via"] >= 0]
    assert len(onward) <= int(signals["copies"].sum())
    for number in range(network.signal_count):
        ours = found[found["signal"] == number]
        assert len(set(ours["node"].tolist())) == len(ours)
        if not begun[number]:
            assert not len(ours)
            continue
        assert ours["via"].tolist().count(-1) == 1
        at = {int(arrival["node"]): arrival for arrival in ours}
        origin = at[int(signals["origin"][number])]
        assert (origin["via"], origin["hop"], origin["attenuation"]) == (-1, 0, 1.0)
        assert origin["tick"] == signals["born"][number]
        for arrival in ours[ours["via"] >= 0]:
            sender = at[int(arrival["via"])]
            hypha = topology.hypha(int(arrival["via"]), int(arrival["node"]))
            latency = 1 if topology.latencies is None else int(topology.latencies[hypha])
            assert arrival["hop"] == sender["hop"] + 1 <= signals["radius"][number]
            assert arrival["tick"] >= sender["tick"] + latency
            assert arrival["tick"] < signals["born"][number] + signals["life"][number]
            assert arrival["attenuation"] < sender["attenuation"]
            assert arrival["acted_tick"] == -1 or arrival["is_sensed"]
            assert arrival["acted_tick"] >= arrival["tick"] or not arrival["is_sensed"]
            assert arrival["stance"] == 0 or arrival["is_sensed"]
            if arrival["is_sensed"]:
                assert arrival["acted_tick"] < signals["born"][number] + signals["life"][number]
    coverage = network.coverage_by_tick()
    assert len(coverage) == network.tick
    assert (np.diff(coverage) >= 0).all()
    if network.tick and network.signal_count:
        assert coverage[-1] * network.signal_count * network.node_count == pytest.approx(len(found))
    assert (ages_of(network) >= 1).all()


@examples(60)
@given(world=worlds())
@pytest.mark.parametrize("engine", ["numba", "numpy"])
def test_what_a_network_reads_stays_within_bounds(engine: str, world: World) -> None:
    network = world.ran(engine)
    values, verdicts = network.values(), network.verdicts()
    assert values.shape == (network.signal_count,)
    assert ((values >= 0.0) & (values <= 1.0)).all()
    signals, votes = network.state.signals, verdicts.support + verdicts.oppose
    is_said = (signals["born"] <= network.tick) & (signals["life"] > 0)
    assert (votes >= is_said - 1e-9).all()
    assert not votes[~is_said].any()
    for ticks in (verdicts.reached_tick, verdicts.rejected_tick):
        assert ((ticks == -1) | ((ticks >= network.state.signals["born"]) & (ticks < max(1, network.tick)))).all()


# ---- lives longer than a block, and than a window


@examples(15)
@given(world=worlds(nodes_max=6, signals_max=4, ticks_max=0, latency_max=300), parts=st.lists(st.integers(1, 400)))
def test_engines_agree_on_long_lives(world: World, parts: list[int]) -> None:
    """Products span blocks of 64 ages, and buckets windows of 128 ticks; these lives are longer than both."""
    long = {"ttl_ns": 600 * world.setup["tick_ns"], "rate_per_s": 0.002, "intensity": 1.0}
    emissions = tuple({**e, **long, "confidence": e["confidence"] / 20, "at_tick": 7} for e in world.emissions)
    events = tuple((40 * tick + 100 * at, *event) for at, (tick, *event) in enumerate(world.events))
    world = World(**{**vars(world), "emissions": emissions, "events": events, "ticks": 700})
    whole = world.ran("numba")
    same_as(whole, world.ran("numpy"))
    same_as(whole, in_parts(world.emitted("numba"), parts[:8], world.ticks, threads=2))
