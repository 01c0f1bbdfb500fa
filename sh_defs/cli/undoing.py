"""Commands that take something back or away: ``rollback`` and ``tidy``.

Belongs here: their options and help. Does not belong here: the work. Invariant: a command that was interrupted, or
given twice, leaves what one command leaves.
"""
# ruff: noqa: PLC0415

import json
from typing import Annotated

import typer
from rich.console import Console

from sh_defs.cli.base import WRONG, AsJson, Home, complain, engine_at, settings_at

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]


def rollback(
    name: Annotated[str, typer.Argument(metavar="TABLE", show_default=False)],
    partition: Annotated[str | None, typer.Argument(metavar="[PARTITION]", show_default=False)] = None,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="SNAPSHOT", help="How its id or version begins; selfheal show lists them.", show_default="previous"
        ),
    ] = None,
    why: Annotated[str, typer.Option(help="The reason, kept with the rollback.", show_default=False)] = "",
    dry_run: DryRun = False,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Return a partition to content that it had before, and keep the present content from coming back.

    The earlier rows are judged by today's contract and published like any others; if it refuses them, nothing changes.
    Tables that read the partition are due from then on. The present content is barred: neither the input, code or
    contract that it came from is tried again, nor is the same content published from anything else. A corrected file
    or other code is new, and is tried. To take the content after all, roll back --to it.

    Without --to it is the newest earlier content that was not rolled back itself. Given twice, it changes nothing.

    **Examples**

    ```
    selfheal rollback stg_weather 2013-02-12 --why "vendor sent degrees Celsius"
    selfheal rollback stg_weather 2013-02-12 --to 3f09ac51
    selfheal rollback stg_weather:2013-02-12 --dry-run
    ```
    """
    from sh_defs.facts.naming import address
    from sh_defs.facts.undoing import outlook
    from sh_defs.shown import undone
    from sh_defs.undoing import roll_back

    engine = engine_at(home)
    what = name if partition is None else f"{name}:{partition}"
    table, key = address(engine.graph, what, engine.today_utc())
    if key is None:
        keys = table.partitions.declared(engine.today_utc())
        if len(keys) > 1:
            complain(f"name the partition of {table.name} to roll back, e.g. selfheal rollback {table.name} {keys[-1]}")
            raise typer.Exit(WRONG)
        (key,) = keys
    facts = outlook(engine, table, key, to)
    if not dry_run and facts["to"] is not None:
        facts |= roll_back(settings_at(home), engine, table, key, facts["to"]["attempt"], why)
    if as_json:
        typer.echo(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        undone.rollback(Console(), facts)


def tidy(
    keep_days: Annotated[
        float, typer.Option(min=0, help="Days for which replaced snapshots, and requests, are kept.")
    ] = 30,
    keep_newest: Annotated[int, typer.Option(min=0, help="Replaced snapshots of each partition kept anyway.")] = 2,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Remove files that no reader sees, no rollback can return to and no run is about to publish; and old requests.

    The files are what killed runs left behind, snapshots that were replaced long ago, and quarantine files of
    judgements that are over. What readers saw within the last hour stays, and so does every delivered file in the
    archive. Of the requests that selfheal why tells of, those go whose partition was settled since: tries of what still
    fails are not forgotten.
    Interrupt it whenever you like; the next time goes on. Dagster does the same once a day (sensor tidying).
    Exit code 1 if Delta and the ledger disagree afterwards.

    **Examples**

    ```
    selfheal tidy --dry-run
    selfheal tidy --keep-days 7 --keep-newest 1
    selfheal tidy --json | jq .size_bytes
    ```
    """
    from sh_defs.progress import watching
    from sh_defs.shown import undone
    from sh_defs.undoing import tidy_up

    engine = engine_at(home)
    with watching(Console(stderr=True, quiet=as_json)) as watcher:
        facts = tidy_up(engine, watcher, keep_days=keep_days, keep_newest=keep_newest, dry_run=dry_run)
    if as_json:
        typer.echo(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        undone.tidied(Console(), facts)
    if facts["disagree"]:
        raise typer.Exit(WRONG)
