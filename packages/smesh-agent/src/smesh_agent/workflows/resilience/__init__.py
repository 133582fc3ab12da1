"""Resilience: what attacks do to a network, and what defences win back, over many seeds.

plan.py       what is tried: attacks, extents, topologies, systems, seeds
sweep.py      trying it, in several processes
journal.py    what has been tried, in a file from which a later sweep goes on
estimate.py   means over seeds, and their intervals
report.py     what it comes to, and where each system breaks
"""

from smesh_agent.workflows.resilience.estimate import Estimate
from smesh_agent.workflows.resilience.journal import Done, Journal
from smesh_agent.workflows.resilience.plan import SYSTEMS, Cell, Plan
from smesh_agent.workflows.resilience.report import BAR, SCHEMA, Behind, Break, Report, Row, build
from smesh_agent.workflows.resilience.sweep import Sweep

__all__ = [
    "BAR",
    "SCHEMA",
    "SYSTEMS",
    "Behind",
    "Break",
    "Cell",
    "Done",
    "Estimate",
    "Journal",
    "Plan",
    "Report",
    "Row",
    "Sweep",
    "build",
]
