"""The changes (a) to (g), as data that every contender can be given.

Belongs here: which file is delivered with which bytes, which line of code is edited how, and the folder of a case in
which a contender finds both. Does not belong here: what a contender does about it. Invariant: a change depends on the
deliveries and the number of days only, never on a contender; which row, day or aircraft it concerns is drawn by a rule
said beside it, not picked.
"""

import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from sh_core.partitions import WHOLE
from sh_drills.replay import Replay

HERE = Path(__file__).parent
CHAIN = "peers_chain"
"""Name under which a case's copy of ``chain.py`` is imported; the same in every case, as code versions hold names."""

FIRST = date(2013, 1, 1)
REGISTER = "planes"
AIRPORTS = ("ewr", "jfk", "lga")
FEWEST, MOST = 5, 365
"""Days of the chain: (a) needs an old one, and 2013 has no more."""

DAILY_FEEDS = tuple(f"flights_{airport}" for airport in AIRPORTS)


@dataclass(frozen=True)
class Delivery:
    """One file.

    Attributes:
        feed: Its folder in the landing zone.
        partition: Day, or ``all`` for the register.
        content: The whole file.
    """

    feed: str
    partition: str
    content: str

    @property
    def path(self) -> str:
        """Where it lands, below the landing zone."""
        name = self.feed if self.partition == WHOLE else f"{self.feed}_{self.partition}"
        return f"{self.feed}/{name}.csv"


@dataclass(frozen=True)
class Edit:
    """One edit of code: in this project's chain, and in the SQL of the same table.

    Attributes:
        table: Whose code.
        python: What stands there, and what replaces it.
        sql: The same in ``sqlmesh_project/models/<table>.sql``.
        by_hand: Code version that somebody would write where versions are kept by hand; None if they would leave it.
    """

    table: str
    python: tuple[str, str]
    sql: tuple[str, str]
    by_hand: str | None


@dataclass(frozen=True)
class Change:
    """One thing that happens to a chain that is complete and at rest.

    Attributes:
        name: A letter.
        short: A word for it.
        title: What it is, for people.
        before: Files that had been delivered, and taken in, since the first build.
        delivery: What is delivered now.
        edit: What is edited now.
    """

    name: str
    short: str
    title: str
    before: tuple[Delivery, ...] = ()
    delivery: Delivery | None = None
    edit: Edit | None = None

    @property
    def label(self) -> str:
        """Heading of its column."""
        return f"{self.name} {self.short}"


@dataclass(frozen=True)
class Deliveries:
    """The chain's first files.

    Attributes:
        days: How many days, from the first of January 2013.
        files: Every file, the register first.
    """

    days: int
    files: tuple[Delivery, ...]

    @classmethod
    def load(cls, days: int) -> "Deliveries":
        """Real deliveries (about 1.5 s).

        Args:
            days: At least 5, at most 365.

        Raises:
            ValueError: If it is another number.
        """
        if not FEWEST <= days <= MOST:
            raise ValueError(f"the chain takes {FEWEST} to {MOST} days, not {days}")
        replay = Replay.load()
        register = Delivery(REGISTER, WHOLE, replay.snapshots[REGISTER].decode())
        daily = (
            Delivery(feed, day.isoformat(), replay.files[feed, day].decode())
            for day in (FIRST + timedelta(days=n) for n in range(days))
            for feed in DAILY_FEEDS
        )
        return cls(days, (register, *daily))

    def file(self, feed: str, partition: str) -> Delivery:
        """One of them."""
        return next(f for f in self.files if (f.feed, f.partition) == (feed, partition))


def changes(first: Deliveries) -> list[Change]:
    """(a) to (g), for these deliveries.

    The old day is a quarter into the days, that of (c) a third.
    """
    old = first.file("flights_jfk", (FIRST + timedelta(days=first.days // 4)).isoformat())
    other = first.file("flights_jfk", (FIRST + timedelta(days=first.days // 3)).isoformat())
    restated, register = _late(old), first.file(REGISTER, WHOLE)
    return [
        Change("a", "row", "one restated row of an old JFK day", delivery=restated),
        Change("b", "again", "the same file delivered again", delivery=old),
        Change("c", "unread", "a restated column nobody reads", delivery=_longer(other)),
        Change(
            "d", "seats", "one aircraft's seats corrected", delivery=_corrected(register, _middling_aircraft(first))
        ),
        Change("e", "comment", "a changed comment", edit=COMMENT),
        Change("f", "threshold", "a changed threshold in a mart", edit=THRESHOLD),
        Change("g", "rollback", "a rollback of (a)", before=(restated,), delivery=old),
    ]


THRESHOLD = Edit(
    "mart_daily",
    python=("LATE_MIN = 15\n", "LATE_MIN = 30\n"),
    sql=("dep_delay_min >= 15", "dep_delay_min >= 30"),
    by_hand="2",
)
COMMENT = Edit(
    "mart_daily",
    python=(
        '    return int_flights_planes.group_by("date", "carrier").agg(\n',
        '    # Cancelled flights have no delay.\n    return int_flights_planes.group_by("date", "carrier").agg(\n',
    ),
    sql=("  count(*) FILTER", "  -- Cancelled flights have no delay.\n  count(*) FILTER"),
    by_hand=None,
)

# ---- what the rows become


def _late(file: Delivery) -> Delivery:
    """The first flight of the file that left on time is said to have left an hour late."""
    return _with_cell(file, "dep_delay", lambda cells: int(cells["dep_delay"]) <= 0, "60")


def _longer(file: Delivery) -> Delivery:
    """The first flight of the file that has an air time gets one of 99 minutes."""
    return _with_cell(file, "air_time", lambda cells: cells["air_time"] != "99", "99")


def _corrected(register: Delivery, aircraft: str) -> Delivery:
    return _with_cell(register, "seats", lambda cells: cells["tailnum"] == aircraft, "7")


def _with_cell(file: Delivery, column: str, wanted: Any, value: str) -> Delivery:  # noqa: ANN401
    header, *lines = file.content.splitlines()
    names = header.split(",")
    for number, line in enumerate(lines):
        cells = line.split(",")
        if cells[names.index(column)] != "NA" and wanted(dict(zip(names, cells, strict=True))):
            cells[names.index(column)] = value
            lines[number] = ",".join(cells)
            return Delivery(file.feed, file.partition, "\n".join((header, *lines, "")))
    raise LookupError(f"{file.path} has no row to restate")


def _middling_aircraft(first: Deliveries) -> str:
    """Of the registered aircraft that are scheduled within these days, the one in the middle by number of days."""
    registered = {line.split(",")[0] for line in first.file(REGISTER, WHOLE).content.splitlines()[1:]}
    flown: Counter[str] = Counter()
    days: dict[str, set[str]] = {}
    for file in first.files[1:]:
        header, *lines = file.content.splitlines()
        column = header.split(",").index("tailnum")
        for line in lines:
            days.setdefault(line.split(",")[column], set()).add(file.partition)
    flown.update({aircraft: len(on) for aircraft, on in days.items() if aircraft in registered})
    ordered = sorted(flown, key=lambda aircraft: (flown[aircraft], aircraft))
    return ordered[len(ordered) // 2]


# ---- the folder of a case


def lay_out(folder: Path, first: Deliveries) -> None:
    """A new folder with the first files landed, and the chain's code in Python and in SQL."""
    for delivery in first.files:
        land(folder, delivery)
    days = f"DAY_COUNT = {first.days}\n"
    project = folder / "project"
    project.mkdir()
    (project / f"{CHAIN}.py").write_text(_replaced((HERE / "chain.py").read_text(), ("DAY_COUNT = 60\n", days)))
    last = FIRST + timedelta(days=first.days - 1)
    after = date(last.year + last.month // 12, last.month % 12 + 1, 1)
    shutil.copytree(HERE / "sqlmesh_project", folder, dirs_exist_ok=True)
    for model in (folder / "models").glob("*.sql"):
        sql = model.read_text().replace("{LAST}", last.isoformat())
        model.write_text(sql.replace("{LAST_OF_MONTHS}", (after - timedelta(days=1)).isoformat()))


def land(folder: Path, delivery: Delivery) -> None:
    """Put a file into the landing zone, over the one before."""
    path = folder / "landing" / delivery.path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text(delivery.content)
    part.replace(path)


def happen(folder: Path, delivery: Delivery | None, edit: Edit | None) -> None:
    """Let a change happen in a case's folder, and leave word of it for the contender (``word_of``)."""
    if delivery is not None:
        land(folder, delivery)
    if edit is not None:
        for path, replacement in (
            (folder / "project" / f"{CHAIN}.py", edit.python),
            (folder / "models" / f"{edit.table}.sql", edit.sql),
        ):
            path.write_text(_replaced(path.read_text(), replacement))
    word = {"delivery": None if delivery is None else asdict(delivery), "edit": None if edit is None else asdict(edit)}
    (folder / "change.json").write_text(json.dumps(word))


def word_of(folder: Path) -> tuple[Delivery | None, Edit | None]:
    """What happened last in a case's folder."""
    word: Mapping[str, Any] = json.loads((folder / "change.json").read_text())
    delivery, edit = word["delivery"], word["edit"]
    return (None if delivery is None else Delivery(**delivery)), (None if edit is None else Edit(**edit))


def _replaced(text: str, replacement: Sequence[str]) -> str:
    before, after = replacement
    if text.count(before) != 1:
        raise LookupError(f"{before!r} stands there {text.count(before)} times, and should once")
    return text.replace(before, after)
