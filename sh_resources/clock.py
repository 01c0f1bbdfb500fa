"""Clocks: the one place where the current time comes from.

Belongs here: telling the time and waiting for it. Does not belong here: schedules, time zones of feeds. Invariant:
every time is an aware datetime in UTC. Whoever needs the time is handed a clock or, better, the time itself.

There are two: a *clock* is what processes have between them (leases, pauses, when something was published), and goes on
whatever happens. A *calendar* is what vendors have (what is due, when a file arrived). It is the same, unless days of
another time are replayed: then it stands where the replay is, for every process that works on the state folder.
"""

import json
import os
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from sh_core.errors import SettingsError


class Clock(Protocol):
    """Tells the time."""

    def now_utc(self) -> datetime:
        """The current time, aware, in UTC."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The machine's time."""

    def now_utc(self) -> datetime:
        """The current time, aware, in UTC."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


class ManualClock:
    """Time that stands still until it is moved, for tests and drills. Threads may share one."""

    def __init__(self, start: datetime) -> None:
        """Start at a time.

        Args:
            start: An aware datetime.

        Raises:
            ValueError: If it has no time zone.
        """
        if start.utcoffset() is None:
            msg = f"{start!r} has no time zone; start at an aware one, e.g. datetime(2026, 1, 1, tzinfo=UTC)"
            raise ValueError(msg)
        self._now = start.astimezone(UTC)
        self._moving = threading.Lock()

    def now_utc(self) -> datetime:
        """The current time, aware, in UTC."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Move the time forward instead of waiting."""
        self.advance(timedelta(seconds=seconds))

    def advance(self, by: timedelta) -> datetime:
        """Move the time forward.

        Returns:
            The new current time.

        Raises:
            ValueError: If asked to move backward.
        """
        if by < timedelta(0):
            msg = f"a clock cannot be moved backward (by {by})"
            raise ValueError(msg)
        with self._moving:
            self._now += by
            return self._now


class Calendar(Protocol):
    """Tells what day and time it is for vendors."""

    def at(self, now_utc: datetime) -> datetime:
        """The vendors' time, aware, in UTC, when a clock shows a time."""
        ...


class VendorsClock:
    """A clock that shows what a calendar says: when files arrive, and which periods have begun."""

    def __init__(self, clock: Clock, calendar: Calendar) -> None:
        """Join the two."""
        self._clock, self._calendar = clock, calendar

    def now_utc(self) -> datetime:
        """The current time as vendors have it, aware, in UTC."""
        return self._calendar.at(self._clock.now_utc())

    def sleep(self, seconds: float) -> None:
        """Wait, by the clock."""
        self._clock.sleep(seconds)


class ReplayCalendar:
    """The calendar of a state folder: that of the clock, or where a replay has put it.

    A replay writes the time into a file, and all processes read it, each time anew: so days can be replayed in seconds
    under a daemon that runs all the while. Without that file it is the clock's.
    """

    def __init__(self, file: Path) -> None:
        """Keep the replay's time in a file.

        Args:
            file: Need not exist.
        """
        self._file = file

    def at(self, now_utc: datetime) -> datetime:
        """The replay's time; without one, the clock's.

        Raises:
            SettingsError: If the file holds no time.
        """
        try:
            said = self._file.read_text()
        except FileNotFoundError:
            return now_utc
        try:
            found = datetime.fromisoformat(json.loads(said)["now_utc"])
        except (ValueError, KeyError, TypeError) as wrong:
            msg = f"{self._file} holds no time of a replay ({wrong}): delete it to have the present time"
            raise SettingsError(msg) from wrong
        return found.astimezone(UTC)

    def put(self, now_utc: datetime) -> None:
        """Let it be another time for vendors, from now on and until told otherwise.

        Raises:
            ValueError: If the time has no time zone.
        """
        if now_utc.utcoffset() is None:
            msg = f"{now_utc!r} has no time zone"
            raise ValueError(msg)
        temporary = self._file.with_name(f".{self._file.name}.{os.getpid()}")
        temporary.write_text(json.dumps({"now_utc": now_utc.astimezone(UTC).isoformat()}))
        temporary.replace(self._file)

    def forward(self, now_utc: datetime) -> None:
        """Let it be that time for vendors, unless it is later already: two replays do not set each other back."""
        if not self._file.exists() or self.at(now_utc) < now_utc:
            self.put(now_utc)

    def release(self) -> None:
        """Let it be the clock's time again."""
        self._file.unlink(missing_ok=True)
