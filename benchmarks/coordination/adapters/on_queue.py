"""The floor: workers of the standard library, with a queue for each role. Nothing is kept, checked or retried."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from job import ROLES, Job, main


async def run(job: Job) -> None:
    queues: list[asyncio.Queue[tuple[int, str]]] = [asyncio.Queue() for _ in ROLES]

    async def work(place: int, agent: str) -> None:
        model = job.model(agent)
        while True:
            number, text = await queues[place].get()
            answer = await model.answer(ROLES[place], text)
            if place + 1 < len(ROLES):
                queues[place + 1].put_nowait((number, answer))
            else:
                job.deliver(number, answer)
            queues[place].task_done()

    names = [(place, f"{role} {n}") for place, role in enumerate(ROLES) for n in range(job.agents)]
    with job.timed():
        workers = [asyncio.create_task(work(place, name)) for place, name in names]
        for number in range(1, job.tasks + 1):
            queues[0].put_nowait((number, job.text(number)))
        for queue in queues:
            await queue.join()
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)


if __name__ == "__main__":
    main(run)
