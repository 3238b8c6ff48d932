"""Errors of a trial as Tune writes them into its `error.txt`, one attempt after the other."""

from __future__ import annotations

LOST = """Failure # 1 (occurred at 2026-01-02_03-04-05)
The actor died unexpectedly before finishing this task.
\tclass_name: PackTrainable
"""
BROKE = """Failure # 2 (occurred at 2026-01-02_03-05-05)
ray::PackTrainable.train() (pid=1)
  File "toy_kind.py", line 3, in step
RuntimeError: broke on purpose
"""
