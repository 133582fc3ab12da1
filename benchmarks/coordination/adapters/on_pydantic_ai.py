"""pydantic-ai: three agents, one after another from the caller's code, as its guide to hand-off by program shows.

The models are `FunctionModel`s. All tasks together are gathered; one after another, the caller awaits each.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from job import ROLES, Job, Model, main
from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models.function import FunctionModel


def function_model(role: str, model: Model) -> FunctionModel:
    async def respond(messages: list[ModelMessage], _: Any) -> ModelResponse:
        given = str(messages[-1].parts[-1].content)  # type: ignore[union-attr]
        return ModelResponse(parts=[TextPart(await model.answer(role, given))])

    return FunctionModel(respond, model_name=role)


async def run(job: Job) -> None:
    agents = [Agent(function_model(role, job.model(role)), instructions=f"You are a {role}.") for role in ROLES]

    async def chain(number: int) -> str:
        text = job.text(number)
        for agent in agents:
            text = (await agent.run(text)).output
        return text

    numbers = range(1, job.tasks + 1)
    with job.timed():
        if job.together:
            for number, text in zip(numbers, await asyncio.gather(*map(chain, numbers)), strict=True):
                job.deliver(number, text)
        else:
            for number in numbers:
                job.deliver(number, await chain(number))


if __name__ == "__main__":
    main(run)
