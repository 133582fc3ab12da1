"""The witnesses that take part by default, on a real tree with the real analyzers."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from smesh_agent.tree import Tree
from smesh_agent.workflows.review import Report, default_profiles, run_review, run_union

# Put together here, so that a review of this repository finds nothing in it.
PASSWORD = "pass" + "word"
REAL = "hunter2-" + "Xk9#qLw"
REAL_SHOWN = f'{PASSWORD} = "hu…"'
FILES = {
    "app.py": f"""
import os
import subprocess

{PASSWORD} = "{REAL}"
{PASSWORD}_hint = "change" + "me"
{PASSWORD}_old = "changeme"


def run(command):
    return subprocess.run(command, shell=True)  # noqa: S602


def never():
    return 1
    print("dead")


def empty():
    return
    yield


@route("/view")
def view():
    return run("ls")
""",
    "package/__init__.py": "from package.inner import helper\n",
    "package/inner.py": "def helper():\n    return 1\n",
    "user.py": "from package import helper\n\nprint(helper())\n",
    "tests/test_app.py": "import subprocess\n\n\ndef test_run():\n    assert subprocess.run('ls', shell=True)\n",
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Tree:
    root = tmp_path_factory.mktemp("project")
    for path, text in FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return Tree.scan(root)


@pytest.fixture(scope="module")
def report(tree) -> Report:
    return asyncio.run(run_review(tree, default_profiles()))


def one(report: Report, kind: str, code: str):
    (finding,) = [f for f in report.findings if f.kind == kind and code in f.code]
    return finding


def test_every_witness_ends_well_and_each_kind_of_role_takes_part(report) -> None:
    assert {w.state for w in report.witnesses} == {"done"}
    assert {w.role for w in report.witnesses} == {"security", "performance", "style", "documentation", "context"}


def test_bandit_and_ruff_are_one_lineage_and_detect_secrets_another(report) -> None:
    finding = one(report, "CWE-798", REAL_SHOWN)
    assert {said.witness for said in finding.says} == {"bandit", "ruff-security", "detect-secrets"}
    assert (finding.support, finding.consensus, finding.objects) == (2.0, "reached", [])


def test_a_report_does_not_repeat_a_credential(report) -> None:
    assert REAL_SHOWN in (text := msgspec.json.encode(report).decode()).replace('\\"', '"')
    assert REAL not in text


def test_vulture_and_pyflakes_corroborate_an_unused_import(report) -> None:
    finding = one(report, "unused-import", "import os")
    assert {said.lineage for said in finding.says} == {"pyflakes", "vulture"}
    assert finding.consensus == "reached"


@pytest.mark.parametrize(
    ("witness", "kind", "code"),
    [
        ("layout", "CWE-703", "assert subprocess"),
        ("layout", "CWE-78", "assert subprocess"),
        ("literals", "CWE-798", '_old = "ch…"'),
        ("idioms", "unreachable-code", "yield"),
        ("names", "unused-import", "from package.inner import helper"),
        ("names", "unused-function", "@route"),
        ("author-marks", "CWE-78", "subprocess.run(command"),
    ],
)
def test_context_speaks_against(report, witness: str, kind: str, code: str) -> None:
    finding = one(report, kind, code)
    assert witness in [objection.witness for objection in finding.objects]
    assert finding.oppose == 1.0
    assert finding.is_contested == (finding.support <= 1.0)
    assert all(objection.reason for objection in finding.objects)


@pytest.mark.parametrize(
    ("kind", "code"), [("CWE-798", REAL_SHOWN), ("unreachable-code", "print("), ("unused-import", "import os")]
)
def test_context_does_not_speak_against_what_holds(report, kind: str, code: str) -> None:
    assert one(report, kind, code).objects == []


async def test_the_field_ranks_what_holds_above_what_does_not_where_the_union_cannot(report, tree) -> None:
    union = await run_union(tree, default_profiles())
    places = [(f.kind, f.code) for f in report.findings]
    meant, made_up = one(report, "unreachable-code", "print("), one(report, "unreachable-code", "yield")
    assert places.index((meant.kind, meant.code)) < places.index((made_up.kind, made_up.code))
    ranks = {f.code: f.rank for f in union.findings if f.kind == "unreachable-code"}
    assert ranks[meant.code] == ranks[made_up.code]
    assert len(union.findings) > len(report.findings)
