"""Attacks on a simulated network: who misbehaves, how, and what they say.

Each kind is the simplest form of what the literature calls by its name:

* **spam**: insiders fill the field with signals of full strength, so that nodes whose attention is bounded do not get
  to what matters;
* **false reinforcement**: insiders support whatever reaches them, without evidence;
* **sybil**: one insider makes up nodes, joins them to its neighbours, and has them support its lies and oppose the
  rest (Douceur: The Sybil attack, IPTPS 2002);
* **eclipse**: outsiders take the place of the neighbours of some victims, and let through only what they say
  themselves (Heilman, Kendler, Zohar, Goldberg: Eclipse attacks on Bitcoin's peer-to-peer network, USENIX Security
  2015);
* **silence**: insiders neither relay nor take stances;
* **collusion**: insiders lie in league: they support each other's lies and oppose what the others say;
* **poisoning**: the same insiders behave well until they are trusted, and collude then.

A `Siege` is an attack set up on one network: the topology with whoever came in from outside, who they are, how they
behave in a round, and what they emit. Chance is counter-based: the same arguments give the same siege.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from smesh_core import rng
from smesh_core.conduct import Conduct
from smesh_core.errors import InvalidNetworkError
from smesh_core.rng import Stream
from smesh_core.topology_edges import from_edges

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from smesh_core.topology import Topology

__all__ = ["ATTACKS", "Siege", "lay_siege"]

ATTACKS: Final = (
    "none",
    "spam",
    "false-reinforcement",
    "sybil",
    "eclipse",
    "silence",
    "collusion",
    "poisoning",
)
VICTIMS_SHARE: Final = 0.1
"""Part of the nodes that an eclipse is after."""
SPAM_EACH: Final = 20
"""Signals that a spammer emits in a round."""
LIARS_FEW: Final = 1
"""Insiders that own the Sybils."""

_INSIDERS, _VICTIMS, _CAPTURED, _CAPTORS = range(100, 104)
"""What a draw is for, in the place of a signal's number."""

_CONDUCTS: Final = {
    "none": Conduct.HONEST,
    "spam": Conduct.HONEST,
    "false-reinforcement": Conduct.FLATTERS,
    "sybil": Conduct.COLLUDES,
    "eclipse": Conduct.DROPS | Conduct.COLLUDES,
    "silence": Conduct.DROPS | Conduct.ABSTAINS,
    "collusion": Conduct.COLLUDES,
    "poisoning": Conduct.COLLUDES,
}
_LIARS: Final = frozenset({"false-reinforcement", "sybil", "eclipse", "collusion", "poisoning"})


class Siege(NamedTuple):
    """An attack on a network.

    Attributes:
        attack: a name in `ATTACKS`.
        topology: the network, outsiders included; they are its last nodes.
        insiders: nodes of the original network that misbehave, ascending.
        outsiders: nodes that came in from outside, ascending.
        victims: whom the attack is after; empty where it is after everybody.
        conduct: how those who misbehave behave once they do.
    """

    attack: str
    topology: Topology
    insiders: NDArray[np.int64]
    outsiders: NDArray[np.int64]
    victims: NDArray[np.int64]
    conduct: Conduct

    @property
    def hostile(self) -> NDArray[np.int64]:
        """All who misbehave, ascending."""
        return np.concatenate([self.insiders, self.outsiders])

    @property
    def honest(self) -> NDArray[np.int64]:
        """All others, ascending."""
        return np.setdiff1d(np.arange(self.topology.node_count), self.hostile)

    @property
    def liars(self) -> NDArray[np.int64]:
        """Who emits lies, if anybody does: the insiders, or where there are none the outsiders."""
        if self.attack not in _LIARS:
            return np.zeros(0, np.int64)
        return self.insiders if len(self.insiders) else self.outsiders

    def behaves_in(self, turn: int, turns: int) -> Conduct:
        """The conduct of the hostile in one of several rounds: who poisons trust waits for the last."""
        return Conduct.HONEST if self.attack == "poisoning" and turn < turns - 1 else self.conduct

    def spam_each(self) -> int:
        """Signals without meaning that each of the hostile emits in a round."""
        return SPAM_EACH if self.attack == "spam" else 0


def lay_siege(attack: str, fraction: float, topology: Topology, seed: int) -> Siege:
    """Set an attack up.

    Args:
        attack: a name in `ATTACKS`.
        fraction: its extent, in [0, 1). Part of the nodes that misbehave, but for two kinds: Sybils as part of all
            nodes, the honest included; and the part of the victims' hyphae that an eclipse takes, where 1 is allowed.
        topology: the network before it.
        seed: of who is hostile.

    Raises:
        InvalidNetworkError: there is no such attack, or no such extent of it.
    """
    if attack not in ATTACKS:
        raise InvalidNetworkError(f"no attack {attack!r}; there are {', '.join(ATTACKS)}")
    if not (0.0 <= fraction < 1.0 or (attack == "eclipse" and fraction == 1.0)):
        raise InvalidNetworkError(f"an attack's fraction takes a number in [0, 1), not {fraction}")
    nobody = np.zeros(0, np.int64)
    conduct = _CONDUCTS[attack]
    if attack == "none" or fraction == 0.0:
        return Siege(attack, topology, nobody, nobody, nobody, Conduct.HONEST)
    count = topology.node_count
    if attack == "sybil":
        insiders = _some(LIARS_FEW, count, seed, _INSIDERS)
        joined = _with_sybils(topology, int(insiders[0]), round(fraction / (1.0 - fraction) * count))
        return Siege(attack, joined, insiders, np.arange(count, joined.node_count), nobody, conduct)
    if attack == "eclipse":
        victims = _some(max(1, round(VICTIMS_SHARE * count)), count, seed, _VICTIMS)
        taken = _eclipsed(topology, victims, fraction, seed)
        return Siege(attack, taken, nobody, np.arange(count, taken.node_count), victims, conduct)
    return Siege(attack, topology, _some(round(fraction * count), count, seed, _INSIDERS), nobody, nobody, conduct)


def _draws(seed: int, purpose: int, count: int) -> NDArray[np.float64]:
    return rng.draw_unit(rng.key(seed, Stream.SCENARIO, 0, purpose), np.arange(count))


def _some(wanted: int, count: int, seed: int, purpose: int) -> NDArray[np.int64]:
    """So many different nodes of so many, ascending."""
    return np.sort(np.argsort(_draws(seed, purpose, count), kind="stable")[:wanted])


def _edges(topology: Topology) -> NDArray[np.int64]:
    """The hyphae as pairs (source, target), shape (hyphae, 2)."""
    return np.stack([topology.sources(), topology.targets], axis=1).astype(np.int64)


def _with_sybils(topology: Topology, owner: int, wanted: int) -> Topology:
    """Each Sybil is joined to its owner and to one of the owner's neighbours, in turn."""
    count = topology.node_count
    sybils = np.arange(count, count + wanted)
    near = topology.neighbours(owner).astype(np.int64)
    hosts = near[np.arange(wanted) % len(near)] if len(near) else np.full(wanted, owner)
    new = np.concatenate([np.stack([sybils, np.full(wanted, owner)], axis=1), np.stack([sybils, hosts], axis=1)])
    edges = np.concatenate([_edges(topology), new, new[:, ::-1]])
    return from_edges(edges, nodes=count + wanted, directed=True)


def _eclipsed(topology: Topology, victims: NDArray[np.int64], fraction: float, seed: int) -> Topology:
    """As many outsiders as victims take the other ends of part of the victims' hyphae, both ways alike."""
    count = topology.node_count
    edges = _edges(topology)
    is_victim = np.zeros(count, bool)
    is_victim[victims] = True
    pairs = edges[is_victim[edges[:, 0]]]
    # A hypha and its opposite share a draw, so that both are taken or neither is.
    low, high = np.minimum(pairs[:, 0], pairs[:, 1]), np.maximum(pairs[:, 0], pairs[:, 1])
    is_taken = _draws_of(seed, _CAPTURED, low * count + high) < fraction
    captor = count + (_draws_of(seed, _CAPTORS, pairs[:, 0] * count + pairs[:, 1]) * len(victims)).astype(np.int64)
    taken = pairs[is_taken]
    gone = np.concatenate([taken, taken[:, ::-1]])
    kept = edges[~np.isin(edges[:, 0] * count + edges[:, 1], gone[:, 0] * count + gone[:, 1])]
    new = np.stack([taken[:, 0], captor[is_taken]], axis=1)
    everywhere = np.stack([count + np.arange(len(victims)), np.arange(len(victims)) * count // len(victims)], axis=1)
    joined = np.concatenate([kept, new, new[:, ::-1], everywhere, everywhere[:, ::-1]])
    return from_edges(joined, nodes=count + len(victims), directed=True)


def _draws_of(seed: int, purpose: int, names: NDArray[np.int64]) -> NDArray[np.float64]:
    return rng.draw_unit(rng.key(seed, Stream.SCENARIO, 0, purpose), names)
