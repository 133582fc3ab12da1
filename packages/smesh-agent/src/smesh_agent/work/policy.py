"""What an agent decides: which task to claim, and when. Pure: no clock, no field, no chance of its own.

An agent meets the **stimulus** of an open task with its **threshold** for the skill that the task needs, and claims it
with a hazard that rises with the one and falls with the other (Bonabeau, Theraulaz, Deneubourg: Quantitative study of
the fixed threshold model for the regulation of division of labour in insect societies, Proc. R. Soc. B 263, 1996):

    p(s) = s² / (s² + θ²), and in a time Δt it claims with probability 1 - (1 - p)^(Δt/τ)

The stimulus is the task's priority, and grows while the task lies there, `s(t) = s₀ + g t`; after the longest wait p
counts as 1, so nothing starves. Thresholds fall with success at a skill and rise with failure and while others do that
work, within bounds, so that agents come to do what they do well (Theraulaz, Bonabeau, Deneubourg: Response threshold
reinforcement and division of labour in insect societies, Proc. R. Soc. B 265, 1998). Affinity thereby shortens a delay;
it wins no argument about who has a task.

Whether an agent has claimed is not asked again and again: the time at which it does is drawn once. With E drawn from
the exponential distribution it is the t at which the cumulated hazard reaches E,

    1/τ ∫₀ᵗ ln(1 + s(u)²/θ²) du = E,    and ∫ ln(1 + s²/θ²) ds = s ln(1 + s²/θ²) - 2 s + 2 θ arctan(s/θ)
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from smesh_agent.work.board import Board, Entry

__all__ = [
    "ATTENTION",
    "THETA_DEFAULT",
    "THETA_MAX",
    "THETA_MIN",
    "Choice",
    "Tempo",
    "adapted",
    "choose",
    "claim_probability",
    "waiting_time_s",
]

ATTENTION: Final = 16
"""Open tasks of a skill that an agent looks at, those of the highest priority first."""
THETA_MIN, THETA_DEFAULT, THETA_MAX = 0.05, 0.5, 0.95
_LEARNING: Final = 0.1
_FORGETTING: Final = 0.02
_PRECISION: Final = 1e-6
_STIMULUS_MIN: Final = 0.05
"""A task without priority is a task all the same."""


class Tempo(msgspec.Struct, frozen=True, kw_only=True):
    """How fast agents act, in seconds of the medium's clock.

    Attributes:
        tau_s: how long a claim takes where the hazard is at its middle; 0 claims at once.
        growth_per_s: by how much the stimulus of an unclaimed task grows in a second.
        longest_s: after so long a task is claimed whatever its stimulus.
        settle_s: from a claim to the beginning of work, for others' claims to arrive; none in one process.
        lease_s: how long a claim holds without a sign of life, in whole seconds.
    """

    tau_s: float = 0.0
    growth_per_s: float = 0.05
    longest_s: float = 10.0
    settle_s: float = 0.0
    lease_s: int = 5


class Choice(NamedTuple):
    """What an agent decides: a task and the attempt at it, and when to claim it; in the past or now is at once."""

    entry: Entry
    attempt: int
    due_ns: int


def claim_probability(stimulus: float, threshold: float) -> float:
    """The response threshold function: with which probability an agent claims in one τ."""
    return stimulus * stimulus / (stimulus * stimulus + threshold * threshold)


def waiting_time_s(priority: float, threshold: float, drawn: float, tempo: Tempo) -> float:
    """How long after a task opened an agent claims it.

    Args:
        priority: of the task, in [0, 1].
        threshold: the agent's, for the skill.
        drawn: uniform in (0, 1).
        tempo: the agent's.
    """
    if tempo.tau_s <= 0.0:
        return 0.0
    stimulus = max(priority, _STIMULUS_MIN)
    wanted = -math.log(drawn) * tempo.tau_s
    # Without growth it would be this long, and with it is no longer.
    high = min(tempo.longest_s, wanted / math.log1p((stimulus / threshold) ** 2))
    if tempo.growth_per_s <= 0.0:
        return high
    goal = _cumulated(stimulus, threshold) + wanted * tempo.growth_per_s
    if _cumulated(stimulus + tempo.growth_per_s * high, threshold) <= goal:
        return high
    low = 0.0
    while high - low > _PRECISION * high:
        middle = (low + high) / 2
        if _cumulated(stimulus + tempo.growth_per_s * middle, threshold) < goal:
            low = middle
        else:
            high = middle
    return high


def _cumulated(stimulus: float, threshold: float) -> float:
    """An antiderivative of ln(1 + s²/θ²)."""
    ratio = stimulus / threshold
    return stimulus * math.log1p(ratio * ratio) - 2.0 * stimulus + 2.0 * threshold * math.atan(ratio)


def choose(
    board: Board,
    agent: bytes,
    skills: Sequence[str],
    thresholds: Mapping[str, float],
    tempo: Tempo,
    now_ns: int,
    *,
    seed: int = 0,
) -> Choice | None:
    """Which open task an agent claims first, of those that it can do; None where there is none.

    Args:
        board: what it knows.
        agent: its node id.
        skills: what it can do; tasks that need no skill anybody can.
        thresholds: its thresholds by skill; those that are not there are `THETA_DEFAULT`.
        tempo: how fast it acts.
        now_ns: the observer's time.
        seed: of what it draws.
    """
    if not board.is_trusted(agent):
        return None  # nobody would respect its claim
    best: Choice | None = None
    best_rank: tuple[float, float, int] | None = None
    for skill in skills:
        threshold = thresholds.get(skill, THETA_DEFAULT)
        for entry in board.open_tasks(skill, ATTENTION):
            if entry.task is None or not _may_run(entry, agent):
                continue
            attempt = board.next_attempt(entry)
            wait_s = _wait_s(entry, agent, attempt, threshold, tempo, seed)
            due_ns = entry.open_since_ns + round(wait_s * 1e9)
            # Of what is due already, the strongest response; of what is not yet, the earliest.
            response = claim_probability(max(entry.task.priority, _STIMULUS_MIN), threshold)
            rank = (max(0.0, (due_ns - now_ns) / 1e9), -response, entry.order)
            if best_rank is None or rank < best_rank:
                best, best_rank = Choice(entry, attempt, due_ns), rank
            if tempo.tau_s <= 0.0 and due_ns <= now_ns:
                break  # those behind it are of no higher priority
    return best


def _may_run(entry: Entry, agent: bytes) -> bool:
    """An effectful task is run by its owner, and by nobody else."""
    return entry.task is not None and (not entry.task.effectful or bytes.fromhex(entry.task.owner) == agent)


def _wait_s(entry: Entry, agent: bytes, attempt: int, threshold: float, tempo: Tempo, seed: int) -> float:
    if entry.failures and any(tried == agent for tried, _ in entry.failures):
        return tempo.longest_s  # somebody else may do better; if nobody does, it tries again
    if entry.task is None or tempo.tau_s <= 0.0:
        return 0.0
    return waiting_time_s(entry.task.priority, threshold, _drawn(seed, agent, entry.id, attempt), tempo)


def _drawn(seed: int, agent: bytes, task: bytes, attempt: int) -> float:
    """Uniform in (0, 1), and always the same for the same arguments."""
    words = seed.to_bytes(16, "big", signed=True) + agent + task + attempt.to_bytes(1, "big")
    return (int.from_bytes(hashlib.blake2b(words, digest_size=8).digest(), "big") + 0.5) / 2**64


def adapted(thresholds: Mapping[str, float], skill: str, *, succeeded: bool) -> dict[str, float]:
    """Thresholds after an attempt at a skill: nearer to it after a success, farther after a failure.

    After a success the agent's other skills become a little less familiar to it.
    """
    moved = dict(thresholds)
    moved[skill] = moved.get(skill, THETA_DEFAULT) + (-_LEARNING if succeeded else _LEARNING)
    if succeeded:
        for other in moved:
            if other != skill:
                moved[other] += _FORGETTING
    return {name: min(THETA_MAX, max(THETA_MIN, value)) for name, value in moved.items()}
