"""The work protocol: how agents share work with no controller.

board.py     what one observer knows of the tasks: a fold of the elements of a field
policy.py    what an agent decides: which task to claim, and when
agent.py     sense, decide, act, emit
lookout.py   what the agents of one process share: a board that listens, trust, and who waits for what
run.py       tasks, agents, and what came of it
"""

from smesh_agent.work.agent import Agent, Answer, Check, Opinion, Profile, Statement, Weigh, Work
from smesh_agent.work.approver import Approver, Ask, Decision
from smesh_agent.work.board import Board, Lease, TaskState
from smesh_agent.work.lookout import Lookout
from smesh_agent.work.policy import Choice, Tempo, choose
from smesh_agent.work.run import PERSON, RUN_S_DEFAULT, AgentReport, Outcome, TaskReport, run, task_id

__all__ = [
    "PERSON",
    "RUN_S_DEFAULT",
    "Agent",
    "AgentReport",
    "Answer",
    "Approver",
    "Ask",
    "Board",
    "Check",
    "Choice",
    "Decision",
    "Lease",
    "Lookout",
    "Opinion",
    "Outcome",
    "Profile",
    "Statement",
    "TaskReport",
    "TaskState",
    "Tempo",
    "Weigh",
    "Work",
    "choose",
    "run",
    "task_id",
]
