"""Showing what is late at a terminal.

Belongs here: lines made of what ``facts.lateness`` gathered. Does not belong here: gathering. Invariant: what is late
is said in words, and a vendor who was silent for a year takes a screen, not a thousand lines.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.markup import escape

from sh_defs.facts.saying import count, moment
from sh_defs.shown.terminal import new_grid, title

SHOWN = 5
"""Files of a feed, spans and placeholders of a table that are shown; ``--json`` has more."""

Facts = Mapping[str, Any]


def late(console: Console, facts: Facts) -> None:
    """Everything that is late, and what is due next."""
    if not facts["feeds"] and not facts["tables"]:
        console.print(f"Nothing is late at {_at(facts['now_utc'])}.", highlight=False)
    for feed in facts["feeds"]:
        _feed(console, feed)
    if facts["tables"]:
        title(console, "Late although no file is")
        for table in facts["tables"][:SHOWN]:
            _line(console, f"{table['table']} {table['partition']}", table)
        if len(facts["tables"]) > SHOWN:
            console.print(f"  and {len(facts['tables']) - SHOWN:,} more")
    placeholders(console, facts["placeholders"])
    if facts["next"]:
        title(console, "Due next")
        grid = new_grid("late from", "what", "file or partition", left=3)
        for coming in facts["next"]:
            what = escape(coming["file"] or coming["partition"])
            grid.add_row(f"{_at(coming['late_utc'])}  ", f"{coming['what']}  ", what)
        console.print(grid)


def _feed(console: Console, feed: Facts) -> None:
    title(console, f"{feed['feed']}: {count(feed['files'], 'file')} late")
    for file in feed["missing"][:SHOWN]:
        _line(console, file["file"], file)
    if feed["files"] > SHOWN:
        console.print(f"  all of them: {spans(feed['spans'])}", highlight=False)
    console.print(f"  [bold]ask[/]       {escape(feed['owner'] or 'nobody')}", highlight=False)
    for place, held in enumerate(feed["holds_up"]):
        label = "holds up" if place == 0 else ""
        console.print(f"  [bold]{label:<9}[/] {held['table']}: {spans(held['spans'])}", highlight=False)


def _line(console: Console, what: str, late: Facts) -> None:
    number = "" if late["incident"] is None else f", incident {late['incident']}"
    said = f"due {_at(late['due_utc'])}, {span(late['late_by_s'])} ago{number}"
    console.print(f"  [yellow]{escape(what)}[/]  {said}", highlight=False)


def placeholders(console: Console, facts: Sequence[Facts]) -> None:
    """What stands in, and what rests on that."""
    if not facts:
        return
    title(console, "Not the truth yet: placeholders stand in")
    for table in facts:
        said = f"{count(table['partitions'], 'partition')}: {spans(table['spans'])}"
        console.print(f"  [yellow]{table['table']}[/]  {said}", highlight=False)
        for own in table["own"][:SHOWN]:
            console.print(f"    {escape('; '.join(own['marks']))}, since {_at(own['since_utc'])}", highlight=False)
        more = len(table["own"]) - SHOWN + table["more"]
        if more > 0:
            console.print(f"    and {more:,} more")


def spans(found: Sequence[Sequence[str]]) -> str:
    """E.g. ``2013-02-12, 2013-02-14 to 2013-02-20``."""
    said = [first if first == last else f"{first} to {last}" for first, last in found[:SHOWN]]
    more = f" and {len(found) - SHOWN:,} more" if len(found) > SHOWN else ""
    return escape(", ".join(said) + more)


def span(seconds: float) -> str:
    """E.g. ``3 h``; what is longer than two days is counted in days."""
    minutes = int(seconds // 60)
    if minutes < 60:  # noqa: PLR2004
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // 1440:,} days"


def _at(iso: str) -> str:
    return moment(datetime.fromisoformat(iso))
