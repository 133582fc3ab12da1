"""Reputation: how often an author was right, how much that is known of, and in what.

The beta model (Jøsang, Ismail: The beta reputation system, Bled 2002): with r evidence of being right and s of being
wrong, the chance that the author is right next is distributed as Beta(1 + r, 1 + s). Nobody starts with a reputation:
without evidence that is the uniform distribution. Unlike trust, it knows the difference between an author that was
right once and one that was right a thousand times; authors are ranked by a **lower bound** that holds with a stated
chance, so that few lucky outcomes do not outrank a long record.

Evidence fades by a factor each day, towards the prior. As fading is linear in the evidence, what was seen at different
times can be added in any order: old evidence fades before it is added. `merge` is commutative, and associative up to
rounding.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import msgspec

from smesh_core.errors import TrustError
from smesh_core.limits import ID_BYTES, SEQ_MAX
from smesh_core.trust import EVIDENCE_MAX, check_number

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "ANY_TOPIC",
    "DAILY_FACTOR",
    "Evidence",
    "Reputation",
    "ReputationBook",
    "Standing",
    "beta_cdf",
    "beta_quantile",
    "decode_reputations",
    "encode_reputations",
    "fold_evidence",
]

DAY_NS: Final = 24 * 3600 * 10**9
DAILY_FACTOR: Final = 0.98
"""Half of the evidence is gone after 34 days."""
AUTHORS_MAX: Final = 4096
TOPICS_MAX: Final = 32
TOPIC_CHARS_MAX: Final = 64
ANY_TOPIC: Final = ""
"""The topic of evidence that belongs to none, or to one too many."""
BOUND_LEVEL: Final = 0.95
SHAPE_MAX: Final = EVIDENCE_MAX + 1.0
_TERMS_MAX: Final = 1000
"""The continued fraction takes some √max(a, b) terms: about a hundred for the largest evidence."""
_HALVINGS: Final = 40
_TINY: Final = 1e-300


def beta_cdf(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b): the chance that Beta(a, b) is at most x.

    By its continued fraction (Abramowitz and Stegun, Handbook of Mathematical Functions, 26.5.8), evaluated from the
    front (Lentz 1976) on the side of the mean where it converges fast, the other side by ``I_x(a, b) = 1 - I_(1-x)(b,
    a)``. The error is about 1e-10 for the
    largest parameters, 1e-14 for small ones.

    Args:
        x: in [0, 1].
        a: in [1, 10,001].
        b: in [1, 10,001].

    Raises:
        TrustError: a value is out of bounds.
    """
    check_number("x", x, 0.0, 1.0)
    check_number("a", a, 1.0, SHAPE_MAX)
    check_number("b", b, 1.0, SHAPE_MAX)
    return _beta_cdf(x, a, b)


def _beta_cdf(x: float, a: float, b: float) -> float:
    if x <= 0.0 or x >= 1.0:
        return 0.0 if x <= 0.0 else 1.0
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - _beta_cdf(1.0 - x, b, a)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    # Lentz: numerator and denominator of the convergents, as ratios of each to the one before.
    up, down = 1.0, 1.0 / _off_zero(1.0 - (a + b) * x / (a + 1.0))
    fraction = down
    for m in range(1, _TERMS_MAX):
        even = m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0))
        for term in (even, odd):
            down = 1.0 / _off_zero(1.0 + term * down)
            up = _off_zero(1.0 + term / up)
            fraction *= up * down
        if abs(up * down - 1.0) < 1e-15:
            break
    return min(1.0, math.exp(log_front) * fraction / a)


def _off_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def beta_quantile(chance: float, a: float, b: float) -> float:
    """The x that Beta(a, b) stays under with the given chance, by bisection; within 1e-12.

    Args:
        chance: in [0, 1].
        a: in [1, 10,001].
        b: in [1, 10,001].

    Raises:
        TrustError: a value is out of bounds.
    """
    check_number("a chance", chance, 0.0, 1.0)
    check_number("a", a, 1.0, SHAPE_MAX)
    check_number("b", b, 1.0, SHAPE_MAX)
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        if _beta_cdf(middle, a, b) < chance:
            low = middle
        else:
            high = middle
    return (low + high) / 2.0


class Reputation(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is known of how often an author is right.

    Attributes:
        right: evidence of being right, in [0, 10,000], as it was at `at_ns`.
        wrong: evidence of being wrong, likewise.
        at_ns: the time that both are stated for, in nanoseconds.

    Raises:
        TrustError: a value is out of bounds.
    """

    right: float = 0.0
    wrong: float = 0.0
    at_ns: int = 0

    def __post_init__(self) -> None:
        check_number("right", self.right, 0.0, EVIDENCE_MAX)
        check_number("wrong", self.wrong, 0.0, EVIDENCE_MAX)
        _check_time(self.at_ns)

    @property
    def alpha(self) -> float:
        """First parameter of the beta distribution."""
        return 1.0 + self.right

    @property
    def beta(self) -> float:
        """Second parameter of the beta distribution."""
        return 1.0 + self.wrong

    @property
    def evidence(self) -> float:
        """How much is known, in outcomes."""
        return self.right + self.wrong

    @property
    def mean(self) -> float:
        """The chance that the author is right next: α / (α + β)."""
        return self.alpha / (self.alpha + self.beta)

    @property
    def variance(self) -> float:
        """αβ / ((α + β)² (α + β + 1)); 1/12 without evidence."""
        total = self.alpha + self.beta
        return self.alpha * self.beta / (total * total * (total + 1.0))

    def lower_bound(self, level: float = BOUND_LEVEL) -> float:
        """What the author's rate of being right exceeds with chance `level`: the quantile of Beta(α, β) at 1 - level.

        Raises:
            TrustError: the level is not in [0, 1].
        """
        check_number("a level", level, 0.0, 1.0)
        return beta_quantile(1.0 - level, self.alpha, self.beta)

    def decayed(self, now_ns: int, factor: float = DAILY_FACTOR) -> Reputation:
        """The same evidence at a later time, times `factor` for each day; at an earlier time, unchanged.

        Raises:
            TrustError: the time or the factor (in [0, 1]) is out of bounds.
        """
        _check_time(now_ns)
        check_number("a factor", factor, 0.0, 1.0)
        if now_ns <= self.at_ns:
            return self
        left = factor ** ((now_ns - self.at_ns) / DAY_NS)
        return Reputation(right=self.right * left, wrong=self.wrong * left, at_ns=now_ns)

    def observed(self, is_right: bool, *, at_ns: int, weight: float = 1.0, factor: float = DAILY_FACTOR) -> Reputation:
        """With one more outcome of a weight in [0, 1]; one from before `at_ns` has faded before it is added.

        Raises:
            TrustError: a value is out of bounds.
        """
        check_number("a weight", weight, 0.0, 1.0)
        seen = Reputation(right=weight, at_ns=at_ns) if is_right else Reputation(wrong=weight, at_ns=at_ns)
        return self.merged(seen, factor)

    def merged(self, other: Reputation, factor: float = DAILY_FACTOR) -> Reputation:
        """The evidence of both, at the later time; both are taken to have seen different outcomes.

        Raises:
            TrustError: the factor is out of bounds.
        """
        at_ns = max(self.at_ns, other.at_ns)
        mine, its = self.decayed(at_ns, factor), other.decayed(at_ns, factor)
        return Reputation(
            right=min(mine.right + its.right, EVIDENCE_MAX),
            wrong=min(mine.wrong + its.wrong, EVIDENCE_MAX),
            at_ns=at_ns,
        )


def _check_time(at_ns: object) -> None:
    if type(at_ns) is not int or not 0 <= at_ns <= SEQ_MAX:
        raise TrustError(f"a time takes an int in [0, {SEQ_MAX}], in nanoseconds")


def _check_author(author: object, topic: object) -> None:
    if type(author) is not bytes or len(author) != ID_BYTES:
        raise TrustError("an author is a node id of 32 bytes")
    if type(topic) is not str or len(topic) > TOPIC_CHARS_MAX or not topic.isprintable():
        raise TrustError(f"a topic takes at most {TOPIC_CHARS_MAX} printable characters")


class Evidence(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One outcome of one author.

    Attributes:
        author: node id, 32 bytes.
        is_right: the outcome.
        at_ns: when it was seen, in nanoseconds.
        topic: what it was about: a skill or a domain, at most 64 printable characters; empty for none.
        weight: how much it counts, in [0, 1].

    Raises:
        TrustError: a value is out of bounds.
    """

    author: bytes
    is_right: bool
    at_ns: int
    topic: str = ANY_TOPIC
    weight: float = 1.0

    def __post_init__(self) -> None:
        _check_author(self.author, self.topic)
        if type(self.is_right) is not bool:
            raise TrustError("an outcome is a bool")
        check_number("a weight", self.weight, 0.0, 1.0)
        _check_time(self.at_ns)


class Standing(msgspec.Struct, frozen=True, gc=False):
    """The reputation of one author in one topic.

    Raises:
        TrustError: the author or the topic is none.
    """

    author: bytes
    topic: str
    reputation: Reputation

    def __post_init__(self) -> None:
        _check_author(self.author, self.topic)


class ReputationBook(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """The reputations of many authors, by topic.

    Bounds: an author with more than 32 topics has its slightest ones folded into `ANY_TOPIC`, where the evidence still
    counts; with more than `authors_max` authors those with the least evidence are forgotten.

    Attributes:
        standings: by author, then topic; each pair once.
        factor: what is left of evidence after a day, in [0, 1].
        authors_max: authors that are remembered, in [1, 4096].

    Raises:
        TrustError: a value is out of bounds, or the standings are not in order.
    """

    standings: tuple[Standing, ...] = ()
    factor: float = DAILY_FACTOR
    authors_max: int = AUTHORS_MAX

    def __post_init__(self) -> None:
        check_number("factor", self.factor, 0.0, 1.0)
        check_number("authors_max", self.authors_max, 1, AUTHORS_MAX)
        keys = [(standing.author, standing.topic) for standing in self.standings]
        if any(a >= b for a, b in pairwise(keys)):
            raise TrustError("standings come by author and topic, each pair once")
        by_author = self.__dict__["by_author"] = _by_author(self.standings)
        if len(by_author) > self.authors_max or any(len(topics) > TOPICS_MAX + 1 for topics in by_author.values()):
            raise TrustError(f"a book takes at most {self.authors_max} authors, each with {TOPICS_MAX} topics")

    def of(self, author: bytes, topic: str | None = None) -> Reputation:
        """An author's reputation in a topic, or (None) in all its topics together; the prior where nothing is known."""
        topics = self.__dict__["by_author"].get(author, {})
        if topic is not None:
            found: Reputation = topics.get(topic, Reputation())
            return found
        return _sum(topics.values(), self.factor)

    def authors(self) -> tuple[bytes, ...]:
        """The node ids that something is known of, ascending."""
        return tuple(self.__dict__["by_author"])

    def observed(self, evidence: Iterable[Evidence]) -> ReputationBook:
        """With more evidence; the order of it does not matter, up to rounding."""
        return fold_evidence(evidence, onto=self)

    def merged(self, other: ReputationBook) -> ReputationBook:
        """The evidence of two books that have seen different outcomes; commutative where their bounds are the same.

        Raises:
            TrustError: their factors differ.
        """
        if other.factor != self.factor:
            raise TrustError(f"books with factors {self.factor:g} and {other.factor:g} fade differently")
        table = {(s.author, s.topic): s.reputation for s in self.standings}
        for standing in other.standings:
            key = (standing.author, standing.topic)
            known = table.get(key)
            table[key] = standing.reputation if known is None else known.merged(standing.reputation, self.factor)
        return _bounded(table, self.factor, min(self.authors_max, other.authors_max))

    def ranking(
        self, topic: str | None = None, *, now_ns: int, level: float = BOUND_LEVEL
    ) -> list[tuple[bytes, float]]:
        """Authors with evidence in a topic (None for all) and their lower bounds now, best first.

        Equal bounds are ordered by more evidence, then by node id.

        Raises:
            TrustError: the time or the level is out of bounds.
        """
        ranked = []
        for author in self.authors():
            now = self.of(author, topic).decayed(now_ns, self.factor)
            if now.evidence > 0.0:
                ranked.append((-now.lower_bound(level), -now.evidence, author))
        return [(author, -bound) for bound, _, author in sorted(ranked)]


def _by_author(standings: tuple[Standing, ...]) -> dict[bytes, dict[str, Reputation]]:
    by_author: dict[bytes, dict[str, Reputation]] = {}
    for standing in standings:
        by_author.setdefault(standing.author, {})[standing.topic] = standing.reputation
    return by_author


def _sum(reputations: Iterable[Reputation], factor: float) -> Reputation:
    total = Reputation()
    for reputation in reputations:
        total = total.merged(reputation, factor)
    return total


def fold_evidence(
    evidence: Iterable[Evidence],
    *,
    onto: ReputationBook | None = None,
    factor: float = DAILY_FACTOR,
    authors_max: int = AUTHORS_MAX,
) -> ReputationBook:
    """The reputations that pieces of evidence come to, summed in order of time; bounds are enforced at the end.

    Args:
        evidence: any number of outcomes; each counts, so give each once.
        onto: a book to add them to, whose factor and bound are kept.
        factor: what is left of evidence after a day, for a new book.
        authors_max: authors that a new book remembers.

    Raises:
        TrustError: a value is out of bounds.
    """
    book = onto or ReputationBook(factor=factor, authors_max=authors_max)
    table = {(s.author, s.topic): s.reputation for s in book.standings}
    for seen in sorted(evidence, key=lambda seen: (seen.at_ns, seen.author, seen.topic, seen.is_right, seen.weight)):
        key = (seen.author, seen.topic)
        table[key] = table.get(key, Reputation()).observed(
            seen.is_right, at_ns=seen.at_ns, weight=seen.weight, factor=book.factor
        )
    return _bounded(table, book.factor, book.authors_max)


def _bounded(table: dict[tuple[bytes, str], Reputation], factor: float, authors_max: int) -> ReputationBook:
    """A book of these reputations, with what is too much folded together or forgotten."""
    by_author: dict[bytes, dict[str, Reputation]] = {}
    for author, topic in sorted(table):
        by_author.setdefault(author, {})[topic] = table[author, topic]
    now_ns = max((reputation.at_ns for reputation in table.values()), default=0)
    evidence = {a: _sum(topics.values(), factor).decayed(now_ns, factor).evidence for a, topics in by_author.items()}
    kept = sorted(by_author, key=lambda author: (-evidence[author], author))[:authors_max]
    standings = []
    for author in sorted(kept):
        topics = _fewer_topics(by_author[author], now_ns, factor)
        standings += [Standing(author, topic, topics[topic]) for topic in sorted(topics)]
    return ReputationBook(standings=tuple(standings), factor=factor, authors_max=authors_max)


def _fewer_topics(topics: dict[str, Reputation], now_ns: int, factor: float) -> dict[str, Reputation]:
    """The topics with the most evidence, and the sum of the others under `ANY_TOPIC`."""
    named = sorted(
        (topic for topic in topics if topic != ANY_TOPIC),
        key=lambda topic: (-topics[topic].decayed(now_ns, factor).evidence, topic),
    )
    if len(named) <= TOPICS_MAX:
        return topics
    kept = {topic: topics[topic] for topic in named[:TOPICS_MAX]}
    rest = [topics[ANY_TOPIC]] if ANY_TOPIC in topics else []
    kept[ANY_TOPIC] = _sum(rest + [topics[topic] for topic in named[TOPICS_MAX:]], factor)
    return kept


def encode_reputations(book: ReputationBook) -> bytes:
    """A book as JSON; ids are in base64."""
    return msgspec.json.encode(book)


def decode_reputations(encoded: bytes) -> ReputationBook:
    """Read a book from JSON.

    Raises:
        TrustError: it is not the JSON of a book within the bounds.
    """
    try:
        return msgspec.json.decode(encoded, type=ReputationBook)
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
        raise TrustError(f"not a book of reputations: {str(error)[:200]}") from None
