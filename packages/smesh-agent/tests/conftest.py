"""What the tests of agents share."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))  # for `loopback`, which tests share

settings.register_profile(
    "smesh",
    derandomize=True,
    database=None,
    deadline=None,  # several tests share two cores
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("smesh")
