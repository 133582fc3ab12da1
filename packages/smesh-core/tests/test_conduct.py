"""Nodes that do not play by the rules: what each conduct does, from when, and to whom."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from networks import SECOND, chain, hyphae
from smesh_core import InvalidNetworkError
from smesh_core.conduct import Conduct
from smesh_core.network import Network
from smesh_core.signal import DecayCurve

SILENT = Conduct.DROPS | Conduct.ABSTAINS
LEAGUE = Conduct.DROPS | Conduct.COLLUDES


@pytest.fixture(params=["numpy", "numba"])
def engine(request: pytest.FixtureRequest) -> Any:
    if request.param == "numba":
        pytest.importorskip("numba")
    return request.param


def line(engine: Any, nodes: int = 4, **setup: Any) -> Network:
    """A chain whose every hypha relays at once."""
    return Network(chain(nodes), engine=engine, trust=0.99, threshold=0.0, **setup)


def emit(network: Network, node: int = 0, **attributes: Any) -> int:
    """A signal that every node holds evidence for, and that fades only at its end."""
    sure = {"evidence": 1.0, "decay": DecayCurve.STEP, "radius": 60000, "ttl_ns": 300 * SECOND}
    return network.emit(node, **(sure | attributes))


def reached(network: Network) -> list[int]:
    return sorted(network.arrivals()["node"].tolist())


def stances(network: Network) -> dict[int, int]:
    found = network.arrivals()
    return dict(zip(found["node"].tolist(), found["stance"].tolist(), strict=True))


def test_what_comes_to_a_node_that_drops_ends_with_it(engine: Any) -> None:
    network = line(engine)
    network.behave([1], Conduct.DROPS)
    emit(network)
    network.run(200)
    assert reached(network) == [0, 1]
    assert network.counters().relayed.tolist() == [1, 0, 0, 0]
    assert network.state.signals["lost"].tolist() == [0]


def test_a_node_that_drops_still_says_what_it_has_to_say(engine: Any) -> None:
    network = line(engine)
    network.behave([1], Conduct.DROPS)
    emit(network, 1)
    network.run(200)
    assert reached(network) == [1, 2, 3]


def test_those_in_league_relay_each_other_and_nobody_else(engine: Any) -> None:
    network = line(engine, 5)
    network.behave([1, 2], LEAGUE)
    emit(network, 1)
    emit(network, 0)
    network.run(200)
    found = network.arrivals()
    assert sorted(found["node"][found["signal"] == 0].tolist()) == [1, 2, 3, 4]
    assert sorted(found["node"][found["signal"] == 1].tolist()) == [0, 1]


def test_a_colluder_that_does_not_drop_relays_everybody(engine: Any) -> None:
    network = line(engine)
    network.behave([1], Conduct.COLLUDES)
    emit(network)
    network.run(200)
    assert reached(network) == [0, 1, 2, 3]


def test_one_that_drops_without_colluding_drops_the_league_too(engine: Any) -> None:
    network = line(engine)
    network.behave([0], LEAGUE)
    network.behave([1], Conduct.DROPS)
    emit(network, 0)
    network.run(200)
    assert reached(network) == [0, 1]


def test_stances_by_conduct(engine: Any) -> None:
    """All sense a true signal of an honest node, and one of the league's."""
    star = hyphae([(0, node, 1.0, 1) for node in range(1, 6)], 6)
    network = Network(star, engine=engine, trust=0.01, threshold=0.0)  # so that any evidence against it is enough
    network.behave([1], Conduct.ABSTAINS)
    network.behave([2], Conduct.FLATTERS)
    network.behave([3], Conduct.COLLUDES)
    network.behave([4], Conduct.DROPS)
    emit(network, evidence=0.0, counter_evidence=1.0)
    network.run(100)
    assert stances(network) == {0: 0, 1: 0, 2: 1, 3: -1, 4: -1, 5: -1}
    network.behave([0], Conduct.COLLUDES)
    emit(network, evidence=0.0)
    network.run(100)
    found = network.arrivals()
    found = found[found["signal"] == 1]
    assert found["stance"].tolist() == [0, 0, 1, 1, 0, 0]


def test_abstaining_goes_before_every_other_conduct(engine: Any) -> None:
    network = line(engine, 2)
    network.behave([1], Conduct(15))
    emit(network)
    network.run(50)
    assert stances(network) == {0: 0, 1: 0}


def test_colluding_goes_before_flattery(engine: Any) -> None:
    network = line(engine, 2)
    network.behave([1], Conduct.COLLUDES | Conduct.FLATTERS)
    emit(network)
    network.run(50)
    assert stances(network) == {0: 0, 1: -1}


def test_conduct_counts_from_its_tick_on_and_can_end(engine: Any) -> None:
    """A copy that was dropped is asked for again, as one that was lost is."""
    network = line(engine, 3)
    network.behave([1], SILENT, at_tick=0)
    network.behave([1], Conduct.HONEST, at_tick=100)
    emit(network)
    network.run(100)
    assert reached(network) == [0, 1]
    network.run(100)
    assert reached(network) == [0, 1, 2]
    found = network.arrivals()
    assert found["tick"][found["node"] == 2][0] >= 100
    assert network.state.signals["lost"].tolist() == [0]


def test_a_stance_that_was_taken_stays(engine: Any) -> None:
    network = line(engine, 2)
    network.behave([1], Conduct.FLATTERS)
    emit(network, evidence=0.0)
    network.run(50)
    network.behave([1], Conduct.HONEST)
    network.run(5)
    assert stances(network) == {0: 0, 1: 1}


def test_bounded_attention_knows_of_conduct(engine: Any) -> None:
    network = line(engine, 2, capacity=1)
    network.behave([1], Conduct.COLLUDES)
    emit(network)
    network.run(50)
    assert stances(network) == {0: 0, 1: -1}


def test_the_digest_tells_networks_of_other_conduct_apart(engine: Any) -> None:
    one, other = line(engine), line(engine)
    other.behave([3], Conduct.ABSTAINS)
    for network in (one, other):
        network.run(1)
    assert one.digest() != other.digest()


@pytest.mark.parametrize(("nodes", "conduct"), [([4], Conduct.DROPS), ([-1], Conduct.DROPS), ([0], 1), ([0], None)])
def test_what_is_no_conduct_is_refused(nodes: list[int], conduct: Any) -> None:
    with pytest.raises(InvalidNetworkError):
        line("numpy").behave(nodes, conduct)


def test_conduct_in_the_past_is_refused() -> None:
    network = line("numpy")
    network.run(3)
    with pytest.raises(InvalidNetworkError):
        network.behave([0], Conduct.DROPS, at_tick=2)


def test_honest_networks_are_as_they_were(engine: Any) -> None:
    """Saying that all are honest changes nothing, the digest included."""
    one, other = line(engine), line(engine)
    other.behave(np.arange(4), Conduct.HONEST)
    for network in (one, other):
        emit(network)
        network.run(60)
    assert one.digest() == other.digest()
