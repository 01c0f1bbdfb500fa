"""What follows from the staged tables, as DuckDB SQL: the joined table, the marts and the features, and what they need.

Belongs here: one statement per table, in the order in which they build on each other. Does not belong here: reading the
package's files and staging the flights and the weather (``independent``, which runs these statements).
Invariant: every statement reads tables made by earlier ones or by ``independent``, and nothing else.

``micro`` rounds to 1e-6: the float times a million to the nearest integer, halves to even. Halves do occur. In means
and shares over 128 flights they are exact in binary, so there is one answer. In the coordinates of 24 airports, none of
them a destination, they are not: HQU and WBW change by 1e-6 if something else than the scaled float is rounded.
"""

REFERENCES = """
    CREATE TABLE stg_planes AS
    SELECT tailnum, year::BIGINT AS year_built, type, manufacturer, model, engines::BIGINT AS engines,
        seats::BIGINT AS seats, speed::BIGINT AS cruise_speed_mph, engine
    FROM planes;

    CREATE TABLE stg_airports AS
    SELECT faa AS airport, name, micro(lat::DOUBLE) AS lat_deg, micro(lon::DOUBLE) AS lon_deg,
        alt::BIGINT AS altitude_ft, round_even(tz::DOUBLE, 2) AS utc_offset_h, dst, tzone AS zone
    FROM airports;

    CREATE TABLE stg_airlines AS SELECT carrier, rtrim(name, e' \\t\\r') AS name FROM airlines;
"""
"""As in the package: 'U' in ``dst`` says that the rule is unknown and stays; an unknown ``zone`` is null."""

INT_FLIGHTS_WEATHER = """
    CREATE TABLE int_flights_weather AS
    WITH departures AS (
        SELECT DISTINCT origin, date, sched_dep_utc, unnest([date, date - 1]) AS reported_on FROM stg_flights
    ), latest AS (
        SELECT d.origin, d.date, sched_dep_utc, max(observed_utc) AS observed_utc
        FROM departures d JOIN stg_weather w ON w.origin = d.origin AND w.date = d.reported_on
            AND observed_utc BETWEEN sched_dep_utc - to_minutes(180) AND sched_dep_utc
        GROUP BY ALL
    )
    SELECT f.date, f.origin, carrier, flight, sched_dep_utc, observed_utc,
        date_diff('minute', observed_utc, sched_dep_utc) AS weather_age_min,
        temp_f, dewp_f, humid_pct, wind_dir_deg, wind_speed_mph, wind_gust_mph, precip_in, pressure_mb, visib_mi
    FROM stg_flights f LEFT JOIN latest USING (origin, date, sched_dep_utc)
        LEFT JOIN stg_weather w USING (origin, observed_utc)
"""

MART_DAILY_DELAYS = """
    CREATE TABLE mart_daily_delays AS
    SELECT date, origin, carrier, count(*) AS flights, count(*) FILTER (cancelled) AS cancelled,
        count(*) FILTER (dep_delay_min >= 15) AS delayed_15,
        ratio(sum(dep_delay_min), count(dep_delay_min)) AS dep_delay_mean_min,
        ratio(sum(arr_delay_min), count(arr_delay_min)) AS arr_delay_mean_min
    FROM stg_flights GROUP BY ALL
"""

MART_ROUTE_ROLLING_7D = """
    CREATE TABLE mart_route_rolling_7d AS
    -- A flight counts on its day and on the six days after it.
    SELECT date + after::INT AS date, origin, dest, count(*) AS flights_7d,
        ratio(sum(dep_delay_min), count(dep_delay_min)) AS dep_delay_mean_7d_min
    FROM stg_flights CROSS JOIN range(7) days(after)
    WHERE date + after::INT <= DATE '2013-12-31'
    GROUP BY ALL
"""

MART_MONTHLY_PUNCTUALITY = """
    CREATE TABLE mart_monthly_punctuality AS
    SELECT date_trunc('month', date)::DATE AS month, carrier, count(*) AS flights,
        count(*) FILTER (cancelled) AS cancelled, count(arr_delay_min) AS arrived,
        count(*) FILTER (arr_delay_min < 15) AS on_time, ratio(on_time, arrived) AS on_time_share
    FROM stg_flights GROUP BY ALL
"""

MART_AIRCRAFT_UTILISATION = """
    CREATE TABLE mart_aircraft_utilisation AS
    SELECT date, tailnum, count(*) AS flights, coalesce(sum(air_time_min), 0)::BIGINT AS air_time_min,
        any_value(seats) AS seats, sum(seats * distance_mi)::BIGINT AS seat_miles
    FROM stg_flights LEFT JOIN stg_planes USING (tailnum)
    WHERE tailnum IS NOT NULL AND NOT cancelled
    GROUP BY date, tailnum
"""

FEAT_DEPARTURE_DELAY = """
    CREATE TABLE feat_departure_delay AS
    SELECT f.date, f.origin, f.carrier, f.flight, f.dest, f.sched_dep_utc, isodow(f.date)::BIGINT AS weekday,
        -- What the clock shows: on the two days that a clock is changed, not the minutes that have passed.
        60 * hour(timezone('America/New_York', f.sched_dep_utc))
            + minute(timezone('America/New_York', f.sched_dep_utc)) AS sched_dep_local_min,
        date_diff('minute', f.sched_dep_utc, sched_arr_utc) AS sched_duration_min, distance_mi,
        temp_f, wind_speed_mph, precip_in, visib_mi, weather_age_min,
        lat_deg AS dest_lat_deg, lon_deg AS dest_lon_deg,
        flights_7d AS route_flights_7d, dep_delay_mean_7d_min AS route_dep_delay_mean_7d_min,
        dep_delay_mean_min AS carrier_dep_delay_mean_1d_min, ratio(d.cancelled, flights) AS carrier_cancelled_share_1d
    FROM stg_flights f
        JOIN int_flights_weather w USING (date, origin, carrier, flight)
        LEFT JOIN stg_airports a ON a.airport = f.dest
        LEFT JOIN mart_route_rolling_7d r ON r.date = f.date - 1 AND r.origin = f.origin AND r.dest = f.dest
        LEFT JOIN mart_daily_delays d ON d.date = f.date - 1 AND d.origin = f.origin AND d.carrier = f.carrier
"""

IN_ORDER = (
    REFERENCES,
    INT_FLIGHTS_WEATHER,
    MART_DAILY_DELAYS,
    MART_ROUTE_ROLLING_7D,
    MART_MONTHLY_PUNCTUALITY,
    MART_AIRCRAFT_UTILISATION,
    FEAT_DEPARTURE_DELAY,
)
"""All of them, each after what it reads."""
