"""The measuring of `smesh bench`: what is timed, what is not, and that the baseline does the same."""

from __future__ import annotations

import gc
import time

import msgspec
import pytest
from smesh_agent.workflows.bench import Bench, Report, Row, Spread
from smesh_agent.workflows.bench import rows as measured
from smesh_agent.workflows.bench.baseline import PlainField, PlainNetwork, PlainSignal, hashed
from smesh_agent.workflows.bench.measure import Effort, measure
from smesh_core import Field, Signal, node_id
from smesh_core.network import Network
from smesh_core.topologies import small_world

ONCE = Effort(timed_s=0.0, repeats_min=3)


@pytest.fixture
def clock(monkeypatch):
    """A clock that only stands where it is put."""
    now = [0]
    monkeypatch.setattr(time, "perf_counter_ns", lambda: now[0])
    return now


def test_only_the_work_is_timed(clock) -> None:
    took = iter([999, 10, 20, 30, 40, 50])

    def prepare() -> int:
        clock[0] += 1_000
        return next(took)

    def work(ns: int) -> None:
        clock[0] += ns

    spread = measure(Effort(timed_s=0.0, repeats_min=5), 2, prepare, work)
    assert spread == Spread(median_ns=15.0, low_ns=10.0, high_ns=20.0, repeats=5)


def test_it_repeats_until_there_was_time_enough(clock) -> None:
    def work(_: None) -> None:
        clock[0] += 10_000_000

    assert measure(Effort(timed_s=0.1, repeats_min=3), 1, lambda: None, work).repeats == 10
    assert measure(Effort(timed_s=100.0, repeats_min=3), 1, lambda: None, work).repeats == 101


def test_preparing_has_an_end_too(clock) -> None:
    def prepare() -> None:
        clock[0] += 1_000_000_000

    assert measure(Effort(timed_s=1.0, repeats_min=2), 1, prepare, lambda _: None).repeats == 3


def test_the_garbage_collector_is_off_meanwhile_and_on_again(clock) -> None:
    states = []
    measure(ONCE, 1, lambda: None, lambda _: states.append(gc.isenabled()))
    assert not any(states)
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError):
        measure(ONCE, 1, lambda: None, lambda _: 1 // 0)
    assert gc.isenabled()


def test_the_baseline_hashes_what_the_core_hashes() -> None:
    ada = node_id("ada")
    ours = Signal(author=ada, seq=7, created_at_ns=0)
    plain = PlainSignal(author=ada, seq=7, created_at_ns=0, field_id=ours.field_id)
    assert hashed(plain) == ours.statement


def test_the_baseline_reads_the_same_values() -> None:
    ada, bo = node_id("ada"), node_id("bo")
    field, plain = Field(), PlainField()
    ref = field.emit(Signal(author=ada, seq=1, created_at_ns=0, confidence=0.5))
    identity = plain.emit(PlainSignal(author=ada, seq=1, created_at_ns=0, confidence=0.5))
    for now_ns in (0, 10**9, 20 * 10**9):
        assert plain.value(identity, now_ns) == pytest.approx(field.value(ref, now_ns))
    field.reinforce(ref, by=bo, now_ns=0)
    plain.reinforce(identity, bo)
    assert plain.value(identity, 10**9) == pytest.approx(field.value(ref, 10**9), rel=0.05)
    assert [signal.seq for _, signal in plain.sense(0)] == [1]
    assert plain.sense(40 * 10**9) == []


def test_the_baseline_network_does_about_as_much() -> None:
    """The same model with other random numbers: equal within chance."""
    topology = small_world(500, degree=4, rewired=0.1)
    plain = PlainNetwork(topology, radius=10, confidence=0.8, evidence=0.3, counter_evidence=0.1)
    ours = Network(topology, engine="numpy")
    for node in range(0, 500, 5):
        plain.emit(node)
    ours.emit_batch(range(0, 500, 5), radius=10, confidence=0.8, evidence=0.3, counter_evidence=0.1)
    stances = plain.signals[:]
    plain.run(50)
    ours.run(50)
    signals = ours.state.signals
    assert plain.arrivals == pytest.approx(int(signals["arrivals"].sum()) - 100, rel=0.15)
    assert sum(signal.supporters for signal in stances) == pytest.approx(int(signals["supporters"].sum()), rel=0.3)
    assert plain.signals == []


@pytest.fixture(scope="module")
def bench():
    done = Bench(quick=True, engine="numpy")
    for step in done.steps:
        step.run()
    return done.report()


def test_a_report_holds_every_row(bench) -> None:
    assert [row.name for row in bench.signals] == [
        "create", "create_hashed", "create_batch", "emit", "emit_batch", "sense", "reinforce", "reinforce_batch",
        "value", "read",
    ]  # fmt: skip
    assert [(row.nodes, row.signals, row.radius, row.how) for row in bench.networks] == [
        (100, 5, 5, "calls"), (100, 5, 5, "run"), (1000, 20, 50, "calls"), (1000, 20, 50, "run"),
    ]  # fmt: skip
    assert (bench.engine, bench.effort, bench.interrupted, bench.load_s) == ("numpy", "quick", False, 0.0)
    for row in bench.signals:
        assert 0 < row.ours.low_ns <= row.ours.median_ns <= row.ours.high_ns
        assert row.ours.repeats >= 3
        assert row.ratio == pytest.approx(row.baseline.median_ns / row.ours.median_ns)
    for row in bench.networks:
        assert row.arrival_ns == pytest.approx(row.tick.median_ns * row.ticks / row.arrivals)


def test_it_survives_encoding(bench) -> None:
    assert msgspec.json.decode(msgspec.json.encode(bench), type=Report) == bench


def test_what_was_stopped_says_so() -> None:
    stopped = Bench(quick=True, engine="numpy")
    for step in stopped.steps[:2]:
        step.run()
    report = stopped.report()
    assert report.interrupted
    assert [type(row) for row in report.signals] == [Row]


def test_a_large_network_is_measured_where_it_is_asked_for() -> None:
    names = [step.what for step in Bench(large=True).steps]
    assert names[-2:] == ["a network of 10,000 nodes", "a network of 1,000,000 nodes"]
    assert not any("1,000,000" in name for name in [step.what for step in Bench().steps])


def test_each_repeat_of_a_network_has_fresh_signals() -> None:
    size = measured.Size(60, 3, 5, 1, has_baseline=False)
    calls, run = measured.network_rows(ONCE, size, "numpy")
    assert (calls.baseline, calls.ratio, run.how) == (None, None, "run")
    assert 3 < calls.arrivals < 180
