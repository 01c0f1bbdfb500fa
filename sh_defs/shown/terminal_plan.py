"""Showing plans and repairs at a terminal.

Belongs here: lines made of what ``facts.planning`` gathered: partitions of which the same is to be said, together.
Does not belong here: gathering. Invariant: every partition is shown or counted among what was left out, and it is said
how to see those.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from sh_core.outcome import awaited
from sh_defs.facts.saying import count, moment, visible

Facts = Mapping[str, Any]
Places = Callable[[str], Mapping[str, int]]
"""The place of each partition of a table, by key."""

SPANS, GROUPS, TABLES, LINES = 3, 4, 20, 16
"""How many spans of partitions are named of a group, groups of a table, tables of a section, and lines of a diff."""

AWAITED = 2
_LABEL = 24


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
    what = "everything" if facts["columns"] is None else ", ".join(facts["columns"])
    console.print(f"If {what} of {facts['table']} {facts['partition']} changed:", style="bold", highlight=False)
    for found in facts["reached"]:
        _title(console, found["table"], f"{count(len(found['partitions']), 'partition')} would be computed")
        rows = [
            {"table": found["table"], "partition": key, "status": "said", "says": ""} for key in found["partitions"]
        ]
        spans, left = cut.first(_spans([r["partition"] for r in rows], places(found["table"])), SPANS)
        _line(console, "\n".join([*spans, *([f"and {left:,} more"] if left else [])]), found["says"])
    if not facts["reached"]:
        console.print("\nNothing reads that: no partition would be computed.", highlight=False)
    if facts["not_reached"]:
        _title(console, "Not reached", "")
        for other in facts["not_reached"]:
            _line(console, other["table"], other["says"])
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
        groups, groups_left = cut.first(_grouped(by_table[table]), GROUPS)
        for group in groups:
            spans, spans_left = cut.first(_spans([one["partition"] for one in group], places(table)), SPANS)
            label = [*spans, *([f"and {spans_left:,} more spans"] if spans_left else [])]
            _line(console, "\n".join(label), _said(group))
            _lines(console, group[0], cut)
        if groups_left:
            rest = sum(map(len, _grouped(by_table[table])[len(groups) :]))
            _line(console, f"and {rest:,} more", "for other reasons")
    if left:
        rest = sum(len(by_table[table]) for table in list(by_table)[len(shown) :])
        console.print(f"  and {left:,} more tables with {count(rest, 'partition')}", highlight=False)


def _causes(waiting: Sequence[Facts]) -> list[Facts]:
    """Those that wait for something which does not wait itself."""
    themselves = {f"{one['table']}[{one['partition']}]" for one in waiting}
    return [one for one in waiting if not themselves.issuperset(one["missing"])]


def _grouped(found: Sequence[Facts]) -> list[list[Facts]]:
    """Partitions of which the same is to be said, in the order of the first of each."""
    groups: dict[tuple[str, ...], list[Facts]] = {}
    for one in found:
        groups.setdefault(tuple(_general(text, one) for text in _sentences(one)), []).append(one)
    return list(groups.values())


def _general(text: str, one: Facts) -> str:
    """A sentence without what differs from partition to partition, so that it can be compared with others'."""
    if one["status"] == "waiting":
        return f"for {awaited(list(dict.fromkeys(m.partition('[')[0] for m in _generals(one))), AWAITED)}"
    return text.replace(one["partition"], "…")


def _generals(one: Facts) -> list[str]:
    return [missing.replace(one["partition"], "…") for missing in one["missing"]]


def _said(group: Sequence[Facts]) -> str:
    """What is to be said of some partitions; what is special about each only if it is the same, or as an example."""
    first = group[0]
    sentences = _sentences(first) if len(group) == 1 else [_general(text, first) for text in _sentences(first)]
    special = [_exactly(one) for one in group]
    if len(set(special)) == 1:
        return "\n".join([*sentences, *special[0]])
    return "\n".join([*sentences, f"e.g. {first['partition']}: {'; '.join(special[0])}"])


def _sentences(one: Facts) -> list[str]:
    said = [reason["says"] for reason in one.get("reasons", ())]
    match one["status"]:
        case "due" if one.get("overrides"):
            said.append(f"although automation holds it back: {one['overrides']['says']}")
        case "landed":
            said.append(f"{one['file']} has landed and was not taken in yet")
        case "may_change":
            said.append(f"may change: reads {', '.join(one['through'])}{', and is new' if one['is_new'] else ''}")
        case "held_back":
            until = one["held"]["until_utc"]
            when = f" (at {moment(datetime.fromisoformat(until))})" if until else ""
            said.insert(0, f"{one['held']['says']}{when}")
            said += [f"may change: reads {', '.join(one['through'])}"] if one["through"] else []
        case "outside":
            said.append(f"reads {', '.join(one['first'])}, too")
        case "waiting":
            said.append(f"for {awaited(one['missing'], AWAITED)}")
        case "said":
            said.append(one["says"])
    return said


def _exactly(one: Facts) -> tuple[str, ...]:
    return tuple(reason["exactly"] for reason in one.get("reasons", ()) if reason["exactly"])


def _lines(console: Console, one: Facts, cut: Cut) -> None:
    """A diff, below what it explains."""
    for reason in one.get("reasons", ()):
        lines, left = cut.first(reason["lines"], LINES)
        for line in lines:
            style = {"+": "green", "-": "red"}.get(line[:1], "dim")
            console.print(Text(f"{' ' * (_LABEL + 5)}{visible(line)}", style=style), soft_wrap=False, overflow="fold")
        if left:
            console.print(Text(f"{' ' * (_LABEL + 5)}and {left:,} more lines", style="dim"))


def _spans(keys: Sequence[str], place: Mapping[str, int]) -> list[str]:
    """Partitions as spans of neighbours: ``2013-01-05..2013-01-09``."""
    spans: list[tuple[str, str]] = []
    for key in sorted(keys, key=lambda key: place.get(key, -1)):
        if spans and place.get(key, -1) == place.get(spans[-1][1], -3) + 1:
            spans[-1] = (spans[-1][0], key)
        else:
            spans.append((key, key))
    return [first if first == last else f"{first}..{last}" for first, last in spans]


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
        {"table": of["table"], "partition": d["partition"], "status": "said", "says": _decided(d)}
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
    return f"{action} {moment(datetime.fromisoformat(decision['settled_utc']))}, run {decision['run']}"


def _pauses(console: Console, pauses: Sequence[Facts]) -> None:
    if not pauses:
        return
    _title(console, "Paused", "")
    for pause in pauses:
        below = " and all downstream" if pause["downstream"] else ""
        why = f": {pause['reason']}" if pause["reason"] else ""
        since = moment(datetime.fromisoformat(pause["since_utc"]))
        _line(console, f"{pause['table']}{below}", f"by {pause['by']}, {since}{why}")


def _line(console: Console, label: str, text: str) -> None:
    line = Grid.grid(padding=(0, 1, 0, 0))
    line.add_column(width=3)
    line.add_column(width=_LABEL, overflow="fold")
    line.add_column(overflow="fold", ratio=1)
    line.add_row("", Text(visible(label)), Text(visible(text)))
    console.print(line)
