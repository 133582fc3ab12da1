"""CrewAI: a crew of three agents with a task each, in the sequential process, kicked off for every input.

The model is a `BaseLLM`, as its guide to custom models shows. All tasks together: `akickoff_for_each`; one after
another: `kickoff_for_each`, in a thread, since it refuses to run within a loop. Its telemetry, tracing and version
check are off, by their documented variables.
"""

# ruff: noqa: ARG002 - what is called back is given more than it needs

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

os.environ |= {
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_DISABLE_TRACKING": "true",
    "CREWAI_DISABLE_VERSION_CHECK": "true",
    "CREWAI_STORAGE_DIR": tempfile.mkdtemp(prefix="crewai-"),
    "CREWAI_TRACING_ENABLED": "false",
    "OTEL_SDK_DISABLED": "true",
}

from crewai import Agent, BaseLLM, Crew, Process, Task
from job import ROLES, Job, main


class FakeLLM(BaseLLM):
    fake: Any
    role: str

    def call(self, messages: Any, *rest: Any, **options: Any) -> str:
        return self.fake.answer_blocking(self.role, _prompt(messages))

    async def acall(self, messages: Any, *rest: Any, **options: Any) -> str:
        return await self.fake.answer(self.role, _prompt(messages))


def _prompt(messages: Any) -> str:
    return messages if isinstance(messages, str) else str(messages[-1]["content"])


def crew_of(job: Job) -> Crew:
    agents = [
        Agent(
            role=role,
            goal=f"Do what a {role} does",
            backstory=f"You are a {role}.",
            llm=FakeLLM(model="fake", fake=job.model(role), role=role),
        )
        for role in ROLES
    ]
    asked = ["Write: {text}", "Check what the writer wrote.", "Edit what the checker checked."]
    tasks: list[Task] = []
    for agent, what in zip(agents, asked, strict=True):
        tasks.append(Task(description=what, expected_output="The text.", agent=agent, context=tasks[-1:] or None))
    return Crew(agents=agents, tasks=tasks, process=Process.sequential)


async def run(job: Job) -> None:
    crew = crew_of(job)
    numbers = range(1, job.tasks + 1)
    inputs = [{"text": job.text(number)} for number in numbers]
    with job.timed():
        if job.together:
            outputs = await crew.akickoff_for_each(inputs)
        else:
            outputs = await asyncio.to_thread(crew.kickoff_for_each, inputs)
        for number, output in zip(numbers, outputs, strict=True):
            job.deliver(number, output.raw)


if __name__ == "__main__":
    main(run)
