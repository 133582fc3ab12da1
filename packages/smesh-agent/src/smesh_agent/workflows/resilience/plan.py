"""What a sweep tries: every attack to every extent on every topology, read by every system, with the same seeds.

Seeds are paired: trial k of each cell has the same seed, so networks, statements and evidence are the same wherever the
attack lets them be, and differences between systems are differences within a seed.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
from smesh_core.attacks import ATTACKS
from smesh_core.topologies import TOPOLOGIES
from smesh_core.trials import BASELINES, DEFENCES, Trial

from smesh_agent.errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SYSTEMS", "Cell", "Plan"]

SYSTEMS: Final[dict[str, tuple[str, ...]]] = {
    "undefended": (),
    "inhibition": ("inhibition",),
    "lineages": ("inhibition", "lineages"),
    "roster": ("inhibition", "roster"),
    "trust": ("inhibition", "trust"),
    "all": DEFENCES,
    **{name: (name,) for name in BASELINES},
}
"""Name of a system to its defences, or its baseline; `lineages`, `roster` and `trust` hear opposition too."""
_TRIALS_MAX: Final = 1_000_000


class Cell(NamedTuple):
    """One attack, to one extent, on one topology."""

    attack: str
    fraction: float
    topology: str


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is tried.

    Attributes:
        attacks: names in `smesh_core.attacks.ATTACKS` other than `none`, which is always tried as well.
        fractions: extents of each attack, ascending, between 0 and 1.
        topologies: names in `smesh_core.topologies.TOPOLOGIES`.
        seeds: how many trials of each cell; at least 2, or there is no interval.
        first_seed: of the first of them.
        nodes: of each network.
        degree: neighbours that a node has, about.
        rounds: of each trial.
        ticks: of each round.

    Raises:
        AgentError: there is nothing to try, something twice, or too much.
        InvalidNetworkError: a value is out of a trial's bounds.
    """

    attacks: tuple[str, ...] = tuple(name for name in ATTACKS if name != "none")
    fractions: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5)
    topologies: tuple[str, ...] = ("small-world",)
    seeds: int = 30
    first_seed: int = 0
    nodes: int = 100
    degree: int = 6
    rounds: int = 4
    ticks: int = 60

    def __post_init__(self) -> None:
        for name, given in (("attack", self.attacks), ("extent", self.fractions), ("topology", self.topologies)):
            if not given or len(set(given)) < len(given):
                raise AgentError(f"a sweep takes each {name} once, and at least one")
        if "none" in self.attacks:
            raise AgentError("a sweep always tries no attack; it takes those that are some")
        if not all(0.0 < fraction < 1.0 for fraction in self.fractions):
            raise AgentError("an extent is more than 0 and less than 1")
        if self.seeds < 2:
            raise AgentError("a sweep takes at least 2 seeds, or there is no interval")
        if self.seeds * len(self.cells()) > _TRIALS_MAX:
            raise AgentError(f"a sweep takes at most {_TRIALS_MAX:,} trials: fewer seeds, attacks or extents")
        for cell in self.cells():
            self.trial(cell, self.first_seed)

    def check(self) -> None:
        """See whether there are such networks.

        Raises:
            InvalidTopologyError: a topology has no network of so many nodes, or it would not fit into memory.
        """
        for topology in self.topologies:
            TOPOLOGIES[topology](self.nodes, self.first_seed, self.degree)

    def cells(self) -> list[Cell]:
        """Every cell: of each topology first the one without an attack."""
        found: list[Cell] = []
        for topology in self.topologies:
            found.append(Cell("none", 0.0, topology))
            found += [Cell(attack, fraction, topology) for attack in self.attacks for fraction in self.fractions]
        return found

    def trial(self, cell: Cell, seed: int) -> Trial:
        """The trial of a cell with one seed, without defences.

        Raises:
            InvalidNetworkError: a value is out of bounds.
        """
        return Trial(
            attack=cell.attack,
            fraction=cell.fraction,
            defences=(),
            topology=cell.topology,
            nodes=self.nodes,
            degree=self.degree,
            rounds=self.rounds,
            ticks=self.ticks,
            seed=seed,
        )

    def trials(self) -> Iterator[tuple[Cell, int]]:
        """Every cell with every seed; seeds come last, so that a sweep that is stopped has whole seeds of all cells."""
        for seed in range(self.first_seed, self.first_seed + self.seeds):
            for cell in self.cells():
                yield cell, seed

    def digest(self) -> str:
        """Names what a trial of a cell is: plans of equal digest can share a journal."""
        trial = self.trial(Cell("none", 0.0, "small-world"), 0)
        return hashlib.sha256(msgspec.json.encode((trial, list(SYSTEMS.items())))).hexdigest()[:16]
