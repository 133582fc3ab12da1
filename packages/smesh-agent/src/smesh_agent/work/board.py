"""What one observer knows of the tasks of a run: a fold of the elements of a field.

A **board** takes in signals and stances as they come, and answers what stands where. It decides nothing and emits
nothing. What it holds of a task is a function of the set of elements that it has taken in, whatever their order; the
one thing that is the observer's own is *when it heard* from an agent, by its own clock, for another's clock proves
nothing.

A task is

* **waiting** for what it comes after, or for an approval;
* **open**: nobody holds it;
* **claimed**: some claim holds; of several the winner is the same for all who know the same claims;
* **done**: it has a result, and that was not rejected;
* **failed**: `ATTEMPTS_MAX` attempts are over, or one ended in a failure that another attempt cannot mend, or what it
  comes after has failed, or its approval was refused.

A **claim holds** while its agent was heard of within the lease, has not withdrawn it, is not leaving and is trusted
enough; and, once work has begun, no longer than the task's longest run time. An **attempt is over** when its agent says
that it failed, when its claim had begun and holds no longer, or when its result was rejected; one by an agent that is
not trusted never counts. What is contested goes to whoever has begun, then to the lowest attempt, then to the lowest
hash of (task, attempt, agent).
"""

from __future__ import annotations

import bisect
import hashlib
import heapq
from collections import defaultdict, deque
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import msgspec
from smesh_core import ConsensusState, Signal, Stance, StanceKind
from smesh_core.errors import PayloadError
from smesh_core.limits import TRUST_DEFAULT
from smesh_core.payload import Approval, Claim, Failure, Heartbeat, Result, Task, payload_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from smesh_core.payload import Payload
    from smesh_runtime import Element

__all__ = ["ATTEMPTS_MAX", "FOR_APPROVAL", "FOR_OTHERS", "TRUST_FLOOR", "Board", "Lease", "TaskState"]

ATTEMPTS_MAX: Final = 3
"""After so many attempts a task has failed."""
TRUST_FLOOR: Final = 0.25
"""Claims of agents that are trusted less hold nothing, and their results need support. A few results that are rejected
bring an agent there."""
FOR_OTHERS, FOR_APPROVAL = "for what it comes after", "for approval"
"""Why a task waits."""
_WHAT_SHOWN: Final = 80
_NOTHING: Final[Mapping[Any, Any]] = MappingProxyType({})
_NO_ATTEMPTS: Final[frozenset[int]] = frozenset()
_NS_PER_S: Final = 10**9


class TaskState(Enum):
    """Where a task stands.

    Attributes:
        is_terminal: whether nobody has anything left to do about it.
    """

    WAITING = "waiting"
    OPEN = "open"
    CLAIMED = "claimed"
    DONE = "done"
    FAILED = "failed"

    def __init__(self, word: str) -> None:
        self.is_terminal = word in {"done", "failed"}


class Lease(msgspec.Struct, frozen=True, gc=False):
    """A claim, as it was taken in.

    Attributes:
        agent: who claims, 32 bytes.
        attempt: which attempt, from 1.
        is_started: whether work has begun.
        seq: of its newest claim of the attempt.
        lease_ns: how long it holds without a sign of life.
        since_ns: when the observer first heard that work has begun; of one that has not, when it heard of the claim.
        claim: statement of the claim that has that sequence number.
    """

    agent: bytes
    attempt: int
    is_started: bool
    seq: int
    lease_ns: int
    since_ns: int
    claim: bytes


class Found(msgspec.Struct, frozen=True, gc=False):
    """A result, as it was taken in: who says it, under which sequence number, and what."""

    author: bytes
    seq: int
    result: Result


class Entry:
    """All that is known of one task; to be read, and changed by its board alone."""

    __slots__ = (
        "after",
        "approvals",
        "attempts_over",
        "claims",
        "counting",
        "failures",
        "first_ns",
        "id",
        "lapsed",
        "open_since_ns",
        "order",
        "planned_ns",
        "result",
        "results",
        "stalled",
        "state",
        "task",
        "why",
        "withdrawals",
    )

    def __init__(self, identity: bytes, order: int) -> None:
        self.id = identity
        self.order = order
        self.task: Task | None = None
        self.first_ns = 0
        self.state = TaskState.WAITING
        self.why = ""
        self.open_since_ns = 0
        self.after: tuple[bytes, ...] = ()
        self.claims: dict[tuple[bytes, int], Lease] = {}
        self.result: bytes | None = None  # that it is done by: of those that count the one of lowest id
        self.counting = 0  # results that count: not rejected, and by agents that are trusted or with support
        self.results: dict[bytes, Found] = {}
        self.planned_ns = 0
        # Most tasks have none of these, so the empty ones are shared: they are replaced and never changed.
        self.failures: Mapping[tuple[bytes, int], tuple[int, Failure]] = _NOTHING
        self.approvals: Mapping[bytes, bool] = _NOTHING
        self.withdrawals: Mapping[tuple[bytes, int], int] = _NOTHING
        self.lapsed: frozenset[tuple[bytes, int]] = frozenset()
        self.stalled: frozenset[tuple[bytes, int]] = frozenset()
        self.attempts_over: frozenset[int] = _NO_ATTEMPTS


class _Presence(msgspec.Struct, frozen=True, gc=False):
    """The newest that was heard of an agent."""

    seq: int
    heard_ns: int
    is_leaving: bool


class Board:
    """One observer's knowledge of the tasks of a field.

    Args:
        trust: what the observer thinks of an agent, in [0, 1]; everybody is trusted 0.5 unless told.
        changed: called with each task whose state, or the reason for it, has changed.
        stalled: called with each claim that is void because work took too long, while its agent was alive to say so.
    """

    def __init__(
        self,
        *,
        trust: Callable[[bytes], float] = lambda _: TRUST_DEFAULT,
        changed: Callable[[Entry], None] = lambda _: None,
        stalled: Callable[[Lease], None] = lambda _: None,
    ) -> None:
        self._trust = trust
        self._changed = changed
        self._stalled = stalled
        self._stalls: list[Lease] = []
        self.entries: dict[bytes, Entry] = {}
        self._dependents: dict[bytes, list[bytes]] = {}
        self._presences: dict[bytes, _Presence] = {}
        self._claims: dict[bytes, tuple[bytes, int]] = {}
        self._early_withdrawals: dict[bytes, dict[bytes, int]] = {}
        self._rulings: dict[bytes, ConsensusState] = {}
        self._tasks_of_results: dict[bytes, bytes] = {}
        self._tasks_of_agents: defaultdict[bytes, dict[bytes, None]] = defaultdict(dict)
        self._open: dict[str, list[tuple[float, int, bytes]]] = {}
        self._lapses: list[tuple[int, bytes]] = []
        self.unfinished = 0

    # ---- taking in

    def take(self, element: Element, now_ns: int, payload: Payload | None = None) -> Payload | None:
        """Take an element in.

        Args:
            element: a signal or a stance; what is no payload of this protocol is passed over.
            now_ns: by the observer's own clock, which never goes back.
            payload: what the signal carries, for who has just written it and need not read it again.

        Returns:
            The payload, if it carries one.
        """
        if not isinstance(element, Signal):
            self._hear(element.author, element.seq, now_ns)
            self._take_stance(element, now_ns)
            return None
        if payload is None:
            try:
                payload = payload_of(element)
            except PayloadError:
                return None
        is_leaving = isinstance(payload, Heartbeat) and payload.state == "leaving"
        self._hear(element.author, element.seq, now_ns, is_leaving=is_leaving)
        match payload:
            case Task():
                self._take_task(element.statement, payload, now_ns)
            case Claim():
                self._take_claim(element, payload, now_ns)
            case Result():
                entry = self._entry(bytes.fromhex(payload.task))
                entry.results[element.statement] = Found(element.author, element.seq, payload)
                self._tasks_of_results[element.statement] = entry.id
                self._tasks_of_agents[element.author][entry.id] = None
                self._refresh(entry, now_ns)
                self._wake_dependents_of(element.statement, now_ns)
            case Failure():
                entry = self._entry(bytes.fromhex(payload.task))
                key = element.author, payload.attempt
                if key not in entry.failures or entry.failures[key][0] < element.seq:
                    entry.failures = {**entry.failures, key: (element.seq, payload)}
                self._refresh(entry, now_ns)
            case Approval():
                entry = self._entry(bytes.fromhex(payload.of))
                # Of somebody who says both, the refusal counts.
                is_granted = payload.granted and entry.approvals.get(element.author, True)
                entry.approvals = {**entry.approvals, element.author: is_granted}
                self._refresh(entry, now_ns)
            case _:
                pass
        return payload

    def rule(self, result: bytes, verdict: ConsensusState, now_ns: int) -> None:
        """Take in what consensus says of a result now."""
        if self._rulings.get(result) is verdict:
            return
        self._rulings[result] = verdict
        if result in self._tasks_of_results:
            self._refresh(self.entries[self._tasks_of_results[result]], now_ns)
            self._wake_dependents_of(result, now_ns)

    def advance(self, now_ns: int) -> None:
        """Let time pass: claims whose agents were not heard of, or that ran too long, hold no longer."""
        while self._lapses and self._lapses[0][0] <= now_ns:
            _, identity = heapq.heappop(self._lapses)
            self._refresh(self.entries[identity], now_ns)

    # ---- answering

    def is_trusted(self, agent: bytes) -> bool:
        """Whether an agent's claims hold anything."""
        return self._trust(agent) >= TRUST_FLOOR

    def next_lapse_ns(self) -> int | None:
        """When some claim may hold no longer, if nothing is heard until then."""
        while self._lapses and self.entries[self._lapses[0][1]].state is not TaskState.CLAIMED:
            heapq.heappop(self._lapses)
        return self._lapses[0][0] if self._lapses else None

    def open_tasks(self, skill: str, limit: int) -> Iterator[Entry]:
        """The first open tasks that need a skill: highest priority first, then longest known."""
        for _, _, identity in self._open.get(skill, ())[:limit]:
            yield self.entries[identity]

    def winner(self, entry: Entry, now_ns: int) -> Lease | None:
        """Whose claim of a task holds; the same for all who know the same claims and hold the same agents for alive."""
        holding = [lease for lease in entry.claims.values() if self._lapse_ns(entry, lease) > now_ns]
        if len(holding) < 2:
            return holding[0] if holding else None
        return min(holding, key=lambda lease: _precedence(entry.id, lease))

    def task_of(self, result: bytes) -> Entry | None:
        """The task that a statement is a result of; None where it is none."""
        identity = self._tasks_of_results.get(result)
        return None if identity is None else self.entries[identity]

    def results_before(self, task: Task) -> dict[str, Result]:
        """The results that a task comes after, by the ids that it names."""
        found: dict[str, Result] = {}
        for needed in task.after:
            entry = self.task_of(bytes.fromhex(needed)) or self.entries[bytes.fromhex(needed)]
            if entry.result is not None:
                found[needed] = entry.results[entry.result].result
        return found

    def reconsider(self, agent: bytes, now_ns: int) -> None:
        """Look again at all that an agent has claimed or done, as what is thought of it has changed."""
        for entry in self.entries_of(agent):
            self._refresh(entry, now_ns)

    def next_attempt(self, entry: Entry) -> int:
        """The number that a new claim of an unfinished task carries: the lowest that is not over."""
        attempt = 1
        while attempt in entry.attempts_over:
            attempt += 1
        return attempt

    def is_alive(self, agent: bytes, now_ns: int, within_ns: int) -> bool:
        """Whether an agent was heard of lately, and does not leave."""
        presence = self._presences.get(agent)
        return presence is not None and not presence.is_leaving and now_ns - presence.heard_ns < within_ns

    def entries_of(self, agent: bytes) -> list[Entry]:
        """The tasks that an agent has claimed or done, in the order in which it first did so."""
        return [self.entries[identity] for identity in self._tasks_of_agents.get(agent, ())]

    # ---- folding

    def _hear(self, agent: bytes, seq: int, now_ns: int, *, is_leaving: bool = False) -> None:
        known = self._presences.get(agent)
        if known is None or seq > known.seq:
            self._presences[agent] = _Presence(seq, now_ns, is_leaving)
            if is_leaving != (known is not None and known.is_leaving):
                self.reconsider(agent, now_ns)

    def _entry(self, identity: bytes) -> Entry:
        entry = self.entries.get(identity)
        if entry is None:
            entry = self.entries[identity] = Entry(identity, len(self.entries))
        return entry

    def _take_task(self, identity: bytes, task: Task, now_ns: int) -> None:
        entry = self._entry(identity)
        if entry.task is not None:
            return
        entry.task, entry.first_ns = task, now_ns
        entry.after = tuple(map(bytes.fromhex, task.after))
        self.unfinished += 1
        for needed in entry.after:
            self._entry(needed)  # it stands in the order in which it became known
            self._dependents.setdefault(needed, []).append(identity)
        self._refresh(entry, now_ns)

    def _take_claim(self, signal: Signal, claim: Claim, now_ns: int) -> None:
        entry = self._entry(bytes.fromhex(claim.task))
        key = signal.author, claim.attempt
        self._claims[signal.statement] = entry.id, claim.attempt
        self._tasks_of_agents[signal.author][entry.id] = None
        early = self._early_withdrawals.pop(signal.statement, _NOTHING)
        if signal.author in early:
            self._note_withdrawal(entry, key, early[signal.author])
        known = entry.claims.get(key)
        is_newest = known is None or known.seq < signal.seq
        had_begun = known is not None and known.is_started
        entry.claims[key] = Lease(
            agent=signal.author,
            attempt=claim.attempt,
            is_started=claim.started or had_begun,  # what has begun does not become what has not
            seq=signal.seq if known is None or is_newest else known.seq,
            lease_ns=claim.lease_s * _NS_PER_S if known is None or is_newest else known.lease_ns,
            since_ns=known.since_ns if known is not None and (had_begun or not claim.started) else now_ns,
            claim=signal.statement if known is None or is_newest else known.claim,
        )
        self._refresh(entry, now_ns)

    def _take_stance(self, stance: Stance, now_ns: int) -> None:
        """Only who withdraws a claim of its own says anything here; what is said of results, consensus reads."""
        if stance.kind is not StanceKind.WITHDRAW or stance.statement in self._tasks_of_results:
            return
        if stance.statement not in self._claims:
            by = self._early_withdrawals.setdefault(stance.statement, {})
            by[stance.author] = max(by.get(stance.author, -1), stance.seq)
            return
        identity, attempt = self._claims[stance.statement]
        entry = self.entries[identity]
        self._note_withdrawal(entry, (stance.author, attempt), stance.seq)
        self._refresh(entry, now_ns)

    def _note_withdrawal(self, entry: Entry, key: tuple[bytes, int], seq: int) -> None:
        entry.withdrawals = {**entry.withdrawals, key: max(entry.withdrawals.get(key, -1), seq)}

    def _refresh(self, entry: Entry, now_ns: int) -> None:
        """Work out where a task stands now, and then whatever comes after it."""
        if self._restate(entry, now_ns):
            touched = deque(self._dependents.get(entry.id, ()))
            while touched:
                dependent = self.entries[touched.popleft()]
                if self._restate(dependent, now_ns):
                    touched.extend(self._dependents.get(dependent.id, ()))
        while self._stalls:  # only now: whoever is told may have tasks looked at again
            self._stalled(self._stalls.pop())

    def _restate(self, entry: Entry, now_ns: int) -> bool:
        """Work out where a task stands now; whether that touches what comes after it."""
        if entry.task is None:
            return False
        before, why_before = entry.state, entry.why
        counting = [one for one in entry.results if self._counts(entry, one)] if entry.results else ()
        entry.counting, entry.result = len(counting), min(counting) if counting else None
        if counting:  # nothing else matters then
            entry.state, entry.why, entry.attempts_over = TaskState.DONE, "", _NO_ATTEMPTS
        else:
            ends, entry.attempts_over = self._look_at_claims(entry, now_ns) if entry.claims else ([], _NO_ATTEMPTS)
            entry.state, entry.why = self._state(entry, entry.task, is_claimed=bool(ends))
            if ends and not entry.state.is_terminal:
                self._plan_lapse(entry, min(ends), now_ns)
        if entry.state is not before:
            self._reindex(entry, entry.task, before, now_ns)
            was_terminal, is_terminal = before.is_terminal, entry.state.is_terminal
            self.unfinished += was_terminal - is_terminal
            self._changed(entry)
            return is_terminal or was_terminal
        if entry.why != why_before:
            self._changed(entry)
        return False

    def _state(self, entry: Entry, task: Task, *, is_claimed: bool) -> tuple[TaskState, str]:
        """Where a task stands that has no result that counts."""
        if why := self._why_failed(entry, task):
            return TaskState.FAILED, why
        if entry.after and not all(map(self._is_done, entry.after)):
            return TaskState.WAITING, FOR_OTHERS
        if task.approver and not entry.approvals.get(bytes.fromhex(task.approver)):
            return TaskState.WAITING, FOR_APPROVAL
        return (TaskState.CLAIMED if is_claimed else TaskState.OPEN), ""

    def _why_failed(self, entry: Entry, task: Task) -> str:
        """Why nobody need try any more; nothing where somebody may."""
        for (agent, attempt), (_, failure) in sorted(entry.failures.items()):
            if not failure.retryable and (agent, attempt) in entry.claims and self.is_trusted(agent):
                return failure.reason
        if len(entry.attempts_over) >= ATTEMPTS_MAX:
            last = max(entry.attempts_over)
            said = [failure.reason for (_, attempt), (_, failure) in sorted(entry.failures.items()) if attempt == last]
            return f"{ATTEMPTS_MAX} attempts came to nothing; the last: {said[0] if said else 'its agent fell silent'}"
        if task.effectful and entry.attempts_over - {attempt for _, attempt in entry.failures}:
            return "its owner fell silent; whether it has taken effect is not known, and nobody takes it over"
        if task.approver and entry.approvals.get(bytes.fromhex(task.approver)) is False:
            return "its approval was refused"
        for needed in entry.after:
            other = self.entries[needed]
            if other.state is TaskState.FAILED and other.task is not None:
                return f"what it comes after has failed: {other.task.what[:_WHAT_SHOWN]}"
        return ""

    def _is_done(self, needed: bytes) -> bool:
        """Whether a task is done, or a result is there and counts."""
        if needed in self._tasks_of_results:
            return self._counts(self.entries[self._tasks_of_results[needed]], needed)
        other = self.entries.get(needed)
        return other is not None and other.state is TaskState.DONE

    def _counts(self, entry: Entry, result: bytes) -> bool:
        """Whether a result makes its task done."""
        verdict = self._rulings.get(result, ConsensusState.OPEN)
        if verdict is ConsensusState.OPEN:
            return self.is_trusted(entry.results[result].author)
        return verdict is ConsensusState.REACHED

    def _look_at_claims(self, entry: Entry, now_ns: int) -> tuple[list[int], frozenset[int]]:
        """Of a task that has no result that counts: when each claim that holds now ends, and which attempts are over.

        Attempts of agents that are not trusted are never over: a few of them could else see to it that a task fails.
        Which claims had begun and hold no longer is put on record.
        """
        ends: list[int] = []
        over: set[int] = set()
        answered = {(found.author, self._attempt_of(entry, found)) for found in entry.results.values()}
        for key, lease in entry.claims.items():
            end_ns = self._lapse_ns(entry, lease)
            if end_ns > now_ns:
                ends.append(end_ns)
            elif end_ns > 0 and lease.is_started and key not in entry.lapsed:
                entry.lapsed |= {key}
                if now_ns - self._presences[lease.agent].heard_ns < lease.lease_ns:
                    entry.stalled |= {key}
                    self._stalls.append(lease)
            has_ended = key in entry.failures or key in answered
            if not has_ended and lease.is_started:
                has_ended = key in entry.lapsed or self._presences[lease.agent].is_leaving
            if has_ended and self.is_trusted(lease.agent):
                over.add(lease.attempt)
        return ends, frozenset(over) if over else _NO_ATTEMPTS

    def _attempt_of(self, entry: Entry, found: Found) -> int:
        """The attempt that a result came of: its author's last one before it; 0 where none is known."""
        before = [lease for lease in entry.claims.values() if lease.agent == found.author and lease.seq < found.seq]
        return max(before, key=lambda lease: lease.seq).attempt if before else 0

    def _lapse_ns(self, entry: Entry, lease: Lease) -> int:
        """When a claim holds no longer, if nothing more is heard; 0 where it does not hold now."""
        key = lease.agent, lease.attempt
        presence = self._presences[lease.agent]
        if (
            presence.is_leaving
            or key in entry.failures
            or (entry.withdrawals and entry.withdrawals.get(key, -1) > lease.seq)
            or not self.is_trusted(lease.agent)
        ):
            return 0
        for found in entry.results.values():
            if found.author == lease.agent and found.seq > lease.seq:
                return 0
        silent_ns = presence.heard_ns + lease.lease_ns
        if not lease.is_started or entry.task is None:
            return silent_ns
        return min(silent_ns, lease.since_ns + entry.task.run_s_max * _NS_PER_S)

    def _plan_lapse(self, entry: Entry, end_ns: int, now_ns: int) -> None:
        """See to it that the task is looked at again when some claim of it may have lapsed."""
        if not now_ns < entry.planned_ns <= end_ns:
            entry.planned_ns = end_ns
            heapq.heappush(self._lapses, (end_ns, entry.id))

    def _reindex(self, entry: Entry, task: Task, before: TaskState, now_ns: int) -> None:
        """Keep the open tasks of each skill in order."""
        key = -task.priority, entry.order, entry.id
        held = self._open.setdefault(task.skill, [])
        if before is TaskState.OPEN:
            del held[bisect.bisect_left(held, key)]
        if entry.state is TaskState.OPEN:
            bisect.insort(held, key)
            entry.open_since_ns = now_ns

    def _wake_dependents_of(self, statement: bytes, now_ns: int) -> None:
        """Of tasks that come after a result by its own id."""
        for dependent in self._dependents.get(statement, ()):
            self._refresh(self.entries[dependent], now_ns)


def _precedence(task: bytes, lease: Lease) -> tuple[bool, int, bytes]:
    """Of claims that hold the one of the least precedence key has the task."""
    drawn = hashlib.sha256(b"smesh/claim/1" + task + lease.attempt.to_bytes(1, "big") + lease.agent).digest()
    return not lease.is_started, lease.attempt, drawn
