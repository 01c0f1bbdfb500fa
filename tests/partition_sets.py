"""Partition sets and mappings, drawn: for the tests that compare mappings with Dagster's, and links with mappings.

Sets overlap or not, lie over leap years, the ends of years and both changes of a clock, in the past and in what is to
come, with and without end; their clocks are those of half and quarter hours too.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from hypothesis import strategies as st

from sh_core.mapping import All, Dimensions, Keys, Last, PartitionMapping, Window
from sh_core.partitions import Daily, Hourly, Monthly, Multi, Partitions, Periods, Static, Weekly

NOW = datetime(2030, 7, 17, 12, tzinfo=UTC)

ZONES = ("UTC", "America/New_York", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe")

CHANGES = (  # of a clock, in one of the zones: forward and back
    date(2030, 3, 10),
    date(2029, 11, 4),
    date(2030, 3, 31),
    date(2029, 10, 28),
    date(2029, 10, 7),
    date(2030, 4, 7),
    date(2024, 11, 3),
)

LATEST = date(2030, 7, 15)
"""Beginning of a set without end. Dagster shows the first period of one that begins with the next period; we do once it
has begun."""

MINUTES = st.sampled_from((0, 0, 15, 30))

days = st.one_of(st.dates(date(2027, 11, 1), date(2030, 7, 17)), st.sampled_from(CHANGES))

CALENDAR: tuple[type[Daily] | type[Weekly] | type[Monthly], ...] = (Daily, Weekly, Monthly)

KEYS = ("ADK", "BTV", "CLE", "DCA", "EWR")


@st.composite
def hours(draw: st.DrawFn, zones: tuple[str, ...] = ZONES) -> Hourly:
    """Hours of up to three days, or without end."""
    clock, minute = draw(st.sampled_from(zones)), draw(MINUTES)
    if clock == "Australia/Lord_Howe":  # whose clock is changed by half an hour
        clock = "Asia/Kathmandu"
    if draw(st.booleans()):  # Dagster takes its time over years of hours
        return Hourly(draw(st.dates(date(2030, 6, 1), LATEST)), timezone=clock, minute_offset=minute)
    day = draw(days)
    return Hourly(day, day + timedelta(days=draw(st.integers(0, 2))), timezone=clock, minute_offset=minute)


@st.composite
def periods(
    draw: st.DrawFn, zones: tuple[str, ...] = ZONES, kinds: Sequence[type[Periods]] = (Hourly, *CALENDAR)
) -> Periods:
    """A set of up to 40 periods, or without end."""
    kind = draw(st.sampled_from(kinds))
    if kind is Hourly:
        return draw(hours(zones))
    endless, day = draw(st.booleans()), draw(days)
    some = kind(date(2024, 1, 1))
    assert not isinstance(some, Hourly)
    number = some.number_of(min(day, LATEST) if endless else day)
    return type(some)(
        some.first_day(number),
        None if endless else some.last_day(some.first_day(number + draw(st.integers(0, 40)))),
        timezone=draw(st.sampled_from(zones)),
        minute_offset=draw(MINUTES),
        hour_offset=draw(st.sampled_from((0, 0, 1, 2, 6, 23))),
    )


@st.composite
def windows(draw: st.DrawFn) -> Window:
    first = draw(st.integers(-10, 10))
    return Window(first, draw(st.integers(first, 10)))


@st.composite
def lists(draw: st.DrawFn, column: str = "airport") -> Static:
    """A list of keys in some order."""
    return Static(draw(st.lists(st.sampled_from(KEYS), min_size=1, unique=True)), column=column)


@st.composite
def key_by_key(draw: st.DrawFn, downstream: Static, upstream: Static) -> Keys:
    read = st.lists(st.sampled_from(upstream.of), min_size=1, unique=True)
    return Keys({key: draw(read) for key in downstream.of})


Reading = tuple[PartitionMapping, Partitions, Partitions]
"""A mapping, who reads, and what is read."""


@st.composite
def between_periods(draw: st.DrawFn) -> Reading:
    return draw(windows()), draw(periods()), draw(periods())


@st.composite
def between_lists(draw: st.DrawFn) -> Reading:
    mine, theirs = draw(lists()), draw(lists())
    if set(mine.of) <= set(theirs.of) and draw(st.booleans()):
        return Window(), mine, theirs
    return draw(key_by_key(mine, theirs)), mine, theirs


@st.composite
def of_the_ends(draw: st.DrawFn) -> Reading:
    mapping: PartitionMapping = All() if draw(st.booleans()) else Last()
    return mapping, draw(st.one_of(periods(), lists())), draw(st.one_of(periods(), lists(), combinations()))


@st.composite
def between_one_and_two(draw: st.DrawFn) -> Reading:
    """The same day or key of two dimensions, or another sort of period that overlaps."""
    day, airport = draw(periods(kinds=CALENDAR)), draw(lists())
    both, other = Multi(day=day, airport=airport), draw(periods())
    return draw(
        st.sampled_from(
            [
                (Window(), day, both),
                (Window(), airport, both),
                (Window(), other, both),
                (Window(), both, day),
                (Window(), both, airport),
                (draw(windows()), both, other),
            ]
        )
    )


@st.composite
def between_twos(draw: st.DrawFn) -> Reading:
    """Dimensions that both have, read in some way, and dimensions that only one of them has."""
    hows: dict[str, Window | All | Last | Keys] = {}
    mine = Multi(day=draw(periods(kinds=CALENDAR)), airport=draw(lists()))
    airport, theirs, other = mine.dimensions["airport"], draw(lists()), draw(periods(kinds=CALENDAR))
    assert isinstance(airport, Static)
    if not set(airport.of) <= set(theirs.of) or draw(st.booleans()):
        hows["airport"] = draw(st.one_of(key_by_key(airport, theirs), st.just(All())))
    if draw(st.booleans()):
        return Dimensions(**hows), mine, Multi(airport=theirs, when=other)
    if draw(st.booleans()):
        hows["day"] = draw(st.one_of(windows(), st.just(All()), st.just(Last())))
    return Dimensions(**hows), mine, Multi(airport=theirs, day=other)


def readings() -> st.SearchStrategy[Reading]:
    """Every kind of mapping that works."""
    return st.one_of(between_periods(), between_lists(), of_the_ends(), between_one_and_two(), between_twos())


@st.composite
def combinations(draw: st.DrawFn) -> Multi:
    return Multi(day=draw(periods(kinds=CALENDAR)), airport=draw(lists()))
