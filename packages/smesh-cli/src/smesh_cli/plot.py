"""`smesh sim --plot`: a report as a figure of four panels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from smesh_cli import figure
from smesh_cli.summaries import title_of

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from smesh_core.network import Network
    from smesh_core.simulation import Report

__all__ = ["draw"]

_STATES: Final = {"reached": "#009e73", "open": "#bdbdbd", "rejected": "#d55e00"}
"""After Okabe and Ito."""
_FIRST, _AGAIN, _LOST = "#0072b2", "#56b4e9", "#d55e00"
_HOPS_APART: Final = 6
"""Colours for distances; where signals come farther, several hops share one."""
_SIGNALS_NAMED: Final = 40
_POINTS_MAX: Final = 2000


def draw(report: Report, network: Network, path: Path) -> None:
    """Write the figure.

    Raises:
        OutputError: it cannot be written.
    """
    with figure.drawing(path, size_in=(11, 7.2), top=0.94) as drawn:
        head, *said = title_of(report)
        figure.entitle(drawn, head, said)
        (coverage, arrivals), (states, copies) = drawn.subplots(2, 2)
        _coverage(coverage, report, network)
        _arrivals(arrivals, report, network)
        _states(states, network)
        _copies(copies, network)
        for axes in (coverage, arrivals, states):
            axes.xaxis.get_major_locator().set_params(integer=True)


def _coverage(axes: Any, report: Report, network: Network) -> None:
    """How much was reached by when, and over how many hops."""
    import matplotlib as mpl  # noqa: PLC0415

    found = network.arrivals()
    pairs = max(1, network.signal_count * network.node_count)
    farthest = int(found["hop"].max(initial=0))
    width = max(1, -(-farthest // _HOPS_APART))
    group = (found["hop"] + width - 1) // width  # the origin for itself, then so many hops together
    groups = int(group.max(initial=0)) + 1
    shown = np.unique(np.linspace(0, max(0, network.tick - 1), _POINTS_MAX).astype(int))
    by_hop = [
        np.cumsum(np.bincount(found["tick"][group == one], minlength=max(1, network.tick)))[shown] / pairs * 100
        for one in range(groups)
    ]
    colours = [mpl.colormaps["cividis"](0.95 * one / max(1, groups - 1)) for one in range(groups)]
    names = ["origin", *(_hops((one - 1) * width + 1, min(one * width, farthest)) for one in range(1, groups))]
    axes.stackplot(shown + 1, by_hop, colors=colours, labels=names, linewidth=0)
    axes.set(
        title="Coverage over time, by distance from the origin",
        xlabel=_ticks_label("tick", report),
        ylabel="reached, of all (signal, node) pairs [%]",
        xlim=(1, max(2, network.tick)),
        ylim=(0, None),
    )
    if report.scenario.failing or report.scenario.partitioned:
        begin, end = report.scenario.ticks // 4, 3 * report.scenario.ticks // 4
        troubles = (("nodes down", report.scenario.failing), ("partition", report.scenario.partitioned))
        what = " and ".join(word for word, share in troubles if share)
        until = min(end, max(2, network.tick))
        axes.axvspan(begin, until, facecolor="none", edgecolor="#80808080", hatch="//", linewidth=0, label=what)
    handles, labels = axes.get_legend_handles_labels()
    # Beside the panel: a curve that rises at once leaves no corner free.
    axes.legend(handles[::-1], labels[::-1], loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0)


def _hops(first: int, last: int) -> str:
    return f"{first} to {last} hops" if last > first else f"{first} hop{'s' * (first != 1)}"


def _arrivals(axes: Any, report: Report, network: Network) -> None:
    """How old signals were when they arrived."""
    found = network.arrivals()
    onward = found[found["via"] >= 0]
    ages = onward["tick"] - network.state.signals["born"][onward["signal"]]
    axes.set(
        title="How old signals were when they arrived",
        xlabel=_ticks_label("age", report),
        ylabel="arrivals",
    )
    if not len(ages) or report.arrival_ticks is None:
        _say(axes, "nothing arrived")
        return
    last = int(ages.max())
    width = max(1, -(-last // 80))
    axes.hist(ages, bins=np.arange(0.5, last + width + 0.5, width), color=_FIRST, edgecolor="white", linewidth=0.4)
    for name, age, style in (("half", report.arrival_ticks.p50, "-"), ("90%", report.arrival_ticks.p90, "--")):
        label = f"{name} by {age:.4g} tick{'s' * (age != 1)}"
        axes.axvline(age, color="#202020", linestyle=style, linewidth=1.2, label=label)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.legend(loc="upper right")


def _states(axes: Any, network: Network) -> None:
    """What consensus says of true and of false signals."""
    signals = network.state.signals
    is_out = signals["born"] < network.tick
    is_false = signals["against_share"] > signals["for_share"]
    states = np.array([state.value for state in network.verdicts().states])
    rows = {"true": is_out & ~is_false, "false": is_out & is_false}
    names = [f"{name} ({int(chosen.sum()):,})" for name, chosen in rows.items()]
    left = np.zeros(len(rows))
    for state, colour in _STATES.items():
        counts = np.array([np.count_nonzero(states[chosen] == state) for chosen in rows.values()])
        bars = axes.barh(names, counts, left=left, color=colour, label=state, height=0.55, edgecolor="white")
        axes.bar_label(bars, [f"{count:,}" if count else "" for count in counts], label_type="center", color="black")
        left += counts
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set(
        title="Consensus on signals that are true, and that are false",
        xlabel="signals",
        xlim=(0, max(1, left.max() * 1.02)),
    )
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=len(_STATES))


def _copies(axes: Any, network: Network) -> None:
    """Of each signal, or of all in order, what its copies came to."""
    signals = network.state.signals
    onward = np.where(signals["born"] < network.tick, signals["arrivals"] - 1, 0)
    again, lost = signals["copies"] - onward, signals["lost"]
    is_named = len(signals) <= _SIGNALS_NAMED
    order = np.arange(len(signals)) if is_named else np.argsort(-(signals["copies"] + lost), kind="stable")
    parts: list[tuple[str, NDArray[np.int64], str]] = [
        ("first to arrive", onward[order], _FIRST),
        ("came again", again[order], _AGAIN),
        ("lost", lost[order], _LOST),
    ]
    if is_named:
        bottom = np.zeros(len(signals), np.int64)
        for label, counts, colour in parts:
            axes.bar(np.arange(len(signals)), counts, bottom=bottom, color=colour, label=label)
            bottom += counts
    else:
        shown = np.unique(np.linspace(0, len(signals) - 1, _POINTS_MAX).astype(int))
        labels, colours = [label for label, _, _ in parts], [colour for _, _, colour in parts]
        axes.stackplot(shown, [counts[shown] for _, counts, _ in parts], labels=labels, colors=colours, linewidth=0)
    axes.grid(visible=False, axis="x")
    axes.set(
        title="Copies of each signal",
        xlabel="signal, in order of emission" if is_named else "signals, those with most copies first",
        ylabel="copies",
        xlim=(-0.8, len(signals) - 0.2) if is_named else (0, len(signals) - 1),
        ylim=(0, max(1, int((signals["copies"] + lost).max(initial=0)) * 1.2)),
    )
    if is_named:
        axes.set_xticks(range(0, len(signals), max(1, len(signals) // 10)))
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.legend(loc="upper right", ncols=3)


def _ticks_label(what: str, report: Report) -> str:
    return f"{what} [ticks of {report.scenario.tick_s:.4g} s]"


def _say(axes: Any, text: str) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", color="#808080")
