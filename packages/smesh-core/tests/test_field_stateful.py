"""A field against a model made of plain sets, over random lives: growth, freeing, reuse, old references.

What is read is compared with the oracle in conftest.py, which follows the reference page and not the code.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from smesh_core import (
    EVERYONE,
    DecayCurve,
    Field,
    GoneError,
    Observer,
    Ref,
    Signal,
    SignalBatch,
    SignalType,
    Stance,
    StanceKind,
    node_id,
)
from smesh_core.columns import chain

SECOND = 10**9
NODES = [node_id(name) for name in ("ada", "bo", "cy", "di", "ed")]
SUBJECTS = [b"x", b"xy", b"z", None]
OBSERVERS = [
    EVERYONE,
    Observer(roster={NODES[0]: "one", NODES[1]: "one", NODES[2]: ""}, trust={NODES[3]: 0.8}, unknown_vote=0.5),
    Observer(roster={}, trust={NODES[0]: 0.2, NODES[1]: 0.95}),
]
APPROXIMATELY = {"rel": 1e-12, "abs": 1e-15}

authors = st.sampled_from(NODES)
subjects = st.sampled_from(SUBJECTS)
kinds = st.sampled_from([SignalType.DATA, SignalType.ALERT])
lives = st.sampled_from([1, 3, 8, 20, 60]).map(lambda s: s * SECOND)


class FieldMachine(RuleBasedStateMachine):
    """Emissions and stances by id, the references that hold, and those that no longer do.

    The field hashes ids when they are asked for; where the machine does not look them up after every step, it sees the
    field as it is before.
    """

    oracle: Any
    looks_up_ids: bool

    def __init__(self) -> None:
        super().__init__()
        self.field = Field()
        self.now_ns = 0
        self.seq = 0
        self.emissions: dict[bytes, Signal] = {}
        self.stances: dict[bytes, Stance] = {}
        self.refs: dict[bytes, Ref] = {}
        self.gone: set[Ref] = set()

    # ---- what the model knows

    def about(self, statement: bytes) -> list[Signal | Stance]:
        held = [*self.emissions.values(), *self.stances.values()]
        return [element for element in held if element.statement == statement]

    def live(self) -> dict[bytes, Signal]:
        """Statement to its strongest live emission."""
        said: dict[bytes, list[Signal]] = {}
        for signal in self.emissions.values():
            said.setdefault(signal.statement, []).append(signal)
        strongest = {statement: self.oracle.emissions(signals, self.now_ns) for statement, signals in said.items()}
        return {statement: signals[0] for statement, signals in strongest.items() if signals}

    def note(self, signal: Signal, ref: Ref | None) -> None:
        assert ref is not None
        assert ref not in self.gone
        if signal.statement in self.refs:
            assert self.refs[signal.statement] == ref
        else:
            assert ref not in self.refs.values()
        self.refs[signal.statement] = ref
        self.emissions[signal.id] = signal

    def signal(self, author: bytes, said: bytes | None, kind: SignalType, life_ns: int, **changes: Any) -> Signal:
        self.seq += 1
        values = {"seq": self.seq, "created_at_ns": self.now_ns, "subject": said, "type": kind, "ttl_ns": life_ns}
        return Signal(author=author, **{**values, **changes})

    # ---- what happens

    @initialize(count=st.sampled_from([0, 0, 63, 64, 70]))
    def begin_filled(self, count: int) -> None:
        self.emit_many(count, NODES[0], 8 * SECOND)

    @rule(
        author=authors,
        said=subjects,
        kind=kinds,
        life_ns=lives,
        intensity=st.sampled_from([0.0, 0.011, 0.31, 0.67, 1.0]),
        confidence=st.sampled_from([0.0, 0.23, 0.59, 0.97]),
        decay=st.sampled_from(DecayCurve),
        rate=st.sampled_from([0.0, 0.1, 0.7]),
        ahead_s=st.sampled_from([0, 0, 0, 5]),
    )
    def emit(
        self,
        author: bytes,
        said: bytes | None,
        kind: SignalType,
        life_ns: int,
        intensity: float,
        confidence: float,
        decay: DecayCurve,
        rate: float,
        ahead_s: int,
    ) -> None:
        changes = {"intensity": intensity, "confidence": confidence, "decay": decay, "rate_per_s": rate}
        created = self.now_ns + ahead_s * SECOND
        signal = self.signal(author, said, kind, life_ns, created_at_ns=created, **changes)
        self.note(signal, self.field.emit(signal))

    @rule(count=st.integers(1, 80), author=authors, life_ns=lives)
    def emit_many(self, count: int, author: bytes, life_ns: int) -> None:
        batch = [
            self.signal(author, SUBJECTS[number % 7] if number % 7 < 4 else None, SignalType.DATA, life_ns)
            for number in range(count)
        ]
        for signal, ref in zip(batch, self.field.emit_batch(batch), strict=True):
            self.note(signal, ref)

    @rule(
        count=st.integers(1, 80),
        speakers=st.lists(authors, min_size=1, max_size=3),
        about=st.sampled_from(["own", "shared", "mixed", "new"]),
        life_ns=lives,
        backwards=st.booleans(),
        repeats=st.integers(0, 3),
    )
    def emit_columns(
        self, count: int, speakers: list[bytes], about: str, life_ns: int, backwards: bool, repeats: int
    ) -> None:
        """A batch in columns, some of it twice, and some of it perhaps said before."""
        seqs = [self.seq + 1 + number for number in range(count)]
        self.seq += count
        seqs = (seqs[::-1] if backwards else seqs) + seqs[:repeats]
        subjects = {
            "own": [None] * len(seqs),
            "shared": [SUBJECTS[seq % 3] for seq in seqs],
            "mixed": [SUBJECTS[seq % 4] for seq in seqs],
            "new": [b"new %d" % seq for seq in seqs],
        }[about]
        batch = SignalBatch(
            author=[speakers[seq % len(speakers)] for seq in seqs] if len(speakers) > 1 else speakers[0],
            seq=seqs,
            created_at_ns=self.now_ns,
            payload=[b"%d" % (seq % 5) for seq in seqs],
            subject=subjects if any(subjects) else None,
            type=[SignalType.ALERT if seq % 3 else SignalType.DATA for seq in seqs],
            ttl_ns=life_ns,
            confidence=[0.25 + seq % 7 / 10 for seq in seqs],
            decay=DecayCurve.LINEAR,
        )
        for signal, ref in zip(batch, self.field.emit_batch(batch), strict=True):
            self.note(signal, ref)

    @precondition(lambda self: self.emissions)
    @rule(data=st.data(), count=st.integers(1, 9))
    def emit_columns_again(self, data: st.DataObject, count: int) -> None:
        """What is held of one author comes again, beside something new and an equivocation."""
        author = data.draw(st.sampled_from(sorted({signal.author for signal in self.emissions.values()})))
        known = [signal for _, signal in sorted(self.emissions.items()) if signal.author == author][:count]
        batch = SignalBatch(
            author=author,
            seq=[*(signal.seq for signal in known), known[0].seq, self.seq + 1],
            created_at_ns=[*(signal.created_at_ns for signal in known), known[0].created_at_ns, self.now_ns],
            payload=[*(signal.payload for signal in known), b"otherwise", b""],
            subject=[*(signal.subject for signal in known), known[0].subject, None],
            type=[*(signal.type for signal in known), known[0].type, SignalType.DATA],
            ttl_ns=[*(signal.ttl_ns for signal in known), SECOND, SECOND],
            intensity=[*(signal.intensity for signal in known), 1.0, 1.0],
            confidence=[*(signal.confidence for signal in known), 1.0, 1.0],
            decay=[*(signal.decay for signal in known), DecayCurve.STEP, DecayCurve.STEP],
            rate_per_s=[*(signal.rate_per_s for signal in known), 0.0, 0.0],
        )
        self.seq += 1
        assert list(batch)[: len(known)] == known
        for signal, ref in zip(batch, self.field.emit_batch(batch), strict=True):
            self.note(signal, ref)

    @precondition(lambda self: self.emissions)
    @rule(data=st.data())
    def emit_again(self, data: st.DataObject) -> None:
        signal = self.emissions[data.draw(st.sampled_from(sorted(self.emissions)))]
        self.note(signal, self.field.emit(signal))

    @rule(
        author=authors,
        said=subjects,
        kind=kinds,
        stands=st.sampled_from(StanceKind),
        life_ns=lives,
        back=st.integers(0, 6),
    )
    def take(
        self, author: bytes, said: bytes | None, kind: SignalType, stands: StanceKind, life_ns: int, back: int
    ) -> None:
        """A stance on a statement that may never be said, with a number that may be an old one."""
        about = Signal(author=author, seq=self.seq + 1, created_at_ns=0, type=kind, subject=said)
        stance = Stance(
            statement=about.statement,
            author=author,
            seq=max(1, self.seq - back),
            kind=stands,
            created_at_ns=self.now_ns,
            ttl_ns=life_ns,
        )
        self.field.take(stance)
        self.stances[stance.id] = stance

    @precondition(lambda self: self.refs)
    @rule(data=st.data(), author=authors, call=st.sampled_from(["reinforce", "inhibit", "withdraw"]))
    def stand(self, data: st.DataObject, author: bytes, call: str) -> None:
        statement = data.draw(st.sampled_from(sorted(self.refs)))
        mine = [e.seq for e in (*self.emissions.values(), *self.stances.values()) if e.author == author]
        stance = getattr(self.field, call)(self.refs[statement], by=author, now_ns=self.now_ns, reason=call)
        assert stance.statement == statement
        assert stance.kind.name == {"reinforce": "SUPPORT", "inhibit": "OPPOSE", "withdraw": "WITHDRAW"}[call]
        assert stance.seq > max(mine, default=0)
        self.seq = max(self.seq, stance.seq)
        self.stances[stance.id] = stance
        live = self.oracle.positions(self.about(statement), self.now_ns)
        if self.oracle.is_live(stance, self.now_ns):
            assert live[author] == stance

    @precondition(lambda self: self.refs)
    @rule(
        data=st.data(),
        author=authors,
        kind=st.sampled_from(StanceKind),
        count=st.integers(1, 30),
        repeats=st.integers(0, 2),
        back=st.integers(0, 3),
    )
    def stand_on_many(
        self, data: st.DataObject, author: bytes, kind: StanceKind, count: int, repeats: int, back: int
    ) -> None:
        """One node's stances on many statements, some twice, perhaps under numbers that it has used."""
        chosen = sorted(self.refs)[:count]
        chosen += chosen[:repeats]
        first = None if back == 0 else max(1, self.seq - back)
        seqs = self.field.reinforce_batch(
            [self.refs[statement] for statement in chosen],
            by=author,
            now_ns=self.now_ns,
            kind=kind,
            reason="together",
            seq=first,
        )
        assert seqs.tolist() == list(range(int(seqs[0]), int(seqs[0]) + len(chosen)))
        self.seq = max(self.seq, int(seqs[-1]))
        for statement, seq in zip(chosen, seqs.tolist(), strict=True):
            ends = [e.expires_at_ns for e in self.about(statement) if isinstance(e, Signal) or e.author == author]
            stance = Stance(
                statement=statement,
                author=author,
                seq=seq,
                kind=kind,
                created_at_ns=self.now_ns,
                ttl_ns=max(max(ends) - self.now_ns, 1),
                reason="together",
            )
            self.stances[stance.id] = stance
        for statement in chosen:
            live = self.oracle.positions(self.about(statement), self.now_ns).values()
            said = bool(self.oracle.emissions(self.about(statement), self.now_ns))
            read = {(p.author, p.seq) for p in self.field.positions(self.refs[statement], self.now_ns)}
            assert read == ({(element.author, element.seq) for element in live} if said else set())

    @rule(seconds=st.sampled_from([1, 1, 2, 5, 30]))
    def wait(self, seconds: int) -> None:
        self.now_ns += seconds * SECOND

    @rule()
    def expire(self) -> None:
        ended = [i for i, s in self.emissions.items() if not self.oracle.is_live(s, self.now_ns)]
        over = [i for i, s in self.stances.items() if not self.oracle.is_live(s, self.now_ns)]
        assert len(ended) <= self.field.expire(self.now_ns) <= len(ended) + len(over)
        for identity in ended:
            del self.emissions[identity]
        for identity in over:
            del self.stances[identity]
        said = {signal.statement for signal in self.emissions.values()}
        for statement in [s for s in self.refs if s not in said]:
            self.gone.add(self.refs.pop(statement))
        assert self.field.expire(self.now_ns) == 0

    # ---- what is read

    @precondition(lambda self: self.refs)
    @rule(data=st.data(), observer=st.sampled_from(OBSERVERS))
    def read(self, data: st.DataObject, observer: Observer) -> None:
        statement = data.draw(st.sampled_from(sorted(self.refs)))
        ref, about, now_ns = self.refs[statement], self.about(statement), self.now_ns
        emissions = self.oracle.emissions(about, now_ns)
        assert self.field.emissions(ref, now_ns) == emissions
        assert self.field.value(ref, now_ns, observer) == pytest.approx(
            self.oracle.value(about, now_ns, observer), **APPROXIMATELY
        )
        if not emissions:
            return
        positions = self.oracle.positions(about, now_ns)
        read = self.field.positions(ref, now_ns)
        assert [(p.author, p.seq, p.confidence) for p in read] == [
            (author, positions[author].seq, positions[author].confidence) for author in sorted(positions)
        ]
        assert self.field.verdict(ref, now_ns, observer).state.value == self.oracle.state(about, now_ns, observer)
        whole = self.field.read(ref, now_ns, observer)
        assert (whole.emissions, whole.positions) == (emissions, read)
        assert whole.value == self.field.value(ref, now_ns, observer)

    @rule(
        threshold=st.sampled_from([0.0, 0.1, 0.4]),
        types=st.none() | st.just([SignalType.ALERT]) | st.just([SignalType.DATA, SignalType.ALERT]),
        observer=st.sampled_from(OBSERVERS),
    )
    def sense(self, threshold: float, types: list[SignalType] | None, observer: Observer) -> None:
        sensed = self.field.sense(self.now_ns, threshold=threshold, types=types, observer=observer)
        values = {
            statement: self.oracle.value(self.about(statement), self.now_ns, observer)
            for statement, strongest in self.live().items()
            if types is None or strongest.type in types
        }
        found = {entry.signal.statement: entry for entry in sensed}
        assert len(found) == len(sensed)
        assert set(found) <= set(values)
        for statement, value in values.items():
            if abs(value - threshold) > 1e-9 or threshold == 0.0:
                assert (statement in found) == (value >= threshold)
        for statement, entry in found.items():
            assert entry.ref == self.refs[statement]
            assert entry.value == pytest.approx(values[statement], **APPROXIMATELY)
        order = [(-entry.value, entry.signal.statement) for entry in sensed]
        assert order == sorted(order)

    @rule(author=st.none() | authors, prefix=st.none() | st.sampled_from([b"x", b"xy", b"q"]))
    def query(self, author: bytes | None, prefix: bytes | None) -> None:
        found = self.field.query(self.now_ns, author=author, subject_prefix=prefix)
        expected = {
            statement: strongest
            for statement, strongest in self.live().items()
            if (prefix is None or (strongest.subject is not None and strongest.subject.startswith(prefix)))
            and (
                author is None
                or author in {s.author for s in self.oracle.emissions(self.about(statement), self.now_ns)}
            )
        }
        assert {entry.signal.statement: entry.signal for entry in found} == expected

    @rule()
    def look_up(self) -> None:
        for statement, ref in self.refs.items():
            assert self.field.statement(ref) == statement
            assert self.field.find(statement) == ref

    # ---- what always holds

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        assert len(self.field) == len(self.emissions)
        for ref in self.refs.values():
            assert ref in self.field
        if self.looks_up_ids:
            self.look_up()
        for ref in self.gone:
            assert ref not in self.field
        if self.gone:
            with pytest.raises(GoneError):
                self.field.value(min(self.gone), self.now_ns)

    @invariant()
    def tables_agree_with_each_other(self) -> None:
        store = self.field._store
        said = [slot for slot in range(store.rows.used) if store.is_said(slot)]
        unsaid = [slot for slot in store.index.ids if not store.is_said(slot)]
        emissions = [(slot, row) for slot in said for row in store.emission_rows(slot)]
        stances = {slot: list(chain(store.stances, int(store.rows["first_stance"][slot]))) for slot in (*said, *unsaid)}
        assert {slot for slot, _ in emissions} == set(said)
        assert sorted(row for _, row in emissions) == store.rows.rows().tolist()
        assert len(emissions) == store.emissions
        assert all(store.rows["statement"][row] == slot for slot, row in emissions)
        assert len(store.rows) == len({*said, *unsaid, *(row for _, row in emissions)})
        assert all(len(rows) == store.rows["stances"][slot] for slot, rows in stances.items())
        assert all(store.stances["statement"][row] == slot for slot, rows in stances.items() for row in rows)
        assert sorted(row for rows in stances.values() for row in rows) == store.stances.rows().tolist()
        assert all(stances[slot] for slot in unsaid)
        assert store._waiting == sum(len(stances[slot]) for slot in unsaid)
        assert store._unsaid == len(unsaid)
        assert store.index._by_id == {identity: slot for slot, identity in store.index.ids.items()}
        if self.looks_up_ids:
            assert all(store.statement_slot(store.index.id_of(slot)) == slot for slot in said)
        held = list(store.authors)
        assert sum(author.emissions for author in held) == len(emissions)
        assert sum(author.stances for author in held) == len(store.stances)
        assert all(author.emissions or author.stances for author in held)
        assert all(store.authors.at(author.slot) is store.authors.get(author.id) is author for author in held)

    def teardown(self) -> None:
        """Once all is over, nothing is left."""
        self.look_up()
        self.now_ns += 1000 * SECOND
        self.field.expire(self.now_ns)
        store = self.field._store
        tables = (store.rows, store.rows.rows(), store.stances, store.authors)
        indexes = (store.index, store._crowds, store._stance_crowds)
        assert [len(held) for held in (*tables, *indexes)] == [0] * 7
        assert (store.emissions, store._waiting, store._unsaid) == (0, 0, 0)


@pytest.mark.parametrize("looks_up_ids", [True, False])
def test_field_is_the_model(oracle: Any, looks_up_ids: bool) -> None:
    class Machine(FieldMachine):
        pass

    Machine.oracle, Machine.looks_up_ids = oracle, looks_up_ids
    run_state_machine_as_test(Machine, settings=settings(settings.default, max_examples=60, stateful_step_count=30))
