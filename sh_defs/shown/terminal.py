"""Showing: the report and the accounts, for people at a terminal.

Belongs here: tables and sentences made of facts. Does not belong here: gathering them (``report``). Invariant: shows
what it is given, and no row that was not masked before.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from sh_core.accounts import RowAccount
from sh_core.records import About, Incident
from sh_defs.facts.evidence import Quarantined, Specimen
from sh_defs.facts.report import FeedAccount, Report, total_of
from sh_defs.facts.saying import visible
from sh_defs.facts.standings import TableStanding

INCIDENTS_SHOWN = 10

_TERMS = ("arrived", "published", "quarantined", "duplicates", "pending", "superseded")


def accounts(console: Console, feeds: Iterable[FeedAccount]) -> None:
    """A row per feed: where its rows are."""
    every = tuple(feeds)
    total = total_of(every)
    title(console, f"Where every row of {total.arrivals:,} delivered files is")
    grid = new_grid("feed", *_TERMS, "missing")
    for account in every:
        grid.add_row(account.feed, *_account(account.rows))
    grid.add_section()
    grid.add_row("total", *_account(total.rows), style="bold")
    console.print(grid)
    if total.unread:
        console.print(
            f"[yellow]{total.unread:,} of the files are not read yet[/]: nobody knows how many rows they have."
        )


def tables(console: Console, standings: Iterable[TableStanding]) -> None:
    """A row per table: what its readers see."""
    title(console, "What readers see")
    grid = new_grid("table", "partitions", "rows", "withheld", "quarantined", "content root")
    for t in standings:
        withheld = f"[yellow]{len(t.withheld):,}[/]" if t.withheld else "0"
        grid.add_row(
            t.table, f"{len(t.roots):,}", f"{t.total_rows:,}", withheld, f"{t.quarantined:,}", f"[dim]{t.root[:12]}[/]"
        )
    console.print(grid)


def quarantined(console: Console, found: Iterable[Quarantined]) -> None:
    """A row per table and rule."""
    every = tuple(found)
    if not every:
        console.print("\nNo row is in quarantine.")
        return
    title(console, "Rows in quarantine, by the rule they break")
    grid = new_grid("table", "rule", "rows", left=2)
    for q in every:
        grid.add_row(q.table, q.rule, f"{q.rows:,}")
    console.print(grid)


def incidents(console: Console, opened: Iterable[Incident]) -> None:
    """Open incidents, the oldest first."""
    every = tuple(opened)
    if not every:
        console.print("\nNo incident is open.")
        return
    of_content = sum(i.about is About.CONTENT for i in every)
    late = len(every) - of_content
    if not late:
        said = ": what they name is withheld until it is healed"
    else:
        said = f": {late:,} about what is late (selfheal late)" + (f", {of_content:,} withheld" if of_content else "")
    title(console, f"Open incidents ({len(every):,}){said}")
    grid = new_grid("since", "table", "partition", "cause", left=4)
    lines = [(i, i.partition) for i in every if i.about is About.CONTENT]
    by_cause: dict[tuple[About, str], list[Incident]] = {}
    for i in every:
        if i.about is not About.CONTENT:
            by_cause.setdefault((i.about, i.cause_key), []).append(i)
    for of in by_cause.values():  # a vendor who is silent for a year takes one line
        keys = sorted(i.partition for i in of)
        lines.append((of[0], keys[0] if len(keys) == 1 else f"{len(keys):,} from {keys[0]}"))
    for i, which in lines[:INCIDENTS_SHOWN]:
        grid.add_row(f"{i.opened_utc:%Y-%m-%d %H:%M} UTC", i.table, which, escape(i.cause_key))
    console.print(grid)
    if len(lines) > INCIDENTS_SHOWN:
        console.print(f"  and {len(lines) - INCIDENTS_SHOWN:,} more")


def specimen(console: Console, example: Specimen) -> None:
    """One quarantined row: where it came from, what is wrong with it."""
    title(console, f"Set aside from {example.table} {example.partition}")
    for rule, says in example.rules.items():
        console.print(f"breaks   [red]{escape(rule)}[/]: {escape(says)}", highlight=False)
    if example.file is not None:
        console.print(f"came in  {escape(visible(example.file))}, line {example.line}", highlight=False)
    told = {name: value for name, value in example.row.items() if value is not None or name in example.suspects}
    cells = (_cell(name, value, suspect=name in example.suspects) for name, value in told.items())
    console.print(f"reads    {'  '.join(cells)}", highlight=False)


def next_steps(console: Console, home: Path, report: Report) -> None:
    """How long it took, and what to do next."""
    filled = [t.table for t in report.tables if t.rows]
    if not report.runs:
        idle = "Everything was up to date" if filled else "Nothing has landed"
        console.print(f"\n{idle}: nothing was run.")
    parts = "  ".join(f"{part} {s:.1f}" for part, s in report.seconds.items())
    shown = _near(home)
    is_makes = shown == Path(".selfheal") and Path("Makefile").is_file()
    withheld = [i for i in report.incidents if i.about is About.CONTENT]
    held = [f"{incident.table}:{incident.partition}" for incident in withheld[:1]]
    steps = [
        ("Seconds", parts),
        *(("Why withheld", f"selfheal show {address} --home {shown}") for address in held),
        ("In Dagster", "make dev" if is_makes else f"selfheal dev --home {shown}"),
    ]
    if filled:
        query = f"import polars as pl; print(pl.read_delta('{shown}/tables/{filled[-1]}'))"
        steps.append(("Query a table", f'{_near(Path(sys.executable))} -c "{query}"'))
    steps.append(("Whole report", str(shown / "report.html")))
    console.print()
    for what, how in steps:
        console.print(f"[bold]{what:<14}[/]{escape(how)}", highlight=False, soft_wrap=True)


def _near(path: Path) -> Path:
    """A path as one would type it here."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _cell(name: str, value: object, *, suspect: bool) -> str:
    text = escape(visible(f"{name}={json.dumps(value, ensure_ascii=False)}"))
    return f"[red]{text}[/]" if suspect else text


def title(console: Console, text: str) -> None:
    """A heading, with an empty line before it."""
    console.print(f"\n[bold]{escape(text)}[/]", highlight=False)


def _account(rows: RowAccount) -> list[str]:
    missing = f"[bold red]{rows.missing:,}[/]" if rows.missing else "[green]0[/]"
    return [*(f"{getattr(rows, term):,}" for term in _TERMS), missing]


def new_grid(*columns: str, left: int = 1) -> Grid:
    """A table whose first columns are text and whose others are numbers, narrow enough for 80 characters."""
    grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False, padding=0, show_edge=False)
    for number, name in enumerate(columns):
        grid.add_column(name, justify="left" if number < left else "right", no_wrap=True)
    return grid
