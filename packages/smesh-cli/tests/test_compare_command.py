"""`smesh compare` as a user runs it: what takes part, what is shown, what goes wrong, and stopping."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from smesh_agent.backends.conformance import Says
from smesh_agent.workflows.compare import Report

sys.path.insert(0, str(Path(__file__).parents[2] / "smesh-agent" / "tests"))  # for the servers that speak to models
from anthropic_server import AnthropicServer
from loopback import CUT, HANG, Reply
from ollama_server import OllamaServer, line
from openai_server import OpenAiServer

WRITING_S = 0.05
"""How long a server below takes to write an answer; a client that is busy sees some of it later, and less of it."""


def written(text: str):
    """An answer that takes its time, so that there is a rate."""

    def answer(body) -> Reply:
        parts = [line(body, text[:5]), WRITING_S, line(body, text[5:])]
        end = line(body, done=True, done_reason="stop", prompt_eval_count=20, eval_count=10)
        return Reply(200, {"content-type": "application/x-ndjson"}, [*parts, end])

    return answer


def test_where_nothing_is_there_a_script_is_compared_and_says_what_it_is(smesh) -> None:
    ran = smesh("compare")
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[0] == "1 model, 2 prompts, 3 times each, up to 256 tokens an answer"
    assert "scripted text: 6 of 6 calls answered" in lines
    assert "  note         text from a script: no model was asked" in lines
    assert sum("    3 times    This is scripted text, and no model has written it." in one for one in lines) == 2
    absent = lines[lines.index("Not compared") + 1 :]
    assert absent[0] == "  - claude: no key is set; set ANTHROPIC_API_KEY"
    assert absent[1].startswith("  - ollama: nobody answers at http://127.0.0.1:9; start it with `ollama serve`")
    assert absent[1].endswith("`ollama pull qwen2.5:7b` gets a model")
    assert absent[2].startswith("  - openai-compatible: no address is set; set OPENAI_BASE_URL")
    assert lines[-1].startswith("6 of 6 calls answered in ")
    assert lines[-1].endswith(" s; 108 tokens in, 159 out, $0")


def test_two_backends_side_by_side(smesh) -> None:
    with OllamaServer(written("It builds.")) as ollama, AnthropicServer("It eats wood.") as claude:
        env = ollama.environment | claude.environment
        options = ["--with", "ollama:qwen2.5-coder:7b", "--with", "claude", "--prompt", "What does it do?"]
        ran = smesh("compare", *options, "--repeat", "2", env=env)
        machine = smesh("compare", *options, "--repeat", "2", "--json", env=env)
    assert (ran.code, ran.err) == (0, "")
    table = [one for one in ran.out.splitlines() if one.startswith(("  median", "  range", "   "))]
    assert len(table) > 4
    assert max(map(len, table)) <= 80
    for words in (
        "2 models, 1 prompt, 2 times each",
        "ollama qwen2.5-coder:7b: 2 of 2 calls answered",
        "  warm-up ",
        "claude claude-haiku-5-5: 2 of 2 calls answered",
        "$0.10 in, $0.50 out",
        "    2 times    It builds.",
        "    2 times    It eats wood.",
    ):
        assert words in ran.out, words
    report = msgspec.convert(machine.json, Report)
    first, second = report.models
    assert (first.backend, first.model, second.backend) == ("ollama", "qwen2.5-coder:7b", "claude")
    rate = first.figures.tokens_per_s
    assert rate is not None
    assert 0 < rate.high <= 4 * 10 / WRITING_S
    assert first.warm_up is not None
    assert second.warm_up is None
    assert second.calls[0].cost_usd == pytest.approx((11 * 0.10 + 7 * 0.50) / 1e6)
    assert len(ollama.chats) == 2 * 3


def test_the_json_is_what_is_documented(smesh) -> None:
    ran = smesh("compare", "--with", "scripted", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert ran.json["schema"] == "smesh.compare/1"
    assert json.loads(msgspec.json.encode(msgspec.convert(ran.json, Report))) == ran.json
    page = (Path(__file__).parents[3] / "docs/reference/compare.md").read_text(encoding="utf-8")
    row = ran.json["models"][0]
    keys = [ran.json, ran.json["plan"], row, row["figures"], row["figures"]["total_s"], row["prompts"][0]]
    for names in [*keys, row["prompts"][0]["answers"][0], row["calls"][0]]:
        for name in names:
            assert f"`{name}`" in page, name


def test_one_of_several_that_cannot_be_had_is_said_and_the_others_run(smesh) -> None:
    with OllamaServer("Yes.", models={"a": 1}) as server:
        ran = smesh("compare", "--with", "ollama:a", "--with", "claude", "--model", "b", env=server.environment)
    assert ran.code == 1
    assert ran.err.splitlines() == [
        "smesh: claude was not compared: no key: set ANTHROPIC_API_KEY",
        "smesh: ollama b was not compared: there is no model b; there are a",
    ]
    assert "ollama a: 6 of 6 calls answered" in ran.out
    assert "  - claude: no key: set ANTHROPIC_API_KEY" in ran.out
    assert "scripted" not in ran.out


def test_where_none_of_those_named_can_be_had_nothing_else_answers(smesh) -> None:
    ran = smesh("compare", "--with", "claude")
    assert (ran.code, ran.out, ran.err) == (2, "", "smesh: claude: no key: set ANTHROPIC_API_KEY\n")
    with AnthropicServer() as server:
        wrong = smesh("compare", "--with", "claude", env=server.environment | {"ANTHROPIC_API_KEY": "wrong-" + "key"})
    assert (wrong.code, wrong.out, wrong.err.count("\n")) == (2, "", 1)
    both = smesh("compare", "--with", "ollama:a", "--with", "claude", "--json")
    assert (both.code, both.out, both.err.count("\n")) == (2, "", 2)


def test_failures_have_their_reason_and_the_answers_their_figures(smesh) -> None:
    broken = Reply(headers={"content-type": "application/x-ndjson"}, body=[b'{"message": {"content": "so', CUT])
    answers = ["ready", "Yes.", *[broken] * 4, "No."]
    with OllamaServer(*answers, models={"a": 1}) as server:
        ran = smesh("compare", "--with", "ollama:a", "--prompt", "Is it?", "--json", env=server.environment)
        row = ran.json["models"][0]
    assert ran.code == 1
    assert (row["answered"], row["failed"], row["figures"]["total_s"]["count"]) == (2, 1, 2)
    assert ran.err.startswith("smesh: ollama a: 1 of 3 calls were not answered: ")
    assert row["failures"][0]["why"].endswith("gave up after 4 attempts")
    assert {one["text"] for one in row["prompts"][0]["answers"]} == {"Yes.", "No."}


def test_a_budget_keeps_what_was_measured(smesh) -> None:
    says = Says(pieces=("Y", "es."), tokens_in=10, tokens_out=100)
    with OllamaServer(says, models={"a": 1}) as server:
        ran = smesh("compare", "--with", "ollama:a", "--budget", "800 tokens", "--repeat", "9", env=server.environment)
    assert ran.code == 1
    assert "calls were not made: the budget has " in ran.err
    assert "  not made " in ran.out
    assert "median" in ran.out


def test_an_answer_cannot_command_the_terminal(smesh) -> None:
    bad = "\x1b[2Jgone\x07 \u202etxt\r\n" + "\x9b31m" + "[bold]plain[/bold]"
    with OllamaServer(bad, models={"a\x1b[31m": 1}) as server:
        for extra in ([], ["--full"], ["--json"]):
            ran = smesh("compare", "--prompt", "Is \x1b[1m it?", "--repeat", "1", *extra, env=server.environment)
            assert ran.code == 0
            assert not {c for c in ran.out if not c.isprintable()} - {"\n"}
        assert ran.json["models"][0]["prompts"][0]["answers"][0]["text"] == bad
        text = smesh("compare", "--prompt", "Is it?", "--repeat", "1", env=server.environment).out
    assert "[bold]plain[/bold]" in text


def test_long_answers_are_shown_as_they_begin_or_whole(smesh) -> None:
    lines = [f"line {number}" for number in range(40)]
    with OllamaServer("\n".join(lines), models={"a": 1}) as server:
        some = smesh("compare", "--prompt", "Count.", "--repeat", "1", env=server.environment)
        full = smesh("compare", "--prompt", "Count.", "--repeat", "1", "--full", env=server.environment)
    assert "line 3" in some.out
    assert "line 4\n" not in some.out
    assert "--full shows all of it" in some.out
    assert all(one in full.out for one in lines)
    assert "--full" not in full.out


def test_prompts_options_and_prices(smesh, tmp_path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("One?\n\nTwo?\n")
    script = tmp_path / "script.yaml"
    script.write_text("- {when: One, say: First.}\n- {when: Two, say: Second.}\n- {say: Third.}\n")
    options = ["--with", "scripted", "--option", f"scripted.script={script}", "--prompts", prompts, "--prompt", "Or?"]
    ran = smesh("compare", *options, "--repeat", "1", "--json")
    assert ran.json["prompts"] == ["Or?", "One?", "Two?"]
    answers = [one["answers"][0]["text"] for one in ran.json["models"][0]["prompts"]]
    assert answers == ["Third.", "First.", "Second."]
    assert ran.json["models"][0]["name"] == "scripted text of script.yaml"
    says = Says(pieces=("a", "b"), tokens_in=1000, tokens_out=100)
    with OpenAiServer(says, models=("a=b",)) as server:
        named = ["--with", "openai-compatible:a=b", "--option", "openai-compatible.is_local=false", "--repeat", "1"]
        unknown = smesh("compare", *named, "--prompt", "Or?", env=server.environment)
        priced = smesh("compare", *named, "--prompt", "Or?", "--price", "a=b=2/10", env=server.environment)
    assert "unknown; --price MODEL=IN/OUT says it" in unknown.out
    assert unknown.out.rstrip().endswith("cost unknown")
    assert "$0.0030" not in unknown.out
    assert priced.out.rstrip().endswith("$0.003000")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--with", "llama3:8b"], "there is no backend 'llama3': there are claude"),
        (["--with", "scripted", "--with", "scripted"], "scripted text is named twice"),
        (["--prompt", " "], "--prompt, prompt 1: it is blank"),
        (["--prompt", b"caf\xe9"], "--prompt, prompt 1: it is not text in UTF-8"),
        (["--prompts", "none.txt"], "none.txt: No such file or directory"),
        (["--repeat", "0"], "Invalid value for '--repeat'"),
        (["--max-tokens", "none"], "Invalid value for '--max-tokens'"),
        (["--timeout", "0"], "Invalid value for '--timeout'"),
        (["--timeout", "nan"], "Invalid value for '--timeout'"),
        (["--concurrency", "0"], "Invalid value for '--concurrency'"),
        (["--budget", "a lot"], "'a lot' is neither USD"),
        (["--price", "m"], "'m' is not MODEL=IN/OUT"),
        (["--price", "m=cheap"], "'cheap' is no price"),
        (["--price", "m=1/2"], "a price is given of m, which takes no part"),
        (["--option", "script=x"], "'script=x' is not BACKEND.NAME=VALUE"),
        (["--option", "none.script=x"], "an option is given of none, which takes no part"),
        (["--with", "scripted", "--option", "scripted.speed=9"], "scripted text: there is no option 'speed'"),
        (["--option", "scripted.speed=9"], "scripted text: there is no option 'speed'"),
        (["--with", "ollama"], "ollama: name a model"),
        (["--with", "ollama:m@http://a b"], "its address is 'http://a b"),
        (["surplus"], "unexpected extra argument"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_one_line_and_exit_code_2(smesh, tmp_path, options, said) -> None:
    ran = smesh("compare", *options, cwd=tmp_path)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("smesh: ")
    assert said in ran.err
    assert ran.err.count("\n") == 1


# Stopping


def hangs_after(count: int):
    """A server's answers: so many, and then nothing for ever."""
    silence = Reply(headers={"content-type": "application/x-ndjson"}, body=[HANG])
    return ["Yes."] * count + [silence]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_what_was_measured_before_ctrl_c_is_reported(start, until, number, code) -> None:
    with OllamaServer(*hangs_after(3), models={"a": 1}) as server:
        process = start("compare", "--prompt", "Is it?", "--repeat", "9", "--json", env=server.environment)
        until(lambda: len(server.chats) == 4)  # a warm-up, two answers, and one that never comes
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert err.decode() == "smesh: stopped; the report holds what had been measured by then\n"
    report = json.loads(out)
    assert report["interrupted"]
    row = report["models"][0]
    assert (row["answered"], row["failed"], row["planned"]) == (2, 0, 9)
    assert row["figures"]["total_s"]["count"] == 2


def test_ctrl_c_while_models_are_looked_for(start, until) -> None:
    with OllamaServer() as server:
        server._answer = lambda asked: Reply(body=[HANG])
        process = start("compare", "--with", "ollama:a", env=server.environment)
        until(lambda: server.asked)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out.decode().rstrip().endswith("$0")
    assert "stopped: 0 of 0 calls answered" in out.decode()
    assert err.decode().count("\n") == 1


# On a terminal


def test_the_call_under_way_is_shown_and_leaves_only_the_report(start, terminal) -> None:
    place = terminal(80, 40)
    with OllamaServer(written("It builds."), models={"a\x07": 1}) as server:
        process = start(
            "compare",
            "--repeat",
            "4",
            stdout=place.device,
            stderr=place.device,
            env=server.environment | {"CI": ""},
        )
        assert process.wait(60) == 0
    assert "smesh compare" in place.written
    assert "1 of 9: ollama a\\x07, warm-up" in place.written
    assert "prompt 2, 3 of 4" in place.written
    assert "8 of 8 calls answered" in place.after
    assert all(len(one) <= 80 for one in place.after.splitlines())
    assert "\x07" not in place.written
    assert place.has_cursor


@pytest.mark.parametrize("options", [["--no-live"], []], ids=str)
def test_nothing_is_shown_where_none_is_wanted_or_nobody_looks(start, terminal, options) -> None:
    place = terminal(80, 40)
    streams = {"stderr": place.device} if options else {"stdout": place.device, "stderr": subprocess.PIPE}
    process = start("compare", *options, env={"CI": "", "NO_COLOR": "1"}, **streams)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert "looks for models" not in place.written
    assert "of 6: " not in place.written
    assert "\x1b[3" not in place.written
