"""Showing tables, partitions and quarantine at a terminal.

Belongs here: lines and grids made of what ``inspecting`` gathered. Does not belong here: gathering, masking. Invariant:
whatever a feed delivered is shown as text, with control characters made visible, never as markup.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid
from rich.text import Text

from sh_core.masking import LONGEST
from sh_core.outcome import awaited
from sh_defs.facts.saying import age, count, moment, visible
from sh_defs.shown.terminal import new_grid, title
from sh_defs.shown.terminal_late import span

WIDE = 120
"""Characters of a terminal from which a line per table also names time and owner; on others they stand below."""

SHOWN = 8
"""Past publications, attempts and files that are shown; ``--json`` has more."""

_ACTIONS = {"publish": "published", "refresh": "found unchanged", "withhold": "withheld"}
_LABEL = 14
_SHORT = 16

Facts = Mapping[str, Any]


def every_table(console: Console, facts: Facts) -> None:
    """A line per table."""
    now = datetime.fromisoformat(facts["now_utc"])
    wide = console.width >= WIDE
    columns = ("published", "withheld", "never", "rows", "aside", "last")
    lines = new_grid("table", "station", *columns, *(("UTC", "owner") if wide else ()), left=2)
    lines.columns[0].no_wrap = False  # rather a long name in two lines than a number cut short
    lines.columns[0].overflow = "fold"
    for t in facts["tables"]:
        at = _time(t["last_published_utc"])
        withheld = f"[yellow]{len(t['withheld']):,}[/]" if t["withheld"] else "0"
        numbers = (f"{t['published']:,}", withheld, f"{t['never']:,}", f"{t['rows']:,}", f"{t['quarantined']:,}")
        more = (moment(at).removesuffix(" UTC"), escape(t["owner"])) if wide else ()
        lines.add_row(t["table"], t["station"], *numbers, age(at, now).removesuffix(" ago"), *more)
    console.print(lines)
    if facts["pauses"]:
        console.print()
        for pause in facts["pauses"]:
            _say(console, "paused", f"{pause['table']} {pause['says']}", style="yellow")
    if not wide:
        owners: dict[str, list[str]] = {}
        for t in facts["tables"]:
            owners.setdefault(t["owner"], []).append(t["table"])
        last = max((at for t in facts["tables"] if (at := _time(t["last_published_utc"])) is not None), default=None)
        console.print()
        _say(console, "last", f"{moment(last)}; now {moment(now)}")
        for owner, names in owners.items():
            _say(console, "owner", f"{owner or 'nobody'}: {', '.join(names) if len(owners) > 1 else 'all tables'}")


def table(console: Console, facts: Facts) -> None:
    """Everything about one table."""
    console.print(f"[bold]{facts['table']}[/]  [dim]{facts['station']}[/]", highlight=False)
    _say(console, "", facts["description"])
    console.print()
    _say(console, "owner", facts["owner"] or "nobody")
    if facts["feed"] is not None:
        _say(console, "reads feed", f"{facts['feed']['feed']}: {facts['feed']['file_name']}")
    for given in facts["inputs"]:
        read = f"all {len(given['columns'])} columns" if given["whole"] else ", ".join(given["columns"])
        rows = f"; only rows that occur in {given['rows']}" if given["rows"] else ""
        if given["consulted"]:
            _say(console, "refers to", f"{given['table']}: {read}")
        else:
            _say(console, "reads", f"{given['table']}: {read}; {given['partitions']}{rows}")
    _say(console, "read by", ", ".join(facts["downstream"]) or "no table")
    p = facts["partitions"]
    by = f"by {p['column']}" if p["column"] else "not partitioned"
    _say(console, "partitions", f"{p['declared']:,} declared {by}, {p['first']} to {p['last']}")
    seen = f", {p['first_published']} to {p['last_published']}" if p["published"] else ""
    _say(console, "published", f"{p['published']:,}{seen}; {count(facts['rows'], 'row')}")
    _say(console, "withheld", _listed(p["withheld"]), style="yellow" if p["withheld"] else "")
    _say(console, "quarantined", count(facts["quarantined"], "row"))
    _path(console, "folder", facts["folder"])
    _contract(console, facts["contract"])
    title(console, "Last publications")
    _moments(console, facts["publications"])
    _incidents(console, facts["incidents"], none="No incident is open.")


def partition(console: Console, facts: Facts) -> None:
    """Everything about one partition."""
    console.print(f"[bold]{facts['table']} {escape(facts['partition'])}[/]", highlight=False)
    text, style = _seen(facts)
    _say(console, "readers see", text, style=style)
    _currency(console, facts)
    _deadline(console, facts)
    if not facts["agrees_with_ledger"]:
        said = "Delta and the ledger disagree; materialize it again, or run selfheal recover if a run was killed"
        _say(console, "", said, style="red")
    if facts["content"] is not None:
        _content(console, facts["content"])
    if facts["judgement"] is not None:
        _judgement(console, facts["judgement"])
    _traces(console, facts)
    for replaced in facts["reconciled"][:SHOWN]:
        title(console, f"Replaced a placeholder {_at(replaced['at_utc'])}")
        console.print(escape(replaced["says"]), highlight=False)
    _arrivals(console, facts["arrivals"])
    _first_rows(console, facts["first_rows"])
    _incidents(console, facts["incidents"], none="It never had an incident.")
    title(console, "History")
    for tried in facts["history"][:SHOWN]:
        _tried(console, tried)
    if not facts["history"]:
        console.print("Nothing was ever tried.")
    _returns(console, facts["can_return_to"])
    _bars(console, facts["bars"])


def _seen(facts: Facts) -> tuple[str, str]:
    """What readers see, and the style in which to say so."""
    match facts["readers_see"]:
        case "stale" | "may change":
            return _behind(facts), "yellow"
        case seen if seen in _SEEN:
            return _SEEN[seen]
        case _ if facts["judgement"] is not None:
            return "nothing: its only content is withheld", "red"
        case _:
            missing = facts["waits_for"]
            waits = f"it waits for {awaited(missing, SHOWN)}" if missing else "run selfheal run to compute it"
            return f"nothing: it was never computed; {waits}", ""


_SEEN: Mapping[str, tuple[str, str]] = {
    "newest": ("its newest content", "green"),
    "unknown": ("content of which nobody can say now whether it is the newest", "yellow"),
    "placeholder": ("a placeholder, or what rests on one: it is repaired when the truth lands", "yellow"),
    "rolled back": ("earlier content, to which it was rolled back", "yellow"),
    "last good": ("its last good content; newer content is withheld", "yellow"),
}
"""What readers see, and the style in which to say so, where it takes no more than a word of the facts."""


def _currency(console: Console, facts: Facts) -> None:
    """What else is to be said of how current a partition is, and what keeps it from being computed."""
    current = facts["currency"]
    if facts["readers_see"] in ("last good", "rolled back") and (said := _behind(facts)):
        _say(console, "not current", said, style="yellow")
    if current["waiting"] and facts["judgement"] is not None:
        _say(console, "waits for", awaited(current["waiting"], SHOWN), style="yellow")
    for pause in current["paused"]:
        _say(console, "paused", f"{pause['table']}, {pause['says']}", style="yellow")


def _deadline(console: Console, facts: Facts) -> None:
    """When it was due if it is not there, and what stands in for it."""
    owed = facts["deadline"]
    if owed is not None and owed["is_late"]:
        waits = f"; expected: {owed['file']}" if owed["file"] else ""
        number = "" if owed["incident"] is None else f"; incident {owed['incident']}"
        said = f"due {_at(owed['due_utc'])}, late since {_at(owed['late_utc'])}{waits}{number}"
        _say(console, "late", said, style="yellow")
    elif owed is not None and owed["there_utc"] is None:
        _say(console, "due", f"{_at(owed['due_utc'])}, late from {_at(owed['late_utc'])}")
    if facts["placeholder"]:
        _say(console, "placeholder", "; ".join(facts["placeholder"]), style="yellow")


def _behind(facts: Facts) -> str:
    """Why what readers see is not what would be computed now, and where that is explained; nothing if it is."""
    current, plan = facts["currency"], f"(selfheal plan {facts['table']}:{facts['partition']})"
    because = list(current["stale"])
    because += [f"{current['landed']} has landed and was not taken in yet"] if current["landed"] else []
    if because:
        return f"stale: {'; '.join(because)} {plan}"
    first = [
        f"{of['table']} {of['partitions'][0]}"
        if len(of["partitions"]) == 1
        else f"{len(of['partitions']):,} partitions of {of['table']}"
        for of in current["first"]
    ]
    return f"may change: {', '.join(first)} to be computed first {plan}" if first else ""


def quarantine_counts(console: Console, facts: Sequence[Facts]) -> None:
    """A line per table, partition and rule."""
    if not facts:
        console.print("No row is in quarantine.")
        return
    for name, of_table in groupby(facts, key=lambda found: found["table"]):
        title(console, name)
        lines = Grid.grid(padding=(0, 2, 0, 0))
        for justify in ("left", "left", "right", "left"):
            lines.add_column(justify=justify, overflow="fold")
        for found in of_table:
            files = [file.rsplit("/", 1)[-1] for file in found["files"]]
            file = files[0] if len(files) == 1 else f"{len(files)} files" if files else ""
            where = (Text(found["partition"]), Text(found["rule"], style="red"))
            lines.add_row(*where, f"{found['rows']:,}", Text(visible(file), style="dim"))
        console.print(lines)


def quarantined_rows(console: Console, facts: Facts) -> None:
    """Row by row: what it breaks, where it came from, how it reads."""
    where = facts["table"] if facts["partition"] is None else f"{facts['table']} {facts['partition']}"
    breaking = "" if facts["rule"] is None else f" that break {facts['rule']}"
    if not facts["rows"]:
        console.print(f"No rows of {where} are in quarantine{breaking}.", markup=False, highlight=False)
        return
    shown = "" if len(facts["rows"]) == facts["total"] else f", the first {len(facts['rows']):,}"
    title(console, f"{count(facts['total'], 'row')} of {where} in quarantine{breaking}{shown}")
    for row in facts["rows"]:
        console.print()
        for rule, says in row["rules"].items():
            _say(console, "breaks", f"{rule}: {says}" if says else rule, style="red")
        if row["file"] is not None:
            _say(console, "came in", f"{row['file']}, line {row['line']}")
        else:
            _say(console, "partition", row["partition"])
        _say(console, "reads", cells(row["row"]))


def cells(row: Mapping[str, Any]) -> str:
    """A row in a line: ``origin="EWR"  temp_f=39.02``; what is null or an empty list is left out."""
    told = {name: value for name, value in row.items() if value is not None and value != []}
    shown = (f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in told.items())
    return "  ".join(text if len(text) <= LONGEST else f"{text[:LONGEST]}…" for text in shown)


# ----------------------------------------------------------------------------------------------------------- sections


def _contract(console: Console, contract: Facts) -> None:
    title(console, f"Contract {contract['version'][:_SHORT]}")
    _say(console, "key", ", ".join(contract["key"]) or "none: rows have no identity")
    _say(console, "policy", contract["policy"])
    if contract["drops_duplicates"]:
        _say(console, "duplicates", "exact copies are dropped and counted")
    console.print()
    columns = new_grid("column", "type", "", left=3)
    for c in contract["columns"]:
        marks = [*(["key"] if c["key"] else []), *([c["unit"]] if c["unit"] else [])]
        marks += [*([f"to {c['quantum']:g}"] if c["quantum"] else []), *(["personal data"] if c["pii"] else [])]
        columns.add_row(c["name"], c["type"], escape(", ".join(marks)))
    console.print(columns)
    console.print()
    rules = Grid(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    rules.add_column("rule", overflow="fold", max_width=34)
    rules.add_column("of")
    rules.add_column("says", overflow="fold")
    for r in contract["rules"]:
        rules.add_row(r["rule"], "rows" if r["level"] == "row" else "whole", Text(r["says"]))
    console.print(rules)


def _moments(console: Console, publications: Sequence[Facts]) -> None:
    for p in publications[:SHOWN]:
        _say(console, _at(p["at_utc"]), f"{p['partitions']:,} {_ACTIONS[p['action']]}", label_width=20)
    if not publications:
        console.print("Nothing was ever published.")


def _content(console: Console, content: Facts) -> None:
    title(console, "Content")
    _say(console, "version", content["root"])
    _say(console, "rows", f"{content['rows']:,}")
    _say(console, "published", _at(content["published_utc"]))
    _say(console, "run", content["run"])
    _say(console, "attempt", f"{content['attempt']}, Delta transaction {content['transaction']}")
    _path(console, "file", content["file"])
    console.print()
    columns = new_grid("column", "digest", left=2)
    for name, digest in content["columns"].items():
        columns.add_row(f"{name}{' (key)' if name in content['key'] else ''}", f"[dim]{digest}[/]")
    console.print(columns)


def _judgement(console: Console, judged: Facts) -> None:
    title(console, "Last judgement")
    style = {"held": "green", "broken": "yellow", "unknown": "red"}[judged["verdict"]]
    _say(console, "verdict", f"{judged['verdict']}: {_ACTIONS[judged['action']]}", style=style)
    _say(console, "when", f"{_at(judged['settled_utc'])}, run {judged['run']}")
    _say(console, "quarantined", count(judged["quarantined"], "row"))
    for breach in judged["breaches"]:
        _say(console, "breaks", f"{breach['rule']}: {breach['says']}", style="red")
        _say(console, "", breach["found"])
        for row in breach["sample"][:1]:
            _say(console, "e.g.", cells(row))


def _traces(console: Console, facts: Facts) -> None:
    """What the content was computed from, and of what was judged since only where it differs."""
    published, judged = facts["trace"], facts["judgement"]
    if published is not None:
        _trace(console, published, "What its content was computed from")
    if judged is not None and judged["trace"] is not None:
        before = published["reads"] if published is not None else []
        news = [read for read in judged["trace"]["reads"] if read not in before]
        same = "; the rest as above" if before else ""
        _trace(console, {**judged["trace"], "reads": news}, f"What the last judgement was about{same}")


def _trace(console: Console, trace: Facts, what: str) -> None:
    title(console, what)
    _say(console, "code", trace["code"] + _still(current=trace["code_is_current"]))
    _say(console, "contract", trace["contract"] + _still(current=trace["contract_is_current"]))
    for (source, columns, rows), reads in groupby(trace["reads"], key=lambda r: (r["source"], r["columns"], r["rows"])):
        only = f"; only rows that occur in {rows}" if rows else ""
        _say(console, "read", f"{source}: {', '.join(columns) or 'everything'}{only}")
        for read in reads:
            _say(console, "", f"{read['partition']} {read['digest']}", style="dim")


def _still(*, current: bool | None) -> str:
    return "" if current is None else " (today's)" if current else " (not today's)"


def _arrivals(console: Console, arrivals: Sequence[Facts]) -> None:
    if not arrivals:
        return
    title(console, "Files")
    for a in arrivals[-SHOWN:]:
        rows = a["rows"] or {}
        counted = [f"{n:,} {term}" for term, n in rows.items() if n or term == "arrived"]
        late = f", superseded by arrival {a['superseded_by']}" if a["superseded_by"] is not None else ""
        version = f", version {a['version']}" if a["version"] is not None else ""
        waits = ", waits to be accepted or rejected" if a["waits"] else ""
        said = f", on the word of {a['said']['by']}" if a["said"] else ""
        _say(console, f"arrival {a['arrival']}", f"{a['file']}{version}, {_at(a['arrived_utc'])}{said}{waits}{late}")
        if counted or not late:
            _say(console, "", ", ".join(counted) or "not counted yet")


def _first_rows(console: Console, rows: Iterable[Mapping[str, Any]]) -> None:
    every = list(rows)
    if not every:
        return
    title(console, f"First {len(every)} rows")
    for row in every:
        console.print(Text(visible(cells(row))), highlight=False)


def _incidents(console: Console, incidents: Sequence[Facts], none: str) -> None:
    title(console, "Incidents")
    for i in incidents:
        ended = "open" if i["is_open"] else f"closed {_at(i['closed_utc'])}"
        said = f"{i['partition']}: {i['cause']}, {ended}"
        _say(console, f"incident {i['id']}", said, style="yellow" if i["is_open"] else "")
        for event in i["events"]:
            what = event["kind"].replace("_", " ")
            by = "" if event["run"] is None else f", run {event['run']}"
            late = "" if event["late_by_s"] is None else f", {span(event['late_by_s'])} late"
            _say(console, "", f"{_at(event['at_utc'])} {what}{by}{late}", style="dim")
        for line in i["says"]:
            _say(console, "", line, style="dim")
    if not incidents:
        console.print(none)


def _tried(console: Console, tried: Facts) -> None:
    state = "" if tried["state"] == "confirmed" else f", {tried['state']}"
    root = f" {tried['root'][:_SHORT]}, {tried['rows']:,} rows" if tried["root"] else ""
    aside = f", {tried['quarantined']:,} quarantined" if tried["quarantined"] else ""
    _say(
        console,
        _at(tried["decided_utc"] or tried["intended_utc"]),
        f"{_ACTIONS[tried['action']]}{root}{aside}{state}",
        label_width=22,
    )
    for line in (*tried["says"], *([tried["reason"]] if tried["reason"] else [])):
        _say(console, "", line, style="dim", label_width=22)


def _returns(console: Console, snapshots: Sequence[Facts]) -> None:
    if not snapshots:
        return
    title(console, "It can return to (selfheal rollback)")
    for s in snapshots[:SHOWN]:
        rolled_back = ", rolled back before" if s["barred"] else ""
        said = f"{s['attempt']}, {count(s['rows'], 'row')}{rolled_back}"
        _say(console, _at(s["published_utc"]), said, label_width=22)


def _bars(console: Console, bars: Sequence[Facts]) -> None:
    if not bars:
        return
    title(console, "Kept from coming back")
    for bar in bars:
        why = f": {bar['why']}" if bar["why"] else ""
        _say(console, _at(bar["made_utc"]), f"version {bar['root']}, by {bar['by']}{why}", label_width=22)
        for kept in bar["keeps_away"]:
            _say(console, "", f"{kept['component']} {kept['version'] or 'absent'}", style="dim", label_width=22)


def _say(console: Console, label: str, text: str, *, style: str = "", label_width: int = _LABEL) -> None:
    """A label and what it says, wrapped beside the label."""
    line = Grid.grid(padding=(0, 1, 0, 0))
    line.add_column(width=label_width, no_wrap=True, style="bold")
    line.add_column(overflow="fold", ratio=1)
    line.add_row(label, Text(visible(text), style=style))
    console.print(line)


def _path(console: Console, label: str, path: str) -> None:
    """A path in one piece, however long, so that it can be copied."""
    console.print(f"[bold]{label:<{_LABEL}}[/] {escape(visible(path))}", highlight=False, soft_wrap=True)


def _listed(keys: Sequence[str]) -> str:
    if not keys:
        return "0"
    more = f", and {len(keys) - SHOWN:,} more" if len(keys) > SHOWN else ""
    return f"{len(keys):,}: {', '.join(keys[:SHOWN])}{more}"


def _time(iso: str | None) -> datetime | None:
    return None if iso is None else datetime.fromisoformat(iso)


def _at(iso: str | None) -> str:
    return moment(_time(iso))
