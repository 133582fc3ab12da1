"""`smesh resilience --plot`: the report as a figure, a row of panels for each attack on each topology."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from smesh_agent.workflows.resilience import SYSTEMS

from smesh_cli import figure
from smesh_cli.page import MEASURES, STYLES
from smesh_cli.summaries import tried

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from smesh_agent.workflows.resilience import Report, Row

    from smesh_cli.page import Measure

__all__ = ["draw"]

_ROW_IN: Final = 2.6
_HEAD_IN: Final = 1.1


def draw(report: Report, path: Path) -> None:
    """Write the figure of a report that has rows.

    Raises:
        OutputError: it cannot be written.
    """
    plan = report.plan
    lines = [(topology, attack) for topology in plan.topologies for attack in plan.attacks]
    height_in = _ROW_IN * len(lines) + _HEAD_IN
    with figure.drawing(path, size_in=(4.2 * len(MEASURES), height_in), top=1 - _HEAD_IN / height_in) as drawn:
        figure.entitle(drawn, "SMESH under attack", [tried(report), "Bars are 95% intervals of the mean over seeds."])
        grid = drawn.subplots(len(lines), len(MEASURES), squeeze=False)
        for (topology, attack), panels in zip(lines, grid, strict=True):
            rows = [row for row in report.rows if row.topology == topology and row.attack in {attack, "none"}]
            where = f", {topology.replace('-', ' ')}" if len(plan.topologies) > 1 else ""
            for measure, axes in zip(MEASURES, panels, strict=True):
                _curves(axes, rows, measure)
            panels[0].set_ylabel(f"{attack.replace('-', ' ')}{where}", fontweight="bold")
        for measure, axes in zip(MEASURES, grid[0], strict=True):
            axes.set_title(measure.name)
        handles, labels = grid[0][0].get_legend_handles_labels()
        drawn.legend(handles, labels, loc="upper right", bbox_to_anchor=(0.995, 1 - 0.1 / height_in), ncols=5)


def _curves(axes: Any, rows: Sequence[Row], measure: Measure) -> None:
    for system in SYSTEMS:
        ours = sorted((row.fraction, level) for row in rows if row.system == system and (level := measure.read(row)))
        style = STYLES[system]
        axes.errorbar(
            [fraction for fraction, _ in ours],
            [level.mean for _, level in ours],
            [level.half for _, level in ours],
            color=style.colour,
            linestyle=(0, style.dashes) if style.dashes else "-",
            linewidth=2.4 if system == "all" else 1.4,
            elinewidth=0.8,
            label=system,
        )
    axes.xaxis.set_major_formatter(lambda extent, _: f"{extent:.0%}")
    if measure.is_share:
        axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
        axes.set_ylim(-0.03, 1.03)
    else:
        axes.set_ylim(0, None)
