"""Review: witnesses that wrap analyzers read a tree at the same time and meet, in a field, at what they find.

messages.py   what they say to each other
witness.py    what an agent of a review does
profiles.py   who takes part
run.py        a review as tasks of the work protocol
report.py     what is read from the field at the end
"""

from smesh_agent.analyzers.base import Severity
from smesh_agent.workflows.review.messages import Finding
from smesh_agent.workflows.review.profiles import default_profiles
from smesh_agent.workflows.review.report import Report, ReportedFinding, at_least, gates
from smesh_agent.workflows.review.run import Status
from smesh_agent.workflows.review.run import review as run_review
from smesh_agent.workflows.review.run import union as run_union
from smesh_agent.workflows.review.witness import CounterEvidence, Profile, Witness

__all__ = [
    "CounterEvidence",
    "Finding",
    "Profile",
    "Report",
    "ReportedFinding",
    "Severity",
    "Status",
    "Witness",
    "at_least",
    "default_profiles",
    "gates",
    "run_review",
    "run_union",
]
