"""Progress: what a long command is doing, while it does it.

Belongs here: counting outcomes, and showing the counts as bars on a terminal or as plain lines elsewhere. Does not
belong here: the work. Invariant: in a log file every part is one line, written when the part is done.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from sh_core.outcome import Outcome, Published, Withheld

_OPEN = ("busy", "taken over", "waiting")
"""Outcomes after which a partition is still not settled by us."""


@dataclass
class Tally:
    """Outcomes of one part, counted.

    Attributes:
        total: Partitions (or files) of the part.
        before: Those of them that were up to date before.
        outcomes: Number per word for an outcome.
        quarantined: Rows set aside.
    """

    total: int
    before: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    quarantined: int = 0

    @property
    def done(self) -> int:
        """Units that need nothing more."""
        return min(self.total, self.before + sum(n for word, n in self.outcomes.items() if word not in _OPEN))

    def add(self, word: str, outcome: Outcome) -> None:
        """Count one outcome under the word for it."""
        self.outcomes[word] += 1
        if isinstance(outcome, Published | Withheld):
            self.quarantined += outcome.quarantined

    def __str__(self) -> str:
        """The counts in words, those that are zero left out."""
        said = [f"{n:,} {word}" for word, n in self.outcomes.items() if n]
        if self.before:
            said.insert(0, f"{self.before:,} up to date")
        if self.quarantined:
            said.append(f"{self.quarantined:,} {'row' if self.quarantined == 1 else 'rows'} quarantined")
        return ", ".join(said) or "nothing to do"


class Watcher(Protocol):
    """Whoever is told how a long command goes on."""

    def update(self, part: str, tally: Tally) -> None:
        """A part began, or went on."""

    def finish(self, part: str, tally: Tally, seconds: float) -> None:
        """A part is done for now."""

    def note(self, text: str) -> None:
        """Something worth a line of its own."""


@contextmanager
def watching(console: Console) -> Iterator[Watcher]:
    """Bars on a terminal, plain lines elsewhere."""
    if not console.is_terminal:
        yield _Lines(console)
        return
    columns = (TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[counts]}"), console=console) as progress:
        yield _Bars(progress)


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console = console

    def update(self, part: str, tally: Tally) -> None:
        pass

    def finish(self, part: str, tally: Tally, seconds: float) -> None:
        self.note(f"{part:<25} {tally.done:>6,}/{tally.total:<6,} {tally} ({seconds:.1f} s)")

    def note(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class _Bars:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def update(self, part: str, tally: Tally) -> None:
        if part not in self._tasks:
            self._tasks[part] = self._progress.add_task(f"{part:<25}", total=tally.total, counts="")
        task = self._tasks[part]
        self._progress.start_task(task)
        self._progress.update(task, total=tally.total, completed=tally.done, counts=_coloured(tally))

    def finish(self, part: str, tally: Tally, seconds: float) -> None:
        del seconds  # the bar has its own clock
        self.update(part, tally)
        self._progress.stop_task(self._tasks[part])

    def note(self, text: str) -> None:
        self._progress.console.print(text, markup=False)


def _coloured(tally: Tally) -> str:
    text = str(tally)
    trouble = tally.outcomes["withheld"] or tally.quarantined
    return f"[yellow]{text}[/]" if trouble else f"[green]{text}[/]"
