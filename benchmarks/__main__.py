"""The benchmarks' command line: ``make bench``, or ``python -m benchmarks [NAME …] [--quick] [--json FILE]``.

Belongs here: choosing, printing, keeping results. Does not belong here: measuring. Invariant: figures never leave
without the machine they were taken on.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import demo, gate, gx, hops, landing, pages, publish, ticks, year
from benchmarks.environment import UnavailableError
from benchmarks.peers import measuring as peers

Results = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Per table to print: per row, per column a figure."""

WIDTH = 130
"""Columns of the printed tables where there is no terminal."""

PACKAGES = ("polars", "deltalake", "pandera", "dataframely", "sqlalchemy", "dagster")


def _gate(*, quick: bool, say: Callable[[str], None]) -> Results:
    try:
        gx_python, against = gx.GREAT_EXPECTATIONS.python(say), f"; {gx.versions()}"
    except UnavailableError as error:
        gx_python, against = None, ""
        print(error, file=sys.stderr)
    say("gate: judging against the same split by hand")
    rows = 100_000 if quick else 1_000_000
    found = gate.run(rows=rows, gx_python=gx_python)
    scenarios = {name: figures for name, figures in found.items() if isinstance(figures, dict)}
    return {f"gate: ratios to a split by hand, {rows:,} rows{against}": scenarios}


def _year(*, quick: bool, say: Callable[[str], None]) -> Results:
    return year.run(rounds=1, days=60, say=say) if quick else year.run(say=say)


def _publish(*, quick: bool, say: Callable[[str], None]) -> Results:
    return publish.run(commits=200, snapshots=5_000, say=say) if quick else publish.run(say=say)


def _demo(*, quick: bool, say: Callable[[str], None]) -> Results:
    return demo.run(days=5, rounds=1, say=say) if quick else demo.run(say=say)


def _pages(*, quick: bool, say: Callable[[str], None]) -> Results:
    return pages.run(tables=4, days=60, rounds=1, say=say) if quick else pages.run(say=say)


def _hops(*, quick: bool, say: Callable[[str], None]) -> Results:
    return hops.run(days=12, say=say) if quick else hops.run(say=say)


def _landing(*, quick: bool, say: Callable[[str], None]) -> Results:
    return landing.run(sizes=(1_000, 10_000), say=say) if quick else landing.run(say=say)


def _ticks(*, quick: bool, say: Callable[[str], None]) -> Results:
    return ticks.run(sizes=((12, 100),), million=(20, 500), say=say) if quick else ticks.run(say=say)


def _peers(*, quick: bool, say: Callable[[str], None], days: int | None = None) -> Results:
    return peers.run(days=days or (10 if quick else 60), say=say)


BENCHMARKS: Mapping[str, Callable[..., Results]] = {
    "demo": _demo,
    "gate": _gate,
    "hops": _hops,
    "landing": _landing,
    "pages": _pages,
    "peers": _peers,
    "publish": _publish,
    "ticks": _ticks,
    "year": _year,
}


def _machine() -> dict[str, Any]:
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cores": os.cpu_count(),
        "load before": load,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in PACKAGES},
    }


def _show(console: Console, results: Results) -> None:
    for title, rows in results.items():
        columns = list(dict.fromkeys(column for figures in rows.values() for column in figures))
        table = Table(title=title, title_justify="left")
        table.add_column(no_wrap=True)
        for column in columns:
            table.add_column(column, justify="right")
        for row, figures in rows.items():
            table.add_row(row, *(_shown(figures.get(column)) for column in columns))
        console.print(table)


def _shown(figure: float | None) -> str:
    if figure is None:
        return ""
    return f"{figure:,.0f}" if isinstance(figure, int) or abs(figure) >= 100 else f"{figure:.2f}"  # noqa: PLR2004


def main() -> None:
    """Run the benchmarks that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="What this project costs, as ratios.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(BENCHMARKS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="small sizes and one round, to see that all works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure here, too")
    parser.add_argument("--days", type=int, metavar="N", help="days that peers takes, 5 to 365; default: 60")
    given = parser.parse_args()
    unknown = sorted(set(given.names) - set(BENCHMARKS))
    if unknown:
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    console, machine, results = Console(), _machine(), dict[str, Results]()
    if not console.is_terminal:
        console.width = WIDTH
    console.print(", ".join(f"{name} {fact}" for name, fact in machine.items()), highlight=False)
    with console.status("starting") as status:
        for name in given.names or BENCHMARKS:
            days = {"days": given.days} if name == "peers" else {}
            results[name] = BENCHMARKS[name](quick=given.quick, say=status.update, **days)
            _show(console, results[name])
            if given.json is not None:
                given.json.write_text(json.dumps({"machine": machine, "results": results}, indent=1))


if __name__ == "__main__":
    main()
