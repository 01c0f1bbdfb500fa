"""Flights out of New York in 2013, and the weather there: the project's real data.

Belongs here: feeds, contracts and transforms of this domain. Does not belong here: files, the store, Dagster.
Invariant: ``TABLES`` is complete: every table that one of them reads is in it.

    feeds.py       six vendors' deliveries, one CSV per airport and local day
      ↓            raw_flights_{ewr,jfk,lga}, raw_weather_{ewr,jfk,lga}: text as it came
    staging.py     stg_flights, stg_weather: types, units, UTC instants (zones.py: what a wall clock means in UTC)
      ↓
    marts.py       mart_daily_delays: counts and means per day, airport, carrier
    contracts.py   what must hold for a row of any of them to be seen
"""

from sh_assets.flights.feeds import FLIGHT_FEEDS, WEATHER_FEEDS
from sh_assets.flights.marts import mart_daily_delays
from sh_assets.flights.staging import stg_flights, stg_weather
from sh_core.table import Table, raw_table

TABLES: tuple[Table, ...] = (
    *(raw_table(feed, group="flights") for feed in (*FLIGHT_FEEDS, *WEATHER_FEEDS)),
    stg_flights,
    stg_weather,
    mart_daily_delays,
)
"""Every table of the domain, inputs first."""
