"""Time zones of the airports, and what a clock on an airport's wall means in UTC.

Belongs here: which zone an airport keeps, and the step from clock times to instants. Does not belong here: parsing,
columns of a particular table. Invariant: an airport that is not listed gives null instants, never a guess.

Zones come from ``tzone`` in the package's airports.csv, which lacks four destinations of the flights (BQN, PSE, SJU,
STT; added here). All were checked against the year: scheduled arrival + arrival delay shows ``arr_time`` on the
destination's clock for 327,345 of 327,346 arrivals, and leaves 5 to 235 minutes on the ground beside ``air_time``.
"""

from collections.abc import Callable, Mapping
from typing import Literal

import polars as pl

NEW_YORK = "America/New_York"

_AIRPORTS_OF_ZONE = {
    "America/Anchorage": "ANC",
    "America/Chicago": "AUS BHM BNA DFW DSM HOU IAH MCI MDW MEM MKE MSN MSP MSY OKC OMA ORD SAT STL TUL XNA",
    "America/Denver": "ABQ BZN DEN EGE HDN JAC MTJ SLC",
    "America/Los_Angeles": "BUR LAS LAX LGB OAK PDX PSP SAN SEA SFO SJC SMF SNA",
    "America/New_York": (
        "ACK ALB ATL AVL BDL BGR BOS BTV BUF BWI CAE CAK CHO CHS CLE CLT CMH CRW CVG DAY DCA DTW EWR EYW FLL "
        "GRR GSO GSP IAD ILM IND JAX JFK LEX LGA MCO MHT MIA MVY MYR ORF PBI PHL PIT PVD PWM RDU RIC ROC RSW "
        "SAV SBN SDF SRQ SYR TPA TVC TYS"
    ),
    "America/Phoenix": "PHX",
    "America/Puerto_Rico": "BQN PSE SJU",
    "America/St_Thomas": "STT",
    "Pacific/Honolulu": "HNL",
}
# The three airports of departure and the 105 destinations of 2013 by IATA code.

ZONES: Mapping[str, str] = {code: zone for zone, codes in _AIRPORTS_OF_ZONE.items() for code in codes.split()}
"""IATA code of an airport → IANA time zone."""


def utc_of_local(local: pl.Expr, zone: str, *, hour_utc: pl.Expr) -> pl.Expr:
    """The instant at which clocks in one zone show a date and time.

    Args:
        local: Local date and time (Datetime without zone).
        zone: IANA zone.
        hour_utc: Whole hour (Datetime UTC) that decides which pass is meant where clocks repeat an hour in autumn; the
            first one is taken where it names neither.

    Returns:
        Datetime UTC. A time that clocks skip in spring is counted as if they had not been set forward yet.
    """
    last = _utc(local, zone, ambiguous="latest")
    hour = pl.duration(hours=1)
    return pl.coalesce(
        pl.when(last.dt.truncate("1h") == hour_utc).then(last), _utc(local, zone), _utc(local - hour, zone) + hour
    )


def with_next_on_clock(rows: pl.LazyFrame, *, airport: str, **wanted: tuple[str, str]) -> pl.LazyFrame:
    """Add the first instant after a given one at which the clock of an airport shows a given time.

    Args:
        rows: Any rows.
        airport: Column with the IATA code of the airport whose clock counts.
        **wanted: Per new column the column to start from (Datetime UTC) and the column with the clock time (whole
            minutes after local midnight, 0 to 1440).

    Returns:
        The rows and the new columns (Datetime UTC), null where the start, the clock time or the airport's zone is
        unknown. Of a repeated hour the first pass after the start counts; a time that clocks skip in spring is counted
        as if they had not been set forward yet. A start within the first pass and a time earlier on the clock mean the
        next day, not the second pass.
    """
    zone = pl.col(airport).replace_strict(ZONES, default=None, return_dtype=pl.String)
    # One step per with_columns: an expression that repeats another per zone would make the plan grow with its square.
    rows = rows.with_columns(zone.alias("_zone")).with_columns(
        _per_zone(start, lambda cell, z: cell.dt.convert_time_zone(z).dt.replace_time_zone(None)).alias(f"_from_{name}")
        for name, (start, _) in wanted.items()
    )
    for name, (_, clock) in wanted.items():
        since = pl.col(f"_from_{name}")
        today = since.dt.truncate("1d") + pl.duration(minutes=pl.col(clock))
        rows = rows.with_columns(
            pl.when(today > since).then(today).otherwise(today.dt.offset_by("1d")).alias(f"_to_{name}")
        )
    rows = rows.with_columns(_per_zone(f"_to_{name}", _utc).alias(name) for name in wanted)
    # Not after the start: the first pass of a repeated hour, wanted in the second. Null: skipped. For both, time that
    # passed on the clock is time that passed.
    rows = rows.with_columns(
        pl.when(pl.col(name) > pl.col(start))
        .then(pl.col(name))
        .otherwise(pl.col(start) + (pl.col(f"_to_{name}") - pl.col(f"_from_{name}")))
        for name, (start, _) in wanted.items()
    )
    return rows.drop("_zone", *(f"_{end}_{name}" for end in ("from", "to") for name in wanted))


def _utc(local: pl.Expr, zone: str, ambiguous: Literal["earliest", "latest"] = "earliest") -> pl.Expr:
    # Null where clocks skip the time.
    aware = local.dt.replace_time_zone(zone, ambiguous=ambiguous, non_existent="null")
    return aware.dt.convert_time_zone("UTC")


def _per_zone(column: str, convert: Callable[[pl.Expr, str], pl.Expr]) -> pl.Expr:
    # Polars converts whole columns only, so each zone converts its own rows and sees null elsewhere.
    return pl.coalesce(
        convert(pl.when(pl.col("_zone") == zone).then(pl.col(column)), zone) for zone in _AIRPORTS_OF_ZONE
    )
