"""Judging: trust is a function of a set of judgements, and nobody is judged by its own vote."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from smesh_core import (
    EVERYONE,
    Field,
    InvalidSignalError,
    Observer,
    Quorum,
    Reading,
    Ref,
    Signal,
    Stance,
    StanceKind,
    judging,
    node_id,
    tally,
)
from smesh_core.consensus import ConsensusPolicy, LogOdds, Majority
from smesh_core.errors import TrustError
from smesh_core.judging import (
    Judgement,
    Outcome,
    TrustBook,
    TrustRecord,
    TrustRules,
    decode_trust,
    encode_trust,
    fold_judgements,
    judgements_of,
    verdict_without,
)

DAY_NS = 24 * 3600 * 10**9
RIGHT, WRONG = Outcome
ADA, BO, CY, DI, ED = (node_id(name) for name in ("ada", "bo", "cy", "di", "ed"))
STATEMENTS = [node_id(f"statement {n}") for n in range(6)]


def judgement(author: bytes, statement: int, outcome: Outcome, at_ns: int = 0, weight: float = 1.0) -> Judgement:
    return Judgement(author=author, statement=STATEMENTS[statement], outcome=outcome, at_ns=at_ns, weight=weight)


JUDGEMENTS = st.lists(
    st.builds(
        judgement,
        st.sampled_from([ADA, BO, CY]),
        st.integers(0, 5),
        st.sampled_from(Outcome),
        st.integers(0, 4).map(lambda days: days * DAY_NS) | st.integers(0, 30 * DAY_NS),
        st.sampled_from([0.25, 0.5, 1.0]),
    ),
    max_size=15,
)


def oracle(judgements: list[Judgement], author: bytes, now_ns: int) -> float:
    """What the reference page says, with the numbers written out: Bayes, seven days, newest of a pair."""
    pairs: dict[bytes, list[Judgement]] = {}
    for one in judgements:
        if one.author == author:
            pairs.setdefault(one.statement, []).append(one)
    newest = [max(of, key=lambda j: (j.at_ns, j.outcome is WRONG, j.weight)) for of in pairs.values()]
    trust, last_ns = 0.5, None
    for one in sorted(newest, key=lambda j: (j.at_ns, j.statement)):
        if last_ns is not None:
            trust = 0.5 + (trust - 0.5) * 0.5 ** ((one.at_ns - last_ns) / (7 * DAY_NS))
        ratio = (0.9 / 0.5 if one.outcome is RIGHT else 0.1 / 0.5) ** one.weight
        trust = min(max(trust * ratio / (trust * ratio + 1 - trust), 0.01), 0.99)
        last_ns = one.at_ns
    return 0.5 if last_ns is None else 0.5 + (trust - 0.5) * 0.5 ** ((now_ns - last_ns) / (7 * DAY_NS))


# ---- folding


@given(JUDGEMENTS)
def test_book_is_what_the_reference_says(judgements: list[Judgement]) -> None:
    book = fold_judgements(judgements)
    for author in (ADA, BO, CY, DI):
        assert book.trust(author, 31 * DAY_NS) == pytest.approx(oracle(judgements, author, 31 * DAY_NS), abs=1e-12)


@given(JUDGEMENTS)
def test_a_record_that_grows_is_the_fold_of_all(judgements: list[Judgement]) -> None:
    record, heard = TrustRecord(), list[Judgement]()
    for one in (one for one in judgements if one.author == ADA):
        known = fold_judgements(heard).record(ADA)
        is_repeated = any((one.statement, one.outcome, one.weight) == (k.statement, k.outcome, k.weight) for k in known)
        record.add(one)
        heard += [] if is_repeated else [one]
        book = fold_judgements(heard)
        assert record.trust == pytest.approx(book.trust(ADA), abs=1e-12)
        assert len(record) == len(book.record(ADA))


def test_a_record_forgets_its_older_half_when_it_is_full() -> None:
    record, heard = TrustRecord(), list[Judgement]()
    for number in range(1000):
        outcome = WRONG if number % 7 == 0 else RIGHT
        one = Judgement(author=ADA, statement=number.to_bytes(32), outcome=outcome, at_ns=number * DAY_NS // 9)
        record.add(one)
        heard = [*heard[-127:], one] if len(heard) == 256 else [*heard, one]
        assert len(record) == len(heard) <= 256
        if number % 50 == 0 or number in {255, 256, 257}:
            assert record.trust == pytest.approx(fold_judgements(heard).trust(ADA), abs=1e-12), number


@given(JUDGEMENTS, st.randoms(), st.integers(0, 15))
def test_order_and_repetition_change_nothing(judgements: list[Judgement], random: Any, cut: int) -> None:
    shuffled = judgements + judgements[:cut]
    random.shuffle(shuffled)
    whole = fold_judgements(judgements)
    assert fold_judgements(shuffled) == whole
    part = fold_judgements(shuffled[:cut])
    for warmed in (part, whole):  # what a book has worked out is handed on, where it still holds
        [warmed.trust(author) for author in (ADA, BO, CY)]
    grown = part.judged(shuffled[cut:])
    assert grown == whole
    assert [grown.account(author) for author in (ADA, BO, CY)] == [whole.account(author) for author in (ADA, BO, CY)]
    assert whole.judged(judgements) == whole
    assert fold_judgements(whole.judgements) == whole


@given(JUDGEMENTS, st.randoms(), st.integers(0, 15))
def test_forgetting_the_oldest_judgements_does_not_depend_on_order(
    judgements: list[Judgement], random: Any, cut: int
) -> None:
    shuffled = list(judgements)
    random.shuffle(shuffled)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judging, "JUDGEMENTS_MAX", 3)
        whole = fold_judgements(judgements)
        assert all(len(whole.record(author)) <= 3 for author in whole.authors())
        assert fold_judgements(shuffled[:cut]).judged(shuffled[cut:]) == whole


def test_trust_moves_once_for_each_author_and_statement() -> None:
    """A node cannot lift itself by repeating a statement, nor be sunk by others' repeating a complaint."""
    once = fold_judgements([judgement(ADA, 0, RIGHT, 1000), judgement(BO, 0, WRONG, 1000)])
    often = fold_judgements(
        [judgement(ADA, 0, RIGHT, at) for at in range(1001)] + [judgement(BO, 0, WRONG, at) for at in range(1001)]
    )
    assert often == once
    assert once.trust(ADA) == pytest.approx(9 / 14)
    assert fold_judgements([judgement(ADA, n, RIGHT) for n in range(3)]).trust(ADA) > once.trust(ADA)


def test_newest_judgement_of_a_pair_takes_back_the_earlier() -> None:
    turned = fold_judgements([judgement(ADA, 0, WRONG, 2), judgement(ADA, 0, RIGHT, 1)])
    assert turned == fold_judgements([judgement(ADA, 0, WRONG, 2)])
    assert turned.trust(ADA) == pytest.approx(1 / 6)


def test_judgements_of_one_moment_are_settled_for_the_worse() -> None:
    both = [judgement(ADA, 0, RIGHT, 1), judgement(ADA, 0, WRONG, 1, 0.5), judgement(ADA, 0, WRONG, 1, 0.25)]
    assert fold_judgements(both).record(ADA) == (both[1],)


def test_trust_decays_between_judgements_and_after_them() -> None:
    book = fold_judgements([judgement(ADA, 0, RIGHT, 0), judgement(ADA, 1, RIGHT, 7 * DAY_NS)])
    first = 9 / 14
    faded = 0.5 + (first - 0.5) / 2
    second = faded * 1.8 / (faded * 1.8 + 1 - faded)
    assert book.trust(ADA, 0) == pytest.approx(first)
    assert book.trust(ADA, 7 * DAY_NS - 1) == pytest.approx(faded)
    assert book.trust(ADA) == book.trust(ADA, 7 * DAY_NS) == pytest.approx(second)
    assert book.trust(ADA, 14 * DAY_NS) == pytest.approx(0.5 + (second - 0.5) / 2)


def test_what_is_judged_later_is_not_known_yet() -> None:
    book = fold_judgements([judgement(ADA, 0, RIGHT, 5), judgement(ADA, 1, WRONG, 9)])
    assert book.trust(ADA, 4) == 0.5
    assert book.account(ADA, 4) is None
    assert book.observer(4).trust == {}
    assert book.account(ADA, 8) == fold_judgements([judgement(ADA, 0, RIGHT, 5)]).account(ADA)


def test_account_holds_the_evidence() -> None:
    account = fold_judgements([judgement(ADA, 0, RIGHT, 5, 0.5), judgement(ADA, 1, WRONG, 9)]).account(ADA)
    assert account is not None
    assert (account.right, account.wrong, account.evidence, account.at_ns) == (0.5, 1.0, 1.5, 9)


@pytest.mark.parametrize(
    ("rules", "trust"),
    [
        (TrustRules(), 0.5 * 0.36 / (0.5 * 0.36 + 0.5)),
        (TrustRules(update="additive"), 0.4),
        (TrustRules(update="additive", step_up=0.1, step_down=0.4), 0.2),
        (TrustRules(update="validation"), 0.598 + 0.2 * (0.01 - 0.598)),
        (TrustRules(update="validation", rate=0.0), 0.5),
    ],
)
def test_rules_say_how_trust_moves(rules: TrustRules, trust: float) -> None:
    book = fold_judgements([judgement(ADA, 0, RIGHT, 0), judgement(ADA, 1, WRONG, 1)], rules=rules)
    assert book.trust(ADA) == pytest.approx(trust)
    assert book.judged([]).rules == rules


def test_news_are_what_the_book_does_not_say_yet() -> None:
    book = fold_judgements([judgement(ADA, 0, RIGHT, 1), judgement(BO, 0, WRONG, 1)])
    read = [judgement(ADA, 0, RIGHT, 9), judgement(BO, 0, RIGHT, 9), judgement(CY, 0, WRONG, 9)]
    assert book.news(read) == read[1:]
    assert book.judged(read).news(read) == []


# ---- bounds


def test_crowd_of_fresh_keys_displaces_nobody_with_a_history() -> None:
    known = [judgement(a, n, RIGHT, 0) for a in (ADA, BO) for n in range(3)]
    crowd = [judgement(node_id(f"fresh {n}"), 0, RIGHT, DAY_NS) for n in range(1000)]
    book = fold_judgements(known + crowd, authors_max=10)
    assert len(book) == 10
    assert ADA in book
    assert book.record(BO) == fold_judgements(known).record(BO)
    assert book.authors() == tuple(sorted(book.authors()))
    assert book == fold_judgements(crowd[::-1] + known[::-1], authors_max=10)


def test_of_equally_known_authors_the_longest_unheard_is_forgotten() -> None:
    book = fold_judgements(
        [judgement(ADA, 0, RIGHT, 3), judgement(BO, 0, RIGHT, 1), judgement(CY, 0, RIGHT, 2)], authors_max=2
    )
    assert BO not in book
    assert len(book) == 2


def test_one_author_has_a_bounded_record() -> None:
    many = [
        Judgement(author=ADA, statement=node_id(f"s{n}"), outcome=RIGHT if n % 3 else WRONG, at_ns=n)
        for n in range(400)
    ]
    book = fold_judgements(many)
    assert book.record(ADA) == tuple(many[-256:])
    assert book.judged(many[:100]) == book


# ---- JSON


@given(JUDGEMENTS)
def test_book_survives_json(judgements: list[Judgement]) -> None:
    book = fold_judgements(judgements, rules=TrustRules(update="additive"), authors_max=7)
    assert decode_trust(encode_trust(book)) == book
    assert decode_trust(encode_trust(book)).trust(ADA) == book.trust(ADA)


@given(st.binary(max_size=60))
def test_bytes_that_are_no_book_are_refused(garbage: bytes) -> None:
    with pytest.raises(TrustError):
        decode_trust(garbage)


@pytest.mark.parametrize(
    ("part", "instead"),
    [
        (b'"weight":1.0', b'"weight":0.0'),
        (b'"weight":1.0', b'"weight":1.5'),
        (b'"at_ns":1', b'"at_ns":-1'),
        (b'"at_ns":1', b'"at_ns":9223372036854775808'),
        (b'"outcome":"right"', b'"outcome":"perhaps"'),
        (b'"author":"', b'"author":"AAAA'),
        (b'"update":"bayesian"', b'"update":"magic"'),
        (b'"step_down":0.15', b'"step_down":0.01'),
        (b'"authors_max":4096', b'"authors_max":0'),
        (b'"judgements":[', b'"judgements":[7,'),
    ],
)
def test_altered_book_is_refused_in_one_line(part: bytes, instead: bytes) -> None:
    encoded = encode_trust(fold_judgements([judgement(ADA, 0, RIGHT, 1)]))
    assert part in encoded
    with pytest.raises(TrustError) as caught:
        decode_trust(encoded.replace(part, instead))
    assert "\n" not in str(caught.value)


def test_book_with_two_judgements_of_a_pair_is_refused() -> None:
    with pytest.raises(TrustError, match="one for each statement"):
        TrustBook(judgements=(judgement(ADA, 0, RIGHT, 1), judgement(ADA, 0, RIGHT, 2)))
    with pytest.raises(TrustError, match="by author, time and statement"):
        TrustBook(judgements=(judgement(ADA, 0, RIGHT, 2), judgement(ADA, 1, RIGHT, 1)))


@pytest.mark.parametrize(
    "change",
    [{"weight": 0.0}, {"weight": float("nan")}, {"at_ns": -1}, {"at_ns": 1.0}, {"author": b"x"}, {"outcome": "right"},
     {"statement": None}],
)  # fmt: skip
def test_judgement_out_of_bounds_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(TrustError):
        msgspec.structs.replace(judgement(ADA, 0, RIGHT), **change)


def test_rules_that_make_no_sense_are_refused() -> None:
    for change in ({"half_life_ns": 0}, {"reliable_right": 0.4}, {"step_up": 0.0}, {"rate": 2.0}, {"update": "x"}):
        with pytest.raises(TrustError):
            TrustRules(**change)  # type: ignore[arg-type]


# ---- the book as an observer


def test_book_is_the_eyes_that_a_field_is_read_with() -> None:
    good = [judgement(BO, n, RIGHT, 0) for n in range(6)] + [judgement(CY, n, WRONG, 0) for n in range(6)]
    observer = fold_judgements(good).observer(roster={ADA: "tools"}, unknown_vote=0.1, declared={BO: "models"})
    assert [observer.weight(node) for node in (ADA, CY, DI)] == [1.0, 0.0, 0.0]
    assert observer.weight(BO) == pytest.approx(2 * 1.8**6 / (1.8**6 + 1) - 1)
    assert (observer.lineage(ADA), observer.lineage(BO), observer.lineage(DI)) == ("tools", "models", "(unknown)")


def test_observer_of_an_empty_book_counts_nobody_and_not_everybody() -> None:
    assert fold_judgements([]).observer().weight(ADA) == 0.0


def test_observer_reads_trust_as_it_is_then() -> None:
    book = fold_judgements([judgement(ADA, n, RIGHT, 0) for n in range(4)])
    assert book.observer(7 * DAY_NS).trust == {ADA: book.trust(ADA, 7 * DAY_NS)}
    assert book.observer(7 * DAY_NS).weight(ADA) == pytest.approx(book.observer().weight(ADA) / 2)
    with pytest.raises(InvalidSignalError):
        book.observer(unknown_vote=2.0)


# ---- judgements from a field


def said(author: bytes, supporters: list[bytes], opposers: list[bytes]) -> tuple[Field, Ref]:
    field = Field()
    ref = field.emit(Signal(author=author, seq=1, created_at_ns=0, subject=b"s"))
    for node in supporters:
        field.reinforce(ref, by=node, now_ns=0)
    for node in opposers:
        field.inhibit(ref, by=node, now_ns=0)
    return field, ref


def outcomes(judgements: list[Judgement]) -> dict[bytes, Outcome]:
    assert len({(j.author, j.statement) for j in judgements}) == len(judgements)
    return {one.author: one.outcome for one in judgements}


def test_consensus_makes_supporters_right_and_opposers_wrong() -> None:
    field, ref = said(ADA, [BO, CY], [DI])
    judged = judgements_of(field, now_ns=7)
    assert outcomes(judged) == {ADA: RIGHT, BO: RIGHT, CY: RIGHT, DI: WRONG}
    assert {(one.statement, one.at_ns, one.weight) for one in judged} == {(field.statement(ref), 7, 0.5)}


def test_rejection_makes_supporters_wrong_and_opposers_right() -> None:
    field, _ = said(ADA, [], [BO, CY, DI])
    assert outcomes(judgements_of(field, now_ns=0)) == {ADA: WRONG, BO: RIGHT, CY: RIGHT, DI: RIGHT}


def test_open_statement_judges_nobody() -> None:
    field, _ = said(ADA, [BO], [CY, DI])
    assert judgements_of(field, now_ns=0) == []


def test_nobody_is_judged_by_its_own_vote() -> None:
    """Reached for whoever reads it, but without either of the two it would not be."""
    field, ref = said(ADA, [BO], [])
    assert field.verdict(ref, 0).state.value == "reached"
    assert judgements_of(field, now_ns=0) == []


def test_vote_by_ones_own_lineage_confirms_nobody() -> None:
    roster = {ADA: "kin", BO: "kin", CY: "kin", DI: "", ED: ""}
    field, _ = said(ADA, [BO, CY, DI], [])
    assert outcomes(judgements_of(field, Observer(roster=roster), now_ns=0)) == {}
    field, _ = said(ADA, [BO, CY, DI, ED], [])
    judged = outcomes(judgements_of(field, Observer(roster=roster), now_ns=0))
    assert judged == dict.fromkeys(roster, RIGHT)  # any two of the three lineages would do


def test_lineage_that_turns_its_own_consensus_is_not_judged_by_it() -> None:
    """Four against three, and without one of the four nothing is decided: they are not wrong by a hair."""
    field, ref = said(ADA, [BO, CY], [DI, ED, node_id("f"), node_id("g")])
    assert field.verdict(ref, 0).state.value == "rejected"
    assert outcomes(judgements_of(field, now_ns=0)) == dict.fromkeys([ADA, BO, CY], WRONG)


def test_own_vote_may_keep_a_statement_open_but_makes_nobody_wrong() -> None:
    """Two against two: without any of them the others would decide, and all four would be wrong."""
    field, ref = said(ADA, [BO], [CY, DI])
    assert judgements_of(field, now_ns=1) == []
    field.withdraw(ref, by=BO, now_ns=1)
    assert outcomes(judgements_of(field, now_ns=1)) == {ADA: WRONG}


def test_strangers_are_judged_by_the_trusted_and_judge_nobody() -> None:
    crowd = [node_id(f"stranger {n}") for n in range(30)]
    field, _ = said(crowd[0], crowd[1:], [ADA, BO, CY])
    observer = Observer(roster={ADA: "", BO: "", CY: ""}, unknown_vote=1.0)
    assert outcomes(judgements_of(field, observer, now_ns=0)) == {
        **dict.fromkeys(crowd, WRONG),
        **dict.fromkeys([ADA, BO, CY], RIGHT),
    }
    alone, _ = said(crowd[0], crowd[1:], [])
    assert judgements_of(alone, observer, Quorum(weight=0.5, lineages=1), now_ns=0) == []


def test_what_the_observer_saw_itself_overrides_consensus() -> None:
    field, ref = said(ADA, [BO, CY], [DI])
    judged = judgements_of(field, now_ns=0, known={field.statement(ref): False})
    assert outcomes(judged) == {ADA: WRONG, BO: WRONG, CY: WRONG, DI: RIGHT}
    assert {one.weight for one in judged} == {1.0}
    lonely, its = said(ADA, [], [])
    assert outcomes(judgements_of(lonely, now_ns=0, known={lonely.statement(its): True})) == {ADA: RIGHT}
    assert outcomes(judgements_of(field, now_ns=0, known={node_id("other"): False}))[ADA] is RIGHT


def test_withdrawn_node_is_not_judged_anew_and_keeps_what_it_was_judged() -> None:
    field, ref = said(ADA, [BO, CY], [DI])
    book = fold_judgements(judgements_of(field, now_ns=0))
    field.withdraw(ref, by=DI, now_ns=1)
    later = judgements_of(field, now_ns=1)
    assert DI not in outcomes(later)
    assert book.judged(later).trust(DI) < 0.5


def test_readings_are_judged_like_their_field() -> None:
    field, ref = said(ADA, [BO, CY], [DI])
    observer, policy = Observer(roster={ADA: "", BO: "", CY: "", DI: ""}), Quorum(weight=1.5)
    readings = [field.read(ref, 3, observer, policy)]
    assert judgements_of(readings, observer, policy, now_ns=3) == judgements_of(field, observer, policy, now_ns=3)
    assert judgements_of([], now_ns=0) == []


def test_saying_it_again_wins_nothing() -> None:
    field, _ = said(ADA, [BO, CY], [])
    book = fold_judgements(judgements_of(field, now_ns=0))
    for seq in range(2, 40):
        field.emit(Signal(author=ADA, seq=seq, created_at_ns=seq, subject=b"s"))
        book = book.judged(book.news(judgements_of(field, now_ns=seq)))
    assert book == fold_judgements(judgements_of(field, now_ns=0))


KINDS = st.sampled_from(StanceKind)


@given(
    st.dictionaries(st.sampled_from([ADA, BO, CY, DI, ED]), KINDS, min_size=1),
    st.dictionaries(st.sampled_from([ADA, BO, CY, DI, ED]), st.sampled_from(["", "x", "y"])),
    st.dictionaries(st.sampled_from([ADA, BO, CY, DI, ED]), st.floats(0, 1)),
    st.builds(Quorum, weight=st.floats(0.5, 3.0), lineages=st.just(1)) | st.sampled_from([Majority(), LogOdds()]),
)
def test_every_judgement_is_what_the_field_says_without_the_judged(
    stands: dict[bytes, StanceKind], roster: dict[bytes, str], trust: dict[bytes, float], policy: ConsensusPolicy
) -> None:
    """The slow way: a tally for each node, of those who are not of its lineage."""
    observer = Observer(roster=roster, trust=trust, unknown_vote=0.5)
    field = Field()
    ref = field.emit(Signal(author=node_id("host"), seq=1, created_at_ns=0))
    field.withdraw(ref, by=node_id("host"), now_ns=0)
    for node, kind in stands.items():
        field.take(Stance(statement=field.statement(ref), author=node, seq=1, kind=kind, created_at_ns=0))
    expected, verdict = {}, field.verdict(ref, 0, observer, policy).state.value
    for node, kind in stands.items():
        others = [(n, k) for n, k in stands.items() if observer.lineage(n) != observer.lineage(node)]
        state = policy.read(tally(others, observer)).state.value
        if kind is not StanceKind.WITHDRAW and state == verdict != "open":
            expected[node] = RIGHT if (kind is StanceKind.SUPPORT) == (state == "reached") else WRONG
    assert outcomes(judgements_of(field, observer, policy, now_ns=0)) == expected


def test_heads_of_a_lineage_are_left_out_with_it() -> None:
    """Two lineages with one vote each, of three heads and of one: to count heads, they are not the same."""
    observer = Observer(roster={ADA: "kin", BO: "kin", CY: "kin", DI: "", ED: ""})
    field, _ = said(ADA, [BO, CY, DI], [ED])
    assert outcomes(judgements_of(field, observer, Majority(heads=2), now_ns=0)) == {DI: RIGHT, ED: WRONG}


def test_verdict_without_a_lineage_is_that_of_the_others() -> None:
    votes = tally([(ADA, StanceKind.SUPPORT), (BO, StanceKind.SUPPORT), (CY, StanceKind.SUPPORT)], EVERYONE)
    assert verdict_without(votes, f"node:{ADA.hex()}").value == "reached"
    assert verdict_without(votes, f"node:{ADA.hex()}", Quorum(weight=3.0)).value == "open"
    assert verdict_without(votes, "nobody", Quorum(weight=3.0)).value == "reached"


def test_crowded_statement_is_judged_in_one_pass() -> None:
    """Lineages with the same vote leave the same others: the policy is asked three times, not 2,000."""
    asked = []

    class Counting:
        def read(self, votes: Any) -> Any:
            asked.append(votes)
            return Quorum().read(votes)

    crowd = [node_id(f"n{n}") for n in range(2000)]
    field, _ = said(crowd[0], crowd[1:1500], crowd[1500:])
    asked.clear()
    reading: Reading = field.read(next(iter(field.sense(0))).ref, 0)
    judged = judgements_of([reading], policy=Counting(), now_ns=0)
    assert len(judged) == 2000
    assert len(asked) == 3


@pytest.mark.parametrize("change", [{"now_ns": -1}, {"now_ns": 0, "weight": 0.0}, {"now_ns": 0, "weight": 2.0}])
def test_values_out_of_bounds_are_refused(change: dict[str, Any]) -> None:
    field, _ = said(ADA, [BO, CY], [])
    with pytest.raises(TrustError):
        judgements_of(field, **change)
    with pytest.raises(TrustError):
        fold_judgements([], authors_max=0)
