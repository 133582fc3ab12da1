"""The live view of a job: who works at what, what was said last, trust and cost."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Final, Self

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text
from smesh_agent.work.board import Entry
from smesh_core import Signal, StanceKind, node_id
from smesh_core.errors import PayloadError
from smesh_core.payload import Approval, Claim, Failure, Result, Task, payload_of

from smesh_cli import render

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, RenderableType
    from smesh_agent.backends.budget import Ledger
    from smesh_agent.work import Lookout
    from smesh_runtime import Element

__all__ = ["CrewView"]

_SAID_SHOWN: Final = 6
_AGENTS_SHOWN: Final = 24
_FRAMES_PER_S: Final = 12.5
_STANCES: Final = {StanceKind.SUPPORT: "supports", StanceKind.OPPOSE: "opposes"}


class CrewView:
    """What a terminal shows while agents work; goes away at the end.

    Args:
        console: where.
        head: what answers: a model, or a script.
        names: the agents, by name.
        tasks: how many there are.
        ledger: what models took so far.
    """

    def __init__(self, console: Console, head: str, names: Sequence[str], tasks: int, ledger: Ledger) -> None:
        self._head, self._tasks, self._ledger = head, tasks, ledger
        self._names = {node_id(name): name for name in names}
        self._doing: dict[str, str] = {}
        self._dead: set[str] = set()
        self._done: dict[str, int] = {}
        self._said: deque[Text] = deque(maxlen=_SAID_SHOWN)
        self._signals = 0
        self._over: set[bytes] = set()
        self._lookout: Lookout | None = None
        self._started_s = time.monotonic()
        self._spinner = Spinner("dots" if render.is_rich(console) else "line", style="cyan")
        self._live = Live(
            console=console,
            transient=True,
            refresh_per_second=_FRAMES_PER_S,
            redirect_stdout=False,
            redirect_stderr=False,
            get_renderable=self._picture,
        )

    def __enter__(self) -> Self:
        self._live.start(refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def watch(self, lookout: Lookout) -> None:
        """Take in what is known of the run."""
        self._lookout = lookout

    def died(self, name: str) -> None:
        """An agent is no more."""
        self._dead.add(name)
        self._doing.pop(name, None)

    def pause(self) -> None:
        """Go away, so that a person can be asked."""
        self._live.stop()

    def resume(self) -> None:
        """Come back."""
        self._live.start(refresh=True)

    def tell(self, changed: Entry | Element) -> None:
        """Take in an element of the field, or a task whose state has changed."""
        if isinstance(changed, Entry):
            (self._over.add if changed.state.is_terminal else self._over.discard)(changed.id)
            return
        self._signals += 1
        name = self._names.get(changed.author, "")
        if not isinstance(changed, Signal):
            if changed.kind in _STANCES and changed.reason:
                self._say(name, f"{_STANCES[changed.kind]} a result: {changed.reason}", "yellow")
            return
        try:
            payload = payload_of(changed)
        except PayloadError:
            return
        match payload:
            case Claim(task=task, started=True) if name not in self._dead:
                what = self._what(task)
                if self._doing.get(name) != what:
                    self._say(name, f"claims: {what}", "cyan")
                self._doing[name] = what
            case Result(output=output):
                self._doing.pop(name, None)
                self._done[name] = self._done.get(name, 0) + 1
                self._say(name, f"result: {' '.join(output.split())}", "green")
            case Failure(reason=reason):
                self._doing.pop(name, None)
                self._say(name, f"failed: {reason}", "red")
            case Approval(granted=granted):
                self._say("you", "granted it" if granted else "refused it", "magenta")
            case _:
                pass

    def _what(self, task: str) -> str:
        entry = self._lookout.board.entries.get(bytes.fromhex(task)) if self._lookout is not None else None
        known: Task | None = entry.task if entry is not None else None
        return known.what if known is not None else task[:12]

    def _say(self, name: str, what: str, style: str) -> None:
        self._said.append(Text.assemble((f"{name}  ", "dim"), (render.safe(what), style)))

    def _picture(self) -> RenderableType:
        bill = self._ledger.total
        cost = f"{bill.tokens_in + bill.tokens_out:,} tokens, {bill.cost_in_words()}"
        head = Table.grid(padding=(0, 1))
        head.add_column(no_wrap=True)
        head.add_column(width=16)
        head.add_column(no_wrap=True, overflow="ellipsis")
        figures = f"{len(self._over)}/{self._tasks}  {time.monotonic() - self._started_s:.0f} s  "
        head.add_row(
            Text("smesh agents", "bold"),
            ProgressBar(self._tasks, len(self._over), complete_style="cyan", finished_style="green"),
            Text(f"{figures}{self._signals:,} signals  {cost}", "dim"),
        )
        rows = Table.grid(padding=(0, 1))
        for justify in ("left", "left", "right", "right"):
            rows.add_column(justify=justify, no_wrap=True)
        rows.add_column(no_wrap=True, overflow="ellipsis")
        for node, name in list(self._names.items())[:_AGENTS_SHOWN]:
            rows.add_row(*self._cells(node, name))
        rest = len(self._names) - _AGENTS_SHOWN
        more = [Text(f"… and {rest} more agents", "dim")] if rest > 0 else []
        lines: list[RenderableType] = [
            Text(self._head, "yellow" if "script" in self._head else "dim"),
            head,
            rows,
            *more,
        ]
        for line in self._said:
            line.no_wrap, line.overflow = True, "ellipsis"
        return Group(*lines, Text(), *self._said)

    def _cells(self, node: bytes, name: str) -> list[RenderableType]:
        trust = self._lookout.trust(node) if self._lookout is not None else 0.5
        done = f"{self._done[name]} done" if self._done.get(name) else ""
        figures = [Text(done), Text(f"trust {trust:.2f}", "dim")]
        if name in self._dead:
            return [Text("x", "red"), Text(name, "red"), *figures, Text("killed", "red")]
        if name in self._doing:
            return [self._spinner, Text(name), *figures, Text(render.safe(self._doing[name]), "cyan")]
        return ["", Text(name, "dim"), *figures, Text("rests", "dim")]
