"""Showing plans and repairs at a terminal.

Belongs here: lines made of what ``facts.planning`` gathered: partitions of which the same is to be said, together.
Does not belong here: gathering. Invariant: every partition is shown or counted among what was left out, and it is said
how to see those.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from sh_core.partitions import WHOLE
from sh_defs.facts.saying import count, moment, visible
from sh_defs.shown.grouping import Facts, Places, grouped, spans

SPANS, GROUPS, TABLES, LINES = 3, 4, 20, 16
"""How many spans of partitions are named of a group, groups of a table, tables of a section, and lines of a diff."""

_LABEL = 24
_SHORT = 8


@dataclass
class Cut:
    """What is left out of a text.

    Attributes:
        full: Whether nothing is to be left out.
        happened: Whether something was.
    """

    full: bool
    happened: bool = False

    def first(self, things: Sequence[Any], most: int) -> tuple[Sequence[Any], int]:
        """The first of some things, and how many are left out."""
        if self.full or len(things) <= most + 1:  # "and 1 more" would take the room of the one
            return things, 0
        self.happened = True
        return things[:most], len(things) - most


def plan(console: Console, facts: Facts, places: Places, *, full: bool = False) -> None:
    """A whole plan.

    Args:
        console: Where to.
        facts: From ``plan_facts``.
        places: Tells which partitions are neighbours.
        full: Leave nothing out.
    """
    cut = Cut(full)
    _head(console, facts)
    steps = [p for p in facts["partitions"] if p["status"] in ("due", "landed", "may_change")]
    for hop in facts["hops"]:
        _title(console, f"Hop {hop['hop']}", _about(hop["cost"]))
        _tables(console, [p for p in steps if p["hop"] == hop["hop"]], places, cut)
    for status, heading in _SECTIONS.items():
        found = [p for p in facts["partitions"] if p["status"] == status]
        if found:
            _title(console, heading, count(len(found), "partition"))
            first = found if full or status != "waiting" else _causes(found)
            _tables(console, first, places, cut)
            if len(first) < len(found):
                cut.happened = True
                behind = count(len({p["table"] for p in found} - {p["table"] for p in first}), "table")
                rest = len(found) - len(first)
                console.print(f"  and {rest:,} more of {behind}, which wait for these", highlight=False)
    _settled(console, facts, places, cut)
    _pauses(console, facts["pauses"])
    if cut.happened:
        console.print("\nNot all is shown: --full or --json shows the rest; a table can be named.", highlight=False)


_SECTIONS = {
    "held_back": "Held back",
    "outside": "Not in this plan: something else that they read is due first",
    "waiting": "Waiting",
}


def repaired(console: Console, facts: Facts, places: Places) -> None:
    """What became of each partition of a repair."""
    cut = Cut(full=False)
    counts = facts["counts"]
    _title(console, f"Repair {facts['repair']}", f"{facts['seconds']:.1f} s")
    said = ", ".join(f"{number:,} {word}" for word, number in counts.items())
    console.print(said or "Nothing was due any more.", highlight=False)
    trouble = [p for p in facts["partitions"] if p["says"]]
    if trouble:
        _tables(console, trouble, places, cut)
    if cut.happened:
        console.print("\nNot all is shown; --json has it.", highlight=False)
    if facts["repair"]:
        console.print(f"\nWhy each was run: selfheal why --repair {facts['repair']}", highlight=False)


def requests(console: Console, facts: Facts, places: Places, *, full: bool = False) -> None:
    """What was requested, and why."""
    cut = Cut(full)
    if not facts["requests"]:
        console.print(facts["nothing"], highlight=False)
        return
    for asked in facts["requests"]:
        _title(console, moment(datetime.fromisoformat(asked["at_utc"])), f"by {asked['asked_by']}")
        _tables(console, asked["partitions"], places, cut)
    if facts["more"]:
        console.print("\nThere are more; --limit shows them.", highlight=False)
    if cut.happened:
        console.print("\nNot all is shown: --full or --json shows the rest.", highlight=False)


def reach(console: Console, facts: Facts, places: Places, *, full: bool = False) -> None:
    """The reach of a change that was not made."""
    cut = Cut(full)
    which = facts["table"] if facts["partition"] == WHOLE else f"{facts['table']} {facts['partition']}"
    what = which if facts["columns"] is None else f"{', '.join(facts['columns'])} of {which}"
    console.print(f"If {what} changed:", style="bold", highlight=False)
    for found in facts["reached"]:
        _title(console, found["table"], f"{count(len(found['partitions']), 'partition')} would be computed")
        _line(console, _some(spans(found["partitions"], places(found["table"])), cut), found["says"])
    if not facts["reached"]:
        console.print("\nNothing reads that: no partition would be computed.", highlight=False)
    if facts["not_reached"]:
        _title(console, "Not reached", "")
        for other in facts["not_reached"]:
            console.print(Text(f"  {other['table']}", style="cyan"))
            _below(console, other["says"])
    if any(found["columns"] for found in facts["reached"]):
        note = "\nA change that breaks a rule takes its row away, and so reaches every column."
        console.print(note, highlight=False, style="dim")
    if cut.happened:
        console.print("\nNot all is shown: --full or --json shows the rest.", highlight=False)


# ---- parts


def _head(console: Console, facts: Facts) -> None:
    tables = {p["table"] for p in facts["partitions"] if p["status"] == "due"}
    more = facts["may_change"]
    if not facts["due"] and not more:
        console.print("Nothing is due.", highlight=False)
        return
    due = f"{count(facts['due'], 'partition')} of {count(len(tables), 'table')} {_are(facts['due'])} due"
    after = f"{count(more, 'partition') if not facts['due'] else f'{more:,} more'} may change"
    said = [due, after] if facts["due"] and more else [due if facts["due"] else after]
    about = _about(facts["cost"])
    console.print(f"{'; '.join(said)}.{f' {about[0].upper()}{about[1:]}.' if about else ''}", highlight=False)


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _about(cost: Facts) -> str:
    """E.g. ``about 1.2 s, 3,400 rows``; nothing if it is not known."""
    parts = [] if cost["seconds"] is None else [f"{seconds(cost['seconds'])} of computing"]
    parts += [] if cost["rows"] is None else [count(cost["rows"], "row")]
    return f"about {', '.join(parts)}" if parts else ""


def seconds(number: float) -> str:
    """E.g. ``0.3 s`` or ``12 min``."""
    if number < 60:  # noqa: PLR2004 - a minute
        return f"{max(number, 0.1):.1f} s"
    return f"{number / 60:.0f} min" if number < 3600 else f"{number / 3600:.1f} h"  # noqa: PLR2004 - an hour


def _title(console: Console, text: str, more: str) -> None:
    line = Text(f"\n{visible(text)}", style="bold")
    if more:
        line.append(f"  {more}", style="not bold dim")
    console.print(line, highlight=False)


def _tables(console: Console, found: Iterable[Facts], places: Places, cut: Cut) -> None:
    by_table: dict[str, list[Facts]] = {}
    for one in found:
        by_table.setdefault(one["table"], []).append(one)
    shown, left = cut.first(list(by_table), TABLES)
    for table in shown:
        console.print(Text(f"  {table}", style="cyan"))
        groups = grouped(by_table[table], places)
        some, groups_left = cut.first(groups, GROUPS)
        for group in some:
            _line(console, _some(group.spans(places(table)), cut), group.text)
            _lines(console, group.members[0], cut)
        if groups_left:
            rest = sum(len(group.members) for group in groups[len(some) :])
            _line(console, f"and {rest:,} more", "for other reasons")
    if left:
        rest = sum(len(by_table[table]) for table in list(by_table)[len(shown) :])
        console.print(f"  and {left:,} more tables with {count(rest, 'partition')}", highlight=False)


def _some(spans: Sequence[str], cut: Cut) -> str:
    """Spans below each other, the first few."""
    shown, left = cut.first(spans, SPANS)
    return "\n".join([*shown, *([f"and {left:,} more spans"] if left else [])])


def _causes(waiting: Sequence[Facts]) -> list[Facts]:
    """Those that wait for something which does not wait itself."""
    themselves = {f"{one['table']}[{one['partition']}]" for one in waiting}
    return [one for one in waiting if not themselves.issuperset(one["missing"])]


def _lines(console: Console, one: Facts, cut: Cut) -> None:
    """A diff, below what it explains."""
    for reason in one.get("reasons", ()):
        lines, left = cut.first(reason["lines"], LINES)
        for line in lines:
            style = {"+": "green", "-": "red"}.get(line[:1], "dim")
            console.print(Text(f"{' ' * (_LABEL + 5)}{visible(line)}", style=style), soft_wrap=False, overflow="fold")
        if left:
            console.print(Text(f"{' ' * (_LABEL + 5)}and {left:,} more lines", style="dim"))


def _settled(console: Console, facts: Facts, places: Places, cut: Cut) -> None:
    found = facts["settled"]
    if not found:
        return
    number = sum(len(of["partitions"]) for of in found)
    if not facts["asked"]:
        console.print(
            f"\n{count(number, 'partition')} of {count(len(found), 'table')} are up to date.", highlight=False
        )
        return
    _title(console, "Settled", count(number, "partition"))
    rows = [
        {"table": of["table"], "partition": d["partition"], "status": "said", "says": _decided(d), "exactly": _under(d)}
        for of in found
        for d in of["decisions"]
    ]
    told = {(row["table"], row["partition"]) for row in rows}
    rows += [
        {"table": of["table"], "partition": key, "status": "said", "says": "up to date"}
        for of in found
        for key in of["partitions"]
        if (of["table"], key) not in told
    ]
    _tables(console, rows, places, cut)


_ACTIONS = {"publish": "published", "refresh": "found unchanged", "withhold": "withheld"}


def _decided(decision: Facts) -> str:
    action = _ACTIONS.get(decision["action"], decision["action"].replace("_", " "))
    return f"{action} {moment(datetime.fromisoformat(decision['settled_utc']))}"


def _under(decision: Facts) -> str:
    return f"run {decision['run'].partition(':')[0][:_SHORT]}, trace {decision['trace'][:_SHORT]}"


def _pauses(console: Console, pauses: Sequence[Facts]) -> None:
    if not pauses:
        return
    _title(console, "Paused", "")
    for pause in pauses:
        console.print(Text(f"  {pause['table']}", style="cyan"))
        _below(console, pause["says"])


def _below(console: Console, text: str) -> None:
    console.print(Padding(Text(visible(text)), (0, 0, 0, 4)))


def _line(console: Console, label: str, text: str) -> None:
    line = Grid.grid(padding=(0, 1, 0, 0))
    line.add_column(width=3)
    line.add_column(width=_LABEL, overflow="fold")
    line.add_column(overflow="fold", ratio=1)
    line.add_row("", Text(visible(label)), Text(visible(text)))
    console.print(line)
