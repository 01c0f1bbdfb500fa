"""The program: what every command shares.

Belongs here: the program itself, common options, where the state is, errors as messages. Does not belong here:
commands. Invariant: looking at a state folder makes none.
"""
# ruff: noqa: PLC0415

import errno
import os
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

    from sh_defs.facts.report import FeedAccount
    from sh_resources.engine import Engine

WRONG, INTERRUPTED = 1, 130

_HELP = """
Data pipelines that heal themselves, shown on the flights out of New York in 2013.

Rows become visible only after they were judged. Broken rows are set aside with the evidence, the others are published,
and every row that was ever delivered is accounted for.

State is kept in one folder: --home, else SELFHEAL_HOME, else .selfheal where you are. Delete it to start afresh.
"""
_EPILOG = "Start with `selfheal demo`, then `selfheal tables`. `selfheal COMMAND --help` has examples."


class _Commands(TyperGroup):
    """The outermost boundary: errors meant for people become messages."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401  # as typer has it
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            complain("interrupted; nothing is half-published. Run the same command again to go on.")
            raise typer.Exit(INTERRUPTED) from None
        except SelfHealError as error:
            complain(str(error))
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            complain("the disk is full; nothing is half-published. Make room and run the same command again.")
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


def settings_at(home: Path | None) -> Settings:
    """Where the state is: the folder named, else that of the environment."""
    return environment.load() if home is None else environment.load({**os.environ, "SELFHEAL_HOME": str(home)})


def engine_at(home: Path | None) -> "Engine":
    """The engine on a state folder that exists: looking at one must not make one."""
    from sh_defs.declaring import declared_graph, refuse_other_tables
    from sh_resources.wiring import open_engine

    settings = settings_at(home)
    if not settings.home.is_dir():
        msg = (
            f"there is no state folder {settings.home}: start with selfheal run or selfheal demo, "
            "or name another folder with --home"
        )
        raise SettingsError(msg)
    graph = declared_graph(settings.tables_module)
    refuse_other_tables(graph, settings)
    return open_engine(settings, graph)


def refuse_imbalance(feeds: "Iterable[FeedAccount]") -> None:
    """End with an error if a row is missing."""
    wrong = [f.feed for f in feeds if f.rows.missing]
    if wrong:
        complain(f"rows of {', '.join(wrong)} are missing or counted twice. That is a bug: report it with this output.")
        raise typer.Exit(WRONG)


def complain(message: str) -> None:
    """Say what is wrong, on stderr."""
    err = Console(stderr=True)
    err.print("[bold red]error:[/]", end=" ")
    err.print(message, markup=False, highlight=False, soft_wrap=True)
