"""A replay as it goes on, at a terminal or for programs.

Belongs here: wording and layout of what each publication led to. Does not belong here: replaying (``replaying``).
Invariant: one block, or one line of JSON, per publication, written when everything it led to is done.
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime

from rich.console import Console

from sh_assets.wording import summary
from sh_defs.facts.report import Report
from sh_defs.facts.saying import visible
from sh_defs.replaying import Replayed
from sh_defs.shown import terminal
from sh_resources.settings import Settings

_NAMED = 3
"""Files of each kind that are named."""


class Lines:
    """For people."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._publications = 0
        self._at: datetime | None = None
        self._executed = Counter[str]()

    def begin(self, settings: Settings) -> None:
        """Say whose tables these are."""
        told = f"Tables of [bold]{settings.tables_module}[/], state in [bold]{settings.home}[/]"
        self._console.print(told, highlight=False, soft_wrap=True)

    def add(self, replayed: Replayed) -> None:
        """Say what arrived, and what became of it."""
        publication, landed = replayed.publication, replayed.landed
        self._publications += 1
        self._at = publication.at_utc
        self._executed.update(replayed.executed)
        at = f"{publication.at_utc:%Y-%m-%d %H:%M} UTC  {publication.commit[:10]}  {visible(publication.message)[:60]}"
        self._line(f"{at}  ({replayed.seconds:.1f} s)")
        for word in ("new", "replaced", "deleted", "unchanged"):
            files: Sequence[str] = getattr(landed, word)
            if files:
                more = f" and {len(files) - _NAMED:,} more" if len(files) > _NAMED else ""
                self._line(f"  {len(files):,} {word}: {visible(', '.join(files[:_NAMED]))}{more}")
        for table, outcomes in replayed.outcomes.items():
            self._line(f"  {table:<25} {replayed.executed[table]:,} executed: {summary(outcomes)}")

    def end(self, settings: Settings, report: Report) -> None:
        """Say what there is now."""
        did = summary({f"of {table}": count for table, count in self._executed.items()}) or "none"
        self._line(f"{self._publications:,} publications replayed; partitions executed: {did}")
        if self._at is not None:
            self._line(
                f"For vendors it is {self._at:%Y-%m-%d %H:%M} UTC in this state folder now; "
                f"delete {settings.calendar} to go on with the present time"
            )
        terminal.tables(self._console, report.tables)
        terminal.quarantined(self._console, report.quarantined)
        terminal.incidents(self._console, report.incidents)
        terminal.next_steps(self._console, settings.home, report)

    def _line(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class Objects:
    """For programs: JSON lines."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write

    def begin(self, settings: Settings) -> None:
        """Nothing: each line is a publication."""

    def add(self, replayed: Replayed) -> None:
        """Write one object."""
        publication, landed = replayed.publication, replayed.landed
        told = {
            "commit": publication.commit,
            "at_utc": publication.at_utc.isoformat(),
            "message": publication.message,
            "files": {
                "new": landed.new,
                "replaced": landed.replaced,
                "deleted": landed.deleted,
                "unchanged": landed.unchanged,
            },
            "tables": {
                table: {"executed": replayed.executed[table], **outcomes}
                for table, outcomes in replayed.outcomes.items()
            },
            "seconds": round(replayed.seconds, 3),
        }
        self._write(json.dumps(told, ensure_ascii=False))

    def end(self, settings: Settings, report: Report) -> None:
        """Nothing: ``selfheal tables --json`` says what there is."""
