"""Supervising: processes that are kept running until they are no longer wanted.

Belongs here: starting them, starting them anew when they die, ending them. Does not belong here: which processes
(``serve``), how one notices that its supervisor is gone (``leashed``). Invariant: none of them, and nothing that one of
them has started, outlives the supervisor; and a process that cannot be kept running is given up after a bounded number
of starts, with all others.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from sh_core.errors import SelfHealError

GRACE_S = 15.0
"""How long services may take to end their own processes before they are killed."""

STEADY_S = 60.0
"""A service that ran for so long has a fresh start: what it died of before counts no more."""

STARTS = 6
"""Starts in a row of which none was steady; past it a person is asked."""

FIRST_PAUSE_S = 1.0
"""Before the second start; each further pause is twice as long."""

SILENT_S = 10.0
"""A service that answered once and has not for so long is dead, whatever its process does."""

_DYING_S = 5.0
"""How long what was killed may take to be gone."""

_ASK_EVERY_S = 2.0
_POLL_S = 0.1


class ServiceError(SelfHealError):
    """A service cannot be kept running."""


@dataclass(frozen=True)
class Service:
    """A process to be kept running.

    Attributes:
        name: As people call it.
        command: Module and its arguments.
        answers: Whether it does its work; None where it is enough that the process is there.
        start_s: Within how many seconds it answers for the first time.
    """

    name: str
    command: tuple[str, ...]
    answers: Callable[[], bool] | None = None
    start_s: float = 120.0


@dataclass
class _Kept:
    """One service and its present process, if it has one."""

    service: Service
    process: "subprocess.Popen[bytes] | None" = None
    started_s: float = 0.0
    start_at_s: float = 0.0
    starts: int = 0
    answered_s: float | None = None
    asked_s: float = 0.0


@dataclass
class Supervisor:
    """Keeps services running. A context manager: on the way out it ends them all.

    Attributes:
        environment: Of every service.
        folder: Their working directory.
        say: Told what happened, in one line.
        hurry: Asked while services are ending; once it is true they are killed.
    """

    environment: Mapping[str, str]
    folder: Path
    say: Callable[[str], None]
    hurry: Callable[[], bool] = lambda: False
    _kept: dict[str, _Kept] = field(default_factory=dict)

    def keep(self, service: Service) -> None:
        """Start a service and keep it running from now on."""
        kept = self._kept[service.name] = _Kept(service)
        self._start(kept)

    def ready(self, service: Service) -> bool:
        """Whether its present process has answered, or is there at least where it cannot be asked."""
        kept = self._kept[service.name]
        return kept.process is not None and (service.answers is None or kept.answered_s is not None)

    def look(self) -> None:
        """Look at each service once, and start anew those that died.

        Raises:
            ServiceError: If one of them died too often.
        """
        for kept in self._kept.values():
            if kept.process is None:
                if time.monotonic() >= kept.start_at_s:
                    self._start(kept)
                continue
            if why := self._trouble(kept, kept.process):
                self._bury(kept, kept.process, why)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End all services, at once, and kill what is left of them after a while."""
        running = [kept.process for kept in self._kept.values() if kept.process is not None]
        for process in running:
            process.terminate()
        until = time.monotonic() + GRACE_S
        while any(p.poll() is None for p in running) and time.monotonic() < until and not self.hurry():
            time.sleep(_POLL_S)
        for process in running:
            _kill_group(process)

    def _start(self, kept: _Kept) -> None:
        # A session of its own: started in the background of a shell it would ignore SIGINT, and Ctrl-C in a terminal
        # would reach every process at once, which then complain about each other. Nothing is ever written into the
        # pipe: that it is closed, by us or by our death, is the word.
        kept.process = subprocess.Popen(  # noqa: S603  # services are the caller's own
            [sys.executable, "-m", "sh_defs.leashed", *kept.service.command],
            env=dict(self.environment),
            cwd=self.folder,
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        kept.started_s = time.monotonic()
        kept.answered_s, kept.starts = None, kept.starts + 1

    def _trouble(self, kept: _Kept, process: "subprocess.Popen[bytes]") -> str | None:
        """What is wrong with a service, if anything is."""
        code, now_s = process.poll(), time.monotonic()
        if code is not None:
            return f"was killed ({signal.Signals(-code).name})" if code < 0 else f"ended (exit code {code})"
        if kept.service.answers is None or now_s < kept.asked_s + _ASK_EVERY_S:
            return None
        answers = kept.service.answers()
        kept.asked_s = now_s = time.monotonic()
        if answers:
            kept.answered_s = now_s
        elif kept.answered_s is None and now_s > kept.started_s + kept.service.start_s:
            return f"has not answered within {kept.service.start_s:.0f} s"
        elif kept.answered_s is not None and now_s > kept.answered_s + SILENT_S:
            return f"does not answer any more, for {SILENT_S:.0f} s"
        return None

    def _bury(self, kept: _Kept, process: "subprocess.Popen[bytes]", why: str) -> None:
        """Kill what is left of a service, and decide when it is started anew."""
        _kill_group(process)
        kept.process = None
        if time.monotonic() > kept.started_s + STEADY_S:
            kept.starts = 0
        if kept.starts >= STARTS:
            msg = f"the {kept.service.name} {why}, {kept.starts} times in a row: what it said of that stands above"
            raise ServiceError(msg)
        pause_s = FIRST_PAUSE_S * 2 ** max(0, kept.starts - 1)
        kept.start_at_s = time.monotonic() + pause_s
        self.say(f"The {kept.service.name} {why}. It is started anew in {pause_s:.0f} s.")


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    """Kill a service with all that it has started, dead or alive itself."""
    until = time.monotonic() + _DYING_S
    with suppress(ProcessLookupError):  # all of them are gone
        while time.monotonic() < until:
            os.killpg(process.pid, signal.SIGKILL)
            process.poll()
            time.sleep(_POLL_S / 10)
    process.wait()
    if process.stdin is not None:
        process.stdin.close()
