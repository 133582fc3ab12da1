"""Behaviour: how an author acts, and when that is unlike it, unlike the others, or too much like one other.

Trust asks whether an author is right. This asks how it behaves, of which it knows nothing itself:

* a **fingerprint** sums up an author's elements: how often and how regularly it speaks, what it says and how surely,
  and how it takes stances;
* `unusual_authors` compares fingerprints with the **population's** median, in units of the median absolute deviation,
  which a few misbehaving authors do not move (Hampel: The influence curve and its role in robust estimation, JASA 69,
  1974);
* `change_in` looks for a change in an author's **own record** of right and wrong by a cumulative sum (Page: Continuous
  inspection schemes, Biometrika 41, 1954). It catches who earned trust and then starts to poison, long before its
  trust has fallen;
* `agreements` counts what **pairs** support together against what chance gives them.

An anomaly is a reason to look, with the numbers behind it. It is no proof and moves no trust by itself. Times are what
authors claim. Work is linear in the elements, but for sorting; pairs are made only of those who met at a statement.
"""

from __future__ import annotations

import math
from collections import Counter
from enum import Enum
from hashlib import sha256
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from smesh_core.errors import TrustError
from smesh_core.reputation import beta_quantile
from smesh_core.signal import Signal, SignalType, Stance, StanceKind
from smesh_core.trust import check_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = [
    "Agreement",
    "Anomaly",
    "AnomalyKind",
    "Change",
    "Fingerprint",
    "agreements",
    "change_in",
    "fingerprints",
    "unusual_authors",
    "unusual_pairs",
]

ELEMENTS_MAX: Final = 1_000_000
MEMBERS_MAX: Final = 64
"""Supporters of one statement that pairs are made of; of more, a sample that nobody can choose to be in or out of."""
PAIRS_MAX: Final = 1_000_000
OUTCOMES_MAX: Final = 1_000_000
PROMPT_NS: Final = 10**9
LEARN: Final = 60
"""Outcomes that say what an author's record is normally like."""
ODDS: Final = 2.5
"""How many times the usual odds of being wrong count as a change."""
CUSUM_MAX: Final = 6.0
LEARN_LEVEL: Final = 0.9
"""Learning and limit are chosen together, by simulation: `docs/reference/trust.md` has the figures."""
Z_MAX: Final = 6.0
AUTHORS_MIN: Final = 8
"""Fewer authors are no population to compare one with."""
COUNT_MIN: Final = 10
"""Fewer elements are too few to compare an author by."""
FALSE_ALARMS: Final = 0.001
LIFT_MIN: Final = 2.0
TOGETHER_MIN: Final = 5

_ONE_S: Final = 1e9
_MAD_TO_SIGMA: Final = 1.4826
"""The median absolute deviation of a normal distribution is 1/1.4826 of its standard deviation."""


class AnomalyKind(Enum):
    """What is unusual about an author."""

    RATE = "rate"
    BURSTINESS = "burstiness"
    SIGNAL_TYPE = "signal_type"
    CONFIDENCE = "confidence"
    CONFIDENCE_SPREAD = "confidence_spread"
    SUPPORT = "support"
    OPPOSE = "oppose"
    WITHDRAW = "withdraw"
    PROMPT = "prompt"
    REPETITION = "repetition"
    ENTROPY = "entropy"
    RECORD = "record"
    AGREEMENT = "agreement"


class Anomaly(msgspec.Struct, frozen=True, gc=False):
    """Something unusual, and the numbers behind it.

    Attributes:
        author: node id.
        kind: what is unusual.
        value: what was measured.
        usual: what would have been usual: the population's median, the author's own past, or chance.
        score: how unusual it is, in the units of `limit`.
        limit: what the score exceeds.
        detail: which signal type, or the other author of a pair in hex; otherwise empty.
    """

    author: bytes
    kind: AnomalyKind
    value: float
    usual: float
    score: float
    limit: float
    detail: str = ""


class Fingerprint(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How one author behaves, from its elements. A part of nothing is 0.

    Attributes:
        author: node id.
        emissions: how many.
        stances: how many.
        stances_on_others: how many on statements that another said first.
        supports_of_others: how many of those support.
        rate_per_min: elements less one, by the minutes from first to last (one second at least).
        burstiness: (σ - μ) / (σ + μ) of the intervals between elements, in [-1, 1]: -1 is a clock, 0 as if by chance,
            1 all at once (Goh, Barabási: Burstiness and memory in complex systems, EPL 81, 2008).
        type_shares: share of each signal type among its emissions, by its number.
        confidence_mean: of all elements but withdrawals.
        confidence_spread: standard deviation of the same.
        support_share: part of its stances that support.
        oppose_share: part of its stances that oppose.
        withdraw_share: part of its stances that withdraw.
        prompt_share: part of its stances on others' statements taken within a second (or as told) of their first
            emission: sooner than evidence is found.
        repetition: part of its emissions with a payload that it used before.
        support_entropy_bits: Shannon entropy of whose statements it supports, others' only: 0 is always the same
            author's.
    """

    author: bytes
    emissions: int
    stances: int
    stances_on_others: int
    supports_of_others: int
    rate_per_min: float
    burstiness: float
    type_shares: tuple[float, ...]
    confidence_mean: float
    confidence_spread: float
    support_share: float
    oppose_share: float
    withdraw_share: float
    prompt_share: float
    repetition: float
    support_entropy_bits: float


class _First(NamedTuple):
    """Who said a statement first, and when; of elements of one time the smallest author's."""

    at_ns: int
    author: bytes


def _unique(elements: Iterable[Signal | Stance]) -> list[Signal | Stance]:
    """Each element once, by id."""
    unique: dict[bytes, Signal | Stance] = {}
    for element in elements:
        if not isinstance(element, Signal | Stance):
            raise TrustError("behaviour is read from signals and stances")
        unique[element.id] = element
        if len(unique) > ELEMENTS_MAX:
            raise TrustError(f"behaviour is read from at most {ELEMENTS_MAX} elements")
    return [unique[identity] for identity in sorted(unique)]


def fingerprints(elements: Iterable[Signal | Stance], *, prompt_ns: int = PROMPT_NS) -> dict[bytes, Fingerprint]:
    """How each author behaves, by node id; order and repetition of the elements change nothing.

    Args:
        elements: at most a million signals and stances.
        prompt_ns: a stance that comes within so many nanoseconds is prompt.

    Raises:
        TrustError: there are too many, something else is among them, or `prompt_ns` is negative.
    """
    check_number("prompt_ns", prompt_ns, 0, 2**63)
    unique = _unique(elements)
    first: dict[bytes, _First] = {}
    by_author: dict[bytes, tuple[list[Signal], list[Stance]]] = {}
    for element in unique:
        emitted, taken = by_author.setdefault(element.author, ([], []))
        if isinstance(element, Stance):
            taken.append(element)
            continue
        emitted.append(element)
        said = _First(element.created_at_ns, element.author)
        first[element.statement] = min(first.get(element.statement, said), said)
    return {author: _fingerprint(author, *by_author[author], first, prompt_ns) for author in sorted(by_author)}


def _fingerprint(
    author: bytes, emitted: list[Signal], taken: list[Stance], first: dict[bytes, _First], prompt_ns: int
) -> Fingerprint:
    times = sorted([signal.created_at_ns for signal in emitted] + [stance.created_at_ns for stance in taken])
    span_s = max((times[-1] - times[0]) / _ONE_S, 1.0)
    sure = [s.confidence for s in emitted] + [s.confidence for s in taken if s.kind is not StanceKind.WITHDRAW]
    types, kinds = Counter(signal.type for signal in emitted), Counter(stance.kind for stance in taken)
    others = [
        (stance, said)
        for stance in taken
        if (said := first.get(stance.statement)) is not None and said.author != author
    ]
    supported = Counter(said.author for stance, said in others if stance.kind is StanceKind.SUPPORT)
    prompt = sum(stance.created_at_ns - said.at_ns <= prompt_ns for stance, said in others)
    return Fingerprint(
        author=author,
        emissions=len(emitted),
        stances=len(taken),
        stances_on_others=len(others),
        supports_of_others=supported.total(),
        rate_per_min=(len(times) - 1) / span_s * 60.0,
        burstiness=_burstiness(times),
        type_shares=tuple([_part(types[kind], len(emitted)) for kind in SignalType]),
        confidence_mean=_mean(sure) if sure else 0.0,
        confidence_spread=_spread(sure) if sure else 0.0,
        support_share=_part(kinds[StanceKind.SUPPORT], len(taken)),
        oppose_share=_part(kinds[StanceKind.OPPOSE], len(taken)),
        withdraw_share=_part(kinds[StanceKind.WITHDRAW], len(taken)),
        prompt_share=_part(prompt, len(others)),
        repetition=_part(len(emitted) - len({signal.payload for signal in emitted}), len(emitted)),
        support_entropy_bits=_entropy_bits(supported),
    )


def _part(count: int, whole: int) -> float:
    return count / whole if whole else 0.0


def _mean(values: list[float]) -> float:
    """Of one value or more, as are the next two; the module `statistics` would load chance along with them."""
    return math.fsum(values) / len(values)


def _spread(values: list[float]) -> float:
    mean = _mean(values)
    return math.sqrt(_mean([(value - mean) ** 2 for value in values]))


def _median(values: list[float]) -> float:
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(values) % 2 else (ordered[half - 1] + ordered[half]) / 2.0


def _burstiness(times: list[int]) -> float:
    """Of sorted times; 0 where there are fewer than two intervals, or no time passes."""
    intervals = [float(later - earlier) for earlier, later in pairwise(times)]
    if len(intervals) < 2 or times[-1] == times[0]:
        return 0.0
    spread, mean = _spread(intervals), _mean(intervals)
    return (spread - mean) / (spread + mean)


def _entropy_bits(counts: Counter[bytes]) -> float:
    total = counts.total()
    return math.fsum([-n / total * math.log2(n / total) for n in counts.values()]) + 0.0 if total else 0.0


# ---- against the population


class _Feature(NamedTuple):
    """Something that authors are compared by.

    `count` is how many elements it rests on, `floor` the least spread that is assumed of the population, `is_share`
    whether an author's own share scatters by chance as well.
    """

    kind: AnomalyKind
    read: Callable[[Fingerprint], float]
    count: Callable[[Fingerprint], int]
    floor: float
    is_share: bool
    detail: str = ""


def _all(f: Fingerprint) -> int:
    return f.emissions + f.stances


def _share_of_type(kind: SignalType) -> Callable[[Fingerprint], float]:
    return lambda f: f.type_shares[kind]


_FEATURES: Final = (
    # The rate is compared by its logarithm: twice as much is as unusual as half as much.
    _Feature(AnomalyKind.RATE, lambda f: math.log2(1.0 + f.rate_per_min), _all, 0.25, False),
    _Feature(AnomalyKind.BURSTINESS, lambda f: f.burstiness, _all, 0.1, False),
    *(
        _Feature(AnomalyKind.SIGNAL_TYPE, _share_of_type(kind), lambda f: f.emissions, 0.05, True, kind.name.lower())
        for kind in SignalType
    ),
    _Feature(AnomalyKind.CONFIDENCE, lambda f: f.confidence_mean, _all, 0.05, False),
    _Feature(AnomalyKind.CONFIDENCE_SPREAD, lambda f: f.confidence_spread, _all, 0.05, False),
    _Feature(AnomalyKind.SUPPORT, lambda f: f.support_share, lambda f: f.stances, 0.05, True),
    _Feature(AnomalyKind.OPPOSE, lambda f: f.oppose_share, lambda f: f.stances, 0.05, True),
    _Feature(AnomalyKind.WITHDRAW, lambda f: f.withdraw_share, lambda f: f.stances, 0.05, True),
    _Feature(AnomalyKind.PROMPT, lambda f: f.prompt_share, lambda f: f.stances_on_others, 0.05, True),
    _Feature(AnomalyKind.REPETITION, lambda f: f.repetition, lambda f: f.emissions, 0.05, True),
    _Feature(AnomalyKind.ENTROPY, lambda f: f.support_entropy_bits, lambda f: f.supports_of_others, 0.25, False),
)


def unusual_authors(
    population: Iterable[Fingerprint], *, z_max: float = Z_MAX, authors_min: int = AUTHORS_MIN
) -> list[Anomaly]:
    """Authors that differ from the population, feature by feature: ``|x - median| / s > z_max``.

    ``s² = (1.4826 · MAD)² + floor² + p(1 - p)/n``, where the floor keeps a population of equals (MAD 0) from making
    every difference infinite, and the last part, for shares only, is what chance does to a share of n elements when
    the median is p (taken within [0.05, 0.95]). Authors with fewer than 10 elements of the sort that a feature rests
    on take no part in it, and a feature in which fewer than `authors_min` authors take part says nothing.

    More than half of the population must behave: a median follows the majority.

    Returns:
        Anomalies by author, in the order of `AnomalyKind`; rates in elements a minute.

    Raises:
        TrustError: a bound is out of range.
    """
    check_number("z_max", z_max, 0.0, 1e9)
    check_number("authors_min", authors_min, 2, 2**31)
    authors = sorted(population, key=lambda f: f.author)
    found: list[Anomaly] = []
    for feature in _FEATURES:
        compared = [f for f in authors if feature.count(f) >= COUNT_MIN]
        if len(compared) < authors_min:
            continue
        values = [feature.read(f) for f in compared]
        middle = _median(values)
        spread = _MAD_TO_SIGMA * _median([abs(value - middle) for value in values])
        for f, value in zip(compared, values, strict=True):
            p = min(max(middle, 0.05), 0.95)
            chance = p * (1.0 - p) / feature.count(f) if feature.is_share else 0.0
            score = abs(value - middle) / math.sqrt(spread * spread + feature.floor**2 + chance)
            if score > z_max:
                shown, usual = (value, middle) if feature.kind is not AnomalyKind.RATE else _rates(value, middle)
                found.append(Anomaly(f.author, feature.kind, shown, usual, score, z_max, feature.detail))
    return sorted(found, key=lambda anomaly: anomaly.author)


def _rates(*logarithms: float) -> tuple[float, float]:
    value, middle = (2.0**logarithm - 1.0 for logarithm in logarithms)
    return value, middle


# ---- against the author's own record


class Change(msgspec.Struct, frozen=True, gc=False):
    """Where a record turns for the worse.

    Attributes:
        began: index of the outcome where the change most likely began.
        noticed: index of the outcome at which the sum exceeded its limit.
        before: share of wrong outcomes that was allowed for.
        since: share of wrong outcomes from `began` to `noticed`.
        score: the sum when it exceeded the limit.
        limit: that limit.
    """

    began: int
    noticed: int
    before: float
    since: float
    score: float
    limit: float

    def anomaly(self, author: bytes) -> Anomaly:
        """The change as an anomaly of its author."""
        return Anomaly(author, AnomalyKind.RECORD, self.since, self.before, self.score, self.limit)


def change_in(
    outcomes: Sequence[bool], *, learn: int = LEARN, odds: float = ODDS, limit: float = CUSUM_MAX
) -> Change | None:
    """Where an author's record of right (True) and wrong turns for the worse, or None.

    The first `learn` outcomes say how often the author is wrong: p is the value that its share of wrong outcomes stays
    under with chance 0.9 (beta distribution), so that a lucky start does not make a normal record look bad. From then
    on ``S = max(0, S + ln(f₁ / f₀))``, where f₀ is the chance of an outcome with p and f₁ with `odds` times the odds of
    p; the change is noticed where S exceeds `limit`. Were p exact, a record without a change would be suspected at
    most once in e^limit outcomes on average (Lorden: Procedures for reacting to a change in distribution, Annals of
    Mathematical Statistics 42, 1971).

    An author that poisons from the start is no case for this: it wins no trust in the first place.

    Args:
        outcomes: in order, at most a million.
        learn: outcomes to learn from, at least 10.
        odds: above 1.
        limit: above 0.

    Raises:
        TrustError: a value is out of bounds.
    """
    check_number("learn", learn, 10, 10_000)
    check_number("odds", odds, 1.0, 1e6)
    check_number("a limit", limit, 0.0, 1e6)
    if odds == 1.0 or limit == 0.0 or len(outcomes) > OUTCOMES_MAX:
        raise TrustError(f"a change takes odds above 1, a limit above 0 and at most {OUTCOMES_MAX} outcomes")
    wrong = sum(not outcome for outcome in outcomes[:learn])
    before = beta_quantile(LEARN_LEVEL, 1.0 + wrong, 1.0 + learn - wrong)
    after = odds * before / (odds * before + 1.0 - before)
    if_wrong, if_right = math.log(after / before), math.log((1.0 - after) / (1.0 - before))
    score, began = 0.0, learn
    for at in range(learn, len(outcomes)):
        score = max(0.0, score + (if_right if outcomes[at] else if_wrong))
        if score == 0.0:
            began = at + 1
        elif score > limit:
            since = outcomes[began : at + 1]
            return Change(began, at, before, _part(sum(not one for one in since), len(since)), score, limit)
    return None


# ---- pairs


class Agreement(msgspec.Struct, frozen=True, gc=False):
    """How often two authors support the same statements.

    Attributes:
        one: node id, the smaller.
        other: node id.
        together: statements that both support.
        expected: how many they would by chance, as busy as they are and as popular as the statements are.
        surprise: -log10 of the chance of at least as many, by Poisson's distribution.
    """

    one: bytes
    other: bytes
    together: int
    expected: float
    surprise: float

    @property
    def lift(self) -> float:
        """How many times more often than by chance."""
        return self.together / self.expected if self.expected else 0.0


def agreements(elements: Iterable[Signal | Stance]) -> list[Agreement]:
    """The pairs of authors that support some statement together, most surprising first.

    Each author supports what it says, and where its newest stance (by sequence number, then id) is support. By chance
    a pair supports ``s_a · s_b · Σ c(c - 1) / (M² - Σ s²)`` statements together, where s are the numbers of statements
    that authors support, M is their sum, and c are the numbers of supporters of statements: the configuration model
    (Chung, Lu 2002), scaled so that all pairs together have exactly the co-supports that there are. What everybody
    supports because it is plainly true thus counts as chance.

    Of a statement with more than 64 supporters 64 are sampled by a hash of both, which no author can bend for many
    statements; no more than a million pairs are counted, those of the smallest statement ids first.

    Raises:
        TrustError: there are too many elements, or something else is among them.
    """
    supporters = _supporters(_unique(elements))
    busy: Counter[bytes] = Counter()
    together: Counter[tuple[bytes, bytes]] = Counter()
    met = 0
    for statement in sorted(supporters):
        nodes = sorted(supporters[statement])
        if len(nodes) > MEMBERS_MAX:
            nodes = sorted(sorted(nodes, key=lambda node: sha256(statement + node).digest())[:MEMBERS_MAX])
        if len(together) + len(nodes) * (len(nodes) - 1) // 2 > PAIRS_MAX:
            break
        busy.update(nodes)
        met += len(nodes) * (len(nodes) - 1)
        together.update(combinations(nodes, 2))
    total = busy.total()
    ways = total * total - sum(s * s for s in busy.values())
    found = []
    for (one, other), count in together.items():
        expected = busy[one] * busy[other] * met / ways
        found.append(Agreement(one, other, count, expected, _surprise(count, expected)))
    return sorted(found, key=lambda pair: (-pair.surprise, pair.one, pair.other))


def _supporters(unique: list[Signal | Stance]) -> dict[bytes, list[bytes]]:
    """Who supports each statement, by each author's newest element about it."""
    newest: dict[tuple[bytes, bytes], tuple[int, bytes, bool]] = {}
    for element in unique:
        is_support = not isinstance(element, Stance) or element.kind is StanceKind.SUPPORT
        word, pair = (element.seq, element.id, is_support), (element.statement, element.author)
        newest[pair] = max(newest.get(pair, word), word)
    supporters: dict[bytes, list[bytes]] = {}
    for (statement, author), (_, _, is_support) in newest.items():
        if is_support:
            supporters.setdefault(statement, []).append(author)
    return supporters


def _surprise(count: int, expected: float) -> float:
    """-log10 P(X >= count) for a Poisson X, count at least 1; 0 where so many are no surprise.

    Terms from `count` on fall at least geometrically once it exceeds the mean.
    """
    if count <= expected:
        return 0.0
    term, tail, k = 1.0, 1.0, count
    while term > 1e-16 * tail:
        k += 1
        term *= expected / k
        tail += term
    log_first = count * math.log(expected) - expected - math.lgamma(count + 1)
    return max(0.0, -(log_first + math.log(tail)) / math.log(10.0))


def unusual_pairs(
    pairs: Sequence[Agreement],
    *,
    false_alarms: float = FALSE_ALARMS,
    lift_min: float = LIFT_MIN,
    together_min: int = TOGETHER_MIN,
) -> list[Anomaly]:
    """Pairs that support the same statements too often for chance, each as an anomaly of both authors.

    A pair is named when it met at `together_min` statements, `lift_min` times more often than by chance, and its
    surprise exceeds ``log10(n(n - 1)/2 / false_alarms)`` for n authors: by
    Bonferroni's inequality, a population that agrees by chance has any pair named with at most that chance.

    Specialists agree more than chance when generalists are among them; compare within a topic. A majority that
    colludes is the chance that others are compared with.

    Args:
        pairs: all that `agreements` found.
        false_alarms: chance of naming any pair where none colludes, in (0, 1).
        lift_min: at least 1.
        together_min: at least 1.

    Raises:
        TrustError: a value is out of bounds.
    """
    check_number("false_alarms", false_alarms, 1e-300, 1.0)
    check_number("lift_min", lift_min, 1.0, 1e9)
    check_number("together_min", together_min, 1, 2**31)
    authors = len({author for pair in pairs for author in (pair.one, pair.other)})
    limit = math.log10(max(1, authors * (authors - 1) // 2) / false_alarms)
    found = []
    for pair in pairs:
        if pair.surprise > limit and pair.together >= together_min and pair.lift >= lift_min:
            for author, peer in ((pair.one, pair.other), (pair.other, pair.one)):
                numbers = (float(pair.together), pair.expected, pair.surprise, limit)
                found.append(Anomaly(author, AnomalyKind.AGREEMENT, *numbers, peer.hex()))
    return sorted(found, key=lambda anomaly: (anomaly.author, -anomaly.score, anomaly.detail))
