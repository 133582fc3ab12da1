"""Compiled kernels, the slow reference that they are held to, and the one place that compiles."""
