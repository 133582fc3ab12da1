"""What is measured: signals and fields by rows of (what, ours, baseline), networks by size."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import numpy as np
from smesh_core import Field, Signal, SignalBatch, node_id
from smesh_core.network import Network
from smesh_core.topologies import small_world

from smesh_agent.workflows.bench.baseline import PlainField, PlainNetwork, PlainSignal, hashed
from smesh_agent.workflows.bench.measure import measure
from smesh_agent.workflows.bench.report import NetworkRow, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from smesh_core import Ref, Refs
    from smesh_core.engine import EngineName

    from smesh_agent.workflows.bench.measure import Effort

    Work: TypeAlias = tuple[Callable[[], Any], Callable[[Any], object]]

__all__ = ["Size", "field_rows", "network_rows", "signal_rows"]

_ADA, _BO = node_id("ada"), node_id("bo")
_NOW_NS: Final = 10**9
_PAYLOAD: Final = b"payload"
_TICKS: Final = 50
"""Longer than a signal lives at the default rate."""
_CONFIDENCE, _EVIDENCE, _COUNTER_EVIDENCE = 0.8, 0.3, 0.1


class _Plan(NamedTuple):
    """A row to be measured."""

    name: str
    what: str
    ours: Work
    baseline: Work | None


class Size(NamedTuple):
    """A network to be measured.

    Attributes:
        nodes: how many.
        signals: emitted before each repeat.
        radius: how far they travel.
        threads: at work.
        has_baseline: whether plain Python does it in reasonable time.
    """

    nodes: int
    signals: int
    radius: int
    threads: int
    has_baseline: bool


def signal_rows(effort: Effort, items: int) -> Iterator[tuple[str, Callable[[], Row]]]:
    """Creating signals, in steps: what a step does, and the step."""
    nothing = lambda: None  # noqa: E731

    def batch(_: None) -> object:
        return SignalBatch(author=_ADA, seq=np.arange(items), created_at_ns=0, payload=_PAYLOAD)

    plain = (nothing, lambda _: _plain(items))
    plain_hashed = (nothing, lambda _: [hashed(signal) for signal in _plain(items)])
    plans = [
        _Plan("create", "create a signal, its hash not asked for", (nothing, lambda _: _signals(items)), plain),
        _Plan(
            "create_hashed",
            "create a signal and its hash",
            (nothing, lambda _: [signal.statement for signal in _signals(items)]),
            plain_hashed,
        ),
        _Plan("create_batch", "create signals as one batch", (nothing, batch), plain),
    ]
    return _steps(effort, items, plans)


def field_rows(effort: Effort, items: int) -> Iterator[tuple[str, Callable[[], Row]]]:
    """A field that holds `items` signals, in steps."""

    def emit(given: tuple[Any, list[Any]]) -> object:
        field, signals = given
        return [field.emit(signal) for signal in signals]

    def empty() -> tuple[Field, SignalBatch]:
        return Field(), SignalBatch(author=_ADA, seq=np.arange(items), created_at_ns=0, payload=_PAYLOAD)

    def reinforce(given: tuple[Field, list[Ref], bytes]) -> object:
        field, refs, node = given
        return [field.reinforce(ref, by=node, now_ns=_NOW_NS) for ref in refs]

    def reinforce_plain(given: tuple[PlainField, list[bytes], bytes]) -> None:
        field, identities, node = given
        for identity in identities:
            field.reinforce(identity, node)

    def reinforce_batch(given: tuple[Field, Refs, bytes]) -> object:
        field, refs, node = given
        return field.reinforce_batch(refs, by=node, now_ns=_NOW_NS)

    fresh = (node_id(f"node {number}") for number in count())
    field, refs = _filled(items)
    base, identities = _filled_plain(items)
    reinforce((field, refs, _BO))
    reinforce_plain((base, identities, _BO))
    plain_reinforce: Work = (lambda: (*_filled_plain(items), next(fresh)), reinforce_plain)
    plain_values: Work = (lambda: None, lambda _: [base.value(identity, _NOW_NS) for identity in identities])
    plain_emit: Work = (lambda: (PlainField(), _plain(items)), emit)
    plans = [
        _Plan("emit", "emit one at a time", (lambda: (Field(), _signals(items)), emit), plain_emit),
        _Plan("emit_batch", "emit a batch", (empty, lambda given: given[0].emit_batch(given[1])), plain_emit),
        _Plan(
            "sense",
            "sense all, one supporter each",
            (lambda: field, lambda field: field.sense(_NOW_NS)),
            (lambda: base, lambda base: base.sense(_NOW_NS)),
        ),
        _Plan(
            "reinforce",
            "reinforce one at a time",
            (lambda: (*_filled(items), next(fresh)), reinforce),
            plain_reinforce,
        ),
        _Plan(
            "reinforce_batch",
            "reinforce all at once",
            (lambda: (*_filled_at_once(items), next(fresh)), reinforce_batch),
            plain_reinforce,
        ),
        _Plan(
            "value",
            "read the value of one of many",
            (lambda: None, lambda _: [field.value(ref, _NOW_NS) for ref in refs]),
            plain_values,
        ),
        _Plan(
            "read",
            "read value, verdict, emissions, positions",
            (lambda: None, lambda _: [field.read(ref, _NOW_NS) for ref in refs]),
            plain_values,
        ),
    ]
    return _steps(effort, items, plans)


def _steps(effort: Effort, items: int, plans: list[_Plan]) -> Iterator[tuple[str, Callable[[], Row]]]:
    for plan in plans:

        def step(plan: _Plan = plan) -> Row:
            ours = measure(effort, items, *plan.ours)
            base = measure(effort, items, *plan.baseline) if plan.baseline else None
            ratio = base.median_ns / ours.median_ns if base else None
            return Row(plan.name, plan.what, items, ours, base, ratio)

        yield plan.what, step


def network_rows(effort: Effort, size: Size, engine: EngineName) -> list[NetworkRow]:
    """A network that has run for a while: one call for each tick, and one for all."""
    topology = small_world(size.nodes, degree=4, rewired=0.1)
    network = Network(topology, engine=engine)
    origins = np.arange(size.signals) * size.nodes // size.signals
    repeats = [0]

    def emit() -> Network:
        network.emit_batch(
            origins,
            confidence=_CONFIDENCE,
            evidence=_EVIDENCE,
            counter_evidence=_COUNTER_EVIDENCE,
            radius=size.radius,
        )
        repeats[0] += 1
        return network

    def arrivals() -> int:
        return int(network.state.signals["arrivals"].sum()) - network.signal_count

    def calls(network: Network) -> None:
        for _ in range(_TICKS):
            network.run(1, threads=size.threads)

    def run(network: Network) -> None:
        network.run(_TICKS, threads=size.threads)

    baseline = _plain_network(effort, size, topology) if size.has_baseline else None
    rows = []
    for how, work in (("calls", calls), ("run", run)):
        before, repeats[0] = arrivals(), 0
        tick = measure(effort, _TICKS, emit, work)
        arrived = (arrivals() - before) / max(1, repeats[0])
        rows.append(
            NetworkRow(
                nodes=size.nodes,
                signals=size.signals,
                radius=size.radius,
                ticks=_TICKS,
                how=how,
                threads=size.threads,
                arrivals=arrived,
                tick=tick,
                arrival_ns=tick.median_ns * _TICKS / arrived if arrived else 0.0,
                baseline=baseline,
                ratio=baseline.median_ns / tick.median_ns if baseline else None,
            )
        )
    return rows


def _plain_network(effort: Effort, size: Size, topology: Any) -> Any:
    network = PlainNetwork(
        topology,
        radius=size.radius,
        confidence=_CONFIDENCE,
        evidence=_EVIDENCE,
        counter_evidence=_COUNTER_EVIDENCE,
    )

    def emit() -> PlainNetwork:
        for signal in range(size.signals):
            network.emit(signal * size.nodes // size.signals)
        return network

    return measure(effort, _TICKS, emit, lambda network: network.run(_TICKS))


def _signals(items: int) -> list[Signal]:
    return [Signal(author=_ADA, seq=number, created_at_ns=0, payload=_PAYLOAD) for number in range(items)]


def _plain(items: int) -> list[PlainSignal]:
    return [PlainSignal(author=_ADA, seq=number, created_at_ns=0, payload=_PAYLOAD) for number in range(items)]


def _filled(items: int) -> tuple[Field, list[Ref]]:
    field = Field()
    return field, [field.emit(signal) for signal in _signals(items)]


def _filled_at_once(items: int) -> tuple[Field, Refs]:
    field = Field()
    batch = SignalBatch(author=_ADA, seq=np.arange(items), created_at_ns=0, payload=_PAYLOAD)
    return field, field.emit_batch(batch)


def _filled_plain(items: int) -> tuple[PlainField, list[bytes]]:
    field = PlainField()
    return field, [field.emit(signal) for signal in _plain(items)]
