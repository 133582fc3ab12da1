"""`smesh agents` as a user runs it: jobs, deaths, recordings, journals, approvals, and what goes wrong."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "smesh-agent" / "tests"))  # for the servers that speak to models
from loopback import CUT, Loopback, Reply
from ollama_server import OllamaServer

JOB = """
title: Two and two
tasks:
  - {id: one, do: Say something about termites., skill: research}
  - {id: two, do: Write about termites., skill: write, after: [one]}
"""


@pytest.fixture
def job(tmp_path) -> Path:
    path = tmp_path / "job.yaml"
    path.write_text(JOB)
    return path


def states(report) -> dict[str, str]:
    return {task["id"]: task["state"] for task in report["tasks"]}


# The demo


def test_the_demo_is_done_and_says_that_no_model_was_asked(smesh) -> None:
    ran = smesh("agents", "--demo")
    assert (ran.code, ran.err) == (0, "")
    head, backend, *lines = ran.out.splitlines()
    assert head == "A leaflet about decisions without a leader: 13 tasks, 6 agents, no controller"
    assert backend == "backend scripted: the text is from a script, no model was asked"
    assert sum(line.startswith("  done ") for line in lines) == 13
    assert "WHO DECIDES WHERE NOBODY DOES" in ran.out
    for text in ("No termite knows", "Of two paths", "A swarm that looks", "A slime mould has"):
        assert text in ran.out.partition("Result of leaflet")[2]
    assert re.search(r"^13 of 13 done in [0-9.]+ s; 2,193 tokens in, 1,019 out, \$0; \d+ signals$", lines[-1])


def test_a_killed_agent_is_replaced_and_the_report_says_so(smesh) -> None:
    ran = smesh("agents", "--demo", "--kill", "write-1", "--kill", "1", "--json", "--seed", "5")
    assert (ran.code, ran.err) == (0, "")
    report = ran.json
    assert set(states(report).values()) == {"done"}
    dead = {death["agent"] for death in report["deaths"]}
    assert len(dead) == 2
    assert "write-1" in dead
    assert {agent["name"] for agent in report["agents"] if agent["state"] == "killed"} == dead
    assert (report["summary"]["died"], report["summary"]["duplicated"]) == (2, 0)
    for death in report["deaths"]:
        task = next(one for one in report["tasks"] if one["do"] == death["doing"])
        assert f"attempt 1, {death['agent']}: fell silent" in task["failures"]
        assert task["by"] != death["agent"]


def test_where_all_of_a_skill_are_killed_the_rest_is_reported(smesh) -> None:
    ran = smesh("agents", "--demo", "--kill", "write-1", "--kill", "write-2", "--json")
    assert ran.code == 1
    assert ran.json["summary"] == {"done": 4, "failed": 0, "unfinished": 9, "died": 2, "duplicated": 0}
    assert re.match(r"smesh: 9 of 13 tasks are not done; \S+ is (open|claimed|waiting)", ran.err)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--kill", "nobody"], "there is no agent 'nobody' to kill; there are research-1, write-1"),
        (["--kill", "6"], "6 of 6 agents to kill: one at least must live"),
        (["--agents", "2"], "2 agents for 3 roles (research, write, review): give 3 to 1,000"),
        (["--backend", "olama", "--model", "x"], "there is no backend 'olama': there are claude, ollama"),
        (["--model", "claude-haiku-5-5"], "claude: "),
        (["--model", "llama3"], "ollama: "),
        (["--backend", "scripted", "--option", "script=none.yaml"], "scripted: none.yaml: No such file or directory"),
        (["--option", "speed=9"], "scripted: there is no option 'speed'"),
        (["--replay", "none.jsonl"], "cassette: none.jsonl: No such file or directory"),
        (["--resume", "none.db"], "--resume: there is no file none.db"),
        (["--budget", "a lot"], "Invalid value for '--budget': 'a lot' is neither USD"),
        (["--budget", "1", "--budget", "2"], "one amount of tokens and one of USD at most"),
        (["--roles", "none.yaml"], "none.yaml: No such file or directory"),
        (["--option", "x"], "'x' is not NAME=VALUE"),
        (["--replay", "x", "--model", "m"], "--replay answers by itself"),
        (["--journal", "a", "--resume", "b"], "--journal begins a run and --resume goes on with one"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_one_line_and_exit_code_2(smesh, tmp_path, options, said) -> None:
    ran = smesh("agents", "--demo", *options, cwd=tmp_path)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("smesh: ")
    assert said in ran.err
    assert ran.err.count("\n") == 1


def test_neither_or_both_of_demo_and_tasks(smesh, job) -> None:
    for options in ([], ["--demo", "--tasks", job]):
        ran = smesh("agents", *options)
        assert ran.code == 2
        assert "give --tasks FILE, or --demo" in ran.err


# Jobs of one's own


def test_a_job_of_ones_own_with_roles_of_ones_own(smesh, job, tmp_path) -> None:
    roles = tmp_path / "roles.yaml"
    roles.write_text("- {name: all, skills: [research, write], instructions: You know all.}")
    ran = smesh("agents", "--tasks", job, "--roles", roles, "--agents", "3", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert states(ran.json) == {"one": "done", "two": "done"}
    assert [agent["name"] for agent in ran.json["agents"]] == ["all-1", "all-2", "all-3", "form", "substance"]
    assert all(task["output"].startswith("This is scripted text") for task in ran.json["tasks"])


def test_a_script_tries_what_bad_models_do(smesh, job, tmp_path) -> None:
    """What a user sees for each bad behaviour of a model."""
    script = tmp_path / "script.yaml"

    def run(rule: str, *options: str):
        script.write_text(f"- {{{rule}}}")
        scripted = ["--backend", "scripted", "--option", f"script={script}"]
        return smesh("agents", "--tasks", job, *scripted, "--json", *options)

    for rule, said in (
        ("say: I would rather not., stop: refusal", "the model refused: I would rather not."),
        ("say: ''", "the model said nothing"),
        ("say: so far, stop: max_tokens", "the answer was cut off after 1,024 tokens; allow longer ones"),
        ("say: x, stop: context_exceeded", "too long for the model"),
        ("fail: authentication", "scripted: the key is not taken"),
    ):
        ran = run(rule)
        assert ran.code == 1, rule
        task = ran.json["tasks"][0]
        assert task["state"] == "failed"
        assert said in task["why"], rule
        assert said in ran.err
        assert ran.json["tasks"][1]["why"] == "what it comes after has failed: Say something about termites."
    mended = run("fail: overloaded, times: 2")
    assert (mended.code, states(mended.json)) == (0, {"one": "done", "two": "done"})


def test_garbage_is_rejected_without_any_model_and_costs_its_author_trust(smesh, job, tmp_path) -> None:
    script = tmp_path / "script.yaml"
    words = ("".join(chr(97 + byte % 26) for byte in hashlib.sha256(b"%d" % n).digest()[:9]) for n in range(40))
    noise = " ".join(words) + "\x01" * 3
    script.write_text(json.dumps([{"when": "Say something", "say": noise}]))
    ran = smesh("agents", "--tasks", job, "--backend", "scripted", "--option", f"script={script}", "--json")
    task = ran.json["tasks"][0]
    assert ran.code == 1
    assert task["state"] != "done"
    assert (task["results"], task["rejected"] > 0) == (0, True)
    assert {objection.partition(":")[0] for objection in task["objections"]} == {"form", "substance"}
    trusts = {agent["name"]: agent["trust"] for agent in ran.json["agents"]}
    assert min(trusts["research-1"], trusts["research-2"]) < 0.5
    assert trusts["write-1"] == 0.5


def test_a_budget_stops_the_run_and_what_is_done_is_kept(smesh, tmp_path) -> None:
    kept = tmp_path / "run.db"
    ran = smesh("agents", "--demo", "--budget", "600 tokens", "--journal", kept, "--json")
    assert ran.code == 1
    assert ran.err.startswith("smesh: agents left: the budget has ")
    bill = ran.json["bill"]
    assert 0 < bill["tokens_in"] + bill["tokens_out"] <= 600
    assert 0 < ran.json["summary"]["done"] < 13
    assert ran.json["summary"]["failed"] == 0
    more = smesh("agents", "--demo", "--resume", kept, "--json")
    assert more.code == 0
    assert more.json["summary"]["done"] == 13
    requests = ran.json["bill"]["requests"] + more.json["bill"]["requests"]
    assert requests == 13


# Recordings


def test_a_recording_answers_in_the_place_of_the_model(smesh, job, tmp_path) -> None:
    tape = tmp_path / "tape.jsonl"
    first = smesh("agents", "--tasks", job, "--record", tape, "--json")
    assert first.code == 0
    again = smesh("agents", "--tasks", job, "--replay", tape)
    assert again.code == 0
    assert "answers replayed from a recording of scripted" in again.out
    assert smesh("agents", "--tasks", job, "--record", tape).err == (
        f"smesh: cassette: {tape}: it is there already; record to another file\n"
    )
    job.write_text(JOB.replace("termites", "ants", 1))
    changed = smesh("agents", "--tasks", job, "--replay", tape)
    assert changed.code == 1
    assert "this was not asked when it was recorded; new is Task: Say something about ants." in changed.err.replace(
        '"text": "', ""
    )


# Stopping, and going on


def test_ctrl_c_keeps_what_is_done_and_resume_does_the_rest(start, smesh, tmp_path, until) -> None:
    kept = tmp_path / "run.db"
    process = start("agents", "--demo", "--journal", kept, "--json")

    def results() -> int:
        if not kept.exists():
            return 0
        try:
            with sqlite3.connect(f"file:{kept}?mode=ro", uri=True) as reader:
                return reader.execute("SELECT count(*) FROM elements").fetchone()[0]
        except sqlite3.OperationalError:
            return 0

    until(lambda: results() > 17, within_s=60)  # thirteen tasks and some of what came of them
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.decode() == (
        f"smesh: stopped; the report holds what had been done by then, and --resume {kept} goes on\n"
    )
    first = json.loads(out)
    assert first["interrupted"]
    assert set(states(first)) == set(states(smesh("agents", "--demo", "--json").json))
    rest = smesh("agents", "--demo", "--resume", kept, "--json")
    assert rest.code == 0
    assert set(states(rest.json).values()) == {"done"}
    done = first["summary"]["done"]
    assert rest.json["bill"]["requests"] <= 13 - done
    outputs = {task["id"]: task["output"] for task in rest.json["tasks"]}
    assert all(outputs[task["id"]] == task["output"] for task in first["tasks"] if task["state"] == "done")
    again = smesh("agents", "--demo", "--journal", kept)
    assert again.code == 2
    assert "is there already; --resume goes on with it" in again.err


def test_a_run_that_is_killed_loses_nothing_that_was_done(start, smesh, tmp_path, until) -> None:
    kept = tmp_path / "run.db"
    process = start("agents", "--demo", "--journal", kept)
    until(lambda: kept.exists() and kept.with_name("run.db-wal").exists(), within_s=60)
    until(lambda: kept.with_name("run.db-wal").stat().st_size > 100_000, within_s=60)
    process.kill()
    process.wait(30)
    rest = smesh("agents", "--demo", "--resume", kept, "--json")
    assert rest.code == 0
    assert set(states(rest.json).values()) == {"done"}


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0 but not", b"hello" * 1000])
def test_a_file_that_is_no_journal_is_left_alone(smesh, tmp_path, content) -> None:
    other = tmp_path / "other"
    other.write_bytes(content)
    ran = smesh("agents", "--demo", "--resume", other)
    if content:
        assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
        assert other.read_bytes() == content
    else:
        assert ran.code == 0  # an empty file is one that was made to be written


# A person


APPROVED = """
- {id: plan, do: Plan the release., skill: plan}
- {id: release, do: Release it., skill: plan, after: [plan], approve: true}
"""


def test_what_needs_approval_waits_where_nobody_can_be_asked(smesh, job) -> None:
    job.write_text(APPROVED)
    ran = smesh("agents", "--tasks", job, "--json")
    assert ran.code == 1
    assert states(ran.json) == {"plan": "done", "release": "waiting"}
    assert ran.err == "smesh: 1 tasks wait for approval: run it on a terminal, or give --yes\n"
    assert smesh("agents", "--tasks", job, "--yes").code == 0


@pytest.mark.parametrize(
    ("typed", "code", "state"), [(b"y\n", 0, "done"), (b"\n", 1, "failed"), (b"\x04", 1, "waiting")]
)
def test_a_person_is_asked_on_the_terminal(start, job, terminal, until, typed, code, state) -> None:
    job.write_text(APPROVED)
    place = terminal(100, 40)
    process = start(
        "agents",
        "--tasks",
        job,
        "--json",
        stdin=place.device,
        stderr=place.device,
        stdout=subprocess.PIPE,
        env={"CI": ""},
    )
    until(lambda: "Shall it proceed? [y/N]" in place.written, within_s=60)
    assert "Release it." in place.written
    assert "This is scripted text" in place.written  # the plan, which it comes after
    place.type(typed)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == code
    assert states(json.loads(out)) == {"plan": "done", "release": state}


# Models


def test_a_model_on_ollama_does_the_job(smesh, job) -> None:
    with OllamaServer("Termites build with soil and pheromone.", models={"qwen2.5:7b": 1}) as server:
        ran = smesh("agents", "--tasks", job, "--model", "qwen2.5:7b", "--json", env={"OLLAMA_HOST": server.url})
    assert (ran.code, ran.err) == (0, "")
    assert (ran.json["backend"], ran.json["model"], ran.json["is_scripted"]) == ("ollama", "qwen2.5:7b", False)
    assert {task["output"] for task in ran.json["tasks"]} == {"Termites build with soil and pheromone."}


def test_a_model_that_is_not_there_is_an_error_and_nothing_else_answers(smesh, job) -> None:
    with OllamaServer(models={"llama3:8b": 1}) as server:
        ran = smesh("agents", "--tasks", job, "--model", "qwen2.5:7b", env={"OLLAMA_HOST": server.url})
    assert (ran.code, ran.out) == (2, "")
    assert "qwen2.5:7b" in ran.err
    gone = smesh("agents", "--tasks", job, "--model", "qwen2.5:7b")
    assert (gone.code, gone.out) == (2, "")
    assert gone.err.startswith("smesh: ollama: ")


def test_a_server_that_breaks_off_fails_the_tasks_and_not_the_run(smesh, job) -> None:
    def answer(asked) -> Reply:
        if asked.path == "/api/tags":
            return Reply.of({"models": [{"name": "m:latest"}]})
        return Reply(headers={"content-type": "application/x-ndjson"}, body=[b'{"message": {"content": "so', CUT])

    with Loopback(answer) as server:
        ran = smesh("agents", "--tasks", job, "--model", "m", "--json", env={"OLLAMA_HOST": server.url})
    assert ran.code == 1
    assert states(ran.json) == {"one": "failed", "two": "failed"}


def test_no_secret_leaves_the_machine(smesh, job, tmp_path) -> None:
    job.write_text(JOB.replace("termites.", "termites with password hunter2-hunter2-77 please.", 1))
    tape = tmp_path / "tape.jsonl"
    smesh("agents", "--tasks", job, "--record", tape, env={"DEPLOY_PASSWORD": "hunter2-hunter2-77"})
    assert tape.read_text().count("redacted") >= 1
    assert "hunter2-hunter2-77" not in tape.read_text()


# The live view


def test_a_run_is_watched_and_leaves_only_its_report(start, terminal) -> None:
    place = terminal(110, 40)
    process = start("agents", "--demo", "--kill", "write-1", stdout=place.device, stderr=place.device, env={"CI": ""})
    assert process.wait(60) == 0
    written = place.written
    for words in ("text from a script, no model is asked", "claims: ", "result: ", "killed", "trust 0.50", "tokens"):
        assert words in written, words
    assert "13 of 13 done, 1 of 8 agents died" in place.after
    assert place.has_cursor


def test_no_view_where_none_is_wanted(start, terminal) -> None:
    place = terminal(110, 40)
    process = start("agents", "--demo", "--no-live", stdout=place.device, stderr=place.device, env={"CI": ""})
    assert process.wait(60) == 0
    assert "claims: " not in place.written
