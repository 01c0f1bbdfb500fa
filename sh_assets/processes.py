"""Processes of this machine: whether one that had a number at some time is still there.

Belongs here: asking the system. Does not belong here: which processes a run has (``dagster_runs``). Invariant: one is
called gone only if it is; where the system cannot say, it counts as there. Numbers are given out again, so each comes
with a time at which it was known.
"""

import os
import socket
import struct

import psutil

_CLOCK_STEPS_S = 60.0
"""By how much the clock of events and that of processes may differ, before a number counts as given out anew."""

_ENDED = frozenset({psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD})

_CREDENTIALS = struct.Struct("3i")
"""What the system says of whoever listens at a socket: process, user, group."""


def process_lives(pid: int, seen_s: float) -> bool:
    """Whether the process that had a number at some time (Unix seconds) is still there."""
    try:
        return _goes_on(psutil.Process(pid)) and _began_before(pid, seen_s)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def session_lives(session: int, seen_s: float) -> bool:
    """Whether a process of the session that had a number at some time (Unix seconds) is still there.

    A session is inherited, so it holds whatever its processes have started that did not begin one of its own. Its
    number is given out again only once all of it is gone, and then to a process that leads another.
    """
    try:
        if not _began_before(session, seen_s):
            return False
    except psutil.NoSuchProcess:
        pass  # it may have outlived its leader
    except psutil.AccessDenied:
        return True
    return any(_session_of(process.pid) == session and _goes_on(process) for process in psutil.process_iter())


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


def _goes_on(process: psutil.Process) -> bool:
    """Whether there is more left of a process than its number."""
    try:
        return process.status() not in _ENDED
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def _began_before(pid: int, seen_s: float) -> bool:
    return psutil.Process(pid).create_time() <= seen_s + _CLOCK_STEPS_S


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):  # it has ended meanwhile, or is nothing of ours
        return None
