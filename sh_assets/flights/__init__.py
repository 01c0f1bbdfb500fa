"""Flights out of New York in 2013, and the weather there: the project's real data.

Belongs here: feeds, contracts and transforms of this domain. Does not belong here: files, the store, Dagster.
Invariant: ``TABLES`` is complete: every table that one of them reads is in it.

    feeds.py       six vendors' deliveries, one CSV per airport and local day; three registers, whole
      ↓            raw_…: text as it came
    staging.py     stg_flights, stg_weather: types, units, UTC instants (zones.py: what a wall clock means in UTC)
    reference.py   stg_planes, stg_airports, stg_airlines: whole snapshots, not cut into days
      ↓
    joined.py      int_flights_weather: each flight with the latest report, of its day or the night before
      ↓
    marts.py       per day, per route over seven days, per aircraft, per carrier and month
      ↓
    features.py    feat_departure_delay: what was known of a flight before it left; rolling figures end yesterday

    contracts.py   what must hold for a flight or a report to be seen; the other modules have their contracts with them
"""

from sh_assets.flights.features import feat_departure_delay
from sh_assets.flights.feeds import FLIGHT_FEEDS, REFERENCE_FEEDS, WEATHER_FEEDS
from sh_assets.flights.joined import int_flights_weather
from sh_assets.flights.marts import (
    mart_aircraft_utilisation,
    mart_daily_delays,
    mart_monthly_punctuality,
    mart_route_rolling_7d,
)
from sh_assets.flights.reference import stg_airlines, stg_airports, stg_planes
from sh_assets.flights.staging import stg_flights, stg_weather
from sh_core.table import Table, raw_table

TABLES: tuple[Table, ...] = (
    *(raw_table(feed, group="raw") for feed in REFERENCE_FEEDS),
    *(raw_table(feed, group="raw") for feed in FLIGHT_FEEDS),
    *(raw_table(feed, group="raw") for feed in WEATHER_FEEDS),
    stg_planes,
    stg_airports,
    stg_airlines,
    stg_flights,
    stg_weather,
    int_flights_weather,
    mart_daily_delays,
    mart_route_rolling_7d,
    mart_monthly_punctuality,
    mart_aircraft_utilisation,
    feat_departure_delay,
)
"""Every table of the domain, inputs first."""
