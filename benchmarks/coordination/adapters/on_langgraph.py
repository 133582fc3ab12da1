"""LangGraph: a graph of three nodes, as its guide to chains of prompts shows; `abatch` runs it for every task.

Variants: none; ``memory`` and ``sqlite``, compiled with that checkpointer; ``chat``, whose nodes ask a chat model of
langchain-core, which the graph does not need and its examples use.
"""

# ruff: noqa: ARG002 - what is called back is given more than it needs

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

os.environ["LANGSMITH_TRACING"] = "false"
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from job import ROLES, Job, Model, main
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from langgraph.checkpoint.base import BaseCheckpointSaver


class State(TypedDict):
    text: str


class ChatModel(BaseChatModel):
    model: Any
    role: str

    @property
    def _llm_type(self) -> str:
        return "fake"

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **options: Any) -> ChatResult:
        return _result(self.model.answer_blocking(self.role, messages[-1].content))

    async def _agenerate(self, messages: Any, stop: Any = None, run_manager: Any = None, **options: Any) -> ChatResult:
        return _result(await self.model.answer(self.role, messages[-1].content))


def _result(text: str) -> ChatResult:
    return ChatResult(generations=[ChatGeneration(message=AIMessage(content=text))])


def node(role: str, model: Model, *, chats: bool) -> Any:
    chat_model = ChatModel(model=model, role=role)

    async def ask(state: State) -> State:
        return {"text": await model.answer(role, state["text"])}

    async def chat(state: State) -> State:
        message = await chat_model.ainvoke(state["text"])
        return {"text": str(message.content)}

    return chat if chats else ask


@contextlib.asynccontextmanager
async def checkpointer(variant: str) -> AsyncIterator[BaseCheckpointSaver[Any] | None]:
    if variant == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            async with AsyncSqliteSaver.from_conn_string(str(Path(folder) / "checkpoints.sqlite")) as saver:
                await saver.setup()
                yield saver
    else:
        yield InMemorySaver() if variant == "memory" else None


async def run(job: Job) -> None:
    builder = StateGraph(State)
    for role in ROLES:
        builder.add_node(role, node(role, job.model(role), chats=job.variant == "chat"))
    for before, after in zip((START, *ROLES), (*ROLES, END), strict=True):
        builder.add_edge(before, after)
    async with checkpointer(job.variant) as saver:
        graph = builder.compile(checkpointer=saver)
        numbers = range(1, job.tasks + 1)
        inputs: list[Any] = [{"text": job.text(number)} for number in numbers]
        configs: list[Any] = [{"configurable": {"thread_id": str(number)}} for number in numbers]
        with job.timed():
            if job.together:
                for number, state in zip(numbers, await graph.abatch(inputs, configs), strict=True):
                    job.deliver(number, state["text"])
            else:
                for number, given, config in zip(numbers, inputs, configs, strict=True):
                    job.deliver(number, (await graph.ainvoke(given, config))["text"])


if __name__ == "__main__":
    main(run)
