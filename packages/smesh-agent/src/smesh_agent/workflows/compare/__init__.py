"""Models side by side on the same prompts: how fast, how much, at what cost, and what they say.

prompts.py   what is asked
entrants.py  who takes part: what is named, or what is found; and how to get what is absent
run.py       the calls, and what is measured of each
report.py    medians, spreads and answers
"""

from smesh_agent.workflows.compare.entrants import (
    FOUND_MAX,
    Absent,
    Entrant,
    Lineup,
    Spec,
    Terms,
    parse_spec,
)
from smesh_agent.workflows.compare.prompts import PROMPTS_DEFAULT, PROMPTS_MAX, checked_prompts, read_prompts
from smesh_agent.workflows.compare.report import (
    SCHEMA,
    Answer,
    Failure,
    Figures,
    ModelRow,
    Plan,
    PromptRow,
    Report,
    Sample,
    Spread,
    WarmUp,
    build,
    spread_of,
)
from smesh_agent.workflows.compare.run import Step, compare

__all__ = [
    "FOUND_MAX",
    "PROMPTS_DEFAULT",
    "PROMPTS_MAX",
    "SCHEMA",
    "Absent",
    "Answer",
    "Entrant",
    "Failure",
    "Figures",
    "Lineup",
    "ModelRow",
    "Plan",
    "PromptRow",
    "Report",
    "Sample",
    "Spec",
    "Spread",
    "Step",
    "Terms",
    "WarmUp",
    "build",
    "checked_prompts",
    "compare",
    "parse_spec",
    "read_prompts",
    "spread_of",
]
