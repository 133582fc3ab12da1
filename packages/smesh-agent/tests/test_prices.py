"""Prices: exact sums, tiers, what is not known, and files that are wrong."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smesh_agent.backends.base import Usage
from smesh_agent.backends.prices import (
    FREE,
    PUSD_PER_USD,
    Price,
    Prices,
    Tier,
    load_prices,
    parse_price,
    prices,
    usd_in_words,
)
from smesh_agent.errors import BackendSettingsError


def usage(tokens_in: int, tokens_out: int = 0, cached_in: int = 0, cache_written_in: int = 0) -> Usage:
    return Usage(tokens_in=tokens_in, tokens_out=tokens_out, cached_in=cached_in, cache_written_in=cache_written_in)


def price(**rates: object) -> Price:
    return Price(tiers=(Tier(**{name: Decimal(str(rate)) for name, rate in rates.items()}),))


MILLION = 10**6


@pytest.mark.parametrize(
    ("model", "took", "cost_usd"),
    [
        ("claude-haiku-5-5", usage(100_000, 1000), 0.010 + 0.0005),
        ("claude-haiku-5-5", usage(100_001, 1000), 0.0500005 + 0.0025),  # one token more, and all cost more
        ("claude-haiku-5-5", usage(100_000, 0, 60_000, 40_000), 0.0006 + 0.005),
        ("claude-sonnet-5-5", usage(MILLION, MILLION), 12.0),
        ("claude-sonnet-5-5", usage(MILLION, 0, MILLION), 0.10),
        ("claude-opus-5-5", usage(MILLION, MILLION), 24.0),
        ("claude-opus-5-5", usage(MILLION, 0, 0, MILLION), 5.0),
    ],
)
def test_what_models_cost(model: str, took: Usage, cost_usd: float) -> None:
    found = prices().of(model)
    assert found is not None
    assert found.cost_usd(took) == pytest.approx(cost_usd, rel=1e-12)
    assert found.as_of == dt.date(2026, 10, 8)
    assert found.source


def test_a_snapshot_costs_what_its_model_does_and_nothing_else_is_guessed() -> None:
    assert prices().of("claude-opus-5-5-20260922") is prices().of("claude-opus-5-5") is not None
    for unknown in ("claude-opus-5", "claude-opus-5-5-fast", "qwen2.5-coder:7b", "", "claude-opus-5-5-2026"):
        assert prices().of(unknown) is None


def test_cached_tokens_of_unknown_price_cost_what_others_do() -> None:
    plain = price(input=3, output=15)
    assert plain.cost_pusd(usage(100, 0, 60, 40)) == plain.cost_pusd(usage(100)) == 300 * MILLION


def test_beyond_the_last_tier_nothing_is_known() -> None:
    short = Price(tiers=(Tier(input=Decimal(1), output=Decimal(2), prompt_tokens_max=1000),))
    assert short.cost_usd(usage(1000, 5)) == pytest.approx(0.00101)
    assert short.cost_pusd(usage(1001)) is None
    assert short.cost_usd(usage(1001)) is None
    assert short.bounds_pusd(1001) is None


rates = st.integers(0, 200 * MILLION).map(lambda micro: Decimal(micro) / MILLION)
tiers = st.builds(Tier, input=rates, output=rates, cache_read=st.none() | rates, cache_write=st.none() | rates)
amounts = st.integers(0, 2_000_000)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    cached, written, other = draw(amounts), draw(amounts), draw(amounts)
    return usage(cached + written + other, draw(amounts), cached, written)


@given(tiers, usages(), usages())
def test_costs_add_up_to_the_picodollar(tier: Tier, a: Usage, b: Usage) -> None:
    one = Price(tiers=(tier,))
    both = usage(
        a.tokens_in + b.tokens_in,
        a.tokens_out + b.tokens_out,
        a.cached_in + b.cached_in,
        a.cache_written_in + b.cache_written_in,
    )
    assert one.cost_pusd(a) + one.cost_pusd(b) == one.cost_pusd(both)


@st.composite
def growing_prices(draw: st.DrawFn) -> Price:
    limits = sorted(draw(st.sets(st.integers(1, 4_000_000), max_size=3)))
    rows = draw(st.lists(st.tuples(rates, rates, rates, rates), min_size=len(limits) + 1, max_size=len(limits) + 1))
    columns = [sorted(column) for column in zip(*rows, strict=True)]
    return Price(
        tiers=tuple(
            Tier(input=i, output=o, cache_read=r, cache_write=w, prompt_tokens_max=limit)
            for i, o, r, w, limit in zip(*columns, [*limits, None], strict=True)
        )
    )


@given(growing_prices(), usages(), amounts, amounts)
def test_more_tokens_never_cost_less_and_the_bound_holds(one: Price, a: Usage, more_in: int, more_out: int) -> None:
    more = usage(a.tokens_in + more_in, a.tokens_out + more_out, a.cached_in, a.cache_written_in)
    assert one.cost_pusd(a) <= one.cost_pusd(more)
    of_prompt, of_token = one.bounds_pusd(more.tokens_in)
    assert one.cost_pusd(a) <= of_prompt + of_token * more.tokens_out


def test_a_price_in_words_of_its_user() -> None:
    assert parse_price(" $0.10 / 0.50 ").cost_usd(usage(MILLION, MILLION)) == pytest.approx(0.6)
    assert parse_price("0/0").cost_pusd(usage(7, 7)) == 0 == FREE.cost_pusd(usage(7, 7))
    assert parse_price("3/15").in_words() == "$3 in, $15 out per million tokens"
    assert prices().of("claude-haiku-5-5").in_words() == (
        "$0.10 in, $0.50 out up to 100,000 tokens of prompt, beyond that $0.50 in, $2.50 out per million tokens"
    )


@pytest.mark.parametrize("text", ["", "3", "3/", "/3", "3/4/5", "a/b", "-1/2", "nan/1", "1/inf", "1e-7/1", "1e9/1"])
def test_what_is_no_price_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(BackendSettingsError, match="IN/OUT") as caught:
        parse_price(text)
    assert "\n" not in str(caught.value)


GOOD = """
as_of = 2026-11-01
currency = "USD"
[models.mine]
source = "the invoice"
tiers = [{ input = 1, output = 2.5 }]
[models.claude-opus-5-5]
as_of = 2026-11-02
tiers = [{ input = 3, output = 9 }]
"""


def test_a_users_file_goes_before_what_comes_with_us(tmp_path) -> None:
    (file := tmp_path / "prices.toml").write_text(GOOD)
    found = prices().extended(load_prices(file).models)
    assert found.of("mine").cost_usd(usage(MILLION, MILLION)) == 3.5
    assert (found.of("mine").as_of, found.of("mine").source) == (dt.date(2026, 11, 1), "the invoice")
    assert found.of("claude-opus-5-5").cost_usd(usage(MILLION)) == 3.0
    assert found.of("claude-opus-5-5").as_of == dt.date(2026, 11, 2)
    assert found.of("claude-sonnet-5-5") == prices().of("claude-sonnet-5-5")
    assert prices().of("mine") is None


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("as_of = 5 5", "line 2"),
        (GOOD.replace('"USD"', '"EUR"'), "currency"),
        (GOOD.replace("as_of = 2026-11-01", ""), "as_of"),
        (GOOD.replace("input = 1", "inptu = 1"), "inptu"),
        (GOOD.replace("output = 2.5", "output = -2.5"), "-2.5"),
        (GOOD.replace("output = 2.5", "output = inf"), "Infinity"),
        (GOOD.replace("output = 2.5", "output = 0.0000001"), "six digits"),
        (GOOD.replace("output = 2.5", "output = true"), "output"),
        (GOOD.replace("tiers = [{ input = 1, output = 2.5 }]", "tiers = []"), "at least one tier"),
        (GOOD.replace("output = 2.5 }", "output = 2 }, { input = 1, output = 3 }"), "any length"),
        (
            GOOD.replace("output = 2.5 }", "output = 2, prompt_tokens_max = 9 }, { input = 0.5, output = 3 }"),
            "costs no less",
        ),
        (
            GOOD.replace(
                "output = 2.5 }",
                "output = 2, prompt_tokens_max = 9 }, { input = 1, output = 2, prompt_tokens_max = 9 }",
            ),
            "order",
        ),
        (GOOD.replace("output = 2.5", "output = 2.5, prompt_tokens_max = 0"), "at most 0"),
    ],
)
def test_a_file_that_is_wrong_says_where(tmp_path, wrong: str, why: str) -> None:
    (file := tmp_path / "mine.toml").write_text("\n" + wrong.lstrip())
    with pytest.raises(BackendSettingsError, match=why) as caught:
        load_prices(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_says_so(tmp_path) -> None:
    with pytest.raises(BackendSettingsError, match="No such file"):
        load_prices(tmp_path / "none.toml")
    (tmp_path / "odd.toml").write_bytes(b"\xff")
    with pytest.raises(BackendSettingsError, match="UTF-8"):
        load_prices(tmp_path / "odd.toml")


def test_an_unknown_cost_is_a_word_and_no_number() -> None:
    assert (usd_in_words(None), usd_in_words(0.0), usd_in_words(1.23456)) == ("unknown", "$0.0000", "$1.2346")
    assert Prices({}).of("x") is None
    assert PUSD_PER_USD == 10**12
