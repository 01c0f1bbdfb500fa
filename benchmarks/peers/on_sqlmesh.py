"""SQLMesh's environment, and the command that runs a step in it.

Belongs here: which Python, which script. Does not belong here: what SQLMesh is told (``sqlmesh_process``, which runs
there), its models (``sqlmesh_project``). Invariant: this project's environment has no SQLMesh.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.environment import Environment

SQLMESH = Environment("SQLMesh", "sqlmesh", Path(__file__).with_name("sqlmesh.txt"))


def versions() -> str:
    """The versions that the figures hold for."""
    return f"SQLMesh {SQLMESH.version('sqlmesh')} on DuckDB {SQLMESH.version('duckdb')}"


def command(say: Callable[[str], None]) -> Sequence[str]:
    """The beginning of a command line; folder, step and variant follow.

    Raises:
        UnavailableError: If the environment cannot be made.
    """
    return (str(SQLMESH.python(say)), "-I", str(Path(__file__).with_name("sqlmesh_process.py")))
