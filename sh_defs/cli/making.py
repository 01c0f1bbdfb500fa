"""Commands that change the state folder.

Belongs here: their options and help. Does not belong here: the work. Invariant: a command that was interrupted may be
given again.
"""
# ruff: noqa: PLC0415

import json
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sh_defs.cli.base import WRONG, AsJson, Home, engine_at, refuse_imbalance, settings_at

FIRST_DAY, DAYS = "2013-01-01", 151


def demo(
    days: Annotated[int, typer.Option(min=1, max=365, help="How many days to replay.")] = DAYS,
    first: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="First day, in 2013.")] = FIRST_DAY,  # type: ignore[assignment]  # typer parses defaults
    on_time: Annotated[bool, typer.Option("--on-time", help="Nobody is late on the last day.")] = False,
    home: Home = None,
) -> None:
    """Deliver days of real flights and weather, and bring every table up to date.

    On the last day one vendor is late: what that holds up, what stands in meanwhile, and what is repaired when the file
    comes is shown as it happens.

    Runs only what needs it: run it again, interrupt it, or raise --days, and it goes on from where it is. What it finds
    is also written to report.html and report.json in the state folder.

    **Examples**

    ```
    selfheal demo                                the first five months of 2013
    selfheal demo --days 365                     the whole year
    selfheal demo --first 2013-02-12 --days 1    the day with a wind of 1,048 mph
    ```
    """
    from sh_defs.demo import demonstrate

    start = first.date()
    span = [start + timedelta(days=n) for n in range(days)]
    refuse_imbalance(demonstrate(settings_at(home), span, Console(), on_time=on_time).feeds)


def run(
    first: Annotated[
        datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First day looked at.", show_default="all")
    ] = None,
    last: Annotated[
        datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day looked at.", show_default="today")
    ] = None,
    home: Home = None,
) -> None:
    """Take in what has landed, and bring every table up to date.

    Files land in landing/FEED/ in the state folder. Only partitions that need it are run: those whose files, inputs,
    code or contract are not those of last time. SELFHEAL_TABLES names the module whose TABLES are meant, in the folder
    where you are or installed.

    **Examples**

    ```
    SELFHEAL_TABLES=my_tables selfheal run
    selfheal run --from 2026-11-01
    ```
    """
    from sh_defs.updating import update

    refuse_imbalance(update(settings_at(home), first and first.date(), last and last.date(), Console()).feeds)


def replay_history(
    repository: Annotated[Path, typer.Argument(help="A clone's top folder, or a bundle.")],
    feed: Annotated[
        list[str] | None,
        typer.Option(
            help="A feed whose files are in it; NAME=GLOB takes only paths like that. May be repeated.",
            show_default="all",
        ),
    ] = None,
    revision: Annotated[str, typer.Option(help="Which commits, as git log takes it.")] = "HEAD",
    until: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Last day (UTC) that is replayed.", show_default="all")
    ] = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Replay a Git history of published files: each commit is a delivery at its time.

    After each one the tables are brought up to date, and what became of it is told. For vendors, it is the time of the
    commit then, and stays so in this state folder: replay into one of its own. What was replayed before is not replayed
    again, so that it can be interrupted and goes on as the history grows. SELFHEAL_TABLES names the module whose TABLES
    are meant.

    **Examples**

    ```
    SELFHEAL_TABLES=my_tables selfheal replay-history feeds.bundle
    selfheal replay-history ~/clone --feed 'loans=daily/*' --until 2026-03-31
    selfheal replay-history ~/clone --json | jq -c '{commit, tables}'
    ```
    """
    from sh_defs.replaying import replay
    from sh_defs.shown.replayed import Lines, Objects

    end = None if until is None else until.replace(tzinfo=UTC) + timedelta(days=1, microseconds=-1)
    globs = {name: glob or None for name, _, glob in (given.partition("=") for given in feed or ())}
    show = Objects(typer.echo) if as_json else Lines(Console())
    refuse_imbalance(replay(settings_at(home), repository, globs, revision, end, show).feeds)


def dev(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the web interface, on 127.0.0.1.")] = 3000,
    home: Home = None,
) -> None:
    """Start Dagster's web interface and daemon on this project; Ctrl-C ends them.

    What lands is taken in, and whatever is due is brought up to date, as long as it runs. After an edit, "Reload
    definitions" in the web interface loads the code anew.

    **Examples**

    ```
    selfheal dev
    selfheal dev --port 3001 --home /data/selfheal
    ```
    """
    from sh_defs.serve import serve

    out = Console()

    def announce(url: str) -> None:
        out.print(f"[bold green]Dagster answers on {url}[/] (Ctrl-C ends it)")

    serve(settings_at(home), port, announce, lambda line: out.print(line, markup=False, highlight=False))


def arrived(
    feed: Annotated[str, typer.Argument(metavar="FEED", show_default=False)],
    files: Annotated[list[str], typer.Argument(metavar="FILE...", show_default=False)],
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Take in files now of which somebody knows that they have landed; exit code 1 if one is not taken.

    For stores that tell of new objects, and for vendors' own scripts. FILE is a name in the folder of the feed. What
    nobody tells of is found, too, only later.

    **Examples**

    ```
    selfheal arrived weather weather_2026-11-19.csv
    selfheal arrived weather weather_2026-11-19.csv weather_2026-11-20.csv --json | jq .files
    ```
    """
    said = engine_at(home).take_in_files(feed, list(dict.fromkeys(files)))
    if as_json:
        typer.echo(json.dumps({"feed": feed, "files": said}, indent=2, ensure_ascii=False))
    else:
        out = Console()
        for name, what in said.items():
            words = {"new": "taken in", "known": "nothing new in it"}.get(what, f"not taken: {what}")
            out.print(f"{name}: {words}", markup=False, highlight=False, soft_wrap=True)
    if not {"new", "known"}.issuperset(said.values()):
        raise typer.Exit(WRONG)


def recover(as_json: AsJson = False, home: Home = None) -> None:
    """Finish or discard what stopped runs left behind, without computing anything.

    Every run does this for the partitions that it works on; this does it for all of them at once. What a live run is
    working on is left alone.

    **Examples**

    ```
    selfheal recover
    selfheal recover --json | jq .left
    ```
    """
    engine = engine_at(home)
    dealt_with = {table: n for table, n in engine.recover(f"recover:{uuid.uuid4().hex}").items() if n}
    left = {t.name: n for t in engine.graph.tables if (n := len(engine.ledger.publications.unconfirmed(t.name)))}
    if as_json:
        typer.echo(json.dumps({"dealt_with": dealt_with, "left": left}, indent=2))
        return
    out = Console()
    for table, n in dealt_with.items():
        out.print(f"{table}: {n:,} partitions, finished or discarded")
    for table, n in left.items():
        out.print(f"{table}: {n:,} partitions left alone, a run holds their lease; try again when it has ended")
    if not dealt_with and not left:
        out.print("Nothing was left behind.")


def report(as_json: AsJson = False, home: Home = None) -> None:
    """Write report.html and report.json anew from what is stored; exit code 1 if a row is missing.

    The page needs nothing but a browser: it refers to no other file and to no address.

    **Examples**

    ```
    selfheal report
    xdg-open "$(selfheal report --json | jq -r .html)"
    ```
    """
    from sh_defs.facts.lateness import late
    from sh_defs.facts.report import gather
    from sh_defs.shown.json_form import write_json
    from sh_defs.shown.page import write_page
    from sh_resources.clock import SystemClock

    engine = engine_at(home)
    now = SystemClock().now_utc()
    found = gather(engine.graph, engine.store, engine.ledger, now_utc=now, late=late(engine, now))
    page, data = engine.store.root / "report.html", engine.store.root / "report.json"
    write_page(found, page)
    write_json(found, data)
    if as_json:
        typer.echo(json.dumps({"html": str(page), "json": str(data)}, indent=2))
    else:
        typer.echo(f"{page}\n{data}")
    refuse_imbalance(found.feeds)
