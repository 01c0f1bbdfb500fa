"""The demo's last day: one vendor is late.

Belongs here: the order of what happens then, and telling it. Does not belong here: what is late and what that holds up
(``sh_resources.overdue``), what stands in (``sh_resources.standing_in``), what has to run (``sh_core.watch``): all of
it is what happens in earnest, at the time that the demo's calendar shows. Invariant: interrupted anywhere and begun
again it goes on from where it was, since what it tells is read from the state and not remembered.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from rich.console import Console
from sqlalchemy.exc import IntegrityError

from sh_assets.flights.feeds import FLIGHT_FEEDS
from sh_assets.flights.zones import NEW_YORK
from sh_assets.on_time import to_report
from sh_core.due import deadline
from sh_core.feed import Feed
from sh_defs.facts.lateness import late, reconciliations
from sh_defs.facts.report import Run
from sh_defs.facts.saying import count
from sh_defs.progress import Tally
from sh_defs.shown import terminal, terminal_late
from sh_defs.updating import Update
from sh_drills.replay import Replay, land
from sh_resources.clock import ReplayCalendar
from sh_resources.on_time import OnTime
from sh_resources.overdue import Watchman

LATE_BY = timedelta(hours=2, minutes=42)
"""How long after the grace was over the file comes."""

FEED: Feed = next(feed for feed in FLIGHT_FEEDS if feed.name.endswith("jfk"))


@dataclass
class LateVendor:
    """JFK's flights of one day, which come too late.

    Attributes:
        update: Brings tables up to date.
        replay: Has the file.
        day: The day.
        console: Where to tell it.
    """

    update: Update
    replay: Replay
    day: date
    console: Console
    _told: str | None = None
    _on_time: OnTime = field(init=False)

    def __post_init__(self) -> None:
        """Look at the state folder of the update."""
        self._on_time = OnTime(Watchman(self.update.engine))

    @property
    def file(self) -> tuple[str, date]:
        """The feed and the day of the file that comes late."""
        return FEED.name, self.day

    @property
    def key(self) -> str:
        """The day's partition."""
        return self.day.isoformat()

    def is_to_come(self) -> bool:
        """Whether the file has not come yet, whoever delivered it."""
        landed = (self.update.settings.landing / FEED.name / FEED.expected_file(self.key)).exists()
        return not landed and not self.update.engine.ledger.arrivals.first(FEED.name, [self.key])

    def tell(self) -> None:
        """Let it become late, let something stand in, let it come, and let that be repaired."""
        owed = deadline(FEED.due, FEED.partitions, self.key) if FEED.due is not None else None
        if owed is None:
            raise AssertionError(FEED)  # the flights' feeds have a due time
        self._at(owed.late_utc, f"{FEED.expected_file(self.key)} was due at {_clock(owed.due_utc)} and is not there")
        self._heal()
        facts = late(self.update.engine, self.update.engine.now_utc())
        terminal_late.late(self.console, {**facts, "next": ()})
        self._at(owed.late_utc + LATE_BY, "it lands")
        land(
            self.update.settings.landing / FEED.name / FEED.expected_file(self.key),
            self.replay.files[FEED.name, self.day],
        )
        ran = self._heal()
        self._repaired(ran)

    def _at(self, now_utc: datetime, what: str) -> None:
        ReplayCalendar(self.update.settings.calendar).forward(now_utc)
        terminal.title(self.console, f"{_day(now_utc)} {_clock(now_utc)} in New York: {what}")

    def _heal(self) -> list[Run]:
        """Keep incidents, tell Dagster what is late, and run what is due; the runs that it took."""
        update, before = self.update, len(self.update.runs)
        update.engine.take_in(update.engine.today_utc())
        self._say()
        update.bring_up_to_date(None, self.day)
        self._say()
        return update.runs[before:]

    def _say(self) -> None:
        """Open and close incidents, and let Dagster's checks say so, as the sensor does."""
        engine, instance = self.update.engine, self.update.instance
        self._on_time.watchman.keep(engine.now_utc())
        remarks, self._told = self._on_time.changes(self._told, engine.now_utc())
        for evaluation in to_report(instance, remarks, engine.graph):
            with suppress(IntegrityError):  # another demo on this folder tells the same at this moment
                instance.report_runless_asset_event(evaluation)

    def _repaired(self, runs: Sequence[Run]) -> None:
        """What ran when the file was there, and how far what had stood in was from the truth."""
        partitions = sum(sum(run.outcomes.values()) for run in runs)
        self.console.print(f"  [bold]repaired[/]  {count(partitions, 'partition')}, and nothing else", highlight=False)
        for run in runs:
            span = run.first if run.first == run.last else f"{run.first} to {run.last}"
            self.console.print(f"            {run.table}: {span}", highlight=False)
        for found in reconciliations(self.update.engine.ledger, partition=self.key):
            self.console.print(f"  [bold]it was[/]    {found['table']}: {found['says']}", highlight=False)


class Silent:
    """A watcher who says nothing: what happens is told by what it leads to."""

    def update(self, part: str, tally: Tally) -> None:
        """A part began, or went on."""

    def finish(self, part: str, tally: Tally, seconds: float) -> None:
        """A part is done for now."""

    def note(self, text: str) -> None:
        """Something worth a line of its own."""


def _clock(at_utc: datetime) -> str:
    return f"{at_utc.astimezone(ZoneInfo(NEW_YORK)):%H:%M}"


def _day(at_utc: datetime) -> str:
    return f"{at_utc.astimezone(ZoneInfo(NEW_YORK)):%Y-%m-%d}"
