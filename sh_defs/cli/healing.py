"""Commands about what is due: explaining it, repairing it, pausing it, and why it was done.

Belongs here: their options and help. Does not belong here: the work. Invariant: only ``repair``, ``pause`` and
``resume`` change anything; and what ``--json`` prints is what the text was made of.
"""
# ruff: noqa: PLC0415

import getpass
import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from sh_defs.cli.base import WRONG, AsJson, Home, engine_at, settings_at

if TYPE_CHECKING:
    from sh_core.errand import Insistence
    from sh_core.plan import Plan, Selection
    from sh_defs.repairing import Repair
    from sh_defs.shown.grouping import Places
    from sh_resources.engine import Engine

DUE = 3
"""Exit code of ``plan --exit-code`` if something is due."""

Wanted = Annotated[
    list[str] | None,
    typer.Argument(metavar="[TABLE[:PARTITION[..PARTITION]]]...", help="What is meant; all, if nothing is named."),
]
One = Annotated[str | None, typer.Argument(metavar="[TABLE[:PARTITION]]", show_default=False)]
Named = Annotated[str, typer.Argument(metavar="TABLE", show_default=False)]
Downstream = Annotated[bool, typer.Option("--downstream", help="All that is downstream of it, too.")]
Full = Annotated[bool, typer.Option("--full", help="Leave nothing out.")]


def plan(
    wanted: Wanted = None,
    downstream: Downstream = False,
    supposed: Annotated[
        str | None,
        typer.Option("--if", metavar="TABLE[:PARTITION]", help="Show the reach of a change that was not made."),
    ] = None,
    columns: Annotated[
        str | None, typer.Option(metavar="A,B", help="With --if: the columns that would change.", show_default="all")
    ] = None,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help=f"End with {DUE} if something is due or has landed.")
    ] = False,
    full: Full = False,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Show what is due and why, what would run in which order and at what cost, and what waits or is held back.

    Nothing is computed, requested or taken in. What is named is shown with everything that it needs first and all that
    may change after it.

    **Examples**

    ```
    selfheal plan
    selfheal plan mart_daily_delays:2013-01-05..2013-01-09 --downstream
    selfheal plan --if stg_flights:2013-01-05 --columns dep_delay_min
    selfheal plan --exit-code || selfheal repair --yes
    ```
    """
    from sh_defs.facts.planning import make_plan, plan_facts
    from sh_defs.shown import terminal_plan
    from sh_resources.clock import SystemClock

    clock = SystemClock()
    engine = engine_at(home)
    if supposed is not None:
        if wanted or downstream or exit_code:
            raise typer.BadParameter("--if stands alone: it names what would change", param_hint="--if")
        _suppose(engine, supposed, columns, full=full, as_json=as_json)
        return
    if columns is not None:
        raise typer.BadParameter("it belongs to --if", param_hint="--columns")
    asked = wanted or []
    made = make_plan(engine, clock, _selection(engine, asked, downstream=downstream))
    facts = plan_facts(engine, made, asked)
    if as_json:
        _print(facts)
    else:
        terminal_plan.plan(Console(), facts, _places(engine), full=full)
    if exit_code and made.hops:
        raise typer.Exit(DUE)


def repair(
    wanted: Wanted = None,
    downstream: Downstream = False,
    include_paused: Annotated[
        bool, typer.Option("--include-paused", help="Run what is meant though its table is paused.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    full: Full = False,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Carry out a plan: show it, ask, and run it hop by hop in this process, as runs that Dagster shows.

    Each partition is looked at again before its turn: where nothing that it reads has changed in the end, it is cut
    off. What is named is tried although it failed too often before. Interrupted, the same command goes on. Exit code 1
    if something failed or was left to another process; what is withheld is reported.

    **Examples**

    ```
    selfheal repair
    selfheal repair stg_weather:2013-02-12 --yes
    selfheal repair mart_daily_delays --include-paused
    ```
    """
    from sh_core.errand import Insistence
    from sh_defs.facts.planning import make_plan, plan_facts
    from sh_defs.facts.repairs import repair_facts
    from sh_defs.shown import terminal_plan
    from sh_resources.clock import SystemClock

    clock, asked = SystemClock(), wanted or []
    engine = engine_at(home)
    selection = _selection(engine, asked, downstream=downstream)
    paused = _paused(engine, selection, include=include_paused)
    insistence = Insistence({} if selection is None else selection.named, paused)
    made = make_plan(engine, clock, selection, insistence)
    planned = plan_facts(engine, made, asked)
    out = Console(stderr=as_json)
    if not as_json:
        terminal_plan.plan(out, planned, _places(engine), full=full)
    if made.hops and not yes and sys.stdin.isatty() and not typer.confirm("\nRun this?", err=True):
        raise typer.Exit(WRONG)
    out.print()
    done = _carried_out(home, engine, made, insistence, out) if made.steps else None
    facts = repair_facts(planned, done)
    if as_json:
        _print(facts)
    elif done is not None:
        terminal_plan.repaired(out, facts, _places(engine))
    if done is not None and not done.is_done:
        raise typer.Exit(WRONG)


def pause(
    table: Named,
    downstream: Downstream = False,
    reason: Annotated[str, typer.Option(help="Why, for those who find it paused.")] = "",
    home: Home = None,
) -> None:
    """Have nothing requested of a table until it is resumed; runs that a person starts in Dagster are no requests.

    **Examples**

    ```
    selfheal pause stg_weather --downstream --reason "the vendor migrates"
    ```
    """
    from sh_defs.facts.naming import table_named
    from sh_resources.clock import SystemClock

    engine = engine_at(home)
    name = table_named(engine.graph, table).name
    now_utc = SystemClock().now_utc()
    engine.ledger.requests.pause(name, downstream=downstream, by=_who(), reason=reason, now_utc=now_utc)
    below = " and all that is downstream of it are" if downstream else " is"
    typer.echo(f"{name}{below} paused. selfheal resume {name} ends it.")


def resume(
    table: Annotated[str | None, typer.Argument(metavar="[TABLE]", show_default=False)] = None,
    everything: Annotated[bool, typer.Option("--all", help="Whatever is paused.")] = False,
    home: Home = None,
) -> None:
    """Let a paused table be requested again; what has become due meanwhile is requested at the next tick.

    **Examples**

    ```
    selfheal resume stg_weather
    selfheal resume --all
    ```
    """
    from sh_core.errors import SelfHealError
    from sh_defs.facts.naming import table_named

    if (table is None) is not everything:
        raise typer.BadParameter("name a table, or say --all", param_hint="TABLE")
    engine = engine_at(home)
    paused = [p.table for p in engine.ledger.requests.pauses()]
    names = paused if table is None else [table if table in paused else table_named(engine.graph, table).name]
    ended = [name for name in names if engine.ledger.requests.resume(name)]
    if table is not None and not ended:
        there = f"paused are {', '.join(paused)}" if paused else "nothing is"
        raise SelfHealError(f"{table} is not paused by itself; {there}")
    typer.echo("\n".join(f"{name} is resumed." for name in ended) or "Nothing was paused.")


def why(
    what: One = None,
    evaluation: Annotated[
        str | None, typer.Option(metavar="ID", help="What an evaluation of automation requested.")
    ] = None,
    backfill: Annotated[str | None, typer.Option(metavar="ID", help="What a backfill of automation is for.")] = None,
    by_repair: Annotated[str | None, typer.Option("--repair", metavar="ID", help="What a repair requested.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many requests of a table at most.")] = 100,
    full: Full = False,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Show why partitions were requested: by whom, when, and what had changed.

    **Examples**

    ```
    selfheal why mart_daily_delays:2013-01-05
    selfheal why --backfill qxwpmzno
    selfheal why --repair 1c2d3e4f5a6b --json | jq '.requests[].partitions[].reasons[].says'
    ```
    """
    from sh_assets.deciding import asked_by as by_evaluation
    from sh_defs.facts.asking import by_somebody, evaluation_of, of_partition
    from sh_defs.facts.naming import address
    from sh_defs.home import dagster_instance
    from sh_defs.repairing import asked_by
    from sh_defs.shown import terminal_plan

    if sum(said is not None for said in (what, evaluation, backfill, by_repair)) != 1:
        raise typer.BadParameter("name one of: a table, --evaluation, --backfill, --repair", param_hint="TABLE")
    engine = engine_at(home)
    if what is not None:
        table, key = address(engine.graph, what, engine.today_utc())
        facts = of_partition(engine, table.name, key, limit)
    elif by_repair is not None:
        facts = by_somebody(engine, asked_by(by_repair))
    else:
        if backfill is not None:
            with dagster_instance(settings_at(home).dagster_home) as instance:
                evaluation = evaluation_of(instance, backfill)
        facts = by_somebody(engine, by_evaluation(evaluation or ""))
    if as_json:
        _print(facts)
    else:
        terminal_plan.requests(Console(), facts, _places(engine), full=full)


# ---- parts


def _selection(engine: "Engine", asked: list[str], *, downstream: bool) -> "Selection | None":
    from sh_defs.facts.selecting import selected

    if downstream and not asked:
        raise typer.BadParameter("name what it is that all downstream of is meant", param_hint="--downstream")
    return selected(engine.graph, asked, engine.today_utc(), downstream=downstream)


def _paused(engine: "Engine", selection: "Selection | None", *, include: bool) -> frozenset[str]:
    """Paused tables of which partitions are to be run; those named are refused if none are to be.

    Raises:
        SelfHealError: If a table is named that is paused, and that was not said to be known.
    """
    from sh_core.errors import SelfHealError
    from sh_resources.book import paused

    held = paused(engine.graph, engine.ledger.requests.pauses())
    if include:
        return held if selection is None or selection.downstream else held & selection.named.keys()
    named = sorted(held & selection.named.keys()) if selection is not None else []
    if named:
        which = ", ".join(named)
        msg = f"{which} is paused: selfheal plan says by whom. Resume it, or repeat this with --include-paused"
        raise SelfHealError(msg)
    return frozenset()


def _carried_out(home: Home, engine: "Engine", made: "Plan", insistence: "Insistence", out: Console) -> "Repair":
    from sh_defs.home import dagster_instance, prepare_dagster_home
    from sh_defs.interrupts import hearing_interrupts
    from sh_defs.progress import watching
    from sh_defs.repairing import Repair
    from sh_resources.clock import SystemClock

    settings = settings_at(home)
    folder = prepare_dagster_home(settings)
    with dagster_instance(folder) as instance, hearing_interrupts() as stop_if_told, watching(out) as watcher:
        patience_s = 1.5 * settings.lease_s
        going = Repair(settings, engine, instance, SystemClock(), watcher, stop_if_told, patience_s)
        going.carry_out(made, insistence)
    return going


def _suppose(engine: "Engine", said: str, columns: str | None, *, full: bool, as_json: bool) -> None:
    from sh_defs.facts.selecting import keys_of
    from sh_defs.facts.supposing import supposed
    from sh_defs.shown import terminal_plan

    now_utc = engine.today_utc()
    table, keys = keys_of(engine.graph, said, now_utc)
    named = None if columns is None else [name.strip() for name in columns.split(",") if name.strip()]
    facts = supposed(engine, table, list(keys), named, now_utc)
    if as_json:
        _print(facts)
    else:
        terminal_plan.reach(Console(), facts, _places(engine), full=full)


def _places(engine: "Engine") -> "Places":
    from sh_core.links import places

    now_utc = engine.today_utc()

    def of(table: str) -> Mapping[str, int]:
        return places(engine.graph[table].partitions, now_utc) if table in engine.graph else {}

    return of


def _who() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return "somebody"


def _print(facts: object) -> None:
    typer.echo(json.dumps(facts, indent=2, ensure_ascii=False))
