"""What is said of backends: which models, at what price, within 80 columns."""

from __future__ import annotations

import datetime as dt

from hypothesis import given, settings
from hypothesis import strategies as st
from smesh_agent.status import Backend, ModelPrice, TokenPrice
from smesh_cli.summary_status import COLUMN, of_backends


def price(*tiers: tuple[int | None, float, float], as_of: dt.date | None = dt.date(2026, 10, 8)) -> ModelPrice:
    return ModelPrice(
        as_of=as_of,
        tiers=[TokenPrice(prompt_tokens_max=most, input_usd=read, output_usd=write) for most, read, write in tiers],
    )


FREE = price((None, 0.0, 0.0), as_of=None)


def shown(*backends: Backend) -> list[str]:
    lines = of_backends(backends)
    return [f"{line.name:{COLUMN}}{''.join(said for said, _ in line.said)}".rstrip() for line in lines]


def backend(prices: dict[str, ModelPrice | None], **more: object) -> Backend:
    facts = {"name": "b", "url": "", "reachable": True, "key": None, "detail": "", "models": list(prices)} | more
    return Backend(**facts, prices=prices)


def test_models_of_one_price_share_a_line() -> None:
    prices = {"a": FREE, "b": None, "c": FREE, "d": price((None, 0.125, 1234.5)), "e": None}
    assert shown(backend(prices))[1:] == [
        " " * COLUMN + "a, c: free",
        " " * COLUMN + "b, e: price unknown",
        " " * COLUMN + "d: $0.125 in, $1,234.50 out",
        "  prices             USD per million tokens, as of 2026-10-08; others unknown",
    ]


def test_longer_prompts_have_lines_of_their_own() -> None:
    prices = {"a": price((1000, 1.0, 2.0), (20_000, 2.0, 3.0))}
    assert shown(backend(prices))[1:4] == [
        " " * COLUMN + "a: $1.00 in, $2.00 out",
        " " * COLUMN + "  prompts over 1,000 tokens: $2.00 in, $3.00 out",
        " " * COLUMN + "  prompts over 20,000 tokens: unknown",
    ]


def test_a_few_prices_are_shown_and_all_models_are_counted() -> None:
    prices = {f"m{number}": price((None, 1.0 + number, 2.0)) for number in range(9)}
    lines = shown(backend(prices))
    assert len(lines) == 1 + 5 + 1 + 1
    assert lines[-2] == " " * COLUMN + "and 4 more"


def test_models_that_are_not_priced_and_prices_that_are_not_at_hand_are_both_shown() -> None:
    both = backend({"a": FREE, "b": FREE}, models=["c", "a"])
    assert shown(both)[1:] == [" " * COLUMN + "c: price unknown", " " * COLUMN + "a, b: free"]


def test_dates_of_all_prices_are_named_and_none_where_there_are_none() -> None:
    later = price((None, 1.0, 1.0), as_of=dt.date(2026, 11, 1))
    last = shown(backend({"a": later}), backend({"b": price((None, 1.0, 1.0)), "c": later}))[-1]
    assert "as of 2026-10-08 and 2026-11-01;" in last
    assert not any("prices" in line for line in shown(backend({"a": FREE})))


def test_what_others_bring() -> None:
    loads = backend({}, name="echo", reachable=None, brought_by="smesh-echo 1.0")
    broken = backend({}, name="x", reachable=None, usable=False, brought_by="smesh-x 2", detail="why " * 20)
    taken = backend({}, name="ollama", url="http://box", reachable=None, usable=False, detail="remove it")
    assert shown(loads, broken, taken) == [
        "  echo               loads, brought by smesh-echo 1.0",
        "  x                  cannot be used, brought by smesh-x 2",
        " " * COLUMN + ("why " * 20).rstrip(),
        "  ollama             cannot be used at http://box: remove it",
    ]


def test_a_long_name_stands_on_a_line_of_its_own() -> None:
    assert shown(backend({}, name="n" * 30)) == ["  " + "n" * 30, " " * COLUMN + "always there"]


@settings(derandomize=True, database=None, deadline=None)
@given(st.lists(st.text("abc", min_size=1, max_size=100), unique=True, min_size=1), st.sampled_from([FREE, None]))
def test_models_fit_80_columns_and_none_is_forgotten(models: list[str], cost: ModelPrice | None) -> None:
    line = shown(backend(dict.fromkeys(models, cost)))[1]
    names, _, _ = line.strip().partition(": ")
    listed, _, more = names.partition(" and ")
    assert len(listed.split(", ")) + int(more.split()[0] if more else 0) == len(models)
    assert len(line) <= 80 or ", " not in listed  # one is shown however long its name is
