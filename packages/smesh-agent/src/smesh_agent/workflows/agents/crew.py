"""A crew: so many agents, each with a role, a name and a model."""

from __future__ import annotations

from itertools import cycle, islice
from typing import TYPE_CHECKING

from smesh_agent.errors import JobError
from smesh_agent.workflows.agents.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from smesh_agent.backends.model import Model
    from smesh_agent.workflows.agents.roles import Role

__all__ = ["AGENTS_MAX", "AGENTS_PER_ROLE", "crew_of"]

AGENTS_PER_ROLE = 2
"""So that any one agent may die."""
AGENTS_MAX = 1000


def crew_of(
    roles: Sequence[Role],
    agents: int | None,
    model_of: Callable[[Role], Model],
    *,
    max_tokens: int,
    checks: bool,
) -> list[Worker]:
    """Agents for roles, one role after the other.

    Args:
        roles: what there is to be.
        agents: how many; two a role if not given.
        model_of: the model of a role.
        max_tokens: how much an answer may take.
        checks: whether they read each other's results.

    Raises:
        JobError: there are fewer agents than roles, so that some role would have none.
    """
    wanted = AGENTS_PER_ROLE * len(roles) if agents is None else agents
    if not len(roles) <= wanted <= AGENTS_MAX:
        names = ", ".join(role.name for role in roles)
        raise JobError(f"{wanted} agents for {len(roles)} roles ({names}): give {len(roles)} to {AGENTS_MAX:,}")
    counts: dict[str, int] = {}
    workers: list[Worker] = []
    for role in islice(cycle(roles), wanted):
        counts[role.name] = counts.get(role.name, 0) + 1
        name = f"{role.name}-{counts[role.name]}"
        workers.append(Worker(name, role, model_of(role), max_tokens=max_tokens, checks=checks))
    return workers
