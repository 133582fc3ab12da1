"""openai-agents: three agents in a deterministic flow, each run on what the one before made, as its examples show.

All tasks together are gathered, as its example of parallel runs shows. Tracing is off.
"""

# ruff: noqa: ARG002 - what is called back is given more than it needs

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from agents import Agent, Model, ModelResponse, Runner, Usage, set_tracing_disabled
from job import ROLES, Job, main
from job import Model as Fake
from openai.types.responses import ResponseOutputMessage, ResponseOutputText


class FakeModel(Model):
    def __init__(self, role: str, fake: Fake) -> None:
        self._role = role
        self._fake = fake

    async def get_response(self, system_instructions: Any, input: Any, *rest: Any, **options: Any) -> ModelResponse:  # noqa: A002
        given = input if isinstance(input, str) else input[-1]["content"]
        text = await self._fake.answer(self._role, given)
        said = ResponseOutputText(type="output_text", text=text, annotations=[])
        message = ResponseOutputMessage(id="fake", type="message", role="assistant", status="completed", content=[said])
        return ModelResponse(output=[message], usage=Usage(), response_id=None)

    def stream_response(self, *rest: Any, **options: Any) -> NoReturn:
        raise NotImplementedError("nothing is streamed here")


async def run(job: Job) -> None:
    set_tracing_disabled(True)
    agents = [
        Agent(name=role, instructions=f"You are a {role}.", model=FakeModel(role, job.model(role))) for role in ROLES
    ]

    async def chain(number: int) -> str:
        text = job.text(number)
        for agent in agents:
            text = (await Runner.run(agent, text)).final_output
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
