"""Behaviour: fingerprints against small records done by hand, and how often detectors are right and wrong.

Chances are measured over many seeds and held to stated bounds; a failure prints the seeds that it came from.
"""

from __future__ import annotations

import math
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from smesh_core import Signal, SignalType, Stance, StanceKind, behaviour, node_id
from smesh_core.behaviour import (
    Agreement,
    AnomalyKind,
    Fingerprint,
    agreements,
    change_in,
    fingerprints,
    unusual_authors,
    unusual_pairs,
)
from smesh_core.errors import TrustError
from smesh_core.rng import Stream, draw_unit, key
from smesh_core.trust import update_bayesian

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

S = 10**9
SUPPORT, OPPOSE, WITHDRAW = StanceKind.SUPPORT, StanceKind.OPPOSE, StanceKind.WITHDRAW
ADA, BO, CY, DI = (node_id(name) for name in ("ada", "bo", "cy", "di"))
Elements = list[Signal | Stance]


def said(author: bytes, seq: int, at_ns: int = 0, **more: Any) -> Signal:
    return Signal(author=author, seq=seq, created_at_ns=at_ns, **more)


def stands(author: bytes, seq: int, on: Signal, kind: StanceKind = SUPPORT, at_ns: int = 0, **more: Any) -> Stance:
    return Stance(statement=on.statement, author=author, seq=seq, kind=kind, created_at_ns=at_ns, **more)


def of(author: bytes, elements: Elements, **more: Any) -> Fingerprint:
    return fingerprints(elements, **more)[author]


# ---- fingerprints by hand


def test_rate_is_elements_by_the_time_between_them() -> None:
    assert of(ADA, [said(ADA, n, n * 10 * S) for n in range(1, 8)]).rate_per_min == pytest.approx(6.0)
    assert of(ADA, [said(ADA, 1)]).rate_per_min == 0.0
    assert of(ADA, [said(ADA, n) for n in range(11)]).rate_per_min == pytest.approx(600.0)  # within one second at least


def test_burstiness_is_minus_one_for_a_clock_and_high_for_bursts() -> None:
    clock = [said(ADA, n, n * S) for n in range(50)]
    bursts = [said(ADA, n, (n // 10) * 1000 * S + n) for n in range(50)]
    assert of(ADA, clock).burstiness == -1.0
    intervals = np.array([1] * 9 + ([1000 * S + 1] + [1] * 9) * 4, float)
    expected = (intervals.std() - intervals.mean()) / (intervals.std() + intervals.mean())
    assert of(ADA, bursts).burstiness == pytest.approx(expected)
    assert expected > 0.4
    assert of(ADA, [said(ADA, n) for n in range(5)]).burstiness == 0.0
    assert of(ADA, [said(ADA, 1), said(ADA, 2, S)]).burstiness == 0.0


def test_what_is_said_is_counted_by_type_payload_and_confidence() -> None:
    kinds = [SignalType.DATA, SignalType.DATA, SignalType.ALERT, SignalType.QUERY]
    payloads = [b"a", b"a", b"b", b"a"]
    confidences = [0.2, 0.4, 0.6, 0.8]
    signals = [
        said(ADA, n, type=kind, payload=payload, confidence=confidence)
        for n, kind, payload, confidence in zip(count(), kinds, payloads, confidences, strict=False)
    ]
    ada = of(ADA, signals)
    assert ada.emissions == 4
    assert ada.type_shares == (0.5, 0.25, 0.0, 0.0, 0.0, 0.25, 0.0)
    assert ada.repetition == 0.5
    assert (ada.confidence_mean, ada.confidence_spread) == pytest.approx((0.5, math.sqrt(0.05)))


def test_stances_are_counted_by_kind_and_promptness() -> None:
    by_ada, by_bo = said(ADA, 1, 0), said(BO, 1, 10 * S)
    unseen = said(CY, 1)
    elements: Elements = [
        by_ada,
        by_bo,
        stands(CY, 2, by_ada, SUPPORT, S, confidence=0.5),  # exactly a second after: prompt
        stands(CY, 3, by_bo, SUPPORT, 12 * S, confidence=0.7),
        stands(CY, 4, by_bo, OPPOSE, 13 * S, confidence=0.9),
        stands(CY, 5, by_ada, WITHDRAW, 14 * S),
        stands(CY, 6, unseen, SUPPORT, S, confidence=0.1),  # on what nobody here said
    ]
    cy = of(CY, elements)
    assert (cy.emissions, cy.stances, cy.stances_on_others, cy.supports_of_others) == (0, 5, 4, 2)
    assert (cy.support_share, cy.oppose_share, cy.withdraw_share) == (0.6, 0.2, 0.2)
    assert cy.prompt_share == 0.25
    assert of(CY, elements, prompt_ns=2 * S).prompt_share == 0.5
    assert cy.confidence_mean == pytest.approx((0.5 + 0.7 + 0.9 + 0.1) / 4)  # a withdrawal is not sure of anything
    assert cy.support_entropy_bits == 1.0


def test_entropy_counts_whose_statements_are_supported() -> None:
    signals = [said(node_id(f"a{n}"), 1) for n in range(8)]
    broad = [stands(ADA, n, signal) for n, signal in enumerate(signals)]
    several = [said(BO, n) for n in range(8)]
    narrow = [stands(CY, n, signal) for n, signal in enumerate(several)]
    own = [stands(BO, 100 + n, signal) for n, signal in enumerate(several)]
    found = fingerprints([*signals, *broad, *several, *narrow, *own])
    assert found[ADA].support_entropy_bits == 3.0
    assert found[CY].support_entropy_bits == 0.0
    assert found[BO].supports_of_others == 0  # it cannot widen its circle by supporting itself


def test_a_statement_is_its_first_emitters() -> None:
    first, second = said(ADA, 1, 5, subject=b"s"), said(BO, 1, 9, subject=b"s")
    supporting = stands(BO, 2, first, SUPPORT, 9)
    assert of(BO, [second, first, supporting]).supports_of_others == 1
    assert of(ADA, [second, first, stands(ADA, 2, first)]).supports_of_others == 0


@given(st.randoms(), st.integers(0, 20))
def test_order_and_repetition_change_nothing(random: Any, twice: int) -> None:
    elements, _ = society(3, authors=5, statements=8)
    shuffled = elements + elements[:twice]
    random.shuffle(shuffled)
    assert fingerprints(shuffled) == fingerprints(elements)
    assert agreements(shuffled) == agreements(elements)


@given(st.integers(0, 10**6))
def test_fingerprints_stay_in_their_bounds(seed: int) -> None:
    elements, _ = society(seed, authors=4, statements=6)
    for author, print_ in fingerprints(elements).items():
        assert print_.author == author
        assert -1.0 <= print_.burstiness <= 1.0
        assert print_.emissions == 0 or math.fsum(print_.type_shares) == pytest.approx(1.0)
        shares = (print_.support_share, print_.oppose_share, print_.withdraw_share, print_.prompt_share)
        assert all(0.0 <= share <= 1.0 for share in (*shares, print_.repetition, print_.confidence_mean))
        assert math.fsum(shares[:3]) == pytest.approx(1.0 if print_.stances else 0.0)
        assert 0.0 <= print_.support_entropy_bits <= math.log2(4)


def test_nobody_has_no_fingerprint() -> None:
    assert fingerprints([]) == {}
    assert unusual_authors([]) == []
    assert agreements([]) == []
    assert unusual_pairs([]) == []


# ---- a population by chance


def dice(seed: int, salt: int = 0) -> Iterator[float]:
    """Uniform numbers in (0, 1), the same for one seed."""
    for block in count():
        yield from draw_unit(key(seed, Stream.SCENARIO, block, salt), np.arange(1024)).tolist()


def society(
    seed: int, *, authors: int = 20, statements: int = 300, accuracy: float = 0.9
) -> tuple[Elements, list[tuple[Signal, bool]]]:
    """Honest authors: a true statement is supported, and a false one opposed, by nearly all who look at it."""
    die = dice(seed)
    nodes = [node_id(f"honest {n}") for n in range(authors)]
    seqs = {node: count(1) for node in nodes}
    elements: Elements = []
    truths = []
    for n in range(statements):
        author, at_ns = nodes[int(next(die) * authors)], int(next(die) * 3600 * S)
        kind = SignalType.ALERT if next(die) < 0.3 else SignalType.DATA
        signal = said(author, next(seqs[author]), at_ns, type=kind, payload=b"%d" % n, confidence=0.5 + 0.4 * next(die))
        is_true = next(die) < 0.7
        truths.append((signal, is_true))
        elements.append(signal)
        for node in nodes:
            if node != author and next(die) < 0.3:
                takes = SUPPORT if (next(die) < accuracy) == is_true else OPPOSE
                later = at_ns - int(30 * S * math.log(next(die)))
                elements.append(stands(node, next(seqs[node]), signal, takes, later, confidence=0.5 + 0.4 * next(die)))
    return elements, truths


def kinds_of(author: bytes, elements: Elements) -> set[AnomalyKind]:
    return {a.kind for a in unusual_authors(fingerprints(elements).values()) if a.author == author}


def test_honest_populations_are_rarely_suspected() -> None:
    """At most one population in thirty has any author named, of 20; and as few any pair."""
    strange, paired = [], []
    for seed in range(30):
        elements, _ = society(seed)
        if unusual_authors(fingerprints(elements).values()):
            strange.append(seed)
        if unusual_pairs(agreements(elements)):
            paired.append(seed)
    assert len(strange) <= 1, f"seeds {strange}"
    assert len(paired) <= 1, f"seeds {paired}"


ROGUE = node_id("rogue")


def flooding(truths: list[tuple[Signal, bool]]) -> Elements:
    return [said(ROGUE, n, n * S // 20, payload=b"buy") for n in range(2000)]


def agreeing_at_once(truths: list[tuple[Signal, bool]]) -> Elements:
    return [
        stands(ROGUE, n, signal, SUPPORT, signal.created_at_ns + S // 10) for n, (signal, _) in enumerate(truths[:100])
    ]


def opposing_all(truths: list[tuple[Signal, bool]]) -> Elements:
    return [
        stands(ROGUE, n, s, OPPOSE, s.created_at_ns + 20 * S, confidence=0.7) for n, (s, _) in enumerate(truths[:100])
    ]


def flattering(truths: list[tuple[Signal, bool]]) -> Elements:
    """Supports one author's statements only."""
    master = truths[0][0].author
    praised = [s for s, _ in truths if s.author == master] + [
        said(master, 10_000 + n, n * 60 * S, payload=b"m%d" % n) for n in range(20)
    ]
    new: Elements = [s for s in praised if s.seq >= 10_000]
    return new + [stands(ROGUE, n, s, SUPPORT, s.created_at_ns + 20 * S, confidence=0.7) for n, s in enumerate(praised)]


@pytest.mark.parametrize(
    ("acts", "kinds"),
    [
        (flooding, {AnomalyKind.RATE, AnomalyKind.REPETITION}),
        (agreeing_at_once, {AnomalyKind.PROMPT}),
        (opposing_all, {AnomalyKind.OPPOSE, AnomalyKind.SUPPORT}),
        (flattering, {AnomalyKind.ENTROPY}),
    ],
)
def test_misbehaving_author_is_named_with_what_it_does(
    acts: Callable[[list[tuple[Signal, bool]]], Elements], kinds: set[AnomalyKind]
) -> None:
    missed = []
    for seed in range(8):
        elements, truths = society(seed)
        if not kinds <= kinds_of(ROGUE, elements + acts(truths)):
            missed.append(seed)
    assert not missed, f"seeds {missed}"


def test_anomaly_says_the_numbers_behind_it() -> None:
    elements, truths = society(1)
    found = [a for a in unusual_authors(fingerprints(elements + flooding(truths)).values()) if a.author == ROGUE]
    rate = next(a for a in found if a.kind is AnomalyKind.RATE)
    rates = sorted(f.rate_per_min for f in fingerprints(elements).values())
    assert rate.value == pytest.approx(1200.0, rel=1e-3)
    assert rates[0] <= rate.usual <= rates[-1]
    assert rate.score > rate.limit == 6.0
    assert [a.detail for a in found if a.kind is AnomalyKind.SIGNAL_TYPE] in ([], ["alert"], ["data"])
    assert unusual_authors(fingerprints(elements + flooding(truths)).values(), z_max=1e6) == []


def plain(n: int, **change: Any) -> Fingerprint:
    usual: dict[str, Any] = {
        "author": node_id(str(n)), "emissions": 100, "stances": 100, "stances_on_others": 100,
        "supports_of_others": 100, "rate_per_min": 6.0, "burstiness": 0.0, "type_shares": (1.0,) + (0.0,) * 6,
        "confidence_mean": 0.8, "confidence_spread": 0.1, "support_share": 0.9, "oppose_share": 0.1,
        "withdraw_share": 0.0, "prompt_share": 0.0, "repetition": 0.0, "support_entropy_bits": 3.0,
    }  # fmt: skip
    return Fingerprint(**{**usual, **change})


def test_population_of_equals_divides_by_no_zero() -> None:
    equals = [plain(n) for n in range(20)]
    assert unusual_authors(equals) == []
    assert unusual_authors([*equals, plain(20, confidence_mean=0.805, repetition=0.01)]) == []
    named = unusual_authors([*equals, plain(20, confidence_mean=0.1)])
    assert [(a.kind, a.value, a.usual) for a in named] == [(AnomalyKind.CONFIDENCE, 0.1, 0.8)]
    assert named[0].score == pytest.approx(0.7 / 0.05)


def test_share_of_few_elements_is_allowed_its_chance() -> None:
    """0.5 is far from 0.1 for a hundred stances, and not for ten: s² = 0.05² + 0.1 · 0.9 / n."""
    equals = [plain(n) for n in range(20)]
    many, few = plain(20, oppose_share=0.5), plain(20, oppose_share=0.5, stances=10)
    assert [a.score for a in unusual_authors([*equals, many])] == pytest.approx([0.4 / math.sqrt(0.0025 + 0.0009)])
    assert unusual_authors([*equals, few]) == []


def test_minority_of_misbehaving_authors_does_not_move_what_is_usual() -> None:
    people = [plain(n, burstiness=0.005 * n) for n in range(20)] + [plain(n, burstiness=1.0) for n in range(20, 29)]
    assert {a.author for a in unusual_authors(people)} == {node_id(str(n)) for n in range(20, 29)}


def test_few_elements_and_few_authors_say_nothing() -> None:
    equals = [plain(n) for n in range(20)]
    silent = plain(20, emissions=3, stances=2, stances_on_others=2, supports_of_others=2, support_entropy_bits=0.0)
    assert unusual_authors([*equals, silent]) == []
    assert unusual_authors([*equals[:6], plain(20, confidence_mean=0.1)]) == []
    assert unusual_authors([*equals[:7], plain(20, confidence_mean=0.1)]) != []


# ---- an author's own record


def record(seed: int, wrong: float, length: int) -> list[bool]:
    return (draw_unit(key(seed, Stream.EVIDENCE), np.arange(length)) >= wrong).tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("wrong", [0.0, 0.02, 0.1, 0.2, 0.3])
def test_steady_record_is_rarely_suspected(wrong: float) -> None:
    """In 540 outcomes, at most 5 of 100 authors that err as ever are named."""
    named = [seed for seed in range(200) if change_in(record(seed, wrong, 540))]
    assert len(named) <= 10, f"seeds {named}"


@pytest.mark.parametrize(("wrong", "then"), [(0.02, 0.3), (0.05, 0.35), (0.1, 0.5), (0.2, 0.7)])
def test_slow_poisoning_is_noticed(wrong: float, then: float) -> None:
    """Who was right 200 times and then errs more is named within 100 outcomes in at least 90 of 100 cases."""
    missed = []
    for seed in range(100):
        change = change_in(record(seed, wrong, 200) + record(seed + 10**6, then, 100))
        if change is None or change.noticed < 200:
            missed.append(seed)
    assert len(missed) <= 10, f"seeds {missed}"


def test_poisoner_is_noticed_while_its_trust_is_still_high() -> None:
    """One lie in six: each is paid for by five truths, so that trust falls no further."""
    outcomes = [True] * 100 + [False, True, True, True, True, True] * 20
    change = change_in(outcomes)
    assert change is not None
    trust = 0.5
    for outcome in outcomes[: change.noticed + 1]:
        trust = update_bayesian(trust, outcome)
    assert trust > 0.9


def test_change_says_where_it_began() -> None:
    change = change_in([True] * 100 + [False] * 20)
    assert change is not None
    assert change.began == 100
    assert 100 < change.noticed < 110
    assert change.since == 1.0
    assert change.before == pytest.approx(1 - 0.1 ** (1 / 61), abs=1e-9)
    assert change.score > change.limit == 6.0
    at_once = change_in([True] * 60 + [False] * 20)
    assert at_once is not None
    assert at_once.began == 60
    anomaly = change.anomaly(ADA)
    assert (anomaly.author, anomaly.kind, anomaly.value) == (ADA, AnomalyKind.RECORD, 1.0)


@given(st.lists(st.booleans(), max_size=200), st.lists(st.booleans(), max_size=50))
def test_what_follows_does_not_unmake_a_change(outcomes: list[bool], more: list[bool]) -> None:
    change = change_in(outcomes, learn=20)
    if change is not None:
        assert change_in(outcomes + more, learn=20) == change
        assert change_in(outcomes[: change.noticed], learn=20) is None
        assert 20 <= change.began <= change.noticed < len(outcomes)


def test_better_or_short_record_is_no_change_for_the_worse() -> None:
    assert change_in([False] * 60 + [True] * 500) is None
    assert change_in([True] * 60 + [False] * 2) is None
    assert change_in([]) is None


# ---- pairs


def test_expected_agreement_is_what_chance_gives_busy_authors_on_popular_statements() -> None:
    """Everybody supports everything: nothing is surprising. Together, all pairs have what there is."""
    nodes = [node_id(f"n{n}") for n in range(6)]
    signals = [said(nodes[0], n) for n in range(10)]
    elements: Elements = [*signals, *(stands(node, 100 + n, s) for node in nodes[1:] for n, s in enumerate(signals))]
    pairs = agreements(elements)
    assert len(pairs) == 15
    assert {(pair.together, pair.surprise) for pair in pairs} == {(10, 0.0)}
    assert [pair.expected for pair in pairs] == pytest.approx([10.0] * 15)


@given(st.integers(0, 10**6))
def test_agreements_are_those_of_counting_pair_by_pair(seed: int) -> None:
    elements, _ = society(seed, authors=5, statements=12)
    newest: dict[tuple[bytes, bytes], Signal | Stance] = {}
    for e in sorted(elements, key=lambda e: (e.seq, e.id)):
        newest[e.statement, e.author] = e
    sets: dict[bytes, set[bytes]] = {}
    for (statement, author), e in newest.items():
        if isinstance(e, Signal) or e.kind is SUPPORT:
            sets.setdefault(author, set()).add(statement)
    nodes = sorted(sets)
    expected = {(a, b): len(sets[a] & sets[b]) for a in nodes for b in nodes if a < b and sets[a] & sets[b]}
    pairs = agreements(elements)
    assert {(pair.one, pair.other): pair.together for pair in pairs} == expected
    scale = sum(len(sets[a] & sets[b]) for a in nodes for b in nodes if a < b) / (
        sum(len(sets[a]) * len(sets[b]) for a in nodes for b in nodes if a < b) or 1
    )
    for pair in pairs:
        assert pair.expected == pytest.approx(scale * len(sets[pair.one]) * len(sets[pair.other]))
        tail = 1.0 - sum(math.exp(-pair.expected) * pair.expected**k / math.factorial(k) for k in range(pair.together))
        if pair.together > pair.expected:
            assert 10**-pair.surprise == pytest.approx(tail, rel=1e-6, abs=1e-12)


def test_withdrawn_support_is_no_agreement() -> None:
    signal = said(ADA, 1)
    elements: Elements = [signal, stands(BO, 1, signal), stands(BO, 2, signal, WITHDRAW), stands(CY, 1, signal, OPPOSE)]
    assert agreements(elements) == []
    assert [(p.together, p.one < p.other) for p in agreements(elements[:2])] == [(1, True)]


def colluding(seed: int, truths: list[tuple[Signal, bool]], ring: list[bytes], share: float) -> Elements:
    """A ring whose members support the same tenth of all statements, true or false."""
    die = dice(seed, 1)
    chosen = [signal for signal, _ in truths if next(die) < 0.1]
    return [
        stands(node, n, signal, SUPPORT, signal.created_at_ns + 20 * S, confidence=0.7)
        for node in ring
        for n, signal in enumerate(chosen)
        if next(die) < share
    ]


def test_colluding_pair_is_named_and_nobody_else() -> None:
    """Two that support the same tenth of the statements, each missing one in ten, in at least 18 of 20 populations."""
    ring = [node_id("left"), node_id("right")]
    missed, blamed = [], []
    for seed in range(20):
        elements, truths = society(seed)
        named = unusual_pairs(agreements(elements + colluding(seed, truths, ring, 0.9)))
        if {a.author for a in named if a.detail in {node.hex() for node in ring}} != set(ring):
            missed.append(seed)
        if {a.author for a in named} - set(ring):
            blamed.append(seed)
    assert len(missed) <= 2, f"seeds {missed}"
    assert not blamed, f"seeds {blamed}"


def test_pairs_are_named_by_all_three_bounds() -> None:
    strong = Agreement(ADA, BO, 20, 4.0, 8.0)
    assert strong.lift == 5.0
    named = unusual_pairs([strong])
    assert [(a.author, a.kind, a.value, a.usual, a.score, a.limit, a.detail) for a in named] == sorted([
        (ADA, AnomalyKind.AGREEMENT, 20.0, 4.0, 8.0, 3.0, BO.hex()),
        (BO, AnomalyKind.AGREEMENT, 20.0, 4.0, 8.0, 3.0, ADA.hex()),
    ])  # fmt: skip
    assert unusual_pairs([strong], lift_min=6.0) == []
    assert unusual_pairs([strong], together_min=21) == []
    assert unusual_pairs([strong], false_alarms=1e-9) == []
    crowd = [Agreement(*sorted([node_id(f"{n}"), node_id(f"-{n}")]), 1, 1.0, 0.0) for n in range(100)]
    assert unusual_pairs([strong, *crowd])[0].limit == pytest.approx(math.log10(202 * 201 / 2 / 0.001))


def test_crowded_statement_makes_a_bounded_number_of_pairs() -> None:
    signal = said(ADA, 1)
    crowd: Elements = [stands(node_id(f"n{n}"), 1, signal) for n in range(500)]
    pairs = agreements([signal, *crowd])
    assert len(pairs) == 64 * 63 // 2
    other = said(ADA, 2)
    elsewhere: Elements = [stands(node_id(f"n{n}"), 2, other) for n in range(500)]
    sampled = {p.one for p in pairs} | {p.other for p in pairs}
    again = agreements([other, *elsewhere])
    assert sampled != {p.one for p in again} | {p.other for p in again}


def test_number_of_pairs_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(behaviour, "PAIRS_MAX", 10)
    signals = [said(node_id(f"a{n}"), 1) for n in range(20)]
    elements: Elements = [*signals, *(stands(node_id(f"b{n}"), 1, s) for n, s in enumerate(signals))]
    assert len(agreements(elements)) == 10


# ---- garbage


def test_garbage_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for call in (
        lambda: fingerprints(["x"]),  # type: ignore[list-item]
        lambda: agreements([None]),  # type: ignore[list-item]
        lambda: fingerprints([], prompt_ns=-1),
        lambda: unusual_authors([], z_max=math.nan),
        lambda: unusual_authors([], authors_min=1),
        lambda: change_in([], learn=1),
        lambda: change_in([], odds=1.0),
        lambda: change_in([], limit=0.0),
        lambda: unusual_pairs([], false_alarms=0.0),
        lambda: unusual_pairs([], lift_min=0.5),
    ):
        with pytest.raises(TrustError) as caught:
            call()
        assert "\n" not in str(caught.value)
    monkeypatch.setattr(behaviour, "ELEMENTS_MAX", 3)
    with pytest.raises(TrustError):
        fingerprints([said(ADA, n) for n in range(4)])
    assert fingerprints([said(ADA, n % 3) for n in range(9)])[ADA].emissions == 3
