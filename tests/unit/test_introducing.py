"""The incident: a page that says a table reads the day itself, while it looks back a week."""

from datetime import date

import pytest

from sh_assets.flights import TABLES
from sh_assets.introducing import introduction, when
from sh_core.graph import Graph
from sh_core.mapping import Window
from sh_core.partitions import Daily, Monthly, Partitions, Unpartitioned, Weekly

DAYS, WEEKS, MONTHS = (kind(date(2024, 1, 1)) for kind in (Daily, Weekly, Monthly))
WHOLE = Unpartitioned()
GRAPH = Graph.of(TABLES)


@pytest.mark.parametrize(
    ("window", "downstream", "upstream", "says"),
    [
        (Window(), DAYS, DAYS, "of the same day"),
        (Window(-1, -1), DAYS, DAYS, "of the day before"),
        (Window(-1, 0), DAYS, DAYS, "of the day before and the day itself"),
        (Window(-6, 0), DAYS, DAYS, "of the 6 days before and the day itself"),
        (Window(-7, -1), DAYS, DAYS, "of the 7 days before"),
        (Window(-1, 1), WEEKS, WEEKS, "of the weeks -1 to +1"),
        (Window(-3, -2), MONTHS, MONTHS, "of the months -3 to -2"),
        (Window(), MONTHS, DAYS, "of the days of the month"),
        (Window(), WEEKS, DAYS, "of the days of the week"),
        (Window(), DAYS, MONTHS, "of the month of the day"),
        (Window(-7, 0), MONTHS, DAYS, "of the days of the month, its beginning moved by -7 and its end by +0 days"),
        (Window(), DAYS, WHOLE, "of the whole table"),
        (Window(), WHOLE, WHOLE, "of the whole table"),
    ],
)
def test_a_window_in_words(window: Window, downstream: Partitions, upstream: Partitions, says: str) -> None:
    assert when(window, downstream, upstream) == says


def test_a_table_introduces_itself() -> None:
    said = introduction(GRAPH["feat_departure_delay"], GRAPH)
    assert said.startswith("One row per scheduled flight")
    for sentence in (
        "`lat_deg`, `lon_deg` of the whole table, only rows that `dest` of `stg_flights` names",
        "[mart_route_rolling_7d](/assets/mart_route_rolling_7d): all columns of the day before, may be missing",
        "one of them withholds a partition",
    ):
        assert sentence in said
    joined = introduction(GRAPH["int_flights_weather"], GRAPH)
    assert "of the day before and the day itself, at least 1 must be there" in joined
    flights = introduction(GRAPH["stg_flights"], GRAPH)
    assert "[stg_airports](/assets/stg_airports), only to see whether `dest` occurs there" in flights
    assert "``" not in flights


def test_a_raw_table_says_that_it_is_text_as_delivered() -> None:
    """It had the words of its feed, so the two pages looked the same."""
    said = introduction(GRAPH["raw_planes"], GRAPH)
    assert "As delivered: text, each row with its file and line." in said
    assert "**Reads:**" not in said
