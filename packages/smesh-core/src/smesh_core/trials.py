"""A trial: one attack on one network, for some rounds, and what an honest observer makes of it in the last.

In each round, honest nodes emit statements, of which a part is false by mistake, and liars emit lies. Signals spread,
nodes take stances, and after the round the truth of a part of the statements is found out (somebody checks). With
trust as a defence, authors and those who took a stance are judged by what was found out, once for each statement, and
the next round begins with the trust that this comes to: in relaying, in reinforcing, and in what their word weighs.

**Defences**, each of which can be missing:

* *inhibition*: opposition is heard. Without it, stances against a statement count for nothing.
* *lineages*: the observer knows who belongs together (one owner, one model), and such count once.
* *roster*: only insiders have a vote; with trust as well, only those of them that it has not lost trust in.
* *trust*: as above. Where there is no roster, a word weighs what its author is trusted.

**What is measured** is of the last round. `coverage` is the part of the honest nodes (of the victims, where there are
any) that sensed an honest, true statement. `accuracy` is the part of all statements whose verdict is right: reached
where it is true, rejected where it is false. An open verdict is not right.

**Baselines** are what one would do instead. `majority` counts the heads of the same stances. `central` is a queue:
every node reports what it holds to one node drawn at random, which reads so many messages a tick, spam among them,
counts the heads it has read of and answers everybody; if it is hostile, nobody gets an answer. `flooding` sends
everything with full confidence and no bound on hops, at its cost in copies; the default consensus reads what comes of
it. `best-witness` goes by the one honest node that was right most often, as it could only be known afterwards; nobody
tells anybody anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
import numpy as np

from smesh_core import limits, rng
from smesh_core.attacks import ATTACKS, Siege, lay_siege
from smesh_core.baselines import by_heads, own_words, read_in
from smesh_core.consensus import ConsensusState, Majority, Quorum, Verdict
from smesh_core.errors import InvalidNetworkError
from smesh_core.judging import Judgement, Outcome, TrustBook
from smesh_core.network import Network
from smesh_core.rng import Stream
from smesh_core.signal import DecayCurve
from smesh_core.survey import node_id_of
from smesh_core.topologies import TOPOLOGIES
from smesh_core.weights import EVERYONE, Observer, Tally

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from smesh_core.consensus import ConsensusPolicy

__all__ = ["BASELINES", "DEFENCES", "Result", "Trial", "run_trial", "run_trials"]

DEFENCES: Final = ("inhibition", "lineages", "roster", "trust")
BASELINES: Final = ("majority", "central", "flooding", "best-witness")

_ORIGINS, _TRUTHS, _LIE_ORIGINS, _CHECKED, _CENTRE, _QUEUE = range(200, 206)
"""What a draw is for, in the place of a signal's number."""
_LEAGUE: Final = "league"
_ROUND_NS: Final = 3600 * 10**9
_BOUNDS: Final[dict[str, tuple[float, float]]] = {
    "fraction": (0.0, 1.0),
    "nodes": (2, 100_000),
    "degree": (1, 1000),
    "rounds": (1, 1000),
    "ticks": (2, 10_000),
    "statements": (1, 10_000),
    "lies": (0, 10_000),
    "false_share": (0.0, 1.0),
    "evidence": (0.0, 1.0),
    "error": (0.0, 1.0),
    "checked": (0.0, 1.0),
    "confidence": (0.0, 1.0),
    "radius": (1, limits.RADIUS_HOPS_MAX),
    "capacity": (1, 10_000),
    "service": (1, 1_000_000),
}


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What is tried.

    Attributes:
        attack: a name in `attacks.ATTACKS`.
        fraction: its extent; see `attacks.lay_siege`.
        defences: names in `DEFENCES`, in any order; or one name in `BASELINES` alone.
        topology: a name in `topologies.TOPOLOGIES`.
        nodes: how many there are before the attack.
        degree: neighbours that a node has, about.
        rounds: how many; the last is measured.
        ticks: of a round, each of a second.
        statements: that honest nodes make in a round, over its first quarter.
        lies: false statements that liars make in a round, over the same time.
        false_share: part of the honest statements that are false.
        evidence: part of the nodes that hold evidence about a statement.
        error: part of this evidence that misleads: it speaks against what is true, or for what is false.
        checked: part of a round's statements whose truth is found out after it.
        confidence: of all statements.
        radius: hops that a signal travels.
        capacity: signals that a node can attend to in one tick.
        service: messages that the centre of `central` can read in one tick.
        seed: of all randomness.

    Raises:
        InvalidNetworkError: a value is out of bounds.
    """

    attack: str = "none"
    fraction: float = 0.2
    defences: tuple[str, ...] = DEFENCES
    topology: str = "small-world"
    nodes: int = 100
    degree: int = 6
    rounds: int = 4
    ticks: int = 60
    statements: int = 30
    lies: int = 10
    false_share: float = 0.2
    evidence: float = 0.3
    error: float = 0.1
    checked: float = 0.5
    confidence: float = 0.8
    radius: int = 8
    capacity: int = 3
    service: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        if self.attack not in ATTACKS:
            raise InvalidNetworkError(f"no attack {self.attack!r}; there are {', '.join(ATTACKS)}")
        if self.topology not in TOPOLOGIES:
            raise InvalidNetworkError(f"no topology {self.topology!r}; there are {', '.join(TOPOLOGIES)}")
        is_baseline = len(self.defences) == 1 and self.defences[0] in BASELINES
        if not is_baseline and (set(self.defences) - set(DEFENCES) or len(set(self.defences)) < len(self.defences)):
            raise InvalidNetworkError(f"defences are some of {', '.join(DEFENCES)}, or one of {', '.join(BASELINES)}")
        for name, (low, high) in _BOUNDS.items():
            if not low <= getattr(self, name) <= high:
                raise InvalidNetworkError(f"{name} takes {low:g} to {high:g}, not {getattr(self, name)}")

    @property
    def baseline(self) -> str:
        """The baseline that this is, or nothing."""
        return self.defences[0] if self.defences and self.defences[0] in BASELINES else ""

    @property
    def spread(self) -> str:
        """What decides how signals spread in it; trials of equal spread are read from one network."""
        return "flooding" if self.baseline == "flooding" else "trust" if "trust" in self.defences else "alike"


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a trial, in its last round.

    Attributes:
        coverage: part of (honest node, honest and true statement) pairs in which the node sensed it; of victims only,
            where the attack has some.
        accuracy: part of the statements whose verdict is right.
        fooled: part of the false statements that were reached; 0 where there were none.
        suppressed: part of the true statements that were rejected; 0 where there were none.
        ticks_to_right: median age, in ticks, at which a right verdict was first read; None where none was.
        copies: what was sent, a statement: copies that crossed a hypha, or reports and answers of a centre.
    """

    coverage: float
    accuracy: float
    fooled: float
    suppressed: float
    ticks_to_right: float | None
    copies: float


class _Unopposed(NamedTuple):
    """A policy to which stances against a statement are nothing."""

    policy: ConsensusPolicy

    def read(self, votes: Tally) -> Verdict:
        """The verdict of the same policy, from support alone."""
        heard = tuple(msgspec.structs.replace(vote, oppose=0.0, opposers=()) for vote in votes.votes)
        return self.policy.read(Tally(heard, votes.support, 0.0))


class _Round(NamedTuple):
    """One round that has been run: statements are the first signals of the network, honest ones before lies."""

    network: Network
    is_true: NDArray[np.bool_]
    is_honest: NDArray[np.bool_]


def run_trial(trial: Trial) -> Result:
    """Run a trial.

    Raises:
        InvalidNetworkError: no network of that kind has so many nodes.
    """
    return run_trials(trial, [trial.defences])[0]


def run_trials(trial: Trial, systems: Sequence[tuple[str, ...]]) -> list[Result]:
    """Run one trial with other defences or baselines in the place of its own; a result for each.

    Who reads a network does not change it, so it is run once for all systems in which signals spread alike.

    Raises:
        InvalidNetworkError: no network of that kind has so many nodes, nobody honest is left, or a system is none.
    """
    base = TOPOLOGIES[trial.topology](trial.nodes, trial.seed, trial.degree)
    siege = lay_siege(trial.attack, trial.fraction, base, trial.seed)
    if not len(siege.honest):
        extent = f"{trial.attack} to {trial.fraction:g} of {trial.nodes} nodes"
        raise InvalidNetworkError(f"{extent} leaves nobody honest: more nodes, or less of it")
    tried = [msgspec.structs.replace(trial, defences=system) for system in systems]
    ran: dict[str, tuple[TrustBook, _Round]] = {}
    for one in tried:
        if one.spread not in ran:
            ran[one.spread] = _run_rounds(one, siege)
    return [_measured(one, siege, *ran[one.spread]) for one in tried]


def _run_rounds(trial: Trial, siege: Siege) -> tuple[TrustBook, _Round]:
    """Run the last round, and before it, where trust is moved, those that move it."""
    book, last = TrustBook(), trial.rounds - 1
    if "trust" in trial.defences:
        for turn in range(last):
            book = book.judged(_found_out(trial, _run_round(trial, siege, book, turn), turn))
    return book, _run_round(trial, siege, book, last)


def _seed(trial: Trial, turn: int) -> int:
    return int(rng.draw(rng.key(trial.seed, Stream.SCENARIO, turn, 0), 0)[0])


def _draws(trial: Trial, turn: int, purpose: int, count: int) -> NDArray[np.float64]:
    return rng.draw_unit(rng.key(trial.seed, Stream.SCENARIO, turn, purpose), np.arange(count))


def _run_round(trial: Trial, siege: Siege, book: TrustBook, turn: int) -> _Round:
    """Let one round happen, with the trust that those before it came to."""
    is_flood = trial.baseline == "flooding"
    count = siege.topology.node_count
    trusts = [book.trust(node_id_of(node)) for node in range(count)]
    network = Network(
        siege.topology,
        seed=_seed(trial, turn),
        capacity=trial.capacity,
        trust=trusts,
    )
    network.behave(siege.hostile, siege.behaves_in(turn, trial.rounds))
    honest, liars = siege.honest, siege.liars
    authors = honest[(_draws(trial, turn, _ORIGINS, trial.statements) * len(honest)).astype(np.int64)]
    is_true = _draws(trial, turn, _TRUTHS, trial.statements) >= trial.false_share
    lies = trial.lies if len(liars) and siege.behaves_in(turn, trial.rounds) else 0
    tellers = liars[(_draws(trial, turn, _LIE_ORIGINS, lies) * len(liars)).astype(np.int64)]
    is_true = np.append(is_true, np.zeros(lies, bool))
    is_honest = np.arange(len(is_true)) < trial.statements
    spread = max(1, trial.ticks // 4)
    right, wrong = trial.evidence * (1.0 - trial.error), trial.evidence * trial.error
    network.emit_batch(
        np.append(authors, tellers),
        confidence=1.0 if is_flood else trial.confidence,
        decay=DecayCurve.EXPONENTIAL,
        ttl_ns=trial.ticks * 10**9,
        radius=limits.RADIUS_HOPS_MAX if is_flood else trial.radius,
        evidence=np.where(is_true, right, wrong),
        counter_evidence=np.where(is_true, wrong, right),
        at_tick=np.append(
            np.arange(trial.statements) * spread // trial.statements, np.arange(lies) * spread // max(1, lies)
        ),
    )
    spam = np.repeat(siege.hostile, siege.spam_each())
    network.emit_batch(spam, radius=trial.radius, at_tick=np.arange(len(spam)) % max(1, trial.ticks // 2))
    network.run(trial.ticks)
    return _Round(network, is_true, is_honest)


def _found_out(trial: Trial, ran: _Round, turn: int) -> list[Judgement]:
    """Judgements of all who spoke about a statement whose truth somebody found out."""
    count = ran.network.signal_count
    is_checked = _draws(trial, turn, _CHECKED, count) < trial.checked
    is_true = np.append(ran.is_true, np.zeros(count - len(ran.is_true), bool))  # spam says nothing true
    found = ran.network.arrivals()
    found = found[is_checked[found["signal"]] & ((found["stance"] != 0) | (found["via"] < 0))]
    sides = np.where(found["via"] < 0, True, found["stance"] > 0) == is_true[found["signal"]]
    return [
        Judgement(
            author=node_id_of(node),
            statement=(turn * 2**32 + signal).to_bytes(limits.ID_BYTES, "big"),
            outcome=Outcome.RIGHT if is_right else Outcome.WRONG,
            at_ns=(turn + 1) * _ROUND_NS,
        )
        for node, signal, is_right in zip(found["node"].tolist(), found["signal"].tolist(), sides.tolist(), strict=True)
    ]


# ---- reading


def _observer(trial: Trial, siege: Siege, book: TrustBook) -> Observer:
    """With whose eyes the network is read."""
    ids = [node_id_of(node) for node in range(siege.topology.node_count)]
    hostile = {ids[node] for node in siege.hostile.tolist()} if "lineages" in trial.defences else set()
    lineages = {node: _LEAGUE if node in hostile else "" for node in ids}
    outside = {ids[node] for node in siege.outsiders.tolist()}
    if "roster" in trial.defences:
        is_distrusted = {node for node in ids if book.trust(node) < limits.TRUST_DEFAULT}
        return Observer(roster={node: of for node, of in lineages.items() if node not in outside | is_distrusted})
    if "trust" in trial.defences:
        return book.observer(declared={node: of for node, of in lineages.items() if of})
    return Observer(roster=lineages)


def _measured(trial: Trial, siege: Siege, book: TrustBook, ran: _Round) -> Result:
    """What the last round came to."""
    answers = _answers(trial, siege, book, ran)
    is_reached = np.array([state is ConsensusState.REACHED for state in answers.states])
    is_rejected = np.array([state is ConsensusState.REJECTED for state in answers.states])
    is_right = np.where(ran.is_true, is_reached, is_rejected)
    born = ran.network.state.signals["born"][: len(ran.is_true)]
    ages = (answers.ticks - born)[is_right & (answers.ticks >= 0)]
    return Result(
        coverage=answers.coverage,
        accuracy=float(is_right.mean()),
        fooled=_share(is_reached, ~ran.is_true),
        suppressed=_share(is_rejected, ran.is_true),
        ticks_to_right=float(np.median(ages)) if len(ages) else None,
        copies=answers.copies,
    )


def _share(chosen: NDArray[np.bool_], among: NDArray[np.bool_]) -> float:
    return float(chosen[among].mean()) if among.any() else 0.0


class _Answers(NamedTuple):
    """What is read of each statement, the tick in which it was first right (-1 if never), and at what cost."""

    states: Sequence[ConsensusState]
    ticks: NDArray[np.int64]
    coverage: float
    copies: float


def _answers(trial: Trial, siege: Siege, book: TrustBook, ran: _Round) -> _Answers:
    count = len(ran.is_true)
    if trial.baseline == "central":
        return _of_a_centre(trial, siege, ran)
    if trial.baseline == "best-witness":
        return _of_the_best_witness(trial, siege, ran)
    policy: ConsensusPolicy = Quorum()
    if trial.baseline == "majority":
        read = ran.network.verdicts(EVERYONE, Majority())
    elif trial.baseline == "flooding":
        read = ran.network.verdicts(EVERYONE, policy)
    else:
        heard = policy if "inhibition" in trial.defences else _Unopposed(policy)
        read = ran.network.verdicts(_observer(trial, siege, book), heard)
    ticks = np.where(ran.is_true, read.reached_tick[:count], read.rejected_tick[:count])
    copies = float(ran.network.state.signals["copies"].sum() / count)
    return _Answers(read.states[:count], ticks, _coverage(siege, ran), copies)


def _coverage(siege: Siege, ran: _Round) -> float:
    """Part of the pairs of an honest node, or a victim, and an honest true statement in which it sensed that."""
    seen = siege.victims if len(siege.victims) else siege.honest
    wanted = np.flatnonzero(ran.is_true & ran.is_honest)
    found = ran.network.arrivals()
    is_told = found["is_sensed"] & np.isin(found["node"], seen) & np.isin(found["signal"], wanted)
    said = np.isin(ran.network.state.signals["origin"][wanted], seen).sum()  # who says a thing need not sense it
    pairs = len(seen) * len(wanted) - said
    return float(is_told.sum() / pairs) if pairs else 0.0


def _of_a_centre(trial: Trial, siege: Siege, ran: _Round) -> _Answers:
    """Every node reports what it holds to one node, which reads in turn, counts heads and tells everybody."""
    signals, count = ran.network.state.signals, len(ran.is_true)
    born = signals["born"][:count]
    words = own_words(ran.network, trial.confidence, count)
    about, senders = np.nonzero(words)
    centre = int(_draws(trial, trial.rounds, _CENTRE, 1)[0] * trial.nodes)
    if centre in siege.hostile.tolist():
        return _Answers([ConsensusState.OPEN] * count, np.full(count, -1), 0.0, len(about) / count)
    spam = signals["born"][count:]
    # In the order in which the network would have them: who is first within a tick is drawn.
    drawn = np.argsort(_draws(trial, trial.rounds, _QUEUE, len(about) + len(spam)), kind="stable")
    come = np.append(born[about], spam) + 1
    read = np.empty(len(come), np.int64)
    read[drawn] = read_in(come[drawn], per_tick=trial.service, ticks=trial.ticks)
    is_read = read[: len(about)] >= 0
    heard = np.zeros_like(words)
    heard[about[is_read], senders[is_read]] = words[about[is_read], senders[is_read]]
    last = np.full(count, -1)
    np.maximum.at(last, about, read[: len(about)])
    is_answered = last >= 0
    wanted = ran.is_true & ran.is_honest
    return _Answers(
        by_heads(heard),
        last,
        coverage=_share(is_answered, wanted),
        copies=(len(come) + int(is_answered.sum()) * siege.topology.node_count) / count,
    )


def _of_the_best_witness(trial: Trial, siege: Siege, ran: _Round) -> _Answers:
    """The word of the one honest node that was right about most."""
    words = own_words(ran.network, trial.confidence, len(ran.is_true))
    scores = (words == np.where(ran.is_true, 1, -1)[:, None]).sum(axis=0)
    best = words[:, [siege.honest[np.argmax(scores[siege.honest])]]]
    return _Answers(by_heads(best), ran.network.state.signals["born"][: len(best)], 0.0, 0.0)
