"""A review's agents on a field: what they say, where they meet, what they oppose, and what a death costs."""

from __future__ import annotations

import asyncio
import itertools

import msgspec
import pytest
from smesh_agent.analyzers import Observation, Outcome, Severity, Unread
from smesh_agent.errors import AnalyzerFailedError
from smesh_agent.tree import Tree
from smesh_agent.workflows.review import Profile, Status, at_least, gates, run_review, run_union
from smesh_agent.workflows.review.messages import Finding, UnreadFile, decode, encode, signal_type, subject_of
from smesh_core import Signal, SignalType, node_id
from smesh_runtime import VirtualClock

SOURCE = "import os\n\nvalue = eval('1')\n\n\ndef f():\n    return eval('1')\n"


@pytest.fixture
def tree(tmp_path) -> Tree:
    (tmp_path / "app.py").write_text(SOURCE)
    (tmp_path / "other.py").write_text(SOURCE)
    return Tree.scan(tmp_path)


def seen(line: int = 3, *, kind: str = "CWE-95", path: str = "app.py", **changes) -> Observation:
    whole = {"rule": "R1", "message": "eval", "severity": Severity.HIGH, "confidence": 0.5, "advice": "do not"}
    return Observation(path=path, line=line, kind=kind, **(whole | changes))


class Sees:
    """An analyzer that reports what it is told to, after so many turns of the event loop."""

    def __init__(self, *observations: Observation, turns: int = 0, unread: tuple[Unread, ...] = ()) -> None:
        self.observations, self.turns, self.unread = observations, turns, unread

    async def run(self, tree: Tree) -> Outcome:
        for _ in range(self.turns):
            await asyncio.sleep(0)
        return Outcome(list(self.observations), list(self.unread))


class Fails:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    async def run(self, tree: Tree) -> Outcome:
        await asyncio.sleep(0)
        raise self.error


class Hangs:
    def __init__(self) -> None:
        self.is_running, self.was_cancelled = asyncio.Event(), False

    async def run(self, tree: Tree) -> Outcome:
        self.is_running.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        raise AssertionError


class Against:
    """Counter-evidence against one kind."""

    def __init__(self, kind: str, reason: str = "it is not so") -> None:
        self.kind, self.reason = kind, reason

    async def against(self, tree: Tree, finding: Finding) -> str | None:
        return self.reason if finding.kind == self.kind else None


def witness(name: str, analyzer=None, *, lineage: str = "", counter_evidence=None) -> Profile:
    return Profile(name, "security", lineage or name, analyzer=analyzer, counter_evidence=counter_evidence)


async def review(tree: Tree, *profiles: Profile, **options):
    clock = VirtualClock(10**18)
    reviewing = asyncio.create_task(run_review(tree, profiles, clock=clock, **options))
    async with asyncio.timeout(30):
        while not reviewing.done():  # a witness that was killed keeps its lease until that has run out
            for _ in range(200):
                await asyncio.sleep(0)
            await asyncio.wait([reviewing], timeout=0.01)
            clock.advance_to_next()
    report = await reviewing
    return report, {(finding.kind, finding.path): finding for finding in report.findings}


async def test_independent_witnesses_meet_at_one_finding(tree) -> None:
    report, _ = await review(
        tree, witness("a", Sees(seen(rule="A1"))), witness("b", Sees(seen(rule="B9", confidence=0.6)))
    )
    (finding,) = report.findings
    assert finding.consensus == "reached"
    assert finding.is_corroborated
    assert [(said.witness, said.rules) for said in finding.says] == [("b", ["B9"]), ("a", ["A1"])]
    # The stronger's 0.6, one supporter of weight 1: (0.6 + 0.1/1.5) * 1.1.
    assert finding.value == pytest.approx((0.6 + 0.1 / 1.5) * 1.1)
    assert report.summary["corroborated"] == 1


async def test_witnesses_of_one_lineage_count_once(tree) -> None:
    report, _ = await review(
        tree, witness("a", Sees(seen()), lineage="rules"), witness("b", Sees(seen()), lineage="rules")
    )
    (finding,) = report.findings
    assert len(finding.says) == 2
    assert (finding.consensus, finding.support, finding.value) == ("open", 1.0, 0.5)
    assert not finding.is_corroborated


async def test_nobody_supports_without_evidence(tree) -> None:
    report, _ = await review(tree, witness("a", Sees(seen())), witness("idle"), witness("blind", Sees()))
    (finding,) = report.findings
    assert (finding.support, finding.value, len(finding.says)) == (1.0, 0.5, 1)


async def test_counter_evidence_inhibits_and_gives_its_reason(tree) -> None:
    report, findings = await review(
        tree,
        witness("a", Sees(seen(), seen(kind="CWE-78"))),
        witness("context", counter_evidence=Against("CWE-95", "only in tests")),
    )
    opposed, alone = findings["CWE-95", "app.py"], findings["CWE-78", "app.py"]
    assert [(o.witness, o.lineage, o.reason) for o in opposed.objects] == [("context", "context", "only in tests")]
    assert opposed.value == pytest.approx(0.25)
    assert opposed.is_contested
    assert not alone.objects
    assert report.findings == [alone, opposed]
    assert (gates(alone, Severity.HIGH), gates(opposed, Severity.HIGH)) == (True, False)
    assert {summary.name: summary.objections for summary in report.witnesses} == {"a": 0, "context": 1}


async def test_two_opposing_lineages_reject_what_one_says(tree) -> None:
    report, _ = await review(
        tree,
        witness("a", Sees(seen())),
        witness("x", counter_evidence=Against("CWE-95")),
        witness("y", counter_evidence=Against("CWE-95")),
    )
    assert report.findings[0].consensus == "rejected"


async def test_a_witness_does_not_oppose_what_it_says_itself(tree) -> None:
    report, _ = await review(
        tree,
        witness("a", Sees(seen(), turns=5), counter_evidence=Against("CWE-95")),
        witness("b", Sees(seen())),
    )
    assert not report.findings[0].objects


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (AnalyzerFailedError("b", "exit code 3"), "exit code 3"),
        (ValueError("a bug"), "ValueError: a bug"),
        (asyncio.CancelledError(), "it ended without a result"),
    ],
    ids=["failure", "bug", "killed"],
)
async def test_a_witness_that_dies_costs_only_its_own_findings(tree, error, reason) -> None:
    report, _ = await review(tree, witness("a", Sees(seen(), turns=9)), witness("b", Fails(error)))
    states = {summary.name: (summary.state, summary.reason) for summary in report.witnesses}
    assert states == {"a": ("done", ""), "b": ("failed", reason)}
    assert len(report.findings) == 1
    assert not report.interrupted


async def test_counter_evidence_that_breaks_is_a_failure_on_record(tree) -> None:
    class Breaks:
        async def against(self, tree: Tree, finding: Finding) -> str | None:
            raise KeyError("index")

    report, _ = await review(tree, witness("a", Sees(seen())), witness("b", counter_evidence=Breaks()))
    assert len(report.findings) == 1
    assert [(w.state, w.reason) for w in report.witnesses] == [("done", ""), ("failed", "KeyError: 'index'")]


async def test_a_stop_keeps_what_was_found(tree) -> None:
    stop, hanging, others_done = asyncio.Event(), Hangs(), asyncio.Event()

    def watch(name: str, status: Status) -> None:
        if (name, status.state) == ("a", "done"):
            others_done.set()

    running = asyncio.create_task(
        review(tree, witness("a", Sees(seen())), witness("b", hanging), stop=stop, watcher=watch)
    )
    await hanging.is_running.wait()
    await others_done.wait()
    stop.set()
    report, _ = await running
    assert report.interrupted
    assert hanging.was_cancelled
    assert len(report.findings) == 1
    assert [summary.state for summary in report.witnesses] == ["done", "stopped"]


@pytest.mark.parametrize("turns", list(itertools.permutations((0, 3, 9))), ids=str)
async def test_the_report_does_not_depend_on_who_is_first(tree, turns) -> None:
    sights = [(seen(), seen(7)), (seen(confidence=0.6),), (seen(kind="CWE-78"), seen(path="other.py"))]
    profiles = [witness(name, Sees(*sight, turns=turn)) for name, sight, turn in zip("abc", sights, turns, strict=True)]
    report, _ = await review(tree, *profiles, witness("d", counter_evidence=Against("CWE-78")))
    still, _ = await review(
        tree,
        *(witness(name, Sees(*sight)) for name, sight in zip("abc", sights, strict=True)),
        witness("d", counter_evidence=Against("CWE-78")),
    )
    assert msgspec.structs.replace(report, duration_s=0) == msgspec.structs.replace(still, duration_s=0)


async def test_equal_lines_are_one_finding_that_lists_them(tree) -> None:
    same = Tree.scan(tree.root)
    (tree.root / "twice.py").write_text("x = eval('1')\nif x:\n    x  =  eval('1')\n")
    same = Tree.scan(tree.root)
    report, _ = await review(same, witness("a", Sees(seen(1, path="twice.py"), seen(3, path="twice.py"))))
    (finding,) = report.findings
    assert (finding.lines, finding.count, finding.code) == ([1, 3], 2, "x = eval('1')")


async def test_several_rules_of_one_witness_at_one_place_are_one_finding(tree) -> None:
    report, _ = await review(
        tree, witness("a", Sees(seen(rule="R2", severity=Severity.LOW), seen(rule="R1", confidence=0.7)))
    )
    (finding,) = report.findings
    assert finding.says[0].rules == ["R1", "R2"]
    assert (finding.severity, finding.value) == ("high", 0.7)


async def test_findings_are_ranked_by_severity_and_value_together(tree) -> None:
    report, _ = await review(
        tree,
        witness(
            "a",
            Sees(
                seen(kind="k1", severity=Severity.INFO, confidence=1.0),
                seen(kind="k2", severity=Severity.MEDIUM, confidence=0.9),
                seen(kind="k3", severity=Severity.HIGH, confidence=0.3),
                seen(kind="k4", severity=Severity.HIGH, confidence=0.5),
            ),
        ),
    )
    assert [finding.kind for finding in report.findings] == ["k4", "k2", "k3", "k1"]
    medium = at_least(report, Severity.MEDIUM)
    assert [finding.kind for finding in medium.findings] == ["k4", "k2", "k3"]
    assert medium.summary == {"high": 2, "medium": 1, "low": 0, "info": 0, "corroborated": 0, "contested": 0}


async def test_files_that_could_not_be_read_are_named_with_who_could_not(tree) -> None:
    broken = Unread("app.py", "syntax error in line 3")
    report, _ = await review(tree, witness("a", Sees(unread=(broken,))), witness("b", Sees(unread=(broken,))))
    (entry,) = report.unread
    assert (entry.path, entry.witnesses, entry.reason) == ("app.py", ["a", "b"], "syntax error in line 3")


async def test_an_empty_tree_is_a_report_without_findings(tmp_path) -> None:
    report, _ = await review(Tree.scan(tmp_path), witness("a", Sees()))
    assert (report.findings, report.source.files, report.witnesses[0].state) == ([], 0, "done")


async def test_the_union_corroborates_nothing_and_keeps_everything(tree) -> None:
    profiles = [witness("a", Sees(seen())), witness("b", Sees(seen())), witness("c", Fails(ValueError("bug")))]
    report = await run_union(tree, [*profiles, witness("context", counter_evidence=Against("CWE-95"))])
    assert report.mode == "union"
    assert [(f.says[0].witness, f.value, f.objects) for f in report.findings] == [("a", 0.5, []), ("b", 0.5, [])]
    assert [(w.name, w.state) for w in report.witnesses] == [("a", "done"), ("b", "done"), ("c", "failed")]


async def test_a_stopped_union_keeps_what_was_found(tree) -> None:
    stop, hanging = asyncio.Event(), Hangs()
    running = asyncio.create_task(run_union(tree, [witness("a", Sees(seen())), witness("b", hanging)], stop=stop))
    await hanging.is_running.wait()
    await asyncio.sleep(0)
    stop.set()
    report = await asyncio.wait_for(running, 30)
    assert report.interrupted
    assert len(report.findings) == 1
    assert [w.state for w in report.witnesses] == ["done", "stopped"]


async def test_the_watcher_hears_what_every_witness_does(tree) -> None:
    heard: list[tuple[str, str]] = []
    await review(
        tree,
        witness("a", Sees(seen())),
        witness("b", Fails(AnalyzerFailedError("b", "crashed"))),
        watcher=lambda name, status: heard.append((name, status.state)),
    )
    assert [state for name, state in heard if name == "a"] == ["reading", "done"]
    assert [state for name, state in heard if name == "b"] == ["reading", "failed"]


def said(payload: bytes, kind: SignalType = SignalType.DATA, about: bytes | None = None) -> Signal:
    return Signal(author=node_id("x"), seq=1, created_at_ns=0, payload=payload, type=kind, subject=about)


def test_messages_survive_the_journey_and_garbage_does_not_become_one() -> None:
    finding = Finding("CWE-95", "a.py", "ab", [1], 1, "eval", ["R"], "m", Severity.HIGH, "a")
    for message in (finding, UnreadFile("a.py", "no")):
        about = subject_of(message)
        assert decode(said(encode(message), signal_type(message), about)) == message
    assert decode(said(b"\xff")) is None
    assert decode(said(b"{}")) is None
    assert decode(said(encode(finding), SignalType.ALERT, subject_of(finding))) is None
    elsewhere = msgspec.structs.replace(finding, path="b.py")
    assert decode(said(encode(elsewhere), SignalType.DATA, subject_of(finding))) is None
    endless = msgspec.structs.replace(finding, kind="k" * 2000)
    assert decode(said(encode(endless), SignalType.DATA, subject_of(finding))) is None


def test_a_very_long_path_still_makes_a_subject() -> None:
    long, longer = (Finding("k", "d/" * n, "ab", [1], 1, "", [], "", Severity.LOW, "") for n in (1500, 1501))
    assert subject_of(long) != subject_of(longer)


async def test_equally_sure_witnesses_speak_in_the_order_of_their_names_and_pool_their_lines(tree) -> None:
    (tree.root / "same.py").write_text("x = 1\nx = 1\n")
    same = Tree.scan(tree.root)
    a, b = seen(2, path="same.py", message="from a"), seen(1, path="same.py", message="from b")
    for turns in ((0, 9), (9, 0)):
        report, _ = await review(same, witness("a", Sees(a, turns=turns[0])), witness("b", Sees(b, turns=turns[1])))
        (finding,) = report.findings
        assert (finding.message, [said.witness for said in finding.says]) == ("from a", ["a", "b"])
        assert (finding.lines, finding.count) == ([1, 2], 2)
