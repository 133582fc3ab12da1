"""Trust: how far one node relies on another's word, a number in [0.01, 0.99] that starts at 0.5.

Nothing is ever certain, so trust never reaches 0 or 1, and no history is too good or too bad to be outweighed. Three
ways to learn from one outcome (the author was right, or it was wrong) are given, each a pure function:

* **Bayesian** (`update_bayesian`): Bayes' theorem for two hypotheses, that the author is reliable and that it is not;
* **additive** (`update_additive`): a step up or a larger step down, as trust is lost faster than it is won (Slovic:
  Perceived risk, trust, and democracy, Risk Analysis 13, 1993);
* **validation** (`update_validated`): what a validator has seen moves trust towards it by rate times its weight, which
  is exponential smoothing.

Trust that nobody renews decays towards 0.5 (`decay_trust`). What others think of an author is added to one's own
experience by `aggregate_opinions`. How many outcomes there were, which trust forgets, is kept by
`smesh_core.reputation`, in the beta model of Jøsang and Ismail (2002).

All updates take one number, or arrays of shape (n,) for simulated networks; both give the same results, up to rounding.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from smesh_core.errors import TrustError
from smesh_core.limits import TRUST_DEFAULT, TRUST_IN_SELF, TRUST_MIN
from smesh_core.weights import UNKNOWN_LINEAGE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from smesh_core.weights import Observer

__all__ = [
    "HALF_LIFE_NS",
    "TRUST_MAX",
    "aggregate_opinions",
    "clamp_trust",
    "decay_trust",
    "update_additive",
    "update_bayesian",
    "update_validated",
]

TRUST_MAX: Final = TRUST_IN_SELF
HALF_LIFE_NS: Final = 7 * 24 * 3600 * 10**9
"""After so long without an outcome, half of what was learnt is forgotten."""
RELIABLE_RIGHT: Final = 0.9
UNRELIABLE_RIGHT: Final = 0.5
STEP_UP: Final = 0.05
STEP_DOWN: Final = 0.15
RATE: Final = 0.2
EVIDENCE_MAX: Final = 10_000.0
"""More evidence than this says nothing more, and would take longer to reckon with."""

Level = TypeVar("Level", float, "NDArray[np.float64]")
"""A trust, or one for each of n pairs, shape (n,)."""


def check_number(name: str, value: object, low: float, high: float) -> None:
    """Refuse what is not a number, or not an array of numbers, in [low, high]; NaN is in no bounds.

    Raises:
        TrustError: it is none.
    """
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "fiu" and bool(((value >= low) & (value <= high)).all()):
            return
        raise TrustError(f"{name} takes an array of numbers in [{low:g}, {high:g}]")
    if not (isinstance(value, int | float | np.floating | np.integer) and low <= value <= high):
        raise TrustError(f"{name} takes a number in [{low:g}, {high:g}], not {_shown(value)}")


def _shown(value: object) -> str:
    """A value in an error of one line."""
    if isinstance(value, int) and value.bit_length() > 100:
        return "an int of many digits"
    return repr(value) if isinstance(value, int | float | None) else f"a {type(value).__name__}"


def _check_update(trust: object, is_right: object, weight: object) -> None:
    check_number("trust", trust, TRUST_MIN, TRUST_MAX)
    check_number("a weight", weight, 0.0, 1.0)
    if not (isinstance(is_right, bool | np.bool_) or (isinstance(is_right, np.ndarray) and is_right.dtype.kind == "b")):
        raise TrustError(f"an outcome takes a bool or an array of bools, not {_shown(is_right)}")
    if not isinstance(trust, np.ndarray) and (isinstance(is_right, np.ndarray) or isinstance(weight, np.ndarray)):
        raise TrustError("one trust takes one outcome and one weight; give an array of trusts for arrays of them")
    shapes = {np.shape(part) for part in (trust, is_right, weight) if isinstance(part, np.ndarray)}
    if len(shapes) > 1 or any(len(shape) != 1 for shape in shapes):
        raise TrustError(f"trusts, outcomes and weights take arrays of one shape (n,), not {sorted(shapes)}")


def clamp_trust(trust: Level) -> Level:
    """The nearest trust within [0.01, 0.99].

    Raises:
        TrustError: it is no finite number.
    """
    check_number("trust", trust, -1e300, 1e300)
    return _clamp(trust)  # type: ignore[no-any-return]


def _clamp(trust: Any) -> Any:
    if isinstance(trust, np.ndarray):
        return np.clip(trust, TRUST_MIN, TRUST_MAX)
    return min(max(float(trust), TRUST_MIN), TRUST_MAX)


def _either(is_right: Any, right: float, wrong: float) -> Any:
    """One number or the other, by outcome."""
    return np.where(is_right, right, wrong) if isinstance(is_right, np.ndarray) else right if is_right else wrong


def update_bayesian(
    trust: Level,
    is_right: bool | NDArray[np.bool_],
    weight: float | NDArray[np.float64] = 1.0,
    *,
    reliable_right: float = RELIABLE_RIGHT,
    unreliable_right: float = UNRELIABLE_RIGHT,
) -> Level:
    """The posterior that an author is reliable, after one outcome: ``t·L / (t·L + 1 - t)``, clamped.

    L is the outcome's likelihood ratio to the power of `weight`: ``(reliable_right / unreliable_right)^w`` where the
    author was right, ``((1 - reliable_right) / (1 - unreliable_right))^w`` where it was wrong (Bayes 1763; the power
    tempers the likelihood of an outcome that is itself uncertain). Odds multiply, so the order of outcomes does not
    matter until one of them meets a bound.

    Args:
        trust: in [0.01, 0.99]; one, or shape (n,).
        is_right: the outcome; one for all, or shape (n,).
        weight: how much it counts, in [0, 1]; one for all, or shape (n,).
        reliable_right: chance that a reliable author is right; above the next, below 1.
        unreliable_right: chance that an unreliable author is right; above 0.

    Raises:
        TrustError: a value is out of bounds, or the shapes differ.
    """
    _check_update(trust, is_right, weight)
    check_number("reliable_right", reliable_right, 0.0, 1.0)
    check_number("unreliable_right", unreliable_right, 0.0, 1.0)
    if not 0.0 < unreliable_right < reliable_right < 1.0:
        raise TrustError(
            "a reliable author must be right more often than an unreliable one, and neither always or never"
        )
    ups = math.log(reliable_right / unreliable_right)
    downs = math.log((1.0 - reliable_right) / (1.0 - unreliable_right))
    ratio = _exp(_either(is_right, ups, downs) * weight)
    return _clamp(trust * ratio / (trust * ratio + (1.0 - trust)))  # type: ignore[no-any-return]


def _exp(power: Any) -> Any:
    return np.exp(power) if isinstance(power, np.ndarray) else math.exp(power)


def update_additive(
    trust: Level,
    is_right: bool | NDArray[np.bool_],
    weight: float | NDArray[np.float64] = 1.0,
    *,
    step_up: float = STEP_UP,
    step_down: float = STEP_DOWN,
) -> Level:
    """A step up where the author was right, a larger one down where it was wrong, each times `weight`; clamped.

    Steps commute between the bounds only: at 0.99, right then wrong ends a step lower than wrong then right.

    Args:
        trust: in [0.01, 0.99]; one, or shape (n,).
        is_right: the outcome; one for all, or shape (n,).
        weight: how much it counts, in [0, 1]; one for all, or shape (n,).
        step_up: above 0.
        step_down: at least `step_up`, at most 1.

    Raises:
        TrustError: a value is out of bounds, or the shapes differ.
    """
    _check_update(trust, is_right, weight)
    check_number("step_up", step_up, 0.0, 1.0)
    check_number("step_down", step_down, step_up, 1.0)
    if step_up == 0.0:
        raise TrustError("step_up takes a number above 0: a trust that cannot be won back is a ban")
    return _clamp(trust + _either(is_right, step_up, -step_down) * weight)  # type: ignore[no-any-return]


def update_validated(
    trust: Level,
    is_right: bool | NDArray[np.bool_],
    weight: float | NDArray[np.float64] = 1.0,
    *,
    rate: float = RATE,
) -> Level:
    """Moves trust towards what a validator has seen: ``t + rate·w·(goal - t)``, with goal 0.99 or 0.01.

    The newest outcomes count most, so their order always matters. A validator that weighs nothing moves nothing.

    Args:
        trust: in [0.01, 0.99]; one, or shape (n,).
        is_right: the outcome that the validator saw; one for all, or shape (n,).
        weight: the validator's weight, in [0, 1]; one for all, or shape (n,).
        rate: part of the way that a validator of weight 1 moves it, in [0, 1].

    Raises:
        TrustError: a value is out of bounds, or the shapes differ.
    """
    _check_update(trust, is_right, weight)
    check_number("rate", rate, 0.0, 1.0)
    return _clamp(trust + (_either(is_right, TRUST_MAX, TRUST_MIN) - trust) * (rate * weight))  # type: ignore[no-any-return]


def decay_trust(trust: Level, elapsed_ns: int, *, half_life_ns: int = HALF_LIFE_NS) -> Level:
    """Trust after a while without news: ``0.5 + (t - 0.5) · 2^(-elapsed / half-life)``.

    Decaying twice is decaying once by the sum.

    Args:
        trust: in [0.01, 0.99]; one, or shape (n,).
        elapsed_ns: nanoseconds, not negative.
        half_life_ns: nanoseconds in which the distance from 0.5 halves; at least 1.

    Raises:
        TrustError: a value is out of bounds.
    """
    check_number("trust", trust, TRUST_MIN, TRUST_MAX)
    check_number("elapsed_ns", elapsed_ns, 0, 2**64)
    check_number("half_life_ns", half_life_ns, 1, 2**64)
    left = 2.0 ** -(elapsed_ns / half_life_ns)
    return _clamp(TRUST_DEFAULT + (trust - TRUST_DEFAULT) * left)  # type: ignore[no-any-return]


def aggregate_opinions(
    opinions: Mapping[bytes, float],
    reader: Observer,
    *,
    about: bytes | None = None,
    own: float = TRUST_DEFAULT,
    own_evidence: float = 0.0,
) -> float:
    """What a reader makes of several observers' trust in one author: a weighted mean, clamped.

    ``(1·0.5 + n·own + Σ w_l·t_l) / (1 + n + Σ w_l)``, where n is the amount of the reader's own experience and l runs
    over the lineages of those observers: w_l is the largest weight among a lineage's members, t_l the mean of their
    opinions by weight. All observers that the reader knows nothing of are one lineage, which weighs
    ``reader.unknown_vote``. However many they are, they move the result by less than that vote; and the more the
    reader has seen itself, the less anybody moves it. Opinions are summed exactly, so their order does not matter.

    Args:
        opinions: each observer's trust in the author, in [0.01, 0.99], by the observer's node id.
        reader: what the reader thinks of the observers.
        about: the author's node id; what it thinks of itself is not asked.
        own: the reader's own trust in the author.
        own_evidence: how many outcomes that rests on, in [0, 10,000].

    Raises:
        TrustError: a trust or the evidence is out of bounds.
    """
    check_number("own", own, TRUST_MIN, TRUST_MAX)
    check_number("own_evidence", own_evidence, 0.0, EVIDENCE_MAX)
    members: dict[str, list[tuple[bytes, float]]] = {}
    for observer, trust in opinions.items():
        check_number("an opinion", trust, TRUST_MIN, TRUST_MAX)
        if observer != about:
            members.setdefault(reader.lineage(observer), []).append((observer, trust))
    weights, sums = [1.0, own_evidence], [TRUST_DEFAULT, own_evidence * own]
    for lineage, asked in members.items():
        weight, opinion = _opinion_of(lineage, asked, reader)
        weights.append(weight)
        sums.append(weight * opinion)
    return clamp_trust(math.fsum(sums) / math.fsum(weights))


def _opinion_of(lineage: str, members: list[tuple[bytes, float]], reader: Observer) -> tuple[float, float]:
    """What a lineage weighs and what it thinks; where some of it are on the roster, only these are asked."""
    if lineage == UNKNOWN_LINEAGE:
        return reader.unknown_vote, math.fsum(trust for _, trust in members) / len(members)
    members = [member for member in members if reader.is_rostered(member[0])] or members
    weights = [reader.weight(observer) for observer, _ in members]
    total = math.fsum(weights)
    if total == 0.0:
        return 0.0, TRUST_DEFAULT
    return max(weights), math.fsum(w * trust for w, (_, trust) in zip(weights, members, strict=True)) / total
