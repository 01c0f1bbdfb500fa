"""Clocks: the one place where the current time comes from.

Belongs here: telling the time and waiting for it. Does not belong here: schedules, time zones of feeds. Invariant:
every time is an aware datetime in UTC. Whoever needs the time is handed a clock or, better, the time itself.
"""

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


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
