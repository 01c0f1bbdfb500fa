"""Commands that only look at the state folder.

Belongs here: their options and help. Does not belong here: gathering what they show (``sh_defs.facts``), how it looks
(``sh_defs.shown``). Invariant: what ``--json`` prints is what the text was made of.
"""
# ruff: noqa: PLC0415

import json
from typing import Annotated

import typer
from rich.console import Console

from sh_defs.cli.base import AsJson, Home, engine_at, refuse_imbalance

quarantine = typer.Typer(
    help="Show the rows that were set aside, PII masked, and the rules that they break.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

Rule = Annotated[str | None, typer.Option(help="Only rows that break this rule.", show_default=False)]


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
    from sh_defs.facts.report import feed_accounts, total_of
    from sh_defs.shown import terminal
    from sh_defs.shown.json_form import account_as_json

    engine = engine_at(home)
    feeds = feed_accounts(engine.graph, engine.ledger)
    total = total_of(feeds)
    if as_json:
        _print({"feeds": [account_as_json(f) for f in feeds], "total": account_as_json(total)})
    else:
        terminal.accounts(Console(), feeds)
    refuse_imbalance(feeds)


def tables(as_json: AsJson = False, home: Home = None) -> None:
    """Show every table in a line: what its readers see, and when that was last renewed.

    never: partitions of which readers see nothing, of all that the table has by its declaration. aside: rows in
    quarantine. last: time since new content was published.

    **Examples**

    ```
    selfheal tables
    selfheal tables --json | jq '.tables[] | select(.withheld != [])'
    ```
    """
    from sh_defs.facts.inspecting import every_table
    from sh_defs.shown import terminal_tables

    engine = engine_at(home)
    facts = every_table(engine, engine.today_utc())
    if as_json:
        _print(facts)
    else:
        terminal_tables.every_table(Console(), facts)


def show(
    what: Annotated[str, typer.Argument(metavar="TABLE[:PARTITION]", show_default=False)],
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Show a table (contract, inputs, last publications) or one partition of it (content, trace, rows, incidents).

    It is said whether what readers see of a partition is current, and if not, what selfheal plan would have computed.
    Nothing is computed, and personal data reads •••.

    **Examples**

    ```
    selfheal show stg_weather
    selfheal show stg_weather:2013-02-12
    selfheal show stg_weather:2013-02-12 --json | jq .trace.reads
    ```
    """
    from sh_defs.facts.inspecting import partition, table
    from sh_defs.facts.naming import address
    from sh_defs.shown import terminal_tables
    from sh_resources.clock import SystemClock

    engine = engine_at(home)
    clock = SystemClock()
    now = engine.today_utc()
    named, key = address(engine.graph, what, now)
    facts = table(engine, named, now) if key is None else partition(engine, named, key, clock)
    if as_json:
        _print(facts)
    elif key is None:
        terminal_tables.table(Console(), facts)
    else:
        terminal_tables.partition(Console(), facts)


@quarantine.command("list")
def list_quarantine(
    name: Annotated[str | None, typer.Argument(metavar="[TABLE]", show_default=False)] = None,
    rule: Rule = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Count the rows in quarantine by table, partition and rule, with the files that brought them.

    A row that breaks two rules counts under both.

    **Examples**

    ```
    selfheal quarantine list
    selfheal quarantine list stg_weather --rule wind_speed_mph__in_range
    selfheal quarantine list --json | jq 'map(.rows) | add'
    ```
    """
    from sh_defs.facts.evidence import quarantine_counts
    from sh_defs.facts.naming import table_named
    from sh_defs.shown import terminal_tables

    engine = engine_at(home)
    wanted = engine.graph.tables if name is None else (table_named(engine.graph, name),)
    facts = quarantine_counts(engine.store, wanted, rule)
    if as_json:
        _print(facts)
    else:
        terminal_tables.quarantine_counts(Console(), facts)


@quarantine.command("show")
def show_quarantine(
    what: Annotated[str, typer.Argument(metavar="TABLE[:PARTITION]", show_default=False)],
    rule: Rule = None,
    limit: Annotated[int, typer.Option(min=1, help="How many rows at most.")] = 20,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Show rows in quarantine: the rules they break, what the rules say, file and line, and the row, PII masked.

    **Examples**

    ```
    selfheal quarantine show stg_weather
    selfheal quarantine show stg_weather:2013-02-12 --rule wind_speed_mph__in_range
    selfheal quarantine show raw_flights_jfk --limit 5 --json | jq '.rows[].file'
    ```
    """
    from sh_defs.facts.evidence import quarantined_rows
    from sh_defs.facts.naming import address
    from sh_defs.shown import terminal_tables

    engine = engine_at(home)
    named, key = address(engine.graph, what, engine.today_utc())
    facts = quarantined_rows(engine.store, named, key, rule, limit)
    if as_json:
        _print(facts)
    else:
        terminal_tables.quarantined_rows(Console(), facts)


def _print(facts: object) -> None:
    typer.echo(json.dumps(facts, indent=2, ensure_ascii=False))
