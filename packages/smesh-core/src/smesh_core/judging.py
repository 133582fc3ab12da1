"""Judging: who was right about what, and what that makes of trust.

A **judgement** says that an author was right or wrong about one statement. Trust moves **once per (author,
statement)**: of several judgements of a pair the newest counts, so that saying a thing again wins nothing, and a
verdict that turns takes back what it gave. A set of judgements is folded in order of time, then of statement, with
decay in between. Trust is thereby a function of the set: arrival order and repetition change nothing, and a journal
that is replayed gives the same trust.

Judgements come from what the observer saw itself (`known`), else from consensus. **Nobody judges itself**: the verdict
by which a node is judged must stand without its lineage, so that neither its own vote nor one by its kind can make it
right. Where a pair of lineages needs both to reach consensus, neither is therefore confirmed by it. What this does not
prevent is a ring of trusted lineages that confirm each other; `smesh_core.behaviour` looks for such, and `known`
outweighs them.
"""

from __future__ import annotations

import math
from enum import Enum
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from smesh_core import trust as updates
from smesh_core.consensus import ConsensusState, Quorum
from smesh_core.errors import TrustError
from smesh_core.field import Field
from smesh_core.limits import ID_BYTES, SEQ_MAX, TRUST_DEFAULT
from smesh_core.signal import StanceKind
from smesh_core.trust import check_number
from smesh_core.weights import EVERYONE, Observer, Tally, tally

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from smesh_core.consensus import ConsensusPolicy
    from smesh_core.reading import Position, Reading

__all__ = [
    "Account",
    "Judgement",
    "Outcome",
    "TrustBook",
    "TrustRecord",
    "TrustRules",
    "decode_trust",
    "encode_trust",
    "fold_judgements",
    "judgements_of",
    "verdict_without",
]

AUTHORS_MAX: Final = 4096
JUDGEMENTS_MAX: Final = 256
"""Judgements that are kept of one author; trust has long forgotten what came before them."""
CONSENSUS_WEIGHT: Final = 0.5
"""What a judgement by consensus counts, against 1 for what the observer saw itself."""
_QUORUM: Final = Quorum()


class Outcome(Enum):
    """How an author's word about a statement turned out."""

    RIGHT = "right"
    WRONG = "wrong"


class Judgement(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One author was right or wrong about one statement.

    Attributes:
        author: node id, 32 bytes.
        statement: id of the statement, 32 bytes.
        outcome: right or wrong.
        at_ns: when it was judged, in nanoseconds.
        weight: how much it counts, in (0, 1].

    Raises:
        TrustError: a value is out of bounds.
    """

    author: bytes
    statement: bytes
    outcome: Outcome
    at_ns: int
    weight: float = 1.0

    def __post_init__(self) -> None:
        for identity in (self.author, self.statement):
            if type(identity) is not bytes or len(identity) != ID_BYTES:
                raise TrustError("a judgement names its author and its statement by ids of 32 bytes")
        if type(self.outcome) is not Outcome:
            raise TrustError("a judgement's outcome is right or wrong")
        _check_time(self.at_ns)
        check_number("a judgement's weight", self.weight, 0.0, 1.0)
        if self.weight == 0.0:
            raise TrustError("a judgement without weight is none")


def _check_time(at_ns: object) -> None:
    if type(at_ns) is not int or not 0 <= at_ns <= SEQ_MAX:
        raise TrustError(f"a time takes an int in [0, {SEQ_MAX}], in nanoseconds")


def _rank(judgement: Judgement) -> tuple[int, bool, float]:
    """Of two judgements of a pair the greater counts: the newer; at one time the worse, then the heavier."""
    return (judgement.at_ns, judgement.outcome is Outcome.WRONG, judgement.weight)


def _order(judgement: Judgement) -> tuple[bytes, int, bytes]:
    """The order that judgements are kept in: by author, and there in the order that they are folded in."""
    return (judgement.author, judgement.at_ns, judgement.statement)


class TrustRules(msgspec.Struct, frozen=True, kw_only=True):
    """How an outcome moves trust; the formulas and the parameters are those of `smesh_core.trust`.

    Attributes:
        update: which of the three updates.
        half_life_ns: of the decay between judgements, in nanoseconds.
        reliable_right: for the Bayesian update.
        unreliable_right: for the Bayesian update.
        step_up: for the additive update.
        step_down: for the additive update.
        rate: for the update by validation.

    Raises:
        TrustError: a value is out of bounds.
    """

    update: Literal["bayesian", "additive", "validation"] = "bayesian"
    half_life_ns: int = updates.HALF_LIFE_NS
    reliable_right: float = updates.RELIABLE_RIGHT
    unreliable_right: float = updates.UNRELIABLE_RIGHT
    step_up: float = updates.STEP_UP
    step_down: float = updates.STEP_DOWN
    rate: float = updates.RATE

    def __post_init__(self) -> None:
        if self.update not in {"bayesian", "additive", "validation"}:
            raise TrustError("an update is bayesian, additive or validation")
        self.decayed(TRUST_DEFAULT, 0)
        updates.update_bayesian(
            TRUST_DEFAULT, True, reliable_right=self.reliable_right, unreliable_right=self.unreliable_right
        )
        updates.update_additive(TRUST_DEFAULT, True, step_up=self.step_up, step_down=self.step_down)
        updates.update_validated(TRUST_DEFAULT, True, rate=self.rate)

    def moved(self, trust: float, is_right: bool, weight: float) -> float:
        """A trust after one outcome."""
        if self.update == "additive":
            return updates.update_additive(trust, is_right, weight, step_up=self.step_up, step_down=self.step_down)
        if self.update == "validation":
            return updates.update_validated(trust, is_right, weight, rate=self.rate)
        return updates.update_bayesian(
            trust, is_right, weight, reliable_right=self.reliable_right, unreliable_right=self.unreliable_right
        )

    def decayed(self, trust: float, elapsed_ns: int) -> float:
        """A trust after a while without news."""
        return updates.decay_trust(trust, elapsed_ns, half_life_ns=self.half_life_ns)


class Account(msgspec.Struct, frozen=True, gc=False):
    """What an author's judgements come to.

    Attributes:
        author: node id.
        trust: in [0.01, 0.99], at the time of the last judgement.
        at_ns: that time, in nanoseconds.
        right: weight of the judgements that it was right.
        wrong: weight of the judgements that it was wrong.
    """

    author: bytes
    trust: float
    at_ns: int
    right: float
    wrong: float

    @property
    def evidence(self) -> float:
        """Weight of all judgements."""
        return self.right + self.wrong


class TrustBook(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """The judgements that an observer remembers, and the trust that they come to.

    Made by `fold_judgements`, read from JSON by `decode_trust`.

    Attributes:
        judgements: by author, time and statement; one for each author and statement.
        rules: how they move trust.
        authors_max: authors that are remembered, in [1, 4096].

    Raises:
        TrustError: a bound is exceeded, or the judgements are not in order.
    """

    judgements: tuple[Judgement, ...] = ()
    rules: TrustRules = TrustRules()
    authors_max: int = AUTHORS_MAX

    def __post_init__(self) -> None:
        check_number("authors_max", self.authors_max, 1, AUTHORS_MAX)
        if any(_order(a) >= _order(b) for a, b in pairwise(self.judgements)):
            raise TrustError("judgements come by author, time and statement")
        records: dict[bytes, list[Judgement]] = {}
        for judgement in self.judgements:
            records.setdefault(judgement.author, []).append(judgement)
        for record in records.values():
            if len(record) > JUDGEMENTS_MAX or len({judgement.statement for judgement in record}) < len(record):
                raise TrustError(f"an author has at most {JUDGEMENTS_MAX} judgements, one for each statement")
        if len(records) > self.authors_max:
            raise TrustError(f"judgements of {len(records)} authors in a book for {self.authors_max}")
        self.__dict__["records"] = {author: tuple(record) for author, record in records.items()}
        self.__dict__["accounts"] = {}  # made when first asked for

    def __len__(self) -> int:
        return len(self.__dict__["records"])

    def __contains__(self, author: bytes) -> bool:
        return author in self.__dict__["records"]

    def authors(self) -> tuple[bytes, ...]:
        """The node ids that were judged, ascending."""
        return tuple(self.__dict__["records"])

    def record(self, author: bytes) -> tuple[Judgement, ...]:
        """An author's judgements in the order that they are folded in."""
        found: tuple[Judgement, ...] = self.__dict__["records"].get(author, ())
        return found

    def account(self, author: bytes, now_ns: int | None = None) -> Account | None:
        """What an author's judgements come to; None where there is none.

        Args:
            author: node id.
            now_ns: leaves later judgements out; None takes all.

        Raises:
            TrustError: the time is out of bounds.
        """
        record = self.record(author)
        whole: Account | None = self.__dict__["accounts"].get(author)
        if whole is None and record:
            whole = self.__dict__["accounts"][author] = _account(author, record, self.rules)
        if now_ns is not None:
            _check_time(now_ns)
        if now_ns is None or whole is None or whole.at_ns <= now_ns:
            return whole
        known = [judgement for judgement in record if judgement.at_ns <= now_ns]
        return _account(author, known, self.rules) if known else None

    def trust(self, author: bytes, now_ns: int | None = None) -> float:
        """Trust in an author, in [0.01, 0.99]; 0.5 where it was not judged.

        Args:
            author: node id.
            now_ns: when; decays the trust since the last judgement before. None: as that judgement left it.

        Raises:
            TrustError: the time is out of bounds.
        """
        account = self.account(author, now_ns)
        if account is None:
            return TRUST_DEFAULT
        return account.trust if now_ns is None else self.rules.decayed(account.trust, now_ns - account.at_ns)

    def observer(
        self,
        now_ns: int | None = None,
        *,
        roster: Mapping[bytes, str] | None = None,
        unknown_vote: float = 0.0,
        declared: Mapping[bytes, str] | None = None,
    ) -> Observer:
        """The eyes to read a field with: who is on the roster counts fully, who was judged by its trust.

        Args:
            now_ns: when, as in `trust`.
            roster: node id to lineage; None puts nobody on it.
            unknown_vote: what all that were never judged may weigh together, in votes.
            declared: node id to the lineage that a node claims for itself.

        Raises:
            TrustError: the time is out of bounds.
            InvalidSignalError: the roster or the unknown vote is.
        """
        known = [author for author in self.authors() if self.account(author, now_ns) is not None]
        return Observer(
            roster=roster or {},
            trust={author: self.trust(author, now_ns) for author in known},
            unknown_vote=unknown_vote,
            declared=declared or {},
        )

    def judged(self, judgements: Iterable[Judgement]) -> TrustBook:
        """With more judgements; the same as folding all at once, as long as no author had to be forgotten."""
        more = list(judgements)
        book = fold_judgements([*self.judgements, *more], rules=self.rules, authors_max=self.authors_max)
        untouched = self.__dict__["accounts"].keys() & book.__dict__["records"].keys() - {one.author for one in more}
        book.__dict__["accounts"].update((author, self.__dict__["accounts"][author]) for author in untouched)
        return book

    def news(self, judgements: Iterable[Judgement]) -> list[Judgement]:
        """Those that say something else than the book does: another outcome or weight, or a new pair.

        Who judges a field again and again journals and folds only these, or old judgements would stay young.
        """
        held = {(j.author, j.statement): (j.outcome, j.weight) for j in self.judgements}
        return [j for j in judgements if held.get((j.author, j.statement)) != (j.outcome, j.weight)]


def _account(author: bytes, record: Iterable[Judgement], rules: TrustRules) -> Account:
    """Fold at least one judgement of an author, in order."""
    trust, at_ns = TRUST_DEFAULT, None
    sums: dict[Outcome, list[float]] = {Outcome.RIGHT: [], Outcome.WRONG: []}
    for judgement in record:
        if at_ns is not None:
            trust = rules.decayed(trust, judgement.at_ns - at_ns)
        trust = rules.moved(trust, judgement.outcome is Outcome.RIGHT, judgement.weight)
        at_ns = judgement.at_ns
        sums[judgement.outcome].append(judgement.weight)
    return Account(author, trust, at_ns or 0, math.fsum(sums[Outcome.RIGHT]), math.fsum(sums[Outcome.WRONG]))


def fold_judgements(
    judgements: Iterable[Judgement], *, rules: TrustRules | None = None, authors_max: int = AUTHORS_MAX
) -> TrustBook:
    """The trust that a set of judgements comes to; their order and repetition change nothing.

    Of one author the newest 256 are kept. Of more than `authors_max` authors, those with the least weight of
    judgements are forgotten (of equals those judged longest ago, then the greater ids), so that a crowd of fresh keys
    displaces nobody with a history.

    Args:
        judgements: any number of them.
        rules: how they move trust; the Bayesian update unless given.
        authors_max: authors to remember, in [1, 4096].

    Raises:
        TrustError: a bound is out of range.
    """
    check_number("authors_max", authors_max, 1, AUTHORS_MAX)
    newest: dict[tuple[bytes, bytes], Judgement] = {}
    for judgement in judgements:
        pair = (judgement.author, judgement.statement)
        known = newest.get(pair)
        if known is None or _rank(judgement) > _rank(known):
            newest[pair] = judgement
    records: dict[bytes, list[Judgement]] = {}
    for judgement in sorted(newest.values(), key=_order):
        records.setdefault(judgement.author, []).append(judgement)
    records = {author: record[-JUDGEMENTS_MAX:] for author, record in records.items()}
    if len(records) > authors_max:
        records = {author: records[author] for author in sorted(_best_known(records)[:authors_max])}
    kept = tuple([judgement for record in records.values() for judgement in record])
    return TrustBook(judgements=kept, rules=rules or TrustRules(), authors_max=authors_max)


class TrustRecord:
    """One author's judgements, folded as they come: a judgement later than all others costs one step and no new fold.

    The trust is that of `fold_judgements`, with two differences, both for who judges a field again and again. What says
    once more what is known changes nothing, not even its time. When there are more than 256 judgements the older half
    is forgotten at once, so that few folds begin anew.

    Args:
        rules: how judgements move trust; the Bayesian update unless given.

    Attributes:
        trust: in [0.01, 0.99], as the last judgement left it; 0.5 before there is one.
    """

    def __init__(self, rules: TrustRules | None = None) -> None:
        self.trust = TRUST_DEFAULT
        self._rules = rules or TrustRules()
        self._newest: dict[bytes, Judgement] = {}
        self._last: Judgement | None = None

    def __len__(self) -> int:
        return len(self._newest)

    def add(self, judgement: Judgement) -> None:
        """Take in a judgement of this author."""
        known = self._newest.get(judgement.statement)
        if known is not None:
            is_news = (known.outcome, known.weight) != (judgement.outcome, judgement.weight)
            if is_news and _rank(judgement) > _rank(known):
                self._newest[judgement.statement] = judgement
                self._fold_anew(len(self._newest))
            return
        self._newest[judgement.statement] = judgement
        if len(self._newest) > JUDGEMENTS_MAX:
            self._fold_anew(JUDGEMENTS_MAX // 2)
        elif self._last is None or _order(judgement) > _order(self._last):
            self._step(judgement)
        else:
            self._fold_anew(len(self._newest))

    def _fold_anew(self, kept: int) -> None:
        record = sorted(self._newest.values(), key=_order)[-kept:]
        self._newest = {judgement.statement: judgement for judgement in record}
        self.trust, self._last = TRUST_DEFAULT, None
        for judgement in record:
            self._step(judgement)

    def _step(self, judgement: Judgement) -> None:
        if self._last is not None:
            self.trust = self._rules.decayed(self.trust, judgement.at_ns - self._last.at_ns)
        self.trust = self._rules.moved(self.trust, judgement.outcome is Outcome.RIGHT, judgement.weight)
        self._last = judgement


def _best_known(records: dict[bytes, list[Judgement]]) -> list[bytes]:
    """Authors, the ones with the most evidence first."""

    def key(author: bytes) -> tuple[float, int, bytes]:
        record = records[author]
        return (-math.fsum([judgement.weight for judgement in record]), -record[-1].at_ns, author)

    return sorted(records, key=key)


# ---- judgements from a field


def verdict_without(votes: Tally, lineage: str, policy: ConsensusPolicy = _QUORUM) -> ConsensusState:
    """The consensus that votes give when one lineage's is left out.

    Args:
        votes: all of them.
        lineage: whose vote is not asked.
        policy: how votes become an answer.
    """
    others = tuple([vote for vote in votes.votes if vote.lineage != lineage])
    support, oppose = math.fsum([v.support for v in others]), math.fsum([v.oppose for v in others])
    return policy.read(Tally(others, support, oppose)).state


def judgements_of(
    field: Field | Iterable[Reading],
    observer: Observer = EVERYONE,
    policy: ConsensusPolicy = _QUORUM,
    *,
    now_ns: int,
    known: Mapping[bytes, bool] | None = None,
    weight: float = CONSENSUS_WEIGHT,
    known_weight: float = 1.0,
) -> list[Judgement]:
    """Who was right and who was wrong, by what is read now.

    Where the observer knows whether a statement is true, that decides. Otherwise consensus does: reached makes
    supporters right and opposers wrong, rejected the other way round, open judges nobody. A node is judged only where
    the same consensus stands without its lineage: its own vote may keep a statement open, and so everybody unjudged,
    but never make it right. A node that has withdrawn is not judged; what it was judged before stands.

    Confidence does not lessen a judgement: a stance votes fully however unsure, and must answer for it fully.

    Args:
        field: what is read: a field at `now_ns`, or readings.
        observer: whose weights count in the consensus.
        policy: how votes become an answer; of lineages with the same vote and size only one is left out to ask it,
            so it must not look at names.
        now_ns: when; the time of all judgements.
        known: statement id to whether it is true, for what the observer saw itself.
        weight: of a judgement by consensus, in (0, 1].
        known_weight: of a judgement by what is known, in (0, 1].

    Returns:
        Judgements by statement, then author.

    Raises:
        TrustError: the time or a weight is out of bounds.
    """
    _check_time(now_ns)
    truths = known or {}
    if isinstance(field, Field):
        felt = field.sense(now_ns, threshold=0.0, observer=observer)
        readings: Iterable[Reading] = (field.read(sensed.ref, now_ns, observer, policy) for sensed in felt)
    else:
        readings = field
    found: list[Judgement] = []
    for reading in readings:
        truth = truths.get(reading.statement)
        judged = _by_truth(reading, truth) if truth is not None else _by_consensus(reading, observer, policy)
        counts = weight if truth is None else known_weight
        found += [
            Judgement(author=author, statement=reading.statement, outcome=outcome, at_ns=now_ns, weight=counts)
            for author, outcome in judged
        ]
    return sorted(found, key=lambda judgement: (judgement.statement, judgement.author))


def _stands(reading: Reading) -> list[Position]:
    """Who supports or opposes."""
    return [position for position in reading.positions if position.kind is not StanceKind.WITHDRAW]


def _outcome(kind: StanceKind, is_true: bool) -> Outcome:
    return Outcome.RIGHT if (kind is StanceKind.SUPPORT) == is_true else Outcome.WRONG


def _by_truth(reading: Reading, is_true: bool) -> list[tuple[bytes, Outcome]]:
    return [(position.author, _outcome(position.kind, is_true)) for position in _stands(reading)]


def _by_consensus(reading: Reading, observer: Observer, policy: ConsensusPolicy) -> list[tuple[bytes, Outcome]]:
    """Judge each where the others' votes say the same; lineages of one vote and size leave the same others."""
    stands = _stands(reading)
    votes = tally([(position.author, position.kind) for position in stands], observer)
    consensus = policy.read(votes).state
    if consensus is ConsensusState.OPEN:
        return []
    by_lineage: dict[str, ConsensusState] = {}
    by_vote: dict[tuple[float, float, int, int], ConsensusState] = {}
    for vote in votes.votes:
        key = (vote.support, vote.oppose, len(vote.supporters), len(vote.opposers))
        if key not in by_vote:
            by_vote[key] = verdict_without(votes, vote.lineage, policy)
        by_lineage[vote.lineage] = by_vote[key]
    is_true = consensus is ConsensusState.REACHED
    return [
        (position.author, _outcome(position.kind, is_true))
        for position in stands
        if by_lineage[observer.lineage(position.author)] is consensus
    ]


def encode_trust(book: TrustBook) -> bytes:
    """A book as JSON; ids are in base64."""
    return msgspec.json.encode(book)


def decode_trust(encoded: bytes) -> TrustBook:
    """Read a book from JSON; what is read folds to the same trust.

    Raises:
        TrustError: it is not the JSON of a book within the bounds.
    """
    try:
        return msgspec.json.decode(encoded, type=TrustBook)
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
        raise TrustError(f"not a book of trust: {str(error)[:200]}") from None
