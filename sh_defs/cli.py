"""The command line: ``selfheal``.

Belongs here: commands, their options and help, exit codes, and turning errors into messages. Does not belong here: the
work. Invariant: an error that this project raises on purpose ends as one message on stderr and exit code 1, never as a
traceback; anything else is a bug, and shows itself as one.

Exit codes: 0 done; 1 something is wrong, and the message says what; 2 the command was written wrongly; 130 interrupted.

Imports of the work stand in the commands: Dagster and Polars take seconds to import, ``--help`` should not.
"""
# ruff: noqa: PLC0415

import errno
import json
import os
import uuid
from datetime import datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from sh_core.errors import SelfHealError, SettingsError
from sh_resources import settings as environment
from sh_resources.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sh_defs.report import FeedAccount
    from sh_resources.engine import Engine

WRONG, INTERRUPTED = 1, 130
FIRST_DAY, DAYS = "2013-01-01", 151

_HELP = """
Data pipelines that heal themselves, shown on the flights out of New York in 2013.

Rows become visible only after they were judged. Broken rows are set aside with the evidence, the others are published,
and every row that was ever delivered is accounted for.

State is kept in one folder: --home, else SELFHEAL_HOME, else .selfheal where you are. Delete it to start afresh.
"""
_EPILOG = "Start with `selfheal demo`, then `selfheal dev`. `selfheal COMMAND --help` has examples."


class _Commands(TyperGroup):
    """The outermost boundary: errors meant for people become messages."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401  # as typer has it
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            _complain("interrupted; nothing is half-published. Run the same command again to go on.")
            raise typer.Exit(INTERRUPTED) from None
        except SelfHealError as error:
            _complain(str(error))
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            _complain("the disk is full; nothing is half-published. Make room and run the same command again.")
        raise typer.Exit(WRONG)


app = typer.Typer(
    cls=_Commands,
    help=_HELP,
    epilog=_EPILOG,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)

Home = Annotated[
    Path | None, typer.Option(help="State folder; SELFHEAL_HOME names another default.", show_default=".selfheal")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"selfheal {metadata.version('selfheal')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Take options that belong to no command."""
    del version  # its callback has done everything


@app.command()
def demo(
    days: Annotated[int, typer.Option(min=1, max=365, help="How many days to replay.")] = DAYS,
    first: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="First day, in 2013.")] = FIRST_DAY,  # type: ignore[assignment]  # typer parses defaults
    home: Home = None,
) -> None:
    """Deliver days of real flights and weather, and bring every table up to date.

    Runs only what needs it: run it again, interrupt it, or raise --days, and it goes on from where it is. What it finds
    is also written to report.json in the state folder.

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
    _refuse_imbalance(demonstrate(_settings(home), span, Console()).feeds)


@app.command()
def dev(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the web interface, on 127.0.0.1.")] = 3000,
    home: Home = None,
) -> None:
    """Start Dagster's web interface and daemon on this project; Ctrl-C ends them.

    **Examples**

    ```
    selfheal dev
    selfheal dev --port 3001 --home /data/selfheal
    ```
    """
    from sh_defs.serve import serve

    out = Console()
    code = serve(
        _settings(home), port, lambda url: out.print(f"[bold green]Dagster answers on {url}[/] (Ctrl-C ends it)")
    )
    raise typer.Exit(code)


@app.command()
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
    engine = _open(home)
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


@app.command()
def accounts(as_json: AsJson = False, home: Home = None) -> None:
    """Show where every delivered row is, feed by feed; exit code 1 if a row is missing.

    arrived = published + quarantined + duplicates + pending + superseded. Unread are files whose rows nobody has
    counted yet.

    **Examples**

    ```
    selfheal accounts
    selfheal accounts --json | jq .total
    ```
    """
    from sh_defs import show
    from sh_defs.report import account_as_json, feed_accounts, total_of

    engine = _open(home)
    feeds = feed_accounts(engine.graph, engine.ledger)
    total = total_of(feeds)
    if as_json:
        typer.echo(
            json.dumps({"feeds": [account_as_json(f) for f in feeds], "total": account_as_json(total)}, indent=2)
        )
    else:
        show.accounts(Console(), feeds)
    _refuse_imbalance(feeds)


def _settings(home: Path | None) -> Settings:
    return environment.load() if home is None else environment.load({**os.environ, "SELFHEAL_HOME": str(home)})


def _open(home: Path | None) -> "Engine":
    """The engine on a state folder that exists: looking at one must not make one."""
    from sh_defs.definitions import declared_graph
    from sh_resources.wiring import open_engine

    settings = _settings(home)
    if not settings.home.is_dir():
        msg = f"there is no state folder {settings.home}: run selfheal demo first, or name another folder with --home"
        raise SettingsError(msg)
    return open_engine(settings, declared_graph(settings.tables_module))


def _refuse_imbalance(feeds: "Iterable[FeedAccount]") -> None:
    wrong = [f.feed for f in feeds if f.rows.missing]
    if wrong:
        _complain(
            f"rows of {', '.join(wrong)} are missing or counted twice. That is a bug: report it with this output."
        )
        raise typer.Exit(WRONG)


def _complain(message: str) -> None:
    err = Console(stderr=True)
    err.print("[bold red]error:[/]", end=" ")
    err.print(message, markup=False, highlight=False, soft_wrap=True)
