"""Trying: one seed, in whichever way, by any process.

Belongs here: what a worker process is handed. Does not belong here: cases (``drive``, ``schedule``), telling of them.
Invariant: it is no part of ``__main__``, which a fresh process does not have.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from sh_drills.oracle.drive import Account, DisagreedError, quiescent
from sh_drills.oracle.real_system import RealSystem
from sh_drills.oracle.schedule import interleaved


def tried(seed: int, tables: int | None, *, real: bool) -> list[Account] | str:
    """One seed: what its cases consisted of, or what disagreed."""
    try:
        if not real:
            return [quiescent(seed, tables=tables), interleaved(seed, tables=tables)]
        with TemporaryDirectory(prefix="oracle-") as home, RealSystem.at(Path(home)) as opened:
            return [quiescent(seed, tables=tables, opened=opened)]
    except DisagreedError as disagreed:
        return str(disagreed)
