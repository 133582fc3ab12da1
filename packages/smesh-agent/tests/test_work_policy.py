"""What an agent decides: when it claims, and what; against the hazard that the formulas come from."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smesh_agent.work.board import Board
from smesh_agent.work.policy import (
    THETA_DEFAULT,
    THETA_MAX,
    THETA_MIN,
    Tempo,
    adapted,
    choose,
    claim_probability,
    waiting_time_s,
)
from smesh_core import node_id
from smesh_core.payload import Claim, Failure, Task, signal_of

S = 10**9
ADA, BO, CY = (node_id(name) for name in ("ada", "bo", "cy"))
THETAS = st.floats(THETA_MIN, THETA_MAX)
DRAWS = st.floats(1e-12, 1 - 1e-12)
PATIENT = Tempo(tau_s=1.0, longest_s=1e6)


def hazard(priority: float, theta: float, until_s: float, tempo: Tempo, steps: int = 2000) -> float:
    """The cumulated hazard, from its definition: in each Δt a claim has probability 1 - (1 - p)^(Δt/τ)."""
    delta_s = until_s / steps
    survived = 0.0
    for step in range(steps):
        stimulus = max(priority, 0.05) + tempo.growth_per_s * (step + 0.5) * delta_s
        survived += math.log(1 - claim_probability(stimulus, theta)) * delta_s / tempo.tau_s
    return -survived


@pytest.mark.parametrize("growth", [0.0, 0.05, 2.0])
@given(priority=st.floats(0, 1), theta=THETAS, drawn=DRAWS, tau=st.floats(0.01, 10.0))
def test_the_time_that_is_drawn_is_that_of_the_hazard(growth, priority, theta, drawn, tau) -> None:
    tempo = Tempo(tau_s=tau, growth_per_s=growth, longest_s=1e6)
    wait_s = waiting_time_s(priority, theta, drawn, tempo)
    assert hazard(priority, theta, wait_s, tempo) == pytest.approx(-math.log(drawn), rel=0.02, abs=0.02)


@given(priority=st.floats(0, 0.9), theta=THETAS, drawn=DRAWS)
def test_who_is_readier_or_more_wanted_waits_less(priority, theta, drawn) -> None:
    wait_s = waiting_time_s(priority, theta, drawn, PATIENT)
    assert waiting_time_s(priority + 0.1, theta, drawn, PATIENT) <= wait_s
    assert waiting_time_s(priority, max(THETA_MIN, theta - 0.1), drawn, PATIENT) <= wait_s
    assert waiting_time_s(priority, theta, drawn, Tempo(tau_s=0.0)) == 0.0


@given(theta=THETAS, drawn=DRAWS, longest=st.floats(0.1, 100.0), growth=st.sampled_from([0.0, 0.05]))
def test_nothing_starves(theta, drawn, longest, growth) -> None:
    tempo = Tempo(tau_s=1e9, longest_s=longest, growth_per_s=growth)
    assert waiting_time_s(0.0, theta, drawn, tempo) <= longest


def test_the_response_is_a_half_where_the_stimulus_is_the_threshold() -> None:
    assert claim_probability(0.3, 0.3) == 0.5
    assert claim_probability(0.9, 0.1) > 0.98


@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans()), max_size=60))
def test_thresholds_stay_within_bounds_and_fall_with_success(history) -> None:
    thresholds: dict[str, float] = {}
    for skill, succeeded in history:
        before = thresholds.get(skill, THETA_DEFAULT)
        thresholds = adapted(thresholds, skill, succeeded=succeeded)
        assert all(THETA_MIN <= theta <= THETA_MAX for theta in thresholds.values())
        assert thresholds[skill] <= before if succeeded else thresholds[skill] >= before


def test_who_does_well_at_one_thing_grows_strange_to_others() -> None:
    thresholds = {"a": 0.5, "b": 0.5}
    for _ in range(5):
        thresholds = adapted(thresholds, "a", succeeded=True)
    assert thresholds["a"] == THETA_MIN
    assert thresholds["b"] == pytest.approx(0.6)


# Choosing


class Said:
    """A board and ways to say things to it."""

    def __init__(self, trust: float = 0.5) -> None:
        self.board = Board(trust=lambda _: trust)
        self._seq = 0

    def says(self, author: bytes, payload, now_ns: int = 0) -> bytes:
        self._seq += 1
        signal = signal_of(payload, author=author, seq=self._seq, created_at_ns=0, deadline_ns=10**15)
        self.board.take(signal, now_ns)
        return signal.statement

    def choice(self, agent: bytes = ADA, *skills: str, tempo: Tempo | None = None, now_ns: int = 0, **options):
        found = choose(
            self.board, agent, ("", *skills), options.pop("thresholds", {}), tempo or Tempo(), now_ns, **options
        )
        return found and (found.entry.id, found.attempt, found.due_ns)


def test_only_what_one_can_do_is_chosen_and_the_most_wanted_first() -> None:
    said = Said()
    assert said.choice(ADA, "s") is None
    said.says(CY, Task(what="not mine", skill="t", priority=1.0))
    assert said.choice(ADA, "s") is None
    low = said.says(CY, Task(what="low", skill="s", priority=0.1))
    assert said.choice(ADA, "s") == (low, 1, 0)
    anybodys = said.says(CY, Task(what="anybody's", priority=0.5))
    assert said.choice(ADA, "s") == (anybodys, 1, 0)
    high = said.says(CY, Task(what="high", skill="s", priority=0.9))
    assert said.choice(ADA, "s") == (high, 1, 0)
    said.says(BO, Claim(task=high.hex(), attempt=1, lease_s=5, started=True))
    assert said.choice(ADA, "s") == (anybodys, 1, 0)


def test_of_two_skills_the_more_familiar_is_chosen() -> None:
    said = Said()
    first = said.says(CY, Task(what="1", skill="s"))
    second = said.says(CY, Task(what="2", skill="t"))
    assert said.choice(ADA, "s", "t", thresholds={"s": 0.9, "t": 0.1})[0] == second
    assert said.choice(ADA, "s", "t", thresholds={"s": 0.1, "t": 0.9})[0] == first


def test_what_takes_effect_is_its_owners() -> None:
    said = Said()
    task = said.says(CY, Task(what="pay", effectful=True, owner=BO.hex(), key="7"))
    assert said.choice(ADA) is None
    assert said.choice(BO) == (task, 1, 0)


def test_who_is_not_trusted_claims_nothing() -> None:
    said = Said(trust=0.2)
    said.says(CY, Task(what="x"))
    assert said.choice(ADA) is None


def test_who_has_failed_at_it_leaves_it_to_others_for_a_while() -> None:
    said = Said()
    task = said.says(CY, Task(what="x"))
    said.says(ADA, Claim(task=task.hex(), attempt=1, lease_s=5, started=True), 1)
    said.says(ADA, Failure(task=task.hex(), attempt=1, reason="no"), 2)
    assert said.choice(ADA, tempo=Tempo(longest_s=4.0), now_ns=2) == (task, 2, 2 + 4 * S)
    assert said.choice(BO, tempo=Tempo(longest_s=4.0), now_ns=2) == (task, 2, 2)


def test_draws_are_an_agents_own_and_always_the_same() -> None:
    said = Said()
    for number in range(8):
        said.says(CY, Task(what=f"{number}", key=f"{number}"))
    slow = Tempo(tau_s=1.0)
    choices = {agent: said.choice(agent, tempo=slow) for agent in (ADA, BO, CY)}
    assert choices == {agent: said.choice(agent, tempo=slow) for agent in (ADA, BO, CY)}
    assert len({due for _, _, due in choices.values()}) == 3
    assert said.choice(ADA, tempo=slow, seed=1) != choices[ADA]


def test_what_is_due_comes_before_what_is_not_and_there_the_earliest_first() -> None:
    said = Said()
    tasks = [said.says(CY, Task(what=f"{number}", key=f"{number}", priority=number / 10)) for number in range(10)]
    slow = Tempo(tau_s=1.0)
    first = said.choice(ADA, tempo=slow)
    assert first[2] > 0
    assert said.choice(ADA, tempo=slow, now_ns=first[2])[0] == first[0]
    assert said.choice(ADA, tempo=slow, now_ns=10**6 * S)[0] == tasks[9]
