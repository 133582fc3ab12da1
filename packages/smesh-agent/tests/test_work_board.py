"""What a board knows of tasks: states, leases, contests, attempts; the same in whatever order it hears."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smesh_agent.work.board import ATTEMPTS_MAX, TRUST_FLOOR, Board, TaskState
from smesh_core import ConsensusState, Signal, SignalType, Stance, StanceKind, node_id
from smesh_core.payload import Approval, Claim, Failure, Heartbeat, Payload, Result, Task, signal_of

S = 10**9
ADA, BO, CY = (node_id(name) for name in ("ada", "bo", "cy"))
AGENTS = (ADA, BO, CY)
DEADLINE_NS = 10**15


class Speaker:
    """Says things as agents would, with a sequence number for each."""

    def __init__(self) -> None:
        self.seqs: dict[bytes, int] = {}

    def _seq(self, author: bytes) -> int:
        self.seqs[author] = self.seqs.get(author, 0) + 1
        return self.seqs[author]

    def says(self, author: bytes, payload: Payload) -> Signal:
        return signal_of(payload, author=author, seq=self._seq(author), created_at_ns=0, deadline_ns=DEADLINE_NS)

    def withdraws(self, author: bytes, statement: bytes) -> Stance:
        seq = self._seq(author)
        return Stance(author=author, seq=seq, created_at_ns=0, statement=statement, kind=StanceKind.WITHDRAW)

    def claims(
        self, author: bytes, task: Signal, attempt: int = 1, *, started: bool = True, lease_s: int = 10
    ) -> Signal:
        claim = Claim(task=task.statement.hex(), attempt=attempt, lease_s=lease_s, started=started)
        return self.says(author, claim)

    def fails(self, author: bytes, task: Signal, attempt: int = 1, *, retryable: bool = True) -> Signal:
        reason = f"attempt {attempt} failed"
        return self.says(
            author, Failure(task=task.statement.hex(), attempt=attempt, reason=reason, retryable=retryable)
        )

    def answers(self, author: bytes, task: Signal, output: str = "") -> Signal:
        return self.says(author, Result(task=task.statement.hex(), output=output))


@pytest.fixture
def speaker() -> Speaker:
    return Speaker()


@pytest.fixture
def board() -> Board:
    return Board()


def state(board: Board, task: Signal) -> TaskState:
    return board.entries[task.statement].state


def test_a_task_is_open_claimed_done(board, speaker) -> None:
    task = speaker.says(CY, Task(what="x", skill="s"))
    board.take(task, 0)
    assert (state(board, task), board.unfinished) == (TaskState.OPEN, 1)
    assert [entry.id for entry in board.open_tasks("s", 9)] == [task.statement]
    board.take(speaker.claims(ADA, task), 1)
    assert state(board, task) is TaskState.CLAIMED
    assert list(board.open_tasks("s", 9)) == []
    board.take(result := speaker.answers(ADA, task), 2)
    assert (state(board, task), board.unfinished) == (TaskState.DONE, 0)
    assert board.entries[task.statement].result == result.statement


def test_open_tasks_come_by_priority_then_in_the_order_they_were_heard_of(board, speaker) -> None:
    tasks = [speaker.says(CY, Task(what=str(n), skill="s", priority=p)) for n, p in enumerate((0.2, 0.9, 0.9, 0.5))]
    for task in tasks:
        board.take(task, 0)
    board.take(speaker.says(CY, Task(what="other", skill="t")), 0)
    expected = [tasks[n].statement for n in (1, 2, 3, 0)]
    assert [entry.id for entry in board.open_tasks("s", 9)] == expected
    assert [entry.id for entry in board.open_tasks("s", 2)] == expected[:2]


# Leases


def test_a_claim_holds_as_long_as_its_agent_is_heard_of(board, speaker) -> None:
    task = speaker.says(CY, Task(what="x"))
    board.take(task, 0)
    board.take(speaker.claims(ADA, task, lease_s=10), 0)
    assert board.next_lapse_ns() == 10 * S
    board.take(speaker.says(ADA, Heartbeat(state="working", claims=1)), 8 * S)
    board.advance(17 * S)
    assert state(board, task) is TaskState.CLAIMED
    assert board.next_lapse_ns() == 18 * S
    board.advance(18 * S)
    assert state(board, task) is TaskState.OPEN
    assert board.next_attempt(board.entries[task.statement]) == 2
    assert board.next_lapse_ns() is None


def test_an_old_sign_of_life_is_none(board, speaker) -> None:
    """Somebody who repeats what a dead agent once said does not keep its claim alive."""
    task = speaker.says(CY, Task(what="x"))
    beat = speaker.says(ADA, Heartbeat(state="working", claims=1))
    board.take(task, 0)
    board.take(speaker.claims(ADA, task, lease_s=10), 0)
    for second in range(1, 10):
        board.take(beat, second * S)
    board.advance(10 * S)
    assert state(board, task) is TaskState.OPEN


def test_work_that_takes_too_long_holds_nothing_however_alive_its_agent_is(board, speaker) -> None:
    task = speaker.says(CY, Task(what="x", run_s_max=30))
    board.take(task, 0)
    for second in range(0, 30, 5):
        board.take(speaker.claims(ADA, task, lease_s=10), second * S)
        assert state(board, task) is TaskState.CLAIMED
    board.take(speaker.claims(ADA, task, lease_s=10), 29 * S)
    board.advance(30 * S)
    assert state(board, task) is TaskState.OPEN


@pytest.mark.parametrize("how", ["withdraws", "leaves", "fails"])
def test_what_is_let_go_is_open_at_once(board, speaker, how: str) -> None:
    task = speaker.says(CY, Task(what="x"))
    board.take(task, 0)
    board.take(claim := speaker.claims(ADA, task), 0)
    said = {
        "withdraws": lambda: speaker.withdraws(ADA, claim.statement),
        "leaves": lambda: speaker.says(ADA, Heartbeat(state="leaving")),
        "fails": lambda: speaker.fails(ADA, task),
    }[how]()
    board.take(said, 1)
    assert state(board, task) is TaskState.OPEN


def test_nobody_withdraws_or_fails_for_another(board, speaker) -> None:
    task = speaker.says(CY, Task(what="x"))
    board.take(task, 0)
    board.take(claim := speaker.claims(ADA, task), 0)
    board.take(speaker.withdraws(BO, claim.statement), 1)
    board.take(speaker.fails(BO, task, retryable=False), 1)
    assert state(board, task) is TaskState.CLAIMED
    assert board.next_attempt(board.entries[task.statement]) == 1


# Contests


def test_contested_goes_to_the_started_then_the_lowest_attempt_then_the_hash(speaker) -> None:
    task = speaker.says(CY, Task(what="x"))

    def winner(*claims: Signal) -> bytes:
        board = Board()
        for element in (task, *claims):
            board.take(element, 0)
        lease = board.winner(board.entries[task.statement], 0)
        assert lease is not None
        return lease.agent

    unstarted = {agent: speaker.claims(agent, task, started=False) for agent in AGENTS}
    first = winner(*unstarted.values())
    others = [agent for agent in AGENTS if agent != first]
    assert winner(*unstarted.values(), speaker.claims(others[0], task, attempt=2)) == others[0]
    assert winner(speaker.claims(others[0], task, attempt=2), speaker.claims(others[1], task, attempt=1)) == others[1]
    assert winner(*[speaker.claims(agent, task) for agent in AGENTS]) == first


def test_winning_by_hash_favours_nobody() -> None:
    speaker, wins = Speaker(), dict.fromkeys(AGENTS, 0)
    for number in range(600):
        board, task = Board(), speaker.says(CY, Task(what=f"x{number}", key=f"{number}"))
        board.take(task, 0)
        for agent in AGENTS:
            board.take(speaker.claims(agent, task, started=False), 0)
        lease = board.winner(board.entries[task.statement], 0)
        assert lease is not None
        wins[lease.agent] += 1
    assert all(150 < count < 250 for count in wins.values()), wins


# Attempts


def test_after_three_attempts_a_task_has_failed(board, speaker) -> None:
    task = speaker.says(CY, Task(what="x"))
    after = speaker.says(CY, Task(what="y", after=(task.statement.hex(),)))
    board.take(task, 0)
    board.take(after, 0)
    for attempt, agent in enumerate((ADA, BO, ADA), 1):
        assert state(board, task) is TaskState.OPEN
        assert board.next_attempt(board.entries[task.statement]) == attempt
        board.take(speaker.claims(agent, task, attempt), 0)
        board.take(speaker.fails(agent, task, attempt), 0)
    assert ATTEMPTS_MAX == 3
    assert state(board, task) is state(board, after) is TaskState.FAILED
    assert board.entries[task.statement].why == "3 attempts came to nothing; the last: attempt 3 failed"
    assert "what it comes after has failed" in board.entries[after.statement].why
    assert board.unfinished == 0


def test_who_claims_the_last_attempt_of_all_takes_none_from_others(board, speaker) -> None:
    task = speaker.says(CY, Task(what="x"))
    board.take(task, 0)
    board.take(speaker.claims(ADA, task, 255), 0)
    board.take(speaker.fails(ADA, task, 255), 0)
    assert board.next_attempt(board.entries[task.statement]) == 1


def test_a_failure_that_cannot_be_mended_ends_a_task(board, speaker) -> None:
    task = speaker.says(CY, Task(what="x"))
    board.take(task, 0)
    board.take(speaker.claims(ADA, task), 0)
    board.take(speaker.fails(ADA, task, retryable=False), 0)
    assert (state(board, task), board.entries[task.statement].why) == (TaskState.FAILED, "attempt 1 failed")


def test_a_late_result_mends_a_failed_task(board, speaker) -> None:
    task = speaker.says(CY, Task(what="x"))
    board.take(task, 0)
    for attempt in (1, 2, 3):
        board.take(speaker.claims(ADA, task, attempt, lease_s=1), attempt * 10 * S)
        board.advance(attempt * 10 * S + 5 * S)
    assert state(board, task) is TaskState.FAILED
    board.take(speaker.answers(ADA, task), 99 * S)
    assert (state(board, task), board.unfinished) == (TaskState.DONE, 0)


def test_a_rejected_result_opens_its_task_again(board, speaker) -> None:
    task = speaker.says(CY, Task(what="x"))
    board.take(task, 0)
    board.take(speaker.claims(ADA, task), 0)
    board.take(wrong := speaker.answers(ADA, task, "wrong"), 0)
    board.rule(wrong.statement, ConsensusState.REJECTED, 1)
    assert (state(board, task), board.unfinished) == (TaskState.OPEN, 1)
    assert board.next_attempt(board.entries[task.statement]) == 2
    board.take(speaker.claims(BO, task, 2), 2)
    board.take(right := speaker.answers(BO, task, "right"), 3)
    assert state(board, task) is TaskState.DONE
    board.rule(wrong.statement, ConsensusState.OPEN, 4)  # consensus is never latched
    assert board.entries[task.statement].result == min(wrong.statement, right.statement)


def test_what_nobody_trusts_holds_nothing(speaker) -> None:
    trust = {ADA: TRUST_FLOOR - 0.01}
    board = Board(trust=lambda agent: trust.get(agent, 0.5))
    task = speaker.says(CY, Task(what="x"))
    board.take(task, 0)
    board.take(speaker.claims(ADA, task), 0)
    assert (state(board, task), board.is_trusted(ADA)) == (TaskState.OPEN, False)
    board.take(result := speaker.answers(ADA, task), 0)
    assert state(board, task) is TaskState.OPEN
    board.rule(result.statement, ConsensusState.REACHED, 0)  # others stand behind it
    assert state(board, task) is TaskState.DONE
    trust.clear()
    board.rule(result.statement, ConsensusState.OPEN, 0)
    board.reconsider(ADA, 0)
    assert state(board, task) is TaskState.DONE


# Order


def test_what_comes_after_something_waits_for_it(board, speaker) -> None:
    first, second = speaker.says(CY, Task(what="1")), speaker.says(CY, Task(what="2"))
    after = speaker.says(CY, Task(what="3", after=(first.statement.hex(), second.statement.hex())))
    for task in (after, first, second):
        board.take(task, 0)
    for task in (first, second):
        assert state(board, after) is TaskState.WAITING
        board.take(speaker.claims(ADA, task), 0)
        board.take(speaker.answers(ADA, task), 0)
    assert state(board, after) is TaskState.OPEN


def test_a_long_chain_fails_and_is_mended_as_a_whole(board, speaker) -> None:
    chain = [speaker.says(CY, Task(what="0", key="0"))]
    for number in range(1, 3000):
        chain.append(speaker.says(CY, Task(what=f"{number}", key=f"{number}", after=(chain[-1].statement.hex(),))))
    for task in chain:
        board.take(task, 0)
    board.take(speaker.claims(ADA, chain[0]), 0)
    board.take(speaker.fails(ADA, chain[0], retryable=False), 0)
    assert {state(board, task) for task in chain} == {TaskState.FAILED}
    board.take(speaker.answers(ADA, chain[0]), 0)
    assert [state(board, task) for task in chain[:3]] == [TaskState.DONE, TaskState.OPEN, TaskState.WAITING]
    assert board.unfinished == 2999


def test_tasks_that_come_after_each_other_hang_nobody(board, speaker) -> None:
    """Who knows its own next ids can say such tasks."""
    failed = speaker.says(CY, Task(what="failed"))
    one = Signal(author=ADA, seq=1, created_at_ns=0, type=SignalType.COORDINATION)
    other = Signal(author=ADA, seq=2, created_at_ns=0, type=SignalType.COORDINATION)
    first = speaker.says(ADA, Task(what="1", after=(other.statement.hex(), failed.statement.hex())))
    second = speaker.says(ADA, Task(what="2", after=(one.statement.hex(),)))
    assert (first.statement, second.statement) == (one.statement, other.statement)
    for element in (first, second, failed, speaker.claims(BO, failed), speaker.fails(BO, failed, retryable=False)):
        board.take(element, 0)
    assert state(board, first) is state(board, second) is TaskState.FAILED


def test_a_task_can_come_after_a_result(board, speaker) -> None:
    first = speaker.says(CY, Task(what="1"))
    result = speaker.answers(ADA, first)
    after = speaker.says(CY, Task(what="2", after=(result.statement.hex(),)))
    board.take(first, 0)
    board.take(after, 0)
    assert state(board, after) is TaskState.WAITING
    board.take(result, 0)
    assert state(board, after) is TaskState.OPEN
    board.rule(result.statement, ConsensusState.REJECTED, 0)
    assert state(board, after) is TaskState.WAITING


def test_an_approval_is_that_of_whom_it_was_asked(board, speaker) -> None:
    task = speaker.says(CY, Task(what="x", approver=BO.hex()))
    board.take(task, 0)

    def approves(who: bytes, *, granted: bool) -> None:
        board.take(speaker.says(who, Approval(of=task.statement.hex(), asked_by=CY.hex(), granted=granted)), 0)

    approves(ADA, granted=True)
    assert state(board, task) is TaskState.WAITING
    approves(BO, granted=True)
    assert state(board, task) is TaskState.OPEN
    approves(BO, granted=False)
    assert (state(board, task), board.entries[task.statement].why) == (TaskState.FAILED, "its approval was refused")


def test_what_takes_effect_is_never_taken_over(board, speaker) -> None:
    task = speaker.says(CY, Task(what="pay", effectful=True, owner=ADA.hex(), key="invoice 7"))
    board.take(task, 0)
    board.take(speaker.claims(ADA, task, lease_s=10), 0)
    board.advance(10 * S)
    assert state(board, task) is TaskState.FAILED
    assert "its owner fell silent" in board.entries[task.statement].why


# Any order


PARTS = st.lists(
    st.tuples(st.sampled_from(["claim", "begin", "fail", "give up", "answer", "withdraw", "leave"]),
              st.sampled_from(AGENTS), st.integers(1, 3)),
    max_size=12,
)  # fmt: skip


@settings(max_examples=300)
@given(parts=PARTS, order=st.randoms(use_true_random=False), repeated=st.integers(0, 3))
def test_the_order_and_repetition_of_what_is_heard_change_nothing(parts, order, repeated: int) -> None:
    speaker = Speaker()
    first = speaker.says(CY, Task(what="1", key="1"))
    second = speaker.says(CY, Task(what="2", key="2", after=(first.statement.hex(),)))
    said: list[Signal | Stance] = [first, second]
    for what, agent, attempt in parts:
        match what:
            case "claim" | "begin":
                said.append(speaker.claims(agent, first, attempt, started=what == "begin"))
            case "fail" | "give up":
                said.append(speaker.fails(agent, first, attempt, retryable=what == "fail"))
            case "answer":
                said.append(speaker.answers(agent, first))
            case "withdraw":
                claims = [one for one in said if one.author == agent and isinstance(one, Signal)]
                said += [speaker.withdraws(agent, claims[-1].statement)] if claims else []
            case _:
                said.append(speaker.says(agent, Heartbeat(state="leaving")))
    one, other = Board(), Board()
    for element in said:
        one.take(element, 0)
    shuffled = said + said[:repeated]
    order.shuffle(shuffled)
    for element in shuffled:
        other.take(element, 0)
    for task in (first, second):
        a, b = one.entries[task.statement], other.entries[task.statement]
        assert (a.state, a.why, one.next_attempt(a)) == (b.state, b.why, other.next_attempt(b))
        assert a.result == b.result
        winners = [board.winner(entry, 0) for board, entry in ((one, a), (other, b))]
        assert len({lease and (lease.agent, lease.attempt, lease.is_started) for lease in winners}) == 1
    assert one.unfinished == other.unfinished
    assert [e.id for e in one.open_tasks("", 9)] == [e.id for e in other.open_tasks("", 9)]


@given(st.binary(max_size=200))
def test_what_is_no_payload_is_passed_over(payload: bytes) -> None:
    board = Board()
    assert board.take(Signal(author=ADA, seq=1, created_at_ns=0, payload=b"\x05" + payload), 0) is None
    assert board.entries == {}
