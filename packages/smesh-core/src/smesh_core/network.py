"""A network: nodes, who is joined to whom, and the signals that spread among them, for simulation and study.

Time passes in ticks. What happens to a signal in a tick stands in `smesh_core.kernels.tick`; `run` brings together
what acts on all of them: emissions, and the failures, recoveries, partitions, healings and changes of conduct that were
scheduled. An event of tick t holds from t on.

The same seed, topology and calls give the same network, whatever the engine, the number of threads, and however the
ticks are divided into calls of `run`.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import numpy as np

from smesh_core import limits, survey
from smesh_core.conduct import Conduct
from smesh_core.consensus import Quorum
from smesh_core.decay import intensities
from smesh_core.engine import checked_engine, engine_for
from smesh_core.errors import InvalidNetworkError
from smesh_core.sensing import attend
from smesh_core.signal import DecayCurve
from smesh_core.state import DOWN, NEVER, NOWHERE, State

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from smesh_core.consensus import ConsensusPolicy
    from smesh_core.engine import Engine, EngineName
    from smesh_core.state import Table
    from smesh_core.topology import Topology
    from smesh_core.weights import Observer

__all__ = ["Event", "Network"]

_LIFE_TICKS_MAX: Final = 2**24
_AGES_AT_ONCE: Final = 1024


class Event(NamedTuple):
    """What befalls nodes from a tick on, as data.

    Attributes:
        kind: nodes go down or come up (`switch`), the network is parted (`part`), or conduct changes (`behave`).
        values: the nodes; where the network is parted, the side of every node.
        argument: whether the nodes are up, or their conduct; 0 where the network is parted.
    """

    kind: Literal["switch", "part", "behave"]
    values: NDArray[np.int64]
    argument: int

    def happen(self, state: State) -> None:
        """Let it."""
        if self.kind == "part":
            state.sides[:] = np.where(state.sides < 0, DOWN - self.values, self.values)
        elif self.kind == "switch":
            sides = state.sides[self.values]
            state.sides[self.values] = np.where((sides >= 0) == self.argument, sides, DOWN - sides)
        else:
            state.conducts[self.values] = self.argument


class Network:
    """Nodes, a topology, and the signals that spread over it.

    Args:
        topology: who is joined to whom; a node is named by its index there.
        seed: of all randomness.
        tick_ns: how long a tick is, in nanoseconds of simulated time.
        threshold: the weakest signal that a node senses, in [0, 1]; one, or one for each node.
        capacity: signals that a node can attend to in one tick, the strongest first; one, or one for each node; None
            for no bound.
        trust: what nodes think of each other, in [0.01, 0.99], where no pair has a trust of its own; one, or one for
            each node as an origin.
        lineages: for each node the number of its lineage; None gives each its own.
        quorum: what consensus needs.
        engine: "numba" or "numpy"; None takes numba where it is installed.

    Raises:
        InvalidNetworkError: a value is out of bounds.
        EngineError: the engine that was asked for cannot be loaded.
    """

    def __init__(
        self,
        topology: Topology,
        *,
        seed: int = 0,
        tick_ns: int = 10**9,
        threshold: ArrayLike = limits.SENSE_THRESHOLD,
        capacity: ArrayLike | None = None,
        trust: ArrayLike = limits.TRUST_DEFAULT,
        lineages: ArrayLike | None = None,
        quorum: Quorum | None = None,
        engine: EngineName | None = None,
    ) -> None:
        self.topology = topology
        self.seed = _seed(seed)
        self.quorum = quorum or Quorum()
        self.tick = 0
        self.tick_ns = _whole("tick_ns", tick_ns, 1, limits.TTL_MAX_NS)
        self.state = State(topology, seed=self.seed, quorum=(self.quorum.weight, self.quorum.lineages))
        self.engine: EngineName = checked_engine(engine)
        self._engine: Engine | None = None
        state, count = self.state, topology.node_count
        state.thresholds[:] = _numbers("threshold", threshold, 0.0, 1.0, count)
        state.trusts[:] = _numbers("trust", trust, limits.TRUST_MIN, limits.TRUST_IN_SELF, count)
        state.capacities[:] = NEVER if capacity is None else _whole_numbers("capacity", capacity, 0, NEVER, count)
        self.lineages = np.arange(count) if lineages is None else _lineages(lineages, count)
        self._is_attention_bounded = capacity is not None
        self.state.world["is_attention_bounded"] = self._is_attention_bounded
        self.state.world["is_lineage_own"] = lineages is None
        self._decays: dict[tuple[int, float, float, int], tuple[int, int]] = {}
        self._events: dict[int, list[Event]] = {}
        self._trusts: dict[tuple[int, int], float] = {}

    @property
    def node_count(self) -> int:
        """How many nodes there are."""
        return self.topology.node_count

    @property
    def signal_count(self) -> int:
        """How many signals were emitted."""
        return self.state.signal_count

    # ---- emitting

    def emit(self, node: int, **attributes: Any) -> int:
        """Emit one signal; see `emit_batch` for its attributes. Returns its number."""
        return int(self.emit_batch([node], **attributes)[0])

    def emit_batch(
        self,
        nodes: ArrayLike,
        *,
        confidence: ArrayLike = 1.0,
        intensity: ArrayLike = 1.0,
        decay: DecayCurve = DecayCurve.EXPONENTIAL,
        rate_per_s: ArrayLike = limits.RATE_DEFAULT_PER_S,
        ttl_ns: ArrayLike = limits.TTL_DEFAULT_NS,
        radius: ArrayLike = limits.RADIUS_HOPS_DEFAULT,
        evidence: ArrayLike = 0.0,
        counter_evidence: ArrayLike = 0.0,
        at_tick: ArrayLike | None = None,
    ) -> NDArray[np.int64]:
        """Emit one signal from each of these nodes; every attribute is one, or one for each signal.

        Args:
            nodes: who emits, shape (n,).
            confidence: how sure the author is, in [0, 1].
            intensity: strength at emission, in [0, 1].
            decay: how intensity fades.
            rate_per_s: the decay's rate λ, per second.
            ttl_ns: life, in nanoseconds.
            radius: how many hops it travels.
            evidence: part of the nodes that hold evidence for it, in [0, 1].
            counter_evidence: part of the nodes that hold evidence against it; with `evidence` at most 1.
            at_tick: when, now or later; None is now.

        Returns:
            The signals' numbers, shape (n,), which count up from 0. A node that is down at its tick emits all the
            same: what it said stands, and is asked for when it is up.

        Raises:
            InvalidNetworkError: a value is out of bounds.
        """
        origins = _nodes(nodes, self.node_count)
        count = len(origins)
        shares_for = _numbers("evidence", evidence, 0.0, 1.0, count)
        shares_against = _numbers("counter_evidence", counter_evidence, 0.0, 1.0, count)
        if np.any(shares_for + shares_against > 1.0):
            raise InvalidNetworkError("evidence and counter_evidence are shares of the same nodes: at most 1 together")
        decays = self._decay_tables(
            _curve(decay),
            _numbers("intensity", intensity, 0.0, 1.0, count),
            _numbers("rate_per_s", rate_per_s, 0.0, limits.RATE_MAX_PER_S, count),
            _whole_numbers("ttl_ns", ttl_ns, 1, limits.TTL_MAX_NS, count).astype(np.int64),
        )
        columns = {
            "confidence": _numbers("confidence", confidence, 0.0, 1.0, count),
            "radius": _whole_numbers("radius", radius, 0, limits.RADIUS_HOPS_MAX, count),
            "born": _whole_numbers("at_tick", self.tick if at_tick is None else at_tick, self.tick, NEVER, count),
            "for_share": shares_for,
            "against_share": shares_against,
            "origin": origins,
            "decay": decays[:, 0],
            "life": decays[:, 1],
        }
        numbers = np.arange(self.signal_count, self.signal_count + count)
        added = self.state.add_signals(count)
        for name, values in columns.items():
            added[name] = values
        added["number"] = numbers
        added["next"] = np.where(added["life"] > 0, added["born"], NEVER)
        added["arrivals"] = 1
        added["reached_tick"] = added["rejected_tick"] = NEVER
        first = added["arrivals_at"]
        arrivals = self.state.arrivals
        arrivals[first] = np.zeros(1, arrivals.dtype)
        arrivals["node"][first], arrivals["via"][first], arrivals["attenuation"][first] = origins, NOWHERE, 1.0
        return numbers

    def _decay_tables(
        self,
        curve: int,
        intensity: NDArray[np.float64],
        rate_per_s: NDArray[np.float64],
        ttl_ns: NDArray[np.int64],
    ) -> NDArray[np.int64]:
        """For each signal, where its table of intensities by age begins, and how many ticks it lives; shape (n, 2)."""
        asked = np.stack([intensity, rate_per_s, ttl_ns.astype(np.float64)], axis=1)
        if len(asked) and np.all(asked == asked[0]):
            first, of = np.zeros(1, np.int64), np.zeros(len(asked), np.int64)
        else:
            _, first, of = np.unique(asked, axis=0, return_index=True, return_inverse=True)
        tables = [self._decay_table(curve, float(intensity[i]), float(rate_per_s[i]), int(ttl_ns[i])) for i in first]
        return np.array(tables, np.int64).reshape(-1, 2)[of.reshape(-1)]

    def _decay_table(self, curve: int, intensity: float, rate_per_s: float, ttl_ns: int) -> tuple[int, int]:
        named = (curve, intensity, rate_per_s, ttl_ns)
        if named not in self._decays:
            table = _intensity_by_age(*named, self.tick_ns)
            self._decays[named] = len(self.state.intensities), len(table)
            self.state.intensities = np.append(self.state.intensities, table)
            self.state.touch()
        return self._decays[named]

    # ---- trust

    def set_trust(self, observer: int, origin: int, trust: float) -> None:
        """Let one node think of another in a way of its own.

        Raises:
            InvalidNetworkError: a value is out of bounds.
        """
        self.set_trusts([observer], [origin], trust)

    def set_trusts(self, observers: ArrayLike | None, origins: ArrayLike, trusts: ArrayLike) -> None:
        """Set what each observer thinks of each origin; arrays of one shape (n,), `trusts` in [0.01, 0.99].

        It counts for hyphae that are asked from now on, and for stances. Where `observers` is None it is what everybody
        thinks who has no trust of its own in that origin.

        Raises:
            InvalidNetworkError: a value is out of bounds.
        """
        observed = _nodes(origins, self.node_count)
        if observers is None:
            values = _numbers("trust", trusts, limits.TRUST_MIN, limits.TRUST_IN_SELF, len(observed))
            self.state.trusts[observed] = values
            return
        observing = _nodes(observers, self.node_count)
        if len(observed) != len(observing):
            raise InvalidNetworkError(
                f"trust takes as many observers as origins, not {len(observing)} and {len(observed)}"
            )
        values = _numbers("trust", trusts, limits.TRUST_MIN, limits.TRUST_IN_SELF, len(observed))
        self._trusts.update(zip(zip(observed.tolist(), observing.tolist(), strict=True), values.tolist(), strict=True))
        pairs = sorted(self._trusts)
        origin_of = np.array([origin for origin, _ in pairs], np.int64)
        state = self.state
        state.pair_offsets = np.zeros(self.node_count + 1, np.int64)
        np.cumsum(np.bincount(origin_of, minlength=self.node_count), out=state.pair_offsets[1:])
        state.pair_observers = np.array([observer for _, observer in pairs], np.int32)
        state.pair_trusts = np.array([self._trusts[pair] for pair in pairs])
        state.world["is_trust_paired"] = 1
        state.touch()

    # ---- events

    def fail(self, nodes: ArrayLike, *, at_tick: int | None = None) -> None:
        """Take nodes down: they neither receive nor relay, and keep what they hold."""
        self._switch(nodes, is_up=0, at_tick=at_tick)

    def recover(self, nodes: ArrayLike, *, at_tick: int | None = None) -> None:
        """Bring nodes up again, with all that they held."""
        self._switch(nodes, is_up=1, at_tick=at_tick)

    def partition(self, sides: ArrayLike, *, at_tick: int | None = None) -> None:
        """Part the network: copies pass only between nodes of one side.

        Args:
            sides: a whole number for each node, shape (nodes,).
            at_tick: from when, now or later; None is now.

        Raises:
            InvalidNetworkError: not one side for each node, or a tick that has passed.
        """
        parted = _array("sides", sides)
        if parted.shape != (self.node_count,) or parted.dtype.kind not in "iub":
            raise InvalidNetworkError(f"sides take one whole number for each of the {self.node_count} nodes")
        _, side = np.unique(parted, return_inverse=True)
        self._schedule(Event("part", side.astype(np.int64), 0), at_tick)

    def heal(self, *, at_tick: int | None = None) -> None:
        """End every partition."""
        self.partition(np.zeros(self.node_count, np.int64), at_tick=at_tick)

    def behave(self, nodes: ArrayLike, conduct: Conduct, *, at_tick: int | None = None) -> None:
        """Let nodes behave in some way from a tick on; `Conduct.HONEST` brings them back to the rules.

        What a node has relayed, and the stances it has taken, stay.

        Raises:
            InvalidNetworkError: there is no such node or conduct, or the tick has passed.
        """
        chosen = _nodes(nodes, self.node_count)
        if not isinstance(conduct, Conduct):
            raise InvalidNetworkError(f"a conduct is a Conduct, not {conduct!r}")
        self._schedule(Event("behave", chosen, int(conduct)), at_tick)

    def _switch(self, nodes: ArrayLike, *, is_up: int, at_tick: int | None) -> None:
        self._schedule(Event("switch", _nodes(nodes, self.node_count), is_up), at_tick)

    def _schedule(self, event: Event, at_tick: int | None) -> None:
        tick = self.tick if at_tick is None else _whole("at_tick", at_tick, self.tick, NEVER)
        self._events.setdefault(tick, []).append(event)

    # ---- time

    def run(self, ticks: int, *, threads: int = 1, on_tick: Callable[[Network], None] | None = None) -> None:
        """Let time pass.

        Between events this is one call of the kernel. With `on_tick` it is one for every tick.

        Args:
            ticks: how many.
            threads: how many to share the signals among; the result is the same for any number.
            on_tick: called after each tick.

        Raises:
            InvalidNetworkError: a value is out of bounds.
        """
        if not (type(ticks) is int and ticks >= 0 and type(threads) is int and 1 <= threads <= limits.THREADS_MAX):
            raise InvalidNetworkError(f"ticks are 0 or more and threads 1 to {limits.THREADS_MAX}, as whole numbers")
        end = self.tick + ticks
        if end > limits.TICK_MAX:
            raise InvalidNetworkError(f"time ends with tick {limits.TICK_MAX}")
        if self._engine is None:
            self._engine = engine_for(self.state, self.engine)
        while self.tick < end:
            until = end if on_tick is None else self.tick + 1
            if self._events:
                until = self._happen(until)
            self._engine.run(until, threads)
            if self._is_attention_bounded:
                attend(self.state, self.tick, until)
            self.tick = until
            if on_tick is not None:
                on_tick(self)

    def _happen(self, until: int) -> int:
        """Let the events of this tick happen; returns the tick of the next, if that is before `until`."""
        for event in self._events.pop(self.tick, []):
            event.happen(self.state)
        self.state.note_troubles()
        return min(until, min(self._events, default=until))

    # ---- reading

    def arrivals(self) -> Table:
        """Every arrival so far, origins included, by (signal, tick, node); fields as in `survey.ARRIVALS`."""
        return survey.arrivals(self)

    def counters(self) -> survey.Counters:
        """What each node did so far: emitted, sensed, reinforced, inhibited, relayed."""
        return survey.counters(self)

    def coverage_by_tick(self) -> NDArray[np.float64]:
        """Part of all (signal, node) pairs reached by the end of each tick; shape (ticks,)."""
        return survey.coverage_by_tick(self)

    def verdicts(self, observer: Observer | None = None, policy: ConsensusPolicy | None = None) -> survey.Verdicts:
        """What consensus says about each signal, from all stances taken so far.

        Args:
            observer: whose weights and lineages count, by ids as `survey.node_id_of` gives them; None counts every node
                fully, in the network's own lineages.
            policy: how votes become an answer; None is the network's quorum.
        """
        if observer is None and policy is None:
            return survey.verdicts(self)
        return survey.verdicts_for(self, observer or survey.roster_of(self), policy or self.quorum)

    def values(self) -> NDArray[np.float64]:
        """Effective strength of each signal now, in [0, 1]; shape (signals,)."""
        return survey.values(self)

    def digest(self) -> str:
        """A SHA-256, in hexadecimal, of all that the network holds; equal exactly where networks are."""
        return survey.digest(self)


def _intensity_by_age(
    curve: int, intensity: float, rate_per_s: float, ttl_ns: int, tick_ns: int
) -> NDArray[np.float64]:
    """Intensity at ages 0, 1, ... ticks, for as long as the signal is live."""
    ages: list[NDArray[np.float64]] = []
    for first in range(0, _LIFE_TICKS_MAX, _AGES_AT_ONCE):
        ticks = min(_AGES_AT_ONCE, max(0, -(-ttl_ns // tick_ns) - first))
        age_ns = np.arange(first, first + ticks, dtype=np.int64) * tick_ns
        shape = len(age_ns)
        table = intensities(
            np.full(shape, curve, np.uint8),
            np.full(shape, intensity),
            np.full(shape, rate_per_s),
            -age_ns,
            np.full(shape, ttl_ns),
            0,
        )
        live = table[table >= limits.INTENSITY_MIN]
        ages.append(live)
        if len(live) < _AGES_AT_ONCE:
            return np.concatenate(ages)
    raise InvalidNetworkError(f"a signal would live more than {_LIFE_TICKS_MAX} ticks: take a longer tick")


def _array(name: str, given: ArrayLike) -> NDArray[Any]:
    try:
        return np.array(given)
    except ValueError:
        raise InvalidNetworkError(f"{name} take an array, not lists of different lengths") from None


def _nodes(given: ArrayLike, count: int) -> NDArray[np.int64]:
    """Names of nodes, as an array of our own."""
    nodes = np.atleast_1d(_array("nodes", given))
    is_sound = nodes.ndim == 1 and (nodes.dtype.kind in "iu" or not len(nodes))
    if not (is_sound and np.all((nodes >= 0) & (nodes < count))):
        raise InvalidNetworkError(f"nodes are whole numbers in [0, {count - 1}]")
    return nodes.astype(np.int64)


def _seed(given: int) -> int:
    try:
        return operator.index(given)
    except TypeError:
        raise InvalidNetworkError(f"a seed is a whole number, not {given!r}") from None


def _curve(given: DecayCurve) -> int:
    try:
        return int(DecayCurve(given))
    except ValueError:
        raise InvalidNetworkError(f"decay takes a DecayCurve, not {given!r}") from None


def _whole_numbers(name: str, given: ArrayLike, low: int, high: int, count: int) -> NDArray[np.int64]:
    """One whole number for each of `count`, checked."""
    values = _numbers(name, given, low, high, count)
    if values.dtype.kind not in "iu" and len(values):
        raise InvalidNetworkError(f"{name} takes whole numbers, not {values.dtype}")
    return values


def _numbers(name: str, given: ArrayLike, low: float, high: float, count: int) -> NDArray[Any]:
    """One number for each of `count`, checked."""
    values = _array(name, given)
    if values.dtype.kind not in "iuf" or values.shape not in {(), (count,)}:
        raise InvalidNetworkError(f"{name} takes a number, or {count} of them")
    if not np.all((values >= low) & (values <= high)):
        raise InvalidNetworkError(f"{name} takes numbers in [{low:g}, {high:g}]")
    return np.broadcast_to(values, (count,))


def _whole(name: str, given: int, low: int, high: int) -> int:
    if type(given) is not int or not low <= given <= high:
        raise InvalidNetworkError(f"{name} takes a whole number in [{low}, {high}], not {given!r}")
    return given


def _lineages(given: ArrayLike, count: int) -> NDArray[np.int64]:
    lineages = _array("lineages", given)
    if lineages.shape != (count,) or lineages.dtype.kind not in "iu":
        raise InvalidNetworkError(f"lineages take one whole number for each of the {count} nodes")
    _, numbered = np.unique(lineages, return_inverse=True)
    return numbered.astype(np.int64)
