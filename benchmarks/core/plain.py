"""The same spread in plain Python, tick by tick as one would write it down: what a network is measured against."""

from __future__ import annotations

import math
import random  # noqa: TID251 - a baseline uses what its author would
from typing import Any

RATE, THRESHOLD = 0.1, 0.1


def spread(
    neighbours: list[list[int]], origins: list[int], radius: int, ticks: int, trust: float, confidence: float
) -> int:
    """All signals from tick 0 on, by the rules of `smesh_core.kernels.tick`; how many nodes they reached."""
    chance = random.Random(0)  # noqa: S311
    reached = 0
    for origin in origins:
        held: dict[int, tuple[int, float, int]] = {origin: (0, 1.0, -1)}
        asking = [(origin, target) for target in neighbours[origin]]
        support, oppose = 1, 0
        for tick in range(ticks):
            intensity = math.exp(-RATE * tick)
            if intensity < 0.01:
                break
            arrived: dict[int, tuple[int, float, int]] = {}
            still: list[tuple[int, int]] = []
            for sender, target in asking:
                hop, attenuation, _ = held[sender]
                relays = 0.99 if sender == origin else trust
                if chance.random() >= confidence * intensity * relays * (radius - hop) / radius:
                    still.append((sender, target))
                    continue
                copy = (hop + 1, attenuation * (0.9 if relays > 0.7 else 0.7), sender)
                best = arrived.get(target)
                if target not in held and (best is None or (-copy[1], copy[0]) < (-best[1], best[0])):
                    arrived[target] = copy
            for node, (hop, attenuation, via) in arrived.items():
                if intensity * attenuation >= THRESHOLD:
                    kind, evidence = chance.random(), chance.random()
                    support += kind < 0.3 and evidence + trust * confidence >= 0.5
                    oppose += 0.3 <= kind < 0.4 and evidence + (1 - trust) * confidence >= 0.5
                held[node] = (hop, attenuation, via)
                if hop < radius:
                    still += [(node, target) for target in neighbours[node] if target != via]
            asking = still
        reached += len(held)
    return reached


def spread_networkx(graph: Any, origins: list[int], ticks: int, seed: int) -> int:
    """A simpler process, on a networkx graph: every reached node tells each neighbour with one fixed probability."""
    chance = random.Random(seed)  # noqa: S311
    reached = 0
    for origin in origins:
        held = {origin}
        for _ in range(ticks):
            told = [v for u in held for v in graph.neighbors(u) if v not in held and chance.random() < 0.2]
            held.update(told)
        reached += len(held)
    return reached


def spread_ndlib(graph: Any, origins: list[int], ticks: int, seed: int) -> int:
    """The same simpler process by NDlib, a library of spreading models; raises ImportError where it is missing."""
    from ndlib.models import ModelConfig  # noqa: PLC0415 - there only where somebody put it
    from ndlib.models.epidemics import SIModel  # noqa: PLC0415

    reached = 0
    for origin in origins:
        model = SIModel(graph, seed=seed)
        config = ModelConfig.Configuration()
        config.add_model_parameter("beta", 0.2)
        config.add_model_initial_configuration("Infected", [origin])
        model.set_initial_status(config)
        reached += model.iteration_bunch(ticks, node_status=False)[-1]["node_count"][1]
    return reached
