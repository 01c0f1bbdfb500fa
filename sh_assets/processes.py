"""Processes of this machine: whether one that had a number at some time is still there.

Belongs here: asking the system. Does not belong here: which processes a run has (``dagster_runs``). Invariant: one is
called gone only if it is; where the system cannot say, it counts as there. Numbers are given out again, so each comes
with a time at which it was known.
"""

import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

_CLOCK_STEPS_S = 60.0
"""By how much the clock of events and that of processes may differ, before a number counts as given out anew."""

_ENDED = frozenset("ZX")
"""States of a process of which only the number is left."""

_CREDENTIALS = struct.Struct("3i")
"""What the system says of whoever listens at a socket: process, user, group."""


def process_lives(pid: int, seen_s: float) -> bool:
    """Whether the process that had a number at some time (Unix seconds) is still there.

    Where the system cannot say when a process began, one of that number counts as it.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is somebody else's, and it is there
    try:
        stat = _stat(pid)
        return stat[_STATE] not in _ENDED and _began_before(stat, seen_s)
    except (OSError, ValueError):
        return True


def session_lives(session: int, seen_s: float) -> bool:
    """Whether a process of the session that had a number at some time (Unix seconds) is still there.

    A session is inherited, so it holds whatever its processes have started that did not begin one of its own.
    """
    try:
        if not _same_session(session, seen_s):
            return False
        return any(stat[_SESSION] == str(session) and stat[_STATE] not in _ENDED for stat in _all())
    except (OSError, ValueError):
        return True


def session_behind(path: str) -> int | None:
    """Session of the process that listens at a socket; None where the system does not say."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
            told = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            return os.getsid(_CREDENTIALS.unpack(told)[0])
        except OSError:  # it has ended meanwhile
            return None


_STATE, _SESSION, _BEGAN = 0, 3, 19
"""Places after the name in what the system says of a process; the last counts ticks from the system's start."""


def _same_session(session: int, seen_s: float) -> bool:
    """Whether a number that is that of a session may still be that of the same one.

    It is given out again only once all of the session is gone, and then to a process that leads another.
    """
    try:
        return _began_before(_stat(session), seen_s)
    except (FileNotFoundError, ProcessLookupError):
        return True  # it may have outlived its leader


def _began_before(stat: list[str], seen_s: float) -> bool:
    (up,) = (line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime "))
    began_s = int(up.split()[1]) + int(stat[_BEGAN]) / os.sysconf("SC_CLK_TCK")
    return began_s <= seen_s + _CLOCK_STEPS_S


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()  # the name before it may hold anything


def _all() -> Iterator[list[str]]:
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                yield _stat(int(place.name))
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended meanwhile
