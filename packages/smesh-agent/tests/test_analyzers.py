"""The analyzers on small trees: what they say, where they meet, and what they do with what cannot be read."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections import defaultdict
from importlib import resources
from typing import TYPE_CHECKING

import msgspec
import pytest
from ruff import find_ruff_bin
from smesh_agent.analyzers import (
    ALL_ANALYZERS,
    Bandit,
    Observation,
    Outcome,
    Radon,
    RuffDocs,
    RuffPerformance,
    RuffSecurity,
    RuffStyle,
    Secrets,
    Severity,
    Vulture,
    default_analyzers,
)
from smesh_agent.analyzers.ruff import is_public_api
from smesh_agent.analyzers.rules import bandit_namesake, rules
from smesh_agent.tree import Tree

if TYPE_CHECKING:
    from pathlib import Path

# Put together here, so that no scanner of this repository takes them for what they look like.
PASSWORD = "pass" + "word"
SECRET = "h" + "unter2" + "-xyz"

SAMPLE = f'''\
"""A module with something for everyone."""

import json
import os
import subprocess
import hashlib

{PASSWORD} = "{SECRET}"


def run(command, items=[]):
    """Run."""
    unused = 3
    for index in range(3):
        items.append(command)
    hashlib.md5(command).hexdigest()
    subprocess.call(command, shell=True)
    assert False
    return os.path.join(*[x for x in items])
    print("never")


class Thing:
    """A thing."""

    def go(self):
        return missing_name
'''


def tree_of(root: Path, files: dict[str, str | bytes]) -> Tree:
    for path, content in files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else content.encode())
    return Tree.scan(root)


def line_of(text: str) -> int:
    return next(n for n, line in enumerate(SAMPLE.split("\n"), start=1) if text in line)


def rules_at(outcome: Outcome) -> set[tuple[str, int]]:
    return {(seen.rule, seen.line) for seen in outcome.observations}


async def test_the_default_set() -> None:
    analyzers = default_analyzers()
    assert [a.name for a in analyzers] == [a.name for a in ALL_ANALYZERS]
    assert len({a.name for a in analyzers}) == 8
    assert {a.role for a in analyzers} == {"security", "performance", "style", "documentation"}
    lineages = defaultdict(set)
    for analyzer in analyzers:
        lineages[analyzer.lineage].add(analyzer.name)
    assert lineages["bandit-rules"] == {"bandit", "ruff-security"}
    assert len(lineages) == 7


async def test_independent_analyzers_meet_where_they_mean_the_same(tmp_path: Path) -> None:
    tree = tree_of(tmp_path, {"pkg/mod.py": SAMPLE})
    statements: dict[tuple[str, int], set[str]] = defaultdict(set)
    for analyzer in default_analyzers():
        outcome = await analyzer.run(tree)
        assert outcome.unread == [], analyzer.name
        for seen in outcome.observations:
            assert seen.path == "pkg/mod.py"
            statements[seen.kind, seen.line].add(analyzer.name)
    assert statements["CWE-798", line_of(SECRET)] == {"bandit", "ruff-security", "detect-secrets"}
    assert statements["unused-import", line_of("import json")] == {"ruff-style", "vulture"}
    assert statements["unused-variable", line_of("unused = 3")] == {"ruff-style", "vulture"}
    assert statements["unused-variable", line_of("for index")] == {"ruff-style", "vulture"}
    assert statements["CWE-78", line_of("shell=True")] == {"bandit", "ruff-security"}
    assert statements["CWE-327", line_of("md5")] == {"bandit", "ruff-security"}
    assert statements["CWE-703", line_of("assert False")] == {"bandit", "ruff-security", "ruff-style"}
    assert statements["unreachable-code", line_of("never")] == {"vulture"}
    assert statements["mutable-default-argument", line_of("items=[]")] == {"ruff-style"}
    assert statements["undefined-name", line_of("missing_name")] == {"ruff-style"}
    assert statements["missing-docstring", line_of("def go")] == {"ruff-docs"}


async def test_names_in_a_long_import_are_on_their_own_lines(tmp_path: Path) -> None:
    text = "from os import (\n    path,\n    sep,\n    linesep,  # noqa: F401\n)\n\nprint(path)\n"
    tree = tree_of(tmp_path, {"a.py": text})
    for analyzer in (RuffStyle(), Vulture()):
        outcome = await analyzer.run(tree)
        assert [(s.kind, s.line) for s in outcome.observations] == [("unused-import", 3)], analyzer.name


async def test_severity_and_confidence(tmp_path: Path) -> None:
    tree = tree_of(tmp_path, {"a.py": SAMPLE})
    bandit = {s.rule: s for s in (await Bandit().run(tree)).observations}
    assert (bandit["B602"].severity, bandit["B602"].confidence) == (Severity.HIGH, 0.9)
    assert (bandit["B105"].severity, bandit["B105"].confidence) == (Severity.LOW, 0.6)
    ruff = {s.rule: s for s in (await RuffSecurity().run(tree)).observations}
    assert (ruff["S602"].severity, ruff["S602"].confidence) == (Severity.HIGH, 0.9)
    assert ruff["S602"].advice == bandit["B602"].advice
    style = {s.rule: s for s in (await RuffStyle().run(tree)).observations}
    assert {style[rule].severity for rule in ("B006", "F821")} == {Severity.MEDIUM}
    safe = tree_of(tmp_path / "safe", {"a.py": "import subprocess\nsubprocess.call('ls', shell=True)\n"})
    both = [s for a in (Bandit(), RuffSecurity()) for s in (await a.run(safe)).observations]
    assert {s.severity for s in both if s.rule.endswith("602")} == {Severity.LOW}


async def test_no_message_repeats_a_credential(tmp_path: Path) -> None:
    tree = tree_of(tmp_path, {"a.py": SAMPLE, "b.cfg": f"[x]\n{PASSWORD} = {SECRET}\n"})
    for analyzer in (Bandit(), RuffSecurity(), Secrets()):
        outcome = await analyzer.run(tree)
        assert any(s.kind == "CWE-798" for s in outcome.observations)
        assert SECRET.encode() not in msgspec.json.encode(outcome)


async def test_comments_that_suppress_are_honoured(tmp_path: Path) -> None:
    text = (
        "import json  # noqa: F401\n"
        "assert json  # nosec\n"
        f'{PASSWORD} = "{SECRET}"  # noqa: S105  # nosec B105  # pragma: allowlist secret\n'
    )
    tree = tree_of(tmp_path, {"a.py": text})
    assert (await Bandit().run(tree)).observations == []
    assert rules_at(await RuffSecurity().run(tree)) == {("S101", 2)}
    assert (await RuffStyle().run(tree)).observations == []
    assert (await Secrets().run(tree)).observations == []


async def test_the_repository_configures_nothing(tmp_path: Path) -> None:
    quiet = (
        "[tool.ruff]\nexclude=['*']\nlint.select=[]\n[tool.bandit]\nskips=['B101']\nexclude_dirs=['.']\n"
        "[tool.vulture]\nmin_confidence=100\n"
    )
    tree = tree_of(tmp_path, {"build/a.py": SAMPLE, "pyproject.toml": quiet, ".bandit": "[bandit]\nskips: B101\n"})
    for analyzer in (RuffStyle(), RuffSecurity(), Bandit(), Vulture()):
        assert (await analyzer.run(tree)).observations, analyzer.name


async def test_the_reviewed_code_is_never_run(tmp_path: Path) -> None:
    trap = f"open({str(tmp_path / 'sprung')!r}, 'w').close()\n"
    names = ("ast", "json", "bandit", "radon", "vulture", "msgspec", "sitecustomize", "yaml", "conftest", "setup")
    tree = tree_of(tmp_path / "tree", {f"{name}.py": trap for name in names})
    for analyzer in default_analyzers():
        await analyzer.run(tree)
    assert not (tmp_path / "sprung").exists()


async def test_odd_names(tmp_path: Path) -> None:
    names = ["-rf.py", "@args.py", "a b.py", "it's.py", "naïve ☃.py", "--help.py", "[x].py", "#.py", "%s.py"]
    tree = tree_of(tmp_path / "ro ot @-x", dict.fromkeys(names, "import os\nassert 1\n"))
    for analyzer, rule in ((RuffStyle(), "F401"), (RuffSecurity(), "S101"), (Bandit(), "B101"), (Vulture(), "import")):
        outcome = await analyzer.run(tree)
        assert sorted(s.path for s in outcome.observations if s.rule == rule) == sorted(names), analyzer.name
        assert outcome.unread == []


async def test_a_root_that_is_not_utf8(tmp_path: Path) -> None:
    root = tmp_path / os.fsdecode(b"caf\xe9")
    tree = tree_of(root, {"a.py": "import os\nassert 1\n"})
    for analyzer in default_analyzers():
        outcome = await analyzer.run(tree)
        assert {s.path for s in outcome.observations} <= {"a.py"}
        assert outcome.unread == []


BROKEN: dict[str, str | bytes] = {
    "syntax.py": "def f(:\n    pass\n",
    "nul.py": b"x = 1\n" + b"#" * 9000 + b"\nx = '\0'\n",
    "fine.py": "import os\nassert 1\n",
}


@pytest.mark.parametrize("analyzer", [Bandit, Radon, Vulture, RuffStyle, RuffSecurity])
async def test_files_that_do_not_parse_are_unread(tmp_path: Path, analyzer: type[Bandit | RuffStyle]) -> None:
    outcome = await analyzer().run(tree_of(tmp_path, BROKEN))
    unread = {entry.path: entry.reason for entry in outcome.unread}
    assert "syntax.py" in unread
    assert "syntax error" in unread["syntax.py"]
    assert "fine.py" not in unread
    assert {s.path for s in outcome.observations} <= {"fine.py", "nul.py"}


async def test_a_file_that_is_nested_too_deeply_spoils_nothing_else(tmp_path: Path) -> None:
    deep = {
        "calls.py": "x = " + "f(" * 3000 + ")" * 3000 + "\n",
        "sums.py": "x = " + "+".join(["1"] * 20_000) + "\n",
        "attributes.py": "x" + ".a" * 20_000 + "\n",
        "elses.py": "if x:\n pass\n" + "elif x:\n pass\n" * 3000,
        "unary.py": "x = " + "-" * 20_000 + "1\n",
    }
    tree = tree_of(tmp_path, {**deep, "fine.py": "import os\nassert 1\n"})
    for analyzer in (Bandit(), Radon(), Vulture(), RuffStyle(), RuffSecurity(), Secrets()):
        outcome = await analyzer.run(tree)
        assert {entry.path for entry in outcome.unread} <= set(deep), analyzer.name
        if analyzer.name in {"bandit", "vulture", "ruff-style", "ruff-security"}:
            assert "fine.py" in {s.path for s in outcome.observations}, analyzer.name


async def test_names_in_an_unparsed_file_count_as_used(tmp_path: Path) -> None:
    tree = tree_of(tmp_path, {"a.py": "def wanted():\n    pass\n\n\ndef dead():\n    pass\n", "b.py": "wanted(\n"})
    outcome = await Vulture().run(tree)
    assert [s.message for s in outcome.observations] == ["Unused function 'dead'"]


async def test_dead_code_does_not_depend_on_where_the_repository_lies(tmp_path: Path) -> None:
    text = "class TestThing:\n    def test_it(self):\n        pass\n"
    for place in ("tests", "elsewhere"):
        tree = tree_of(tmp_path / place, {"src/a.py": text, "tests/test_a.py": text})
        outcome = await Vulture().run(tree)
        assert {s.path for s in outcome.observations} == {"src/a.py"}, place


async def test_modern_syntax_is_read(tmp_path: Path) -> None:
    text = "match 1:\n    case 1:\n        pass\ntry:\n    pass\nexcept* ValueError:\n    pass\n"
    newer = "type Pair[T] = tuple[T, T]\n\n\ndef f[T](x: T) -> T:\n    return x\n"
    tree = tree_of(tmp_path, {"a.py": text, "b.py": newer})
    assert (await RuffStyle().run(tree)).unread == []
    assert not [entry for entry in (await Bandit().run(tree)).unread if entry.path == "a.py"]


async def test_empty_trees(tmp_path: Path) -> None:
    tree = tree_of(tmp_path, {"README": "hello\n"})
    for analyzer in default_analyzers():
        assert await analyzer.run(tree) == Outcome([], []), analyzer.name


async def test_stubs_are_read_by_ruff_only(tmp_path: Path) -> None:
    tree = tree_of(tmp_path, {"a.pyi": "import os\n\ndef f(x: int) -> int: ...\n"})
    assert rules_at(await RuffStyle().run(tree)) == {("F401", 1)}
    for analyzer in (Vulture(), Bandit(), Radon(), RuffDocs()):
        assert (await analyzer.run(tree)).observations == []


async def test_complexity(tmp_path: Path) -> None:
    def function(name: str, branches: int) -> str:
        return f"def {name}(x):\n" + "".join(f"    if x == {i}:\n        pass\n" for i in range(branches)) + "\n"

    text = "".join(function(f"f{n}", n) for n in (9, 10, 20, 30, 40))
    method = "class C:\n" + "".join(f"    {line}\n" for line in function("m", 12).split("\n"))
    tree = tree_of(tmp_path, {"a.py": text + method})
    seen = [(s.rule, s.severity, s.message.split("`")[1]) for s in (await Radon().run(tree)).observations]
    assert seen == [
        ("CC-C", Severity.INFO, "f10"),
        ("CC-D", Severity.INFO, "f20"),
        ("CC-E", Severity.LOW, "f30"),
        ("CC-F", Severity.LOW, "f40"),
        ("CC-C", Severity.INFO, "C.m"),
    ]


async def test_performance(tmp_path: Path) -> None:
    text = "def f(xs):\n    out = []\n    for x in xs:\n        out.append(x + 1)\n    return list(sorted(out))\n"
    outcome = await RuffPerformance().run(tree_of(tmp_path, {"a.py": text}))
    assert rules_at(outcome) == {("PERF401", 4), ("C413", 5)}


@pytest.mark.parametrize(
    ("path", "public"),
    [
        ("src/pkg/api.py", True),
        ("pkg/__init__.py", True),
        ("pkg/_private.py", False),
        ("pkg/_internal/api.py", False),
        ("pkg/__main__.py", False),
        ("tests/helper.py", False),
        ("pkg/test_api.py", False),
        ("pkg/api_test.py", False),
        ("docs/conf.py", False),
        ("examples/a.py", False),
        ("setup.py", False),
        ("conftest.py", False),
        ("pkg/contest.py", True),
        ("pkg/latest.py", True),
        ("scripts/run", False),
    ],
)
def test_what_is_public(path: str, public: bool) -> None:
    assert is_public_api(path) is public


def test_every_rule_means_something() -> None:
    tables = tomllib.loads(resources.files("smesh_agent.analyzers").joinpath("rules.toml").read_text("utf-8"))
    for name, table in tables.items():
        for code, (kind, severity, confidence, advice) in table.items():
            assert severity in {"info", "low", "medium", "high"}, code
            assert 0 < confidence <= 0.95, code
            assert name == "ruff-groups" or advice.endswith("."), code
            assert kind or name in {"ruff", "ruff-groups"}, code


def test_kinds_are_those_of_bandit_but_for_two() -> None:
    """bandit's own CWE for each test, asked of bandit in a process of its own."""
    program = """
import json, re, inspect
from bandit.core import extension_loader, issue
manager = extension_loader.MANAGER
found = {}
for plugin in manager.plugins:
    names = set(re.findall(r"Cwe\\.([A-Z_]+)", inspect.getsource(inspect.getmodule(plugin.plugin))))
    found[plugin.plugin._test_id] = [getattr(issue.Cwe, name) for name in names]
for checks in manager.blacklist.values():
    for check in checks:
        found[check["id"]] = [check["cwe"]]
print(json.dumps(found))
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    theirs: dict[str, list[int]] = msgspec.json.decode(result.stdout)
    ours = rules().bandit
    assert set(theirs) - {"B001"} <= set(ours), "bandit has tests that rules.toml does not know"
    different = {
        code for code, cwes in theirs.items() if code in ours and ours[code].kind not in {f"CWE-{c}" for c in cwes}
    }
    assert different == {"B105", "B106", "B107", "B703"}


def test_every_ruff_security_rule_has_its_namesake() -> None:
    listing = subprocess.run(
        [find_ruff_bin(), "rule", "--all", "--output-format", "json"], capture_output=True, text=True, check=True
    )
    known = rules()
    for rule in msgspec.json.decode(listing.stdout):
        code = rule["code"] or ""
        if rule["preview"] or "Removed" in rule.get("status", {}):
            continue
        if namesake := bandit_namesake(code):
            assert namesake in known.bandit, code
        elif (
            code.startswith(("F", "B0", "PERF", "C4"))
            and code[-1].isdigit()
            and code[:2] not in {"FB", "FA", "FI", "FL", "FU"}
        ):
            assert known.for_ruff(code).advice, code


def test_ruff_groups_are_found_by_their_longest_prefix() -> None:
    known = rules()
    assert known.for_ruff("SIM999") == known.ruff_groups["SIM"]
    assert known.for_ruff("S999") == known.ruff_groups["S"]
    assert known.for_ruff("E902") == known.ruff["E9"]
    assert known.for_ruff("S602") == known.bandit["B602"]
    with pytest.raises(KeyError):
        known.for_ruff("XYZ1")


def test_importing_loads_none_of_the_libraries() -> None:
    program = """
import sys, smesh_agent.analyzers, smesh_agent.analyzers.counter_evidence
heavy = {"bandit", "radon", "vulture", "detect_secrets", "numba", "yaml", "requests", "numpy"}
print(sorted(heavy & set(sys.modules)))
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_observations_survive_json() -> None:
    seen = Observation("B1", "a.py", 1, "m", "CWE-1", Severity.HIGH, 0.5, "a")
    assert msgspec.json.decode(msgspec.json.encode(Outcome([seen], [])), type=Outcome).observations == [seen]
