"""autogen-core: agents of three types that publish to each other's topics, as its guide to sequential workflows shows.

Results leave the runtime through a closure agent and a queue, as its guide to extracting results shows. With several
agents of a role, tasks are spread over topics' sources, each of which has agents of its own. One after another, agents
are sent a direct message each, and answer it.
"""

# ruff: noqa: ARG001, ARG002 - what is called back is given more than it needs

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from autogen_core import (
    AgentId,
    ClosureAgent,
    ClosureContext,
    MessageContext,
    RoutedAgent,
    SingleThreadedAgentRuntime,
    TopicId,
    TypeSubscription,
    message_handler,
)
from job import ROLES, Job, Model, main

_RESULTS = "results"


@dataclass
class Text:
    number: int
    text: str


@dataclass
class Question:
    text: str


class Worker(RoutedAgent):
    def __init__(self, job: Job, role: str) -> None:
        super().__init__(f"a {role}")
        self._model: Model = job.model(role if self.id.key == "default" else f"{role} {self.id.key}")
        self._role = role
        self._next = (*ROLES, _RESULTS)[ROLES.index(role) + 1]

    @message_handler
    async def handle_text(self, message: Text, ctx: MessageContext) -> None:
        answer = await self._model.answer(self._role, message.text)
        await self.publish_message(Text(message.number, answer), TopicId(self._next, source=self.id.key))

    @message_handler
    async def handle_question(self, message: Question, ctx: MessageContext) -> Question:
        return Question(await self._model.answer(self._role, message.text))


async def run(job: Job) -> None:
    runtime = SingleThreadedAgentRuntime()
    results: asyncio.Queue[Text] = asyncio.Queue()

    async def collect(_: ClosureContext, message: Text, ctx: MessageContext) -> None:
        await results.put(message)

    for role in ROLES:
        await Worker.register(runtime, role, lambda role=role: Worker(job, role))  # type: ignore[misc]
        await runtime.add_subscription(TypeSubscription(topic_type=role, agent_type=role))
    await ClosureAgent.register_closure(
        runtime, _RESULTS, collect, subscriptions=lambda: [TypeSubscription(_RESULTS, _RESULTS)]
    )
    sources = ["default"] if job.agents == 1 else [str(n) for n in range(job.agents)]
    for role in ROLES:
        for source in sources:
            job.model(role if source == "default" else f"{role} {source}")
    with job.timed():
        runtime.start()
        if job.together:
            for number in range(1, job.tasks + 1):
                topic = TopicId(ROLES[0], source=sources[number % len(sources)])
                await runtime.publish_message(Text(number, job.text(number)), topic)
        else:
            for number in range(1, job.tasks + 1):
                message = Question(job.text(number))
                for role in ROLES:
                    message = await runtime.send_message(message, AgentId(role, sources[number % len(sources)]))
                job.deliver(number, message.text)
        await runtime.stop_when_idle()
        while not results.empty():
            result = results.get_nowait()
            job.deliver(result.number, result.text)


if __name__ == "__main__":
    main(run)
