"""Suspects by name: as cheap the thousandth time as the first."""

import tracemalloc
from datetime import UTC, date, datetime, timedelta

import numpy as np

from sh_core.partitions import Hourly
from sh_core.suspects import named


def test_a_tick_a_second_for_an_hour_remembers_no_more_than_one_tick() -> None:
    """The incident: ten years of hours, all their names kept anew for each tick; the code server grows by 700 MB."""
    hours, now = Hourly(date(2014, 1, 1)), datetime(2024, 1, 1, tzinfo=UTC)
    flags = np.zeros(hours.size(now), np.bool_)
    flags[3] = True
    assert named(hours, now, flags) == [hours.declared(now)[3]]
    tracemalloc.start()
    try:
        for second in range(200):
            named(hours, now + timedelta(seconds=second), flags)
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown < 5_000_000
