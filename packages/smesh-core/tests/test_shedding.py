"""Shedding order: whatever came and went, the earliest (expiry, id) that is still there is found."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from smesh_core.shedding import Entry, SheddingOrder

ALL = 0


def is_there(slot: int, generation: int) -> bool:
    return True


class Rows:
    """Rows by slot, with generations, and an order over them."""

    def __init__(self) -> None:
        self.current: dict[int, Entry] = {}
        self.generation: dict[int, int] = {}
        self.order = SheddingOrder(lambda slot, generation: self.current.get(slot, (0, b"", 0, -1))[3] == generation)

    def add(self, slot: int, expires_at_ns: int, identity: bytes) -> None:
        self.generation[slot] = self.generation.get(slot, -1) + 1
        self.current[slot] = (expires_at_ns, identity, slot, self.generation[slot])
        if self.order.tracks(ALL):
            self.order.add(ALL, self.current[slot])

    def drop(self, slot: int) -> None:
        del self.current[slot]

    def earliest(self) -> Entry:
        return self.order.earliest(ALL, lambda: list(self.current.values()))


def test_earliest_expiry_then_smallest_id() -> None:
    rows = Rows()
    rows.add(1, 20, b"a")
    rows.add(2, 10, b"b")
    rows.add(3, 10, b"a")
    assert rows.earliest()[:3] == (10, b"a", 3)
    assert rows.earliest()[:3] == (10, b"a", 3)
    rows.drop(3)
    assert rows.earliest()[:3] == (10, b"b", 2)
    rows.add(4, 5, b"z")
    assert rows.earliest()[:3] == (5, b"z", 4)


def test_slot_used_again_is_another_row() -> None:
    rows = Rows()
    rows.add(1, 10, b"a")
    rows.add(2, 30, b"b")
    assert rows.earliest()[2] == 1
    rows.drop(1)
    rows.add(1, 40, b"c")
    assert rows.earliest()[:3] == (30, b"b", 2)


def test_nothing_is_tracked_before_it_is_asked_for() -> None:
    order = SheddingOrder(is_there)
    assert not order.tracks(ALL)
    assert order.earliest(ALL, lambda: [(1, b"", 0, 0)]) == (1, b"", 0, 0)
    assert order.tracks(ALL)
    assert not order.tracks(7)
    order.forget(ALL)
    order.forget(7)
    assert not order.tracks(ALL)


def test_scopes_are_apart() -> None:
    order = SheddingOrder(is_there)
    assert order.earliest(1, lambda: [(5, b"", 0, 0)])[0] == 5
    assert order.earliest(2, lambda: [(9, b"", 1, 0)])[0] == 9
    order.add(2, (3, b"", 2, 0))
    assert order.earliest(1, list)[0] == 5
    assert order.earliest(2, list)[0] == 3


def test_forgotten_scope_is_listed_afresh() -> None:
    order = SheddingOrder(is_there)
    order.earliest(1, lambda: [(5, b"", 0, 0)])
    order.forget(1)
    assert order.earliest(1, lambda: [(8, b"", 3, 0)])[0] == 8


@given(
    st.lists(
        st.tuples(st.sampled_from(["add", "drop", "ask", "forget"]), st.integers(0, 9), st.integers(0, 5)),
        max_size=120,
    )
)
@settings(max_examples=150)
def test_earliest_is_the_least_of_the_current(steps: list[tuple[str, int, int]]) -> None:
    rows = Rows()
    for number, (step, slot, expiry) in enumerate(steps):
        if step == "add" and slot not in rows.current:
            rows.add(slot, expiry, bytes((number % 7,)))
        elif step == "drop" and slot in rows.current:
            rows.drop(slot)
        elif step == "forget":
            rows.order.forget(ALL)
        elif step == "ask" and rows.current:
            assert rows.earliest() == min(rows.current.values())


def test_what_has_gone_is_swept() -> None:
    """Rows come and go behind one that stays first; the order must not remember them all."""
    rows = Rows()
    rows.add(0, 0, b"first")
    rows.earliest()
    for number in range(10_000):
        slot = 1 + number % 3
        if slot in rows.current:
            rows.drop(slot)
        rows.add(slot, 1 + number, b"")
    assert rows.earliest()[2] == 0
    assert len(rows.order._heaps[ALL]) < 500
