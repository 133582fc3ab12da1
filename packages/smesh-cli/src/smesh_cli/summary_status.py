"""Which backends there are, what they have and what that costs, as lines of text; `render` prints them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from smesh_agent.status import Backend, ModelPrice

__all__ = ["COLUMN", "BackendLine", "of_backends"]

COLUMN: Final = 21
"""Where the text begins: after ``openai-compatible``."""
_WIDTH: Final = 80 - COLUMN
_MODELS_SHOWN: Final = 5
_NAME_CHARACTERS_MAX: Final = 50


class BackendLine(NamedTuple):
    """A line about a backend: its name, on the first one, and what is said, in parts of (text, style)."""

    name: str
    said: tuple[tuple[str, str], ...]


def of_backends(backends: Sequence[Backend]) -> list[BackendLine]:
    """Every backend, and since when its prices hold."""
    lines: list[BackendLine] = []
    for backend in backends:
        name = f"  {backend.name}"
        if len(name) > COLUMN - 2:
            lines.append(BackendLine(name, ()))
            name = ""
        for said in _backend(backend):
            lines.append(BackendLine(name, said))
            name = ""
    dates = sorted({price.as_of for backend in backends for price in backend.prices.values() if price and price.as_of})
    if dates:
        since = " and ".join(date.isoformat() for date in dates)
        lines.append(BackendLine("  prices", ((f"USD per million tokens, as of {since}; others unknown", "dim"),)))
    return lines


def _backend(backend: Backend) -> Iterable[tuple[tuple[str, str], ...]]:
    """What is said of a backend; its detail stands beside its state where there is room."""
    key, state, where = _state(backend)
    detail = backend.detail
    if detail and len(key) + len(state[0]) + len(where) + len(": ") + len(detail) <= _WIDTH:
        yield ((key, ""), state, (f"{where}: {detail}", ""))
    else:
        yield ((key, ""), state, (where, ""))
        if detail:
            yield ((detail, ""),)
    groups: dict[tuple[str, ...], list[str]] = {}
    for model in dict.fromkeys([*backend.models, *backend.prices]):
        groups.setdefault(_price(backend.prices.get(model)), []).append(model)
    for (price, *tiers), models in list(groups.items())[:_MODELS_SHOWN]:
        yield ((f"{_some(models, _WIDTH - len(price) - 2)}: ", ""), (price, "dim"))
        for tier in tiers:
            yield ((f"  {tier}", "dim"),)
    more = sum(len(models) for models in list(groups.values())[_MODELS_SHOWN:])
    if more:
        yield ((f"and {more:,} more", ""),)


def _state(backend: Backend) -> tuple[str, tuple[str, str], str]:
    """Whether there is a key, how it stands with a backend and the style of that, and where it is."""
    key = {None: "", True: "key set, ", False: "no key, "}[backend.key]
    where = f" at {backend.url}" if backend.url else ""
    if backend.brought_by:
        where = f", brought by {backend.brought_by}"
    if not backend.usable:
        return "", ("cannot be used", "red"), where
    if backend.brought_by:
        return key, ("loads", "green"), where
    if backend.reachable:
        return key, ("reachable" if backend.url else "always there", "green"), where
    return key, ("not asked", "dim") if backend.reachable is None else ("not reachable", "yellow"), where


def _price(price: ModelPrice | None) -> tuple[str, ...]:
    """What a model costs: in short prompts, and then in each longer kind."""
    if price is None:
        return ("price unknown",)
    if not any(tier.input_usd or tier.output_usd for tier in price.tiers):
        return ("free",)
    words = [f"{_usd(tier.input_usd)} in, {_usd(tier.output_usd)} out" for tier in price.tiers]
    ends = [tier.prompt_tokens_max for tier in price.tiers]
    if ends[-1] is not None:
        words.append("unknown")
    longer = (f"prompts over {end:,} tokens: {said}" for end, said in zip(ends, words[1:], strict=False))
    return (words[0], *longer)


def _usd(amount: float) -> str:
    """Two digits after the point, and more where there are more."""
    cents, whole = f"{amount:,.2f}", f"{amount:,.6f}".rstrip("0")
    return f"${cents if len(whole) <= len(cents) else whole}"


def _some(models: Sequence[str], room: int) -> str:
    """As many models as there is room for, at least one, and how many more there are."""
    names = [name if len(name) <= _NAME_CHARACTERS_MAX else f"{name[:_NAME_CHARACTERS_MAX]}..." for name in models]
    shown = 1
    while shown < min(len(names), _MODELS_SHOWN) and len(_listed(names, shown + 1)) <= room:
        shown += 1
    return _listed(names, shown)


def _listed(names: Sequence[str], shown: int) -> str:
    more = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {more:,} more" if more else "")
