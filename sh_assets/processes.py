"""Processes of this machine: whether one that had a number at some time is still there.

Belongs here: asking the system. Does not belong here: which processes a run has (``dagster_health``). Invariant: one is
called gone only if it is; where the system cannot say, it counts as there. Numbers are given out again, so each comes
with a time at which it was known, and with the place where it was given out.
"""

import json
import os
import socket
import struct
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import psutil

SESSIONS_ARE_TOLD = hasattr(socket, "SO_PEERCRED")
"""Whether this system says who listens at a socket."""

_CLOCK_STEPS_S = 60.0
"""By how much the clock of events and that of processes may differ, before a number counts as given out anew."""

_ENDED = frozenset({psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD})

_CREDENTIALS = struct.Struct("3i")
"""What the system says of whoever listens at a socket: process, user, group."""

_ALL_NUMBERS = 0xEFFFFFFC
"""Namespace of process numbers that a Linux machine begins with; that of a container is another."""

_FIRST_PROCESS = 1


@dataclass(frozen=True)
class Place:
    """Where numbers of processes are given out. A host name alone says little: containers share one.

    Attributes:
        host: Name of the machine.
        machine: Id of its installation; empty if it has none.
        boot: Id of the time since it was started; empty if it has none.
        numbers: Namespace of its process numbers; 0 if it has none.
        booted_s: When it was started (Unix seconds), as its clock had it when this was noted.
    """

    host: str
    machine: str
    boot: str
    numbers: int
    booted_s: float

    @classmethod
    def here(cls) -> Self:
        """That of this process."""
        machine, boot = _line(Path("/etc/machine-id")), _line(Path("/proc/sys/kernel/random/boot_id"))
        return cls(socket.gethostname(), machine, boot, _numbers("self") or 0, psutil.boot_time())

    def as_tag(self) -> str:
        """What ``of`` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, tag: str) -> Self | None:
        """That which a tag names; None for one that earlier versions wrote, which was the host's name."""
        return cls(**json.loads(tag)) if tag.startswith("{") else None

    def still_there(self) -> bool | None:
        """Whether its numbers are those of this process, or all its processes are gone; None if that cannot be said.

        Containers have the machine id of their image, so that of two machines may be the same: only outside of them is
        another boot taken for one of the same machine.
        """
        now = Place.here()
        if self.host != now.host or self.machine != now.machine:
            return None
        if self.boot == now.boot:
            return True if self.numbers == now.numbers else None
        return False if self.machine and self.numbers == now.numbers == _ALL_NUMBERS else None

    def stepped_s(self) -> float:
        """By how many seconds the clock was put forward since.

        The system knows when a process began as a time after the machine's start, and adds what it now takes for that.
        A clock put back makes a process look older, which does no harm.
        """
        return max(0.0, psutil.boot_time() - self.booted_s) if self.boot else 0.0


def process_lives(pid: int, seen_s: float, stepped_s: float = 0.0) -> bool:
    """Whether the process that had a number is still there.

    Args:
        pid: Its number.
        seen_s: When it was there (Unix seconds).
        stepped_s: By how much the clock was put forward since.
    """
    try:
        # Threads have numbers too, and the system answers for them as for a process.
        return _goes_on(psutil.Process(pid)) and psutil.pid_exists(pid) and _began_before(pid, seen_s + stepped_s)
    except psutil.NoSuchProcess:
        return _is_hidden(pid)
    except psutil.AccessDenied:
        return True


def session_lives(session: int, seen_s: float, stepped_s: float = 0.0) -> bool:
    """Whether a process of the session that had a number is still there.

    A session is inherited, so it holds whatever its processes have started that did not begin one of its own. Its
    number is given out again only once all of it is gone, and then to a process that leads another.

    Args:
        session: Its number.
        seen_s: When it was there (Unix seconds).
        stepped_s: By how much the clock was put forward since.
    """
    try:
        if not _began_before(session, seen_s + stepped_s):
            return False
    except psutil.NoSuchProcess:
        pass  # it may have outlived its leader
    except psutil.AccessDenied:
        return True
    if _is_hidden(_FIRST_PROCESS):  # and so may be others
        return True
    return any(_session_of(process.pid) == session and _goes_on(process) for process in psutil.process_iter())


def session_behind(path: str) -> int | None:
    """Session of the process that listens at a socket; None where the system does not say, or numbers are others."""
    if not SESSIONS_ARE_TOLD:
        return None
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
            told = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            return _session_here(_CREDENTIALS.unpack(told)[0])
        except OSError:  # it has ended meanwhile
            return None


def _session_here(pid: int) -> int | None:
    """Session of a process; None if its numbers are not those of this one: then it is called 0, or by one of ours."""
    theirs = _numbers(str(pid))
    if pid == 0 or (theirs is not None and theirs != _numbers("self")):
        return None
    return os.getsid(pid) or None


def _numbers(pid: str) -> int | None:
    try:
        return Path("/proc", pid, "ns", "pid").stat().st_ino
    except OSError:  # another system, or somebody else's process
        return None


def _line(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _is_hidden(pid: int) -> bool:
    """Whether a process is there of which the system says nothing more: somebody else's, with ``hidepid``."""
    if pid in psutil.pids():
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        pass
    return False


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
