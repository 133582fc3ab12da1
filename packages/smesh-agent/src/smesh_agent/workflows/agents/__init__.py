"""Agents on a job of one's own: tasks from a file, models or scripted text, no controller.

job.py       what is to be done, as a file says it
roles.py     what an agent is told that it is
crew.py      so many agents, with names and models
worker.py    an agent that works with a model, and inspectors that need none
evidence.py  what anybody can see who reads a result
killing.py   agents that die in the middle of their work
run.py       a job from beginning to end
report.py    what came of it
"""

from smesh_agent.workflows.agents.crew import AGENTS_MAX, crew_of
from smesh_agent.workflows.agents.job import Job, demo_job, demo_script, parse_job, read_job
from smesh_agent.workflows.agents.killing import Death, Killer
from smesh_agent.workflows.agents.report import AgentSummary, Report, TaskSummary
from smesh_agent.workflows.agents.roles import Role, read_roles, roles_for
from smesh_agent.workflows.agents.run import run_job
from smesh_agent.workflows.agents.worker import FORM, SUBSTANCE, Worker
from smesh_agent.workflows.bills import Bill

__all__ = [
    "AGENTS_MAX",
    "FORM",
    "SUBSTANCE",
    "AgentSummary",
    "Bill",
    "Death",
    "Job",
    "Killer",
    "Report",
    "Role",
    "TaskSummary",
    "Worker",
    "crew_of",
    "demo_job",
    "demo_script",
    "parse_job",
    "read_job",
    "read_roles",
    "roles_for",
    "run_job",
]
