"""The sweep behind `smesh resilience`: intervals, plans, journals, processes, and what a report says."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import msgspec
import pytest
import smesh_core
from hypothesis import given
from hypothesis import strategies as st
from smesh_agent.errors import AgentError
from smesh_agent.workflows.resilience import SYSTEMS, Cell, Done, Journal, Plan, Sweep, build, sweep
from smesh_agent.workflows.resilience.estimate import estimate
from smesh_agent.workflows.resilience.report import _crossing
from smesh_core import InvalidNetworkError, InvalidTopologyError
from smesh_core.trials import Result, run_trials

SMALL = Plan(attacks=("collusion",), fractions=(0.3,), seeds=3, nodes=20, rounds=2, ticks=12)
SHARES = st.floats(0.0, 1.0)


def result(**changes: float) -> Result:
    """Some result, but for what is given."""
    some = {"coverage": 0.5, "accuracy": 0.5, "fooled": 0.0, "suppressed": 0.0, "ticks_to_right": 3.0, "copies": 10.0}
    return Result(**(some | changes))


def done(plan: Plan, read) -> dict[tuple[Cell, int], Done]:
    """A whole sweep of made-up results."""
    return {
        (cell, seed): Done(cell, seed, {system: read(cell, seed, system) for system in SYSTEMS})
        for cell, seed in plan.trials()
    }


def held_by(path: Path, plan: Plan = SMALL) -> dict[tuple[Cell, int], Done]:
    """What a journal holds; opening it drops what was cut short."""
    with Journal(path, plan) as journal:
        return journal.done


# Intervals


@pytest.mark.parametrize(
    ("count", "t"), [(2, 12.706), (3, 4.303), (6, 2.571), (30, 2.045), (31, 2.042), (101, 1.984), (1001, 1.962)]
)
def test_an_interval_is_students(count: int, t: float) -> None:
    """The constants are those of printed tables."""
    values = [0.0] * (count - 1) + [1.0]
    found = estimate(values)
    deviation = (1 / count) ** 0.5  # of such values, whatever their number
    assert found.mean == pytest.approx(1 / count)
    assert found.half == pytest.approx(t * deviation / count**0.5, rel=3e-4)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=40), st.floats(-10, 10))
def test_an_interval_moves_with_its_values(values: list[float], by: float) -> None:
    one, other = estimate(values), estimate([value + by for value in values])
    assert one.low <= one.mean <= one.high
    assert other.mean == pytest.approx(one.mean + by, abs=1e-6)
    assert other.half == pytest.approx(one.half, abs=1e-6)


def test_a_single_value_has_no_interval() -> None:
    assert (estimate([0.7]).low, estimate([0.7]).high, estimate([0.7]).seeds) == (0.7, 0.7, 1)


# Plans


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"attacks": ()}, "each attack once, and at least one"),
        ({"attacks": ("spam", "spam")}, "each attack once"),
        ({"attacks": ("none",)}, "always tries no attack"),
        ({"fractions": (0.2, 0.2)}, "each extent once"),
        ({"fractions": (1.0,)}, "less than 1"),
        ({"fractions": (float("nan"),)}, "more than 0"),
        ({"topologies": ()}, "each topology once"),
        ({"seeds": 1}, "at least 2 seeds"),
        ({"seeds": 1_000_000}, "at most 1,000,000 trials"),
    ],
    ids=str,
)
def test_a_plan_that_is_none_is_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(AgentError, match=says):
        Plan(**changes)


@pytest.mark.parametrize("changes", [{"attacks": ("rumour",)}, {"topologies": ("star",)}, {"nodes": 1}], ids=str)
def test_what_no_trial_takes_is_refused_before_anything_runs(changes: dict[str, object]) -> None:
    with pytest.raises(InvalidNetworkError):
        Plan(**changes)


def test_networks_that_cannot_be_are_refused_before_anything_runs() -> None:
    with pytest.raises(InvalidTopologyError, match="fewer nodes"):
        Sweep(Plan(topologies=("full-mesh",), nodes=90_000))


def test_every_seed_is_tried_in_every_cell_before_the_next() -> None:
    plan = Plan(attacks=("spam", "silence"), fractions=(0.1, 0.2), topologies=("ring", "grid"), seeds=2, first_seed=5)
    trials = list(plan.trials())
    assert len(trials) == len(set(trials)) == 2 * 2 * (1 + 2 * 2)
    assert [seed for _, seed in trials] == [5] * 10 + [6] * 10
    assert {cell for cell, _ in trials[:10]} == set(plan.cells())


# Sweeps


@pytest.fixture(scope="module")
def whole() -> dict[tuple[Cell, int], Done]:
    """The small plan, tried in one process after the other."""
    systems = list(SYSTEMS.values())
    return {
        (cell, seed): Done(cell, seed, dict(zip(SYSTEMS, run_trials(SMALL.trial(cell, seed), systems), strict=True)))
        for cell, seed in SMALL.trials()
    }


def test_processes_come_to_what_one_does(whole) -> None:
    tried = Sweep(SMALL, jobs=2)
    told: list[int] = []
    tried.run(lambda: told.append(tried.finished))
    assert tried.done == whole
    assert told == [1, 2, 3, 4, 5, 6]


def test_a_stopped_sweep_keeps_what_was_done_and_another_goes_on(whole, tmp_path, monkeypatch) -> None:
    with Journal(tmp_path / "journal", SMALL) as journal:
        first = Sweep(SMALL, journal=journal, jobs=1)
        first.run(first.stop)
    held = held_by(tmp_path / "journal")
    assert held == first.done
    assert 0 < len(held) == first.finished < first.total
    ran: list[tuple[Cell, int]] = []
    trial_of = Plan.trial
    with Journal(tmp_path / "journal", SMALL) as journal:
        second = Sweep(SMALL, journal=journal, jobs=1)
        monkeypatch.setattr(Plan, "trial", lambda *asked: ran.append(asked[1:]) or trial_of(*asked))
        second.run()
    assert set(ran) == set(whole) - set(held)
    assert second.done == whole == held_by(tmp_path / "journal")


def test_a_sweep_that_is_stopped_before_it_began_runs_nothing() -> None:
    tried = Sweep(SMALL)
    tried.stop()
    tried.run()
    assert (tried.finished, tried.done) == (0, {})


def test_a_process_that_dies_is_named_and_loses_nothing(whole, tmp_path, monkeypatch) -> None:
    first, *_ = whole.values()
    with Journal(tmp_path / "journal", SMALL) as journal, monkeypatch.context() as patched:
        journal.add(first)
        patched.setattr(sweep, "_serve", os._exit)  # which ends it at once, whatever it is given
        with pytest.raises(AgentError, match="ended from outside, or ran out of memory"):
            Sweep(SMALL, journal=journal, jobs=1).run()
    assert held_by(tmp_path / "journal") == {(first.cell, first.seed): first}


# Journals


@pytest.fixture
def journal(tmp_path, whole) -> Path:
    path = tmp_path / "journal"
    with Journal(path, SMALL) as made:
        for one in whole.values():
            made.add(one)
    return path


def test_a_line_that_was_cut_short_is_dropped_and_written_again(journal, whole) -> None:
    text = journal.read_bytes()
    lines = text.splitlines(keepends=True)
    for end in range(len(text) - len(lines[-1]) + 1, len(text), 97):
        journal.write_bytes(text[:end])
        with Journal(journal, SMALL) as held:
            assert len(held.done) == len(whole) - 1
            held.add([*whole.values()][-1])
        assert journal.read_bytes() == text


def test_a_file_that_was_cut_in_its_first_line_begins_anew(journal) -> None:
    journal.write_bytes(journal.read_bytes()[:20])
    assert held_by(journal) == {}


@given(at=st.integers(0, 10**9), bit=st.integers(0, 7))
def test_a_bit_that_turned_is_refused_and_the_file_left_alone(tmp_path_factory, whole, at: int, bit: int) -> None:
    path = tmp_path_factory.mktemp("bits") / "journal"
    with Journal(path, SMALL) as made:
        for one in list(whole.values())[:2]:
            made.add(one)
    text = bytearray(path.read_bytes())
    at %= len(text)
    text[at] ^= 1 << bit
    path.write_bytes(text)
    if at == len(text) - 1:  # the newline itself: the line counts as cut short
        assert len(held_by(path)) == 1
        return
    with pytest.raises(AgentError, match=f"{path.name}"):
        Journal(path, SMALL)
    assert path.read_bytes() == bytes(text)


@pytest.mark.parametrize("text", [b"notes of mine\n", b"notes", b"\x00" * 100, b'{"a": 1}\n{"b": 2}\n'], ids=repr)
def test_a_file_of_something_else_is_left_alone(tmp_path, text) -> None:
    path = tmp_path / "mine"
    path.write_bytes(text)
    with pytest.raises(AgentError, match="mine"):
        Journal(path, SMALL)
    assert path.read_bytes() == text


def test_a_journal_takes_more_seeds_and_attacks_but_no_other_networks(journal, whole, monkeypatch) -> None:
    more = msgspec.structs.replace(SMALL, seeds=50, attacks=("spam", "collusion"), fractions=(0.1, 0.3))
    with Journal(journal, more) as held:
        assert held.done == whole
        assert Sweep(more, journal=held).finished == len(whole)
    for changes in ({"nodes": 21}, {"degree": 4}, {"rounds": 3}, {"ticks": 13}):
        with pytest.raises(AgentError, match="of other networks"):
            Journal(journal, msgspec.structs.replace(SMALL, **changes))
    monkeypatch.setattr(smesh_core, "__version__", "99.0.0")
    with pytest.raises(AgentError, match=r"and this is 99\.0\.0"):
        Journal(journal, SMALL)


def test_a_full_disk_is_said_and_what_was_written_before_is_held(whole, tmp_path) -> None:
    results = list(whole.values())
    with Journal(tmp_path / "journal", SMALL) as journal:
        journal.add(results[0])
        size, limits = (tmp_path / "journal").stat().st_size, resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, limits[1]))
        try:
            with pytest.raises(AgentError, match="cannot write"):
                journal.add(results[1])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(held_by(tmp_path / "journal").values()) == results[:1]


def test_a_place_where_no_journal_can_be(tmp_path) -> None:
    with pytest.raises(AgentError, match="no file that a journal can be kept in"):
        Journal(Path("/dev/full"), SMALL)
    with pytest.raises(AgentError, match="cannot write"):
        Journal(tmp_path / "missing" / "journal", SMALL)
    with pytest.raises(AgentError, match="cannot read"):
        Journal(tmp_path, SMALL)


# Reports


def test_costs_and_gains_are_of_the_same_seed() -> None:
    """What seeds differ by is large, and is in no interval of a difference."""
    luck = {0: 0.3, 1: 0.5, 2: 0.1}

    def read(cell: Cell, seed: int, system: str) -> Result:
        harm = 0.2 if cell.attack == "collusion" and system == "undefended" else 0.0
        return result(accuracy=0.4 + luck[seed] - harm, coverage=0.9 - 2 * harm)

    report = build(SMALL, done(SMALL, read))
    rows = {(row.attack, row.system): row for row in report.rows}
    bare, defended = rows["collusion", "undefended"], rows["collusion", "all"]
    assert bare.accuracy.half > 0.4
    assert (bare.accuracy_cost.mean, bare.accuracy_cost.half) == pytest.approx((-0.2, 0.0))
    assert (bare.coverage_cost.mean, bare.coverage_cost.half) == pytest.approx((-0.4, 0.0))
    assert (defended.accuracy_gain.mean, defended.accuracy_gain.half) == pytest.approx((0.2, 0.0))
    assert (defended.coverage_gain.mean, defended.accuracy_cost.mean) == pytest.approx((0.4, 0.0))
    assert len(report.rows) == 2 * len(SYSTEMS)


def test_only_seeds_of_which_all_was_tried_are_counted() -> None:
    found = done(SMALL, lambda cell, seed, system: result(accuracy=seed / 10))
    del found[SMALL.cells()[-1], 2]
    report = build(SMALL, found)
    assert (report.seeds, report.interrupted) == (2, True)
    assert {row.accuracy.mean for row in report.rows} == {0.05}
    empty = build(SMALL, {})
    assert (empty.seeds, empty.rows, empty.breaks, empty.behind) == (0, [], [], [])


def test_times_are_of_the_seeds_that_came_to_something() -> None:
    report = build(SMALL, done(SMALL, lambda cell, seed, system: result(ticks_to_right=None if seed else 4.0)))
    assert {row.ticks_to_right and (row.ticks_to_right.mean, row.ticks_to_right.seeds) for row in report.rows} == {
        (4.0, 1)
    }
    nothing = build(SMALL, done(SMALL, lambda cell, seed, system: result(ticks_to_right=None)))
    assert {row.ticks_to_right for row in nothing.rows} == {None}


def test_a_system_is_behind_where_the_whole_interval_says_so() -> None:
    def read(cell: Cell, seed: int, system: str) -> Result:
        sure = {"all": 0.6, "majority": 0.8, "central": 0.6 + (0.4, -0.3, 0.35)[seed]}
        return result(accuracy=sure.get(system, 0.6) if cell.attack == "collusion" else 0.6)

    report = build(SMALL, done(SMALL, read))
    assert {(one.attack, one.system, one.baseline) for one in report.behind} == {
        ("collusion", system, "majority") for system in ("lineages", "trust", "all")
    }
    assert {round(one.accuracy.mean, 9) for one in report.behind} == {-0.2}


def test_a_system_breaks_where_its_curve_crosses_the_bar() -> None:
    plan = msgspec.structs.replace(SMALL, fractions=(0.2, 0.4))
    curves = {
        "lineages": (0.9, 0.85, 0.81),
        "trust": (0.9, 0.7, 0.95),
        "all": (1.0, 0.9, 0.7),
        "roster": (0.7, 0.9, 0.9),
    }
    at = {0.0: 0, 0.2: 1, 0.4: 2}
    found = done(plan, lambda cell, seed, system: result(accuracy=curves.get(system, (0.9,) * 3)[at[cell.fraction]]))
    breaks = {one.system: one.fraction for one in build(plan, found).breaks}
    assert breaks["lineages"] is None
    assert breaks["trust"] == pytest.approx(0.1)
    assert breaks["all"] == pytest.approx(0.3)
    assert breaks["roster"] == 0.0
    assert build(plan, found, bar=0.5).breaks[0].fraction is None


@given(st.lists(SHARES, min_size=2, max_size=8), SHARES)
def test_the_crossing_is_the_first(levels: list[float], bar: float) -> None:
    points = [(place / 10, level) for place, level in enumerate(levels)]
    found = _crossing(points, bar)
    first = next((place for place, level in enumerate(levels) if level < bar), None)
    if first is None:
        assert found is None
    else:
        assert found is not None
        assert max(0, first - 1) / 10 <= found <= first / 10 + 1e-12
