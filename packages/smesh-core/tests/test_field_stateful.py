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
    SignalType,
    Stance,
    StanceKind,
    node_id,
)
from smesh_core.columns import NO_ROW, chain

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
    """Emissions and stances by id, the references that hold, and those that no longer do."""

    oracle: Any

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

    # ---- what always holds

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        assert len(self.field) == len(self.emissions)
        for statement, ref in self.refs.items():
            assert ref in self.field
            assert self.field.find(statement) == ref
        for ref in self.gone:
            assert ref not in self.field
        if self.gone:
            with pytest.raises(GoneError):
                self.field.value(min(self.gone), self.now_ns)

    @invariant()
    def tables_agree_with_each_other(self) -> None:
        store = self.field._store
        waiting = 0
        for slot in store.statements.rows().tolist():
            emissions = list(chain(store.emissions, int(store.statements["first_emission"][slot])))
            stances = list(chain(store.stances, int(store.statements["first_stance"][slot])))
            assert len(emissions) == store.statements["emissions"][slot]
            assert len(stances) == store.statements["stances"][slot]
            assert emissions or stances
            assert all(store.emissions["statement"][row] == slot for row in emissions)
            assert store.statement_slot(store.statements.cells["id"][slot]) == slot != NO_ROW
            waiting += 0 if emissions else len(stances)
        assert store._waiting == waiting
        assert len(store.statements) == len(store._statement_slots)
        assert len(store.authors) == len(store._author_slots)
        assert store.authors["elements"][store.authors.rows()].sum() == len(store.emissions) + len(store.stances)
        assert store.authors["emissions"][store.authors.rows()].sum() == len(store.emissions)

    def teardown(self) -> None:
        """Once all is over, nothing is left."""
        self.now_ns += 1000 * SECOND
        self.field.expire(self.now_ns)
        store = self.field._store
        tables = (store.statements, store.emissions, store.stances, store.authors)
        indexes = (store._statement_slots, store._author_slots, store._stance_rows)
        assert [len(held) for held in (*tables, *indexes)] == [0] * 7


def test_field_is_the_model(oracle: Any) -> None:
    class Machine(FieldMachine):
        pass

    Machine.oracle = oracle
    run_state_machine_as_test(Machine, settings=settings(settings.default, max_examples=60, stateful_step_count=30))
