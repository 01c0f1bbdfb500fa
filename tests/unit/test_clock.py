from datetime import UTC, datetime, timedelta, timezone

import pytest

from sh_resources.clock import Clock, ManualClock, SystemClock

START = datetime(2013, 3, 10, 7, 30, tzinfo=UTC)


@pytest.mark.parametrize("clock", [SystemClock(), ManualClock(START)])
def test_a_clock_tells_aware_utc_and_never_goes_back(clock: Clock) -> None:
    first, second = clock.now_utc(), clock.now_utc()
    assert first.tzinfo is UTC
    assert first <= second


def test_the_system_clock_tells_the_machines_time() -> None:
    assert abs(SystemClock().now_utc() - datetime.now(UTC)) < timedelta(seconds=5)


def test_a_manual_clock_moves_only_when_told() -> None:
    clock = ManualClock(START)
    assert clock.now_utc() == START
    assert clock.advance(timedelta(hours=1, seconds=0.5)) == clock.now_utc() == START + timedelta(seconds=3600.5)


def test_a_manual_clock_keeps_utc_wherever_it_starts() -> None:
    clock = ManualClock(START.astimezone(timezone(timedelta(hours=-5))))
    assert clock.now_utc() == START
    assert clock.now_utc().tzinfo is UTC


def test_a_manual_clock_refuses_naive_times_and_going_back() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        ManualClock(datetime(2013, 3, 10, 7, 30))  # noqa: DTZ001 -- what is refused
    with pytest.raises(ValueError, match="backward"):
        ManualClock(START).advance(timedelta(seconds=-1))


def test_waiting_takes_its_time() -> None:
    manual, system = ManualClock(START), SystemClock()
    manual.sleep(90)
    assert manual.now_utc() == START + timedelta(seconds=90)
    before = system.now_utc()
    system.sleep(0.02)
    assert system.now_utc() - before >= timedelta(seconds=0.015)
