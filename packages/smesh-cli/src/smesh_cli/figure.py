"""Figures by matplotlib, which is optional (`smesh-cli[plot]`): how they look, and how they are written.

The same report gives the same bytes: no date is written, and identifiers in an SVG are salted with a constant.
"""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING, Any, Final

from smesh_cli import targets
from smesh_cli.errors import CliError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["check", "drawing", "entitle"]

_SUFFIXES: Final = (".png", ".svg")
_SETTINGS: Final[Any] = {
    "svg.hashsalt": "smesh",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.8,
    "axes.edgecolor": "#808080",
    "xtick.color": "#404040",
    "ytick.color": "#404040",
    "legend.frameon": False,
    "legend.fontsize": 8,
}


def check(path: Path) -> None:
    """See whether a figure could be written there, before anything is run.

    Raises:
        CliError: its name ends in nothing that can be drawn, its directory is not there or may not be written to, or
            matplotlib cannot be loaded.
    """
    if path.suffix.lower() not in _SUFFIXES:
        raise CliError(f"--plot draws .png and .svg, not {path.name!r}")
    targets.check("--plot", path)
    try:
        import matplotlib as mpl  # noqa: PLC0415 - heavy, and optional
        from matplotlib.backends import backend_agg  # noqa: F401, PLC0415
    except ImportError as error:
        raise CliError(f"--plot needs matplotlib ({error}); install smesh-cli[plot]") from error
    mpl.use("agg")


@contextlib.contextmanager
def drawing(path: Path, *, size_in: tuple[float, float], top: float) -> Iterator[Any]:
    """A figure to draw on, which is written at the end.

    Args:
        path: where; its suffix says what.
        size_in: width and height in inches.
        top: part of the height that the panels have; the rest is for titles.

    Raises:
        OutputError: it cannot be written.
    """
    import matplotlib as mpl  # noqa: PLC0415 - heavy, and optional
    from matplotlib.figure import Figure  # noqa: PLC0415
    from matplotlib.layout_engine import ConstrainedLayoutEngine  # noqa: PLC0415

    with mpl.rc_context(_SETTINGS):
        layout = ConstrainedLayoutEngine(rect=(0, 0, 1, top), w_pad=0.12, h_pad=0.1)
        figure = Figure(figsize=size_in, dpi=130, layout=layout)
        yield figure
        drawn = io.BytesIO()
        kind = path.suffix.lower()[1:]
        figure.savefig(drawn, format=kind, metadata={"Date": None} if kind == "svg" else {"Software": None})
    targets.write(path, drawn.getvalue())


def entitle(figure: Any, head: str, said: Sequence[str]) -> None:
    """Put a title and some lines under it at the top."""
    height_in = figure.get_figheight()
    figure.suptitle(head, fontsize=13, fontweight="bold", x=0.012, y=1 - 0.144 / height_in, ha="left")
    below = 1 - 0.3456 / height_in
    figure.text(0.012, below, "\n".join(said), va="top", color="#404040", linespacing=1.5)
