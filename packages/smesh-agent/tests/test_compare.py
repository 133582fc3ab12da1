"""Comparisons: what is measured of calls, what becomes of those that fail, and who takes part."""

from __future__ import annotations

import asyncio
import json
from statistics import median

import msgspec
import pytest
from anthropic_server import AnthropicServer
from fake_backend import Fake, completed, counted, in_time
from hypothesis import given
from hypothesis import strategies as st
from loopback import HANG, Loopback, Reply
from ollama_server import OllamaServer
from openai_server import OpenAiServer
from smesh_agent.backends.base import Delta, StopReason
from smesh_agent.backends.budget import Budget
from smesh_agent.backends.conformance import Fails, Says
from smesh_agent.backends.model import Model
from smesh_agent.errors import (
    AuthenticationError,
    BackendSettingsError,
    JobError,
    OverloadedError,
    RequestRejectedError,
)
from smesh_agent.workflows.compare import (
    FOUND_MAX,
    PROMPTS_DEFAULT,
    Entrant,
    Lineup,
    Plan,
    Report,
    Spec,
    Terms,
    checked_prompts,
    compare,
    entrants,
    parse_spec,
    read_prompts,
    spread_of,
)
from smesh_runtime import SystemClock, VirtualClock

ONE = ["What is a termite?"]


def says(text: str, first_s: float, writing_s: float, tokens_out: int = 10, **values):
    """An answer whose text begins after some seconds, and ends after some more."""
    usage = values.pop("usage", counted(7, tokens_out))
    return [first_s, Delta(text[:1]), writing_s, Delta(text[1:]), completed(text, usage=usage, **values)]


class Stage:
    """Models in virtual time, with one budget."""

    def __init__(self, **caps) -> None:
        self.clock = VirtualClock()
        self.budget = Budget(**caps)
        self.entrants: list[Entrant] = []
        self.backends: list[Fake] = []

    def enter(self, name: str, *answers, is_local: bool = False, is_scripted: bool = False, **values) -> Fake:
        backend = Fake(*answers, clock=self.clock, is_local=is_local, **values)
        backend.name = name.split(maxsplit=1)[0]
        self.backends.append(backend)
        model = Model(backend, clock=self.clock, budget=self.budget, timeout_s=100.0)
        self.entrants.append(Entrant(name, model, "", is_scripted))
        return backend

    async def compare(self, prompts=ONE, *, stop=None, told=lambda _: None, **plan) -> Report:
        work = compare(
            self.entrants,
            prompts,
            Plan(**{"warms_up": False} | plan),
            clock=self.clock,
            budget=self.budget,
            stop=stop,
            told=told,
        )
        return await in_time(self.clock, work)


# What is measured


async def test_figures_of_two_models_side_by_side() -> None:
    stage = Stage()
    stage.enter(
        "fast m",
        says("It builds with soil.", 0.1, 1.0),
        says("It builds with soil.", 0.3, 2.0, tokens_out=20),
        says("It eats wood, mostly.", 0.2, 0.5),
    )
    stage.enter("slow m", says("It is an insect.", 2.0, 4.0, tokens_out=8), is_local=True)
    report = await stage.compare()
    fast, slow = report.models
    assert (fast.name, fast.answered, fast.failed, fast.planned) == ("fast m", 3, 0, 3)
    first = fast.figures.first_token_s
    assert first is not None
    assert (first.median, first.low, first.high) == pytest.approx((0.2, 0.1, 0.3))
    assert (first.kind, first.count) == ("range", 3)
    total = fast.figures.total_s
    assert total is not None
    assert (total.median, total.low, total.high) == pytest.approx((1.1, 0.7, 2.3))
    rate = fast.figures.tokens_per_s
    assert rate is not None
    assert (rate.median, rate.low, rate.high) == pytest.approx((10.0, 10.0, 20.0))  # 10/1.0, 20/2.0, 10/0.5
    assert fast.figures.tokens_out is not None
    assert fast.figures.tokens_out.median == 10
    assert fast.figures.cost_usd is not None
    assert fast.figures.cost_usd.median == pytest.approx((7 * 2 + 10 * 10) / 1e6)
    assert [(one.text, one.repetitions) for one in fast.prompts[0].answers] == [
        ("It builds with soil.", [1, 2]),
        ("It eats wood, mostly.", [3]),
    ]
    assert slow.figures.cost_usd is not None
    assert slow.figures.cost_usd.median == 0.0
    assert report.duration_s == pytest.approx(18.0)  # that of the slow one alone: they ran at the same time
    assert report.bill.tokens_out == 40 + 24


async def test_what_is_not_known_is_not_guessed() -> None:
    stage = Stage()
    stage.enter("uncounted m", says("Hello.", 1.0, 1.0, usage=counted(7, 9, is_counted=False)), model="nobody-knows")
    stage.enter("at-once m", [1.0, Delta("Hello."), completed("Hello.")])
    stage.enter("thinks m", says("Hello.", 5.0, 1.0, tokens_out=400))
    stage.enter("silent m", [1.0, completed("Hello.")])
    report = await stage.compare(repeat=1)
    uncounted, at_once, thinks, silent = (row.figures for row in report.models)
    assert (uncounted.tokens_in, uncounted.tokens_out, uncounted.tokens_per_s, uncounted.cost_usd) == (None,) * 4
    assert report.models[0].price is None
    assert report.models[0].bill.unpriced == 1
    assert at_once.tokens_per_s is None
    assert at_once.tokens_out is not None
    assert thinks.tokens_per_s is None
    assert thinks.tokens_out is not None
    assert thinks.tokens_out.median == 400
    assert silent.first_token_s is None
    assert silent.total_s is not None


async def test_failures_are_counted_and_enter_no_figure() -> None:
    stage = Stage()
    stage.enter(
        "shaky m",
        says("First.", 1.0, 1.0),
        RequestRejectedError("shaky", "not this"),
        says("I would rather not.", 50.0, 1.0, stop=StopReason.REFUSAL),
        [90.0, completed("  ", usage=counted(7, 1))],
        RequestRejectedError("shaky", "not this"),
        says("Last.", 3.0, 1.0, stop=StopReason.MAX_TOKENS),
    )
    row = (await stage.compare(repeat=6)).models[0]
    assert (row.answered, row.failed, row.cut_off) == (2, 4, 1)
    total = row.figures.total_s
    assert total is not None
    assert (total.median, total.low, total.high, total.count) == pytest.approx((3.0, 2.0, 4.0, 2))
    assert [(one.why, one.count) for one in row.failures] == [
        ("not this", 2),
        ("the model declined to answer: 'I would rather not.'", 1),
        ("the model said nothing", 1),
    ]
    assert [one.text for one in row.prompts[0].answers] == ["First.", "Last."]
    assert row.bill.requests == 4


async def test_an_attempt_that_failed_and_its_wait_are_not_part_of_the_time() -> None:
    stage = Stage()
    stage.enter("busy m", OverloadedError("busy", "too busy", retry_after_s=40.0), says("Yes.", 1.0, 1.0))
    row = (await stage.compare(repeat=1)).models[0]
    assert (row.answered, row.retried) == (1, 1)
    assert row.calls[0].total_s == pytest.approx(2.0)
    waited_s = row.calls[0].waited_s
    assert waited_s is not None
    assert 40.0 <= waited_s < 41.0


async def test_a_key_that_is_not_taken_is_tried_once() -> None:
    stage = Stage()
    backend = stage.enter("locked m", AuthenticationError("locked", "the key is not taken"))
    row = (await stage.compare(repeat=5)).models[0]
    assert len(backend.requests) == 1
    assert (row.answered, row.failed, row.planned, row.why) == (0, 1, 5, "the key is not taken")


async def test_the_warm_up_is_measured_apart() -> None:
    stage = Stage()
    own = stage.enter("own m", says("ready", 30.0, 1.0), says("Yes.", 1.0, 1.0), is_local=True)
    other = stage.enter("hosted m", says("Yes.", 1.0, 1.0))
    script = stage.enter("scripted text", says("Yes.", 0.1, 0.1), is_local=True, is_scripted=True)
    report = await stage.compare(repeat=2, warms_up=None)
    row = report.models[0]
    assert row.warm_up is not None
    assert (row.warm_up.first_token_s, row.warm_up.total_s) == pytest.approx((30.0, 31.0))
    assert row.figures.total_s is not None
    assert row.figures.total_s.high == pytest.approx(2.0)
    assert own.requests[0].max_tokens <= 16
    assert ONE[0] not in own.requests[0].messages[0].text
    assert [len(one.requests) for one in (own, other, script)] == [3, 2, 2]
    assert [one.warm_up for one in report.models[1:]] == [None, None]
    assert row.bill.requests == 3


async def test_models_of_a_backend_and_local_ones_take_turns() -> None:
    stage = Stage()
    a = stage.enter("ollama a", says("Yes.", 1.0, 1.0), is_local=True)
    b = stage.enter("vllm b", says("Yes.", 1.0, 1.0), is_local=True)
    c = stage.enter("claude c", says("Yes.", 1.0, 1.0))
    d = stage.enter("claude d", says("Yes.", 1.0, 1.0))
    await stage.compare(["One?", "Two?"], repeat=2)
    assert (a.sent_s, b.sent_s) == ([0.0, 2.0, 4.0, 6.0], [8.0, 10.0, 12.0, 14.0])
    assert (c.sent_s, d.sent_s) == (a.sent_s, b.sent_s)
    assert [one.messages[0].text for one in a.requests] == ["One?", "Two?", "One?", "Two?"]
    assert not any(one.caches for one in a.requests)


async def test_calls_at_the_same_time_only_where_asked_for() -> None:
    stage = Stage()
    backend = stage.enter("claude c", says("Yes.", 1.0, 1.0))
    report = await stage.compare(repeat=7, concurrency=3)
    assert backend.open_max == 3
    assert report.models[0].answered == 7
    assert report.duration_s == pytest.approx(6.0)
    assert [call.repetition for call in report.models[0].calls] == [1, 2, 3, 4, 5, 6, 7]


async def test_each_call_is_told_as_it_begins() -> None:
    stage = Stage()
    stage.enter("own m", says("Yes.", 1.0, 1.0), is_local=True)
    stage.enter("claude c", says("Yes.", 5.0, 1.0))
    steps = []
    await stage.compare(repeat=2, warms_up=None, told=steps.append)
    own = [step for step in steps if step.name == "own m"]
    assert [(step.prompt, step.repetition) for step in own] == [(0, 1), (1, 1), (1, 2)]
    assert {step.total for step in steps} == {5}
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert steps[-1].done < 5


# What ends it early


async def test_a_budget_ends_one_model_and_keeps_what_there_is() -> None:
    stage = Stage(usd=0.02)
    stage.enter("claude c", says("Yes.", 1.0, 1.0, tokens_out=200))
    stage.enter("own m", says("Yes.", 1.0, 1.0), is_local=True)
    report = await stage.compare(repeat=12, max_tokens=1000)
    paid, own = report.models
    assert 0 < paid.answered < 12
    assert paid.failed == 0
    assert paid.why.startswith("the budget has $0.00")
    assert own.answered == 12
    assert stage.budget.ledger.total.cost_usd <= 0.02
    assert not report.interrupted


async def test_an_answer_that_the_budget_cut_off_is_not_compared() -> None:
    stage = Stage(tokens=800)
    stage.enter("own m", says("Yes", 1.0, 1.0, tokens_out=300, stop=StopReason.MAX_TOKENS), is_local=True)
    row = (await stage.compare(repeat=2, max_tokens=1000)).models[0]
    assert row.answered == 0
    assert "for the budget had no more" in row.failures[0].why


async def test_what_was_measured_before_a_stop_is_kept() -> None:
    stage = Stage()
    backend = stage.enter("claude c", says("Yes.", 1.0, 1.0))
    stop = asyncio.Event()

    def told(step) -> None:
        if step.repetition == 3:
            stop.set()

    report = await stage.compare(repeat=9, stop=stop, told=told)
    row = report.models[0]
    assert report.interrupted
    assert (row.answered, row.failed, row.planned) == (2, 0, 9)
    assert row.figures.total_s is not None
    assert backend.open == 0  # the call that was under way is over
    again = await stage.compare(stop=stop)
    assert (again.interrupted, again.models[0].answered) == (True, 0)


# The report


@given(st.lists(st.floats(0, 1e6), max_size=30))
def test_a_spread_holds_its_median(values) -> None:
    spread = spread_of(values)
    if not values:
        assert spread is None
        return
    assert spread is not None
    assert spread.low <= spread.median <= spread.high
    assert spread.median == median(values)
    assert spread.count == len(values)
    if len(values) < 5:
        assert (spread.kind, spread.low, spread.high) == ("range", min(values), max(values))
    else:
        assert spread.kind == "quartiles"
        assert sum(value < spread.low for value in values) <= len(values) / 4 + 1
        assert sum(value > spread.high for value in values) <= len(values) / 4 + 1


def test_one_that_is_far_off_does_not_move_the_middle_half() -> None:
    spread = spread_of([1.0, 2.0, 3.0, 4.0, 1000.0])
    assert spread is not None
    assert (spread.median, spread.low, spread.high) == (3.0, 2.0, 4.0)


async def test_a_report_survives_json() -> None:
    stage = Stage()
    stage.enter("claude c", says("Ja \N{SNOWMAN}", 1.0, 1.0), RequestRejectedError("c", "no"))
    stage.enter("own m", says("Yes.", 1.0, 1.0), is_local=True)
    report = await stage.compare(warms_up=None)
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report
    assert report.schema == "smesh.compare/1"


# Prompts


def test_prompts_from_files(tmp_path) -> None:
    lines, listed = tmp_path / "prompts.txt", tmp_path / "prompts.yaml"
    lines.write_text("\ufeffOne?\n\n  # two: [\r\nThree?", encoding="utf-8")
    assert read_prompts(lines) == ["One?", "# two: [", "Three?"]
    listed.write_text("- One?\n- |\n  Two\n  lines?\n")
    assert read_prompts(listed) == ["One?", "Two\nlines?\n"]
    (tmp_path / "prompts.json").write_text(json.dumps(["One?"]))
    assert read_prompts(tmp_path / "prompts.json") == ["One?"]
    assert checked_prompts(PROMPTS_DEFAULT, "") == list(PROMPTS_DEFAULT)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("p.txt", b"", "there is no prompt in it"),
        ("p.txt", b" \n\t\n", "there is no prompt in it"),
        ("p.txt", b"caf\xe9", "not text in UTF-8 (byte 4)"),
        ("p.txt", b"a\nb\na", "prompt 3: it is there twice"),
        ("p.txt", b"x" * 300_000, "prompt 1: it is longer than 256 KiB"),
        ("p.txt", b"a\n" * 2000, "2,000 prompts, and at most 1,000 are asked"),
        ("p.yaml", b"prompts: [a]", "give a list of texts"),
        ("p.yaml", b"- 1\n- 2", "give a list of texts"),
        ("p.yaml", b"- ' '", "prompt 1: it is blank"),
        ("p.yaml", b"- [", "line 1"),
        ("p.json", b'["\\ud800"]', "prompt 1: it is not text in UTF-8"),
    ],
)
def test_what_is_no_prompt(tmp_path, name, content, said) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(JobError) as raised:
        read_prompts(path)
    assert str(raised.value).startswith(str(path))
    assert said in str(raised.value)
    with pytest.raises(JobError, match="No such file"):
        read_prompts(tmp_path / "none.txt")


# Who takes part


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("claude", Spec("claude")),
        ("ollama:qwen2.5-coder:7b", Spec("ollama", "qwen2.5-coder:7b")),
        ("ollama:m@http://box:11434", Spec("ollama", "m", "http://box:11434")),
        ("openai-compatible:Qwen/Qwen2.5@int8", Spec("openai-compatible", "Qwen/Qwen2.5@int8")),
        ("openai-compatible:a@b@https://k:p@host/v1", Spec("openai-compatible", "a@b", "https://k:p@host/v1")),
    ],
)
def test_how_a_model_is_named(text, spec) -> None:
    assert parse_spec(text) == spec


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("llama3:8b", "for a model of that name give ollama:llama3:8b"),
        ("claude-haiku-5-5", "for a model of that name give claude:claude-haiku-5-5"),
        ("", "there is no backend ''"),
        ("cassette", "there is no backend 'cassette'"),
    ],
)
def test_what_names_no_backend_is_told_how(text, hint) -> None:
    with pytest.raises(BackendSettingsError) as raised:
        parse_spec(text)
    assert hint in str(raised.value)


NOWHERE = {"OLLAMA_HOST": "127.0.0.1:9"}


def lineup(environment, **terms) -> Lineup:
    return Lineup(Terms(environment=NOWHERE | environment, **terms), clock=SystemClock())


async def test_where_nothing_is_there_a_script_takes_part_and_all_else_says_how_to_get_it() -> None:
    async with lineup({}) as there:
        await there.find()
    assert [(one.name, one.is_scripted) for one in there.entrants] == [("scripted text", True)]
    rows = {one.name: f"{one.why}; {one.how}" for one in there.absent}
    assert list(rows)[:3] == ["claude", "ollama", "openai-compatible"]
    assert "set ANTHROPIC_API_KEY" in rows["claude"]
    assert "ollama serve" in rows["ollama"]
    assert "ollama pull" in rows["ollama"]
    assert "set OPENAI_BASE_URL" in rows["openai-compatible"]
    assert not any(one.is_named for one in there.absent)


async def test_what_ollama_has_is_found_and_what_is_left_out_is_said() -> None:
    names = ["nomic-embed-text:latest", "big:120b-cloud", "a:1b", "b:1b", "c:1b", "d:1b", "e:1b"]
    with OllamaServer(models=dict.fromkeys(names, 1)) as server:
        async with lineup(server.environment) as there:
            await there.find()
        assert server.chats == []
    assert [one.name for one in there.entrants] == ["ollama a:1b", "ollama b:1b", "ollama c:1b"]
    assert len(there.entrants) == FOUND_MAX
    rows = {one.name: one for one in there.absent}
    assert "embeddings" in rows["ollama nomic-embed-text:latest"].why
    assert "billed" in rows["ollama big:120b-cloud"].why
    assert rows["ollama d:1b, e:1b"].how.startswith("--with ollama:d:1b")


async def test_a_model_that_is_billed_takes_no_place_of_local_ones() -> None:
    names = ["x-cloud", "big:120b-cloud", "a:1b", "b:1b"]
    with OllamaServer(models=dict.fromkeys(names, 1)) as server:
        async with lineup(server.environment, budget_tokens=1000) as there:
            await there.find()
        async with lineup(server.environment, budget_usd=1.0, prices={"x-cloud": "1/2"}) as priced:
            await priced.find()
        async with lineup(server.environment, budget_usd=1.0) as unpriced:
            await unpriced.find()
    expected = ["ollama x-cloud", "ollama a:1b", "ollama b:1b"]
    assert [one.name for one in there.entrants] == expected
    assert [one.name for one in priced.entrants] == expected
    assert [one.name for one in unpriced.entrants] == expected[1:]


async def test_a_server_that_lists_a_model_twice_has_it_once() -> None:
    with OpenAiServer(models=("m", "m")) as server:
        async with lineup(server.environment) as there:
            await there.find()
    assert [one.name for one in there.entrants] == ["openai-compatible m"]


async def test_a_server_that_does_not_answer_is_not_waited_for(monkeypatch) -> None:
    monkeypatch.setattr(entrants, "FIND_S", 0.2)
    with Loopback(lambda _: Reply(body=[HANG])) as server:
        async with lineup({"OLLAMA_HOST": server.url}) as there:
            await there.find()
    assert [one.is_scripted for one in there.entrants] == [True]
    assert "0.2 s" in next(one.why for one in there.absent if one.name == "ollama")


async def test_an_ollama_without_models_says_what_to_pull() -> None:
    with OllamaServer(models={}) as server:
        async with lineup(server.environment) as there:
            await there.find()
    assert [one.is_scripted for one in there.entrants] == [True]
    row = next(one for one in there.absent if one.name == "ollama")
    assert (row.why, "ollama pull" in row.how) == ("no model is pulled", True)


async def test_nothing_that_is_billed_is_asked_by_surprise() -> None:
    with AnthropicServer() as server:
        async with lineup(server.environment) as there:
            await there.find()
        assert server.asked == []
        assert [one.is_scripted for one in there.entrants] == [True]
        assert "billed" in next(one for one in there.absent if one.name == "claude").why
        async with lineup(server.environment, budget_usd=0.5) as capped:
            await capped.find()
        assert [one.name for one in capped.entrants] == ["claude claude-haiku-5-5"]
        async with lineup(server.environment) as named:
            await named.name([Spec("claude")])
        assert [one.name for one in named.entrants] == ["claude claude-haiku-5-5"]
        assert server.chats == []


async def test_of_a_server_that_bills_one_model_is_taken_where_there_is_a_budget() -> None:
    names = tuple(f"m{number}" for number in range(300))
    with OpenAiServer(models=names) as server:
        options = {"openai-compatible": {"is_local": "false"}}
        environment = server.environment
        async with lineup(environment, options=options) as there:
            await there.find()
        assert [one.is_scripted for one in there.entrants] == [True]
        async with lineup(environment, options=options, budget_tokens=1000) as capped:
            await capped.find()
        assert [one.name for one in capped.entrants] == ["openai-compatible m0"]
        async with lineup(environment, options=options, budget_usd=1.0) as unpriced:
            await unpriced.find()
        assert [one.is_scripted for one in unpriced.entrants] == [True]
        whys = [one.why for one in unpriced.absent if one.name == "openai-compatible m0"]
        assert len(whys) == 1
        assert "no price of m0 is known" in whys[0]
        assert len(unpriced.absent) < 8
        async with lineup(environment) as own:
            await own.find()
        assert len(own.entrants) == FOUND_MAX


async def test_two_servers_of_one_kind_are_told_apart_and_no_password_is_shown() -> None:
    with OpenAiServer("One.") as one, OpenAiServer("Two.") as two:
        model = "Qwen/Qwen2.5-Coder-7B-Instruct"
        shown = [one.url, two.url]
        urls = [server.url.replace("http://", "http://me:hunter22@") for server in (one, two)]
        async with lineup({}) as there:
            await there.name([Spec("openai-compatible", model, url) for url in urls])
            report = await compare(
                there.entrants, ONE, Plan(repeat=1), clock=SystemClock(), budget=there.budget, absent=there.absent
            )
    assert [row.prompts[0].answers[0].text for row in report.models] == ["One.", "Two."]
    assert [row.address for row in report.models] == shown
    assert "hunter22" not in msgspec.json.encode(report).decode()
    assert len({row.name for row in report.models}) == 2


async def test_one_budget_holds_for_all() -> None:
    with OllamaServer(Says(pieces=("a", "b"), tokens_in=100, tokens_out=100), models={"a": 1, "b": 1}) as server:
        async with lineup(server.environment, budget_tokens=1400) as there:
            await there.name([Spec("ollama", "a"), Spec("ollama", "b")])
            report = await compare(
                there.entrants, ONE, Plan(repeat=9), clock=SystemClock(), budget=there.budget, absent=there.absent
            )
    answered = [row.answered for row in report.models]
    assert answered[0] > 0
    assert sum(answered) < 18
    assert report.bill.tokens_in + report.bill.tokens_out <= 1400
    assert all("the budget has" in row.why for row in report.models if row.answered < 9)


async def test_what_is_named_and_not_to_be_had_says_why_and_nothing_takes_its_place() -> None:
    with OllamaServer(models={"a": 1}) as server:
        async with lineup(server.environment) as there:
            await there.name([Spec("ollama", "a"), Spec("ollama", "zzz"), Spec("claude"), Spec("ollama")])
    assert [one.name for one in there.entrants] == ["ollama a"]
    assert [(one.name, one.is_named) for one in there.absent] == [
        ("ollama zzz", True),
        ("claude", True),
        ("ollama", True),
    ]
    assert "there is no model zzz; there are a" in there.absent[0].why
    assert there.absent[1].why == "no key: set ANTHROPIC_API_KEY"


@pytest.mark.parametrize(
    ("specs", "terms", "said"),
    [
        ([Spec("scripted"), Spec("scripted")], {}, "scripted text is named twice"),
        ([Spec("scripted")], {"prices": {"m": "1/2"}}, "a price is given of m, which takes no part"),
        ([Spec("scripted")], {"options": {"ollama": {"seed": "1"}}}, "an option is given of ollama"),
    ],
)
async def test_what_is_said_of_nobody_is_an_error(specs, terms, said) -> None:
    with pytest.raises(JobError, match=said):
        async with lineup({}, **terms) as there:
            await there.name(specs)


async def test_a_price_that_is_given_holds() -> None:
    says = Says(pieces=("a", "b"), tokens_in=1000, tokens_out=100)
    with OpenAiServer(says, models=("m",)) as server:
        terms = {"prices": {"m": "2/10"}, "options": {"openai-compatible": {"is_local": "false"}}, "budget_usd": 1.0}
        async with lineup(server.environment, **terms) as there:
            await there.name([Spec("openai-compatible", "m")])
            report = await compare(there.entrants, ONE, Plan(repeat=1), clock=SystemClock(), budget=there.budget)
    assert report.models[0].calls[0].cost_usd == pytest.approx(0.003)
    assert report.models[0].price == "$2 in, $10 out per million tokens"


async def test_claude_and_ollama_over_their_own_clients() -> None:
    with AnthropicServer("From Claude.", Fails(kind=RequestRejectedError)) as claude, OllamaServer("Here.") as ollama:
        async with lineup(claude.environment | ollama.environment) as there:
            await there.name([Spec("claude"), Spec("ollama", "qwen2.5-coder:7b")])
            report = await compare(there.entrants, ONE, Plan(repeat=2), clock=SystemClock(), budget=there.budget)
    first, second = report.models
    assert (first.answered, first.failed) == (1, 1)
    assert "prompt is too long" in first.failures[0].why
    assert (first.calls[0].tokens_in, first.calls[0].tokens_out) == (11, 7)
    assert first.calls[0].cost_usd == pytest.approx((11 * 0.10 + 7 * 0.50) / 1e6)
    assert (second.answered, second.bill.requests) == (2, 3)  # the warm-up is one
    assert len(ollama.chats) == 3
