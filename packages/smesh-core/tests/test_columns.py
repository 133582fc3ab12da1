"""Columns: growth, freeing, reuse and generations; chains through them."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from smesh_core.columns import NO_ROW, Columns, chain, unlink


def table() -> Columns:
    return Columns({"number": np.int64, "part": np.float64, "small": np.uint8})


def filled(rows: Columns, number: int) -> int:
    slot = rows.take()
    rows.record.pack_into(rows.memory, slot * rows.stride, number, number / 2, number % 256)
    rows.values[slot] = ("v", number)
    rows.is_listed[slot] = True
    return slot


def read(rows: Columns, slot: int) -> tuple[Any, ...]:
    return *(rows.cells[name][slot] for name in ("number", "part", "small")), rows.values[slot]


def generation(rows: Columns, slot: int) -> int:
    return rows.generations[slot]


def row_of(columns: Columns, **numbers: int) -> int:
    slot = columns.take()
    for name, number in numbers.items():
        columns.cells[name][slot] = number
    return slot


@pytest.mark.parametrize("count", [1, 63, 64, 65, 128, 129, 1000])
def test_rows_survive_growth(count: int) -> None:
    rows = table()
    slots = [filled(rows, number) for number in range(count)]
    assert len(set(slots)) == len(rows) == count
    assert rows.rows().tolist() == sorted(slots)
    for number, slot in enumerate(slots):
        assert read(rows, slot) == (number, number / 2, number % 256, ("v", number))
        assert rows.holds(slot, generation(rows, slot))


def test_columns_grow_together_and_keep_their_dtypes() -> None:
    rows = table()
    for number in range(200):
        filled(rows, number)
    assert len({len(rows[name]) for name in ("number", "part", "small")}) == 1
    assert [rows[name][199] for name in ("number", "part", "small")] == list(read(rows, 199))[:3]
    assert [rows[name].dtype for name in ("number", "part", "small")] == [np.int64, np.float64, np.uint8]


def test_freed_slot_is_used_again_with_another_generation() -> None:
    rows = table()
    first = filled(rows, 1)
    before = generation(rows, first)
    rows.free(first)
    assert not rows.holds(first, before)
    assert not rows.holds(first, generation(rows, first))
    assert len(rows) == 0
    assert rows.rows().tolist() == []
    again = filled(rows, 2)
    assert again == first
    assert generation(rows, again) > before
    assert not rows.holds(first, before)
    assert rows.holds(again, generation(rows, again))
    assert read(rows, again) == (2, 1.0, 2, ("v", 2))


def test_reuse_comes_before_growth() -> None:
    rows = table()
    slots = [filled(rows, number) for number in range(64)]
    for _ in range(10):
        for slot in slots:
            rows.free(slot)
        slots = [filled(rows, number) for number in range(64)]
    assert len(rows["number"]) == 64
    assert len(rows) == 64


def test_generations_survive_growth() -> None:
    rows = table()
    slot = filled(rows, 0)
    for _ in range(5):
        rows.free(slot)
        slot = filled(rows, 0)
    before = generation(rows, slot)
    for number in range(300):
        filled(rows, number)
    assert generation(rows, slot) == before
    assert rows.holds(slot, before)


def test_renewed_row_stays_under_another_name() -> None:
    rows = table()
    slot = filled(rows, 3)
    before = generation(rows, slot)
    rows.renew_many(np.array([slot]))
    assert not rows.holds(slot, before)
    assert rows.holds(slot, generation(rows, slot))
    assert read(rows, slot) == (3, 1.5, 3, ("v", 3))
    assert len(rows) == 1


@pytest.mark.parametrize("slot", [-1, -64, 1, 63, 64, 10**6, 2**70])
def test_slot_that_never_was_is_not_held(slot: int) -> None:
    rows = table()
    filled(rows, 0)
    assert not rows.holds(slot, 0)


def test_freed_row_lets_its_values_go() -> None:
    class Thing:
        pass

    rows, thing = table(), Thing()
    gone = weakref.ref(thing)
    slot = filled(rows, 0)
    rows.values[slot] = thing
    del thing
    gc.collect()
    assert gone() is not None
    rows.free(slot)
    gc.collect()
    assert gone() is None


def test_a_name_lasts_until_the_row_is_freed_or_named_anew() -> None:
    """A generation is odd while the row has a name; giving the row back makes it even again, whatever it was."""
    rows = table()
    slot = filled(rows, 0)
    for _ in range(3):
        assert generation(rows, slot) % 2 == 0
        assert rows.name_many(np.array([slot])).tolist() == [generation(rows, slot)]
        assert generation(rows, slot) % 2 == 1
        rows.free(slot)
        assert filled(rows, 0) == slot


@pytest.mark.parametrize("kept", [0, 1, 40, 63, 64, 200])
@pytest.mark.parametrize("count", [1, 30, 5000, 9000])
def test_rows_taken_and_written_together_are_as_if_one_by_one(kept: int, count: int) -> None:
    """Some of the slots were used before, every other one of these is free again, and several blocks are filled."""
    rows = table()
    old = [filled(rows, 10**6 + number) for number in range(kept)]
    for slot in old[::2]:
        rows.free(slot)
    names = {slot: generation(rows, slot) for slot in old}
    slots = rows.take_many(count)
    again = min(len(old[::2]), count)
    assert sorted(slots.tolist()) == slots.tolist()
    assert len(set(slots.tolist()) & set(old)) == again
    assert not set(slots.tolist()) & set(old[1::2])
    numbers = np.arange(count)
    values = [("v", number) for number in range(count)]
    rows.write_many(slots, {"number": numbers, "part": numbers / 2, "small": (numbers % 256).astype(np.uint8)}, values)
    raised = rows.name_many(slots)
    for number, slot in enumerate(slots.tolist()):
        assert read(rows, slot) == (number, number / 2, number % 256, ("v", number))
        assert generation(rows, slot) == raised[number] == names.get(slot, 0) + 1
    assert rows.rows().tolist() == sorted({*slots.tolist(), *old[1::2]})
    assert len(rows) == len(old[1::2]) + count
    assert all(read(rows, slot)[0] == 10**6 + number for number, slot in enumerate(old) if number % 2)


def test_slots_given_back_unwritten_are_taken_again() -> None:
    rows = table()
    slots = rows.take_many(5).tolist()
    rows.give_back(slots[1:3])
    assert len(rows) == 3
    assert rows.rows().tolist() == []
    assert sorted([rows.take(), rows.take(), rows.take()]) == [*slots[1:3], 5]


class ColumnsMachine(RuleBasedStateMachine):
    """Columns against a dict; names given out once are never valid for another row."""

    held = Bundle("held")
    names = Bundle("names")

    def __init__(self) -> None:
        super().__init__()
        self.columns = table()
        self.model: dict[tuple[int, int], int] = {}
        self.gone: set[tuple[int, int]] = set()

    @rule(target=held, numbers=st.integers(0, 1000), count=st.integers(0, 40))
    def allocate(self, numbers: int, count: int) -> tuple[int, int]:
        for extra in range(count):
            self._allocate(extra)
        return self._allocate(numbers)

    def _allocate(self, number: int) -> tuple[int, int]:
        slot = filled(self.columns, number)
        name = slot, generation(self.columns, slot)
        assert name not in self.model
        assert name not in self.gone
        assert slot not in {other for other, _ in self.model}
        self.model[name] = number
        return name

    @rule(name=consumes(held))
    def free(self, name: tuple[int, int]) -> None:
        if name in self.model:
            self.columns.free(name[0])
            del self.model[name]
            self.gone.add(name)

    @rule(name=held, count=st.integers(1, 60))
    def free_many(self, name: tuple[int, int], count: int) -> None:
        for victim in sorted(self.model)[:count]:
            if victim != name:
                self.free(victim)

    @rule(target=held, name=consumes(held))
    def renew(self, name: tuple[int, int]) -> tuple[int, int]:
        if name not in self.model:
            return name
        self.columns.renew_many(np.array([name[0]]))
        self.gone.add(name)
        renewed = name[0], generation(self.columns, name[0])
        self.model[renewed] = self.model.pop(name)
        return renewed

    @invariant()
    def agrees_with_the_model(self) -> None:
        assert len(self.columns) == len(self.model)
        assert self.columns.rows().tolist() == sorted(slot for slot, _ in self.model)
        for name, number in self.model.items():
            assert self.columns.holds(*name)
            assert read(self.columns, name[0]) == (number, number / 2, number % 256, ("v", number))
        assert not any(self.columns.holds(*name) for name in self.gone)


TestColumns = ColumnsMachine.TestCase
TestColumns.settings = settings(max_examples=30, stateful_step_count=20)


# ---- chains


def prepend(rows: Columns, row: int, heads: Columns, head: int) -> None:
    """Put a row at the front of a chain, as the store does when a stance comes."""
    following = heads.cells["first"][head]
    rows.cells["previous"][row], rows.cells["next"][row] = NO_ROW, following
    if following != NO_ROW:
        rows.cells["previous"][following] = row
    heads.cells["first"][head] = row


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 2), st.integers(0, 200)), max_size=150))
def test_chains_hold_what_was_put_in_newest_first(steps: list[tuple[bool, int, int]]) -> None:
    heads, rows = Columns({"first": np.int64}), Columns({"next": np.int64, "previous": np.int64})
    chains: list[list[int]] = [[], [], []]
    for _ in range(3):
        row_of(heads, first=NO_ROW)
    for is_added, head, at in steps:
        if is_added:
            row = row_of(rows, next=NO_ROW, previous=NO_ROW)
            prepend(rows, row, heads, head)
            chains[head].insert(0, row)
        elif chains[head]:
            row = chains[head].pop(at % len(chains[head]))
            unlink(rows, row, heads, head, "first")
            rows.free(row)
        assert [list(chain(rows, int(heads["first"][h]))) for h in range(3)] == chains


def test_row_just_given_may_be_unlinked() -> None:
    heads, rows = Columns({"first": np.int64}), Columns({"next": np.int64, "previous": np.int64})
    head = row_of(heads, first=NO_ROW)
    for _ in range(5):
        prepend(rows, row_of(rows, next=NO_ROW, previous=NO_ROW), heads, head)
    seen = []
    for row in chain(rows, int(heads["first"][head])):
        seen.append(row)
        unlink(rows, row, heads, head, "first")
        rows.free(row)
    assert seen == [4, 3, 2, 1, 0]
    assert heads["first"][head] == NO_ROW
    assert len(rows) == 0
