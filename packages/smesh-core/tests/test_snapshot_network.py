"""A network that was written and read runs on as the network it was, on either engine; and no index leads astray.

Kernels do not look where they read, so what is loaded and should not have been would crash or differ: numbers are
changed behind a right checksum, and what is loaded all the same must run alike on both engines.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import SECOND, World, examples, said_by, same_as, swap_engine, worlds
from smesh_core import Conduct, Network, Quorum, Topology, topologies
from smesh_core.errors import EngineError, SnapshotError
from smesh_core.signal import DecayCurve
from smesh_core.snapshot import SNAPSHOT_VERSION, SnapshotKind, dump_network, load_network
from smesh_core.snapshot_format import Sections, encode
from smesh_core.snapshot_network import NETWORK_COLUMNS, network_sections
from smesh_core.state import ARRIVAL, NEVER, PENDING, SIGNAL, State

if TYPE_CHECKING:
    from collections.abc import Callable

    from smesh_core.engine import EngineName

VECTORS = Path(__file__).parent / "vectors"
ENGINES: list[EngineName] = ["numba", "numpy"] if importlib.util.find_spec("numba") else ["numpy"]
STEP = DecayCurve.STEP


def play(network: Network, world: World, until: int) -> None:
    """Run up to a tick, and let come what comes at each."""
    for tick in range(network.tick, until):
        for _, *event in [event for event in world.events if event[0] == tick]:
            name, *arguments = event
            getattr(network, name)(*(a for a in arguments if a is not None))
        for emission in world.emissions[1::2]:
            if emission["at_tick"] == tick:
                network.emit(**emission)
        network.run(1)


def begun(world: World, engine: EngineName) -> Network:
    network = world.network(engine)
    for emission in world.emissions[::2]:  # some of them for later: a signal that is not yet born
        network.emit(**emission)
    return network


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("other", ENGINES)
def test_a_network_that_was_written_and_read_runs_on_as_the_one_that_was_not(
    engine: EngineName, other: EngineName
) -> None:
    @examples(40)
    @given(world=worlds(), part=st.floats(0.0, 1.0))
    def check(world: World, part: float) -> None:
        network = begun(world, engine)
        play(network, world, int(part * world.ticks))
        snapshot = dump_network(network)
        loaded = load_network(snapshot, engine=other)
        assert dump_network(loaded) == snapshot
        same_as(network, loaded)
        for one in (network, loaded):
            play(one, world, world.ticks)
        same_as(network, loaded)
        assert dump_network(loaded) == dump_network(network)

    check()


@pytest.mark.skipif(len(ENGINES) < 2, reason="needs both engines")
@examples(25)
@given(world=worlds(), chunks=st.lists(st.integers(0, 9), max_size=5), threads=st.integers(1, 3))
def test_the_bytes_do_not_tell_the_engine_the_threads_or_the_calls(
    world: World, chunks: list[int], threads: int
) -> None:
    world = World(world.nodes, world.edges, world.setup, world.pairs, world.emissions, (), world.ticks)
    slow, fast = (world.emitted(engine) for engine in ("numpy", "numba"))
    slow.run(sum(chunks))
    for number, ticks in enumerate(chunks):
        swap_engine(fast, ("numba", "numpy")[number % 2])
        fast.run(ticks, threads=threads)
    assert dump_network(slow) == dump_network(fast)


def flooded(ticks: int = 6) -> Network:
    """Copies on their way, lost ones, stances on both sides, nodes down, a partition, trust between pairs."""
    topology = topologies.small_world(40, degree=4, seed=3)
    latencies = 1 + np.arange(topology.hypha_count) % 4
    network = Network(
        topology.with_hyphae(latencies=latencies, strengths=0.9),
        engine="numpy",
        seed=7,
        trust=np.linspace(0.3, 0.9, 40),
        threshold=0.05,
        quorum=Quorum(weight=3.0, lineages=2),
    )
    network.set_trusts([0, 3, 4], [5, 0, 0], [0.2, 0.95, 0.8])
    network.emit_batch([0, 5, 9], radius=9, evidence=0.5, counter_evidence=0.3, decay=STEP, confidence=0.9)
    network.emit(20, at_tick=4, decay=STEP, intensity=0.5)
    network.emit(21, at_tick=50, decay=STEP, intensity=0.5)
    network.emit(1, intensity=0.0)
    network.run(2)
    network.fail([7, 8])
    network.partition(np.arange(40) // 30)
    network.run(max(0, ticks - 2))
    return network


def test_a_network_with_everything_in_it_is_kept_whole() -> None:
    network = flooded()
    assert network.state.signals["pending"].sum() > 10
    assert network.state.signals["lost"].sum() > 0
    assert (network.state.sides < 0).any()
    for engine in ENGINES:
        loaded = load_network(dump_network(network), engine=engine)
        assert loaded.topology == network.topology
        assert (loaded.seed, loaded.tick_ns, loaded.quorum) == (7, SECOND, network.quorum)
        for one in (again := flooded(), loaded):
            one.run(2)  # with what befell it before, and nothing that befalls it now
            one.recover([7])
            one.heal(at_tick=one.tick + 3)
            one.set_trust(4, 5, 0.9)
            assert one.emit_batch([3, 4], decay=STEP, confidence=0.9).tolist() == [6, 7]
            one.run(20)
        same_as(again, loaded)
        assert dump_network(again) == dump_network(loaded)


def test_attention_lineages_and_conduct_are_kept() -> None:
    network = Network(topologies.ring(12), engine="numpy", capacity=1, lineages=[1, 1, 5] * 4, seed=-(2**70))
    network.emit_batch([0, 3, 6], radius=6, evidence=1.0, decay=STEP)
    network.run(4)
    network.state.conducts[4] = 2
    network.run(1)
    loaded = load_network(dump_network(network), engine="numpy")
    assert loaded.seed == -(2**70)
    assert loaded.state.conducts.tolist() == network.state.conducts.tolist()
    for one in (network, loaded):
        one.run(5)
    same_as(network, loaded)


def test_a_table_of_intensities_that_is_known_is_not_made_again() -> None:
    network = Network(topologies.ring(5), engine="numpy")
    network.emit(0)
    network.emit(1, ttl_ns=3 * SECOND)
    loaded = load_network(dump_network(network), engine="numpy")
    held = len(loaded.state.intensities)
    loaded.emit_batch([2, 3], ttl_ns=[3 * SECOND, 60 * SECOND])
    assert len(loaded.state.intensities) == held
    loaded.emit(4, ttl_ns=4 * SECOND)
    assert len(loaded.state.intensities) == held + 4


@pytest.mark.parametrize("labels", [("a", b"b", 3, ("x", 1, ("y",))), ("", "ü", -(2**63), 2**64 - 1)])
def test_labels_and_kind_are_kept(labels: tuple[Any, ...]) -> None:
    topology = Topology([0, 1, 2, 2, 2], [1, 0], kind="drawn by hand", labels=labels)
    loaded = load_network(dump_network(Network(topology, engine="numpy")), engine="numpy")
    assert loaded.topology == topology
    assert list(map(type, loaded.topology.labels or ())) == list(map(type, labels))


@pytest.mark.parametrize("label", [2**64, 1.5, None, True, frozenset(), "\ud800", ((((((((((1,),),),),),),),),),)])
def test_a_label_that_has_no_form_is_refused(label: Any) -> None:
    network = Network(Topology([0, 0], [], labels=[label]), engine="numpy")
    with pytest.raises(SnapshotError, match="label"):
        dump_network(network)


def test_a_seed_of_very_many_digits_is_refused_rather_than_cut() -> None:
    topology = topologies.ring(3)
    kept = Network(topology, seed=10**3999, engine="numpy")
    assert load_network(dump_network(kept), engine="numpy").seed == 10**3999
    with pytest.raises(SnapshotError, match="digits"):
        dump_network(Network(topology, seed=10**4000, engine="numpy"))


@examples(60)
@given(world=worlds(events_max=6), part=st.floats(0.0, 1.0))
def test_what_is_scheduled_happens_all_the_same(world: World, part: float) -> None:
    network = world.emitted("numpy")
    network.run(int(part * world.ticks))
    snapshot = dump_network(network)
    loaded = load_network(snapshot, engine="numpy")
    assert dump_network(loaded) == snapshot
    for one in (network, loaded):
        one.run(world.ticks + 1 - one.tick)
    same_as(network, loaded)
    assert dump_network(loaded) == dump_network(network)


def test_what_is_due_this_very_tick_has_not_happened_yet() -> None:
    network = Network(topologies.ring(3), engine="numpy")
    network.run(5)
    network.fail([1])
    loaded = load_network(dump_network(network), engine="numpy")
    assert loaded.state.sides.tolist() == [0, 0, 0]
    loaded.run(1)
    assert loaded.state.sides.tolist() == [0, -1, 0]


def test_the_size_goes_with_what_is_there_and_not_with_what_was_set_aside() -> None:
    network = Network(topologies.ring(1000), engine="numpy")
    network.emit_batch(range(10), decay=STEP, radius=3)
    network.run(20)
    held = 4 * network.topology.hypha_count + 8 * 1000 + 32 * len(network.arrivals())
    assert len(dump_network(network)) < held + 8_000


def test_the_engine_is_the_loaders_affair() -> None:
    snapshot = dump_network(flooded())
    assert load_network(snapshot).engine == ENGINES[0]
    with pytest.raises(EngineError):
        load_network(snapshot, engine="abacus")  # type: ignore[arg-type]


def test_every_column_of_the_state_is_held_or_known_not_to_be() -> None:
    """A column that somebody adds to the state is forgotten by snapshots unless it is listed."""
    names = {column.name for column in NETWORK_COLUMNS}
    derived = {"number", "arrivals_at", "arrivals_room", "pending_at", "pending_room"}
    assert {f"signal_{name}" for name in set(SIGNAL.names or ()) - derived} <= names
    assert {f"arrival_{name}" for name in ARRIVAL.names or ()} <= names
    assert {f"pending_{name}" for name in set(PENDING.names or ()) - {"next"}} <= names
    state = State(topologies.ring(3), seed=1, quorum=(2.0, 2))
    of_nodes = {name for name, held in vars(state).items() if isinstance(held, np.ndarray) and held.shape == (3,)}
    assert of_nodes <= names
    types = {column.name: column.dtype for column in NETWORK_COLUMNS}
    for name in of_nodes:
        assert np.dtype(types[name]) == getattr(state, name).dtype
    for table, prefix in ((SIGNAL, "signal_"), (ARRIVAL, "arrival_"), (PENDING, "pending_")):
        for name in table.names or ():
            assert types.get(f"{prefix}{name}", table[name].str) == table[name].str


def golden_network() -> Network:
    network = Network(
        Topology([0, 1, 3, 5, 6], [1, 0, 2, 1, 3, 2], latencies=[1, 1, 2, 2, 1, 3], kind="chain", labels="abcd"),
        engine="numpy",
        seed=11,
        lineages=[0, 1, 1, 2],
    )
    network.set_trust(1, 0, 0.9)
    network.emit_batch([0, 2], decay=STEP, radius=4, evidence=[1.0, 0.5], confidence=0.9)
    network.emit(3, decay=STEP, at_tick=9)
    network.run(3)
    network.fail(1)
    network.run(1)
    return network


def golden_network_with_events() -> Network:
    """As version 1 could not hold one: trouble ahead, and in two ways at one tick."""
    network = golden_network()
    network.recover(1, at_tick=6)
    network.partition([0, 0, 1, 1], at_tick=6)
    network.behave([3, 0], Conduct.DROPS | Conduct.COLLUDES, at_tick=8)
    network.heal(at_tick=11)
    return network


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("version", range(1, SNAPSHOT_VERSION + 1))
def test_the_golden_network_of_every_version_is_read(version: int, engine: EngineName) -> None:
    golden = (VECTORS / f"snapshot-network-{version}.bin").read_bytes()
    network = load_network(golden, engine=engine)
    expected = golden_network() if version == 1 else golden_network_with_events()
    assert dump_network(network) == dump_network(expected)
    assert (dump_network(network) == golden) is (version == SNAPSHOT_VERSION)
    for one in (network, expected):
        one.run(10)
    same_as(expected, network)


def events_said(**changed: Any) -> bytes:
    """The golden network, with other words about its events."""
    sections = {name: np.array(array) for name, array in network_sections(golden_network_with_events()).items()}
    for name, values in changed.items():
        sections[f"event_{name}"] = np.array(values, sections[f"event_{name}"].dtype)
    return encode(SnapshotKind.NETWORK, sections)


@pytest.mark.parametrize(
    "changed",
    [
        {"ticks": [6, 6, 8]},
        {"ticks": [6, 8, 6, 11]},
        {"ticks": [3, 6, 8, 11]},
        {"ticks": [-1, 6, 8, 11]},
        {"kinds": [0, 1, 2, 3]},
        {"kinds": [1, 1, 2, 1]},
        {"arguments": [2, 0, 9, 0]},
        {"arguments": [1, 1, 9, 0]},
        {"arguments": [1, 0, 16, 0]},
        {"sizes": [1, 4, 2, 5]},
        {"sizes": [1, 4, -2, 8]},
        {"sizes": [2, 4, 2, 4]},
        {"sizes": [1, 4, 2**62, 4]},
        {"values": [1, 0, 0, 1, 1, 3, 4, 0, 0, 0, 0]},
        {"values": [-1, 0, 0, 1, 1, 3, 0, 0, 0, 0, 0]},
        {"values": []},
    ],
    ids=str,
)
def test_events_that_cannot_be_are_refused(changed: dict[str, Any]) -> None:
    load_network(events_said(), engine="numpy")
    with pytest.raises(SnapshotError) as raised:
        load_network(events_said(**changed), engine="numpy")
    assert "\n" not in str(raised.value)


# ---- what cannot be, with a checksum that is right


@cache
def flooded_sections() -> Sections:
    return network_sections(flooded())


def nonsense(name: str, value: Any, at: Any = 0) -> bytes:
    sections = {other: np.array(array) for other, array in flooded_sections().items()}
    sections[name][at] = value
    return encode(SnapshotKind.NETWORK, sections)


NAN = float("nan")
NONSENSE: list[tuple[str, Any, Any]] = [
    ("offsets", -1, 0),
    ("offsets", -1, 5),
    ("offsets", 2**40, -1),
    ("targets", -1, 0),
    ("targets", 40, 3),
    ("targets", 2**31 - 1, -1),
    ("strengths", NAN, 0),
    ("strengths", 0.0, 0),
    ("latencies", 0, 0),
    ("latencies", -5, 0),
    ("kind", 0xFF, 0),
    ("thresholds", NAN, 0),
    ("capacities", -1, 0),
    ("capacities", 3, 0),
    ("trusts", NAN, 0),
    ("trusts", 0.0, 1),
    ("trusts", 1.0, 1),
    ("sides", -(2**31), 3),
    ("conducts", 16, 0),
    ("conducts", -1, 0),
    ("quorum", NAN, 0),
    ("quorum", -1.0, 0),
    ("quorum", 1.5, 1),
    ("quorum", float("inf"), 1),
    ("quorum", 1e30, 1),
    ("is_attention_bounded", 2, 0),
    ("seed", ord("x"), 0),
    ("tick", ord("-"), 0),
    ("tick", ord("1"), 0),
    ("tick_ns", ord("0"), slice(None)),
    ("pair_origins", 40, 2),
    ("pair_origins", -1, 0),
    ("pair_observers", 99, 2),
    ("pair_trusts", NAN, 0),
    ("pair_trusts", 2.0, 0),
    ("intensities", NAN, 0),
    ("intensities", -1.0, 0),
    ("intensities", 0.0, 0),
    ("decay_curves", 4, 0),
    ("decay_lives", 2**60, 0),
    ("decay_lives", -1, 0),
    ("decay_lives", 1, 0),
    ("decay_ttls_ns", 0, 0),
    ("decay_rates_per_s", NAN, 0),
    ("signal_born", -1, 0),
    ("signal_born", 1, 0),
    ("signal_born", 2**62 + 1, 0),
    ("signal_life", 2**24, 0),
    ("signal_life", -1, 0),
    ("signal_life", 0, 0),
    ("signal_decay", -1, 0),
    ("signal_decay", 10**6, 0),
    ("signal_decay", 1, 0),
    ("signal_next", 0, 0),
    ("signal_next", -5, 0),
    ("signal_next", NEVER, 0),
    ("signal_next", 51, 4),
    ("signal_confidence", NAN, 0),
    ("signal_for_share", 0.9, 0),
    ("signal_against_share", NAN, 0),
    ("signal_origin", 40, 0),
    ("signal_origin", -1, 0),
    ("signal_origin", 1, 0),
    ("signal_radius", -1, 0),
    ("signal_radius", 1, 0),
    ("signal_radius", 0, 0),
    ("signal_radius", 65536, 0),
    ("signal_arrivals", 0, 0),
    ("signal_arrivals", 2**62, 0),
    ("signal_arrivals", -1, 1),
    ("signal_settled", 0, 0),
    ("signal_settled", 2**31 - 1, 0),
    ("signal_settled", 1, 4),
    ("signal_pending", -1, 0),
    ("signal_pending", 2**62, 0),
    ("signal_copies", -1, 0),
    ("signal_sensed", 41, 0),
    ("signal_supporters", -1, 0),
    ("signal_reached_tick", 99, 0),
    ("signal_rejected_tick", -1, 0),
    ("arrival_attenuation", NAN, 1),
    ("arrival_attenuation", 1.5, 1),
    ("arrival_attenuation", 0.5, 0),
    ("arrival_node", 40, 1),
    ("arrival_node", -1, 1),
    ("arrival_node", 0, 1),
    ("arrival_via", 40, 1),
    ("arrival_via", -1, 1),
    ("arrival_via", 3, 0),
    ("arrival_age", 0, 1),
    ("arrival_age", 2**31 - 1, 1),
    ("arrival_age", 6, 1),
    ("arrival_acted", 2**31 - 1, 1),
    ("arrival_relayed", -1, 1),
    ("arrival_hop", 0, 1),
    ("arrival_hop", 10, 1),
    ("arrival_hop", 65535, 1),
    ("arrival_marks", 6, 1),
    ("arrival_marks", 16, 1),
    ("arrival_marks", 2, 1),
    ("arrival_marks", 9, 1),
    ("pending_age", -1, 0),
    ("pending_age", 1, 0),
    ("pending_age", 2**31 - 1, -1),
    ("pending_holder", -1, 0),
    ("pending_holder", 40, 0),
    ("pending_holder", 2**31 - 1, -1),
    ("pending_rank", -1, 0),
    ("pending_rank", 20, 0),
    ("pending_rank", 99, 0),
    ("pending_rank", 2**31 - 1, 0),
]


@pytest.mark.parametrize(("name", "value", "at"), NONSENSE)
def test_nonsense_with_a_checksum_that_is_right_is_refused_in_one_line(name: str, value: Any, at: Any) -> None:
    with pytest.raises(SnapshotError) as caught:
        load_network(nonsense(name, value, at), engine="numpy")
    assert "\n" not in str(caught.value)


def changed(change: Callable[[Sections], Sections]) -> bytes:
    return encode(SnapshotKind.NETWORK, {**flooded_sections(), **change(flooded_sections())})


def test_two_copies_on_one_hypha_are_refused() -> None:
    """A thread has room for one copy on each hypha."""

    def one_more(sections: Sections) -> Sections:
        """The last copy of the first signal once more, a tick later."""
        end = int(sections["signal_pending"][0])
        again = {
            name: np.insert(sections[name], end, sections[name][end - 1])
            for name in ("pending_age", "pending_holder", "pending_rank")
        }
        again["pending_age"][end] += 1
        more = sections["signal_pending"].copy()
        more[0] += 1
        return {**again, "signal_pending": more}

    with pytest.raises(SnapshotError, match="two copies on a hypha"):
        load_network(changed(one_more), engine="numpy")


@pytest.mark.parametrize("name", ["strengths", "latencies"])
def test_hyphae_that_are_all_alike_are_not_written_one_by_one(name: str) -> None:
    with pytest.raises(SnapshotError, match="the one form"):
        load_network(changed(lambda sections: {name: np.ones_like(sections[name])}), engine="numpy")


@pytest.mark.parametrize(
    "packed", [b"\xc1", b"\x91\x01", b"\xdd\xff\xff\xff\xff", b"\x91" * 5000 + b"\x01", b"\xdc\x00\x28" + b"\xc0" * 40]
)
def test_labels_that_are_none_are_refused(packed: bytes) -> None:
    labels = {"labels": np.frombuffer(packed, np.uint8)}
    with pytest.raises(SnapshotError):
        load_network(changed(lambda _: labels), engine="numpy")


@pytest.mark.parametrize("lineages", [[0] * 39, [-1] * 40, [1] * 40, list(range(1, 41)), [2**60] * 40])
def test_lineages_that_no_network_numbers_so_are_refused(lineages: list[int]) -> None:
    with pytest.raises(SnapshotError):
        load_network(changed(lambda _: {"lineages": np.array(lineages, np.int64)}), engine="numpy")


@examples(200)
@given(data=st.data())
def test_any_number_changed_is_refused_or_is_a_network_that_runs_alike_on_both_engines(data: st.DataObject) -> None:
    sections = {name: np.array(array) for name, array in flooded_sections().items()}
    name = data.draw(st.sampled_from([name for name in sections if sections[name].size]))
    flat = sections[name]
    if flat.dtype.kind == "f":
        value: Any = data.draw(st.one_of(st.floats(), st.floats(0.0, 1.0)))
    else:
        info = np.iinfo(flat.dtype)
        near = st.integers(max(-2, info.min), 60)
        value = data.draw(st.one_of(near, near, st.integers(info.min, info.max), st.sampled_from(flat.tolist())))
    flat[data.draw(st.integers(0, flat.size - 1))] = value
    snapshot = encode(SnapshotKind.NETWORK, sections)
    try:
        loaded = [load_network(snapshot, engine=engine) for engine in ENGINES]
    except SnapshotError:
        return
    assert dump_network(loaded[0]) == snapshot
    for network in loaded:
        network.heal()
        network.recover(range(40))
        network.run(12)
    # Engines read consensus when stances are taken, or each tick: of a quorum that its past does not fit, differently.
    one, other = said_by(loaded[0]), said_by(loaded[-1])
    for name in one.keys() - {"verdicts", "states"}:
        assert one[name] == other[name], name
