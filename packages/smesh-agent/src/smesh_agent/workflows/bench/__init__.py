"""Bench: what signals, fields and networks cost on this machine, beside plain Python doing the same.

measure.py    timing one thing
baseline.py   the plain Python that is compared with
rows.py       what is measured of signals, fields and networks
report.py     the result
run.py        all of it, one step at a time
"""

from smesh_agent.workflows.bench.measure import Spread
from smesh_agent.workflows.bench.report import ORIGINAL_NS, SCHEMA, Machine, NetworkRow, Report, Row
from smesh_agent.workflows.bench.run import Bench, Step

__all__ = ["ORIGINAL_NS", "SCHEMA", "Bench", "Machine", "NetworkRow", "Report", "Row", "Spread", "Step"]
