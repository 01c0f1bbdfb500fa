"""The oracle from a command line: so many cases from a seed, with a bar, and what disagreed.

Belongs here: telling of cases. Does not belong here: cases (``drive``, ``schedule``). Invariant: it ends with 1
if anything disagreed, and says with which seed to repeat it.
"""

import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import typer
from rich.console import Console
from rich.progress import Progress

from sh_drills.oracle.drive import Account, DisagreedError, quiescent
from sh_drills.oracle.real_system import RealSystem
from sh_drills.oracle.schedule import interleaved

_TOGETHER = 20
"""Cases between two steps of the bar."""


def tried(seed: int, tables: int | None, *, real: bool) -> list[Account] | str:
    """One seed: what its cases consisted of, or what disagreed."""
    try:
        if not real:
            return [quiescent(seed, tables=tables), interleaved(seed, tables=tables)]
        with TemporaryDirectory(prefix="oracle-") as home, RealSystem.at(Path(home)) as opened:
            return [quiescent(seed, tables=tables, opened=opened)]
    except DisagreedError as disagreed:
        return str(disagreed)


def main(
    seed: int = typer.Option(1, help="The first seed; the others follow it."),
    cases: int = typer.Option(
        1000, help="How many seeds; each is one case with changes one by one and one all at once."
    ),
    tables: int | None = typer.Option(None, help="Tables of every graph; drawn from 3 to 60 if not given."),
    real: bool = typer.Option(  # noqa: FBT001 -- typer turns it into a flag
        default=False, help="With the real engine, its ledger and files; one change after another."
    ),
    jobs: int = typer.Option(os.cpu_count() or 1, help="Processes."),
) -> None:
    """Compare what the watch requests with what a naive reference executes, on random graphs and changes."""
    console, began = Console(), perf_counter()
    found: list[Account] = []
    wrong: list[tuple[int, str]] = []
    with ProcessPoolExecutor(jobs) as pool, Progress(console=console, transient=True) as progress:
        bar = progress.add_task("cases", total=cases)
        for number, result in enumerate(
            pool.map(
                partial(tried, tables=tables, real=real), range(seed, seed + cases), chunksize=1 if real else _TOGETHER
            )
        ):
            if isinstance(result, str):
                wrong.append((seed + number, result))
            else:
                found += result
            progress.advance(bar)
    seconds = perf_counter() - began
    executed, changes = sum(a.executed for a in found), sum(a.changes for a in found)
    console.print(
        f"{len(found):,} cases in {seconds:.1f} s ({len(found) / seconds:.0f} a second): {changes:,} changes, "
        f"{sum(a.ticks for a in found):,} ticks, {executed:,} partitions executed, "
        f"{sum(a.reused for a in found):,} requested for nothing (only where several things happened at once)."
    )
    if wrong:
        number, said = wrong[0]
        console.print(f"{len(wrong)} seeds disagree; the first is {number}:\n", style="red")
        console.print(said, markup=False, highlight=False, soft_wrap=True)
        console.print(f"\nTo repeat it: python -m sh_drills.oracle --seed {number} --cases 1", markup=False)
        raise typer.Exit(1)
    console.print("Content, and what was executed, agree with the reference everywhere.")


if __name__ == "__main__":
    typer.run(main)
