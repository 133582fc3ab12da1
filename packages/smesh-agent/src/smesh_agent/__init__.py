"""Agents that coordinate through a field, and what they do together.

This version has one workflow: `smesh_agent.workflows.review`, in which witnesses that wrap well-kept analyzers read a
repository and meet at what they find.
"""

__version__ = "0.1.0"

__all__ = ["__version__"]
