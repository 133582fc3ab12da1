"""`smesh review` on a small repository: what it prints, in which order, and with which exit code."""

from __future__ import annotations

import pytest

KEYS = {
    "schema", "mode", "source", "summary", "findings", "unread", "witnesses", "signals", "interrupted", "duration_s",
}  # fmt: skip
SOURCE_KEYS = {"path", "digest", "files", "python_files", "lines", "binary_files"}
FINDING_KEYS = {
    "id", "kind", "severity", "value", "rank", "consensus", "support", "oppose", "path", "lines", "count", "code",
    "message", "advice", "says", "objects",
}  # fmt: skip
TESTIMONY_KEYS = {"witness", "lineage", "rules", "message", "severity", "confidence"}
WITNESS_KEYS = {"name", "role", "lineage", "state", "findings", "objections", "reason"}
ANALYZERS = {
    "bandit", "detect-secrets", "vulture", "radon", "ruff-security", "ruff-style", "ruff-performance", "ruff-docs",
}  # fmt: skip
CREDENTIALS = "CWE-798"


@pytest.fixture(scope="module")
def text(smesh, repository):
    return smesh("review", "--path", repository)


@pytest.fixture(scope="module")
def as_json(smesh, repository):
    return smesh("review", "--path", repository, "--format", "json")


@pytest.fixture(scope="module")
def report(as_json):
    return as_json.json


@pytest.fixture(scope="module")
def union(smesh, repository):
    return smesh("review", "--path", repository, "--no-field", "--format", "json").json


def only(report, **properties):
    """The one finding that has these properties."""
    (found,) = (f for f in report["findings"] if all(f[name] == value for name, value in properties.items()))
    return found


def without_duration(report):
    return {key: value for key, value in report.items() if key != "duration_s"}


def test_findings_alone_are_no_failure(text, as_json) -> None:
    assert (text.code, text.err) == (0, "")
    assert (as_json.code, as_json.err) == (0, "")


def test_the_text_says_where_what_who_and_what_to_do(text) -> None:
    lines = text.out.splitlines()
    at = lines.index("shop/settings.py")
    head, message, code, says, advice = lines[at + 1 : at + 6]
    assert head.split() == ["medium", "0.73", "line", "5", CREDENTIALS, "corroborated,", "2", "for"]
    assert "password" in message
    assert code.split() == ["|", "pass" + "word", "=", '"kD…"']
    assert says.split()[0] == "says"
    for witness in ("bandit (B105, 60% sure)", "ruff-security (S105, 60% sure)", "detect-secrets (Secret Keyword"):
        assert witness in says
    assert "one lineage; detect-secrets" in says
    assert advice.split()[0] == "do"
    assert "environment" in advice


def test_the_text_says_who_is_against_and_why(text) -> None:
    (against,) = (line for line in text.out.splitlines() if line.lstrip().startswith("against"))
    assert "layout: this is test code" in against
    assert "contested, 1 for, 1 against" in text.out


def test_the_file_with_the_highest_rank_comes_first(text, report) -> None:
    files = [line for line in text.out.splitlines() if line.endswith(".py")]
    assert files == list(dict.fromkeys(finding["path"] for finding in report["findings"]))
    assert files[0] == "shop/orders.py"
    assert len(files) == len(set(files))


def test_the_text_ends_with_the_numbers_and_a_verdict(text, report) -> None:
    numbers, verdict = text.out.splitlines()[-2:]
    summary = report["summary"]
    assert numbers.startswith(f"{len(report['findings'])} findings: {summary['high']} high, {summary['medium']} medium")
    assert f"{summary['corroborated']} corroborated by two lineages, {summary['contested']} contested" in numbers
    standing = len(report["findings"]) - summary["contested"]
    assert verdict == f"{standing} stand uncontested; look first at shop/orders.py, line 13."


def test_what_git_ignores_is_not_reviewed(text) -> None:
    assert "generated.py" not in text.out


def test_the_json_has_the_documented_keys(report) -> None:
    assert report.keys() == KEYS
    assert report["source"].keys() == SOURCE_KEYS
    assert report["summary"].keys() == {"high", "medium", "low", "info", "corroborated", "contested"}
    for finding in report["findings"]:
        assert finding.keys() == FINDING_KEYS
        assert all(said.keys() == TESTIMONY_KEYS for said in finding["says"])
        assert all(objection.keys() == {"witness", "lineage", "reason"} for objection in finding["objects"])
    assert all(witness.keys() == WITNESS_KEYS for witness in report["witnesses"])
    assert (report["schema"], report["mode"], report["interrupted"]) == ("smesh.review/1", "field", False)
    assert report["signals"] > len(report["findings"])
    assert report["duration_s"] > 0


def test_the_json_says_what_was_read(report, repository) -> None:
    source = report["source"]
    assert source["path"] == str(repository)
    assert (source["files"], source["python_files"], source["binary_files"]) == (6, 4, 0)
    assert source["lines"] == sum(len(path.read_text().splitlines()) for path in repository.glob("[st]*/*.py"))
    assert len(source["digest"]) == 64


def test_every_witness_has_ended(report) -> None:
    assert {w["name"] for w in report["witnesses"] if w["role"] != "context"} == ANALYZERS
    assert {(w["state"], w["reason"]) for w in report["witnesses"]} == {("done", "")}


def test_ranks_descend(report) -> None:
    ranks = [finding["rank"] for finding in report["findings"]]
    assert ranks == sorted(ranks, reverse=True)
    weights = {"high": 8, "medium": 4, "low": 2, "info": 1}
    assert ranks == [weights[f["severity"]] * f["value"] for f in report["findings"]]


def test_a_credential_that_two_lineages_see_is_corroborated(report) -> None:
    finding = only(report, kind=CREDENTIALS)
    assert (finding["support"], finding["oppose"], finding["consensus"]) == (2.0, 0.0, "reached")
    assert {said["witness"]: said["lineage"] for said in finding["says"]} == {
        "bandit": "bandit-rules",
        "ruff-security": "bandit-rules",
        "detect-secrets": "detect-secrets",
    }
    assert finding["severity"] == "medium"
    assert (finding["path"], finding["lines"], finding["count"]) == ("shop/settings.py", [5], 1)


def test_witnesses_of_one_lineage_do_not_corroborate_each_other(report) -> None:
    finding = only(report, kind="CWE-89")
    assert {said["witness"] for said in finding["says"]} == {"bandit", "ruff-security"}
    assert (finding["support"], finding["consensus"]) == (1.0, "open")


def test_an_unused_import_is_seen_by_two_lineages(report) -> None:
    finding = only(report, kind="unused-import")
    assert {said["witness"] for said in finding["says"]} == {"ruff-style", "vulture"}
    assert finding["consensus"] == "reached"


def test_an_assert_in_a_test_is_contested(report) -> None:
    finding = only(report, path="tests/test_orders.py")
    assert (finding["kind"], finding["support"], finding["oppose"]) == ("CWE-703", 1.0, 1.0)
    (objection,) = finding["objects"]
    assert (objection["witness"], objection["lineage"]) == ("layout", "layout")
    assert report["summary"]["contested"] == 1


def test_two_runs_give_the_same_report(smesh, repository, report) -> None:
    """Also from within, where the repository is the current directory; the exit code is another matter."""
    ran = smesh("review", "--format", "json", "--fail-on", "high", cwd=repository)
    assert without_duration(ran.json) == without_duration(report)
    assert (ran.code, ran.err) == (1, "")


def test_the_union_corroborates_nothing_and_keeps_everything(union, report) -> None:
    assert (union["mode"], union["signals"]) == ("union", 0)
    assert {witness["name"] for witness in union["witnesses"]} == ANALYZERS
    assert union["summary"]["corroborated"] == union["summary"]["contested"] == 0
    for finding in union["findings"]:
        assert (finding["id"], finding["consensus"], finding["support"], finding["objects"]) == ("", "", 0.0, [])
        assert len(finding["says"]) == 1
    met = [(f["kind"], f["path"], said["witness"]) for f in report["findings"] for said in f["says"]]
    apart = [(f["kind"], f["path"], f["says"][0]["witness"]) for f in union["findings"]]
    assert sorted(met) == sorted(apart)
    ranks = [finding["rank"] for finding in union["findings"]]
    assert ranks == sorted(ranks, reverse=True)


def test_the_union_as_text_within_a_limit(smesh, repository, union) -> None:
    ran = smesh("review", "--path", repository, "--no-field", "--limit", "2")
    assert (ran.code, ran.err) == (0, "")
    assert "side by side, without a field" in ran.out
    assert not any(word in ran.out for word in ("corroborated", "contested,", "against"))
    assert ran.out.count("says  ") == 2
    assert "Shown are 2 of 17; --limit 0 shows all." in ran.out
    assert f"{len(union['findings'])} findings: " in ran.out


def test_min_severity_leaves_out_what_is_below_and_fail_on_fails(smesh, repository, report) -> None:
    ran = smesh("review", "--path", repository, "--min-severity", "medium", "--fail-on", "medium", "--limit", "0")
    assert ran.out.count("says  ") == 3
    assert "tests/test_orders.py" not in ran.out
    assert "Shown are" not in ran.out
    assert f"; {len(report['findings']) - 3} of lower severity left out" in ran.out
    assert ran.out.endswith("\n--fail-on medium fails: 3 findings stand uncontested.\n")
    assert (ran.code, ran.err) == (1, "")


def test_fail_on_passes_below_its_level(smesh, repository) -> None:
    """And one file can be reviewed alone."""
    ran = smesh("review", "--path", repository / "shop" / "settings.py", "--fail-on", "high")
    assert (ran.code, ran.err) == (0, "")
    assert "\nsettings.py\n" in ran.out
    assert ran.out.endswith("\n--fail-on high passes: nothing at that level stands uncontested.\n")


def test_what_is_not_shown_still_fails(smesh, repository) -> None:
    file = repository / "shop" / "settings.py"
    ran = smesh("review", "--path", file, "--min-severity", "high", "--fail-on", "low", "--format", "json")
    assert (ran.code, ran.err, ran.json["findings"]) == (1, "", [])
    assert ran.json["source"]["files"] == 1


def test_contested_findings_never_fail(smesh, repository) -> None:
    ran = smesh("review", "--path", repository / "tests", "--fail-on", "low")
    assert (ran.code, ran.err) == (0, "")
    assert "contested, 1 for, 1 against" in ran.out
    assert ran.out.endswith("\n--fail-on low passes: nothing at that level stands uncontested.\n")


def test_equal_lines_are_one_finding_that_lists_them(smesh, tmp_path) -> None:
    (tmp_path / "many.py").write_text('"""Many."""\n' + ("value = ev" + "al(input())\n") * 9)
    out = smesh("review", "--path", tmp_path).out
    assert "     also  line 3, 4, 5, 6, 7 and 3 more\n" in out


def test_the_reviewed_repository_is_never_imported_from(smesh, tmp_path) -> None:
    """One that brings modules named like ours, or like Python's, does not get to run them."""
    for name in ("bandit", "msgspec", "ast", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')\n")
    # The installed command does not look into the working directory; `python -m`, with which we start it, would.
    ran = smesh("review", "--format", "json", cwd=tmp_path, env={"PYTHONSAFEPATH": "1"})
    assert (ran.code, ran.err) == (0, "")
    assert ran.json["source"]["files"] == 4


def test_contested_findings_come_under_a_heading_of_their_own(smesh, repository) -> None:
    ran = smesh("review", "--path", repository, "--limit", "1")
    before, heading, after = ran.out.partition("Contested: at least as much weight against as for")
    assert heading
    assert "against" not in before
    assert "tests/test_orders.py" not in before
    assert "tests/test_orders.py" in after
    assert before.count("  says  ") == after.count("  says  ") == 1
