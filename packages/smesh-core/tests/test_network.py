"""What a network takes, and what it refuses: one line that names the argument, and nothing changed."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import SECOND, examples
from smesh_core import DecayCurve, Quorum, SmeshError, limits
from smesh_core.errors import EngineError, InvalidNetworkError
from smesh_core.network import Network
from smesh_core.state import NEVER
from smesh_core.survey import ARRIVALS
from smesh_core.topologies import full_mesh, ring

if TYPE_CHECKING:
    from collections.abc import Callable

NAN, INF = float("nan"), float("inf")
engines = pytest.mark.parametrize("engine", ["numba", "numpy"])


def begun(engine: Any = "numpy", **setup: Any) -> Network:
    """Six nodes, three signals under way, tick 4, an event ahead."""
    network = Network(ring(6), engine=engine, seed=1, **setup)
    network.emit_batch([0, 1, 2], confidence=0.9, evidence=0.5)
    network.fail([4], at_tick=9)
    network.run(4)
    return network


def refuses(call: Callable[[Network], object], named: str) -> None:
    """The call raises, says in one line what is wrong with what, and leaves the network as it was, now and later."""
    network, untouched = begun(), begun()
    before, signals = network.digest(), network.signal_count
    with pytest.raises(InvalidNetworkError) as raised:
        call(network)
    said = str(raised.value)
    assert "\n" not in said
    assert len(said) < 200
    assert named in said
    assert network.digest() == before
    assert network.signal_count == signals
    for each in (network, untouched):
        each.emit(5, at_tick=6)
        each.set_trust(3, 1, 0.9)
        each.run(40)
    assert network.digest() == untouched.digest()
    assert network.arrivals().tolist() == untouched.arrivals().tolist()


# ---- what a network is made of

SETUPS: list[tuple[dict[str, Any], str]] = [
    ({"tick_ns": 0}, "tick_ns"),
    ({"tick_ns": -1}, "tick_ns"),
    ({"tick_ns": 1.0}, "tick_ns"),
    ({"tick_ns": True}, "tick_ns"),
    ({"tick_ns": limits.TTL_MAX_NS + 1}, "tick_ns"),
    ({"threshold": -0.1}, "threshold"),
    ({"threshold": 1.1}, "threshold"),
    ({"threshold": NAN}, "threshold"),
    ({"threshold": [0.1] * 5}, "threshold"),
    ({"threshold": [[0.1] * 6]}, "threshold"),
    ({"threshold": True}, "threshold"),
    ({"threshold": "0.1"}, "threshold"),
    ({"threshold": [0.1] * 5 + [NAN]}, "threshold"),
    ({"capacity": -1}, "capacity"),
    ({"capacity": NAN}, "capacity"),
    ({"capacity": True}, "capacity"),
    ({"capacity": [1] * 7}, "capacity"),
    ({"capacity": INF}, "capacity"),
    ({"trust": 0.0}, "trust"),
    ({"trust": 1.0}, "trust"),
    ({"trust": 0.00999}, "trust"),
    ({"trust": 0.991}, "trust"),
    ({"trust": NAN}, "trust"),
    ({"trust": [0.5] * 5}, "trust"),
    ({"lineages": [0] * 5}, "lineages"),
    ({"lineages": [0.0] * 6}, "lineages"),
    ({"lineages": [True] * 6}, "lineages"),
    ({"lineages": 3}, "lineages"),
    ({"lineages": "abcdef"}, "lineages"),
]


@pytest.mark.parametrize(("setup", "named"), SETUPS)
def test_a_network_refuses_settings_out_of_bounds(setup: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidNetworkError) as raised:
        Network(ring(6), **setup)
    assert named in str(raised.value)
    assert "\n" not in str(raised.value)
    assert isinstance(raised.value, SmeshError)
    assert isinstance(raised.value, ValueError)


@pytest.mark.parametrize("engine", ["cuda", "NUMBA", 3])
def test_a_network_refuses_engines_that_are_not_there(engine: Any) -> None:
    with pytest.raises(EngineError, match=r"numba or numpy") as raised:
        Network(ring(6), engine=engine)
    assert "\n" not in str(raised.value)


@engines
def test_bounds_themselves_are_taken(engine: Any) -> None:
    for setup in (
        {"tick_ns": 1},
        {"tick_ns": limits.TTL_MAX_NS},
        {"threshold": 0.0},
        {"threshold": 1},
        {"threshold": np.float32(0.5)},
        {"capacity": 0},
        {"capacity": NEVER},
        {"trust": 0.01},
        {"trust": 0.99},
        {"trust": np.full(6, 0.99)},
        {"lineages": np.array([-5, 2**62, 0, 0, 1, 1])},
        {"seed": 2**64 - 1},
        {"seed": -1},
        {"seed": 2**70},
        {"quorum": Quorum(weight=0.1, lineages=9)},
    ):
        network = Network(ring(6), engine=engine, **setup)
        network.emit(0, ttl_ns=3)
        network.run(3)
        assert network.tick == 3


def test_seeds_count_modulo_two_to_the_64() -> None:
    digests = set()
    for seed in (-1, 2**64 - 1, 2**65 - 1):
        network = Network(full_mesh(5), seed=seed)
        network.emit(0, confidence=0.5)
        network.run(20)
        digests.add(str(network.arrivals().tolist()))
    assert len(digests) == 1


@pytest.mark.parametrize("seed", [1.5, None, "7", NAN])
def test_a_seed_is_a_whole_number(seed: Any) -> None:
    with pytest.raises(InvalidNetworkError, match="seed"):
        Network(ring(3), seed=seed)


def test_an_empty_name_is_no_engine() -> None:
    with pytest.raises(EngineError):
        Network(ring(3), engine="")  # type: ignore[arg-type]


# ---- emitting

EMISSIONS: list[tuple[Any, dict[str, Any], str]] = [
    ([6], {}, "nodes"),
    ([-1], {}, "nodes"),
    ([0, 6], {}, "nodes"),
    ([0.0], {}, "nodes"),
    ([True], {}, "nodes"),
    ([NAN], {}, "nodes"),
    ([[0, 1]], {}, "nodes"),
    ([2**40], {}, "nodes"),
    ([2**70], {}, "nodes"),
    (["0"], {}, "nodes"),
    ([None], {}, "nodes"),
    (None, {}, "nodes"),
    *[
        ([0, 1], {name: value}, name)
        for name in ("confidence", "intensity", "evidence", "counter_evidence")
        for value in (-0.01, 1.01, NAN, INF, True, "1", [0.5], [0.5, NAN], [[0.5, 0.5]], None)
    ],
    *[([0, 1], {"rate_per_s": value}, "rate_per_s") for value in (-0.1, 1e6 + 1, NAN, INF, True, [1.0], None)],
    *[([0, 1], {"ttl_ns": value}, "ttl_ns") for value in (0, -1, limits.TTL_MAX_NS + 1, NAN, INF, True, [1], None)],
    *[([0, 1], {"radius": value}, "radius") for value in (-1, 65_536, NAN, INF, True, [1, 2, 3], None)],
    *[([0, 1], {"at_tick": value}, "at_tick") for value in (3, -1, NAN, INF, True, [4, 3], [5, 5, 5], 2**62 + 1)],
    ([0, 1], {"evidence": 0.6, "counter_evidence": 0.5}, "evidence"),
    ([0, 1], {"evidence": [0.1, 0.6], "counter_evidence": 0.5}, "evidence"),
]


@pytest.mark.parametrize(("nodes", "attributes", "named"), EMISSIONS)
def test_emissions_out_of_bounds_are_refused(nodes: Any, attributes: dict[str, Any], named: str) -> None:
    refuses(lambda network: network.emit_batch(nodes, **attributes), named)


def test_a_life_of_too_many_ticks_is_refused() -> None:
    fine = Network(ring(3), tick_ns=1)
    with pytest.raises(InvalidNetworkError, match="longer tick") as raised:
        fine.emit(0, decay=DecayCurve.STEP, ttl_ns=2**24 + 1)
    assert "\n" not in str(raised.value)
    assert fine.signal_count == 0
    fine.emit(0, decay=DecayCurve.STEP, ttl_ns=2**16)
    fine.run(1)
    assert fine.signal_count == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda network: network.emit(0, radius=2.5),
        lambda network: network.emit(0, at_tick=5.5),
        lambda network: network.emit(0, ttl_ns=1.5),
        lambda _: Network(ring(3), capacity=1.5),
    ],
    ids=["radius", "at_tick", "ttl_ns", "capacity"],
)
def test_whole_numbers_have_no_fraction(call: Callable[[Network], object]) -> None:
    with pytest.raises(InvalidNetworkError):
        call(begun())


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda network: network.emit_batch([[0], [1, 2]]), "nodes"),
        (lambda network: network.emit(0, confidence=[[1], [1, 2]]), "confidence"),
        (lambda network: network.emit(0, decay=9), "decay"),
        (lambda network: network.emit(0, decay="step"), "decay"),
        (lambda network: network.partition([[0], [1, 2]]), "sides"),
        (lambda network: network.set_trusts([0, 1], [0], 0.5), "trust"),
        (lambda network: network.set_trusts([0], [0, 1], 0.5), "trust"),
    ],
    ids=["ragged nodes", "ragged numbers", "curve 9", "curve step", "ragged sides", "observers", "origins"],
)
def test_what_numpy_cannot_take_is_refused_by_name(call: Callable[[Network], object], named: str) -> None:
    refuses(call, named)


@engines
def test_numbers_count_up_and_batches_may_be_empty(engine: Any) -> None:
    network = begun(engine)
    before = network.digest()
    numbers = network.emit_batch([])
    assert numbers.tolist() == []
    assert numbers.dtype == np.int64
    assert network.emit_batch([], confidence=[]).tolist() == []
    assert network.digest() == before
    assert network.emit(3) == 3
    assert network.emit_batch(np.array([1, 2], np.uint8)).tolist() == [4, 5]
    assert network.signal_count == 6
    network.run(5)


@pytest.mark.parametrize("name", ["at_tick", "radius", "ttl_ns"])
def test_no_whole_numbers_are_enough_for_no_signals(name: str) -> None:
    assert begun().emit_batch([], **{name: []}).tolist() == []


@engines
def test_bounds_of_emissions_are_taken(engine: Any) -> None:
    network = begun(engine)
    network.emit_batch(
        [0, 5],
        confidence=[0, 1],
        intensity=[0.0, 1],
        rate_per_s=[0, limits.RATE_MAX_PER_S],
        ttl_ns=[1, 60 * SECOND],
        radius=[0, limits.RADIUS_HOPS_MAX],
        evidence=[0, 1],
        counter_evidence=[1, 0],
        at_tick=[4, 2**60],
    )
    network.emit(0, ttl_ns=limits.TTL_MAX_NS, rate_per_s=1.0)
    network.emit(0, at_tick=network.tick)
    network.run(5)
    assert network.state.signals["born"].tolist()[3:] == [4, 2**60, 4, 4]


@engines
@examples(40)
@given(count=st.integers(1, 300), later=st.integers(0, 300))
def test_many_signals_find_room(engine: Any, count: int, later: int) -> None:
    """Tables grow as signals are added before and between ticks; those already there stay as they are."""
    network = Network(full_mesh(4), engine=engine)
    network.emit_batch(np.arange(count) % 4, confidence=0.8)
    network.run(3)
    before = network.arrivals()
    numbers = network.emit_batch(np.arange(later) % 4, confidence=0.8)
    assert numbers.tolist() == list(range(count, count + later))
    assert network.arrivals().tolist() == before.tolist()
    network.run(20)
    after = network.arrivals()
    early = after[(after["tick"] < 3) & (after["signal"] < count)]
    names = ["signal", "tick", "node", "via", "hop", "attenuation"]
    assert early[names].tolist() == before[names].tolist()


def test_decays_of_one_kind_share_a_table() -> None:
    network = Network(ring(3))
    network.emit_batch([0] * 50, rate_per_s=0.2)
    for _ in range(50):
        network.emit(1, rate_per_s=0.2)
    assert len(set(network.state.signals["decay"].tolist())) == 1
    network.emit_batch([0, 1, 2, 0], rate_per_s=[0.2, 0.3, 0.2, 0.4])
    starts = network.state.signals["decay"][-4:].tolist()
    assert starts[0] == starts[2] == 0
    assert len(set(starts)) == 3
    lives = network.state.signals["life"][-4:].tolist()
    assert lives == [24, 16, 24, 12]
    assert len(network.state.intensities) == 24 + 16 + 12


# ---- trust

TRUSTS: list[tuple[Any, Any, Any, str]] = [
    ([0], [6], 0.5, "nodes"),
    ([6], [0], 0.5, "nodes"),
    ([-1], [0], 0.5, "nodes"),
    ([0.0], [1], 0.5, "nodes"),
    ([0], [True], 0.5, "nodes"),
    ([0], [1], 0.0, "trust"),
    ([0], [1], 1.0, "trust"),
    ([0], [1], NAN, "trust"),
    ([0], [1], True, "trust"),
    ([0], [1], [0.5, 0.5], "trust"),
    ([0, 1], [1, 2], [0.5, NAN], "trust"),
]


@pytest.mark.parametrize(("observers", "origins", "trusts", "named"), TRUSTS)
def test_trusts_out_of_bounds_are_refused(observers: Any, origins: Any, trusts: Any, named: str) -> None:
    refuses(lambda network: network.set_trusts(observers, origins, trusts), named)


@engines
def test_the_last_trust_set_counts(engine: Any) -> None:
    one, other = (Network(full_mesh(5), engine=engine, seed=3) for _ in range(2))
    one.set_trusts([1, 2, 3], [0, 0, 0], [0.9, 0.2, 0.4])
    other.set_trusts([1, 2], [0, 0], 0.01)
    other.set_trusts([3, 1], [0, 0], [0.4, 0.99])
    other.set_trust(2, 0, 0.2)
    other.set_trust(1, 0, 0.9)
    for network in (one, other):
        network.emit_batch([0, 1] * 10, confidence=0.5)
        network.run(30)
    assert one.digest() == other.digest()


@engines
def test_what_everybody_thinks_of_an_origin_can_be_set(engine: Any) -> None:
    """It is as if each had been made with it, but for those with a trust of their own."""
    one, other = Network(ring(6), engine=engine), Network(ring(6), engine=engine, trust=[0.9, 0.5, 0.5, 0.2, 0.5, 0.5])
    one.set_trust(1, 0, 0.01)
    other.set_trust(1, 0, 0.01)
    one.set_trusts(None, [0, 3], [0.9, 0.2])
    for network in (one, other):
        network.emit_batch([0, 3], confidence=0.7, evidence=0.5)
        network.run(40)
    assert one.digest() == other.digest()


def test_what_everybody_thinks_is_bounded() -> None:
    for origins, trust in (([6], 0.5), ([0], 1.0), ([0, 1], [0.5]), ([0], NAN)):
        refuses(lambda network, o=origins, t=trust: network.set_trusts(None, o, t), "")


@engines
def test_setting_no_trusts_changes_nothing(engine: Any) -> None:
    one, other = (Network(full_mesh(5), engine=engine, seed=3) for _ in range(2))
    other.set_trusts([], [], 0.9)
    other.set_trusts([], [], [])
    for network in (one, other):
        network.emit_batch([0, 1] * 10, confidence=0.5, evidence=0.5)
        network.run(30)
    assert one.digest() == other.digest()


# ---- events

EVENTS: list[tuple[str, Any, dict[str, Any], str]] = [
    *[
        (method, nodes, {}, "nodes")
        for method in ("fail", "recover")
        for nodes in ([6], [-1], [0.0], [True], [[0, 1]], [NAN], 6, None, "0", [2**70])
    ],
    *[
        (method, argument, {"at_tick": tick}, "at_tick")
        for method, argument in (("fail", [0]), ("recover", [0]), ("partition", [0, 0, 0, 1, 1, 1]))
        for tick in (3, -1, 4.0, True, NAN, "5", 2**62 + 1)
    ],
    *[
        ("partition", sides, {}, "sides")
        for sides in ([0] * 5, [0] * 7, [0.0] * 6, [[0] * 6], 0, None, "abcdef", [NAN] * 6)
    ],
]


@pytest.mark.parametrize(("method", "argument", "when", "named"), EVENTS)
def test_events_out_of_bounds_are_refused(method: str, argument: Any, when: dict[str, Any], named: str) -> None:
    refuses(lambda network: getattr(network, method)(argument, **when), named)


@pytest.mark.parametrize("tick", [3, -1, 4.0, True])
def test_healing_takes_a_tick_that_has_not_passed(tick: Any) -> None:
    refuses(lambda network: network.heal(at_tick=tick), "at_tick")


@engines
def test_a_single_node_may_fail_by_its_number(engine: Any) -> None:
    network = begun(engine)
    network.fail(3)
    network.run(1)
    assert network.state.sides.tolist() == [0, 0, 0, -1, 0, 0]


# ---- time

RUNS = [
    {"ticks": -1},
    {"ticks": 1.0},
    {"ticks": True},
    {"ticks": NAN},
    {"ticks": None},
    {"ticks": 2**60},
    {"ticks": 1, "threads": 0},
    {"ticks": 1, "threads": -1},
    {"ticks": 1, "threads": 1.0},
    {"ticks": 1, "threads": True},
    {"ticks": 1, "threads": limits.THREADS_MAX + 1},
    {"ticks": 0, "threads": 0},
]


@pytest.mark.parametrize("run", RUNS)
def test_runs_out_of_bounds_are_refused(run: dict[str, Any]) -> None:
    named = "t" if run["ticks"] == 2**60 else "ticks" if "threads" not in run else "threads"
    refuses(lambda network: network.run(**run), named)


@engines
def test_no_ticks_are_none(engine: Any) -> None:
    network = begun(engine)
    before = network.digest()
    network.run(0)
    assert network.digest() == before
    assert network.tick == 4


@engines
def test_time_may_run_to_its_end(engine: Any) -> None:
    """Nothing happens in most of it, so this is no longer than the first hundred ticks."""
    network = begun(engine)
    network.emit(0, at_tick=limits.TICK_MAX - 2, ttl_ns=SECOND)
    network.run(limits.TICK_MAX - 4)
    assert network.tick == limits.TICK_MAX
    assert len(network.arrivals()["tick"][network.arrivals()["tick"] > 2**59]) == 1
    with pytest.raises(InvalidNetworkError):
        network.run(1)
    network.run(0)


@engines
def test_a_hook_that_fails_stops_the_run_after_its_tick(engine: Any) -> None:
    network = begun(engine)

    def hook(network: Network) -> None:
        if network.tick == 7:
            raise KeyError("stop")

    with pytest.raises(KeyError):
        network.run(10, on_tick=hook)
    assert network.tick == 7
    network.run(3)
    whole = begun(engine)
    whole.run(6)
    assert network.digest() == whole.digest()


@engines
def test_a_hook_may_emit_and_set_trusts(engine: Any) -> None:
    """What it does after tick t holds from t + 1 on, as if it had been called between two runs."""

    def act(network: Network) -> None:
        if network.tick in {5, 6, 9}:
            network.emit_batch([network.tick % 6, 0], confidence=0.8)
            network.set_trust(1, network.tick % 6, 0.95)

    hooked, stepped = begun(engine), begun(engine)
    hooked.run(30, on_tick=act)
    for _ in range(30):
        stepped.run(1)
        act(stepped)
    assert hooked.signal_count == 9
    assert hooked.state.signals["born"].tolist() == [0, 0, 0, 5, 5, 6, 6, 9, 9]
    assert hooked.digest() == stepped.digest()


# ---- what it says of itself


def test_attributes() -> None:
    network = Network(ring(6), seed=9, engine="numpy")
    assert (network.node_count, network.signal_count, network.tick, network.seed) == (6, 0, 0, 9)
    assert network.engine == "numpy"
    assert network.quorum == Quorum()
    assert network.topology.node_count == 6
    assert begun().arrivals().dtype == ARRIVALS


def test_every_bound_that_is_documented_is_tried_here() -> None:
    """A new argument needs its line above."""
    tried = {name for setup, _ in SETUPS for name in setup}
    setup = set(inspect.signature(Network).parameters) - {"topology", "seed", "quorum", "engine"}
    assert setup == tried
    emission = set(inspect.signature(Network.emit_batch).parameters) - {"self", "nodes", "decay"}
    assert emission == {name for _, attributes, _ in EMISSIONS for name in attributes}
    assert set(inspect.signature(Network.run).parameters) == {"self", "ticks", "threads", "on_tick"}
