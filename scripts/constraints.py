"""Print the workspace's pins as a constraints file, one requirement a line."""

import sys
import tomllib
from pathlib import Path

root = Path(__file__).parent.parent
pins = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["uv"]["constraint-dependencies"]
sys.stdout.write("\n".join(pins) + "\n")
